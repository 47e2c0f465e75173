//! Signs that the control plane of this node cannot keep up, from etcd's own complaints.

use super::sign::Sign;
use crate::{model::Cause, parse::etcd::EtcdComplaint};
use std::time::Duration;

/// A backup, a defragmentation or a busy second makes etcd complain once.
const HOLD_SECONDS: u64 = 10;
/// Late heartbeats have other reasons as well: the CPU, a follower.
const HEARTBEAT_HOLD_SECONDS: u64 = 30;
/// What a request may take for its own size.
const LONG_REQUEST: Duration = Duration::from_secs(1);

/// The sign that a complaint is, and its words, which hold nothing that somebody stored in etcd.
pub fn starved(complaint: EtcdComplaint) -> Option<(Sign, String)> {
    let lasting = |kind, hold, what: String| Sign::lasting(Cause::ControlPlaneStarved, kind, hold, what);
    match complaint {
        EtcdComplaint::SlowSync { took } => {
            let took = time(took);
            let what = format!("etcd waits for its disk: a write that everything waits for took{} and should take some milliseconds", took);
            let sign = Sign { rank: 2, ..lasting("sync", HOLD_SECONDS, what) };
            Some((sign, format!("a write to its log took{took}, expected less than 1 s")))
        }
        EtcdComplaint::LateHeartbeat { by } => {
            let what = "etcd cannot keep up: as the leader it does not tell its followers in time that it lives".to_owned();
            let late = by.map_or(String::new(), |by| format!(", {} too late", seconds(by)));
            Some((lasting("heartbeat", HEARTBEAT_HOLD_SECONDS, what), format!("the leader failed to send out a heartbeat on time{late}")))
        }
        // By itself it says little: a request may be large.
        EtcdComplaint::SlowRequest { took } if took.is_some_and(|took| took >= LONG_REQUEST) => {
            let sign = Sign { rank: 0, ..lasting("request", HOLD_SECONDS, "etcd answers slowly".into()) };
            Some((sign, format!("a request took{}", time(took))))
        }
        EtcdComplaint::SlowRequest { .. } => None,
    }
}

fn time(took: Option<Duration>) -> String {
    took.map_or(" too long".into(), |took| format!(" {}", seconds(took)))
}

fn seconds(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        millis => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
    }
}
