//! Folds the lines that tell of one problem into one report.
//!
//! A failed start is told by three lines, a back-off repeats its line for minutes, a kill by a probe
//! is a decision, a reason and a kill. Lines are one problem when their class, their subject and what
//! they are about (probe, volume, resource) agree, and no more than [`EPISODE`] lies between them.
//! Lines of the runtime interface name no pod: they join a pod's problem by the reason they share.

use super::class::{Class, problem};
use super::report::{Details, Report};
use super::situation::{KillReason, Observation, Probe, Situation};
use super::subject::Subject;
use crate::parse::klog::Stamp;
use std::collections::VecDeque;

/// Seconds of silence after which the same trouble is a new problem.
const EPISODE: i64 = 3600;
/// Problems kept open at once, oldest out first: a node has at most some hundred containers.
const MOST_OPEN: usize = 512;
/// Longest message of a report in bytes.
const LONGEST_MESSAGE: usize = 4096;
/// Two errors share their reason when this many bytes of their ends or begins are equal.
const SHARED: usize = 40;

/// Takes observations in order and gives one report a problem.
#[derive(Debug, Default)]
pub struct ProblemFolder {
    open: VecDeque<OpenProblem>,
}

#[derive(Debug)]
struct OpenProblem {
    topic: (Class, &'static str),
    subject: Subject,
    probe: Option<Probe>,
    volumes: Vec<String>,
    /// A probe led to a kill, so the next kill of this container belongs here.
    kills: bool,
    /// k3s lost its embedded runtime, so the end of its own unit belongs here.
    embedded: bool,
    last: Option<Stamp>,
    report: Report,
}

impl ProblemFolder {
    /// Takes the next observation; gives a problem only when too many are open.
    pub fn push(&mut self, observation: Observation) -> Option<Report> {
        let Some(topic) = problem(&observation) else {
            self.attach(&observation);
            return None;
        };
        if let Some(open) = self.open.iter_mut().rev().find(|open| open.is_told_by(topic, &observation)) {
            open.take(observation);
            return None;
        }
        self.open.push_back(OpenProblem::new(topic, observation));
        if self.open.len() <= MOST_OPEN { None } else { self.open.pop_front().map(OpenProblem::close) }
    }

    /// Gives all problems that are still open, in the order of their first lines.
    pub fn finish(&mut self) -> Vec<Report> {
        self.open.drain(..).map(OpenProblem::close).collect()
    }

