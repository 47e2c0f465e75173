//! Containers that the kubelet killed, as its log at -v=2 tells.

use super::*;
use crate::signal::{KubeletLine, KubeletOrigin};

fn kubelet(number: u64, text: &str) -> Body {
    let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: number };
    Body::Kubelet(KubeletLine { origin, text: format!("I1123 10:01:00.000102    1717 kuberuntime_container.go:1] {text}") })
}

/// A container that has run since the 5th second is killed at the 60th with so much grace, and ends.
fn killed(grace: u64, reason: Option<&str>, (exit_code, ended_at): (i32, f64)) -> Finding {
    let mut bench = Bench::watching(1.0);
    bench.pod(5.0, pod(0, ContainerState::Running { started: Some(moment(5.0).wall) }, None));
    if let Some(reason) = reason {
        bench.say(60.0, kubelet(1, &format!("\"Message for Container of pod\" containerName=\"app\" containerStatusID={{\"Type\":\"containerd\",\"ID\":\"eb41fd\"}} pod=\"shop/web-1\" containerMessage=\"{reason}\"")));
    }
    bench.say(60.0, kubelet(2, &format!("\"Killing container with a grace period\" pod=\"shop/web-1\" podUID=\"{UID}\" containerName=\"app\" containerID=\"containerd://{}\" gracePeriod={grace}", id("a"))));
    bench.say(60.5, Body::Tick);
    let state = TerminatedState { started: Some(moment(5.0).wall), ..ended(exit_code, "Error", ended_at) };
    bench.pod(ended_at + 0.5, pod(0, ContainerState::Terminated(state), None));
    bench.say(ended_at + 20.0, Body::Tick);
    bench.only()
}

#[test]
fn a_container_that_outlived_its_grace_was_killed_by_the_kubelet() {
    let finding = killed(30, None, (137, 90.0));
    assert_eq!((finding.cause, finding.confidence, finding.blame), (Cause::SlowShutdown, Confidence::Likely, Blame::Insufficient));
    assert!(finding.summary.contains("was killed by the kubelet when it had not ended 30 s after it was asked to"), "{}", finding.summary);
    assert!(finding.evidence.iter().any(|evidence| evidence.what.contains("gracePeriod=30")), "{:?}", finding.evidence);
    assert!(finding.not_found.iter().any(|looked| looked.contains("the kubelet's reason")), "{:?}", finding.not_found);
    assert!(!finding.actions.iter().any(|action| action.contains("who sent SIGKILL")), "{:?}", finding.actions);
}

#[test]
fn a_long_grace_is_waited_for() {
    let finding = killed(600, None, (137, 660.0));
    assert!(finding.summary.contains("had not ended 600 s after it was asked to"), "{}", finding.summary);
}

#[test]
fn the_kubelet_is_named_with_its_reason() {
    let finding = killed(30, Some("Container app resize requires restart"), (137, 90.0));
    assert_eq!((finding.confidence, finding.blame), (Confidence::Proven, Blame::Workload));
    assert!(finding.summary.contains("its reason: Container app resize requires restart"), "{}", finding.summary);
}

#[test]
fn a_probe_and_a_container_that_was_not_killed_in_this_life_are_other_stories() {
    assert_eq!(killed(30, Some("Container app failed liveness probe, will be restarted"), (137, 90.0)).cause, Cause::LivenessProbe);
    let mut bench = Bench::watching(1.0);
    bench.say(
        60.0,
        kubelet(
            2,
            &format!("\"Killing container with a grace period\" pod=\"shop/web-1\" podUID=\"{UID}\" containerName=\"app\" gracePeriod=30"),
        ),
    );
    bench.pod(65.0, pod(0, ContainerState::Running { started: Some(moment(65.0).wall) }, None));
    let state = TerminatedState { started: Some(moment(65.0).wall), ..ended(137, "Error", 80.0) };
    bench.pod(80.5, pod(0, ContainerState::Terminated(state), None));
    bench.say(100.0, Body::Tick);
    assert_eq!(bench.only().cause, Cause::Killed, "the kubelet killed the life before");
}

/// A container with a liveness probe that ends while the kubelet, which prints as much as `verbosity`, says nothing of it.
fn ended_in_silence(verbosity: u64, exit_code: i32, interrupted: bool) -> Finding {
    let mut bench = Bench::watching(1.0);
    let source = |state| Body::Source(crate::signal::SourceReport { source: SourceName::KubeletLog, state, detail: "test".into() });
    bench.say(1.0, source(crate::signal::SourceState::Up));
    let other = "99999999-2222-3333-4444-555555555555";
    let sign = match verbosity {
        2 => format!("\"Killing container with a grace period\" pod=\"shop/db-1\" podUID=\"{other}\" containerName=\"db\" gracePeriod=30"),
        _ => format!("\"Error syncing pod, skipping\" err=\"no\" pod=\"shop/db-1\" podUID=\"{other}\""),
    };
    bench.say(2.0, kubelet(1, &sign));
    let probed = |state| {
        let mut pod = pod(0, state, None);
        pod.containers[0].liveness_probe = true;
        pod
    };
    bench.pod(5.0, probed(ContainerState::Running { started: Some(moment(5.0).wall) }));
    if interrupted {
        bench.say(100.0, source(crate::signal::SourceState::Failing));
        bench.say(101.0, source(crate::signal::SourceState::Up));
    }
    let checkpoint = serde_json::to_string(&bench.core.checkpoint().expect("boot known")).expect("json");
    bench.core = Core::restore(serde_json::from_str(&checkpoint).expect("json"));
    bench.start(110.0);
    bench.say(110.0, source(crate::signal::SourceState::Up));
    let state = TerminatedState { started: Some(moment(5.0).wall), ..ended(exit_code, "Error", 150.0) };
    bench.pod(150.5, probed(ContainerState::Terminated(state)));
    bench.say(180.0, Body::Tick);
    bench.only()
}

#[test]
fn a_kubelet_that_would_have_said_so_and_did_not_is_no_killer() {
    let finding = ended_in_silence(2, 137, false);
    assert_eq!((finding.cause, finding.blame), (Cause::Killed, Blame::Insufficient));
    assert!(finding.summary.contains("was ended by SIGKILL from outside, and not by the kubelet for a probe"), "{}", finding.summary);
    assert!(finding.not_found.iter().any(|looked| looked.contains("a kill by the kubelet")), "{:?}", finding.not_found);
    let completed = ended_in_silence(2, 0, false);
    assert_eq!((completed.cause, completed.confidence, completed.blame), (Cause::Completed, Confidence::Proven, Blame::Workload));
    assert!(completed.summary.contains("not because the kubelet stopped it"), "{}", completed.summary);
}

#[test]
fn the_silence_of_a_quiet_kubelet_or_of_a_log_with_a_gap_proves_nothing() {
    for finding in [ended_in_silence(0, 137, false), ended_in_silence(2, 137, true)] {
        assert_eq!((finding.cause, finding.confidence, finding.blame), (Cause::LivenessProbe, Confidence::Likely, Blame::Insufficient));
    }
    assert_eq!(ended_in_silence(0, 0, false).blame, Blame::Insufficient);
}
