//! Recordings replayed through the core, each held to a reviewed snapshot of what it tells.
//!
//! `tests/streams/README.md` says what each recording is and how it was made.

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

use nodewhy::{
    core::{Checkpoint, Core, Effect},
    findings::{EvidenceSource, Finding},
    model::{BootTime, Cause},
    record::Recording,
    signal::{Body, KernelLine, KubeletLine, KubeletOrigin, PodRecord, PodSnapshot, PodUpdate, Signal},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// The most restart points tried on one recording.
const MOST_CUTS: usize = 60;

/// The same for the longer and more numerous ones of a real cluster.
const MOST_CUTS_OF_A_CLUSTER: usize = 6;

fn recordings() -> Vec<PathBuf> {
    recordings_in("tests/streams")
}

fn recordings_of_a_cluster() -> Vec<PathBuf> {
    recordings_in("tests/streams/kubernetes")
}

fn recordings_in(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path());
    let mut recordings: Vec<_> = files.filter(|path| name(path).contains(".jsonl")).collect();
    recordings.sort();
    recordings
}

fn name(path: &Path) -> String {
    path.file_name().expect("name").to_string_lossy().into_owned()
}

fn signals(path: &Path) -> Vec<Signal> {
    Recording::open(path).expect("a recording").collect::<Result<_, _>>().expect("whole")
}

fn replay(mut core: Core, signals: &[Signal]) -> Core {
    for signal in signals {
        core.apply(signal.clone());
    }
    core
}

fn whole(signals: &[Signal]) -> Core {
    let mut core = replay(Core::new(), signals);
    core.finish();
    core
}

/// What a recording tells: findings, what was counted and lost.
fn told(core: &Core) -> Value {
    let snapshot = core.snapshot();
    let counters = serde_json::to_value(&snapshot.counters).expect("json");
    let happened = |value: &Value| match value {
        Value::Number(number) => number.as_u64() != Some(0),
        Value::Object(map) => map.values().any(|count| count.as_u64() != Some(0)),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    let counters: serde_json::Map<_, _> =
        counters.as_object().expect("object").iter().map(|(key, value)| (key.clone(), without_zeros(value))).collect();
    let counters: serde_json::Map<_, _> = counters.into_iter().filter(|(_, value)| happened(value)).collect();
    let lost: serde_json::Map<_, _> =
        snapshot.sources.iter().filter(|health| health.lost > 0).map(|health| (health.source.to_string(), json!(health.lost))).collect();
    json!({"findings": snapshot.findings, "counters": counters, "lost": lost})
}

fn without_zeros(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().filter(|(_, value)| value.as_u64() != Some(0)).map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        Value::Array(list) => list.iter().filter(|entry| entry.get(2).and_then(Value::as_u64) != Some(0)).cloned().collect(),
        other => other.clone(),
    }
}

#[test]
fn each_recording_tells_what_its_snapshot_says() {
    let recordings = recordings();
    assert!(recordings.len() >= 9, "{recordings:?}");
    for path in recordings {
        let name = name(&path);
        let short = name.split('.').next().expect("a name");
        insta::with_settings!({snapshot_path => "streams", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_json_snapshot!(short, told(&whole(&signals(&path))));
        });
    }
}

/// Scenarios of a real cluster, told as briefly as a stranger can judge them.
#[test]
fn each_scenario_of_a_cluster_tells_what_its_snapshot_says() {
    let recordings = recordings_of_a_cluster();
    // host3 is the one with systemd and cgroup v2.
    for (node, least) in [("host1", 12), ("host2", 8), ("host3", 6)] {
        let of_node = recordings.iter().filter(|path| name(path).contains(node)).count();
        assert!(of_node >= least, "{of_node} recordings of {node}: tests/streams/kubernetes/record makes them");
    }
    for path in recordings {
        let name = name(&path);
        let short = name.split('.').next().expect("a name");
        insta::with_settings!({snapshot_path => "streams/kubernetes", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_json_snapshot!(short, told_briefly(&whole(&signals(&path))));
        });
    }
}

