//! Pods that the kubelet put out or refused: noticed once, held until the witnesses had time to
//! speak, told as one occurrence for the pod. What happens to its containers then follows from it.

use super::{Core, Effect, culprit::Culprit, room::told};
use crate::{
    diagnosis::{
        eviction::{Margin, PodEnd},
        exit::Exit,
        oom::place_name,
    },
    findings::{Evidence, EvidenceSource, Finding, FindingId, FindingState, Occurrence, OccurrenceId, Subject, Topic},
    inventory::Belonging,
    model::{Attribution, Blame, BootTime, Bytes, Cause, Moment, PodUid},
    parse::kubelet::{CriCall, EvictionStep, Observation, Situation, tells_no_space},
    signal::{ContainerState, PodRecord},
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A pod's end is told when its witnesses had this long: the kubelet's lines and a measurement.
const WITNESS_SECONDS: u64 = 4;

/// What only the kubelet's log tells waits for the status so long: the kubelet sends it within ten seconds.
const STATUS_SECONDS: u64 = 12;

/// The kubelet decides, gives the pod a second or its grace period, and says that it is evicted.
pub(super) const DECISION_SECONDS: u64 = 30;

/// Ends waiting at a time: one pod is evicted each ten seconds, refusals come in floods.
const MAX_WAITING: usize = 256;

/// Ends remembered as told: the API server keeps failed pods for days, and lists them at every start.
const REMEMBERED: usize = 2048;

/// An end longer ago than this, when the pod is first seen, is history.
const HISTORY_SECONDS: i64 = 3600;

/// Lines of the eviction manager remembered, and for how long they belong to an eviction: its
/// decision, and the pod's grace period of at most some minutes.
const MAX_LINES: usize = 32;
const LINES_SECONDS: u64 = 300;

/// Device plugins that vanished, remembered: a node has a few, and pods that want their devices are refused for as
/// long as it takes to start them again.
const MAX_DEVICE_LINES: usize = 8;
const DEVICE_LINES_SECONDS: u64 = 600;

/// Pods that one finding names: those of a workload that is evicted again and again.
const MAX_SUBJECTS: usize = 16;

/// What of it survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DurableEvictions {
    /// Pods whose end was told.
    told: VecDeque<String>,
}

/// Everything about pods that were put out.
#[derive(Debug, Default)]
pub struct Evictions {
    pub(super) durable: DurableEvictions,
    waiting: Vec<Waiting>,
    lines: VecDeque<Line>,
    /// What the kubelet said of device plugins that vanished.
    device_lines: VecDeque<(Moment, String)>,
}

/// An end whose witnesses may still speak.
#[derive(Debug, Clone)]
struct Waiting {
    due: BootTime,
    pod: PodUid,
    /// The message of its status; `None` while only the kubelet's log tells.
    message: Option<String>,
    end: PodEnd,
    at: Moment,
    /// It happened before the agent looked: explained, not counted.
    earlier: bool,
}

/// A line of the eviction manager.
#[derive(Debug, Clone)]
struct Line {
    at: Moment,
    step: EvictionStep,
    resource: Option<String>,
    pod: Option<PodUid>,
    said: String,
}

impl Evictions {
    fn knows(&self, uid: &PodUid, end: &PodEnd) -> bool {
        let key = key(uid, end);
        self.durable.told.contains(&key) || self.waiting.iter().any(|waiting| waiting.pod == *uid && waiting.message.is_some())
    }

    fn remember(&mut self, uid: &PodUid, end: &PodEnd) {
        if self.durable.told.len() == REMEMBERED {
            self.durable.told.pop_front();
        }
        self.durable.told.push_back(key(uid, end));
    }

    fn wait(&mut self, waiting: Waiting) {
        self.waiting.retain(|other| other.pod != waiting.pod);
        self.waiting.push(waiting);
    }

