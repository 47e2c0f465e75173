//! Explains the end of a container instance that no status describes, because the API server cannot
//! be reached: from the witnesses on the node alone.
//!
//! Flows in: what the kubelet's log and the container's own log said before its next start. Flows
//! out: a [`DeathExplanation`] that says what is missing. A status that comes later takes its place.

use super::death::{DeathExplanation, ProbeKill, actions};
use crate::{
    findings::{Evidence, EvidenceSource},
    model::{Attribution, Blame, Cause, Confidence, Scope},
    parse::container_log::LastWords,
};
use jiff::Timestamp;

/// What speaks for a container that no status describes.
#[derive(Debug, Clone, Default)]
pub struct SilentWitnesses<'a> {
    /// The kubelet's probe decision.
    pub probe: Option<&'a ProbeKill>,
    /// What the program said last.
    pub last_words: Option<LastWords>,
    /// Why the kernel's log proves nothing about this time; `None` if it was readable and whole.
    pub log_doubt: Option<String>,
}

/// Explains the end of attempt `attempt`, whose successor was seen at `seen`.
pub fn explain(attempt: u32, seen: Timestamp, witnesses: &SilentWitnesses<'_>) -> DeathExplanation {
    let next = attempt.saturating_add(1);
    let directory = Evidence {
        source: EvidenceSource::ContainerLog,
        time: seen,
        what: format!("the pod's log directory has the log of attempt {next}, so attempt {attempt} has ended"),
        supports: true,
        how_matched: "pod uid, container and attempt".into(),
    };
    let mut told = DeathExplanation {
        cause: Cause::Unknown,
        confidence: Confidence::Possible,
        scope: Scope::Container,
        blame: Blame::Insufficient,
        what: "ended and was started again, while the API server gives no status that tells how".into(),
        evidence: vec![directory],
        not_found: vec!["a status of this end, with its exit code and reason: it is awaited from the API server".into()],
        actions: Vec::new(),
        attribution: Attribution::Runtime,
    };
    told.not_found.push(match &witnesses.log_doubt {
        Some(doubt) => format!("a kill by the kernel in this instance; the kernel's log proves nothing here: {doubt}"),
        None => "a kill by the kernel's OOM killer: its log is whole and has none in this instance".into(),
    });
    weigh_last_words(seen, witnesses, &mut told);
    weigh_probe(witnesses, &mut told);
    told.actions = actions(told.cause);
    told
}

fn weigh_last_words(seen: Timestamp, witnesses: &SilentWitnesses<'_>, told: &mut DeathExplanation) {
    let Some(words) = witnesses.last_words else { return };
    if let Some(cause) = words.cause {
        (told.cause, told.confidence, told.blame) = (cause, Confidence::Likely, Blame::Workload);
    }
    told.what = format!("{}; its last words: {}", told.what, words.clause());
    told.evidence.push(Evidence {
        source: EvidenceSource::ContainerLog,
        time: seen,
        what: format!("the end of its log shows {}", words.clause()),
        supports: true,
        how_matched: "pod uid, container and attempt".into(),
    });
}

fn weigh_probe(witnesses: &SilentWitnesses<'_>, told: &mut DeathExplanation) {
    let Some(probe) = witnesses.probe else { return };
    let (cause, what) = probe.verdict();
    (told.cause, told.confidence, told.blame, told.what) = (cause, Confidence::Proven, Blame::Workload, what.to_owned());
    told.evidence.push(probe.evidence());
}
