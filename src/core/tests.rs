//! The core on made-up signals: what it tells, counts and keeps.

mod kernel_problems;
mod userspace_oom;

use super::*;
use crate::{
    findings::{Change, Finding},
    model::{Attribution, Blame, BootId, Bytes, Cause, Confidence, Limit, Pid, PodUid, ProcessKey, Scope},
    signal::{CgroupCounters, CgroupVersion, ContainerState, Gap, MemoryEvents, MemorySplit, PodRecord, PodUpdate, ProcessSample},
};
use std::sync::Arc;

mod etcd;
mod kubelet_api;
mod kubelet_kills;
mod late_evidence;
mod node_trouble;
mod pod_words;
mod pods_come_and_go;
mod series;
mod starvation;

const UID: &str = "11111111-2222-3333-4444-555555555555";
const POD: &str = "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555";

fn id(letter: &str) -> String {
    letter.repeat(64)
}

fn path(letter: &str) -> String {
    format!("{POD}/{}", id(letter))
}

fn moment(second: f64) -> Moment {
    let start = Moment { boot: BootTime(0), wall: "2026-11-23T10:00:00Z".parse().expect("time") };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    start.at_boot_time(BootTime((second * 1e6) as u64))
}

struct Bench {
    core: Core,
    seq: u64,
    /// How long after it was logged a record is read.
    lag: f64,
    told: Vec<(Change, Finding)>,
    looks: Vec<String>,
    log_readings: usize,
    asks: Vec<KubeletQuestion>,
    logs: Vec<(String, u32)>,
    losses: Vec<(u64, String)>,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { seq: 100, ..Self::of(Core::new()) };
        bench.start(0.0);
        bench
    }

    fn of(core: Core) -> Self {
        Self { core, seq: 0, lag: 0.0, told: vec![], looks: vec![], log_readings: 0, asks: vec![], logs: vec![], losses: vec![] }
    }

    fn start(&mut self, second: f64) {
        let facts = NodeFacts {
            node: "n1".into(),
            boot_id: BootId("b00t".into()),
            kernel: "6.18".into(),
            cgroups: CgroupVersion::V2,
            page_size: 4096,
            ticks_per_second: 100,
            memory_total: Some(Bytes(8 << 30)),
            agent: "test".into(),
        };
        self.say(second, Body::Node(facts));
    }

    fn say(&mut self, second: f64, body: Body) {
        for effect in self.core.apply(Signal { at: moment(second), body }) {
            match effect {
                Effect::Loss { loss, .. } => self.losses.push((loss.records, loss.why)),
                Effect::Finding { change, finding } => self.told.push((change, *finding)),
                Effect::Look { cgroup } => self.looks.push(cgroup),
                Effect::ReadKernelLog => self.log_readings += 1,
                Effect::ReadLog { container, attempt, .. } => self.logs.push((container, attempt)),
                Effect::AskKubelet(question) => self.asks.push(question),
                Effect::MeasureStorage | Effect::Save => {}
            }
        }
    }

    fn ticks(&mut self, from: u32, to: u32) {
        (from..=to).for_each(|second| self.say(f64::from(second), Body::Tick));
    }

    fn record(&mut self, second: f64, prio: u8, text: &str) {
        self.seq += 1;
        let micros = moment(second).boot.0;
        self.say(second + self.lag, Body::Kernel(KernelLine::Kmsg(format!("{prio},{},{micros},-;{text}", self.seq))));
    }

    fn dump(&mut self, second: f64, limit: &str, victim: &str, comm: &str, pid: u32) {
        self.record(second, 4, &format!("{comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"));
        if limit != "global_oom" {
            self.record(second, 6, "memory: usage 65536kB, limit 65536kB, failcnt 9");
        }
        let domain = if limit == "global_oom" { limit.to_owned() } else { format!("oom_memcg={limit}") };
        self.record(second, 6, &format!("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,{domain},task_memcg={victim},task={comm},pid={pid},uid=0"));
        let prefix = if limit == "global_oom" { "Out of memory" } else { "Memory cgroup out of memory" };
        self.record(second, 3, &format!("{prefix}: Killed process {pid} ({comm}) total-vm:90000kB, anon-rss:60000kB, file-rss:400kB, shmem-rss:0kB, UID:0 pgtables:160kB oom_score_adj:0"));
    }

    fn sample(&mut self, second: f64, path: &str, usage_mib: u64, limit_mib: Option<u64>, kills: u64) {
        let events = MemoryEvents { oom_kill: Some(kills), ..MemoryEvents::default() };
        let sample = CgroupSample {
            path: path.into(),
            usage: Some(Bytes(usage_mib << 20)),
            limit: Some(limit_mib.map_or(Limit::Unlimited, |mib| Limit::Bytes(Bytes(mib << 20)))),
            counters: CgroupCounters { events: Some(events), local: Some(events), failcnt: None },
            ..CgroupSample::default()
        };
        self.say(second, Body::Cgroup(Box::new(sample)));
    }

    fn processes(&mut self, second: f64, path: &str, pids: &[(u32, u32, &str)]) {
        let process = |(pid, inner, comm): &(u32, u32, &str)| ProcessSample {
            key: ProcessKey { pid: Pid(*pid), start_ticks: u64::from(*pid) },
            inner_pid: Some(*inner),
            comm: (*comm).into(),
            rss_anon: Some(Bytes(1 << 20)),
            rss_file: None,
            rss_shmem: None,
            swap: None,
            oom_score_adj: Some(0),
        };
        self.say(second, Body::Processes(ProcessesSample { cgroup: path.into(), processes: pids.iter().map(process).collect() }));
    }

    fn only(&self) -> Finding {
        let findings = self.core.snapshot().findings;
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings.into_iter().next().expect("one")
    }

    fn kills(&self, cause: Cause) -> u64 {
        self.core.snapshot().counters.oom_kills.iter().filter(|(known, ..)| *known == cause).map(|(.., count)| count).sum()
    }
}

