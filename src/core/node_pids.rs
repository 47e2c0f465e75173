//! Process ids of the whole node that run out. Most kubelets have no threshold for them and evict nobody, and
//! the kernel refuses a fork without a word in its log.

use super::{Core, condition::Condition, room::told};
use crate::{
    findings::{EvidenceSource, FindingState, Topic},
    model::{Attribution, Blame, BootTime, Cause, Confidence, EvictionSignal, Moment, Scope},
    signal::RoomSample,
};

/// They have run out when less than this share is left, in per cent: of the usual 32,768 it is 327, which one
/// pool of threads takes at once, and between two looks they can be gone.
const OUT_PERCENT: u64 = 1;
/// And there are some again with this.
const ROOM_PERCENT: u64 = 3;

/// Samples in a row that make it, and that end it.
const HITS: u32 = 2;
const CALM: u32 = 3;

/// Whether they have run out, steadied.
#[derive(Debug, Default)]
pub(super) struct NodePids {
    hits: u32,
    calm: u32,
    since: Option<BootTime>,
}

impl NodePids {
    /// Takes a sample; whether they have just run out.
    fn step(&mut self, now: BootTime, left_percent: u64) -> bool {
        self.hits = if left_percent < OUT_PERCENT { self.hits.saturating_add(1) } else { 0 };
        self.calm = if left_percent >= ROOM_PERCENT { self.calm.saturating_add(1) } else { 0 };
        let new = self.since.is_none() && self.hits >= HITS;
        if new {
            self.since = Some(now);
        }
        new
    }

    fn is_over(&mut self) -> bool {
        self.since.is_some() && self.calm >= CALM && self.since.take().is_some()
    }
}

impl Core {
    /// Takes in how many process ids are left on the node.
    pub(super) fn node_pids(&mut self, sample: &RoomSample, at: Moment) {
        let Some(pids) = sample.pids.filter(|pids| pids.max > 0) else { return };
        let left_percent = pids.max.saturating_sub(pids.used).saturating_mul(100) / pids.max;
        if self.node_pids.step(at.boot, left_percent) {
            self.tell_node_pids(at);
        }
        if self.node_pids.is_over() {
            self.clear_condition(&topic(), at.boot);
        } else if self.node_pids.since.is_some() {
            self.findings.still_holds(&topic(), at);
        }
    }

    fn tell_node_pids(&mut self, at: Moment) {
        let margins = self.room.margins(at.boot);
        let Some(margin) = margins.iter().find(|margin| margin.signal == EvictionSignal::Pids) else { return };
        let culprit = self.culprit_of_pids(at.boot, Some(margin));
        let mut evidence = vec![told(EvidenceSource::Node, at, margin.said(), "/proc/loadavg against pid_max and threads-max")];
        evidence.extend(culprit.as_ref().map(|culprit| told(culprit.source, at, culprit.said.clone(), culprit.how_matched)));
        // One that an earlier run of the agent left open goes on.
        let open = self.findings.get(&topic()).is_some_and(|finding| finding.state == FindingState::Open);
        let whose = culprit.as_ref().map(|culprit| format!(" {}.", culprit.said)).unwrap_or_default();
        let condition = Condition {
            topic: topic(),
            happening: format!("node-pids:{}", at.boot.0),
            weight: u64::from(!open),
            cause: Cause::PidsLimit,
            confidence: Confidence::Proven,
            scope: Scope::Node,
            blame: if culprit.is_some() { Blame::Workload } else { Blame::Insufficient },
            summary: format!(
                "The node has no process ids left to speak of, {} of {}: no program on it, the kubelet and the runtime among them, can start processes or threads.{whose}",
                margin.available, margin.capacity
            ),
            subjects: culprit.iter().map(|culprit| self.inventory.subject(Some(&culprit.pod), None)).collect(),
            evidence,
            not_found: if culprit.is_none() { vec!["a pod that has half of them".into()] } else { vec![] },
            actions: vec![
                "Find what starts them (`ps -eLo pid,comm | sort -k2 | uniq -cf1 | sort -n | tail`), and bound pods with the kubelet's podPidsLimit; else raise kernel.pid_max and kernel.threads-max.".into(),
            ],
            attribution: Attribution::None,
        };
        self.tell_condition(condition, at);
        self.relate_conditions(&topic(), &Topic(format!("{}|{}", Cause::EvictionImminent, EvictionSignal::Pids)));
    }
}

fn topic() -> Topic {
    Topic(format!("{}|node", Cause::PidsLimit))
}
