//! Memory of the pods' cgroups, of their processes and of the node.
//!
//! Flows in: the host's `/sys/fs/cgroup` and `/proc`. Flows out: [`CgroupSample`]s,
//! [`ProcessesSample`]s, [`NodeSample`]s and the end of each cgroup. Must not know what a sample
//! means: that is the core's part.
//!
//! ```text
//!  layout ─▶ discovery ──Change──▶ sampler ──Signal──▶ outlet
//!            watches (inotify)      │ pace: when to look, how closely
//!                                   ├ reader ─ figures ─ files: one cgroup
//!                                   ├ processes ─ proc_entry: what a container's processes hold
//!                                   └ node: /proc/vmstat, meminfo, pressure
//! ```
//!
//! One plain thread does all of it, because every read is a short system call on a file that is
//! made in memory; see [`spawn`].
//!
//! [`CgroupSample`]: crate::signal::CgroupSample
//! [`ProcessesSample`]: crate::signal::ProcessesSample
//! [`NodeSample`]: crate::signal::NodeSample

mod discovery;
mod figures;
mod files;
mod layout;
mod node;
mod pace;
mod proc_entry;
mod processes;
mod reader;
mod sampler;
#[cfg(test)]
mod testing;
mod thread;
mod watches;

pub use layout::{Layout, LayoutError};
pub use thread::{SamplerHandle, spawn};
