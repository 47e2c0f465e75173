//! Why a container or a pod does not start: the error that a pod's worker gives up with.
//!
//! Grammar of the error (`pkg/kubelet/container/sync_result.go`, all versions): one or several
//! `failed to "<Action>" for "<target>" with <Reason>: "<Go-quoted text>"`, joined as `[a, b]`.
//! Reasons: `pkg/kubelet/images/types.go`, `pkg/kubelet/container/sync_result.go`.

use super::observe::tells_no_space;
use super::said::{Said, between};
use super::situation::{Observation, Situation};
use super::subject::{Subject, is_name};
use super::{duration, image, volume};
use crate::model::PodUid;
use crate::parse::klog::{split_closing_quote, unescape};
use std::borrow::Cow;

/// A pod has at most this many containers that fail in one line.
const MOST_FAILURES: usize = 32;

/// Reads `Error syncing pod, skipping`, which may tell of several containers.
pub fn sync_error(said: &Said<'_, '_>) -> Option<Vec<Observation>> {
    let rest = said.after("Error syncing pod")?;
    let subject = sync_subject(said, rest);
    let error = rest.split_once("skipping: ").map_or_else(|| said.error(), |(_, error)| error);
    let found = failures(error);
    if found.is_empty() {
        let situation = unnamed(error);
        let words = format!("Error syncing pod, skipping: {error}");
        return Some(vec![said.quoting(&words, subject.or(Subject::find_old(error).unwrap_or_default()), situation)]);
    }
    Some(found.iter().map(|failure| failure.observation(said, &subject)).collect())
}

/// The pod of the keys, or `UID ("name_ns(uid)")` of the sentence.
fn sync_subject(said: &Said<'_, '_>, rest: &str) -> Subject {
    let named = said.subject();
    let uid = rest.trim_start().split([' ', ',']).next().and_then(PodUid::parse);
    named.or(Subject { uid, ..Subject::default() })
}

/// Reads the line of one failed container, `container app start failed in pod app_ns(uid): Reason: text`.
/// Until 1.33 it prints the whole container in place of its name.
pub fn start_failed(said: &Said<'_, '_>) -> Option<Observation> {
    let (head, tail) = said.error().rsplit_once(" start failed in pod ")?;
    let container = head.split_once("container ")?.1;
    let container =
        container.strip_prefix("&Container{Name:").unwrap_or(container).split([',', ' ']).next().filter(|name| is_name(name))?;
    let (pod, reason) = tail.split_once(": ")?;
    let (reason, text) = reason.split_once(": ").unwrap_or((reason, ""));
    let subject = Subject::of_old(pod).unwrap_or_default().with_container(container);
    Some(said.quoting(&format!("container {container} start failed in pod {tail}"), subject, situation("StartContainer", reason, text)))
}

struct Failure<'a> {
    action: &'a str,
    target: &'a str,
    reason: &'a str,
    text: Cow<'a, str>,
}

impl Failure<'_> {
    fn observation(&self, said: &Said<'_, '_>, subject: &Subject) -> Observation {
        let Self { action, target, reason, text } = self;
        let subject = subject.clone().or(Subject::find_old(text).or_else(|| Subject::of_old(target)).unwrap_or_default());
        let subject = if action.ends_with("Container") { subject.with_container(target) } else { subject };
        let words = format!("Error syncing pod, skipping: failed to \"{action}\" for \"{target}\" with {reason}: \"{text}\"");
        said.quoting(&words, subject, situation(action, reason, text))
    }
}

fn failures(error: &str) -> Vec<Failure<'_>> {
    let mut found = Vec::new();
    let mut rest = error;
    while let Some((failure, behind)) = next_failure(rest).filter(|_| found.len() < MOST_FAILURES) {
        found.push(failure);
        rest = behind;
    }
    found
}

fn next_failure(text: &str) -> Option<(Failure<'_>, &str)> {
    let (_, rest) = text.split_once("failed to \"")?;
    let (action, rest) = rest.split_once('"')?;
    let (target, rest) = rest.strip_prefix(" for \"")?.split_once('"')?;
    let rest = rest.strip_prefix(" with ")?;
    let (reason, rest) = rest.split_at_checked(rest.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(rest.len()))?;
    let rest = rest.strip_prefix(':').unwrap_or(rest).trim_start();
    let (text, rest) = match rest.strip_prefix('"') {
        Some(quoted) => split_closing_quote(quoted).unwrap_or((quoted, "")),
        None => (rest, ""),
    };
    Some((Failure { action, target, reason, text: unescape(text) }, rest))
}

