//! The kubelet's log inside the core: what it says about a pod corroborates a death, or explains why
//! a pod does not start.
//!
//! The log promises nothing and a quiet kubelet says little, so no cause depends on it alone except
//! those that nothing else tells: volumes and sandboxes.

use super::{
    Core, Effect, KubeletQuestion,
    condition::Condition,
    kubelet_life::KubeletLife,
    node_trouble::trouble_topic,
    oom_telling::subject_key,
    pod_words::{PodWord, name_pod},
};
use crate::{
    diagnosis::{
        death::{DeathWord, DeathWordKind, ProbeKill},
        node_trouble::NodeTroubles,
        oom::place_name,
        start_failure::{self, StartFailure},
    },
    findings::{Evidence, EvidenceSource, Subject, Topic},
    inventory::Stage,
    model::{Attribution, BootTime, Cause, Confidence, Moment, PodUid, Scope},
    parse::kubelet::{KillReason, KubeletReader, Observation, Probe, Situation, observe_unit},
    signal::{KubeletLine, KubeletOrigin, KubeletPosition},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Streams put together at a time: one kubelet, one before its restart, and some to spare.
const MAX_STREAMS: usize = 8;

/// Failed probes remembered, to know which container a decision is about.
const MAX_PROBES: usize = 256;

/// Pods whose start fails, remembered.
const MAX_FAILING: usize = 256;

/// What fails for less than this is what every start may see: a volume's contents on their way from
/// the API server, a network plugin that is busy.
const PASSING_SECONDS: u64 = 5;

/// A record of several lines is complete when nothing followed for this long.
const COMPLETE_AFTER_MICROS: u64 = 200_000;

/// The state of reading the kubelet's log.
#[derive(Debug, Default)]
pub struct KubeletLog {
    streams: BTreeMap<String, (KubeletReader, Moment)>,
    /// The position before the oldest record that waits for more lines.
    before_open: Option<KubeletPosition>,
    failed_probes: VecDeque<(PodUid, String, Probe)>,
    failing: BTreeMap<(PodUid, Cause), Failing>,
    position: KubeletPosition,
    pub(super) durable: DurableKubelet,
}

/// What of the kubelet survives a restart of the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DurableKubelet {
    /// Troubles of the node.
    pub troubles: NodeTroubles,
    /// Who the kubelet is.
    pub life: KubeletLife,
    /// Since when no line of its log was missed; `None` while it cannot be read.
    heard_since: Option<BootTime>,
}

/// The kubelet names each kill of its own from this `-v` on (pkg/kubelet/kuberuntime/kuberuntime_container.go, `killContainer`).
const NAMES_KILLS: u8 = 2;

/// Failed tries of something that a pod needs before it can start.
#[derive(Debug, Clone, Copy)]
struct Failing {
    since: BootTime,
    tries: u64,
    untold: u64,
}