/// Cause, scope, blame, whom, how often, what speaks against it, and what was counted.
fn told_briefly(core: &Core) -> Value {
    let snapshot = core.snapshot();
    let mut findings: Vec<_> = snapshot.findings.iter().map(briefly).collect();
    findings.sort_by_key(ToString::to_string);
    let ends = snapshot.counters.terminations.iter().map(|(key, causes)| {
        let causes: serde_json::Map<_, _> =
            causes.iter().filter(|(_, ends)| **ends > 0).map(|(cause, ends)| (cause.to_string(), json!(ends))).collect();
        (format!("{}/{} {}", key.workload_kind, key.workload, key.container), Value::Object(causes))
    });
    let ends: serde_json::Map<_, _> = ends.filter(|(_, causes)| causes.as_object().is_some_and(|causes| !causes.is_empty())).collect();
    let workloads: Vec<_> = snapshot
        .workloads
        .iter()
        .map(|w| format!("{}/{}: {} pods, {} crashed, {} containers loop", w.kind, w.name, w.pods, w.crashed_pods, w.crash_looping))
        .collect();
    json!({
        "findings": findings,
        "ends": ends,
        "kills": kills(core),
        "foreign": snapshot.counters.foreign_oom_kills,
        "workloads": workloads,
    })
}

fn briefly(finding: &Finding) -> Value {
    let whom = finding.subjects.iter().map(|s| {
        let text = |field: &Option<String>| field.clone().unwrap_or_else(|| "?".into());
        let of = format!("{} {}", text(&s.workload_kind), text(&s.workload));
        let attempt = s.attempt.map_or_else(|| "unknown".into(), |attempt| attempt.to_string());
        format!("{}/{} {} of {of}, attempt {attempt}", text(&s.namespace), text(&s.pod), text(&s.container))
    });
    let against = finding.evidence.iter().filter(|evidence| !evidence.supports).map(|evidence| evidence.what.clone());
    let status = finding.evidence.iter().filter(|evidence| evidence.source == EvidenceSource::PodStatus && evidence.supports);
    let story = finding.crash_loop.as_ref().map(|told| {
        let lives = told.lives.iter().map(|life| {
            let known = |number: Option<String>| number.unwrap_or_else(|| "?".into());
            format!(
                "attempt {}: exit code {}, lived {} s, charged {}",
                known(life.attempt.map(|n| n.to_string())),
                known(life.exit_code.map(|n| n.to_string())),
                known(life.uptime_seconds.map(|n| n.to_string())),
                known(life.memory_at_death_bytes.map(|bytes| bytes.to_string()))
            )
        });
        json!({
            "deaths": told.deaths, "attempt": told.attempt, "interval": told.interval_seconds, "back_off": told.back_off_seconds,
            "same_cause": told.same_cause, "lives": lives.collect::<Vec<_>>(),
        })
    });
    json!({
        "what": format!("{} {}x, {}, scope {}, blame {}", finding.cause, finding.count, finding.confidence, finding.scope, finding.blame),
        "whom": whom.collect::<Vec<_>>(),
        "summary": finding.summary,
        "against": against.collect::<Vec<_>>(),
        "status": status.map(|evidence| evidence.what.clone()).collect::<Vec<_>>(),
        "not_found": finding.not_found,
        "actions": finding.actions,
        "loop": story,
        "evidence": finding.evidence.len(),
    })
}

/// How long after the kernel's line was read its finding names the pod, in milliseconds; of kills whose first process
/// died and whose pod was known, and of all.
fn naming_delays(signals: &[Signal]) -> (Vec<u64>, Vec<u64>) {
    let (mut core, mut at_once, mut all, mut named) = (Core::new(), Vec::new(), Vec::new(), BTreeSet::new());
    let mut killed: BTreeMap<String, BootTime> = BTreeMap::new();
    for signal in signals {
        if let Some(pid) = killed_pid(signal) {
            killed.entry(pid).or_insert(signal.at.boot);
        }
        for effect in core.apply(signal.clone()) {
            let Effect::Finding { finding, .. } = effect else { continue };
            let pid = finding.summary.split_once("(pid ").and_then(|(_, rest)| rest.split_once(')')).map(|(pid, _)| pid.to_owned());
            let (Some(pid), true) = (pid, finding.subjects.iter().any(|subject| subject.pod.is_some())) else { continue };
            let Some(read) = killed.get(&pid).filter(|_| named.insert(pid.clone())) else { continue };
            let delay = signal.at.boot.micros_since(*read) / 1000;
            all.push(delay);
            let waits = finding.cause == Cause::OomChildProcess;
            at_once.extend(Some(delay).filter(|_| !waits));
        }
    }
    (at_once, all)
}

