//! Lines of the kubelet's log, and of PID 1 about its unit, still as they were written.

use crate::model::{BootTime, Pid, UnitRole};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One line, which need not be a whole record: the kubelet's records may span several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubeletLine {
    /// Who wrote it and where it stands.
    pub origin: KubeletOrigin,
    /// The line without its newline, at most 64 KiB; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// Who wrote a line and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KubeletOrigin {
    /// An entry of the journal. What the writer cannot choose is told by journald itself: the unit,
    /// the process, the stream; only `identifier` is the writer's own word.
    Journal {
        /// The unit that wrote it (`_SYSTEMD_UNIT`); for PID 1, the unit that it speaks of (`UNIT`).
        unit: Arc<str>,
        /// What that unit is, where the agent was told so; `None` where its name has to tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<UnitRole>,
        /// `SYSLOG_IDENTIFIER`: helps to choose a parser and proves nothing.
        identifier: Option<String>,
        /// `_PID`.
        pid: Option<Pid>,
        /// `_STREAM_ID`: lines of one stream follow each other, lines of two may interleave.
        stream: Option<String>,
        /// `_SYSTEMD_INVOCATION_ID`, for PID 1 `INVOCATION_ID`: one start of the unit.
        invocation: Option<String>,
        /// `__CURSOR`: the position to go on from.
        cursor: String,
        /// `__MONOTONIC_TIMESTAMP`: when journald took it, by the clock of this boot.
        boot_time: Option<BootTime>,
        /// `__REALTIME_TIMESTAMP`: the same moment by the wall clock.
        wall: Option<Timestamp>,
        /// PID 1 wrote it (`_PID=1`): the unit did not write it, systemd says it about the unit.
        is_pid1: bool,
    },
    /// A line of a file.
    File {
        /// The file.
        path: Arc<str>,
        /// Which file had that name: rotation gives it to another one.
        inode: u64,
        /// Where the next line begins: the position to go on from, in bytes.
        offset: u64,
    },
}

impl KubeletOrigin {
    /// What the unit is that wrote the line, or that PID 1 speaks of; `None` for a file and for another's unit.
    pub fn unit_role(&self) -> Option<UnitRole> {
        match self {
            Self::Journal { unit, role, .. } => role.or_else(|| UnitRole::of(unit)),
            Self::File { .. } => None,
        }
    }
}

/// How far the kubelet's log has been read, by each way of reading it. Belongs to one boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubeletPosition {
    /// Cursor of the last journal entry.
    pub cursor: Option<String>,
    /// The end of the last line of a file.
    pub file: Option<FilePosition>,
}

/// A place in a file that may be rotated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// The file's name when it was read.
    pub path: Arc<str>,
    /// The file itself.
    pub inode: u64,
    /// Where the next line begins, in bytes.
    pub offset: u64,
}

impl KubeletPosition {
    /// Moves on over a line.
    pub fn pass(&mut self, line: &KubeletLine) {
        match &line.origin {
            KubeletOrigin::Journal { cursor, .. } => match &mut self.cursor {
                Some(kept) => kept.replace_range(.., cursor),
                None => self.cursor = Some(cursor.clone()),
            },
            KubeletOrigin::File { path, inode, offset } => {
                self.file = Some(FilePosition { path: path.clone(), inode: *inode, offset: *offset });
            }
        }
    }
}
