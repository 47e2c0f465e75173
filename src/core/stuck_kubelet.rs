//! What the kubelet wants and cannot: to read the manifest of a static pod, to evict anybody where it must.
//!
//! It says so again at each of its rounds, so silence is the end of it.

use super::{Core, condition::Condition, room::told};
use crate::{
    findings::{EvidenceSource, FindingState, Topic},
    model::{Attribution, Blame, BootTime, Cause, Confidence, Moment, Scope},
    parse::kubelet::{EvictionStep, Observation, Situation},
    signal::SourceName,
};
use std::collections::BTreeMap;

/// Manifests are read every 20 s, and the eviction manager's rounds are 10 s apart: some rounds of silence.
const QUIET_SECONDS: u64 = 90;

/// Conditions at a time: a folder of manifests has some files.
const MAX_CONDITIONS: usize = 32;

/// What holds, and when it was said last.
#[derive(Debug, Default)]
pub(super) struct StuckKubelet {
    held: BTreeMap<Topic, BootTime>,
}

impl StuckKubelet {
    /// Takes that it was said; whether that is new.
    fn say(&mut self, topic: &Topic, at: Moment) -> bool {
        if let Some(last) = self.held.get_mut(topic) {
            *last = (*last).max(at.boot);
            return false;
        }
        if self.held.len() == MAX_CONDITIONS {
            self.held.pop_first();
        }
        self.held.insert(topic.clone(), at.boot);
        true
    }

    fn quiet(&mut self, now: BootTime) -> Vec<Topic> {
        self.held.extract_if(.., |_, last| now.seconds_since(*last) >= QUIET_SECONDS).map(|(topic, _)| topic).collect()
    }
}

impl Core {
    /// Takes what the kubelet says that it cannot do.
    pub(super) fn observe_stuck(&mut self, observation: &Observation, at: Moment) {
        let said = observation.said.as_str();
        match &observation.situation {
            Situation::ManifestInvalid { path } => self.manifest_invalid(path.as_deref(), said, at),
            Situation::Eviction { step: EvictionStep::Failed, .. } if said.contains("unable to evict any pods") => {
                self.nobody_to_evict(said, at);
            }
            _ => {}
        }
    }

    /// Ends what was not said again. Silence means nothing while the log cannot be read.
    pub(super) fn advance_stuck(&mut self, now: BootTime) {
        if !self.health.is_up(SourceName::KubeletLog) {
            return;
        }
        for topic in self.stuck_kubelet.quiet(now) {
            self.clear_condition(&topic, now);
        }
    }

    fn manifest_invalid(&mut self, path: Option<&str>, said: &str, at: Moment) {
        let path = path.unwrap_or("a manifest");
        let condition = Condition {
            topic: Topic(format!("{}|manifest:{path}", Cause::ConfigError)),
            happening: format!("manifest:{path}:{}", at.boot.0),
            weight: 1,
            cause: Cause::ConfigError,
            confidence: Confidence::Proven,
            scope: Scope::Pod,
            blame: Blame::Workload,
            summary: format!("The kubelet cannot read the manifest {path} of a static pod: what it describes does not run on this node."),
            subjects: vec![],
            evidence: vec![told(EvidenceSource::KubeletLog, at, said.to_owned(), "the kubelet's own words")],
            not_found: vec![],
            actions: vec![format!("Correct {path} on the node, or put the last good one back: the kubelet reads it every 20 s.")],
            attribution: Attribution::None,
        };
        self.tell_stuck(condition, at);
    }

    fn nobody_to_evict(&mut self, said: &str, at: Moment) {
        let (short_of, mut evidence) = self.evictions.before_failure(at);
        evidence.push(told(EvidenceSource::KubeletLog, at, said.to_owned(), "the kubelet's own words"));
        let resource = short_of.unwrap_or_else(|| "what it must reclaim".into());
        let condition = Condition {
            topic: nobody_topic(),
            happening: format!("nobody-to-evict:{}", at.boot.0),
            weight: 1,
            cause: Cause::EvictionImminent,
            confidence: Confidence::Proven,
            scope: Scope::Node,
            blame: Blame::Insufficient,
            summary: format!(
                "The node is short of {resource}, and the kubelet finds no pod that it may evict for it: the shortage stays, and the node takes no new pods."
            ),
            subjects: vec![],
            evidence,
            not_found: vec![],
            actions: vec![
                "Free it by hand: critical and static pods are not evicted, and what services of the host and files outside of pods use is nobody's.".into(),
            ],
            attribution: Attribution::None,
        };
        self.tell_stuck(condition, at);
        let shortage = |finding: &crate::findings::Finding| {
            matches!(finding.cause, Cause::EvictionImminent | Cause::DiskFull) && finding.state == FindingState::Open
        };
        let open: Vec<_> = self.findings.topics().filter(|(_, finding)| shortage(finding)).map(|(topic, _)| topic.clone()).collect();
        for topic in open.iter().filter(|topic| **topic != nobody_topic()) {
            self.relate_conditions(&nobody_topic(), topic);
        }
    }

    /// Tells a condition once; one that an earlier run of the agent left open goes on.
    fn tell_stuck(&mut self, condition: Condition, at: Moment) {
        let topic = condition.topic.clone();
        let open = self.findings.get(&topic).is_some_and(|finding| finding.state == FindingState::Open);
        if self.stuck_kubelet.say(&topic, at) {
            self.tell_condition(Condition { weight: u64::from(!open), ..condition }, at);
        } else {
            self.findings.still_holds(&topic, at);
        }
    }
}

fn nobody_topic() -> Topic {
    Topic(format!("{}|nobody", Cause::EvictionImminent))
}
