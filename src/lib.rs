pub mod config;
pub mod core;
pub mod findings;
pub mod inventory;
pub mod model;
pub mod record;
pub mod signal;
pub mod sources;
