//! What the kubelet's log adds to what a pod's status tells, and tells without it.

use super::*;
use crate::{
    findings::{EvidenceSource, FindingState},
    signal::{KubeletLine, KubeletOrigin, WaitingState},
};

impl Bench {
    fn kubelet(&mut self, second: f64, text: &str) {
        let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: moment(second).boot.0 };
        self.say(second, Body::Kubelet(KubeletLine { origin, text: format!("E1123 10:00:00.1     812 pod_workers.go:1] {text}") }));
    }

    fn fails(&mut self, second: f64, reason: &str, message: &str) {
        let text = format!(
            r#""Error syncing pod, skipping" err="failed to \"StartContainer\" for \"app\" with {reason}: \"{message}\"" pod="shop/web-1" podUID="{UID}""#
        );
        self.kubelet(second, &text);
    }
}

fn waits(reason: &str, message: &str) -> PodRecord {
    pod(0, ContainerState::Waiting(WaitingState { reason: Some(reason.into()), message: Some(message.into()) }), None)
}

fn log_lines(finding: &Finding) -> usize {
    finding.evidence.iter().filter(|evidence| evidence.source == EvidenceSource::KubeletLog).count()
}

const TIMEOUT: &str = "failed to pull image \\\\\\\"r.example/a:1\\\\\\\": dial tcp 10.1.1.1:443: i/o timeout";

#[test]
fn a_back_off_gets_its_reason_from_the_log() {
    let mut bench = Bench::watching(1.0);
    bench.fails(10.0, "ErrImagePull", TIMEOUT);
    bench.fails(12.0, "ImagePullBackOff", "Back-off pulling image \\\\\\\"r.example/a:1\\\\\\\"");
    bench.pod(13.0, waits("ImagePullBackOff", "Back-off pulling image \"r.example/a:1\""));
    let finding = bench.only();
    assert_eq!((finding.cause, finding.blame, log_lines(&finding)), (Cause::ImagePull, Blame::Insufficient, 1));
    assert!(finding.summary.contains("the registry does not answer in time"), "{}", finding.summary);
    assert!(finding.actions[0].contains("another node"), "{:?}", finding.actions);
}

#[test]
fn a_word_that_comes_after_the_status_is_added_once() {
    let mut bench = Bench::watching(1.0);
    bench.pod(10.0, waits("CreateContainerConfigError", "secret \"db\" not found"));
    for second in [11.0, 25.0, 40.0] {
        bench.fails(second, "CreateContainerConfigError", "secret \\\\\\\"db\\\\\\\" not found");
    }
    let finding = bench.only();
    assert_eq!((finding.cause, finding.count, log_lines(&finding)), (Cause::ConfigError, 1, 1));
}

#[test]
fn without_a_status_the_log_alone_tells() {
    let mut bench = Bench::new();
    bench.fails(100.0, "ErrImagePull", TIMEOUT);
    bench.fails(130.0, "ErrImagePull", TIMEOUT);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.count, log_lines(&finding)), (Cause::ImagePull, 1, 1));
    assert!(finding.not_found[0].contains("status"), "{:?}", finding.not_found);
}

#[test]
fn a_container_whose_definition_changed_did_not_crash() {
    let mut bench = Bench::watching(1.0);
    let text = format!(
        r#""Message for Container of pod" containerName="app" containerStatusID={{"Type":"containerd","ID":"{}"}} pod="shop/web-1" containerMessage="Container app definition changed, will be restarted""#,
        id("a")
    );
    bench.pod(5.0, pod(0, ContainerState::Running { started: None }, None));
    bench.kubelet(9.0, &text);
    bench.pod(11.0, pod(0, ContainerState::Terminated(ended(137, "Error", 10.0)), None));
    bench.say(30.0, Body::Tick);
    assert_eq!(bench.core.snapshot().findings, []);
    assert_eq!(bench.terminations(Cause::Stopped), 1);
}

#[test]
fn a_failed_hook_outweighs_the_exit_code() {
    let mut bench = Bench::watching(1.0);
    bench.pod(5.0, pod(0, ContainerState::Running { started: None }, None));
    bench.kubelet(9.0, &format!(r#""Failed to execute PostStartHook" err="command '/bin/false' exited with 1" pod="shop/web-1" podUID="{UID}" containerName="app" containerID="containerd://x""#));
    bench.pod(11.0, pod(0, ContainerState::Terminated(ended(137, "Error", 10.0)), None));
    bench.say(30.0, Body::Tick);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.confidence), (Cause::StartError, Confidence::Proven));
    assert!(finding.summary.contains("postStart hook failed"), "{}", finding.summary);
}

#[test]
fn taking_a_volume_away_keeps_nothing_from_starting() {
    let mut bench = Bench::watching(1.0);
    let failed = |operation: &str| {
        format!(
            r#"Operation for "{{volumeName:kubernetes.io/csi/x podName:{UID} nodeName:}}" failed. No retries permitted until 2026-11-23 10:00:38.0 +0000 UTC m=+9.3 (durationBeforeRetry 2m2s). Error: {operation} failed for volume "pvc" (UniqueName: "kubernetes.io/csi/x") pod "web-1" (UID: "{UID}") : rpc error: code = DeadlineExceeded desc = context deadline exceeded"#
        )
    };
    (10..60).step_by(10).for_each(|second| bench.kubelet(f64::from(second), &failed("UnmountVolume.TearDown")));
    assert_eq!(bench.core.snapshot().findings, []);
    (60..100).step_by(10).for_each(|second| bench.kubelet(f64::from(second), &failed("MountVolume.WaitForAttach")));
    let finding = bench.only();
    assert_eq!((finding.cause, finding.blame), (Cause::VolumeMount, Blame::Insufficient));
    assert!(finding.summary.contains("volume pvc cannot be mounted: it is not attached to this node in time"), "{}", finding.summary);
}

#[test]
fn a_pod_that_runs_or_ends_is_not_kept_from_starting_by_a_volume() {
    let failed = format!(
        r#"Operation for "{{volumeName:kubernetes.io/projected/{UID}-kube-api-access-x podName:{UID} nodeName:}}" failed. No retries permitted until 2026-11-23 10:00:38.0 +0000 UTC m=+9.3 (durationBeforeRetry 2s). Error: MountVolume.SetUp failed for volume "kube-api-access-x" (UniqueName: "kubernetes.io/projected/{UID}-kube-api-access-x") pod "web-1" (UID: "{UID}") : failed to fetch token: namespace not found"#
    );
    let running = pod(0, ContainerState::Running { started: Some(moment(5.0).wall) }, None);
    let mut ending = pod(0, ContainerState::Waiting(WaitingState::default()), None);
    ending.deletion = Some(moment(40.0).wall);
    for known in [running, ending.clone()] {
        let mut bench = Bench::watching(1.0);
        bench.pod(5.0, known);
        (10..60).step_by(10).for_each(|second| bench.kubelet(f64::from(second), &failed));
        assert_eq!(bench.core.snapshot().findings, []);
    }
    let mut bench = Bench::watching(1.0);
    (10..60).step_by(10).for_each(|second| bench.kubelet(f64::from(second), &failed));
    assert_eq!(bench.only().cause, Cause::VolumeMount);
    bench.pod(61.0, ending);
    assert_eq!(bench.only().state, FindingState::Resolved);
}
