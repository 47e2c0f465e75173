//! Containers that nobody ended: they were lost with the node or with the runtime that watched them.
//!
//! containerd says of such a container exit code 255, reason `Unknown`; whether the node was restarted
//! shows in when the container had started (pkg/cri/server/restart.go). The status is looked at
//! whether or not its end is news, because after a reboot every pod is seen for the first time.

use super::{Core, condition::Condition, node_trouble::trouble_topic};
use crate::{
    findings::{Evidence, EvidenceSource, Subject},
    model::{Attribution, Blame, BootTime, Cause, Confidence, ContainerId, Moment, PodUid, Scope},
    signal::{ContainerRecord, ContainerState, PodRecord, TerminatedState},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Instances remembered as told: a node's containers, four times over.
const MAX_KNOWN: usize = 1024;
/// Containers named in a finding; the others are counted.
const MAX_NAMED: usize = 32;
/// A reboot is news for this long.
const REBOOT_NEWS_SECONDS: u64 = 3600;
/// A loss by the runtime that ended longer ago was before the agent's time.
const LOSS_NEWS_SECONDS: i64 = 600;
/// Statuses of the other containers follow within this time: they are told together.
const TOGETHER_MICROS: u64 = 3_000_000;

/// What is kept of lost containers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lost {
    known: VecDeque<ContainerId>,
    rebooted: Losses,
    restarted: Losses,
    /// What the kubelet says of the reboot (from -v=2).
    said: Option<(Moment, String)>,
}

/// Containers lost for one cause.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Losses {
    named: Vec<Subject>,
    count: usize,
    /// The first one that is not told yet.
    untold_since: Option<BootTime>,
    ended: Option<Moment>,
}

impl Lost {
    /// How many were lost with the runtime, where that is the cause.
    pub fn count(&self, cause: Cause) -> usize {
        if cause == Cause::RuntimeRestarted { self.restarted.count } else { 0 }
    }

    /// Which were lost with the runtime, where that is the cause.
    pub fn subjects(&self, cause: Cause) -> Vec<Subject> {
        if cause == Cause::RuntimeRestarted { self.restarted.named.clone() } else { vec![] }
    }

    /// The story is over.
    pub fn forget(&mut self, cause: Cause) {
        if cause == Cause::RuntimeRestarted {
            self.restarted = Losses::default();
        }
    }

    /// Notes the kubelet's word that the node was restarted.
    pub fn note_said(&mut self, said: &str, at: Moment) {
        self.said = Some((at, said.to_owned()));
    }

    fn is_new(&mut self, id: &ContainerId) -> bool {
        if self.known.contains(id) {
            return false;
        }
        if self.known.len() == MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(id.clone());
        true
    }
}

impl Losses {
    fn add(&mut self, subject: Subject, ended: Moment, now: BootTime) {
        self.count += 1;
        self.ended = self.ended.max(Some(ended));
        self.untold_since.get_or_insert(now);
        if self.named.len() < MAX_NAMED {
            self.named.push(subject);
        }
    }

    fn is_due(&self, now: BootTime) -> bool {
        self.untold_since.is_some_and(|since| now.micros_since(since) >= TOGETHER_MICROS)
    }
}

impl Core {
    /// Looks for containers of a pod that were lost.
    pub(super) fn watch_losses(&mut self, pod: &PodRecord, uid: &PodUid, at: Moment) {
        let booted = at.at_boot_time(BootTime(0)).wall;
        for container in &pod.containers {
            for state in ended_states(container).filter(|state| is_loss(state)) {
                self.note_loss(container, state, uid, booted, at);
            }
        }
    }

    fn note_loss(&mut self, container: &ContainerRecord, state: &TerminatedState, uid: &PodUid, booted: Timestamp, at: Moment) {
        let Some(id) = state.container_id.as_deref().and_then(ContainerId::parse_status) else { return };
        let Some(cause) = cause_of_loss(state, booted, at) else { return };
        if !self.lost.is_new(&id) {
            return;
        }
        let subject = Subject { container: Some(container.name.clone()), ..self.inventory.subject(Some(uid), Some(&id)) };
        let ended = state.finished.map_or(at, |finished| at.at_wall_time(finished));
        let losses = if cause == Cause::NodeRebooted { &mut self.lost.rebooted } else { &mut self.lost.restarted };
        losses.add(subject, ended, at.boot);
    }

    /// Tells the losses whose companions have had time to show.
    pub(super) fn advance_losses(&mut self, now: Moment) {
        if self.lost.rebooted.is_due(now.boot) {
            self.lost.rebooted.untold_since = None;
            self.tell_reboot(now);
        }
        if self.lost.restarted.is_due(now.boot) {
            self.lost.restarted.untold_since = None;
            let ended = self.lost.restarted.ended.unwrap_or(now);
            let news = self.kubelet_log.durable.troubles.lost_containers(ended, now.boot);
            self.node_news(news, now);
        }
    }

    fn tell_reboot(&mut self, now: Moment) {
        let booted = now.at_boot_time(BootTime(0));
        let losses = &self.lost.rebooted;
        let containers = if losses.count == 1 { "one container".to_owned() } else { format!("{} containers", losses.count) };
        let status = Evidence {
            source: EvidenceSource::PodStatus,
            time: losses.ended.unwrap_or(now).wall,
            what: format!("Kubernetes says Unknown, exit code 255, of {containers} that had started before this boot"),
            supports: true,
            how_matched: "start of the container against the boot of the node".into(),
        };
        let said = self.lost.said.iter().map(|(at, said)| Evidence {
            source: EvidenceSource::KubeletLog,
            time: at.wall,
            what: said.clone(),
            supports: true,
            how_matched: "said of the node itself".into(),
        });
        let condition = Condition {
            topic: trouble_topic(Cause::NodeRebooted),
            // Once a boot, and the boot is part of every finding's id.
            happening: "reboot".into(),
            weight: 1,
            cause: Cause::NodeRebooted,
            confidence: Confidence::Proven,
            scope: Scope::Node,
            blame: Blame::Node,
            summary: format!(
                "The node was restarted at {}, and {containers} ended with it, whatever their status says.",
                seconds_of(booted.wall)
            ),
            subjects: losses.named.clone(),
            evidence: std::iter::once(status).chain(said).collect(),
            not_found: vec![],
            actions: vec![
                "If nobody restarted it on purpose, look at the end of the journal of the boot before: `journalctl -b -1 -e`.".into(),
            ],
            attribution: Attribution::Runtime,
        };
        self.tell_condition(condition, now);
    }
}

/// The boot's moment, which is computed from two clocks, to the second.
fn seconds_of(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn ended_states(container: &ContainerRecord) -> impl Iterator<Item = &TerminatedState> {
    let now = match &container.state {
        Some(ContainerState::Terminated(state)) => Some(state),
        _ => None,
    };
    now.into_iter().chain(&container.last)
}

fn is_loss(state: &TerminatedState) -> bool {
    state.exit_code == 255 && state.reason.as_deref() == Some("Unknown")
}

/// `None` for one that is no news.
fn cause_of_loss(state: &TerminatedState, booted: Timestamp, at: Moment) -> Option<Cause> {
    if state.started? < booted {
        return (at.boot.seconds_since(BootTime(0)) < REBOOT_NEWS_SECONDS).then_some(Cause::NodeRebooted);
    }
    let ago = at.wall.duration_since(state.finished?);
    (ago < SignedDuration::from_secs(LOSS_NEWS_SECONDS)).then_some(Cause::RuntimeRestarted)
}