mod contradictions;
mod without_status;

#[test]
fn a_container_at_its_own_limit_is_told_at_once_and_counted_once() {
    let mut bench = Bench::new();
    bench.sample(1.0, &path("a"), 20, Some(64), 0);
    bench.sample(2.0, &path("a"), 40, Some(64), 0);
    bench.processes(2.0, &path("a"), &[(17, 1, "app")]);
    bench.dump(3.0, &path("a"), &path("a"), "app", 17);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.scope, finding.blame), (Cause::OomContainerLimit, Scope::Container, Blame::Workload));
    assert_eq!((finding.confidence, finding.attribution, finding.count), (Confidence::Proven, Attribution::Kernel, 1));
    assert!(finding.summary.contains("app (pid 17)") && finding.summary.contains("limit of 64 MiB"), "{}", finding.summary);
    assert!(finding.summary.contains("grew 22 MiB/s for 2 s, from 20 MiB"), "{}", finding.summary);
    assert_eq!(bench.looks, [path("a")], "fresh figures are asked for");
    bench.say(20.0, Body::Tick);
    assert_eq!((bench.kills(Cause::OomContainerLimit), bench.only().count), (1, 1));
}

#[test]
fn a_killed_child_is_told_when_its_container_lives_on() {
    let mut bench = Bench::new();
    bench.sample(1.0, &path("a"), 20, Some(64), 0);
    bench.processes(2.0, &path("a"), &[(17, 1, "app"), (18, 7, "worker")]);
    bench.dump(3.0, &path("a"), &path("a"), "worker", 18);
    assert!(bench.told.is_empty(), "the container may follow");
    bench.processes(3.5, &path("a"), &[(17, 1, "app")]);
    bench.say(4.1, Body::Tick);
    let finding = bench.only();
    assert_eq!(finding.cause, Cause::OomChildProcess);
    assert!(finding.summary.contains("lives on"), "{}", finding.summary);
}

#[test]
fn a_container_that_follows_its_child_was_killed_by_its_limit() {
    let mut bench = Bench::new();
    bench.sample(1.0, &path("a"), 20, Some(64), 0);
    bench.processes(2.0, &path("a"), &[(17, 1, "app"), (18, 7, "worker")]);
    bench.dump(3.0, &path("a"), &path("a"), "worker", 18);
    bench.say(3.4, Body::CgroupGone { path: path("a") });
    assert_eq!(bench.only().cause, Cause::OomContainerLimit);
}

#[test]
fn a_group_kill_is_one_event_with_several_victims() {
    let mut bench = Bench::new();
    bench.processes(2.0, &path("a"), &[(17, 1, "app"), (18, 7, "worker")]);
    bench.dump(3.0, &path("a"), &path("a"), "worker", 18);
    bench.record(3.0, 6, &format!("Tasks in {} are going to be killed due to memory.oom.group set", path("a")));
    for (pid, comm) in [(17, "app"), (18, "worker")] {
        bench.record(3.0, 3, &format!("Memory cgroup out of memory: Killed process {pid} ({comm}) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0"));
    }
    bench.say(20.0, Body::Tick);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.count, bench.kills(Cause::OomContainerLimit)), (Cause::OomContainerLimit, 1, 1));
    assert!(finding.summary.contains("all 2 processes"), "{}", finding.summary);
}

#[test]
fn every_process_of_a_group_settles_the_counter() {
    let mut bench = Bench::new();
    bench.sample(1.0, POD, 20, Some(64), 0);
    bench.dump(3.0, &path("a"), &path("a"), "worker", 18);
    bench.record(3.0, 6, &format!("Tasks in {} are going to be killed due to memory.oom.group set", path("a")));
    for (pid, comm) in [(17, "app"), (18, "worker")] {
        bench.record(3.0, 3, &format!("Memory cgroup out of memory: Killed process {pid} ({comm}) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0"));
    }
    bench.sample(3.1, POD, 1, Some(64), 3);
    bench.say(60.0, Body::Tick);
    assert_eq!(bench.only().count, 1, "no second finding about what the counter tells, too");
    assert_eq!(bench.core.snapshot().counters.kills_both_saw, 3);
}

