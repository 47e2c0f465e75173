//! Volumes that cannot be mounted, attached or taken away.
//!
//! Sources: `pkg/volume/util/operationexecutor`, `nestedpendingoperations.go` (printf up to 1.36),
//! `pkg/kubelet/volumemanager`, `pkg/kubelet/kubelet_volumes.go`.

use super::said::{Said, between};
use super::situation::{Observation, Situation};
use super::subject::{Subject, is_name};
use crate::model::PodUid;
use crate::parse::klog::unescape;

/// Reads a line about volumes.
pub fn observe(said: &Said<'_, '_>) -> Option<Observation> {
    operation(said).or_else(|| waiting(said)).or_else(|| orphaned(said))
}

/// `Operation for "{…}" failed. … Error: MountVolume.SetUp failed for volume "cfg" (UniqueName: "…")
/// pod "web-0" (UID: "…") : reason`; before 1.18 the error is quoted once more.
fn operation(said: &Said<'_, '_>) -> Option<Observation> {
    let pending = said.after("Operation for ").filter(|rest| rest.contains("failed.") || rest.contains("No retries permitted"));
    let error = match pending {
        Some(rest) => rest.split_once(" Error: ").map_or(rest, |(_, error)| error),
        None => Some(said.error()).filter(|error| is_operation(error))?,
    };
    let error = unescape(error.trim_start_matches('"'));
    let operation = error
        .split_once(" failed for volume")
        .map(|(name, _)| name.rsplit(' ').next().unwrap_or(name).trim_matches(['"', '\\']).to_owned());
    let volumes = between(&error, "volume \"", "\"").map(str::to_owned).into_iter().collect();
    let subject = said.subject().or(operation_subject(&error, said.message()));
    let situation = Situation::VolumeFailed { volumes, operation: operation.filter(|name| is_name(name)) };
    let words = if pending.is_some() { error.into_owned() } else { said.whole() };
    Some(said.quoting(&words, subject, situation))
}

/// The executor's own line, without the retry's words around it.
fn is_operation(error: &str) -> bool {
    const OPERATIONS: [&str; 8] = [
        "MountVolume.",
        "UnmountVolume.",
        "MountDevice ",
        "UnmountDevice ",
        "AttachVolume.",
        "DetachVolume.",
        "MapVolume.",
        "VerifyControllerAttachedVolume",
    ];
    let operation = error.trim_start_matches(['"', '\\']);
    OPERATIONS.iter().any(|name| operation.starts_with(name)) && error.contains(" failed for volume ")
}

/// ` pod "name" (UID: "uid")`; for an unmount the name is the uid again.
fn operation_subject(error: &str, message: &str) -> Subject {
    let (_, behind) = error.split_once("volume \"").unwrap_or(("", error));
    let name = between(behind, " pod \"", "\"").filter(|name| is_name(name) && PodUid::parse(name).is_none());
    let uid = between(error, "(UID: \"", "\"").or_else(|| between(message, "podName:", " ")).and_then(PodUid::parse);
    Subject { pod: name.map(str::to_owned), uid, ..Subject::default() }
}

/// The pod's worker waited in vain.
fn waiting(said: &Said<'_, '_>) -> Option<Observation> {
    if !said.begins(&["Unable to attach or mount volumes", "Unable to mount volumes for pod"]) {
        return None;
    }
    let volumes = unmounted(said.error()).unwrap_or_default();
    Some(said.observation(Situation::VolumeFailed { volumes, operation: None }))
}

