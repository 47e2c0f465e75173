//! Where witnesses contradict each other, or one of them lies: what is concluded, and what is said of it.
//!
//! Each case is one container whose end its status tells at [`END`], with what the kernel, the kubelet and others
//! said before. What Kubernetes shows is unreliable in both directions; a kill needs the kernel or a counter.

use super::*;
use crate::signal::{ContainerKind, ContainerLogTail, KubeletLine, KubeletOrigin};

/// When the container ends, in seconds.
const END: f64 = 3000.0;

/// What the finding has to say about the disagreement, or the agreement.
#[derive(Debug, Clone, Copy)]
enum Says {
    /// Evidence that supports the cause.
    For(&'static str),
    /// Evidence that is told as speaking against it.
    Against(&'static str),
    /// What was looked for in vain.
    NotFound(&'static str),
    /// The sentence itself.
    Summary(&'static str),
}

struct Case {
    name: &'static str,
    before: fn(&mut Bench),
    status: fn() -> PodRecord,
    cause: Cause,
    says: &'static [Says],
}

fn status(exit_code: i32, reason: &str) -> PodRecord {
    pod(0, ContainerState::Terminated(ended(exit_code, reason, END)), None)
}

fn init(mut pod: PodRecord) -> PodRecord {
    pod.containers[0].kind = ContainerKind::Init;
    pod
}

fn with_message(mut pod: PodRecord, text: &str) -> PodRecord {
    if let Some(ContainerState::Terminated(state)) = &mut pod.containers[0].state {
        state.message = Some(text.into());
    }
    pod
}

fn nothing(_: &mut Bench) {}

impl Bench {
    /// The container's first process has pid 17, a worker of it 18.
    fn two_processes(&mut self, second: f64) {
        self.processes(second, &path("a"), &[(17, 1, "app"), (18, 7, "worker")]);
    }

    fn first_process_killed(&mut self) {
        self.two_processes(END - 5.0);
        self.dump(END - 0.2, &path("a"), &path("a"), "app", 17);
    }

    /// A child is killed at second 100 and the container lives on.
    fn child_killed_long_ago(&mut self) {
        self.two_processes(99.0);
        self.dump(100.0, &path("a"), &path("a"), "worker", 18);
        self.processes(100.5, &path("a"), &[(17, 1, "app")]);
        self.ticks(101, 120);
    }

    /// A child is killed seven seconds before the container ends.
    fn child_killed_shortly_before(&mut self) {
        self.two_processes(END - 8.0);
        self.dump(END - 7.0, &path("a"), &path("a"), "worker", 18);
        self.processes(END - 6.0, &path("a"), &[(17, 1, "app")]);
        self.ticks(2994, 2999);
    }

    fn probe_kills(&mut self) {
        let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: 1 };
        let text = r#"I1123 10:49:50.649262     230 kuberuntime_manager.go:1107] "Message for Container of pod" containerName="app" containerStatusID={"Type":"containerd","ID":"eb41fd"} pod="shop/web-1" containerMessage="Container app failed liveness probe, will be restarted""#.into();
        self.say(END - 10.0, Body::Kubelet(KubeletLine { origin, text }));
    }

    fn oomd_kills(&mut self) {
        let path = format!("/kubepods.slice/kubepods-pod{}.slice/cri-containerd-{}.scope", UID.replace('-', "_"), id("a"));
        let origin = KubeletOrigin::Journal {
            unit: "systemd-oomd.service".into(),
            role: None,
            identifier: None,
            pid: None,
            stream: None,
            invocation: None,
            cursor: "c1".into(),
            boot_time: Some(moment(END - 0.2).boot),
            wall: None,
            is_pid1: false,
        };
        let text =
            format!("Killed {path} due to memory pressure for /kubepods.slice being 81.39% > 60.00% for > 30s with reclaim activity");
        self.say(END - 0.2, Body::Kubelet(KubeletLine { origin, text }));
    }

    fn records_lost(&mut self) {
        self.record(END - 2.0, 6, "eth0: link becomes ready");
        self.seq += 40;
        self.record(END - 1.0, 6, "eth0: link is still there");
    }

    fn says_last(&mut self, text: &str) {
        let lines = vec![format!("2026-11-23T10:50:00Z stderr F {text}")];
        let pod = PodUid::parse(UID).expect("uid");
        self.say(END + 1.0, Body::ContainerLog(ContainerLogTail { pod, container: "app".into(), attempt: 0, lines }));
    }

    fn says_of(&self, cause: Cause, name: &str) -> Finding {
        let findings = self.core.snapshot().findings;
        let found: Vec<_> = findings.iter().filter(|finding| finding.cause == cause).collect();
        assert_eq!(found.len(), 1, "{name}: {findings:#?}");
        found[0].clone()
    }
}

impl Says {
    fn holds(self, finding: &Finding) -> bool {
        let evidence = |supports: bool, text: &str| {
            finding.evidence.iter().any(|evidence| evidence.supports == supports && evidence.what.contains(text))
        };
        match self {
            Self::For(text) => evidence(true, text),
            Self::Against(text) => evidence(false, text),
            Self::NotFound(text) => finding.not_found.iter().any(|missed| missed.contains(text)),
            Self::Summary(text) => finding.summary.contains(text),
        }
    }
}

const CASES: &[Case] = &[
    Case {
        name: "the runtime saw the kernel's kill",
        before: Bench::first_process_killed,
        status: || status(137, "OOMKilled"),
        cause: Cause::OomContainerLimit,
        says: &[Says::For("Kubernetes says OOMKilled, exit code 137; the kernel's log agrees")],
    },
    Case {
        name: "systemd removed the scope before the runtime could read its counter",
        before: Bench::first_process_killed,
        status: || status(137, "Error"),
        cause: Cause::OomContainerLimit,
        says: &[Says::Against("Kubernetes says Error, exit code 137, not OOMKilled; the kernel's log shows that it was")],
    },
    Case {
        name: "a child was killed long ago, now a probe ends the container",
        before: |bench| {
            bench.child_killed_long_ago();
            bench.probe_kills();
        },
        status: || status(143, "OOMKilled"),
        cause: Cause::LivenessProbe,
        says: &[
            Says::For("failed liveness probe"),
            Says::Against(
                "Kubernetes says OOMKilled, exit code 143; but that was a child process, 48 min 20 s before, which the container survived",
            ),
            Says::Summary("not for lack of memory: the kernel had killed a child of it 48 min 20 s before"),
        ],
    },
    Case {
        name: "a child was killed long ago, now somebody sends SIGTERM",
        before: Bench::child_killed_long_ago,
        status: || status(143, "OOMKilled"),
        cause: Cause::Killed,
        says: &[Says::Against("which the container survived"), Says::Summary("SIGTERM")],
    },
    Case {
        name: "a child was killed long ago, now the program is done",
        before: Bench::child_killed_long_ago,
        status: || status(0, "OOMKilled"),
        cause: Cause::Completed,
        says: &[Says::Against("which the container survived"), Says::Summary("not for lack of memory")],
    },
    Case {
        name: "a child was killed long ago, now the program fails",
        before: Bench::child_killed_long_ago,
        status: || status(1, "OOMKilled"),
        cause: Cause::AppError,
        says: &[Says::Against("which the container survived"), Says::Summary("not for lack of memory")],
    },
    Case {
        name: "the first process sees its child killed and leaves",
        before: |bench| {
            bench.two_processes(END - 5.0);
            bench.dump(END - 0.2, &path("a"), &path("a"), "worker", 18);
        },
        status: || status(255, "OOMKilled"),
        cause: Cause::OomContainerLimit,
        says: &[Says::For("Kubernetes says OOMKilled, exit code 255; the kernel's log agrees")],
    },
    Case {
        name: "the program fails seconds after its child was killed",
        before: Bench::child_killed_shortly_before,
        status: || status(1, "Error"),
        cause: Cause::AppError,
        says: &[Says::Summary("7 s after the kernel had killed a child of it")],
    },
    Case {
        name: "a probe ends the container seconds after its child was killed",
        before: |bench| {
            bench.child_killed_shortly_before();
            bench.probe_kills();
        },
        status: || status(137, "OOMKilled"),
        cause: Cause::LivenessProbe,
        says: &[Says::For("failed liveness probe"), Says::Against("which the container survived")],
    },
    Case {
        name: "the runtime's process that was to run a probe's command was killed long ago, now the program fails",
        before: |bench| {
            bench.two_processes(99.0);
            bench.dump(100.0, &path("a"), &path("a"), "runc:[2:INIT]", 90);
            bench.processes(100.5, &path("a"), &[(17, 1, "app"), (18, 7, "worker")]);
            bench.ticks(101, 120);
        },
        status: || status(1, "Error"),
        cause: Cause::AppError,
        says: &[],
    },
    Case {
        name: "the same, in a container that nobody has looked into",
        before: |bench| {
            bench.dump(100.0, &path("a"), &path("a"), "runc:[2:INIT]", 90);
            bench.ticks(101, 120);
        },
        status: || status(1, "Error"),
        cause: Cause::AppError,
        says: &[],
    },
    Case {
        name: "an init container whose child was killed leaves with 0",
        before: |bench| {
            bench.two_processes(END - 5.0);
            bench.dump(END - 0.2, &path("a"), &path("a"), "worker", 18);
        },
        status: || init(status(0, "OOMKilled")),
        cause: Cause::OomContainerLimit,
        says: &[Says::For("exit code 0; the kernel's log agrees, and the kubelet takes such an init container for failed")],
    },
    Case {
        name: "an init container is called OOMKilled though nothing was killed",
        before: nothing,
        status: || init(status(0, "OOMKilled")),
        cause: Cause::Killed,
        says: &[Says::Against("the kernel killed nothing in this instance")],
    },
    Case {
        name: "a probe's SIGKILL",
        before: Bench::probe_kills,
        status: || status(137, "Error"),
        cause: Cause::LivenessProbe,
        says: &[Says::For("failed liveness probe"), Says::NotFound("its log is whole and has none in this instance")],
    },
    Case {
        name: "a memory watcher in user space",
        before: Bench::oomd_kills,
        status: || status(137, "Error"),
        cause: Cause::OomUserspace,
        says: &[Says::For("Kubernetes says Error, exit code 137: a memory watcher in user space sent the signal")],
    },
    Case {
        name: "the node's memory ran out, and Kubernetes says Error",
        before: |bench| {
            bench.two_processes(END - 5.0);
            bench.dump(END - 0.2, "global_oom", &path("a"), "app", 17);
        },
        status: || status(137, "Error"),
        cause: Cause::OomNode,
        says: &[Says::Against("Kubernetes says Error, exit code 137, not OOMKilled; the kernel's log shows that it was")],
    },
    Case {
        name: "the node's memory ran out, and Kubernetes says OOMKilled",
        before: |bench| {
            bench.two_processes(END - 5.0);
            bench.dump(END - 0.2, "global_oom", &path("a"), "app", 17);
        },
        status: || status(137, "OOMKilled"),
        cause: Cause::OomNode,
        says: &[Says::For("shows that memory ran out beyond the container's own limit")],
    },
    Case {
        name: "a group kill",
        before: |bench| {
            bench.two_processes(END - 5.0);
            bench.dump(END - 0.2, &path("a"), &path("a"), "worker", 18);
            bench.record(END - 0.2, 6, &format!("Tasks in {} are going to be killed due to memory.oom.group set", path("a")));
            for (pid, comm) in [(17, "app"), (18, "worker")] {
                bench.record(END - 0.2, 3, &format!("Memory cgroup out of memory: Killed process {pid} ({comm}) total-vm:9kB, anon-rss:6kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0"));
            }
        },
        status: || status(137, "OOMKilled"),
        cause: Cause::OomContainerLimit,
        says: &[Says::Summary("all 2 processes"), Says::For("the kernel's log agrees")],
    },
    Case {
        name: "the runtime's own process is killed before the container begins",
        before: |bench| bench.dump(END - 0.2, &path("a"), &path("a"), "runc:[2:INIT]", 90),
        status: || {
            with_message(status(128, "StartError"), "failed to create: container init was OOM-killed (memory limit too low?): unknown")
        },
        cause: Cause::OomContainerLimit,
        says: &[Says::For("Kubernetes says StartError, exit code 128; the kernel's log agrees")],
    },
    Case {
        name: "OOMKilled, and nothing was killed",
        before: nothing,
        status: || status(137, "OOMKilled"),
        cause: Cause::Killed,
        says: &[Says::Against("Kubernetes says OOMKilled, exit code 137; the kernel killed nothing in this instance")],
    },
    Case {
        name: "OOMKilled, and the kernel's log has a gap",
        before: Bench::records_lost,
        status: || status(137, "OOMKilled"),
        cause: Cause::OomContainerLimit,
        says: &[Says::NotFound("the kernel's log proves nothing here: records of it were lost")],
    },
    Case {
        name: "a SIGKILL that no witness explains",
        before: nothing,
        status: || status(137, "Error"),
        cause: Cause::Killed,
        says: &[Says::NotFound("a kill by the kernel's OOM killer: its log is whole and has none in this instance")],
    },
    Case {
        name: "a SIGKILL, and the kernel's log has a gap",
        before: Bench::records_lost,
        status: || status(137, "Error"),
        cause: Cause::Killed,
        says: &[Says::NotFound("the kernel's log proves nothing here")],
    },
];

#[test]
fn each_disagreement_is_decided_and_said() {
    for case in CASES {
        let mut bench = Bench::watching(1.0);
        bench.pod(3.0, pod(0, ContainerState::Running { started: Some(moment(3.0).wall) }, None));
        (case.before)(&mut bench);
        bench.pod(END + 0.5, (case.status)());
        bench.ticks(3001, 3040);
        let finding = bench.says_of(case.cause, case.name);
        for says in case.says {
            assert!(says.holds(&finding), "{}: {says:?} is not in {finding:#?}", case.name);
        }
        assert_eq!(finding.count, 1, "{}", case.name);
        let counted: u64 = bench.core.snapshot().counters.terminations.values().flat_map(|causes| causes.values()).sum();
        assert_eq!((counted, bench.terminations(case.cause)), (1, 1), "{}: counted once, under its cause", case.name);
        let kills: u64 = bench.core.snapshot().counters.oom_kills.iter().map(|(.., count)| count).sum();
        let claimed =
            case.says.iter().any(|says| matches!(says, Says::NotFound(_) | Says::Against("the kernel killed nothing in this instance")));
        assert!(kills <= 1 && !(claimed && kills > 0), "{}: {kills} kills", case.name);
    }
}

#[test]
fn a_process_that_joins_a_container_is_its_child_whatever_its_name() {
    let mut bench = Bench::watching(1.0);
    bench.two_processes(99.0);
    bench.dump(100.0, &path("a"), &path("a"), "runc:[2:INIT]", 90);
    bench.ticks(101, 120);
    assert_eq!((bench.only().cause, bench.kills(Cause::OomChildProcess)), (Cause::OomChildProcess, 1));
}

#[test]
fn a_childs_kill_without_any_restart_is_a_container_that_lives_on_degraded() {
    let mut bench = Bench::watching(1.0);
    bench.pod(3.0, pod(0, ContainerState::Running { started: Some(moment(3.0).wall) }, None));
    bench.child_killed_long_ago();
    bench.ticks(121, 200);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.scope, finding.blame), (Cause::OomChildProcess, Scope::Container, Blame::Workload));
    assert!(finding.summary.contains("lives on") && finding.summary.contains("Kubernetes shows nothing"), "{}", finding.summary);
    assert_eq!(bench.core.snapshot().counters.terminations.values().flat_map(|causes| causes.values()).sum::<u64>(), 0);
    assert_eq!(bench.core.snapshot().workloads[0].crashed_pods, 0);
}

#[test]
fn a_drain_after_a_childs_kill_is_a_stop() {
    let mut bench = Bench::watching(1.0);
    bench.pod(3.0, pod(0, ContainerState::Running { started: Some(moment(3.0).wall) }, None));
    bench.child_killed_long_ago();
    let mut drained = status(143, "OOMKilled");
    (drained.deletion, drained.grace_seconds) = (Some(moment(END + 25.0).wall), Some(30));
    bench.pod(END + 0.5, drained);
    bench.ticks(3001, 3040);
    assert_eq!(bench.only().cause, Cause::OomChildProcess, "the stop itself is no finding");
    assert_eq!((bench.only().count, bench.terminations(Cause::Stopped)), (1, 1));
}

#[test]
fn an_eviction_is_not_the_kernels_kill() {
    let mut bench = Bench::watching(1.0);
    bench.pod(3.0, pod(0, ContainerState::Running { started: Some(moment(3.0).wall) }, None));
    let mut evicted = status(137, "Error");
    (evicted.phase, evicted.reason) = (Some("Failed".into()), Some("Evicted".into()));
    evicted.message = Some("The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi. ".into());
    bench.pod(END + 0.5, evicted);
    bench.ticks(3001, 3040);
    assert_eq!((bench.only().cause, bench.only().count), (Cause::EvictedMemory, 1));
    assert_eq!(bench.terminations(Cause::EvictedMemory), 1);
}

#[test]
fn a_status_that_the_kubelet_made_up_is_no_kill_and_no_crash() {
    for reason in ["ContainerStatusUnknown", "RestartingAllContainers"] {
        let mut bench = Bench::watching(1.0);
        bench.pod(3.0, pod(0, ContainerState::Running { started: Some(moment(3.0).wall) }, None));
        let made_up = TerminatedState { exit_code: 137, reason: Some(reason.into()), ..TerminatedState::default() };
        bench.pod(END, pod(0, ContainerState::Terminated(made_up), None));
        bench.ticks(3001, 3040);
        assert_eq!(bench.core.snapshot().findings, [], "{reason}");
        assert_eq!((bench.terminations(Cause::RuntimeRestarted), bench.core.snapshot().workloads[0].crashed_pods), (1, 0), "{reason}");
    }
}

#[test]
fn a_heap_that_a_runtime_exhausted_is_not_the_kernels_kill() {
    let heaps = [
        (
            134,
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            Cause::Aborted,
            "the JavaScript heap was exhausted",
        ),
        (3, "java.lang.OutOfMemoryError: Java heap space", Cause::AppError, "the Java heap was exhausted"),
    ];
    for (exit_code, said, cause, clause) in heaps {
        let mut bench = Bench::watching(1.0);
        bench.pod(END + 0.5, status(exit_code, "Error"));
        bench.says_last(said);
        bench.ticks(3002, 3040);
        assert_eq!(bench.only().cause, cause);
        assert!(bench.only().summary.contains(clause), "{}", bench.only().summary);
    }
}

#[test]
fn a_daemons_kill_is_the_hosts_and_no_containers() {
    let mut bench = Bench::watching(1.0);
    let (limit, victim) = ("/system.slice/containerd.service", "/system.slice/containerd.service");
    bench.dump(100.0, limit, victim, "containerd", 900);
    bench.ticks(101, 120);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.scope), (Cause::OomHostService, Scope::HostService));
    assert!(finding.subjects.is_empty() && finding.summary.contains("containerd"), "{}", finding.summary);
}
