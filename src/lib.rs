pub mod config;
pub mod core;
pub mod exporters;
pub mod findings;
pub mod inventory;
pub mod model;
pub mod signal;
pub mod sources;