#[test]
fn figures_read_after_a_kill_do_not_explain_it() {
    let mut bench = Bench::new();
    bench.sample(1.0, &path("a"), 40, Some(64), 0);
    bench.processes(1.5, &path("a"), &[(17, 1, "app")]);
    bench.dump(3.0, &path("a"), &path("a"), "app", 17);
    let before = bench.only();
    bench.sample(3.2, &path("a"), 1, Some(64), 1);
    bench.processes(3.2, &path("a"), &[]);
    assert_eq!(bench.only(), before);
    assert!(before.evidence.iter().any(|evidence| evidence.what.contains("1 MiB resident (VmRSS) of 40 MiB")), "{:#?}", before.evidence);
}

#[test]
fn a_pod_limit_names_the_container_that_holds_the_memory() {
    let mut bench = Bench::new();
    for (letter, usage) in [("a", 6), ("b", 59)] {
        bench.sample(1.0, &path(letter), usage, Some(60), 0);
    }
    bench.processes(2.0, &path("a"), &[(17, 1, "app")]);
    bench.dump(3.0, POD, &path("a"), "app", 17);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.scope), (Cause::OomPodLimit, Scope::Pod));
    assert!(finding.summary.contains("held by container bbbbbbbbbbbb"), "{}", finding.summary);
}

#[test]
fn a_pod_with_one_container_reached_the_containers_own_limit() {
    let mut bench = Bench::new();
    bench.sample(1.0, &path("a"), 60, Some(64), 0);
    bench.processes(2.0, &path("a"), &[(17, 1, "app")]);
    bench.dump(3.0, POD, &path("a"), "app", 17);
    assert_eq!((bench.only().cause, bench.only().scope), (Cause::OomContainerLimit, Scope::Container));
}

#[test]
fn a_global_kill_is_the_nodes_and_not_the_containers_limit() {
    let mut bench = Bench::new();
    bench.sample(1.0, &path("a"), 1, Some(64), 0);
    bench.processes(2.0, &path("a"), &[(17, 1, "entry")]);
    bench.dump(3.0, "global_oom", &path("a"), "entry", 17);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.scope, finding.blame), (Cause::OomNode, Scope::Node, Blame::Node));
    assert_eq!(finding.subjects[0].pod_uid.as_ref().map(ToString::to_string).as_deref(), Some(UID));
}

#[test]
fn the_limit_of_all_pods_is_the_nodes() {
    let mut bench = Bench::new();
    bench.dump(3.0, "/kubepods", &path("a"), "app", 17);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.scope, finding.blame), (Cause::OomNodeAllocatable, Scope::NodeAllocatable, Blame::Node));
}

#[test]
fn bare_kills_of_a_storm_are_placed_by_pid_or_by_counter() {
    let mut bench = Bench::new();
    bench.sample(1.0, POD, 60, Some(64), 0);
    bench.sample(1.0, &path("a"), 60, Some(64), 0);
    bench.processes(2.0, &path("a"), &[(17, 1, "app")]);
    let bare = |pid: u32, comm: &str| {
        format!(
            "Memory cgroup out of memory: Killed process {pid} ({comm}) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0"
        )
    };
    bench.record(3.0, 3, &bare(17, "app"));
    assert_eq!(bench.only().attribution, Attribution::PidCache);
    assert_eq!(bench.only().confidence, Confidence::Likely);
    bench.sample(3.1, POD, 60, Some(64), 1);
    bench.record(20.0, 3, &bare(99, "worker"));
    bench.sample(20.5, POD, 60, Some(64), 2);
    bench.say(30.0, Body::Tick);
    bench.record(40.0, 3, "oom_kill_process: 2 callbacks suppressed");
    let attributions: Vec<_> = bench.core.snapshot().findings.iter().map(|finding| finding.attribution).collect();
    assert!(attributions.contains(&Attribution::Counter), "{attributions:?}");
    assert_eq!(bench.core.snapshot().counters.dumps_suppressed, 2);
    assert_eq!(bench.core.snapshot().counters.kills_both_saw, 2);
}

#[test]
fn a_reused_pid_belongs_to_nobody() {
    let mut bench = Bench::new();
    bench.processes(2.0, &path("a"), &[(17, 1, "app")]);
    bench.record(3.0, 3, "Memory cgroup out of memory: Killed process 17 (other) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0");
    bench.record(200.0, 3, "Memory cgroup out of memory: Killed process 17 (app) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0");
    bench.say(300.0, Body::Tick);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.attribution, finding.count), (Cause::OomUnattributed, Attribution::None, 2));
    assert!(finding.subjects.is_empty());
}