fn killed_pid(signal: &Signal) -> Option<String> {
    let text = match &signal.body {
        Body::Kernel(KernelLine::Kmsg(line) | KernelLine::Syslog(line)) => line,
        Body::Kernel(KernelLine::Journal { message, .. }) => message,
        _ => return None,
    };
    let (_, rest) = text.split_once("Killed process ")?;
    Some(rest.split(|c: char| !c.is_ascii_digit()).next()?.to_owned())
}

/// The kernel's line of a kill, and a pod that is known or becomes known: the finding names the pod at once, a child's
/// when its container has had its second to end.
#[test]
fn a_kill_names_its_pod_at_once() {
    let delays = recordings_of_a_cluster().into_iter().map(|path| naming_delays(&signals(&path)));
    let (mut at_once, mut all) = delays.fold((Vec::new(), Vec::new()), |mut sum, (at_once, all)| {
        sum.0.extend(at_once);
        sum.1.extend(all);
        sum
    });
    at_once.sort_unstable();
    all.sort_unstable();
    let middle = |delays: &[u64]| delays[delays.len() / 2];
    println!("{} kills: {} ms in the middle, {} ms at worst", all.len(), middle(&all), all[all.len() - 1]);
    assert!(all.len() >= 20, "{all:?}");
    assert!(middle(&at_once) <= 50, "{at_once:?}");
    assert!(all[all.len() - 1] <= 2000, "{all:?}");
}

#[test]
fn a_second_replay_tells_the_same_to_the_byte() {
    for path in recordings().into_iter().chain(recordings_of_a_cluster()) {
        let signals = signals(&path);
        let [first, second] = [(), ()].map(|()| serde_json::to_vec(&whole(&signals).snapshot().findings).expect("json"));
        assert!(first == second, "{}", name(&path));
    }
}

#[test]
fn a_clean_boot_tells_nothing() {
    let path = recordings().into_iter().find(|path| name(path).starts_with("clean-boot")).expect("recording");
    let core = whole(&signals(&path));
    assert_eq!(core.snapshot().findings, []);
    assert_eq!(core.snapshot().counters.spoofed_records, 0, "a line about the OOM daemon is not a kill");
}

/// A crash of the agent anywhere in a recording, and its start again, change no finding and no count.
#[test]
fn a_restart_anywhere_loses_nothing_and_repeats_nothing() {
    let of_a_cluster = recordings_of_a_cluster().into_iter().map(|path| (path, MOST_CUTS_OF_A_CLUSTER));
    for (path, most) in recordings().into_iter().map(|path| (path, MOST_CUTS)).chain(of_a_cluster) {
        let signals = signals(&path);
        let core = whole(&signals);
        for cut in cuts(signals.len(), most) {
            let restarted = restarted(&signals, cut);
            assert_eq!(kills(&restarted), kills(&core), "{}: restart after signal {cut}", name(&path));
            if !waits_for_an_owner(&signals[..cut]) && !waits_for_the_disks(&signals[..cut]) {
                assert_eq!(essence(&restarted), essence(&core), "{}: restart after signal {cut}", name(&path));
            }
        }
    }
}

/// OOM kills counted, of every cause.
fn kills(core: &Core) -> u64 {
    core.snapshot().counters.oom_kills.iter().map(|(.., count)| count).sum()
}

/// Whether a kill without its dump is not told yet. Only the process seen before it says whose it
/// was, and a restart forgets that; the kill is then told as not attributed.
fn waits_for_an_owner(before: &[Signal]) -> bool {
    const TOLD_AFTER_MICROS: u64 = 1_100_000;
    let now = before.last().expect("at least one").at.boot;
    let lines = before.iter().filter_map(|signal| match &signal.body {
        Body::Kernel(KernelLine::Kmsg(line)) => Some((signal.at.boot, line.as_str())),
        _ => None,
    });
    let lines: Vec<_> = lines.collect();
    let bare = |pair: &[(_, &str)]| pair[1].1.contains("Killed process") && !pair[0].1.contains("oom-kill:");
    lines.windows(2).any(|pair| bare(pair) && now.micros_since(pair[1].0) < TOLD_AFTER_MICROS)
}

