//! The core: signals in, effects out.

mod snapshot;

pub use snapshot::{ContainerFigures, ContainerKey, Counters, Fill, Snapshot, SourceHealth, WorkloadFigures};