#[test]
fn a_kill_that_only_the_counter_saw_is_told_so() {
    let mut bench = Bench::new();
    bench.sample(1.0, POD, 60, Some(64), 4);
    assert_eq!(bench.log_readings, 0);
    bench.sample(20.0, POD, 60, Some(64), 5);
    assert!(bench.told.is_empty());
    assert_eq!(bench.log_readings, 1, "the log is looked at before its time");
    bench.say(26.0, Body::Tick);
    let finding = bench.only();
    assert_eq!((finding.attribution, finding.confidence), (Attribution::Counter, Confidence::Likely));
    assert_eq!(bench.core.snapshot().counters.kills_only_counter, 1);
}

#[test]
fn a_victim_that_held_most_of_the_node_is_no_neighbours_fault() {
    const OTHER: &str = "99999999-2222-3333-4444-555555555555";
    for (others_mib, blame) in [(40, Blame::Node), (5000, Blame::Neighbour)] {
        let mut bench = Bench::new();
        let other = format!("/kubepods/besteffort/pod{OTHER}");
        // The victim's own sample is from before it grew; it held 60 MB when it was killed.
        bench.sample(1.0, POD, 2, None, 0);
        bench.sample(1.0, &path("a"), 2, None, 0);
        bench.sample(1.0, &other, others_mib, None, 0);
        bench.dump(3.0, "global_oom", &path("a"), "app", 17);
        bench.say(14.0, Body::Tick);
        let finding = bench.only();
        assert_eq!((finding.cause, finding.blame), (Cause::OomNode, blame), "{}", finding.summary);
    }
}

#[test]
fn another_kubelets_pod_is_foreign() {
    let mut bench = Bench::new();
    let own = crate::model::PodUid::parse("99999999-2222-3333-4444-555555555555").expect("uid");
    bench.say(
        1.0,
        Body::Pods(PodUpdate::Directory { namespace: "shop".into(), name: "web".into(), uid: own, containers: vec![], followed: false }),
    );
    bench.dump(3.0, &path("a"), &path("a"), "app", 17);
    bench.say(14.0, Body::Tick);
    bench.say(30.0, Body::Tick);
    assert!(bench.core.snapshot().findings.is_empty());
    assert_eq!(bench.core.snapshot().counters.foreign_oom_kills, 1);
    assert_eq!(bench.kills(Cause::OomContainerLimit), 0);
}

#[test]
fn forged_and_lost_records_are_counted_exactly() {
    let mut bench = Bench::new();
    bench.record(1.0, 12, "Memory cgroup out of memory: Killed process 1 (init) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB");
    bench.seq += 812;
    bench.record(2.0, 6, "something else");
    bench.say(3.0, Body::Kernel(KernelLine::Kmsg("rubbish".into())));
    let snapshot = bench.core.snapshot();
    assert!(snapshot.findings.is_empty());
    assert_eq!((snapshot.counters.spoofed_records, snapshot.counters.malformed_records), (1, 1));
    let health = snapshot.sources.iter().find(|health| health.source == SourceName::KernelLog).expect("the source");
    let loss = health.last_loss.as_ref().map(|loss| (loss.records, loss.why.as_str()));
    assert_eq!((health.lost, loss), (812, Some((812, "the kernel's ring was overwritten before it was read"))));
}

#[test]
fn losses_are_told_once_a_minute_and_all_are_counted() {
    let mut bench = Bench::new();
    for (second, lost) in [(1.0, None), (2.0, Some(17)), (62.0, Some(3))] {
        let gap = Gap { source: SourceName::KernelLog, lost, detail: format!("at {second}") };
        bench.say(second, Body::Gap(gap));
    }
    assert_eq!(bench.losses, [(1, "at 1".to_owned()), (3, "at 62".to_owned())]);
    assert_eq!(bench.core.snapshot().sources.iter().map(|health| health.lost).sum::<u64>(), 21);
}

#[test]
fn a_manual_kill_is_not_memory_pressure() {
    let mut bench = Bench::new();
    bench.record(1.0, 4, "bash invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0");
    bench.record(
        1.0,
        6,
        &format!(
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg={},task=app,pid=17,uid=0",
            path("a")
        ),
    );
    bench.record(1.0, 3, "Out of memory: Killed process 17 (app) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0");
    assert_eq!(bench.only().cause, Cause::OomManual);
}

#[test]
fn memory_that_a_restart_does_not_free_is_named() {
    let mut bench = Bench::new();
    let sample = CgroupSample {
        path: path("a"),
        usage: Some(Bytes(60 << 20)),
        limit: Some(Limit::Bytes(Bytes(64 << 20))),
        split: Some(MemorySplit {
            anon: Some(Bytes(4 << 20)),
            file: Some(Bytes(55 << 20)),
            shmem: Some(Bytes(54 << 20)),
            ..MemorySplit::default()
        }),
        ..CgroupSample::default()
    };
    bench.say(1.0, Body::Cgroup(Box::new(sample)));
    bench.dump(3.0, &path("a"), &path("a"), "app", 17);
    let finding = bench.only();
    assert_eq!(finding.memory.and_then(|memory| memory.restart_helps), Some(false));
    assert!(finding.summary.contains("A restart of the container does not help"), "{}", finding.summary);
}

