//! Parsers: text that a node wrote in, observations out. Pure: no I/O, no clock, no async.

pub mod klog;
pub mod kubelet;
