//! The sources: everything that reads the machine.
//!
//! Flows in: configuration. Flows out: [`Signal`](crate::signal::Signal)s, raw, into one bounded [`Outlet`]. A source knows
//! no parser of meaning, no diagnosis and no exporter. A source that fails says so with a
//! [`SourceReport`](crate::signal::SourceReport), tries again, and never takes the agent down.

mod bell;
pub mod cgroups;
pub mod container_log;
pub mod disks;
pub mod etcd_log;
mod feed;
#[cfg(feature = "journal")]
mod journal;
pub mod kernel_log;
pub mod kubelet_api;
pub mod kubelet_log;
pub mod mounts;
pub mod node_facts;
mod outlet;
pub mod pod_logs;
pub mod pods;
pub mod replay;
mod stop;

pub use bell::Bell;
pub use outlet::{Outlet, Stopped, channel, now};
pub use stop::{Stop, Stopper, Wake, stop};