/// Whether a disk failed before the table of disks was read. Until then nobody knows whose it is, and a restart forgets
/// what containers that are gone had mounted.
fn waits_for_the_disks(before: &[Signal]) -> bool {
    let failed = |signal: &Signal| matches!(&signal.body, Body::Kernel(KernelLine::Syslog(line)) if line.contains("I/O error, dev "));
    before.iter().any(failed) && !before.iter().any(|signal| matches!(signal.body, Body::Mounts(_)))
}

/// Every signal of a short recording, else an even choice.
fn cuts(length: usize, most: usize) -> impl Iterator<Item = usize> {
    (1..length).step_by(length.div_ceil(most))
}

/// Everything that must not depend on restarts. The figures shortly before a kill are not kept over
/// them, so sentences may say less.
fn essence(core: &Core) -> Value {
    let snapshot = core.snapshot();
    // A volume that fails is told when it has failed for some seconds; a restart in them forgets the first failures.
    let told = snapshot.findings.iter().filter(|finding| finding.cause != Cause::VolumeMount);
    let mut findings: Vec<_> = told.map(identity).collect();
    findings.sort_by_key(ToString::to_string);
    let counters = &snapshot.counters;
    json!({
        "findings": findings,
        "kills": counters.oom_kills,
        "workloads": counters.workload_oom_kills,
        "host": counters.host_oom_kills,
        "unattributed": counters.unattributed,
        "foreign": counters.foreign_oom_kills,
        "only_counter": counters.kills_only_counter,
    })
}

fn identity(finding: &Finding) -> Value {
    json!({"id": finding.id, "cause": finding.cause, "scope": finding.scope, "count": finding.count, "subjects": finding.subjects})
}

/// The core of an agent that crashed after `cut` signals and was started again: it reads the kernel's
/// ring again from where its checkpoint says, its sources say what is true now, and the rest follows.
fn restarted(signals: &[Signal], cut: usize) -> Core {
    let (before, after) = signals.split_at(cut);
    let stored = serde_json::to_string(&replay(Core::new(), before).checkpoint().expect("the boot is known")).expect("json");
    let checkpoint: Checkpoint = serde_json::from_str(&stored).expect("json");
    let unread = unread_kubelet_lines(before, checkpoint.kubelet_log.cursor.as_deref());
    let core = replay(Core::restore(checkpoint), &start_of_second_run(before));
    let core = replay(core, &unread);
    let mut core = replay(core, after);
    core.finish();
    core
}

/// Entries of the journal behind the position of a checkpoint: records that were not whole yet.
fn unread_kubelet_lines(before: &[Signal], position: Option<&str>) -> Vec<Signal> {
    let now = before.last().expect("at least the facts").at;
    let cursor = |signal: &Signal| match &signal.body {
        Body::Kubelet(KubeletLine { origin: KubeletOrigin::Journal { cursor, .. }, .. }) => Some(cursor.clone()),
        _ => None,
    };
    let entries: Vec<_> = before.iter().filter(|signal| cursor(signal).is_some()).collect();
    let read = entries.iter().position(|signal| cursor(signal).as_deref() == position).map_or(0, |at| at + 1);
    entries[read..].iter().map(|signal| Signal { at: now, body: signal.body.clone() }).collect()
}

