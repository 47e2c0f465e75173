//! The object that the parse command prints for a problem or a single observation.

use super::class::{Class, problem};
use super::excerpt::Excerpt;
use super::situation::{KillReason, Observation, Probe, Situation};
use super::subject::Subject;
use super::unit::UnitEvent;
use crate::model::{ContainerId, PodUid};
use serde::Serialize;

/// One problem as JSON. `null` means that the lines do not say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Always `kubelet`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The class of the problem.
    pub class: Class,
    /// `namespace/name`, or the name alone.
    pub pod: Option<String>,
    /// The pod's uid.
    pub pod_uid: Option<PodUid>,
    /// The container's name.
    pub container: Option<String>,
    /// The container's id.
    pub container_id: Option<ContainerId>,
    /// `Liveness`, `Readiness` or `Startup`.
    pub probe: Option<&'static str>,
    /// The first volume named.
    pub volume: Option<String>,
    /// What the lines said, redacted and cut.
    pub message: Excerpt,
    /// How many lines told it.
    pub count: u64,
    /// More that is known.
    #[serde(flatten)]
    pub details: Details,
}

/// Values of single situations; left out where they do not apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Details {
    /// The kubelet's or the classification's word for why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long the container waits before its next start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    /// How long ago the PLEG last went round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pleg_age_seconds: Option<f64>,
    /// The image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// All volumes, where there is more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// Pods named beside the subject, such as the order of an eviction.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
    /// How full, in per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_percent: Option<u64>,
    /// Exit status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The unit of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// How often systemd restarted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u64>,
    /// The victim's process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub victim_pid: Option<u32>,
}

impl Details {
    /// The values of a situation.
    pub fn of(situation: &Situation) -> Self {
        let mut details = Self::default();
        match situation {
            Situation::BackOff { delay } => details.delay_seconds = delay.map(|delay| delay.as_secs_f64()),
            Situation::SyncBlocked { pleg_age, .. } => details.pleg_age_seconds = pleg_age.map(|age| age.as_secs_f64()),
            Situation::ImagePullFailed { failure, image, .. } => {
                details.reason = Some(failure.as_str().to_owned());
                details.image.clone_from(image);
            }
            Situation::StartFailed { reason } => details.reason = Some(reason.clone()),
            Situation::AdmissionDenied { reason, condition } => details.reason = reason.clone().or_else(|| condition.clone()),
            Situation::NodeEvent { event } => details.reason = Some(event.clone()),
            Situation::VolumeFailed { volumes, operation } => {
                details.reason.clone_from(operation);
                details.volumes = if volumes.len() > 1 { volumes.clone() } else { Vec::new() };
            }
            Situation::Eviction { resource, pods, .. } => {
                details.resource.clone_from(resource);
                details.pods = pods.iter().filter_map(Subject::path).collect();
            }
            Situation::ImageGcNeeded { usage, .. } => details.usage_percent = *usage,
            Situation::Finished { exit_code } => details.exit_code = Some(*exit_code),
            Situation::SystemOom { process, pid } => {
                details.reason.clone_from(process);
                details.victim_pid = *pid;
            }
            Situation::Unit { unit, event, .. } => {
                details.unit = Some(unit.to_string());
                match event {
                    UnitEvent::RestartScheduled { counter } => details.restarts = *counter,
                    UnitEvent::MainProcessExited { status, .. } => details.reason = Some(status.clone()),
                    UnitEvent::Failed { result } => details.reason.clone_from(result),
                    _ => {}
                }
            }
            _ => {}
        }
        details
    }

    /// Completes these by the values of a later line of the same problem.
    pub fn complete(&mut self, later: Self) {
        fn keep<T>(mine: &mut Option<T>, later: Option<T>) {
            if mine.is_none() {
                *mine = later;
            }
        }
        // The delay grows and the counter rises: the newest one counts.
        self.delay_seconds = later.delay_seconds.or(self.delay_seconds);
        self.restarts = later.restarts.or(self.restarts);
        self.pleg_age_seconds = later.pleg_age_seconds.or(self.pleg_age_seconds);
        if self.reason.as_deref() == Some("other") {
            self.reason = None;
        }
        keep(&mut self.reason, later.reason);
        keep(&mut self.image, later.image);
        keep(&mut self.resource, later.resource);
        keep(&mut self.usage_percent, later.usage_percent);
        keep(&mut self.exit_code, later.exit_code);
        keep(&mut self.unit, later.unit);
        keep(&mut self.victim_pid, later.victim_pid);
        if self.volumes.is_empty() {
            self.volumes = later.volumes;
        }
        if self.pods.is_empty() {
            self.pods = later.pods;
        }
    }
}

impl Situation {
    /// The probe that the line is about.
    pub fn probe(&self) -> Option<Probe> {
        match self {
            Self::ProbeFailed { probe, .. } | Self::KillReason { reason: KillReason::Probe(probe) } => Some(*probe),
            Self::ProbeDecision { probe } => *probe,
            _ => None,
        }
    }

    /// The volumes that the line is about.
    pub fn volumes(&self) -> &[String] {
        match self {
            Self::VolumeFailed { volumes, .. } => volumes,
            _ => &[],
        }
    }
}

impl Observation {
    /// This observation alone as an object; one that is no problem has the class `other`.
    pub fn to_report(&self) -> Report {
        let class = problem(self).map_or(Class::Other, |(class, _)| class);
        Report::new(class, self)
    }
}

impl Report {
    /// The first line of a problem.
    pub(super) fn new(class: Class, first: &Observation) -> Self {
        let Subject { container, container_id, uid, .. } = first.subject.clone();
        Self {
            kind: "kubelet",
            class,
            pod: first.subject.path(),
            pod_uid: uid,
            container,
            container_id,
            probe: first.situation.probe().map(Probe::as_str),
            volume: first.situation.volumes().first().cloned(),
            message: first.said.clone(),
            count: 1,
            details: Details::of(&first.situation),
        }
    }
}
