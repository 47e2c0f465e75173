//! The exporters: what the agent knows, said to people and machines.
//!
//! Flows in: [`Snapshot`](crate::core::Snapshot)s of the core, and single findings as they change.
//! Flows out: Prometheus metrics, HTTP answers, a page, log lines. An exporter reads values and
//! decides nothing: it knows no source, no parser, no inventory and no diagnosis.

pub mod agent_figures;
pub mod http;
pub mod log;
pub mod metrics;

#[cfg(test)]
mod examples;
mod visible;
mod wording;
