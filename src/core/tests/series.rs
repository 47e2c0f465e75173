//! By which workload and container ends are counted, and what becomes of these series when pods come and go.

use super::*;
use crate::{
    inventory::KEEP_PODS_SECONDS,
    signal::{Owner, PodSnapshot},
};

/// Pod number `n`, owned by nobody.
fn bare(n: u32) -> PodRecord {
    PodRecord { uid: format!("{n:08x}{}", &UID[8..]), name: format!("runner-{n}"), owner: None, template_hash: None, ..running() }
}

/// The pod of Job number `n`.
fn job(n: u32) -> PodRecord {
    PodRecord { owner: Some(Owner { kind: "Job".into(), name: format!("job-{n}") }), ..bare(n) }
}

fn running() -> PodRecord {
    pod(0, ContainerState::Running { started: Some(moment(3.0).wall) }, None)
}

fn failed(pod: PodRecord, second: f64) -> PodRecord {
    let containers = super::pod(0, ContainerState::Terminated(ended(1, "Error", second)), None).containers;
    PodRecord { containers, ..pod }
}

impl Bench {
    fn left(&mut self, second: f64, pod: PodRecord) {
        self.say(second, Body::Pods(PodUpdate::Changed { pod: Box::new(pod), deleted: true }));
    }

    fn counted(&self, kind: &str, workload: &str) -> Option<u64> {
        let counters = self.core.snapshot().counters;
        let of_it = |key: &&ContainerKey| key.workload_kind == kind && key.workload == workload;
        let key = counters.terminations.keys().find(of_it)?;
        Some(counters.terminations.get(key)?.values().sum())
    }
}

#[test]
fn pods_that_never_died_take_no_workloads_place() {
    let mut bench = Bench::watching(1.0);
    for n in 0..1100 {
        bench.pod(10.0, bare(n));
    }
    bench.pod(21.0, failed(running(), 20.0));
    bench.ticks(22, 30);
    assert_eq!(bench.counted("Deployment", "web"), Some(1));
    assert_eq!(bench.core.snapshot().counters.series_overflow, 0);
    assert!(bench.core.snapshot().counters.terminations.len() <= 1025);
}

#[test]
fn an_end_that_finds_no_series_is_counted_without_its_workload() {
    let mut bench = Bench::watching(1.0);
    for n in 0..1024 {
        bench.pod(10.0 + f64::from(n), failed(job(n), 9.0 + f64::from(n)));
    }
    bench.ticks(1034, 1044);
    let all = |bench: &Bench| bench.terminations(Cause::AppError);
    assert_eq!((all(&bench), bench.counted("other", "")), (1024, None));
    bench.pod(1050.0, running());
    assert_eq!(bench.counted("other", ""), Some(0), "born before it is needed");
    bench.pod(1061.0, failed(running(), 1060.0));
    bench.ticks(1062, 1070);
    assert_eq!((all(&bench), bench.counted("other", ""), bench.counted("Deployment", "web")), (1025, Some(1), None));
    assert_eq!(bench.core.snapshot().counters.series_overflow, 1);
}

#[test]
fn a_kill_that_finds_no_series_is_counted_without_its_workload() {
    let mut counters = Counters::default();
    let subject = |workload: String| crate::findings::Subject { workload: Some(workload), ..Default::default() };
    for n in 0..1030 {
        counters.count_workload_kill(&subject(format!("w{n}")), Cause::OomContainerLimit);
    }
    let kills: u64 = counters.workload_oom_kills.values().flat_map(|causes| causes.values()).sum();
    assert_eq!((kills, counters.workload_oom_kills.len(), counters.series_overflow), (1030, 1025, 6));
}

#[test]
fn series_outlive_pods_but_not_those_that_only_a_pods_own_name_tells_apart() {
    let mut bench = Bench::watching(1.0);
    for (second, pod) in [(10.0, job(1)), (11.0, bare(2))] {
        bench.pod(second, failed(pod.clone(), second - 1.0));
        bench.ticks(second as u32, second as u32 + 10);
        bench.left(second + 11.0, failed(pod, second - 1.0));
    }
    bench.pod(30.0, job(3));
    bench.left(31.0, job(3));
    bench.pod(35.0, bare(5));
    // In which of its containers the kernel killed is not known.
    let subject = crate::findings::Subject { container: None, ..bench.core.inventory.subject(PodUid::parse(&bare(5).uid).as_ref(), None) };
    bench.core.counters.count_workload_kill(&subject, Cause::OomPodLimit);
    bench.pod(40.0, running());
    assert_eq!(
        (bench.counted("Job", "job-1"), bench.counted("Pod", "runner-2"), bench.counted("Job", "job-3")),
        (Some(1), Some(1), Some(0))
    );
    let later = 60.0 + f64::from(u32::try_from(KEEP_PODS_SECONDS).expect("an hour"));
    bench.say(later, Body::Tick);
    bench.pod(later + 1.0, job(4));
    assert_eq!(bench.counted("Job", "job-1"), Some(1), "what is counted of a workload stays");
    assert_eq!((bench.counted("Pod", "runner-2"), bench.counted("Job", "job-3")), (None, None));
    assert_eq!((bench.counted("Deployment", "web"), bench.counted("Job", "job-4")), (Some(0), Some(0)));
    assert_eq!(bench.core.snapshot().counters.workload_oom_kills.len(), 1, "its pod is still there");
}

#[test]
fn a_restart_forgets_no_series_before_the_pods_are_known_again() {
    let mut bench = Bench::watching(1.0);
    bench.pod(10.0, failed(bare(2), 9.0));
    bench.ticks(11, 20);
    let stored = serde_json::to_string(&bench.core.checkpoint().expect("checkpoint")).expect("json");
    bench.core = Core::restore(serde_json::from_str(&stored).expect("json"));
    let later = 60.0 + f64::from(u32::try_from(KEEP_PODS_SECONDS).expect("an hour"));
    bench.start(later);
    let list = PodSnapshot { pods: vec![job(3), failed(bare(2), 9.0)] };
    bench.say(later + 1.0, Body::Pods(PodUpdate::Listed(list)));
    assert_eq!(bench.counted("Pod", "runner-2"), Some(1));
}
