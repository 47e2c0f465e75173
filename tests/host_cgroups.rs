//! The sampler against the real kernel: real cgroups, real processes, real kills.
//!
//! Needs the right to make cgroups. Without it each test says why it was left out, and fails where
//! `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::disallowed_methods,
    reason = "a test ends where it is surprised; one of them is the way in for its own child processes"
)]

use nodewhy::{
    config::Roots,
    demonstration::{DemoContainer, DemoError, DemoPod, HOG_ARGUMENT, Hog, HogEnd, HogPlan, HogProgram, PodPlan, kill_once, run_hog},
    model::{Bytes, Limit},
    signal::{Body, CgroupSample, NodeSample, ProcessesSample, Signal, SourceName, SourceState},
    sources::{
        cgroups::{SamplerHandle, spawn},
        channel,
    },
};
use std::{ffi::OsString, path::Path, process::Command, time::Duration};
use tokio::sync::mpsc::Receiver;

const MIB: u64 = 1 << 20;
const LIMIT: Bytes = Bytes(32 * MIB);
const CGROUPS: &str = "/sys/fs/cgroup";

/// Only there to end a broken test; every wait ends by the signal that it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The hidden argument of [`entry`] for a reader in a pid namespace of its own.
const NESTED: &str = "__nested";

/// This test program, called again, is its own hog: see [`entry`].
fn program() -> HogProgram {
    let leading = ["--exact", "--nocapture", "entry"].map(OsString::from).to_vec();
    HogProgram { leading, ..HogProgram::this().expect("own path") }
}

/// No test: the way in for this program when a test calls it again with a hidden argument.
#[test]
fn entry() {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let after = |word: &str| arguments.iter().position(|argument| argument == word).map(|at| arguments[at + 1..].to_vec());
    if let Some(plan) = after(HOG_ARGUMENT) {
        let code = run_hog(&program(), &plan);
        std::process::exit(if code == std::process::ExitCode::SUCCESS { 0 } else { 3 });
    }
    if let Some(path) = after(NESTED) {
        let mut watcher = Watcher::start();
        let path = path[0].to_str().expect("path").to_owned();
        let sample = watcher.processes(|sample| sample.cgroup == path);
        let pids: Vec<_> = sample.processes.iter().map(|process| process.key.pid.to_string()).collect();
        println!("\nseen {}", pids.join(" "));
        std::process::exit(0);
    }
}

/// A pod, or `None` (with the reason said) where this machine does not give the right to make one.
fn pod(plan: &PodPlan) -> Option<DemoPod> {
    match DemoPod::create(Path::new(CGROUPS), plan) {
        Ok(pod) => Some(pod),
        Err(error) => {
            left_out(&error);
            None
        }
    }
}

fn left_out(error: &DemoError) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must be able to do this: {error}");
    eprintln!("left out: {error}");
}

fn one_container() -> PodPlan {
    PodPlan { containers: 1, container_limit: Some(LIMIT), pod_limit: None }
}

fn start(pod: &DemoPod, container: &DemoContainer, plan: &HogPlan) -> Hog {
    pod.start(container, &program(), plan).expect("hog")
}

/// A running sampler and what it says.
struct Watcher {
    signals: Receiver<Signal>,
    handle: SamplerHandle,
    runtime: tokio::runtime::Runtime,
}

impl Watcher {
    fn start() -> Self {
        let (outlet, signals) = channel();
        let handle = spawn(&Roots::default(), outlet).expect("thread");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
        Self { signals, handle, runtime }
    }

    fn next(&mut self) -> Body {
        let signals = &mut self.signals;
        let signal = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, signals.recv()).await });
        signal.expect("nothing was said in time").expect("the sampler ended").body
    }

    fn find<T>(&mut self, mut pick: impl FnMut(Body) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.next()) {
                return found;
            }
        }
    }

    fn cgroup(&mut self, is_it: impl Fn(&CgroupSample) -> bool) -> CgroupSample {
        self.find(|body| match body {
            Body::Cgroup(sample) if is_it(&sample) => Some(*sample),
            _ => None,
        })
    }

    fn processes(&mut self, is_it: impl Fn(&ProcessesSample) -> bool) -> ProcessesSample {
        self.find(|body| match body {
            Body::Processes(sample) if is_it(&sample) => Some(sample),
            _ => None,
        })
    }

    fn node(&mut self, is_it: impl Fn(&NodeSample) -> bool) -> NodeSample {
        self.find(|body| match body {
            Body::NodeMemory(sample) if is_it(&sample) => Some(sample),
            _ => None,
        })
    }

    fn gone(&mut self, wanted: &str) {
        self.find(|body| matches!(body, Body::CgroupGone { path } if path == wanted).then_some(()));
    }
}

/// Kills counted by the cgroup alone (v1) or also below it (v2).
fn kills(sample: &CgroupSample) -> u64 {
    let counters = [sample.counters.local, sample.counters.events];
    counters.into_iter().flatten().filter_map(|events| events.oom_kill).max().unwrap_or(0)
}

#[test]
fn a_pod_is_found_when_it_is_made_and_missed_when_it_is_gone() {
    let mut watcher = Watcher::start();
    let Some(pod) = pod(&one_container()) else { return };
    let (path, inside) = (pod.path().to_owned(), pod.container(0).expect("container").path.clone());
    let sample = watcher.cgroup(|sample| sample.path == inside);
    assert_eq!(sample.limit, Some(Limit::Bytes(LIMIT)));
    assert!(sample.usage.is_some() && sample.split.is_some() && sample.counters.local.is_some());
    drop(pod);
    watcher.gone(&inside);
    watcher.gone(&path);
    watcher.handle.stop();
}

