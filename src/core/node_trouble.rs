//! Troubles of the node inside the core: told as conditions without subjects, joined to each other,
//! and cleared when their signs stop.

use super::{Core, Effect, condition::Condition};
use crate::{
    diagnosis::node_trouble::{Episode, News, Readable, Start, Witness, action, are_chained, blame, consequence, meaning, scope},
    findings::{Change, Evidence, FindingId, FindingState, Topic},
    model::{Attribution, Cause, Confidence, Moment},
    parse::kubelet::Observation,
    signal::{SourceName, SourceState},
};

impl Core {
    /// Takes what the kubelet's log says about the node.
    pub(super) fn observe_node(&mut self, observation: &Observation, at: Moment) {
        let read = self.now.map_or(at.boot, |now| now.boot);
        let news = self.kubelet_log.durable.troubles.take(observation, at, read);
        self.node_news(news, at);
    }

    /// Looks after the node's troubles. Silence means nothing while a log cannot be read.
    pub(super) fn advance_node(&mut self, now: Moment) {
        let kubelet_log = self.health.is_up(SourceName::KubeletLog);
        let etcd_log = match self.health.state(SourceName::EtcdLog) {
            Some(state) => matches!(state, SourceState::Up | SourceState::Absent),
            // Without an etcd of its own, only one inside the kubelet's process can have complained.
            None => kubelet_log,
        };
        let readable = Readable { kubelet_log, etcd_log };
        let news = self.kubelet_log.durable.troubles.advance(now.boot, readable);
        self.node_news(news, now);
    }

    pub(super) fn node_news(&mut self, news: Vec<News>, at: Moment) {
        for news in news {
            match news {
                News::Tell(cause) => self.tell_trouble(cause, at),
                News::Holds(cause) if self.is_start_news(cause) => self.tell_trouble(cause, at),
                News::Holds(cause) => self.findings.still_holds(&trouble_topic(cause), at),
                News::Over(cause) => {
                    self.lost.forget(cause);
                    self.clear_condition(&trouble_topic(cause), at.boot);
                }
            }
        }
    }

    fn tell_trouble(&mut self, cause: Cause, now: Moment) {
        self.note_start(cause);
        let Some(episode) = self.kubelet_log.durable.troubles.episode(cause) else { return };
        let (at, last) = (episode.since(), episode.last());
        let start = episode.start().cloned();
        let condition = Condition {
            topic: trouble_topic(cause),
            happening: format!("kubelet:{cause}:{}:{}", episode.since().boot.0, episode.happenings()),
            weight: 1,
            cause,
            confidence: Confidence::Proven,
            scope: scope(cause),
            blame: blame(cause),
            summary: sentence(cause, episode, self.lost.count(cause)),
            subjects: self.lost.subjects(cause),
            evidence: episode.witnesses().iter().map(evidence).chain(start.as_ref().map(evidence_of_start)).collect(),
            not_found: self.looked_for(cause),
            actions: start.iter().map(action_of_start).chain([action(cause).to_owned()]).collect(),
            attribution: Attribution::None,
        };
        self.tell_condition(condition, at);
        self.findings.still_holds(&trouble_topic(cause), last.max(now));
        let chained: Vec<_> = self.kubelet_log.durable.troubles.told().filter(|other| are_chained(cause, *other)).collect();
        for other in chained.into_iter().map(trouble_topic).chain(start.and_then(|start| start.topic)) {
            self.relate_conditions(&trouble_topic(cause), &other);
        }
    }

    /// What would have told a sick node from a cut-off one, and was not there.
    fn looked_for(&self, cause: Cause) -> Vec<String> {
        let sick = [Cause::RuntimeDown, Cause::PlegUnhealthy, Cause::NetworkNotReady];
        let is_sick = self.kubelet_log.durable.troubles.told().any(|told| sick.contains(&told));
        if cause != Cause::ApiServerUnreachable || is_sick {
            return vec![];
        }
        vec!["trouble of this node's own runtime or network plugin at that time: the kubelet reports none".into()]
    }

    /// Joins two findings of one chain.
    pub(super) fn relate_conditions(&mut self, one: &Topic, other: &Topic) {
        let id = |core: &Self, topic: &Topic| core.findings.get(topic).map(|finding| finding.id.clone());
        let is_open = |topic: &Topic| self.findings.get(topic).is_some_and(|finding| finding.state == FindingState::Open);
        if !is_open(one) || !is_open(other) {
            return;
        }
        let (Some(first), Some(second)) = (id(self, one), id(self, other)) else { return };
        self.add_related(one, second);
        self.add_related(other, first);
    }

    fn add_related(&mut self, topic: &Topic, id: FindingId) {
        let Some(finding) = self.findings.get_mut(topic).filter(|finding| !finding.related.contains(&id)) else { return };
        finding.related.push(id);
        self.effects.push(Effect::Finding { change: Change::Amended, finding: Box::new(finding.clone()) });
    }
}

/// A trouble of the node: there is one of each cause.
pub(super) fn trouble_topic(cause: Cause) -> Topic {
    Topic(format!("{cause}|node"))
}

fn evidence(witness: &Witness) -> Evidence {
    Evidence {
        source: witness.source,
        time: witness.at.wall,
        what: witness.said.clone(),
        supports: true,
        how_matched: "said of the node itself".into(),
    }
}

fn evidence_of_start(start: &Start) -> Evidence {
    Evidence { how_matched: "it was so when this began".into(), ..evidence(&start.witness) }
}

fn action_of_start(start: &Start) -> String {
    format!("Look first at what was wrong before this began: {}.", start.clause)
}

fn sentence(cause: Cause, episode: &Episode, lost: usize) -> String {
    let mut what = episode.what().chars();
    let mut sentence: String = what.next().into_iter().flat_map(char::to_uppercase).chain(what).collect();
    let follows: Vec<_> = episode.consequences().map(consequence).collect();
    match follows.as_slice() {
        [] => {}
        [one] => sentence = format!("{sentence}; so {one}"),
        [most @ .., last] => sentence = format!("{sentence}; so {}, and {last}", most.join(", ")),
    }
    match lost {
        0 => {}
        1 => sentence.push_str("; one container was lost"),
        lost => sentence.push_str(&format!("; {lost} containers were lost")),
    }
    if let Some(start) = episode.start() {
        sentence.push_str(&format!(". It probably began with this: {}", start.clause));
    }
    format!("{sentence}. {}", meaning(cause)).trim_end().to_owned()
}