/// A pod whose container `app` is at `attempt`, as the API server shows it.
fn pod(attempt: u32, state: crate::signal::ContainerState, last: Option<TerminatedState>) -> PodRecord {
    PodRecord {
        uid: UID.into(),
        namespace: "shop".into(),
        name: "web-1".into(),
        created: Some(moment(2.0).wall),
        owner: Some(crate::signal::Owner { kind: "ReplicaSet".into(), name: "web-77".into() }),
        template_hash: Some("77".into()),
        containers: vec![crate::signal::ContainerRecord {
            name: "app".into(),
            container_id: Some(format!("containerd://{}", id("a"))),
            restart_count: Some(attempt),
            state: Some(state),
            last,
            ..Default::default()
        }],
        ..PodRecord::default()
    }
}

fn ended(exit_code: i32, reason: &str, second: f64) -> TerminatedState {
    TerminatedState {
        exit_code,
        reason: Some(reason.into()),
        started: Some(moment(second - 2.0).wall),
        finished: Some(moment(second).wall),
        container_id: Some(format!("containerd://{}", id("a"))),
        message: None,
    }
}

impl Bench {
    fn watching(second: f64) -> Self {
        let mut bench = Self::new();
        let report =
            crate::signal::SourceReport { source: SourceName::KernelLog, state: crate::signal::SourceState::Up, detail: "test".into() };
        bench.say(second, Body::Source(report));
        bench.say(second, Body::Pods(PodUpdate::Listed(crate::signal::PodSnapshot::default())));
        bench
    }

    fn pod(&mut self, second: f64, pod: PodRecord) {
        self.say(second, Body::Pods(PodUpdate::Changed { pod: Box::new(pod), deleted: false }));
    }

    fn terminations(&self, cause: Cause) -> u64 {
        self.core.snapshot().counters.terminations.values().filter_map(|causes| causes.get(&cause)).sum()
    }
}

use crate::signal::TerminatedState;

#[test]
fn an_exit_is_told_once_with_its_workload_and_its_log_is_read() {
    let mut bench = Bench::watching(1.0);
    for second in [10.0, 10.5] {
        bench.pod(second, pod(0, ContainerState::Terminated(ended(3, "Error", 10.0)), None));
    }
    assert_eq!(bench.logs, [("app".to_owned(), 0)]);
    bench.say(14.0, Body::Tick);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.count, finding.attribution), (Cause::AppError, 1, Attribution::Runtime));
    let subject = &finding.subjects[0];
    assert_eq!(
        (subject.workload_kind.as_deref(), subject.workload.as_deref(), subject.attempt),
        (Some("Deployment"), Some("web"), Some(0))
    );
    assert!(finding.summary.starts_with("Container app of pod shop/web-1 ended itself with status 3"), "{}", finding.summary);
    assert_eq!(bench.terminations(Cause::AppError), 1);
    let workloads = bench.core.snapshot().workloads;
    assert_eq!((workloads[0].pods, workloads[0].crashed_pods), (1, 1));
}

#[test]
fn a_kernel_kill_that_kubernetes_calls_an_error_stays_an_oom_kill() {
    let mut bench = Bench::watching(1.0);
    bench.processes(8.0, &path("a"), &[(17, 1, "app")]);
    bench.dump(9.8, &path("a"), &path("a"), "app", 17);
    bench.pod(10.5, pod(0, ContainerState::Terminated(ended(137, "Error", 10.0)), None));
    bench.say(30.0, Body::Tick);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.count), (Cause::OomContainerLimit, 1));
    assert_eq!(finding.subjects[0].container.as_deref(), Some("app"));
    let contradiction = finding.evidence.iter().find(|evidence| !evidence.supports).expect("said");
    assert!(contradiction.what.contains("not OOMKilled"), "{}", contradiction.what);
    assert_eq!(bench.terminations(Cause::OomContainerLimit), 1);
}

#[test]
fn oom_killed_without_a_kill_is_contradicted_and_with_a_gap_it_is_left_open() {
    for (lost, cause) in [(false, Cause::Killed), (true, Cause::OomContainerLimit)] {
        let mut bench = Bench::watching(1.0);
        bench.record(9.0, 6, "eth0: link becomes ready");
        bench.seq += if lost { 40 } else { 0 };
        bench.record(9.5, 6, "eth0: link is still there");
        bench.pod(10.5, pod(0, ContainerState::Terminated(ended(137, "OOMKilled", 10.0)), None));
        bench.say(20.0, Body::Tick);
        let finding = bench.only();
        assert_eq!(finding.cause, cause);
        if lost {
            assert_eq!(finding.confidence, Confidence::Possible);
            assert!(finding.not_found[0].contains("records of it were lost"), "{:?}", finding.not_found);
        } else {
            assert!(finding.evidence[0].what.contains("the kernel killed nothing in this instance"), "{:?}", finding.evidence);
        }
    }
}

