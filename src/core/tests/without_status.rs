//! Containers that die while the API server is away: counted from their log directory, once.

use super::*;
use crate::signal::{ContainerLogTail, WaitingState};

impl Bench {
    fn directory(&mut self, second: f64, attempt: u32) {
        let uid = PodUid::parse(UID).expect("uid");
        let containers = vec![("app".to_owned(), attempt)];
        self.say(
            second,
            Body::Pods(PodUpdate::Directory { namespace: "shop".into(), name: "web-1".into(), uid, containers, followed: true }),
        );
    }

    /// A pod that runs, and then an API server that says nothing any more.
    fn alone() -> Self {
        let mut bench = Self::watching(1.0);
        bench.directory(2.0, 0);
        bench.pod(2.5, pod(0, running(2.5), None));
        bench
    }

    fn all_terminations(&self) -> u64 {
        self.core.snapshot().counters.terminations.values().flat_map(|causes| causes.values()).sum()
    }

    fn correlations(&self) -> [u64; 3] {
        let counted = self.core.snapshot().counters.correlations;
        crate::diagnosis::death::Correlation::ALL.map(|result| counted.get(&result).copied().unwrap_or_default())
    }
}

fn running(second: f64) -> ContainerState {
    ContainerState::Running { started: Some(moment(second).wall) }
}

/// The status that arrives when the API server is back: attempt 2 waits, or runs, after attempt 1 or 2 has ended.
fn returned(attempt: u32, exit_code: i32, second: f64) -> PodRecord {
    let waiting = WaitingState { reason: Some("CrashLoopBackOff".into()), message: None };
    pod(attempt, ContainerState::Waiting(waiting), Some(ended(exit_code, "Error", second)))
}

#[test]
fn an_end_without_status_is_told_as_unknown_and_amended_when_the_status_comes() {
    let mut bench = Bench::alone();
    bench.directory(20.0, 1);
    bench.ticks(21, 33);
    assert_eq!(bench.logs, [("app".to_owned(), 0)], "its last words are asked for");
    assert!(bench.core.snapshot().findings.is_empty(), "a status may still come");
    bench.ticks(34, 36);
    let silent = bench.only();
    assert_eq!(
        (silent.cause, silent.confidence, silent.blame, silent.count),
        (Cause::Unknown, Confidence::Possible, Blame::Insufficient, 1)
    );
    assert!(silent.evidence[0].what.contains("has the log of attempt 1, so attempt 0 has ended"), "{:?}", silent.evidence);
    assert!(silent.not_found[0].contains("awaited from the API server"), "{:?}", silent.not_found);
    assert_eq!((silent.subjects[0].pod.as_deref(), silent.subjects[0].container.as_deref()), (Some("web-1"), Some("app")));
    assert_eq!((bench.all_terminations(), bench.correlations()), (1, [0, 0, 1]));

    let mut back = pod(1, running(18.0), Some(ended(3, "Error", 17.0)));
    back.containers[0].last.as_mut().expect("last").container_id = Some(format!("containerd://{}", id("b")));
    bench.pod(60.0, back.clone());
    bench.ticks(61, 75);
    bench.pod(76.0, back);
    let described = bench.only();
    assert_eq!((described.cause, described.count), (Cause::AppError, 1));
    assert_eq!(described.crash_loop.map(|told| (told.deaths, told.lives[0].exit_code)), None, "one end is no loop");
    assert_eq!((bench.all_terminations(), bench.correlations()), (1, [0, 0, 1]), "counted once");
}

#[test]
fn a_loop_without_status_counts_each_end_and_agrees_with_the_status_in_the_end() {
    let mut bench = Bench::alone();
    for (second, attempt) in [(20.0, 1), (50.0, 2), (90.0, 3)] {
        bench.directory(second, attempt);
        bench.ticks(second as u32, second as u32 + 20);
    }
    assert_eq!((bench.only().cause, bench.only().count, bench.all_terminations()), (Cause::Unknown, 3, 3));
    bench.pod(120.0, returned(3, 6, 115.0));
    bench.ticks(121, 140);
    let findings = bench.core.snapshot().findings;
    assert_eq!(findings.iter().map(|finding| finding.count).sum::<u64>(), 4);
    let exit = findings.iter().find(|finding| finding.cause == Cause::AppError).expect("the described one");
    assert_eq!((exit.count, exit.crash_loop.as_ref().map(|told| told.deaths)), (1, Some(4)));
    assert_eq!(bench.all_terminations(), 4);
}

#[test]
fn the_kernels_kill_explains_an_end_without_status() {
    let mut bench = Bench::alone();
    bench.processes(8.0, &path("a"), &[(17, 1, "app")]);
    bench.dump(9.8, &path("a"), &path("a"), "app", 17);
    bench.directory(20.0, 1);
    bench.ticks(21, 40);
    assert_eq!((bench.only().cause, bench.only().count), (Cause::OomContainerLimit, 1), "no second finding beside it");
    assert_eq!((bench.terminations(Cause::OomContainerLimit), bench.all_terminations(), bench.correlations()), (1, 1, [1, 0, 0]));
    bench.directory(50.0, 2);
    bench.ticks(50, 70);
    assert_eq!((bench.terminations(Cause::Unknown), bench.all_terminations()), (1, 2), "one kill explains one end");
}

