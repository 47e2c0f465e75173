//! The whole program on this very kernel, wired as the agent wires it, with the core in the test's hands.
//!
//! Needs the rights to make cgroups and to read the kernel's log. Without them a test says which one
//! is missing and is left out; with `CI=true` it fails.

#![allow(dead_code, reason = "each test program uses a part")]

use nodewhy::{
    config::{KernelLogChoice, Roots},
    core::{Checkpoint, Core, Effect, Resume},
    demonstration::{DemoContainer, DemoError, DemoPod, Hog, HogEnd, HogPlan, HogProgram, PodPlan},
    findings::{Change, Finding},
    model::{Bytes, ContainerId, Moment, PodUid},
    signal::{Body, Signal, SourceState},
    sources::{self, Bell, Stopper, cgroups, cgroups::SamplerHandle, kernel_log, node_facts},
};
use std::{
    fs::OpenOptions,
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, sync::mpsc};

pub const MIB: u64 = 1 << 20;
pub const LIMIT: Bytes = Bytes(32 * MIB);
const CGROUPS: &str = "/sys/fs/cgroup";

/// Only there to end a broken test; every wait ends by the signal that it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The kernel prints ten dumps in five seconds, whoever is killed: kills of two tests at a time
/// would take each other's.
static KERNEL: Mutex<()> = Mutex::new(());

/// Waits until no other test makes kills, and the kernel has dumps to spare.
pub fn alone() -> MutexGuard<'static, ()> {
    let alone = KERNEL.lock().unwrap_or_else(PoisonError::into_inner);
    while recent_dumps() > SPARED_DUMPS {
        std::thread::sleep(Duration::from_millis(500));
    }
    alone
}

/// How many dumps others may have had in the last five seconds; none of these tests needs more than
/// four.
const SPARED_DUMPS: usize = 4;

/// Dumps of the last five seconds; none where the log cannot be read, which [`pod`] tells.
fn recent_dumps() -> usize {
    let device = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(mut device) = device else { return 0 };
    let since = sources::now().boot.0.saturating_sub(5_000_000);
    let mut buffer = vec![0; 16 << 10];
    let mut dumps = 0;
    loop {
        match device.read(&mut buffer) {
            Ok(length) => {
                let record = String::from_utf8_lossy(&buffer[..length]);
                let time = record.split(',').nth(2).and_then(|time| time.parse::<u64>().ok());
                dumps += usize::from(time >= Some(since) && record.contains("invoked oom-killer"));
            }
            // The record was overwritten; the next read gives the oldest that is left.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(_) => return dumps,
        }
    }
}

/// The program that is to be killed: the one under test.
pub fn program() -> HogProgram {
    HogProgram { path: env!("CARGO_BIN_EXE_nodewhy").into(), leading: Vec::new() }
}

/// Says that a test is left out; a failure where it must not be.
pub fn left_out(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must be able to do this: {why}");
    eprintln!("left out: {why}");
}

/// A pod, or `None` (with the reason said) where this machine does not give the right to make one.
pub fn pod(plan: &PodPlan) -> Option<DemoPod> {
    let log = kernel_log::probe(KernelLogChoice::Kmsg, &Roots::default(), &facts().boot_id);
    if let Some(unreadable) = log.iter().find(|probe| probe.state != SourceState::Up) {
        left_out(&unreadable.detail);
        return None;
    }
    match DemoPod::create(Path::new(CGROUPS), plan) {
        Ok(pod) => Some(pod),
        Err(error) => {
            left_out(&error.to_string());
            None
        }
    }
}

/// One container with a limit.
pub fn one_container() -> PodPlan {
    PodPlan { containers: 1, container_limit: Some(LIMIT), pod_limit: None }
}

/// One of a pod's containers.
pub fn container(pod: &DemoPod, index: usize) -> &DemoContainer {
    pod.container(index).expect("container")
}

/// Starts a process in a container.
pub fn start(pod: &DemoPod, index: usize, plan: &HogPlan) -> Hog {
    pod.start(container(pod, index), &program(), plan).expect("hog")
}