    /// What the eviction manager's lines tell of a pod: that it was evicted, and for what it was short of just before.
    pub(super) fn told_by_log(&self, uid: &PodUid, at: BootTime) -> Option<PodEnd> {
        let near = |line: &&Line, seconds| line.at.boot.0.abs_diff(at.0) <= seconds * 1_000_000;
        let evicted = |line: &&Line| line.step == EvictionStep::Evicted && line.pod.as_ref() == Some(uid) && near(line, LINES_SECONDS);
        let evicted = self.lines.iter().rev().find(evicted)?;
        let short = |line: &&Line| {
            let decides = matches!(line.step, EvictionStep::Attempt | EvictionStep::MustEvict) && line.at <= evicted.at;
            decides && evicted.at.boot.seconds_since(line.at.boot) <= DECISION_SECONDS
        };
        let short = self.lines.iter().rev().find(short);
        Some(PodEnd::by_log(short.and_then(|line| line.resource.as_deref())))
    }

    fn note_device(&mut self, at: Moment, said: String) {
        self.device_lines.retain(|(_, known)| *known != said);
        if self.device_lines.len() == MAX_DEVICE_LINES {
            self.device_lines.pop_front();
        }
        self.device_lines.push_back((at, said));
    }

    /// The device plugins that had vanished before a pod was refused for want of a device.
    fn devices_lost(&self, waiting: &Waiting) -> impl Iterator<Item = Evidence> {
        let wants_device = waiting.end.cause == Cause::AdmissionRejected && waiting.end.what.contains("device");
        let since = |at: &Moment| waiting.at.boot.seconds_since(at.boot) <= DEVICE_LINES_SECONDS && at.boot <= waiting.at.boot;
        let near = self.device_lines.iter().filter(move |(at, _)| wants_device && since(at));
        near.map(|(at, said)| told(EvidenceSource::KubeletLog, *at, said.clone(), "time, and that a device is wanted"))
    }

    /// Before the kubelet found nobody to evict: what it was short of, and whom it passed over because they are critical.
    pub(super) fn before_failure(&self, at: Moment) -> (Option<String>, Vec<Evidence>) {
        let recent = self.lines.iter().filter(|line| line.at <= at && at.boot.seconds_since(line.at.boot) <= DECISION_SECONDS);
        let resource = recent.clone().rev().find_map(|line| line.resource.clone());
        let critical = recent.filter(|line| line.step == EvictionStep::Critical);
        let evidence = critical.map(|line| told(EvidenceSource::KubeletLog, line.at, line.said.clone(), "time"));
        (resource, evidence.collect())
    }