fn situation(action: &str, reason: &str, text: &str) -> Situation {
    match reason {
        "CrashLoopBackOff" => Situation::BackOff { delay: delay(text) },
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed"
        | "ErrRegistryUnavailable" => image::pull_failed(reason, text),
        "CreateContainerConfigError" | "VerifyNonRootError" | "VerifyNonRoot" => Situation::ConfigError,
        "CreatePodSandboxError" | "ConfigPodSandboxError" | "KillPodSandboxError" | "SetupNetworkError" | "TeardownNetworkError" => {
            Situation::SandboxFailed
        }
        "KillContainerError" => Situation::KillFailed,
        _ if action.contains("PodSandbox") => Situation::SandboxFailed,
        _ if action.contains("KillContainer") => Situation::KillFailed,
        _ => Situation::StartFailed { reason: reason.to_owned() },
    }
}

/// `back-off 5m0s restarting failed container=…`
pub fn delay(text: &str) -> Option<std::time::Duration> {
    let at = text.to_ascii_lowercase().find("back-off ")?;
    duration::leading(text.get(at + "back-off ".len()..)?)
}

/// A worker's error that has no reason word.
fn unnamed(error: &str) -> Situation {
    if error.contains("network is not ready") || error.contains("network not ready") {
        return Situation::NetworkNotReady;
    }
    if let Some(volumes) = volume::unmounted(error) {
        return Situation::VolumeFailed { volumes, operation: None };
    }
    if tells_no_space(error) {
        return Situation::NoSpace;
    }
    match between(error, " with ", ":").filter(|reason| is_name(reason)) {
        Some(reason) => situation("", reason, error),
        None => Situation::SyncFailed,
    }
}