#[test]
fn a_kill_without_a_cgroup_may_be_the_one_that_kubernetes_means() {
    let mut bench = Bench::watching(1.0);
    bench.record(9.8, 3, "Memory cgroup out of memory: Killed process 99 (app) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0");
    bench.pod(10.5, pod(0, ContainerState::Terminated(ended(137, "OOMKilled", 10.0)), None));
    for second in [16.0, 17.0, 20.0] {
        bench.say(second, Body::Tick);
    }
    let findings = bench.core.snapshot().findings;
    let own = findings.iter().find(|finding| !finding.subjects.is_empty()).expect("the container's");
    assert_eq!((own.cause, own.confidence), (Cause::OomContainerLimit, Confidence::Possible));
    assert!(own.not_found[0].contains("names no cgroup"), "{:?}", own.not_found);
}

#[test]
fn a_stop_hours_after_a_childs_kill_is_not_an_oom_kill() {
    let mut bench = Bench::watching(1.0);
    bench.processes(2.0, &path("a"), &[(17, 1, "app"), (18, 7, "worker")]);
    bench.dump(3.0, &path("a"), &path("a"), "worker", 18);
    bench.processes(3.5, &path("a"), &[(17, 1, "app")]);
    bench.pod(3000.5, pod(0, ContainerState::Terminated(ended(143, "OOMKilled", 3000.0)), None));
    bench.say(3010.0, Body::Tick);
    let findings = bench.core.snapshot().findings;
    let own = findings.iter().find(|finding| finding.cause == Cause::Killed).expect("its own finding");
    assert!(own.summary.contains("not for lack of memory"), "{}", own.summary);
    let child = findings.iter().find(|finding| finding.cause == Cause::OomChildProcess).expect("the child's");
    assert_eq!(own.related.first(), Some(&child.id));
}

#[test]
fn a_loop_is_one_finding_that_counts_and_tells_its_pace() {
    let mut bench = Bench::watching(1.0);
    for attempt in 0..4u32 {
        let second = 10.0 + f64::from(attempt) * 20.0;
        let waiting = crate::signal::WaitingState {
            reason: Some("CrashLoopBackOff".into()),
            message: Some("back-off 40s restarting failed container=app pod=web-1_shop(uid)".into()),
        };
        let mut shown = pod(attempt, ContainerState::Waiting(waiting), Some(ended(1, "Error", second)));
        let own = format!("containerd://{}", id(["a", "b", "c", "d"][attempt as usize]));
        shown.containers[0].container_id = Some(own.clone());
        shown.containers[0].last.as_mut().expect("last").container_id = Some(own);
        bench.pod(second + 0.5, shown.clone());
        bench.say(second + 5.0, Body::Tick);
        bench.pod(second + 6.0, shown);
    }
    let finding = bench.only();
    assert_eq!((finding.cause, finding.count), (Cause::AppError, 4));
    let crash_loop = finding.crash_loop.expect("a loop");
    assert_eq!((crash_loop.deaths, crash_loop.attempt, crash_loop.interval_seconds), (4, Some(3), Some(20)));
    assert_eq!(crash_loop.back_off_seconds, Some(40));
    assert_eq!(bench.core.snapshot().workloads[0].crash_looping, 1);
}

#[test]
fn a_container_that_had_run_for_long_does_not_loop_by_its_restart_count() {
    for (started, looping) in [(3.0, 0), (2990.0, 1)] {
        let mut bench = Bench::watching(1.0);
        bench.pod(3.0, pod(5, ContainerState::Running { started: Some(moment(3.0).wall) }, None));
        let state = TerminatedState { started: Some(moment(started).wall), ..ended(1, "Error", 3000.0) };
        bench.pod(3000.5, pod(5, ContainerState::Terminated(state), None));
        bench.ticks(3001, 3010);
        let looped: u64 = bench.core.snapshot().workloads.iter().map(|workload| workload.crash_looping).sum();
        assert_eq!(
            (looped, bench.core.snapshot().findings.iter().filter(|told| told.crash_loop.is_some()).count() as u64),
            (looping, looping)
        );
    }
}

