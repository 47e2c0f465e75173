pub mod config;
pub mod model;
pub mod record;
pub mod signal;
pub mod sources;
