//! Findings: explained conditions of this node, and their life.
//!
//! Flows in: what the diagnosis concluded, as [`Occurrence`]s. Flows out: [`Finding`]s that open,
//! count, resolve and expire. Knows nothing of parsers, sources or clocks: time comes with the
//! occurrences.

mod finding;
mod store;

pub use finding::{CrashLoop, Evidence, EvidenceSource, Finding, FindingId, FindingState, Life, Memory, Subject};
pub use store::{Change, FindingStore, MAX_FINDINGS, Occurrence, OccurrenceId, Topic};
