//! The kubelet as a process and the node's standing at the API server.
//!
//! Sources: `cmd/kubelet/app`, `pkg/kubelet/kubelet_node_status.go`, `pkg/kubelet/nodestatus/setters.go`,
//! `k8s.io/component-helpers/apimachinery/lease`, `pkg/kubelet/nodeshutdown`.

use super::said::{Said, after, between};
use super::situation::{LeaseStep, NotReady, Observation, Situation};
use super::subject::Subject;
use crate::model::CgroupPlace;
use crate::parse::klog::Severity;

/// Reads a line about the kubelet's process or its node.
pub fn observe(said: &Said<'_, '_>) -> Option<Observation> {
    process(said)
        .or_else(|| standing(said))
        .map(|situation| said.about(Subject::default(), situation))
        .or_else(|| refused(said))
        .or_else(|| other(said))
}

fn process(said: &Said<'_, '_>) -> Option<Situation> {
    if let Some(rest) = said.after("Kubelet version") {
        let version = said
            .record()
            .text_of("kubeletVersion")
            .map_or_else(|| rest.trim_start_matches([':', ' ']).to_owned(), |text| text.into_owned());
        return Some(Situation::KubeletVersion { version });
    }
    if said.begins(&["Started kubelet", "Starting kubelet main sync loop"]) {
        return Some(Situation::KubeletStarted);
    }
    let fatal = said.record().severity == Some(Severity::Fatal) && said.record().file == Some("server.go");
    if said.tells("failed to run Kubelet") || said.begins(&["Failed to run kubelet", "Failed to load Kubelet config file"]) || fatal {
        return Some(Situation::FatalStart);
    }
    if said.begins(&["command failed"]) && said.record().file.is_none_or(|file| file == "run.go") {
        return Some(Situation::FatalStart);
    }
    if said.begins(&["Housekeeping took longer than", "Event channel is full, discard this relist"]) {
        return Some(Situation::LoopSlow);
    }
    said.begins(&["Do not notify watchdog this iteration"]).then_some(Situation::WatchdogWithheld)
}

fn standing(said: &Said<'_, '_>) -> Option<Situation> {
    if said.begins(&["Error updating node status, will retry"]) {
        return Some(Situation::NodeStatusFailed { gave_up: false });
    }
    if said.begins(&["Unable to update node status"]) {
        return Some(Situation::NodeStatusFailed { gave_up: true });
    }
    if said.begins(&["Unable to register node"]) {
        return Some(Situation::RegistrationFailed);
    }
    if said.begins(&["Node became not ready"]) {
        let condition = said.record().text_of("condition");
        return Some(Situation::NodeNotReady { causes: NotReady::of(condition.as_deref().unwrap_or(said.message())) });
    }
    lease(said).or_else(|| node_event(said))
}

fn lease(said: &Said<'_, '_>) -> Option<Situation> {
    let step = if said.begins(&["failed to update lease using latest lease", "failed to update node lease using latest lease"]) {
        LeaseStep::FallBack
    } else if said.begins(&["failed to update lease", "failed to update node lease", "Will retry updating lease"]) {
        LeaseStep::Update
    } else if said.begins(&[
        "failed to ensure lease exists",
        "failed to ensure node lease exists",
        "failed to get lease",
        "failed to get node lease",
    ]) {
        LeaseStep::Ensure
    } else {
        return None;
    };
    // client-go's leader election writes "Failed to update lease …" in other components.
    (said.record().file != Some("leaderelection.go")).then_some(Situation::LeaseFailed { step })
}

/// `"Recording event message for node" node="n" event="NodeReady"`; before 1.21 `Recording NodeReady
/// event message for node n`.
fn node_event(said: &Said<'_, '_>) -> Option<Situation> {
    let rest = said.after("Recording ")?;
    let event = match rest.strip_prefix("event message for node") {
        Some(_) => said.record().text_of("event")?.into_owned(),
        None => rest.split_once(" event message for node")?.0.to_owned(),
    };
    Some(Situation::NodeEvent { event })
}

