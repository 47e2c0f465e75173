//! Conditions: what is wrong for a while without being a death. They are told, told again, and
//! cleared when their evidence stops.

use super::{Core, Effect};
use crate::{
    findings::{Change, Evidence, Finding, FindingId, FindingState, Occurrence, OccurrenceId, Subject, Topic},
    model::{Attribution, Blame, BootTime, Cause, Confidence, Moment, Scope},
};

/// One condition, as the code that noticed it puts it.
#[derive(Debug)]
pub(super) struct Condition {
    /// What it is about: the same condition has the same topic.
    pub topic: Topic,
    /// Which happening of it this is; telling a happening again amends the finding instead of counting.
    pub happening: String,
    /// How many times the happening counts.
    pub weight: u64,
    pub cause: Cause,
    pub confidence: Confidence,
    pub scope: Scope,
    pub blame: Blame,
    /// The sentence.
    pub summary: String,
    /// The pods and containers concerned; none for the node itself.
    pub subjects: Vec<Subject>,
    pub evidence: Vec<Evidence>,
    pub not_found: Vec<String>,
    pub actions: Vec<String>,
    pub attribution: Attribution,
}

impl Core {
    /// Tells a condition that holds at `at`.
    pub(super) fn tell_condition(&mut self, condition: Condition, at: Moment) {
        let Condition { topic, happening, weight, cause, confidence, scope, blame, summary, .. } = condition;
        let finding = Finding {
            id: FindingId::derive(&self.boot(), &happening, cause),
            cause,
            confidence,
            scope,
            blame,
            state: FindingState::Open,
            count: weight,
            first_seen: at.wall,
            last_seen: at.wall,
            summary,
            subjects: condition.subjects,
            evidence: condition.evidence,
            not_found: condition.not_found,
            blind: self.health.blind(),
            actions: condition.actions,
            related: vec![],
            attribution: condition.attribution,
            memory: None,
            crash_loop: None,
            log_excerpt: vec![],
        };
        self.record(Occurrence { topic, id: OccurrenceId(happening), at: at.boot, weight, finding });
    }

    /// Clears a condition whose evidence has stopped; says nothing where it was not told.
    pub(super) fn clear_condition(&mut self, topic: &Topic, now: BootTime) {
        if let Some(finding) = self.findings.resolve(topic, now) {
            self.effects.push(Effect::Finding { change: Change::Resolved, finding: Box::new(finding.clone()) });
        }
    }
}
