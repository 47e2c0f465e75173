pub mod config;
pub mod model;
pub mod signal;
pub mod sources;