/// What a start at the end of `before` reads: facts and conditions, a list of the pods, the state of
/// every cgroup, and the whole ring.
fn start_of_second_run(before: &[Signal]) -> Vec<Signal> {
    let now = before.last().expect("at least the facts").at;
    let mut state: Vec<(String, Body)> = Vec::new();
    let (mut ring, mut pods, mut words) = (Vec::new(), Pods::default(), Vec::new());
    for signal in before {
        let key = match &signal.body {
            Body::Pods(PodUpdate::Listed(_) | PodUpdate::Changed { .. }) => {
                pods.take(&signal.body);
                continue;
            }
            Body::Pods(PodUpdate::Directory { uid, .. }) => format!("directory {uid}"),
            Body::Pods(PodUpdate::DirectoryGone { uid }) => {
                state.retain(|(key, _)| *key != format!("directory {uid}"));
                continue;
            }
            Body::Kernel(line) => {
                ring.push(Body::Kernel(line.clone()));
                continue;
            }
            Body::CgroupGone { path } => {
                state.retain(|(key, _)| !key.ends_with(path.as_str()));
                continue;
            }
            Body::Node(_) => "node".into(),
            Body::Source(report) => format!("source {}", report.source),
            Body::Cgroup(sample) => format!("cgroup {}", sample.path),
            Body::Processes(read) => format!("processes {}", read.cgroup),
            Body::Mounts(_) => "mounts".into(),
            Body::ContainerMounts(read) => format!("mounts {}", read.cgroup),
            Body::NodeMemory(_) => "memory".into(),
            Body::Room(_) => "room".into(),
            Body::EvictionSettings(_) => "eviction settings".into(),
            Body::PodStorage(_) => "pod storage".into(),
            Body::KubeletConfiguration(_) => "kubelet configuration".into(),
            Body::ProbeCounts(_) => "probe counts".into(),
            Body::ContainerLog(_) => {
                // The log of an end that still waits is asked for again.
                words.push(signal.body.clone());
                continue;
            }
            Body::Gap(_) | Body::Kubelet(_) | Body::Etcd(_) | Body::Tick => continue,
        };
        match state.iter_mut().find(|(known, _)| *known == key) {
            Some((_, body)) => *body = signal.body.clone(),
            None => state.push((key, signal.body.clone())),
        }
    }
    let node_first = |(key, _): &(String, Body)| key != "node";
    state.sort_by_key(node_first);
    state
        .into_iter()
        .map(|(_, body)| first_look(body))
        .chain(ring)
        .chain(pods.list())
        .chain(words)
        .map(|body| Signal { at: now, body })
        .collect()
}

/// A directory that is read for the first time in a run was not being followed.
fn first_look(body: Body) -> Body {
    match body {
        Body::Pods(PodUpdate::Directory { namespace, name, uid, containers, .. }) => {
            Body::Pods(PodUpdate::Directory { namespace, name, uid, containers, followed: false })
        }
        other => other,
    }
}

/// The pods that the API server knows; `None` until it has told.
#[derive(Default)]
struct Pods(Option<BTreeMap<String, PodRecord>>);

impl Pods {
    fn take(&mut self, body: &Body) {
        let by_uid = |pod: &PodRecord| (pod.uid.clone(), pod.clone());
        match body {
            Body::Pods(PodUpdate::Listed(list)) => self.0 = Some(list.pods.iter().map(by_uid).collect()),
            Body::Pods(PodUpdate::Changed { pod, deleted: true }) => drop(self.0.get_or_insert_default().remove(&pod.uid)),
            Body::Pods(PodUpdate::Changed { pod, .. }) => drop(self.0.get_or_insert_default().insert(pod.uid.clone(), (**pod).clone())),
            _ => {}
        }
    }

    fn list(self) -> Option<Body> {
        self.0.map(|pods| Body::Pods(PodUpdate::Listed(PodSnapshot { pods: pods.into_values().collect() })))
    }
}

#[test]
fn the_shipped_recording_is_small_and_tells_one_kill() {
    let path = recordings().into_iter().find(|path| name(path) == "container-limit.jsonl.zst").expect("recording");
    assert!(std::fs::metadata(&path).expect("file").len() < 40_000);
    let signals = signals(&path);
    assert_eq!(whole(&signals).snapshot().findings.len(), 1);
    let own = |signal: &Signal| match &signal.body {
        Body::Cgroup(sample) => sample.path.starts_with("/nodewhy-demo-"),
        Body::Processes(read) => read.cgroup.starts_with("/nodewhy-demo-"),
        Body::Kernel(line) => matches!(line, KernelLine::Kmsg(_)),
        _ => true,
    };
    assert!(signals.iter().all(own), "nothing of other pods");
}