#[test]
fn last_words_and_probes_speak_where_no_status_does() {
    let mut bench = Bench::alone();
    bench.directory(20.0, 1);
    bench.ticks(21, 32);
    let lines = vec!["2026-11-23T10:00:10Z stderr F panic: nil map".to_owned()];
    let uid = PodUid::parse(UID).expect("uid");
    bench.say(32.5, Body::ContainerLog(ContainerLogTail { pod: uid, container: "app".into(), attempt: 0, lines }));
    bench.ticks(33, 40);
    assert_eq!((bench.only().cause, bench.only().confidence), (Cause::AppPanic, Confidence::Likely));
    let origin = crate::signal::KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: 1 };
    let text = "I1123 10:00:45.649262     230 kuberuntime_manager.go:1107] \"Message for Container of pod\" containerName=\"app\" containerStatusID={\"Type\":\"containerd\",\"ID\":\"eb41fd\"} pod=\"shop/web-1\" containerMessage=\"Container app failed liveness probe, will be restarted\"".into();
    bench.say(45.0, Body::Kubelet(crate::signal::KubeletLine { origin, text }));
    bench.directory(50.0, 2);
    bench.ticks(50, 70);
    let probe = bench.core.snapshot().findings.into_iter().find(|finding| finding.cause == Cause::LivenessProbe).expect("the probe's");
    assert_eq!((probe.confidence, probe.count), (Confidence::Proven, 1));
}

#[test]
fn ends_that_nobody_described_are_counted_under_their_container() {
    let mut bench = Bench::watching(1.0);
    bench.pod(10.0, returned(3, 1, 9.0));
    bench.ticks(11, 20);
    assert_eq!((bench.only().count, bench.terminations(Cause::AppError), bench.terminations(Cause::Unknown)), (4, 1, 3));
    assert_eq!((bench.core.snapshot().counters.terminations_unobserved, bench.correlations()), (3, [1, 0, 3]));
}

#[test]
fn an_end_that_waits_for_its_witnesses_survives_a_restart() {
    let mut bench = Bench::watching(1.0);
    bench.pod(10.5, pod(0, ContainerState::Terminated(ended(3, "Error", 10.0)), None));
    let checkpoint = bench.core.checkpoint().expect("boot known");
    let stored = serde_json::to_string(&checkpoint).expect("json");
    bench.core = Core::restore(serde_json::from_str(&stored).expect("json"));
    bench.logs.clear();
    bench.start(12.0);
    let list = crate::signal::PodSnapshot { pods: vec![pod(0, ContainerState::Terminated(ended(3, "Error", 10.0)), None)] };
    bench.say(13.0, Body::Pods(PodUpdate::Listed(list)));
    assert_eq!(bench.logs, [("app".to_owned(), 0)], "its log is asked for again");
    bench.ticks(14, 30);
    assert_eq!((bench.only().count, bench.terminations(Cause::AppError)), (1, 1));
    assert_eq!(bench.only().subjects[0].workload.as_deref(), Some("web"));
}

#[test]
fn a_kill_is_dated_for_an_hour() {
    let mut bench = Bench::alone();
    bench.processes(8.0, &path("a"), &[(17, 1, "app")]);
    bench.dump(9.8, &path("a"), &path("a"), "app", 17);
    bench.ticks(10, 40);
    let kills = bench.core.snapshot().recent_kills;
    assert_eq!(kills.len(), 1);
    assert_eq!((kills[0].pod.as_str(), kills[0].container.as_str(), kills[0].at), ("web-1", "app", moment(9.8).wall));
    bench.say(3700.0, Body::Tick);
    assert_eq!(bench.core.snapshot().recent_kills, []);
}

#[test]
fn an_agent_that_starts_while_the_api_server_is_away_knows_who_is_who_from_before() {
    let mut bench = Bench::alone();
    let stored = serde_json::to_string(&bench.core.checkpoint().expect("boot known")).expect("json");
    bench.core = Core::restore(serde_json::from_str(&stored).expect("json"));
    bench.start(8.0);
    bench.dump(9.8, &path("a"), &path("a"), "app", 17);
    bench.ticks(10, 20);
    let finding = bench.only();
    let subject = &finding.subjects[0];
    assert_eq!((subject.container.as_deref(), subject.attempt), (Some("app"), Some(0)));
    assert_eq!((subject.workload_kind.as_deref(), subject.workload.as_deref()), (Some("Deployment"), Some("web")));
    bench.say(30.0, Body::Pods(PodUpdate::Listed(crate::signal::PodSnapshot::default())));
    bench.ticks(31, 32);
    assert!(bench.core.snapshot().workloads.iter().all(|workload| workload.pods == 1), "it ended lately");
    bench.say(31.0 + 3700.0, Body::Tick);
    assert_eq!(bench.core.snapshot().workloads, [], "what the first list does not have is gone");
}
