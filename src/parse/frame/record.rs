//! Lines that begin with the numbers of the syslog protocol: saved `/dev/kmsg` records and
//! `<priority>`.

use super::{Frame, Origin, Stamp};
use crate::parse::kmsg;

/// A saved record of `/dev/kmsg`.
pub(super) fn read(line: &str) -> Option<Frame<'_>> {
    // Cheap rejection: a header is short and ends in `;`.
    if !line.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let record = kmsg::decode(line.as_bytes()).ok()?;
    Some(Frame {
        origin: if record.is_from_kernel() { Origin::Kernel } else { Origin::Unknown },
        time: record.at.map(Stamp::Boot),
        level: Some(record.level),
        facility: Some(record.facility),
        framed: true,
        text: record.text,
    })
}

/// A line behind its `<priority>`.
pub(super) struct Prioritised<'a> {
    pub(super) facility: u8,
    pub(super) level: u8,
    pub(super) rest: &'a str,
}

/// `<6>`, with the rest of the line. 191 is the largest priority that syslog knows.
pub(super) fn priority(line: &str) -> Option<Prioritised<'_>> {
    let (digits, rest) = line.strip_prefix('<')?.split_once('>')?;
    let priority = digits.parse::<u8>().ok().filter(|priority| *priority <= 191)?;
    Some(Prioritised { facility: priority >> 3, level: priority & 7, rest: rest.trim_start() })
}
