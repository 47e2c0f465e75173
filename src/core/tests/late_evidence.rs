//! Kills that join an end by its pod, and kills that are read when the end has been told.

use super::*;
use crate::signal::{KubeletLine, KubeletOrigin, SourceReport, SourceState};

/// When the container ends, in seconds.
const END: f64 = 100.0;

const SIDE: &str = "side";

fn probed(mut pod: PodRecord) -> PodRecord {
    pod.containers[0].liveness_probe = true;
    pod
}

fn died(exit_code: i32, reason: &str) -> PodRecord {
    probed(pod(0, ContainerState::Terminated(ended(exit_code, reason, END)), None))
}

/// The same pod with a second container, which ended in the same way.
fn both_died() -> PodRecord {
    let mut pod = died(137, "Error");
    let mut side = pod.containers[0].clone();
    side.name = SIDE.into();
    side.container_id = Some(format!("containerd://{}", id("b")));
    if let Some(ContainerState::Terminated(state)) = &mut side.state {
        state.container_id.clone_from(&side.container_id);
    }
    pod.containers.push(side);
    pod
}

impl Bench {
    /// The kernel's log cannot be read; the pod's own counter is followed.
    fn without_kernel_log() -> Self {
        let mut bench = Self::watching(1.0);
        let report = SourceReport { source: SourceName::KernelLog, state: SourceState::Unreadable, detail: "no right".into() };
        bench.say(1.0, Body::Source(report));
        bench.pod(3.0, probed(pod(0, ContainerState::Running { started: Some(moment(3.0).wall) }, None)));
        bench.sample(5.0, POD, 20, Some(64), 0);
        bench.sample(END - 10.0, POD, 60, Some(64), 0);
        bench
    }

    fn probe_decides(&mut self, second: f64) {
        let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: 1 };
        let text = r#"I1123 10:01:35.649262     230 kuberuntime_manager.go:1107] "Message for Container of pod" containerName="app" containerStatusID={"Type":"containerd","ID":"eb41fd"} pod="shop/web-1" containerMessage="Container app failed liveness probe, will be restarted""#.into();
        self.say(second, Body::Kubelet(KubeletLine { origin, text }));
    }

    fn ends(&self) -> [u64; 3] {
        [Cause::OomContainerLimit, Cause::LivenessProbe, Cause::Killed].map(|cause| self.terminations(cause))
    }
}

fn is_the_containers_kill(finding: &Finding) {
    assert_eq!((finding.cause, finding.count, finding.attribution), (Cause::OomContainerLimit, 1, Attribution::Counter));
    assert_eq!(finding.subjects.len(), 1);
    assert_eq!((finding.subjects[0].container.as_deref(), finding.subjects[0].attempt), (Some("app"), Some(0)));
    let said = "Kubernetes says Error, exit code 137, not OOMKilled; the cgroup's kill counter shows that it was";
    assert!(finding.evidence.iter().any(|evidence| evidence.what == said), "{:#?}", finding.evidence);
    assert!(finding.summary.contains("ontainer app"), "{}", finding.summary);
}

#[test]
fn a_pods_counter_explains_the_end_of_its_container_whichever_comes_first() {
    // The status waits for the counter; the counter has been told when the status comes.
    for (status, until) in [(END + 0.5, 101), (END + 9.5, 109)] {
        let mut bench = Bench::without_kernel_log();
        bench.sample(END + 0.1, POD, 1, Some(64), 1);
        bench.ticks(101, until);
        bench.pod(status, died(137, "Error"));
        bench.ticks(until + 1, 140);
        is_the_containers_kill(&bench.only());
        assert_eq!((bench.ends(), bench.kills(Cause::OomContainerLimit)), ([1, 0, 0], 1));
    }
}

#[test]
fn a_counter_that_is_read_late_amends_what_was_told() {
    let mut bench = Bench::without_kernel_log();
    bench.pod(END + 0.5, died(137, "Error"));
    bench.ticks(101, 114);
    assert_eq!(bench.only().cause, Cause::LivenessProbe, "the best guess until then");
    bench.sample(END + 14.5, POD, 1, Some(64), 1);
    bench.ticks(115, 140);
    is_the_containers_kill(&bench.only());
    assert_eq!((bench.ends(), bench.kills(Cause::OomContainerLimit)), ([0, 1, 0], 1), "counted once, and never taken back");
}

#[test]
fn one_counted_kill_explains_one_end() {
    let mut bench = Bench::without_kernel_log();
    bench.sample(END + 0.1, POD, 1, Some(64), 1);
    bench.pod(END + 0.5, both_died());
    bench.ticks(101, 140);
    assert_eq!(bench.ends(), [1, 1, 0]);
    assert_eq!(bench.core.snapshot().findings.len(), 2);
}

#[test]
fn a_counted_kill_explains_no_end_that_another_witness_explains_or_that_does_not_look_like_it() {
    for (exit_code, probe) in [(137, true), (1, false), (143, false)] {
        let mut bench = Bench::without_kernel_log();
        if probe {
            bench.probe_decides(END - 5.0);
        }
        bench.sample(END + 0.1, POD, 1, Some(64), 1);
        bench.pod(END + 0.5, died(exit_code, "Error"));
        bench.ticks(101, 140);
        assert_eq!((bench.terminations(Cause::OomContainerLimit), bench.core.snapshot().findings.len()), (0, 2), "exit code {exit_code}");
    }
    // An end before the counter stood where it stands now.
    let mut bench = Bench::without_kernel_log();
    bench.pod(END + 0.5, died(137, "Error"));
    bench.sample(END + 5.0, POD, 1, Some(64), 0);
    bench.ticks(106, 120);
    bench.sample(END + 21.0, POD, 1, Some(64), 1);
    bench.ticks(122, 140);
    assert_eq!((bench.ends(), bench.core.snapshot().findings.len()), ([0, 1, 0], 2));
}