/// Pods that the kubelet does not take.
fn refused(said: &Said<'_, '_>) -> Option<Observation> {
    if !said.begins(&["Failed to admit pod", "Pod admission denied"]) {
        return None;
    }
    let condition =
        said.record().text_of("nodeCondition").or_else(|| between(said.message(), "node has conditions: [", "]").map(Into::into));
    let condition = condition.map(|text| text.trim_matches(['[', ']', '"']).to_owned());
    let named = ["DiskPressure", "MemoryPressure", "PIDPressure"].into_iter().find(|name| said.tells(name));
    let told = said.record().text_of("message").and_then(|text| text.contains("DiskPressure").then_some("DiskPressure".to_owned()));
    let condition = condition.or_else(|| named.map(str::to_owned)).or(told);
    let reason = said.record().text_of("reason").map(|text| text.into_owned());
    Some(said.observation(Situation::AdmissionDenied { reason, condition }))
}

fn other(said: &Said<'_, '_>) -> Option<Observation> {
    let situation = if said.begins(&["Preempting pod to free up resources", "Preempting pod"]) {
        Situation::Preempting
    } else if said.begins(&["Could not process manifest file", "Can't process manifest file"]) {
        let quoted = || said.message().split('"').nth(1).map(str::to_owned);
        Situation::ManifestInvalid { path: said.record().text_of("path").map(|path| path.into_owned()).or_else(quoted) }
    } else if said.begins(&[
        "ListAndWatch ended unexpectedly for device plugin",
        "Endpoint became unhealthy",
        "Mark all resources Unhealthy",
    ]) {
        Situation::DevicePluginLost
    } else if said.begins(&["Shutdown manager detected new shutdown event"]) {
        Situation::NodeShutdown
    } else {
        return oom(said);
    };
    Some(said.observation(situation))
}

/// cAdvisor's watcher of the kernel log (`pkg/kubelet/oom/oom_watcher_linux.go`).
fn oom(said: &Said<'_, '_>) -> Option<Observation> {
    if said.begins(&["Unexpectedly stopped receiving OOM notifications", "Failed to watch OOM", "Unable to start OOM watcher"]) {
        return Some(said.about(Subject::default(), Situation::OomWatcherStopped));
    }
    if let Some(rest) = said.after("Created an OOM event in container") {
        let cgroup = rest.split('"').nth(1).unwrap_or("/").to_owned();
        let place = CgroupPlace::of(&cgroup);
        let subject = Subject { uid: place.pod().cloned(), container_id: place.container().cloned(), ..Subject::default() };
        return Some(said.about(subject, Situation::CgroupOom { cgroup }));
    }
    let message = said.message();
    let told = message.split_once("System OOM encountered, victim process: ").map(|(_, rest)| rest);
    if !said.begins(&["Got sys oom event"]) && told.is_none() {
        return None;
    }
    let event = said.record().text_of("event").unwrap_or_else(|| message.into());
    let process = told.and_then(|rest| rest.split(',').next().map(str::to_owned)).or_else(|| member(&event, "ProcessName"));
    let pid = told.and_then(|rest| after(rest.split_once(", ")?.1, "pid: ").map(str::to_owned)).or_else(|| member(&event, "Pid"));
    let pid = pid.and_then(|pid| pid.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok());
    Some(said.about(Subject::default(), Situation::SystemOom { process, pid }))
}

