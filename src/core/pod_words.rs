//! What the kubelet's log says of pods and containers that do not start, kept until it can be joined
//! to the finding that tells of them, which the pod's status may bring before or after it.
//!
//! Without a status, because the API server does not answer, the log's word alone makes the finding.

use super::{Core, Effect, condition::Condition, oom_telling::subject_key};
use crate::{
    diagnosis::{oom::place_name, start_failure::StartFailure},
    findings::{Change, Evidence, EvidenceSource, Finding, FindingState, Subject, Topic},
    model::{Attribution, Cause, Confidence, Moment, PodUid, Scope},
    signal::{SourceName, SourceState},
};
use std::collections::VecDeque;

/// Words kept: the pods of a node, twice over.
const MAX_WORDS: usize = 256;

/// A word older than this is about another try: the kubelet's longest back-off and some.
const FRESH_SECONDS: u64 = 600;

/// So long after its start the agent may still be about to learn of the pods' status.
const LIST_SECONDS: u64 = 30;

/// One word.
#[derive(Debug, Clone)]
pub(super) struct PodWord {
    pub pod: PodUid,
    /// Namespace and name, as the line has them.
    pub name: Option<(String, String)>,
    /// `None` for what concerns the whole pod.
    pub container: Option<String>,
    pub cause: Cause,
    /// The class that the words show, where there are classes.
    pub class: Option<StartFailure>,
    /// It repeats that something failed before, and not why.
    pub repeats: bool,
    pub said: String,
    pub at: Moment,
}

/// The latest word for each pod, container and cause.
#[derive(Debug, Default)]
pub(super) struct PodWords {
    words: VecDeque<PodWord>,
}

impl PodWords {
    fn keep(&mut self, word: PodWord) {
        let same = |known: &PodWord| (&known.pod, &known.container, known.cause) == (&word.pod, &word.container, word.cause);
        if word.repeats && self.words.iter().any(same) {
            return;
        }
        self.words.retain(|known| !same(known));
        if self.words.len() == MAX_WORDS {
            self.words.pop_front();
        }
        self.words.push_back(word);
    }

    /// The latest fresh word about a subject and a cause.
    pub(super) fn about(&self, cause: Cause, subject: &Subject, now: Moment) -> Option<&PodWord> {
        let fits = |word: &&PodWord| {
            is_about(cause, word.cause)
                && subject.pod_uid.as_ref() == Some(&word.pod)
                && word.container.as_ref().is_none_or(|name| subject.container.as_ref() == Some(name))
                && now.boot.seconds_since(word.at.boot) <= FRESH_SECONDS
        };
        self.words.iter().rev().find(fits)
    }
}

impl PodWord {
    fn evidence(&self) -> Evidence {
        Evidence {
            source: EvidenceSource::KubeletLog,
            time: self.at.wall,
            what: self.said.clone(),
            supports: true,
            how_matched: if self.container.is_some() { "pod uid and container" } else { "pod uid" }.into(),
        }
    }
}

/// The kubelet has one word for what the runtime could not start; a status may know the reason.
fn is_about(told: Cause, word: Cause) -> bool {
    told == word || word == Cause::StartError && matches!(told, Cause::ExecFormat | Cause::CommandNotFound | Cause::NotExecutable)
}

impl Core {
    /// Takes a word about a pod.
    pub(super) fn pod_word(&mut self, word: PodWord) {
        let alone = !word.repeats && word.class.is_some() && self.has_no_status(word.at);
        if !self.add_to_open_finding(&word) && alone {
            self.tell_word(&word);
        }
        self.pod_words.keep(word);
    }

    /// Whether nobody tells the status of pods, as opposed to nobody having told it yet.
    fn has_no_status(&self, at: Moment) -> bool {
        match self.health.state(SourceName::Pods) {
            Some(state) => state != SourceState::Up,
            None => at.boot.seconds_since(self.started) >= LIST_SECONDS,
        }
    }

    /// Adds what the kubelet's log said to a finding that is about to be recorded.
    pub(super) fn add_pod_word(&self, finding: &mut Finding) {
        let (Some(subject), Some(now)) = (finding.subjects.first(), self.now) else { return };
        if let Some(word) = self.pod_words.about(finding.cause, subject, now).filter(|_| !is_backed(finding)) {
            finding.evidence.push(word.evidence());
        }
    }

    /// Whether an open finding tells of it; it gets the word as evidence, once.
    fn add_to_open_finding(&mut self, word: &PodWord) -> bool {
        let tells = |finding: &Finding| {
            finding.state == FindingState::Open
                && is_about(finding.cause, word.cause)
                && finding.subjects.iter().any(|subject| {
                    subject.pod_uid.as_ref() == Some(&word.pod) && (word.container.is_none() || subject.container == word.container)
                })
        };
        let found = self.findings.topics().find(|(_, finding)| tells(finding)).map(|(topic, finding)| (topic.clone(), is_backed(finding)));
        let Some((topic, backed)) = found else { return false };
        if let Some(finding) = self.findings.get_mut(&topic).filter(|_| !backed) {
            finding.evidence.push(word.evidence());
            self.effects.push(Effect::Finding { change: Change::Amended, finding: Box::new(finding.clone()) });
        }
        true
    }

    fn tell_word(&mut self, word: &PodWord) {
        let Some(class) = word.class else { return };
        let mut subject = Subject { container: word.container.clone(), ..self.inventory.subject(Some(&word.pod), None) };
        name_pod(&mut subject, word.name.clone());
        let condition = Condition {
            topic: Topic(format!("{}|{}", word.cause, subject_key(&subject))),
            happening: format!("kubelet:{}:{}:{}", word.cause, word.pod, word.at.boot.0),
            weight: 1,
            cause: word.cause,
            confidence: Confidence::Proven,
            scope: Scope::Container,
            blame: class.blame,
            summary: format!("In {}, the container does not start: {}.", place_name(&subject), class.what),
            subjects: vec![subject],
            evidence: vec![],
            not_found: vec!["the pod's status: the API server was not asked or did not answer".into()],
            actions: vec![class.action.into()],
            attribution: Attribution::Runtime,
        };
        self.pod_words.keep(word.clone());
        self.tell_condition(condition, word.at);
    }
}

/// Names a pod of which nothing else tells the name.
pub(super) fn name_pod(subject: &mut Subject, name: Option<(String, String)>) {
    if let Some((namespace, pod)) = name.filter(|_| subject.pod.is_none()) {
        (subject.namespace, subject.pod) = (Some(namespace), Some(pod));
    }
}

fn is_backed(finding: &Finding) -> bool {
    finding.evidence.iter().any(|evidence| evidence.source == EvidenceSource::KubeletLog)
}
