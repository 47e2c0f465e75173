//! Kubernetes events that the kubelet repeats in its own log (printed from -v=3 only).
//!
//! Sources: client-go `tools/record` (`"Event occurred" object=… reason=… message=…`) and, until 1.18,
//! `pkg/kubelet/server` (`Event(v1.ObjectReference{…}): type: 'Warning' reason: 'Unhealthy' …`).

use super::said::{Said, between};
use super::situation::{EvictionStep, Observation, Probe, Situation};
use super::start;
use super::subject::{Subject, is_name};
use super::{image, volume};
use crate::model::PodUid;

/// Reads an event of a pod.
pub fn observe(said: &Said<'_, '_>) -> Option<Observation> {
    let (subject, reason, message) = if said.begins(&["Event occurred"]) { structured(said)? } else { printed(said)? };
    let situation = situation(&reason, &message)?;
    Some(said.quoting(&format!("{reason}: {message}"), subject, situation))
}

fn structured(said: &Said<'_, '_>) -> Option<(Subject, String, String)> {
    let text = |key| said.record().text_of(key).map(|text| text.into_owned());
    let subject = text("object").and_then(|path| Subject::of_path(&path)).unwrap_or_default();
    let subject = text("fieldPath").as_deref().and_then(container_of_path).map_or(subject.clone(), |name| subject.with_container(name));
    (text("kind").as_deref() == Some("Pod")).then_some(())?;
    Some((subject, text("reason")?, text("message")?))
}

fn printed(said: &Said<'_, '_>) -> Option<(Subject, String, String)> {
    let rest = said.after("Event(")?;
    let (object, rest) = rest.split_once("): type: ")?;
    let member = |name: &str| between(object, &format!("{name}:\""), "\"");
    (member("Kind") == Some("Pod")).then_some(())?;
    let name = |key| member(key).filter(|text| is_name(text)).map(str::to_owned);
    let subject =
        Subject { namespace: name("Namespace"), pod: name("Name"), uid: member("UID").and_then(PodUid::parse), ..Subject::default() };
    let subject = member("FieldPath").and_then(container_of_path).map_or(subject.clone(), |name| subject.with_container(name));
    let (_, rest) = rest.split_once("reason: '")?;
    let (reason, message) = rest.split_once('\'')?;
    Some((subject, reason.to_owned(), message.trim().to_owned()))
}

/// The container that a field path names: `spec.containers{app}`.
fn container_of_path(path: &str) -> Option<&str> {
    between(path, "ontainers{", "}").filter(|name| is_name(name))
}

fn situation(reason: &str, message: &str) -> Option<Situation> {
    match reason {
        "Unhealthy" => {
            let probe = message.split(' ').next().and_then(Probe::parse)?;
            Some(Situation::ProbeFailed { probe, errored: message.contains("probe errored") })
        }
        "BackOff" if message.contains("restarting failed") => Some(Situation::BackOff { delay: start::delay(message) }),
        "BackOff" => Some(image::pull_failed("ImagePullBackOff", message)),
        "Failed" if message.contains("pull image") || message.contains("ErrImagePull") || message.contains("ImagePullBackOff") => {
            Some(image::pull_failed("ErrImagePull", message))
        }
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => Some(Situation::VolumeFailed {
            volumes: volume::unmounted(message)
                .unwrap_or_else(|| between(message, "volume \"", "\"").map(str::to_owned).into_iter().collect()),
            operation: None,
        }),
        "FailedCreatePodSandBox" => Some(Situation::SandboxFailed),
        "NetworkNotReady" => Some(Situation::NetworkNotReady),
        "Evicted" => Some(Situation::Eviction {
            step: EvictionStep::Evicted,
            resource: between(message, "low on resource: ", ".").map(str::to_owned),
            pods: Vec::new(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::klog::KlogRecord;

    fn observed(text: &str) -> Option<Observation> {
        let line = format!("I0307 04:05:06.1 1 event.go:1] {text}");
        observe(&Said::of(&KlogRecord::parse(&line)).expect("klog"))
    }

    #[test]
    fn an_event_of_both_generations() {
        let new = r#""Event occurred" object="ns/web-0" fieldPath="spec.containers{app}" kind="Pod" apiVersion="v1" type="Warning" reason="Unhealthy" message="Liveness probe failed: HTTP 500""#;
        let old = r#"Event(v1.ObjectReference{Kind:"Pod", Namespace:"ns", Name:"web-0", UID:"0a1b2c3d-0000-1111-2222-333344445555", APIVersion:"v1", FieldPath:"spec.containers{app}"}): type: 'Warning' reason: 'Unhealthy' Liveness probe failed: HTTP 500"#;
        for text in [new, old] {
            let found = observed(text).expect("event");
            assert_eq!(found.situation, Situation::ProbeFailed { probe: Probe::Liveness, errored: false });
            assert_eq!((found.subject.path().as_deref(), found.subject.container.as_deref()), (Some("ns/web-0"), Some("app")));
            assert!(found.said.as_str().ends_with("HTTP 500"));
        }
    }

    #[test]
    fn events_of_others_and_good_news_are_nothing() {
        assert_eq!(observed(r#""Event occurred" object="n1" kind="Node" reason="Unhealthy" message="Liveness probe failed""#), None);
        assert_eq!(observed(r#""Event occurred" object="ns/a" kind="Pod" reason="Started" message="Started container""#), None);
    }
}