/// A member of a Go struct (`&{Pid:7 ProcessName:a b TimeOfDeath:…}`) or of the JSON that replaced it.
fn member(event: &str, name: &str) -> Option<String> {
    let (_, rest) = event.split_once(name)?;
    let rest = rest.trim_start_matches('"').strip_prefix(':')?;
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split([',', '}']).next()?.split_once(':').map_or_else(
            || rest.split([',', '}']).next().unwrap_or(""),
            |(value, _)| value.rsplit_once(' ').map_or(value, |(value, _)| value),
        ),
    };
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::klog::KlogRecord;

    fn situation(text: &str) -> Option<Situation> {
        let line = format!("E0307 04:05:06.1 1 server.go:1] {text}");
        observe(&Said::of(&KlogRecord::parse(&line)).expect("klog")).map(|found| found.situation)
    }

    #[test]
    fn starts() {
        assert_eq!(
            situation("\"Kubelet version\" kubeletVersion=\"v1.30.1\""),
            Some(Situation::KubeletVersion { version: "v1.30.1".into() })
        );
        assert_eq!(situation("Kubelet version: v1.18.0"), Some(Situation::KubeletVersion { version: "v1.18.0".into() }));
        assert_eq!(situation("failed to run Kubelet: running with swap on is not supported"), Some(Situation::FatalStart));
        assert_eq!(situation("\"Failed to run kubelet\" err=\"failed to run Kubelet: x\""), Some(Situation::FatalStart));
    }

    #[test]
    fn status_and_lease_in_both_generations() {
        for (text, expected) in [
            ("\"Error updating node status, will retry\" err=\"x\"", Situation::NodeStatusFailed { gave_up: false }),
            ("Error updating node status, will retry: x", Situation::NodeStatusFailed { gave_up: false }),
            ("Unable to update node status: update node status exceeds retry count", Situation::NodeStatusFailed { gave_up: true }),
            ("failed to update lease, error: x", Situation::LeaseFailed { step: LeaseStep::Update }),
            ("\"Failed to ensure lease exists, will retry\" err=\"x\" interval=\"7s\"", Situation::LeaseFailed { step: LeaseStep::Ensure }),
            (
                "failed to update lease using latest lease, fallback to ensure lease, err: x",
                Situation::LeaseFailed { step: LeaseStep::FallBack },
            ),
        ] {
            assert_eq!(situation(text), Some(expected), "{text}");
        }
        let other = KlogRecord::parse("E0307 04:05:06.1 1 leaderelection.go:1] Failed to update lease: x");
        assert_eq!(observe(&Said::of(&other).expect("klog")), None);
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let causes = NotReady { runtime_down: true, ..NotReady::default() };
        assert_eq!(
            situation(
                r#""Node became not ready" node="n1" condition={"type":"Ready","status":"False","reason":"KubeletNotReady","message":"container runtime is down"}"#
            ),
            Some(Situation::NodeNotReady { causes })
        );
        assert_eq!(
            situation("\"Recording event message for node\" node=\"n1\" event=\"NodeHasDiskPressure\""),
            Some(Situation::NodeEvent { event: "NodeHasDiskPressure".into() })
        );
        assert_eq!(
            situation("Recording NodeNotReady event message for node n1"),
            Some(Situation::NodeEvent { event: "NodeNotReady".into() })
        );
    }

    #[test]
    fn refusals() {
        let denied = |reason: Option<&str>, condition: Option<&str>| {
            Some(Situation::AdmissionDenied { reason: reason.map(Into::into), condition: condition.map(Into::into) })
        };
        assert_eq!(
            situation("\"Pod admission denied\" podUID=\"x\" pod=\"ns/a\" reason=\"OutOfcpu\" message=\"Pod was rejected\""),
            denied(Some("OutOfcpu"), None)
        );
        assert_eq!(
            situation("\"Failed to admit pod to node\" pod=\"ns/a\" nodeCondition=[\"DiskPressure\"]"),
            denied(None, Some("DiskPressure"))
        );
        assert_eq!(situation("Failed to admit pod a_ns(x) - node has conditions: [DiskPressure]"), denied(None, Some("DiskPressure")));
    }

    #[test]
    fn a_global_oom_in_every_form() {
        let expected = Some(Situation::SystemOom { process: Some("java".into()), pid: Some(812) });
        for text in [
            "\"Got sys oom event\" event=&{Pid:812 ProcessName:java TimeOfDeath:2026-03-07 04:05:06 +0000 UTC ContainerName:/ VictimContainerName:/ Constraint:CONSTRAINT_NONE}",
            "\"Got sys oom event\" event={\"Pid\":812,\"ProcessName\":\"java\",\"TimeOfDeath\":\"2026-03-07T04:05:06Z\",\"ContainerName\":\"/\"}",
            "System OOM encountered, victim process: java, pid: 812",
        ] {
            assert_eq!(situation(text), expected, "{text}");
        }
    }

    #[test]
    fn cadvisor_names_the_cgroup() {
        let expected = Some(Situation::CgroupOom { cgroup: "/kubepods/besteffort".into() });
        assert_eq!(situation("Created an OOM event in container \"/kubepods/besteffort\" at 2026-03-07 04:05:06 +0000 UTC"), expected);
    }

    #[test]
    fn the_noise_of_a_start_is_nothing() {
        for text in [
            "node \"n1\" not found",
            "\"Error getting the current node from lister\" err=\"x\"",
            "FLAG: --registry-qps=\"5\"",
            "\"Failed to get status for pod\" pod=\"ns/a\"",
            "\"Adding static pod path\" path=\"/etc\"",
        ] {
            assert_eq!(situation(text), None, "{text}");
        }
    }
}