/// The names in `unmounted volumes=[a b]`; `None` when the text has no such list.
pub fn unmounted(error: &str) -> Option<Vec<String>> {
    let (_, rest) = error.split_once("unmounted volumes=[")?;
    let names = rest.split(']').next().unwrap_or(rest);
    Some(names.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn orphaned(said: &Said<'_, '_>) -> Option<Observation> {
    let error = said.error();
    let (_, rest) = error.split_once("rphaned pod ").filter(|(_, rest)| rest.contains("found, but"))?;
    let uid = rest.trim_start_matches('"').split(['"', ' ']).next().and_then(PodUid::parse);
    Some(said.about(Subject { uid, ..Subject::default() }, Situation::OrphanedVolumes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::klog::KlogRecord;
    use proptest::prelude::*;

    const UID: &str = "0a1b2c3d-0000-1111-2222-333344445555";

    fn observed(text: &str) -> Option<Observation> {
        let line = format!("E0307 04:05:06.1 1 a.go:1] {text}");
        observe(&Said::of(&KlogRecord::parse(&line)).expect("klog"))
    }

    fn failed(volume: &str, operation: &str) -> Situation {
        Situation::VolumeFailed { volumes: vec![volume.into()], operation: Some(operation.into()) }
    }

    #[test]
    fn a_failed_operation_of_every_generation() {
        let error = format!(
            "MountVolume.SetUp failed for volume \"cfg\" (UniqueName: \"kubernetes.io/configmap/{UID}-cfg\") pod \"web-0\" (UID: \"{UID}\") : configmap \"cfg\" not found"
        );
        let retry = "failed. No retries permitted until 2026-03-07 04:05:07.1 +0000 UTC m=+9.1 (durationBeforeRetry 500ms).";
        for text in [
            format!("Operation for \"{{volumeName:kubernetes.io/configmap/{UID}-cfg podName:{UID} nodeName:}}\" {retry} Error: {error}"),
            format!("Operation for \"\\\"kubernetes.io/configmap/{UID}-cfg\\\" (\\\"{UID}\\\")\" {retry} Error: {error:?}"),
            error.clone(),
        ] {
            let found = observed(&text).expect("operation");
            assert_eq!(found.situation, failed("cfg", "MountVolume.SetUp"), "{text}");
            assert_eq!((found.subject.path().as_deref(), found.subject.uid.as_ref().map(PodUid::as_str)), (Some("web-0"), Some(UID)));
            assert!(found.said.as_str().contains("configmap \"cfg\" not found"));
        }
    }

    #[test]
    fn an_unmount_names_only_the_uid() {
        let found = observed(&format!("UnmountVolume.TearDown failed for volume \"kubernetes.io/csi/x\" (OuterVolumeSpecName: \"d\") pod \"{UID}\" (UID: \"{UID}\") : busy")).expect("operation");
        assert_eq!((found.subject.pod, found.subject.uid.is_some()), (None, true));
    }

    #[test]
    fn waiting_for_volumes() {
        let expected = Situation::VolumeFailed { volumes: vec!["data".into()], operation: None };
        let new = observed("\"Unable to attach or mount volumes for pod; skipping pod\" err=\"unmounted volumes=[data], unattached volumes=[], failed to process volumes=[]: timed out waiting for the condition\" pod=\"ns/web-0\"").expect("waiting");
        let old = observed(&format!("Unable to mount volumes for pod \"web-0_ns({UID})\": timeout expired. list of unmounted volumes=[data]. list of unattached volumes=[data x]; skipping pod")).expect("waiting");
        for found in [new, old] {
            assert_eq!((found.situation, found.subject.path().as_deref()), (expected.clone(), Some("ns/web-0")));
        }
    }

    #[test]
    fn what_is_no_failure() {
        for text in [
            "MountVolume.WaitForAttach entering for volume \"a\" (UniqueName: \"b\")",
            "operationExecutor.MountVolume started for volume \"a\"",
            "\"MountVolume.SetUp succeeded for volume \\\"a\\\"\" pod=\"ns/a\"",
        ] {
            assert_eq!(observed(text), None, "{text}");
        }
    }

    #[test]
    fn volumes_left_behind() {
        let found = observed(&format!("\"There were many similar errors. Turn up verbosity to see them.\" err=\"orphaned pod \\\"{UID}\\\" found, but error not a directory\" numErrs=3")).expect("orphan");
        assert_eq!((found.situation, found.subject.uid.is_some()), (Situation::OrphanedVolumes, true));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(Operation for |MountVolume. failed for volume |Error: | pod \"|\\(UID: \"|[ -~é\"]){0,30}") {
            let _ = observed(&text);
        }
    }
}