impl KubeletLog {
    fn push(&mut self, line: &KubeletLine, at: Moment) -> Vec<Observation> {
        let before = self.position.clone();
        self.position.pass(line);
        // What the writer calls itself proves nothing: the unit, which journald tells, decides.
        let stream = match &line.origin {
            KubeletOrigin::Journal { is_pid1: true, unit, .. } => {
                self.hold_position(before);
                return line.origin.unit_role().and_then(|role| observe_unit(unit, role, &line.text)).into_iter().collect();
            }
            KubeletOrigin::Journal { unit, stream, pid, .. } => {
                let pid = pid.map(|pid| pid.to_string());
                format!("{unit} {}", stream.clone().or(pid).unwrap_or_default())
            }
            KubeletOrigin::File { path, .. } => path.to_string(),
        };
        if self.streams.len() >= MAX_STREAMS && !self.streams.contains_key(&stream) {
            let oldest = self.streams.iter().min_by_key(|(_, (_, last))| *last).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| self.streams.remove(&oldest));
        }
        let (reader, last) = self.streams.entry(stream).or_insert_with(|| (KubeletReader::default(), at));
        *last = at;
        let told = reader.push(Some("kubelet"), &line.text);
        let life = &mut self.durable.life;
        if life.is_its(&line.origin) {
            life.verbosity = life.verbosity.max(Some(reader.verbosity()));
        }
        self.hold_position(before);
        told
    }

    /// Goes on where an earlier run of the agent stopped.
    pub(super) fn resume(&mut self, position: KubeletPosition, durable: DurableKubelet) {
        (self.position, self.durable) = (position, durable);
    }

    /// The log can be read, or not, or lines of it were lost.
    pub(super) fn heard(&mut self, whole: bool, at: BootTime) {
        let since = self.durable.heard_since.unwrap_or(at);
        self.durable.heard_since = whole.then_some(since);
    }

    /// Whether every kill by the kubelet since a moment has been read.
    pub(super) fn heard_kills_since(&self, moment: BootTime) -> bool {
        let life = &self.durable.life;
        let verbosity = life.configured_verbosity.or(life.verbosity);
        verbosity >= Some(NAMES_KILLS) && self.durable.heard_since.is_some_and(|since| since <= moment)
    }

    /// Where a restart reads on: what is not understood yet is read again.
    pub(super) fn position(&self) -> KubeletPosition {
        self.before_open.clone().unwrap_or_else(|| self.position.clone())
    }

    fn hold_position(&mut self, before: KubeletPosition) {
        if self.streams.values().any(|(reader, _)| reader.is_open()) {
            self.before_open.get_or_insert(before);
        } else {
            self.before_open = None;
        }
    }

    fn overdue(&mut self, now: BootTime) -> Vec<(Observation, Moment)> {
        let quiet = self.streams.values_mut().filter(|(_, last)| now.micros_since(last.boot) >= COMPLETE_AFTER_MICROS);
        let told = quiet.flat_map(|(reader, last)| reader.flush().into_iter().map(|observation| (observation, *last))).collect();
        self.hold_position(self.position.clone());
        told
    }

    fn note_failed_probe(&mut self, pod: PodUid, container: String, probe: Probe) {
        self.failed_probes.retain(|(known, name, _)| *known != pod || *name != container);
        if self.failed_probes.len() == MAX_PROBES {
            self.failed_probes.pop_front();
        }
        self.failed_probes.push_back((pod, container, probe));
    }

    /// Notes a failed try; once tries have failed for long enough, those that are not told yet.
    fn note_failing(&mut self, pod: &PodUid, cause: Cause, at: BootTime) -> Option<Failing> {
        if self.failing.len() >= MAX_FAILING {
            self.failing.pop_first();
        }
        let failing = self.failing.entry((pod.clone(), cause)).or_insert(Failing { since: at, tries: 0, untold: 0 });
        failing.tries += 1;
        failing.untold += 1;
        let told = *failing;
        (at.seconds_since(failing.since) >= PASSING_SECONDS).then(|| {
            failing.untold = 0;
            told
        })
    }

    /// The container whose probe failed last in a pod.
    fn container_of_decision(&self, pod: &PodUid, probe: Probe) -> Option<String> {
        let failed = self.failed_probes.iter().rev().find(|(known, _, kind)| known == pod && *kind == probe);
        failed.map(|(_, container, _)| container.clone())
    }
}

impl Core {
    /// Reads a line of the kubelet's log.
    pub(super) fn kubelet(&mut self, line: &KubeletLine, at: Moment) {
        let happened = match &line.origin {
            KubeletOrigin::Journal { boot_time: Some(boot), .. } => at.at_boot_time(*boot),
            _ => at,
        };
        if self.embedded_etcd(&line.text, happened) || self.userspace_oom(line, happened) {
            self.kubelet_log.position.pass(line);
            return;
        }
        let restarted = self.kubelet_log.durable.life.line(line, happened.boot);
        self.kubelet_restarted(restarted);
        for observation in self.kubelet_log.push(line, happened) {
            self.observe(observation, happened);
        }
    }

