//! The frame around one line of a saved log: who wrote it, when, and the text inside.
//!
//! Flows in: one physical line, as `dmesg`, `journalctl`, a syslog daemon or a person's paste left
//! it. Flows out: a [`Frame`]. It does not know what the text means and keeps no state, so a file
//! may mix formats.
//!
//! A program may print the kernel's words (the kubelet quotes "Out of memory"), so the origin
//! decides who may read a text: only lines of [`Origin::Kernel`], and lines that nobody signed.

mod decoration;
mod dmesg;
mod json_entry;
mod record;
mod syslog;

use crate::model::{BootTime, Pid};
use std::borrow::Cow;

/// The format of a saved log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Decide line by line.
    #[default]
    Auto,
    /// Records of `/dev/kmsg`.
    Kmsg,
    /// Output of `dmesg`, with any of its time options.
    Dmesg,
    /// Output of `dmesg -T`.
    DmesgWallClock,
    /// Output of `journalctl` in any short format, or `-o json`.
    Journal,
    /// A syslog daemon's file: RFC 3164, RFC 5424 or ISO time.
    Syslog,
}

/// Who wrote a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin<'a> {
    /// The kernel, as far as the log can tell.
    Kernel,
    /// A program.
    Program {
        /// Its syslog identifier, without a path or `.service`.
        name: Cow<'a, str>,
        /// Its process id, if the line says it.
        pid: Option<Pid>,
    },
    /// The line does not say.
    Unknown,
}

/// When a line was written, as far as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stamp<'a> {
    /// On the kernel's clock.
    Boot(BootTime),
    /// On the wall clock: the text as printed, since most formats leave out the year or the zone.
    Wall(Cow<'a, str>),
}

/// One line of a log, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Who wrote it.
    pub origin: Origin<'a>,
    /// When.
    pub time: Option<Stamp<'a>>,
    /// syslog level, 0 (emergency) to 7 (debug).
    pub level: Option<u8>,
    /// syslog facility; 0 is the kernel.
    pub facility: Option<u8>,
    /// Whether anything stood before the text. A line without a frame between framed ones is
    /// often the wrapped end of the line above.
    pub framed: bool,
    /// What was said.
    pub text: Cow<'a, str>,
}

impl<'a> Frame<'a> {
    fn bare(text: &'a str) -> Self {
        Self { origin: Origin::Unknown, time: None, level: None, facility: None, framed: false, text: Cow::Borrowed(text) }
    }

    fn kernel(time: Option<Stamp<'a>>, text: &'a str) -> Self {
        Self { origin: Origin::Kernel, time, framed: true, ..Self::bare(text) }
    }

    fn program(name: &'a str, pid: Option<Pid>, time: Option<Stamp<'a>>, text: &'a str) -> Self {
        Self { origin: Origin::Program { name: Cow::Borrowed(name), pid }, time, framed: true, ..Self::bare(text) }
    }

    /// Whether this may be the kernel speaking: not signed by a program, not in the shape of a
    /// program's log, and not written by a process into the kernel's log.
    pub fn may_be_kernel(&self) -> bool {
        let unsigned = match self.origin {
            Origin::Kernel => true,
            Origin::Program { .. } => false,
            Origin::Unknown => !is_program_log(&self.text),
        };
        unsigned && !self.is_forged()
    }

    /// Whether a process wrote this into the kernel's log: such records have another facility.
    pub fn is_forged(&self) -> bool {
        !matches!(self.origin, Origin::Program { .. }) && self.facility.is_some_and(|facility| facility != 0)
    }

    /// The program that signed the line.
    pub fn program_name(&self) -> Option<&str> {
        match &self.origin {
            Origin::Program { name, .. } => Some(name),
            _ => None,
        }
    }
}

/// Takes one line apart. `line` may end in a line break.
pub fn frame(line: &str, format: Format) -> Frame<'_> {
    let line = decoration::strip(line);
    match format {
        Format::Auto => auto(line),
        Format::Kmsg => record::read(line).unwrap_or_else(|| Frame::bare(line)),
        Format::Dmesg | Format::DmesgWallClock => {
            let mut frame = dmesg::read(line).unwrap_or_else(|| Frame::bare(line));
            if frame.origin == Origin::Unknown {
                frame.origin = Origin::Kernel;
            }
            frame
        }
        Format::Journal => json_entry::read(line).or_else(|| syslog::read(line)).unwrap_or_else(|| Frame::bare(line)),
        Format::Syslog => record::priority(line).map(leveled_syslog).or_else(|| syslog::read(line)).unwrap_or_else(|| Frame::bare(line)),
    }
}

fn auto(line: &str) -> Frame<'_> {
    if let Some(frame) = record::read(line).or_else(|| json_entry::read(line)) {
        return frame;
    }
    if let Some(prefixed) = record::priority(line) {
        return leveled_syslog(prefixed);
    }
    dmesg::read(line).or_else(|| syslog::read(line)).or_else(|| dmesg::read_embedded(line)).unwrap_or_else(|| Frame::bare(line))
}

/// The shapes in which programs log: klog, logfmt and JSON, and the table of events where
/// node-problem-detector says `OOMKilling`. What they quote is not the kernel's word.
fn is_program_log(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    let is_event = || text.contains(" OOMKilling ");
    syslog::is_klog_date(first)
        || text.starts_with("{\"")
        || is_event()
        || ["time=", "level=", "ts=", "msg="].iter().any(|key| first.starts_with(key))
}

/// What follows a `<priority>`: RFC 5424, RFC 3164, or a line of `syslog(2)`.
fn leveled_syslog(prefixed: record::Prioritised<'_>) -> Frame<'_> {
    let rest = prefixed.rest;
    let inner = syslog::read_rfc5424(rest).or_else(|| dmesg::read(rest)).or_else(|| syslog::read(rest));
    let mut frame = inner.unwrap_or_else(|| Frame { framed: true, ..Frame::bare(rest) });
    frame.facility.get_or_insert(prefixed.facility);
    frame.level.get_or_insert(prefixed.level);
    frame
}

#[cfg(test)]
mod tests;
