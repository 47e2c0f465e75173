//! Records of the kernel's log, still as their transport gave them.

use crate::model::BootTime;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One record, or one line, of the kernel's log in the form of its transport.
///
/// `/dev/kmsg` escapes everything that is not printable ASCII, so a `String` loses nothing; the
/// other two may hold any bytes and are converted with replacement characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelLine {
    /// A whole record of `/dev/kmsg`, dictionary lines included, without the final newline.
    Kmsg(String),
    /// One line of `syslog(2)`'s buffer: `<6>[ 3750.315370] text`.
    Syslog(String),
    /// One entry of the journal with `_TRANSPORT=kernel`.
    Journal {
        /// `PRIORITY`, 0 to 7.
        priority: Option<u8>,
        /// `SYSLOG_FACILITY`; the kernel itself is 0.
        facility: Option<u8>,
        /// `_SOURCE_MONOTONIC_TIMESTAMP`: the record's own time.
        boot_time: Option<BootTime>,
        /// `__REALTIME_TIMESTAMP`: when journald took it.
        wall: Option<Timestamp>,
        /// `_KERNEL_SUBSYSTEM`.
        subsystem: Option<String>,
        /// `_KERNEL_DEVICE`.
        device: Option<String>,
        /// `__CURSOR`: the position to go on from.
        cursor: String,
        /// `MESSAGE`.
        message: String,
    },
}