/// A filled tmpfs; `None` where this machine has none.
pub fn start_filling(pod: &DemoPod) -> Option<Hog> {
    let plan = HogPlan::FillTmpfs { folder: "/dev/shm".into(), step: Bytes(MIB / 4), ceiling: Bytes(4 * LIMIT.0) };
    match pod.start(container(pod, 0), &program(), &plan) {
        Ok(hog) => Some(hog),
        Err(error @ DemoError::NotTmpfs { .. }) => {
            left_out(&error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Waits for the end that the kernel makes.
pub fn killed(hog: Hog) {
    assert_eq!(hog.wait().expect("end"), HogEnd::Killed);
}

/// Lets the kernel choose another process before this one: 985 is what a hog gives itself, 0 is
/// what it began with and may always have again.
pub fn protect(hog: &Hog) {
    std::fs::write(format!("/proc/{}/oom_score_adj", hog.pid()), "0").expect("an adjustment that needs no right");
}

fn facts() -> nodewhy::signal::NodeFacts {
    node_facts::read(&Roots::default(), None).expect("facts")
}

/// What was told about a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub change: Change,
    pub finding: Finding,
}

/// A running agent without its exporters.
pub struct Agent {
    core: Core,
    signals: mpsc::Receiver<Signal>,
    sampler: SamplerHandle,
    bell: Bell,
    stopper: Stopper,
    thread: std::thread::JoinHandle<()>,
    runtime: Runtime,
    told: Vec<Told>,
    /// Every signal since the start.
    pub heard: Vec<Signal>,
}

impl Agent {
    /// An agent that reads the log from now on.
    pub fn start(log: KernelLogChoice) -> Self {
        let resume = kernel_log::Resume { boot_time: Some(sources::now().boot), ..kernel_log::Resume::default() };
        Self::run(log, Core::new(), resume)
    }

    /// An agent that goes on where another stopped.
    pub fn resume(log: KernelLogChoice, stored: &str) -> Self {
        let checkpoint: Checkpoint = serde_json::from_str(stored).expect("a checkpoint");
        let Resume { boot, .. } = checkpoint.kernel_log;
        let resume = kernel_log::Resume { seq: checkpoint.kernel_log.sequence(), cursor: None, boot_time: boot };
        Self::run(log, Core::restore(checkpoint), resume)
    }

    fn run(log: KernelLogChoice, core: Core, resume: kernel_log::Resume) -> Self {
        let (outlet, signals) = sources::channel();
        let (stopper, stop) = sources::stop().expect("pipe");
        let facts = facts();
        let sampler = cgroups::spawn(&Roots::default(), outlet.clone()).expect("thread");
        let (bell, thread) = kernel_log::spawn(log, Roots::default(), facts.boot_id.clone(), resume, outlet, stop).expect("thread");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
        let mut agent = Self { core, signals, sampler, bell, stopper, thread, runtime, told: Vec::new(), heard: Vec::new() };
        agent.take(Signal { at: sources::now(), body: Body::Node(facts) });
        agent
    }

    /// Stops it as a crash would, and gives what its last checkpoint holds.
    pub fn stop(self) -> String {
        let checkpoint = self.core.checkpoint().expect("the boot is known");
        let Self { signals, sampler, stopper, thread, .. } = self;
        drop((signals, stopper));
        sampler.stop();
        thread.join().expect("thread");
        serde_json::to_string(&checkpoint).expect("json")
    }

    /// Takes in the next signal, or the passing of time where the core waits for that.
    fn step(&mut self) {
        let wait = self.core.due().map_or(PATIENCE, |due| Duration::from_micros(due.micros_since(sources::now().boot).max(1000)));
        let signals = &mut self.signals;
        let next = self.runtime.block_on(async { tokio::time::timeout(wait, signals.recv()).await });
        match next {
            Ok(signal) => self.take(signal.expect("the sources live")),
            Err(_) => self.take(Signal { at: sources::now(), body: Body::Tick }),
        }
    }

    fn take(&mut self, signal: Signal) {
        self.heard.push(signal.clone());
        for effect in self.core.apply(signal) {
            match effect {
                Effect::Finding { change, finding } => self.told.push(Told { change, finding: *finding }),
                Effect::Look { cgroup } => self.sampler.sample_soon(&cgroup),
                Effect::ReadKernelLog => self.bell.ring(),
                Effect::Loss { .. } | Effect::ReadLog { .. } | Effect::MeasureStorage | Effect::AskKubelet(_) | Effect::Save => {}
            }
        }
    }

    /// Works until `done` says so.
    pub fn until<T>(&mut self, what: &str, mut done: impl FnMut(&Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = done(self) {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "not in time: {what}; told so far: {:#?}", self.told);
            self.step();
        }
    }

    /// Works until a container has been looked into: its figures and its processes.
    pub fn knows(&mut self, container: &DemoContainer) {
        let is_it =
            |signal: &Signal| matches!(&signal.body, Body::Processes(read) if read.cgroup == container.path && !read.processes.is_empty());
        self.until("a look into the container", |agent| agent.heard.iter().any(is_it).then_some(()));
    }

    /// Works until a finding of this pod is as wanted.
    pub fn finds(&mut self, pod: &PodUid, wanted: impl Fn(&Finding) -> bool) -> Finding {
        self.until("the finding", |agent| agent.findings(pod).into_iter().find(&wanted))
    }

    /// Works until every story of now is complete: nothing waits longer than this for the other
    /// detector, for more of a dump, or for a container to follow its child.
    pub fn completes(&mut self) {
        let end = sources::now().boot.plus_seconds(7);
        self.until("the end of all waiting", |agent| agent.now().is_some_and(|now| now.boot >= end).then_some(()));
    }

    fn now(&self) -> Option<Moment> {
        self.heard.last().map(|signal| signal.at)
    }

    /// The findings of one pod now.
    pub fn findings(&self, pod: &PodUid) -> Vec<Finding> {
        let mut findings = self.core.snapshot().findings;
        findings.retain(|finding| about(finding, pod));
        findings
    }

    /// What was told of one pod since the start.
    pub fn told(&self, pod: &PodUid) -> Vec<&Told> {
        self.told.iter().filter(|told| about(&told.finding, pod)).collect()
    }
}

fn about(finding: &Finding, pod: &PodUid) -> bool {
    finding.subjects.iter().any(|subject| subject.pod_uid.as_ref() == Some(pod))
}

/// The containers that a finding names.
pub fn containers(finding: &Finding) -> Vec<&ContainerId> {
    finding.subjects.iter().filter_map(|subject| subject.container_id.as_ref()).collect()
}
