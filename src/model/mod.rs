//! The vocabulary of the program: plain values that every other module speaks.
//!
//! Flows in: nothing. Flows out: types without I/O, clock or foreign types (only `serde` and
//! `jiff`'s timestamp). A value that exists is valid: a [`ContainerId`] is 64 hexadecimal digits,
//! a [`PodUid`] has one of the two forms that the kubelet makes.

mod amount;
mod cause;
mod cgroup_place;
mod eviction;
mod identity;
mod moment;
pub mod quantity;
mod resource;
mod unit_role;

pub use amount::{Bytes, Limit};
pub use cause::{Attribution, Blame, Cause, Confidence, Scope};
pub use cgroup_place::{CgroupPlace, QosClass};
pub use eviction::{EvictionSignal, FilesystemRole};
pub use identity::{ContainerId, Pid, PodUid, ProcessKey, ServiceName};
pub use moment::{BootId, BootTime, Moment, in_words};
pub use resource::Resource;
pub use unit_role::UnitRole;