    fn note(&mut self, line: Line) {
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl Core {
    /// Takes in what the kubelet's log says of disks and evictions.
    pub(super) fn observe_room(&mut self, observation: &Observation, at: Moment) {
        let said = observation.said.as_str().to_owned();
        match &observation.situation {
            Situation::Eviction { step, resource, .. } => {
                let subject = &observation.subject;
                let named = || self.inventory.pod_named(subject.namespace.as_deref()?, subject.pod.as_deref()?);
                let pod = subject.uid.clone().or_else(named);
                if matches!(step, EvictionStep::Attempt | EvictionStep::MustEvict) {
                    self.effects.push(Effect::MeasureStorage);
                }
                self.evictions.note(Line { at, step: *step, resource: resource.clone(), pod: pod.clone(), said });
                if let Some(pod) = pod.filter(|_| *step == EvictionStep::Evicted) {
                    self.evicted_by_word(&pod, at);
                }
            }
            Situation::DevicePluginLost => self.evictions.note_device(at, said),
            Situation::ImageGcFailed { repeatedly: true } => self.image_gc_failed(said, at),
            // What a command in a container prints says nothing about the node's disks; a pull that finds no space is told as such.
            Situation::CriCallFailed { call: CriCall::ExecSync, .. } => {}
            Situation::StartFailed { reason } if reason.contains("Hook") => {}
            Situation::NoSpace
            | Situation::SandboxFailed
            | Situation::SyncFailed
            | Situation::VolumeFailed { .. }
            | Situation::ConfigError
            | Situation::StartFailed { .. }
            | Situation::CriCallFailed { .. }
            | Situation::ImageGcFailed { .. }
            | Situation::ContainerGcFailed
                if tells_no_space(&said) =>
            {
                self.note_no_space(at, EvidenceSource::KubeletLog, said);
            }
            _ => {}
        }
    }

    /// Looks at a pod for an end that the kubelet decided.
    pub(super) fn watch_eviction(&mut self, pod: &PodRecord, uid: &PodUid, at: Moment) {
        let Some(end) = PodEnd::of(pod) else { return };
        if let Some(exit) = Exit::of_pod(pod) {
            self.deaths.explain_by_pod(uid, &exit);
        }
        if self.evictions.knows(uid, &end) {
            return;
        }
        let ended = ended(pod).map_or(at, |ended| at.at_wall_time(ended));
        let earlier = self.deaths.durable.watching_since.is_none();
        if earlier && at.wall.duration_since(ended.wall).as_secs() > HISTORY_SECONDS {
            self.evictions.remember(uid, &end);
            return;
        }
        if self.evictions.waiting.len() >= MAX_WAITING {
            let oldest = self.evictions.waiting.remove(0);
            self.tell_eviction(&oldest);
        }
        let due = at.boot.plus_seconds(WITNESS_SECONDS);
        let message = Some(pod.message.clone().unwrap_or_default());
        self.evictions.wait(Waiting { due, pod: uid.clone(), message, end, at: ended, earlier });
    }

    /// Takes the kubelet's word that it evicted a pod, whose status may never say so.
    fn evicted_by_word(&mut self, uid: &PodUid, at: Moment) {
        let Some(end) = self.evictions.told_by_log(uid, at.boot) else { return };
        if self.evictions.knows(uid, &end) || self.inventory.belonging(uid) == Belonging::Unknown {
            return;
        }
        self.deaths.explain_by_pod(uid, &Exit::of_end(end.clone()));
        let earlier = self.deaths.durable.watching_since.is_none();
        let due = at.boot.plus_seconds(STATUS_SECONDS);
        self.evictions.wait(Waiting { due, pod: uid.clone(), message: None, end, at, earlier });
    }

    /// Tells the ends whose witnesses had their time.
    pub(super) fn advance_evictions(&mut self, now: BootTime) {
        let due: Vec<_> = self.evictions.waiting.extract_if(.., |waiting| waiting.due <= now).collect();
        due.iter().for_each(|waiting| self.tell_eviction(waiting));
    }

    /// Tells the end of a pod that goes away, which nothing can complete any more.
    pub(super) fn tell_evictions_of(&mut self, uid: &PodUid) {
        let gone: Vec<_> = self.evictions.waiting.extract_if(.., |waiting| waiting.pod == *uid).collect();
        gone.iter().for_each(|waiting| self.tell_eviction(waiting));
    }

    fn tell_eviction(&mut self, waiting: &Waiting) {
        let Waiting { pod, end, at, .. } = waiting;
        self.evictions.remember(pod, end);
        let subject = self.inventory.subject(Some(pod), None);
        let margin = self.margin_of(end.cause, at.boot);
        let culprit = self.culprit_of(end, at.boot, margin.as_ref());
        let blame = match &culprit {
            Some(culprit) if culprit.pod == *pod => Blame::Workload,
            Some(_) => Blame::Neighbour,
            None => end.blame,
        };
        let evidence = self.evidence_of(waiting, margin.as_ref(), culprit.as_ref());
        let topic = topic_of(end.cause, &subject);
        let id = OccurrenceId(format!("pod-end:{pod}:{}", end.cause));
        let finding = Finding {
            id: FindingId::derive(&self.boot(), &id.0, end.cause),
            cause: end.cause,
            confidence: end.confidence,
            scope: end.scope,
            blame,
            state: FindingState::Open,
            count: 1,
            first_seen: at.wall,
            last_seen: at.wall,
            summary: summary(&subject, waiting, culprit.as_ref()),
            subjects: self.subjects_of(&topic, subject),
            evidence,
            not_found: not_found(waiting, culprit.as_ref()),
            blind: self.health.blind(),
            actions: actions(end.cause, culprit.as_ref(), pod),
            related: self.related_of(end.cause),
            attribution: Attribution::Runtime,
            memory: None,
            crash_loop: None,
            log_excerpt: vec![],
        };
        if !waiting.earlier && is_eviction(end.cause) {
            *self.counters.evictions.entry(end.cause).or_default() += 1;
        }
        self.record(Occurrence { topic, id, at: at.boot, weight: 1, finding });
    }

    /// The finding's pods, the latest first.
    fn subjects_of(&self, topic: &Topic, latest: Subject) -> Vec<Subject> {
        let known = self.findings.get(topic).map(|finding| finding.subjects.clone()).unwrap_or_default();
        let others = known.into_iter().filter(|known| known.pod_uid != latest.pod_uid).collect::<Vec<_>>();
        std::iter::once(latest).chain(others).take(MAX_SUBJECTS).collect()
    }

    /// The node's own trouble that the eviction is a consequence of.
    fn related_of(&self, cause: Cause) -> Vec<FindingId> {
        if !is_eviction(cause) || cause == Cause::EvictedEphemeralStorage {
            return Vec::new();
        }
        let open =
            |finding: &&Finding| matches!(finding.cause, Cause::EvictionImminent | Cause::DiskFull) && finding.state == FindingState::Open;
        self.findings.topics().map(|(_, finding)| finding).filter(open).map(|finding| finding.id.clone()).collect()
    }

    fn evidence_of(&self, waiting: &Waiting, margin: Option<&Margin>, culprit: Option<&Culprit>) -> Vec<Evidence> {
        let said = waiting.message.iter().map(|message| {
            let message = if message.is_empty() { "Evicted" } else { message.trim_end() };
            told(EvidenceSource::PodStatus, waiting.at, format!("Kubernetes says: {message}"), "pod uid")
        });
        let mut evidence: Vec<_> = said.collect();
        let near = |line: &&Line| line.at.boot.0.abs_diff(waiting.at.boot.0) <= LINES_SECONDS * 1_000_000;
        let about = |line: &&Line| line.pod.as_ref().is_none_or(|pod| *pod == waiting.pod) && speaks_of(line, waiting.end.cause);
        if is_eviction(waiting.end.cause) {
            evidence.extend(self.evictions.lines.iter().filter(near).filter(about).map(|line| Evidence {
                source: EvidenceSource::KubeletLog,
                time: line.at.wall,
                what: line.said.clone(),
                supports: true,
                how_matched: if line.pod.is_some() { "pod name" } else { "time and resource" }.into(),
            }));
        }
        evidence.extend(self.evictions.devices_lost(waiting));
        if let Some(margin) = margin {
            let below = margin.is_below();
            let what = if below { margin.said() } else { format!("{} (now, after the eviction)", margin.said()) };
            evidence.push(told(EvidenceSource::Disk, self.now.unwrap_or(waiting.at), what, "the agent's own look"));
        }
        if let Some(culprit) = culprit {
            evidence.push(told(culprit.source, waiting.at, culprit.said.clone(), culprit.how_matched));
        }
        evidence
    }
}

fn key(uid: &PodUid, end: &PodEnd) -> String {
    format!("{uid}:{}", end.cause)
}

/// Whether the kubelet put the pod out, in contrast to refusing or preempting it.
const fn is_eviction(cause: Cause) -> bool {
    matches!(cause, Cause::EvictedMemory | Cause::EvictedDisk | Cause::EvictedInodes | Cause::EvictedPids | Cause::EvictedEphemeralStorage)
}

/// Whether a line of the eviction manager is about this kind of shortage.
fn speaks_of(line: &Line, cause: Cause) -> bool {
    let word = match cause {
        Cause::EvictedMemory => "memory",
        Cause::EvictedInodes => "inodes",
        Cause::EvictedPids => "pids",
        Cause::EvictedDisk => "ephemeral-storage",
        // A pod's own limit has nothing to do with what the node lacks.
        _ => return line.step == EvictionStep::Evicted && line.pod.is_some(),
    };
    line.resource.as_deref().is_none_or(|resource| resource == word)
}

/// When the pod's containers ended, the last of them.
fn ended(pod: &PodRecord) -> Option<jiff::Timestamp> {
    let ends = pod.containers.iter().filter_map(|container| match &container.state {
        Some(ContainerState::Terminated(state)) => state.finished,
        _ => None,
    });
    ends.max().or_else(|| pod.created.filter(|_| pod.containers.iter().all(|container| container.state.is_none())))
}

/// Pods of one workload that meet the same end are one condition.
fn topic_of(cause: Cause, subject: &Subject) -> Topic {
    match (&subject.workload_kind, &subject.workload, &subject.namespace) {
        (Some(kind), Some(workload), Some(namespace)) => Topic(format!("{cause}|{kind}/{namespace}/{workload}")),
        _ => Topic(format!("{cause}|{}", subject.pod_uid.as_ref().map(PodUid::as_str).unwrap_or_default())),
    }
}

fn summary(subject: &Subject, waiting: &Waiting, culprit: Option<&Culprit>) -> String {
    let end = &waiting.end;
    let mut name = place_name(subject);
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let mut sentence = format!("{name} {}.", end.what);
    let amount = |number: u64| match end.cause {
        Cause::EvictedInodes | Cause::EvictedPids => number.to_string(),
        _ => Bytes(number).to_string(),
    };
    if let (Some(threshold), Some(available)) = (end.said.threshold, end.said.available) {
        sentence.push_str(&format!(" {} were left, the threshold is {}.", amount(available), amount(threshold)));
    }
    match culprit {
        Some(culprit) if culprit.pod == waiting.pod => sentence.push_str(&format!(" {}: it is the one that took it.", culprit.said)),
        Some(culprit) => sentence.push_str(&format!(" It was not the one that took it: {}.", lower_first(&culprit.said))),
        None => {}
    }
    sentence
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn not_found(waiting: &Waiting, culprit: Option<&Culprit>) -> Vec<String> {
    let cause = waiting.end.cause;
    let by_node = is_eviction(cause) && cause != Cause::EvictedEphemeralStorage;
    let of_culprit = match culprit {
        None if by_node => Some("a pod that took it: what the host's own files and services take is not looked at"),
        Some(culprit) if !culprit.sure => Some("an earlier measurement to compare with: the pod is named by its size alone"),
        _ => None,
    };
    let of_status = waiting.message.is_none().then_some(
        "the reason in the pod's status: the kubelet leaves it out where every container ends itself with status 0 when it is told to",
    );
    of_status.into_iter().chain(of_culprit).map(String::from).collect()
}

fn actions(cause: Cause, culprit: Option<&Culprit>, victim: &PodUid) -> Vec<String> {
    let other = culprit.is_some_and(|culprit| culprit.pod != *victim);
    let action = match cause {
        Cause::EvictedEphemeralStorage => "Write less to the container's own files and volumes, or raise the limit.",
        Cause::EvictedDisk | Cause::EvictedInodes if other => {
            "Look at the pod that took the space, not at this one; an ephemeral-storage limit would have evicted it alone."
        }
        Cause::EvictedDisk | Cause::EvictedInodes => {
            "Look at what filled the node: `df -h`, `df -i`, images, host files, this pod's own writing."
        }
        Cause::EvictedMemory if other => "Give the pod that is over its request a limit, or a request of what it uses.",
        Cause::EvictedMemory => "Set memory requests to what the pods use; what is over its request is evicted first.",
        Cause::EvictedPids => "Look for the pod that starts processes without end; set the kubelet's podPidsLimit.",
        Cause::Preempted => "Nothing is wrong with the pod: the node has not enough room for it and for critical pods.",
        _ => "Read the reason; scheduler and node disagree on what the node has or allows.",
    };
    vec![action.into()]
}