    /// Completes records that nothing followed.
    pub(super) fn advance_kubelet(&mut self, now: BootTime) {
        for (observation, at) in self.kubelet_log.overdue(now) {
            self.observe(observation, at);
        }
    }

    fn observe(&mut self, observation: Observation, at: Moment) {
        let restarted = self.kubelet_log.durable.life.told(&observation, at.boot);
        self.kubelet_restarted(restarted);
        self.observe_node(&observation, at);
        self.observe_room(&observation, at);
        self.observe_stuck(&observation, at);
        let subject = &observation.subject;
        let named = || self.inventory.pod_named(subject.namespace.as_deref()?, subject.pod.as_deref()?);
        let Some(pod) = subject.uid.clone().or_else(named) else { return };
        let said = observation.said.as_str().to_owned();
        let container = observation.subject.container;
        let name = observation.subject.namespace.zip(observation.subject.pod);
        let word = |cause| PodWord {
            pod: pod.clone(),
            name: name.clone(),
            container: container.clone(),
            cause,
            class: None,
            repeats: false,
            said: said.clone(),
            at,
        };
        match observation.situation {
            Situation::ProbeFailed { probe, errored: false } => {
                if let Some(container) = container {
                    self.look_at(&pod, &container);
                    self.kubelet_log.note_failed_probe(pod, container, probe);
                }
            }
            Situation::ProbeDecision { probe: Some(probe) } => self.probe_kill(pod, None, probe, said, at),
            Situation::KillReason { reason: KillReason::Probe(probe) } => self.probe_kill(pod, container, probe, said, at),
            Situation::KillReason { reason: KillReason::DefinitionChanged } => {
                self.deaths.durable.words.note(pod, container, DeathWord { at, kind: DeathWordKind::DefinitionChanged, said });
            }
            Situation::KillReason { reason: KillReason::Other } => {
                self.deaths.durable.words.note(pod, container, DeathWord { at, kind: DeathWordKind::KillReason, said });
            }
            Situation::Killing { grace_seconds } => {
                self.deaths.durable.words.note(pod, container, DeathWord { at, kind: DeathWordKind::Killing { grace_seconds }, said });
            }
            Situation::HookFailed => {
                self.deaths.durable.words.note(pod, container, DeathWord { at, kind: DeathWordKind::HookFailed, said })
            }
            Situation::KillFailed => {
                self.deaths.durable.words.note(pod, container, DeathWord { at, kind: DeathWordKind::KillFailed, said })
            }
            Situation::SandboxChanged => {
                self.deaths.durable.words.note(pod, None, DeathWord { at, kind: DeathWordKind::SandboxChanged, said })
            }
            Situation::BackOff { delay: Some(delay) } => self.deaths.back_off_told(&pod, container.as_deref(), delay.as_secs()),
            Situation::ImagePullFailed { failure, backing_off, .. } => {
                self.pod_word(PodWord { class: Some(start_failure::pull(failure)), repeats: backing_off, ..word(Cause::ImagePull) });
            }
            Situation::ConfigError => self.pod_word(PodWord { class: Some(start_failure::config(&said)), ..word(Cause::ConfigError) }),
            Situation::StartFailed { .. } => self.pod_word(word(Cause::StartError)),
            Situation::AdmissionDenied { .. } => self.pod_word(PodWord { container: None, ..word(Cause::AdmissionRejected) }),
            Situation::Preempting => self.pod_word(PodWord { container: None, ..word(Cause::Preempted) }),
            Situation::VolumeFailed { operation: Some(operation), .. } if is_undoing(&operation) => {}
            Situation::VolumeFailed { volumes, .. } => {
                let failure = start_failure::mount(&said);
                let what = format!("volume {} cannot be mounted: {}", volumes.join(", "), failure.what);
                self.tell_not_starting(word(Cause::VolumeMount), &what, failure);
            }
            Situation::SandboxFailed if is_undoing(&said) => {}
            Situation::SandboxFailed => {
                let failure = start_failure::sandbox(&said);
                let what = format!("its sandbox or its network cannot be set up: {}", failure.what);
                self.tell_not_starting(word(Cause::SandboxNetwork), &what, failure);
            }
            _ => {}
        }
    }