/// Reads the back-off's own line (printed from -v=3; `Back-off 10s restarting failed container=…`).
pub fn back_off(said: &Said<'_, '_>) -> Option<Observation> {
    said.after("Back-off ")?;
    let error = said.error();
    let subject = said.subject().or(Subject::find_old(error).unwrap_or_default());
    if !said.tells("restarting failed container") {
        return None;
    }
    let container = between(&format!("{error} "), "container=", " ").map(str::to_owned);
    let subject = container.map_or(subject.clone(), |name| subject.with_container(&name));
    Some(said.about(subject, Situation::BackOff { delay: delay(error) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::klog::KlogRecord;
    use crate::parse::kubelet::situation::PullFailure;
    use proptest::prelude::*;
    use std::time::Duration;

    const UID: &str = "0a1b2c3d-0000-1111-2222-333344445555";

    fn observed(line: &str) -> Vec<Observation> {
        let record = KlogRecord::parse(line);
        sync_error(&Said::of(&record).expect("klog")).expect("sync error")
    }

    #[test]
    fn the_back_off_of_every_generation() {
        let old = format!(
            "E0307 04:05:06.1 1 pod_workers.go:191] Error syncing pod {UID} (\"web-0_ns({UID})\"), skipping: failed to \"StartContainer\" for \"app\" with CrashLoopBackOff: \"Back-off 20s restarting failed container=app pod=web-0_ns({UID})\""
        );
        let inner = format!(
            r#"failed to \"StartContainer\" for \"app\" with CrashLoopBackOff: \"back-off 20s restarting failed container=app pod=web-0_ns({UID})\""#
        );
        let mid =
            format!("E0307 04:05:06.1 1 pod_workers.go:951] \"Error syncing pod, skipping\" err=\"{inner}\" pod=\"ns/web-0\" podUID={UID}");
        let json = format!(
            "{{\"ts\":1.5,\"msg\":\"Error syncing pod, skipping\",\"pod\":{{\"name\":\"web-0\",\"namespace\":\"ns\"}},\"podUID\":\"{UID}\",\"err\":\"{inner}\"}}"
        );
        let keyless = format!("E0307 04:05:06.1 1 pod_workers.go:951] \"Error syncing pod, skipping\" err=\"{inner}\"");
        for line in [old, mid, json, keyless] {
            let found = observed(&line);
            assert_eq!(found.len(), 1, "{line}");
            assert_eq!(found[0].situation, Situation::BackOff { delay: Some(Duration::from_secs(20)) });
            let subject = &found[0].subject;
            assert_eq!((subject.path().as_deref(), subject.container.as_deref()), (Some("ns/web-0"), Some("app")), "{line}");
            assert_eq!(subject.uid.as_ref().map(PodUid::as_str), Some(UID));
        }
    }

    #[test]
    fn several_containers_in_one_line() {
        let line = r#"E0307 04:05:06.1 1 pod_workers.go:1301] "Error syncing pod, skipping" err="[failed to \"StartContainer\" for \"a\" with ErrImagePull: \"toomanyrequests: slow \\\"down\\\"\", failed to \"StartContainer\" for \"b\" with CreateContainerConfigError: \"secret \\\"db\\\" not found\"]" pod="ns/web-0" podUID="x""#;
        let found = observed(line);
        assert_eq!(found.len(), 2);
        assert!(matches!(found[0].situation, Situation::ImagePullFailed { failure: PullFailure::RateLimit, .. }));
        assert_eq!(found[0].subject.container.as_deref(), Some("a"));
        assert_eq!(found[1].situation, Situation::ConfigError);
        assert!(found[1].said.as_str().contains("secret \"db\" not found"));
    }

    #[test]
    fn a_cut_error_still_tells_its_reason() {
        let found = observed(
            r#"E0307 04:05:06.1 1 pod_workers.go:951] "Error syncing pod, skipping" err="failed to \"StartContainer\" for \"app\" with RunContainerError: \"failed to create containerd task: exec: \\\"/no"#,
        );
        assert_eq!(found[0].situation, Situation::StartFailed { reason: "RunContainerError".into() });
        assert_eq!(found[0].subject.container.as_deref(), Some("app"));
    }

    #[test]
    fn errors_without_a_reason_word() {
        let situation = |error: &str| {
            observed(&format!("E0307 04:05:06.1 1 a.go:1] \"Error syncing pod, skipping\" err={error:?} pod=\"ns/a\""))[0].situation.clone()
        };
        assert_eq!(situation("network is not ready: x"), Situation::NetworkNotReady);
        assert_eq!(
            situation("unmounted volumes=[a b], unattached volumes=[c]: timed out"),
            Situation::VolumeFailed { volumes: vec!["a".into(), "b".into()], operation: None }
        );
        assert_eq!(situation("mkdir /var/lib/kubelet/pods/x: no space left on device"), Situation::NoSpace);
        assert_eq!(situation("mkdir /sys/fs/cgroup/memory/x: no space left on device"), Situation::SyncFailed);
        assert_eq!(situation("something else"), Situation::SyncFailed);
    }

    #[test]
    fn the_line_of_one_container_with_and_without_its_dump() {
        for container in ["app", "&Container{Name:app,Image:x,Env:[]EnvVar{EnvVar{Name:A,Value:s3cret,},},}"] {
            for line in [
                format!(
                    "E0307 04:05:06.1 1 m.go:1] init container {container} start failed in pod web-0_ns({UID}): CreateContainerConfigError: secret \"db\" not found"
                ),
                format!(
                    "E0307 04:05:06.1 1 m.go:1] \"Unhandled Error\" err=\"container {container} start failed in pod web-0_ns({UID}): CreateContainerConfigError: secret \\\"db\\\" not found\" logger=\"UnhandledError\""
                ),
            ] {
                let record = KlogRecord::parse(&line);
                let found = start_failed(&Said::of(&record).expect("klog")).expect("start failed");
                assert_eq!(found.situation, Situation::ConfigError);
                assert_eq!(found.subject.container.as_deref(), Some("app"));
                assert!(found.said.as_str().contains("secret \"db\" not found") && !found.said.as_str().contains("s3cret"));
            }
        }
    }

    proptest! {
        #[test]
        fn any_error_is_survived(text in "(failed to \"|StartContainer|\" for \"| with |: \"|\\\\|[ -~é]){0,40}") {
            let line = format!("E0307 04:05:06.1 1 a.go:1] Error syncing pod x, skipping: {text}");
            prop_assert!(!observed(&line).is_empty());
        }
    }
}