#[test]
fn a_dump_that_is_read_long_after_it_was_written_is_one_dump() {
    let mut bench = Bench::new();
    bench.processes(2.0, &path("a"), &[(17, 1, "app")]);
    bench.lag = 40.0;
    bench.dump(3.0, &path("a"), &path("a"), "app", 17);
    bench.ticks(50, 70);
    assert_eq!((bench.only().cause, bench.only().attribution), (Cause::OomContainerLimit, Attribution::Kernel));
}

/// What comes between an end that is told without its kill and the kernel's line about it.
fn told_late(between: impl Fn(&mut Bench)) -> Bench {
    let mut bench = Bench::watching(1.0);
    bench.pod(3.0, pod(0, ContainerState::Running { started: Some(moment(3.0).wall) }, None));
    bench.processes(END - 5.0, &path("a"), &[(17, 1, "app")]);
    bench.pod(END + 0.5, pod(0, ContainerState::Terminated(ended(137, "Error", END)), None));
    bench.ticks(101, 125);
    assert_eq!(bench.only().cause, Cause::Killed);
    between(&mut bench);
    bench.lag = 30.0;
    bench.dump(END - 0.2, &path("a"), &path("a"), "app", 17);
    bench.ticks(130, 160);
    bench
}

fn restarted(bench: &mut Bench) {
    let stored = serde_json::to_string(&bench.core.checkpoint().expect("checkpoint")).expect("json");
    bench.core = Core::restore(serde_json::from_str(&stored).expect("json"));
    bench.start(126.0);
    let pods = vec![pod(0, ContainerState::Terminated(ended(137, "Error", END)), None)];
    bench.say(127.0, Body::Pods(PodUpdate::Listed(crate::signal::PodSnapshot { pods })));
}

#[test]
fn a_kill_that_is_read_late_amends_what_was_told() {
    for between in [|_: &mut Bench| {}, restarted as fn(&mut Bench)] {
        let bench = told_late(between);
        let finding = bench.only();
        assert_eq!((finding.cause, finding.count, finding.attribution), (Cause::OomContainerLimit, 1, Attribution::Kernel));
        let said = "Kubernetes says Error, exit code 137, not OOMKilled; the kernel's log shows that it was";
        assert!(finding.evidence.iter().any(|evidence| evidence.what == said), "{:#?}", finding.evidence);
        assert_eq!((bench.ends(), bench.kills(Cause::OomContainerLimit)), ([0, 0, 1], 1), "counted once, and never taken back");
        assert_eq!(finding.subjects[0].container.as_deref(), Some("app"));
    }
}

#[test]
fn a_line_that_is_read_late_takes_the_place_of_its_counter() {
    for (exit_code, limit) in [(137, path("a")), (137, "global_oom".into())] {
        let mut bench = Bench::without_kernel_log();
        bench.processes(END - 5.0, &path("a"), &[(17, 1, "app")]);
        bench.sample(END + 0.1, POD, 1, Some(64), 1);
        bench.pod(END + 0.5, died(exit_code, "Error"));
        bench.ticks(101, 125);
        is_the_containers_kill(&bench.only());
        bench.lag = 30.0;
        bench.dump(END - 0.2, &limit, &path("a"), "app", 17);
        bench.ticks(130, 170);
        let finding = bench.only();
        assert_eq!((finding.count, finding.attribution), (1, Attribution::Kernel), "{}", finding.summary);
        let said = "Kubernetes says Error, exit code 137, not OOMKilled; the kernel's log shows that it was";
        assert!(finding.evidence.iter().any(|evidence| evidence.what == said), "{:#?}", finding.evidence);
        let counted = bench.core.snapshot().counters;
        assert_eq!(counted.oom_kills.iter().map(|(.., kills)| kills).sum::<u64>(), 1, "one kill, under the cause that was known first");
        assert_eq!((bench.ends(), counted.kills_only_counter, counted.kills_only_log), ([1, 0, 0], 1, 0));
    }
}

#[test]
fn the_story_of_a_loop_is_told_anew_when_a_kill_is_read_late() {
    let bench = told_late(|bench| {
        let mut again = ended(137, "Error", 126.0);
        again.container_id = Some(format!("containerd://{}", id("b")));
        let mut second = pod(1, ContainerState::Terminated(again), Some(ended(137, "Error", END)));
        second.containers[0].container_id = Some(format!("containerd://{}", id("b")));
        bench.pod(126.5, second);
    });
    let findings = bench.core.snapshot().findings;
    assert_eq!(
        findings.iter().map(|finding| (finding.cause, finding.count)).collect::<BTreeMap<_, _>>(),
        [(Cause::Killed, 1), (Cause::OomContainerLimit, 1)].into()
    );
    let amended = findings.iter().find(|finding| finding.cause == Cause::OomContainerLimit).expect("the first's");
    let told = amended.crash_loop.as_ref().expect("a loop");
    assert_eq!((told.deaths, told.same_cause), (2, false));
}
