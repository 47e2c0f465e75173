//! What etcd's log says of the disk that it waits for.
//!
//! Flows in: a line as the runtime wrote it (`<time> <stdout|stderr> <P|F> <text>`, or Docker's JSON).
//! Flows out: an [`EtcdComplaint`]. etcd writes JSON since 3.5 (3.4 with `--logger=zap`), and before it
//! lines of its own: `2026-11-29 19:50:14.480735 W | wal: sync duration of 1.5s, expected less than 1s`.
//! Read in etcd 3.2 to 3.6: wal/wal.go, etcdserver/util.go and etcdserver/raft.go.

use super::{container_log::text_of, kubelet::go_duration};
use jiff::Timestamp;
use std::time::Duration;

/// One complaint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdComplaint {
    /// A write to its log, which everything else waits for, took longer than a second to reach the disk.
    SlowSync {
        /// How long.
        took: Option<Duration>,
    },
    /// The leader could not tell its followers in time that it lives: most often it waited for the disk.
    LateHeartbeat {
        /// How much too late.
        by: Option<Duration>,
    },
    /// A request took too long: because of the disk, of the CPU, or of its own size.
    SlowRequest {
        /// How long.
        took: Option<Duration>,
    },
}

/// What a complaint looks like.
struct Words {
    /// Every one of them is in the message.
    needles: &'static [&'static str],
    kind: fn(Option<Duration>) -> EtcdComplaint,
    /// What stands before the time: in JSON a key, in text some words.
    time: &'static str,
}

const fn words(needles: &'static [&'static str], kind: fn(Option<Duration>) -> EtcdComplaint, time: &'static str) -> Words {
    Words { needles, kind, time }
}

const fn slow_sync(took: Option<Duration>) -> EtcdComplaint {
    EtcdComplaint::SlowSync { took }
}

const fn late_heartbeat(by: Option<Duration>) -> EtcdComplaint {
    EtcdComplaint::LateHeartbeat { by }
}

const fn slow_request(took: Option<Duration>) -> EtcdComplaint {
    EtcdComplaint::SlowRequest { took }
}

const OF_JSON: &[Words] = &[
    words(&["slow fdatasync"], slow_sync, "\"took\":\""),
    words(&["leader failed to send out heartbeat on time"], late_heartbeat, "\"exceeded-duration\":\""),
    words(&["apply request took too long"], slow_request, "\"took\":\""),
    words(&["waiting for ReadIndex response took too long"], slow_request, "\"retry-timeout\":\""),
];

const OF_TEXT: &[Words] = &[
    words(&["wal: sync duration of "], slow_sync, "sync duration of "),
    words(&["etcdserver: failed to send out heartbeat on time"], late_heartbeat, " timeout for "),
    words(&["etcdserver: server is likely overloaded"], late_heartbeat, ""),
    words(&["etcdserver: apply entries took too long ["], slow_request, "took too long ["),
    words(&["etcdserver: ", " took too long (", "to execute"], slow_request, " took too long ("),
];

impl EtcdComplaint {
    /// Reads a line; `None` for one that says nothing of the kind. Lines may be cut: what matters comes first.
    pub fn of(line: &str) -> Option<Self> {
        let text = text_of(line);
        match text.split_once("\"msg\":\"").filter(|_| text.starts_with('{')) {
            Some((_, said)) => {
                // What somebody stored under a key of his choice stands behind the message.
                let message = said.split_once('"').map_or(said, |(message, _)| message);
                complaint(OF_JSON, message, said)
            }
            None => {
                const LEVELS: [&str; 3] = [" W | ", " E | ", " C | "];
                let (_, message) = LEVELS.iter().find_map(|level| text.split_once(level))?;
                complaint(OF_TEXT, message, message)
            }
        }
    }
}

/// When the runtime read the line.
pub fn time_of(line: &str) -> Option<Timestamp> {
    line.split_once(' ')?.0.parse().ok()
}

fn complaint(known: &[Words], message: &str, said: &str) -> Option<EtcdComplaint> {
    let words = known.iter().find(|words| words.needles.iter().all(|needle| message.contains(needle)))?;
    let time = Some(words.time).filter(|time| !time.is_empty()).and_then(|time| said.split_once(time));
    Some((words.kind)(time.and_then(|(_, time)| go_duration(time))))
}
