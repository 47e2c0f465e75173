//! With what a trouble of the node probably began: a disk that fails, a full one, a fault of the kernel, or
//! a node that waits for its disk or for memory, from before the kubelet complained.

use super::{Core, kernel_problems::is_of_node};
use crate::{
    diagnosis::{
        node_trouble::{Start, Witness, starts, starved_of},
        starvation::{WINDOW_SECONDS, is_shortage, waited},
    },
    findings::{EvidenceSource, Finding, FindingState, Topic},
    model::{Cause, Moment},
};

impl Core {
    /// Whether something is now known with which a trouble began, and was not when it was told.
    pub(super) fn is_start_news(&self, cause: Cause) -> bool {
        self.kubelet_log.durable.troubles.episode(cause).is_some_and(|episode| episode.start().is_none() && self.start_of(cause).is_some())
    }

    /// Notes with what a trouble began, where that is known.
    pub(super) fn note_start(&mut self, cause: Cause) {
        if let Some(start) = self.start_of(cause) {
            self.kubelet_log.durable.troubles.begins_with(cause, start);
        }
    }

    fn start_of(&self, cause: Cause) -> Option<Start> {
        let since = self.kubelet_log.durable.troubles.episode(cause)?.since();
        self.finding_at_start(cause, since).or_else(|| self.shortage_at_start(cause, since))
    }

    /// The earliest that was open when the trouble began: where a disk fails and tasks hang, it is the disk.
    fn finding_at_start(&self, cause: Cause, since: Moment) -> Option<Start> {
        let open = |(topic, finding): &(&Topic, &Finding)| {
            starts(cause).contains(&finding.cause)
                && finding.state == FindingState::Open
                && finding.first_seen <= since.wall
                && self.is_of_whole_node(topic)
        };
        let (topic, finding) = self.findings.topics().filter(open).min_by_key(|(topic, finding)| (finding.first_seen, *topic))?;
        let source = finding.evidence.first().map_or(EvidenceSource::Node, |evidence| evidence.source);
        let said = format!("before, from {} on: {}", finding.first_seen, finding.summary);
        let witness = Witness { at: Moment { wall: finding.first_seen, ..since }, kind: "start".into(), said, source };
        Some(Start { clause: headline(&finding.summary), witness, topic: Some(topic.clone()) })
    }

    /// What the kernel reports may concern one pod's volume or one card alone; other findings are about the node.
    fn is_of_whole_node(&self, topic: &Topic) -> bool {
        let mut troubles = self.kernel_problems.troubles().filter(|trouble| trouble.matter.topic() == *topic);
        troubles.next().is_none_or(|trouble| is_of_node(trouble, &self.inventory))
    }

    fn shortage_at_start(&self, cause: Cause, since: Moment) -> Option<Start> {
        let stalled = |resource: &_| self.inventory.node_pressure().stalled(*resource, since.boot, WINDOW_SECONDS);
        let stalled = starved_of(cause).iter().filter_map(stalled).find(|stalled| is_shortage(*stalled))?;
        let witness =
            Witness { at: since, kind: "start".into(), said: format!("on the node, {}", waited(stalled)), source: EvidenceSource::Node };
        Some(Start { clause: format!("the node was short of {}", stalled.resource), witness, topic: None })
    }
}

/// What a finding's sentence says first, as a clause.
fn headline(summary: &str) -> String {
    let first = [";", ". "].iter().filter_map(|end| summary.split_once(end)).map(|(first, _)| first).min_by_key(|first| first.len());
    let mut letters = first.unwrap_or(summary).trim_end_matches('.').chars();
    letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::headline;

    #[test]
    fn a_headline_is_the_first_clause() {
        assert_eq!(headline("Disk sda reports I/O errors; it holds logs."), "disk sda reports I/O errors");
        assert_eq!(headline("A CPU is stuck: soft lockup. More."), "a CPU is stuck: soft lockup");
        assert_eq!(
            headline("The filesystem at /x has no space left: 1.5 MiB of 2 GiB."),
            "the filesystem at /x has no space left: 1.5 MiB of 2 GiB"
        );
        assert_eq!(headline(""), "");
    }
}