#[test]
fn every_source_says_that_it_is_up() {
    if pod(&one_container()).is_none() {
        return;
    }
    let mut watcher = Watcher::start();
    for source in [SourceName::NodeMemory, SourceName::Cgroups, SourceName::Processes] {
        let report = watcher.find(|body| match body {
            Body::Source(report) if report.source == source => Some(report),
            _ => None,
        });
        assert_eq!(report.state, SourceState::Up, "{}", report.detail);
    }
}

#[test]
fn a_kill_reaches_the_counters_of_the_cgroup_and_of_the_node() {
    let Some(pod) = pod(&one_container()) else { return };
    let container = pod.container(0).expect("container");
    let mut watcher = Watcher::start();
    let before = watcher.node(|node| node.oom_kill.is_some()).oom_kill.expect("counter");
    watcher.cgroup(|sample| sample.path == container.path && kills(sample) == 0);
    let children = HogPlan::Children { count: 1, each: Box::new(HogPlan::grow_beyond(LIMIT)) };
    let mut hog = start(&pod, container, &children);
    hog.wait_until_it_stays().expect("the first process lives on");
    let sample = watcher.cgroup(|sample| sample.path == container.path && kills(sample) > 0);
    assert_eq!(kills(&sample), 1);
    assert!(sample.peak.expect("peak") >= Bytes(LIMIT.0 - MIB));
    assert!(matches!(hog.wait(), Ok(HogEnd::Ended(status)) if status.success()));
    watcher.node(|node| node.oom_kill > Some(before));
}

#[test]
fn the_processes_of_a_container_have_names_and_sizes() {
    let Some(pod) = pod(&one_container()) else { return };
    let container = pod.container(0).expect("container");
    let mut watcher = Watcher::start();
    let mut hog = start(&pod, container, &HogPlan::Hold { amount: Bytes(16 * MIB) });
    hog.wait_until_it_stays().expect("it holds");
    watcher.handle.sample_soon(&container.path);
    let is_whole = |sample: &ProcessesSample| {
        sample.cgroup == container.path && sample.processes.iter().any(|process| process.rss_anon >= Some(Bytes(16 * MIB)))
    };
    let sample = watcher.processes(is_whole);
    let process = &sample.processes[0];
    assert_eq!((process.key.pid, process.comm.as_str(), process.oom_score_adj), (hog.pid(), "nodewhy-hog", Some(985)));
    assert!(process.key.start_ticks > 0 && process.inner_pid.is_some());
}

#[test]
fn without_the_hosts_pid_namespace_the_hosts_pids_are_still_found() {
    let Some(pod) = pod(&one_container()) else { return };
    let container = pod.container(0).expect("container");
    let mut hog = start(&pod, container, &HogPlan::Hold { amount: Bytes(MIB) });
    hog.wait_until_it_stays().expect("it holds");
    let own = program();
    let output = Command::new("unshare")
        .args(["--pid", "--fork"])
        .arg(&own.path)
        .args(&own.leading)
        .args([NESTED, &container.path])
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("seen {}", hog.pid())), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn one_kill_for_the_person_who_asks_for_it() {
    match kill_once(Path::new(CGROUPS), &program()) {
        Ok(kill) => assert!(kill.path.contains(kill.container.as_str()) && kill.path.contains(kill.pod.as_str())),
        Err(error @ (DemoError::NoHog { .. } | DemoError::NotKilled { .. })) => panic!("{error}"),
        Err(error) => left_out(&error),
    }
}

#[test]
fn many_kills_in_a_moment_are_all_counted() {
    let Some(pod) = pod(&one_container()) else { return };
    let container = pod.container(0).expect("container");
    let children = HogPlan::Children { count: 10, each: Box::new(HogPlan::burst_beyond(LIMIT)) };
    let mut watcher = Watcher::start();
    let mut hog = start(&pod, container, &children);
    hog.wait_until_it_stays().expect("the first process lives on");
    watcher.cgroup(|sample| sample.path == container.path && kills(sample) == 10);
}

#[test]
fn a_sibling_takes_the_whole_pod_to_its_limit() {
    let plan = PodPlan { containers: 2, container_limit: None, pod_limit: Some(LIMIT) };
    let Some(pod) = pod(&plan) else { return };
    let mut quiet = start(&pod, pod.container(0).expect("first"), &HogPlan::Hold { amount: Bytes(8 * MIB) });
    quiet.wait_until_it_stays().expect("it holds");
    let greedy = start(&pod, pod.container(1).expect("second"), &HogPlan::grow_beyond(LIMIT));
    assert_eq!(greedy.wait().expect("end"), HogEnd::Killed);
    assert!(matches!(quiet.wait(), Ok(HogEnd::Ended(status)) if status.success()), "the smaller one lives");
}

#[test]
fn a_filled_tmpfs_is_memory_too() {
    let Some(pod) = pod(&one_container()) else { return };
    let fill = HogPlan::FillTmpfs { folder: "/dev/shm".into(), step: Bytes(MIB), ceiling: Bytes(4 * LIMIT.0) };
    match pod.start(pod.container(0).expect("container"), &program(), &fill) {
        Ok(hog) => assert_eq!(hog.wait().expect("end"), HogEnd::Killed),
        Err(error @ DemoError::NotTmpfs { .. }) => left_out(&error),
        Err(error) => panic!("{error}"),
    }
}
