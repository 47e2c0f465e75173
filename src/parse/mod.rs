//! From raw text to observations: one hand-written parser for each format.
//!
//! Flows in: lines and file contents as the sources read them. Flows out: what they say, in the
//! words of [`crate::model`]. Parsers know no I/O, no clock and no node; they never panic, and
//! they say `None` where the text does not say.

pub mod container_log;
pub mod etcd;
pub mod eviction;
pub mod frame;
pub mod kernel_problem;
pub mod klog;
pub mod kmsg;
pub mod kubelet;
pub mod oom;
