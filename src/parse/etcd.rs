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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Option<EtcdComplaint> {
        let line = format!("2026-11-29T20:03:31.099482Z stderr F {text}");
        assert_eq!(EtcdComplaint::of(text), EtcdComplaint::of(&line), "with and without the runtime's prefix");
        EtcdComplaint::of(&line)
    }

    fn millis(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    /// Printed by etcd 3.4.23 whose data lay on a disk that was held to one or two writes a second.
    #[test]
    fn what_etcd_says_on_a_slow_disk() {
        let rounded = |text| {
            of(text).map(|complaint| match complaint {
                EtcdComplaint::SlowSync { took } => ("sync", took.map(|took| took.as_millis())),
                EtcdComplaint::LateHeartbeat { by } => ("heartbeat", by.map(|by| by.as_millis())),
                EtcdComplaint::SlowRequest { took } => ("request", took.map(|took| took.as_millis())),
            })
        };
        for (text, expected) in [
            (
                r#"{"level":"warn","ts":"2026-11-29T20:03:31.609Z","caller":"wal/wal.go:808","msg":"slow fdatasync","took":"7.646784282s","expected-duration":"1s"}"#,
                ("sync", Some(7646)),
            ),
            (
                r#"{"level":"warn","ts":"2026-11-29T20:03:31.099Z","caller":"etcdserver/raft.go:440","msg":"leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk","to":"69b38ac7138de88d","heartbeat-interval":"100ms","expected-duration":"200ms","exceeded-duration":"6.945692095s"}"#,
                ("heartbeat", Some(6945)),
            ),
            (
                r#"{"level":"warn","ts":"2026-11-29T19:47:26.927Z","caller":"etcdserver/util.go:167","msg":"apply request took too long","took":"6.05729729s","expected-duration":"100ms","prefix":"","request":"header:<ID:18265371010051868424 > put:<key:\"foo1000\" value_size:600 >","response":"size:4"}"#,
                ("request", Some(6057)),
            ),
            ("2026-11-29 20:04:29.271026 W | wal: sync duration of 8.68742983s, expected less than 1s", ("sync", Some(8687))),
            (
                "2026-11-29 20:04:38.999139 W | etcdserver: failed to send out heartbeat on time (exceeded the 100ms timeout for 18.252274775s, to 9e737febb6b99eee)",
                ("heartbeat", Some(18252)),
            ),
            ("2026-11-29 20:04:38.999149 W | etcdserver: server is likely overloaded", ("heartbeat", None)),
            (
                r#"2026-11-29 19:48:38.339386 W | etcdserver: request "header:<ID:18265371010069860360 > put:<key:\"foo0000\" value_size:600 >" with result "size:4" took too long (6.044148771s) to execute"#,
                ("request", Some(6044)),
            ),
        ] {
            assert_eq!(rounded(text), Some(expected), "{text}");
        }
    }

    /// Written from etcd's sources: 3.2 and 3.3, and 3.5 and 3.6.
    #[test]
    fn other_versions() {
        assert_eq!(
            of(
                r#"{"level":"warn","ts":"2024-05-16T18:34:36.9Z","caller":"v3rpc/x.go:1","msg":"waiting for ReadIndex response took too long, retrying","sent-request-id":1,"retry-timeout":"500ms"}"#
            ),
            Some(EtcdComplaint::SlowRequest { took: millis(500) })
        );
        assert_eq!(
            of("2018-05-16 18:34:36.951598 W | etcdserver: apply entries took too long [2.5s for 1 entries]"),
            Some(EtcdComplaint::SlowRequest { took: millis(2500) })
        );
        let cut = r#"{"level":"warn","ts":"2024-05-16T18:34:36.9Z","caller":"wal/wal.go:805","msg":"slow fdatasync","took":"2s","exp"#;
        assert_eq!(of(cut), Some(EtcdComplaint::SlowSync { took: millis(2000) }));
    }

    #[test]
    fn what_somebody_stored_is_no_complaint() {
        for text in [
            r#"{"level":"warn","ts":"2024-05-16T18:34:36.9Z","caller":"a.go:1","msg":"request stats","request":"put:<key:\"slow fdatasync\" \"msg\":\"slow fdatasync\">"}"#,
            r#"{"level":"info","ts":"2024-05-16T18:34:36.9Z","caller":"wal/wal.go:1","msg":"opened WAL"}"#,
            "2018-05-16 18:34:36.951598 I | etcdserver: server is likely overloaded",
            "slow fdatasync",
            "",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in "(2026-11-29T20:03:31Z stderr [FP] )?[{\"a-z:,}]{0,30}(\"msg\":\"|slow fdatasync|\",\"took\":\"|9e99s| W \\| wal: sync duration of ){0,5}[^\n]{0,20}") {
            let _ = EtcdComplaint::of(&line);
        }
    }
}