    /// A kill is no problem by itself; behind a probe's decision it completes that.
    fn attach(&mut self, observation: &Observation) {
        let Situation::Killing { .. } = observation.situation else { return };
        let killed = self.open.iter_mut().rev().find(|open| {
            let same_id = observation.subject.container_id.is_some() && open.subject.container_id == observation.subject.container_id;
            open.kills && (same_id || open.subject.agrees(&observation.subject))
        });
        if let Some(open) = killed {
            open.take(observation.clone());
        }
    }
}

impl OpenProblem {
    fn new(topic: (Class, &'static str), first: Observation) -> Self {
        Self {
            topic,
            probe: first.situation.probe(),
            volumes: first.situation.volumes().to_vec(),
            kills: is_kill(&first.situation),
            embedded: first.situation == Situation::EmbeddedRuntimeEnded,
            last: first.stamp,
            report: Report::new(topic.0, &first),
            subject: first.subject,
        }
    }

    fn is_told_by(&self, topic: (Class, &'static str), other: &Observation) -> bool {
        if self.embedded && matches!(other.situation, Situation::Unit { .. }) {
            return true;
        }
        self.topic == topic && self.is_recent(other.stamp) && self.is_about(other) && self.is_of(other)
    }

    fn is_recent(&self, now: Option<Stamp>) -> bool {
        let gap = now.zip(self.last).and_then(|(now, last)| now.seconds_since(last));
        gap.is_none_or(|gap| gap.abs() <= EPISODE)
    }

    /// The probe, the volumes, the resource agree.
    fn is_about(&self, other: &Observation) -> bool {
        let (probe, volumes) = (other.situation.probe(), other.situation.volumes());
        let probe_agrees = probe.is_none() || self.probe.is_none() || probe == self.probe;
        let volume_agrees = volumes.is_empty() || self.volumes.is_empty() || volumes.iter().any(|name| self.volumes.contains(name));
        let resource_agrees = match &other.situation {
            Situation::Eviction { resource, .. } => {
                resource.is_none() || self.report.details.resource.is_none() || *resource == self.report.details.resource
            }
            _ => true,
        };
        probe_agrees && volume_agrees && resource_agrees
    }

    /// The subject agrees; a line without a pod belongs to the pod whose error it shares.
    fn is_of(&self, other: &Observation) -> bool {
        if self.subject.agrees(&other.subject) && (self.subject.has_pod() || !is_call(other) || self.shares_reason(other)) {
            return true;
        }
        self.subject.has_pod() != other.subject.has_pod() && self.shares_reason(other) && (self.is_podless_call() || is_call(other))
    }

    fn is_podless_call(&self) -> bool {
        !self.subject.has_pod()
            && matches!(
                self.topic,
                (Class::SandboxCni, "sandbox") | (Class::ImagePull, _) | (Class::Other, "start") | (Class::ProbeFailed, _)
            )
    }

    fn shares_reason(&self, other: &Observation) -> bool {
        let (mine, others) = (self.report.message.as_str(), other.said.as_str());
        let image = Details::of(&other.situation).image;
        let by_image = image.is_some() && image == self.report.details.image;
        by_image || shares_an_end(mine, others) || shares_an_end(others, mine)
    }

    fn take(&mut self, other: Observation) {
        self.kills |= is_kill(&other.situation);
        self.last = other.stamp.or(self.last);
        self.probe = self.probe.or(other.situation.probe());
        for volume in other.situation.volumes() {
            if !self.volumes.contains(volume) {
                self.volumes.push(volume.clone());
            }
        }
        self.report.count = self.report.count.saturating_add(1);
        self.report.message.extended(&other.said, LONGEST_MESSAGE);
        self.report.details.complete(Details::of(&other.situation));
        let known = std::mem::take(&mut self.subject);
        self.subject = if known.has_pod() { known.or(other.subject) } else { other.subject.or(known) };
    }

    fn close(self) -> Report {
        let Subject { uid, container, container_id, .. } = self.subject.clone();
        let volume = self.report.volume.clone().or_else(|| self.volumes.first().cloned());
        Report {
            pod: self.subject.path(),
            pod_uid: uid,
            container,
            container_id,
            probe: self.probe.map(Probe::as_str),
            volume,
            ..self.report
        }
    }
}

fn is_kill(situation: &Situation) -> bool {
    matches!(situation, Situation::ProbeDecision { .. } | Situation::KillReason { reason: KillReason::Probe(_) })
}

fn is_call(observation: &Observation) -> bool {
    let pull = matches!(observation.situation, Situation::ImagePullFailed { .. }) && !observation.subject.has_pod();
    pull || matches!(observation.situation, Situation::CriCallFailed { unreachable: false, .. })
}

/// Whether `whole` contains the begin or the end of the error in `part`.
fn shares_an_end(part: &str, whole: &str) -> bool {
    let error = part.rsplit_once(" desc = ").map_or(part, |(_, error)| error);
    let error = error.split(" image=").next().unwrap_or(error).trim_end_matches(['"', '\'', ' ', ']']);
    let begin = error.get(..error.floor_char_boundary(SHARED)).unwrap_or("");
    let end = error.get(error.ceil_char_boundary(error.len().saturating_sub(SHARED))..).unwrap_or("");
    !error.is_empty() && (whole.contains(begin) || whole.contains(end))
}
