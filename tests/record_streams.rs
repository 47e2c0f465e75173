//! Makes the recordings in `tests/streams` again, from real kills by this machine's kernel:
//! `tests/streams/record`.
//!
//! A recording holds only what belongs to its own kills. Other pods, other records of the kernel's
//! log and the machine's name are left out, so that it tells nothing about where it was made.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test ends where it is surprised"
)]

mod live;

use live::{Agent, LIMIT, MIB, alone, container, killed, one_container, pod, protect, start, start_filling};
use nodewhy::{
    config::KernelLogChoice,
    demonstration::{DemoPod, HogPlan, PodPlan},
    model::{BootId, Bytes},
    record::Recorder,
    signal::{Body, KernelLine, Signal, SourceName},
};
use std::{fs::File, path::PathBuf};

/// The node's name in every recording.
const NODE: &str = "node-1";
/// The boot in every recording.
const BOOT: &str = "6f1c2a4e-0d53-4a86-9b1e-2f7f60c1d0aa";
/// Number of the first record of the kernel's log.
const FIRST_RECORD: u64 = 1000;

#[test]
#[ignore = "writes tests/streams; run tests/streams/record"]
fn container_limit() {
    let _alone = alone();
    let Some(pod) = pod(&one_container()) else { return };
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    let hog = start(&pod, 0, &HogPlan::grow_beyond(LIMIT));
    agent.finds(pod.uid(), |_| true);
    killed(hog);
    agent.completes();
    write("container-limit", &agent, &[pod]);
}

#[test]
#[ignore = "writes tests/streams; run tests/streams/record"]
fn child_process() {
    let _alone = alone();
    let Some(pod) = pod(&one_container()) else { return };
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    let mut hog = start(&pod, 0, &HogPlan::Children { count: 1, each: Box::new(HogPlan::grow_beyond(LIMIT)) });
    agent.finds(pod.uid(), |_| true);
    hog.wait_until_it_stays().expect("the first process lives");
    agent.completes();
    write("child-process", &agent, &[pod]);
}

#[test]
#[ignore = "writes tests/streams; run tests/streams/record"]
fn pod_limit() {
    let _alone = alone();
    let Some(pod) = pod(&PodPlan { containers: 2, container_limit: None, pod_limit: Some(LIMIT) }) else { return };
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    let mut holder = start(&pod, 0, &HogPlan::Hold { amount: Bytes(22 * MIB) });
    protect(&holder);
    holder.wait_until_it_stays().expect("it holds");
    agent.knows(container(&pod, 0));
    let victim = start(&pod, 1, &HogPlan::grow_beyond(LIMIT));
    agent.finds(pod.uid(), |_| true);
    killed(victim);
    agent.completes();
    write("pod-limit", &agent, &[pod]);
}

#[test]
#[ignore = "writes tests/streams; run tests/streams/record"]
fn tmpfs() {
    let _alone = alone();
    let Some(pod) = pod(&one_container()) else { return };
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    let Some(hog) = start_filling(&pod) else { return };
    agent.finds(pod.uid(), |_| true);
    killed(hog);
    agent.completes();
    write("tmpfs", &agent, &[pod]);
}

/// Twelve kills within the five seconds in which the kernel prints ten dumps.
#[test]
#[ignore = "writes tests/streams; run tests/streams/record"]
fn kill_storm() {
    let _alone = alone();
    let pods: Vec<_> = (0..3).map_while(|_| pod(&one_container())).collect();
    if pods.len() < 3 {
        return;
    }
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    let grow = HogPlan::Grow { step: Bytes(4 * MIB), pause_ms: 70, ceiling: Bytes(4 * LIMIT.0) };
    let hogs: Vec<_> = pods.iter().map(|pod| start(pod, 0, &HogPlan::Children { count: 4, each: Box::new(grow.clone()) })).collect();
    for pod in &pods {
        agent.finds(pod.uid(), |_| true);
    }
    for mut hog in hogs {
        hog.wait_until_it_stays().expect("the first process lives");
    }
    agent.completes();
    write("kill-storm", &agent, &pods);
}

fn write(name: &str, agent: &Agent, pods: &[DemoPod]) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "streams", &format!("{name}.jsonl.zst")].iter().collect();
    let mut recorder = Recorder::new(File::create(&path).expect("file"), env!("CARGO_PKG_VERSION")).expect("header");
    for signal in own(&agent.heard, pods) {
        recorder.append(&signal).expect("write");
    }
    recorder.flush().expect("write");
}

