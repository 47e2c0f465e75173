//! What is kept of pods that come back, that ended, and that left.

use super::*;
use crate::{
    findings::FindingState,
    inventory::KEEP_PODS_SECONDS,
    signal::{PodSnapshot, WaitingState},
};

fn crashed(attempt: u32, ended_at: f64) -> PodRecord {
    let waiting = WaitingState { reason: Some("CrashLoopBackOff".into()), message: None };
    pod(attempt, ContainerState::Waiting(waiting), Some(ended(1, "Error", ended_at)))
}

fn terminations(bench: &Bench) -> u64 {
    bench.core.snapshot().counters.terminations.values().flat_map(|causes| causes.values()).sum()
}

impl Bench {
    fn listed(&mut self, second: f64, pods: Vec<PodRecord>) {
        self.say(second, Body::Pods(PodUpdate::Listed(PodSnapshot { pods })));
    }

    fn deleted(&mut self, second: f64, pod: PodRecord) {
        self.say(second, Body::Pods(PodUpdate::Changed { pod: Box::new(pod), deleted: true }));
    }

    fn pods_of_the_workload(&self) -> Vec<(u64, u64)> {
        self.core.snapshot().workloads.iter().map(|workload| (workload.pods, workload.crashed_pods)).collect()
    }
}

#[test]
fn a_list_that_misses_a_pod_makes_its_ends_no_news() {
    let mut bench = Bench::watching(1.0);
    bench.pod(10.0, crashed(2, 9.0));
    bench.say(20.0, Body::Tick);
    let before = terminations(&bench);
    assert_eq!(before, 3);
    bench.listed(30.0, vec![]);
    bench.listed(40.0, vec![crashed(2, 9.0)]);
    bench.say(60.0, Body::Tick);
    assert_eq!(terminations(&bench), before);
}

#[test]
fn pods_count_by_workload_for_an_hour_after_their_end() {
    let mut bench = Bench::watching(1.0);
    let failed = |uid: char| PodRecord {
        uid: UID.replacen('1', &uid.to_string(), 1),
        name: format!("web-{uid}"),
        phase: Some("Failed".into()),
        restart_policy: crate::signal::RestartPolicy::Never,
        ..pod(0, ContainerState::Terminated(ended(1, "Error", 20.0)), None)
    };
    let succeeded = |uid: char| PodRecord {
        phase: Some("Succeeded".into()),
        containers: pod(0, ContainerState::Terminated(ended(0, "Completed", 20.0)), None).containers,
        ..failed(uid)
    };
    bench.pod(21.0, failed('2'));
    ['3', '4', '5'].into_iter().for_each(|uid| bench.pod(22.0, succeeded(uid)));
    bench.deleted(1500.0, failed('2'));
    bench.deleted(1500.0, succeeded('3'));
    bench.say(3000.0, Body::Tick);
    assert_eq!(bench.pods_of_the_workload().iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1)), (4, 1));
    // Those that the API server still has ended long ago, too.
    bench.say(6000.0, Body::Tick);
    assert_eq!(bench.pods_of_the_workload(), []);
}

#[test]
fn what_a_deleted_pod_was_followed_for_is_forgotten_in_the_end() {
    let mut bench = Bench::watching(1.0);
    bench.pod(10.0, crashed(2, 9.0));
    let waits = WaitingState { reason: Some("ImagePullBackOff".into()), message: Some("Back-off pulling image".into()) };
    let other = PodRecord { uid: UID.replacen('1', "7", 1), name: "web-7".into(), ..pod(0, ContainerState::Waiting(waits), None) };
    bench.pod(11.0, other.clone());
    bench.say(30.0, Body::Tick);
    assert_eq!(bench.core.waiting.len(), 1);
    bench.deleted(40.0, other);
    assert_eq!(bench.core.waiting.len(), 0);
    bench.deleted(50.0, crashed(2, 9.0));
    assert_eq!(bench.core.deaths.durable.terminations.len(), 2, "they may be told again");
    bench.say(60.0 + f64::from(u32::try_from(KEEP_PODS_SECONDS).expect("an hour")), Body::Tick);
    assert_eq!(bench.core.deaths.durable.terminations.len(), 0);
}

#[test]
fn findings_of_pods_that_left_while_no_agent_ran_end_with_the_first_list() {
    let mut bench = Bench::watching(1.0);
    bench.pod(10.0, crashed(2, 9.0));
    bench.say(30.0, Body::Tick);
    assert_eq!(bench.only().state, FindingState::Open);
    let stored = serde_json::to_string(&bench.core.checkpoint().expect("checkpoint")).expect("json");
    bench.core = Core::restore(serde_json::from_str(&stored).expect("json"));
    bench.start(40.0);
    assert_eq!(bench.only().state, FindingState::Open);
    bench.listed(41.0, vec![]);
    assert_eq!(bench.only().state, FindingState::Resolved);
}