    /// Another kubelet may be configured in another way.
    fn kubelet_restarted(&mut self, restarted: bool) {
        if restarted {
            self.counters.kubelet_restarts += 1;
            self.effects.push(Effect::AskKubelet(KubeletQuestion::Configuration));
        }
    }

    fn probe_kill(&mut self, pod: PodUid, container: Option<String>, probe: Probe, said: String, at: Moment) {
        if probe == Probe::Readiness {
            return;
        }
        let container = container.or_else(|| self.kubelet_log.container_of_decision(&pod, probe));
        if let Some(container) = &container {
            self.look_at(&pod, container);
        }
        self.deaths.note_probe(pod, container, ProbeKill { at, startup: probe == Probe::Startup, said });
    }

    fn tell_not_starting(&mut self, word: PodWord, what: &str, failure: StartFailure) {
        let PodWord { pod, name, cause, said, at, .. } = word;
        if !self.can_keep_from_starting(&pod, cause) {
            return;
        }
        let Some(failing) = self.kubelet_log.note_failing(&pod, cause, at.boot) else { return };
        let mut subject = self.inventory.subject(Some(&pod), None);
        name_pod(&mut subject, name);
        let topic = not_starting_topic(cause, &subject);
        let position = format!("kubelet:{cause}:{pod}:{}:{}", failing.since.0, failing.tries);
        let condition = Condition {
            topic: topic.clone(),
            happening: position,
            weight: failing.untold,
            cause,
            confidence: Confidence::Proven,
            scope: Scope::Pod,
            blame: failure.blame,
            summary: format!("In {}, nothing starts: {what}.", place_name(&subject)),
            subjects: vec![subject],
            evidence: vec![Evidence {
                source: EvidenceSource::KubeletLog,
                time: at.wall,
                what: said,
                supports: true,
                how_matched: "pod uid".into(),
            }],
            not_found: vec![],
            actions: vec![failure.action.into()],
            attribution: Attribution::Runtime,
        };
        self.tell_condition(condition, at);
        let of_node = [Cause::RuntimeDown, Cause::NetworkNotReady];
        for trouble in of_node.into_iter().filter(|_| cause == Cause::SandboxNetwork) {
            self.relate_conditions(&topic, &trouble_topic(trouble));
        }
    }

    /// The kubelet renews the volumes of running pods, too, and sets those of pods that are to be deleted up until their
    /// end, when what they come from may be gone already.
    fn can_keep_from_starting(&self, uid: &PodUid, cause: Cause) -> bool {
        let Some(pod) = self.inventory.pod(uid) else { return true };
        match pod.stage {
            Stage::Ending => false,
            Stage::Running => pod.gone.is_none() && cause != Cause::VolumeMount,
            Stage::Starting => pod.gone.is_none(),
        }
    }

    /// A pod of which something runs has its volumes and its sandbox; one that ends needs none.
    pub(super) fn resolve_not_starting(&mut self, uid: &PodUid, now: BootTime) {
        if self.inventory.pod(uid).is_some_and(|pod| pod.stage == Stage::Starting) {
            return;
        }
        let subject = Subject { pod_uid: Some(uid.clone()), ..Subject::default() };
        for cause in [Cause::VolumeMount, Cause::SandboxNetwork] {
            self.kubelet_log.failing.remove(&(uid.clone(), cause));
            self.clear_condition(&not_starting_topic(cause, &subject), now);
        }
    }
}

fn not_starting_topic(cause: Cause, subject: &Subject) -> Topic {
    Topic(format!("{cause}|{}", subject_key(subject)))
}

/// Taking something away at a pod's end, which keeps nothing from starting.
fn is_undoing(words: &str) -> bool {
    ["Unmount", "Detach", "Unmap", "KillPodSandbox", "TeardownNetwork", "Failed to stop sandbox", "StopPodSandbox", "RemovePodSandbox"]
        .iter()
        .any(|word| words.contains(word))
}
