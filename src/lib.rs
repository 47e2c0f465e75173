pub mod config;
pub mod demonstration;
pub mod model;
pub mod signal;
pub mod sources;