#[test]
fn what_a_program_said_last_refines_its_exit() {
    let mut bench = Bench::watching(1.0);
    bench.pod(10.5, pod(0, ContainerState::Terminated(ended(1, "Error", 10.0)), None));
    let uid = crate::model::PodUid::parse(UID).expect("uid");
    let lines = vec!["2026-11-23T10:00:10Z stderr P exec /bin/app: exec format error".to_owned()];
    bench.say(10.6, Body::ContainerLog(crate::signal::ContainerLogTail { pod: uid, container: "app".into(), attempt: 0, lines }));
    bench.say(14.0, Body::Tick);
    assert_eq!(bench.only().cause, Cause::ExecFormat);
    assert!(!serde_json::to_string(&bench.only()).expect("json").contains("/bin/app"), "the text itself stays inside");
}

#[test]
fn the_text_of_a_log_is_told_only_where_it_was_asked_for() {
    let mut bench = Bench::watching(1.0);
    bench.core = std::mem::take(&mut bench.core).with_log_excerpts();
    bench.pod(10.5, pod(0, ContainerState::Terminated(ended(1, "Error", 10.0)), None));
    let uid = crate::model::PodUid::parse(UID).expect("uid");
    let lines = vec!["2026-11-23T10:00:10Z stderr F fatal: token=abc no such table: carts".to_owned()];
    bench.say(10.6, Body::ContainerLog(crate::signal::ContainerLogTail { pod: uid, container: "app".into(), attempt: 0, lines }));
    bench.say(14.0, Body::Tick);
    assert_eq!(bench.only().log_excerpt, ["fatal: token=… no such table: carts"]);
}

#[test]
fn a_termination_message_is_read_like_a_log() {
    let mut bench = Bench::watching(1.0);
    let state = TerminatedState { message: Some("starting\npanic: cannot reach db-7: s3cret\n".into()), ..ended(1, "Error", 10.0) };
    bench.pod(10.5, pod(0, ContainerState::Terminated(state), None));
    bench.say(14.0, Body::Tick);
    let finding = bench.only();
    assert_eq!(finding.cause, Cause::AppPanic);
    assert!(finding.evidence.iter().any(|evidence| evidence.what == "its termination message shows a Go panic"), "{:?}", finding.evidence);
    assert!(!serde_json::to_string(&finding).expect("json").contains("s3cret"), "the text itself stays inside");
}

#[test]
fn an_abort_of_the_first_process_looks_like_a_segfault_until_the_kernel_is_asked() {
    let mut bench = Bench::watching(1.0);
    bench.record(9.9, 6, "traps: app[16273] general protection fault ip:401289 sp:7ffe00 error:0 in app[401000+93000]");
    bench.pod(10.5, pod(0, ContainerState::Terminated(ended(139, "Error", 10.0)), None));
    bench.say(14.0, Body::Tick);
    assert_eq!(bench.only().cause, Cause::Aborted);
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_until_it_can() {
    let mut bench = Bench::watching(1.0);
    let waits =
        |reason: &str| crate::signal::WaitingState { reason: Some(reason.into()), message: Some("registry.example/x: not found".into()) };
    for (second, reason) in [(10.0, "ErrImagePull"), (11.0, "ImagePullBackOff"), (12.0, "ImagePullBackOff"), (20.0, "ErrImagePull")] {
        let mut waiting = pod(0, ContainerState::Waiting(waits(reason)), None);
        waiting.containers[0].container_id = None;
        bench.pod(second, waiting);
    }
    assert_eq!((bench.only().cause, bench.only().count, bench.only().blame), (Cause::ImagePull, 2, Blame::Workload));
    bench.pod(30.0, pod(0, ContainerState::Running { started: Some(moment(30.0).wall) }, None));
    assert_eq!(bench.only().state, crate::findings::FindingState::Resolved);
}

#[test]
fn a_deleted_pod_that_stops_in_time_is_no_crash() {
    let mut bench = Bench::watching(1.0);
    for (exit_code, crash) in [(143, false), (137, true)] {
        let mut stopped = pod(0, ContainerState::Terminated(ended(exit_code, "Error", 40.0)), None);
        stopped.uid = format!("{exit_code}{}", &UID[3..]);
        stopped.deletion = Some(moment(40.0).wall);
        stopped.grace_seconds = Some(30);
        bench.pod(40.5, stopped);
        bench.say(50.0, Body::Tick);
        let told = bench.core.snapshot().findings.iter().any(|finding| finding.cause == Cause::SlowShutdown);
        assert_eq!(told, crash, "exit code {exit_code}");
    }
    assert_eq!(bench.terminations(Cause::Stopped), 1);
}

#[test]
fn a_volume_that_stays_away_is_told_and_one_that_is_late_is_not() {
    let line = |seconds: f64| {
        let origin =
            crate::signal::KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: (seconds * 1000.0) as u64 };
        let text = format!(
            "E1123 10:00:00.000005    4052 nestedpendingoperations.go:348] Operation for \"{{volumeName:kubernetes.io/configmap/{UID}-cfg podName:{UID} nodeName:}}\" failed. No retries permitted until 2026-11-23 10:00:38.0 +0000 UTC m=+912.3 (durationBeforeRetry 2s). Error: MountVolume.SetUp failed for volume \"cfg\" (UniqueName: \"kubernetes.io/configmap/{UID}-cfg\") pod \"web-1\" (UID: \"{UID}\") : configmap \"app-cfg\" not found"
        );
        Body::Kubelet(crate::signal::KubeletLine { origin, text })
    };
    let mut bench = Bench::watching(1.0);
    for second in [10.0, 10.5, 11.5] {
        bench.say(second, line(second));
        bench.say(second + 0.3, Body::Tick);
    }
    assert!(bench.core.snapshot().findings.is_empty(), "it may still come");
    for second in [17.5, 25.5] {
        bench.say(second, line(second));
        bench.say(second + 1.3, Body::Tick);
    }
    let finding = bench.only();
    assert_eq!((finding.cause, finding.count), (Cause::VolumeMount, 5));
    assert!(finding.evidence[0].what.contains("app-cfg"), "{:?}", finding.evidence);
    bench.pod(30.0, pod(0, ContainerState::Running { started: Some(moment(30.0).wall) }, None));
    assert_eq!(bench.only().state, crate::findings::FindingState::Resolved);
}

