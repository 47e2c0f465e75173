//! Evictions: when the kubelet will begin, whom it has put out, and who is to blame.
//!
//! Flows in: what is left on the node, the kubelet's settings, what pods have on the disks, pods'
//! statuses. Flows out: [`Threshold`]s, a [`Margin`] to each, a [`Trend`], a [`Grower`], a [`PodEnd`].

mod margin;
mod pod_end;
mod storage;
mod thresholds;
mod trend;

pub use margin::{Margin, is_the_first_to_give_way};
pub use pod_end::PodEnd;
pub use storage::{Grower, MAX_PODS as MAX_STORAGE_PODS, Measure, Part, StorageHistory};
pub use thresholds::{Threshold, effective, written_as};
pub use trend::Trend;