/// The signals that belong to these pods, without the machine's names.
fn own(heard: &[Signal], pods: &[DemoPod]) -> Vec<Signal> {
    // The part of a path that no other pod has.
    let parents: Vec<_> = pods.iter().map(|pod| pod.path().split("/kubepods").next().expect("parent").to_owned()).collect();
    let is_own = |path: &str| parents.iter().any(|parent| path.starts_with(parent.as_str()));
    let mut records = own_records(heard, &parents).into_iter();
    heard
        .iter()
        .filter_map(|signal| {
            let body = match &signal.body {
                Body::Node(facts) => {
                    let mut facts = facts.clone();
                    (facts.node, facts.boot_id, facts.kernel) = (NODE.into(), BootId(BOOT.into()), release(&facts.kernel).to_owned());
                    Body::Node(facts)
                }
                Body::Source(report) => {
                    let mut report = report.clone();
                    if report.source == SourceName::Cgroups {
                        // It goes on with how many pods there are.
                        report.detail.truncate(report.detail.find(": ").unwrap_or(report.detail.len()));
                    }
                    Body::Source(report)
                }
                Body::Kernel(_) => Body::Kernel(records.next().expect("one for each")?),
                Body::Cgroup(sample) if !is_own(&sample.path) => return None,
                Body::CgroupGone { path } if !is_own(path) => return None,
                Body::Processes(read) if !is_own(&read.cgroup) => return None,
                // It counts everybody's kills.
                Body::NodeMemory(_) => return None,
                other => other.clone(),
            };
            Some(Signal { at: signal.at, body })
        })
        .collect()
}

/// For every record of the log: itself, numbered anew, if it belongs to a kill below these parents.
fn own_records(heard: &[Signal], parents: &[String]) -> Vec<Option<KernelLine>> {
    let records: Vec<_> = heard
        .iter()
        .filter_map(|signal| match &signal.body {
            Body::Kernel(KernelLine::Kmsg(record)) => Some(record.as_str()),
            Body::Kernel(other) => panic!("not of the device: {other:?}"),
            _ => None,
        })
        .collect();
    let mut own = vec![false; records.len()];
    let mut dump = None;
    for (at, record) in records.iter().enumerate() {
        if record.contains("invoked oom-killer") {
            dump = Some(at);
        }
        if record.contains("Killed process") {
            // Without a dump: one that the rate limit suppressed.
            let from = dump.take().unwrap_or(at);
            let whole = records[from..=at].join("\n");
            let mine =
                if from == at { record.contains("(nodewhy-hog)") } else { parents.iter().any(|parent| whole.contains(parent.as_str())) };
            // A dump that the kernel left out because of other kills on this machine.
            assert!(from < at || !mine || parents.len() > 1, "disturbed; make it again: {record}");
            own[from..=at].fill(mine);
        }
        let storm = parents.len() > 1;
        if storm && record.contains("oom_kill_process: ") && record.contains("callbacks suppressed")
            || record.contains("oom_reaper: reaped process") && record.contains("(nodewhy-hog)")
        {
            own[at] = true;
        }
    }
    let mut number = FIRST_RECORD;
    records
        .iter()
        .zip(own)
        .map(|(record, own)| {
            own.then(|| {
                number += 1;
                numbered(record, number - 1)
            })
        })
        .collect()
}

/// The record with another number and without the name of the kernel's build.
fn numbered(record: &str, number: u64) -> KernelLine {
    let mut fields = record.splitn(3, ',');
    let (priority, rest) = (fields.next().expect("priority"), fields.nth(1).expect("rest"));
    let text = match rest.split_once("tainted ").or_else(|| rest.split_once("Tainted: ")) {
        Some((before, after)) => {
            let (build, after) = after.split_once(' ').expect("more");
            format!("{before}tainted {} {after}", release(build))
        }
        None => rest.to_owned(),
    };
    KernelLine::Kmsg(format!("{priority},{number},{text}"))
}

/// `6.18.44` of `6.18.44-build-7`.
fn release(kernel: &str) -> &str {
    kernel.split('-').next().expect("a release")
}
