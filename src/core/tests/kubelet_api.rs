//! What the kubelet's own answers decide.

use super::*;
use crate::{
    findings::EvidenceSource,
    signal::{
        CountedProbe, EvictionLayer, EvictionSettings, FilesystemSample, KubeletConfiguration, LayerKind, ProbeCount, ProbeCounts,
        ProbeRule, RoomSample,
    },
};

const RULE: ProbeRule = ProbeRule { delay_seconds: 0, period_seconds: 5, timeout_seconds: 1, failure_threshold: 3 };

fn probed(attempt: u32, state: ContainerState) -> PodRecord {
    let mut pod = pod(attempt, state, None);
    pod.grace_seconds = Some(10);
    for container in &mut pod.containers {
        (container.liveness_probe, container.liveness_rule) = (true, Some(RULE));
    }
    pod
}

fn counts(failed: Option<u64>) -> Body {
    let count =
        |failed| ProbeCount { pod: PodUid::parse(UID).expect("uid"), container: "app".into(), probe: CountedProbe::Liveness, failed };
    Body::ProbeCounts(ProbeCounts { counts: failed.map(count).into_iter().collect() })
}

/// A container with a liveness probe ends; its count was `before` 40 s earlier and is `after` then.
fn ends(exit_code: i32, before: Option<u64>, after: Option<u64>) -> Bench {
    let mut bench = Bench::watching(1.0);
    bench.pod(5.0, probed(0, ContainerState::Running { started: Some(moment(5.0).wall) }));
    bench.say(40.0, counts(before));
    bench.pod(80.5, probed(0, ContainerState::Terminated(ended(exit_code, "Error", 80.0))));
    assert_eq!(bench.asks, [KubeletQuestion::ProbeCounts]);
    bench.say(80.6, counts(after));
    bench.say(95.0, Body::Tick);
    bench
}

fn told_by_counts(finding: &Finding) -> Vec<(&str, bool)> {
    let of_kubelet = finding.evidence.iter().filter(|evidence| evidence.source == EvidenceSource::KubeletApi);
    of_kubelet.map(|evidence| (evidence.what.as_str(), evidence.supports)).collect()
}

#[test]
fn as_many_failures_as_end_it_right_before_its_end_name_the_probe() {
    for exit_code in [137, 143, 0] {
        let finding = ends(exit_code, Some(7), Some(10)).only();
        assert_eq!((finding.cause, finding.confidence, finding.blame), (Cause::LivenessProbe, Confidence::Likely, Blame::Workload));
        assert!(finding.summary.contains("as often as ends it, by the kubelet's own count"), "{}", finding.summary);
        assert_eq!(
            told_by_counts(&finding),
            [("in the 40 s before, 3 failed tries of its liveness probe; 3 in a row end the container", true)]
        );
    }
}

#[test]
fn a_probe_that_never_failed_ended_nothing() {
    let finding = ends(137, None, None).only();
    assert_eq!((finding.cause, finding.blame), (Cause::Killed, Blame::Insufficient));
    assert!(finding.summary.contains("not by a probe"), "{}", finding.summary);
}

#[test]
fn fewer_failures_than_end_it_leave_the_guess_and_speak_against_it() {
    let finding = ends(137, None, Some(1)).only();
    assert_eq!((finding.cause, finding.confidence, finding.blame), (Cause::LivenessProbe, Confidence::Likely, Blame::Insufficient));
    assert_eq!(told_by_counts(&finding), [("in the 40 s before, 1 failed try of its liveness probe; 3 in a row end the container", false)]);
}

#[test]
fn a_program_that_ends_itself_is_not_the_probes() {
    let mut bench = Bench::watching(1.0);
    bench.pod(5.0, probed(0, ContainerState::Running { started: Some(moment(5.0).wall) }));
    bench.say(40.0, counts(None));
    bench.pod(80.5, probed(0, ContainerState::Terminated(ended(1, "Error", 80.0))));
    assert_eq!(bench.asks, [], "nothing would be learnt");
    bench.say(80.6, counts(Some(3)));
    bench.say(95.0, Body::Tick);
    assert_eq!(bench.only().cause, Cause::AppError);
}

fn settings(kind: LayerKind, amount: &str) -> EvictionLayer {
    let hard = [("nodefs.available".to_owned(), amount.to_owned())].into();
    EvictionLayer { kind, from: "x".into(), hard: Some(hard), ..EvictionLayer::default() }
}

fn on_disk(amount: &str) -> Body {
    Body::EvictionSettings(EvictionSettings { layers: vec![settings(LayerKind::File, amount)], unread: None })
}

fn thresholds(bench: &Bench) -> Vec<u64> {
    bench.core.snapshot().room.signals.iter().filter_map(|signal| signal.threshold.map(|bytes| bytes >> 20)).collect()
}

#[test]
fn the_kubelets_own_thresholds_outweigh_its_files_until_another_kubelet_runs() {
    let mut bench = Bench::new();
    let filesystem = FilesystemSample {
        roles: vec![crate::model::FilesystemRole::Nodefs],
        path: "/var/lib/kubelet".into(),
        size: Bytes(10 << 30),
        available: Bytes(5 << 30),
        inodes: None,
        inodes_free: None,
    };
    let room = || Body::Room(RoomSample { filesystems: vec![filesystem.clone()], ..RoomSample::default() });
    let answer =
        || Body::KubeletConfiguration(KubeletConfiguration { eviction: settings(LayerKind::Effective, "200Mi"), verbosity: Some(0) });
    bench.say(1.0, answer());
    bench.say(2.0, on_disk("100Mi"));
    bench.say(3.0, room());
    assert_eq!(thresholds(&bench), [200], "whichever came first");
    assert_eq!(bench.core.snapshot().kubelet_verbosity, Some(0));
    bench.say(4.0, on_disk("300Mi"));
    bench.say(5.0, room());
    assert_eq!((thresholds(&bench), bench.asks.as_slice()), (vec![300], [KubeletQuestion::Configuration].as_slice()));
    bench.say(6.0, answer());
    bench.say(7.0, room());
    assert_eq!(thresholds(&bench), [200]);
}
