//! nodewhy explains, on each Kubernetes node, why its containers die.

#![cfg_attr(test, allow(clippy::string_slice))]

pub mod agent;
pub mod args;
pub mod checkpoint_file;
pub mod cli;
pub mod config;
pub mod core;
pub mod demonstration;
pub mod diagnosis;
pub mod exporters;
pub mod findings;
pub mod inventory;
pub mod model;
pub mod parse;
pub mod record;
pub mod signal;
pub mod sources;
pub mod telemetry;