#[test]
fn a_probe_that_the_kubelet_names_outweighs_the_exit_code() {
    let mut bench = Bench::watching(1.0);
    bench.pod(5.0, pod(0, ContainerState::Running { started: Some(moment(5.0).wall) }, None));
    let origin = crate::signal::KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: 1 };
    let text = "I1123 10:00:09.649262     230 kuberuntime_manager.go:1107] \"Message for Container of pod\" containerName=\"app\" containerStatusID={\"Type\":\"containerd\",\"ID\":\"eb41fd\"} pod=\"shop/web-1\" containerMessage=\"Container app failed liveness probe, will be restarted\"".into();
    bench.say(9.0, Body::Kubelet(crate::signal::KubeletLine { origin, text }));
    bench.say(9.5, Body::Tick);
    bench.pod(10.5, pod(0, ContainerState::Terminated(ended(0, "Completed", 10.0)), None));
    bench.say(14.0, Body::Tick);
    assert_eq!((bench.only().cause, bench.only().confidence), (Cause::LivenessProbe, Confidence::Proven));
}

/// Twelve kills, group kills among them, cut at every record: a restart there changes no total.
#[test]
fn a_restart_at_any_record_loses_and_repeats_nothing() {
    let lines = recorded_storm();
    let whole = totals(&lines, None);
    assert_eq!(whole.1, 12);
    for cut in 0..=lines.len() {
        assert_eq!(totals(&lines, Some(cut)), whole, "restart after record {cut}");
    }
}

fn recorded_storm() -> Vec<Signal> {
    let mut signals = Vec::new();
    let mut seq = 0;
    for kill in 0..12u32 {
        let second = f64::from(kill) * 0.4 + 1.0;
        let mut record = |text: String| {
            seq += 1;
            let raw = format!("4,{seq},{},-;{text}", moment(second).boot.0);
            signals.push(Signal { at: moment(second + 0.001), body: Body::Kernel(KernelLine::Kmsg(raw)) });
        };
        let (pid, path) = (100 + kill, path(["a", "b", "c"][kill as usize % 3]));
        record("app invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0".into());
        record(format!(
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={path},task_memcg={path},task=app,pid={pid},uid=0"
        ));
        record(format!(
            "Memory cgroup out of memory: Killed process {pid} (app) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0"
        ));
        if kill % 4 == 0 {
            record(format!("Tasks in {path} are going to be killed due to memory.oom.group set"));
            for member in [pid, pid + 1000] {
                record(format!(
                    "Memory cgroup out of memory: Killed process {member} (app) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0"
                ));
            }
        }
    }
    signals
}

/// Findings and counters after all signals, with a crash after `cut` of them: the ring still holds everything.
fn totals(signals: &[Signal], cut: Option<usize>) -> (Vec<(String, u64)>, u64) {
    let start = |core: Core| {
        let mut bench = Bench::of(core);
        bench.start(0.5);
        bench
    };
    let mut bench = start(Core::new());
    if let Some(cut) = cut {
        signals.iter().take(cut).for_each(|signal| bench.say_signal(signal));
        let checkpoint = bench.core.checkpoint().expect("boot known");
        let stored = serde_json::to_string(&checkpoint).expect("json");
        bench = start(Core::restore(serde_json::from_str(&stored).expect("json")));
    }
    signals.iter().for_each(|signal| bench.say_signal(signal));
    bench.say(60.0, Body::Tick);
    let mut findings: Vec<_> = bench.core.snapshot().findings.iter().map(|finding| (finding.id.to_string(), finding.count)).collect();
    findings.sort();
    (findings, bench.kills(Cause::OomContainerLimit))
}

impl Bench {
    fn say_signal(&mut self, signal: &Signal) {
        let signal = Arc::new(signal.clone());
        self.core.apply(Signal::clone(&signal));
    }
}
