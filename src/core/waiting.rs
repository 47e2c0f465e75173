//! Containers that do not start, inside the core.

use super::{Core, condition::Condition, oom_telling::subject_key};
use crate::{
    diagnosis::{oom::place_name, start_failure::StartFailure, termination::Slot, waiting::WaitingCause},
    findings::{Evidence, EvidenceSource, Subject, Topic},
    model::{Attribution, BootTime, Cause, Confidence, Moment, PodUid, Scope},
    signal::{ContainerRecord, ContainerState, PodRecord},
};
use serde::{Deserialize, Serialize};

/// What a container waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitNote {
    reason: String,
    attempts: u64,
    topic: Topic,
}

impl Core {
    /// Looks at a pod for containers that cannot start, or can again.
    pub(super) fn watch_waiting(&mut self, pod: &PodRecord, uid: &PodUid, at: Moment) {
        for container in &pod.containers {
            let slot = Slot::of(pod, container);
            match waiting(container) {
                Some((reason, message, cause)) => self.tell_waiting(uid, container, slot, (reason, message, cause), at),
                None => self.waits_no_more(&slot, container, at.boot),
            }
        }
    }

    fn tell_waiting(&mut self, uid: &PodUid, container: &ContainerRecord, slot: Slot, waits: (&str, &str, WaitingCause), at: Moment) {
        let (reason, message, cause) = waits;
        let known = self.waiting.get(&slot);
        if known.is_some_and(|known| known.reason == reason) {
            return;
        }
        let attempts = known.map_or(0, |known| known.attempts) + u64::from(cause.attempt || known.is_none());
        let subject = Subject { container: Some(container.name.clone()), ..self.inventory.subject(Some(uid), None) };
        let cause = self.with_class(cause, &subject, at);
        let topic = Topic(format!("{}|{}", cause.cause, subject_key(&subject)));
        self.waiting.insert(slot.clone(), WaitNote { reason: reason.to_owned(), attempts, topic: topic.clone() });
        let position = format!("wait:{}:{}:{attempts}", String::from(slot), cause.cause);
        let what = format!("Kubernetes says {reason}: {message}");
        let name = place_name(&subject);
        let condition = Condition {
            topic,
            happening: position,
            weight: 1,
            cause: cause.cause,
            confidence: Confidence::Proven,
            scope: Scope::Container,
            blame: cause.blame,
            summary: format!("In {}, the container does not start: {}: {}.", name, cause.what, message.trim_end_matches('.')),
            subjects: vec![subject],
            evidence: vec![Evidence {
                source: EvidenceSource::PodStatus,
                time: at.wall,
                what,
                supports: true,
                how_matched: "pod uid".into(),
            }],
            not_found: vec![],
            actions: vec![cause.action.into()],
            attribution: Attribution::Runtime,
        };
        self.tell_condition(condition, at);
    }

    /// A status may only say that the kubelet waits before the next try; its log has said why.
    fn with_class(&self, cause: WaitingCause, subject: &Subject, at: Moment) -> WaitingCause {
        let word = self.pod_words.about(cause.cause, subject, at).filter(|_| cause.cause == Cause::ImagePull && !cause.says_why);
        match word.and_then(|word| word.class) {
            Some(StartFailure { blame, what, action }) => WaitingCause { blame, what, action, ..cause },
            None => cause,
        }
    }

    fn waits_no_more(&mut self, slot: &Slot, container: &ContainerRecord, now: BootTime) {
        if !matches!(container.state, Some(ContainerState::Running { .. } | ContainerState::Terminated(_))) {
            return;
        }
        let Some(note) = self.waiting.remove(slot) else { return };
        self.clear_condition(&note.topic, now);
    }
}

fn waiting(container: &ContainerRecord) -> Option<(&str, &str, WaitingCause)> {
    let Some(ContainerState::Waiting(state)) = &container.state else { return None };
    let (reason, message) = (state.reason.as_deref()?, state.message.as_deref().unwrap_or_default());
    Some((reason, message, WaitingCause::of(reason, message)?))
}
