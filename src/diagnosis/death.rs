//! Explains the end of a container instance from everything that was seen around it.
//!
//! Flows in: the end as the pod's status tells it, and the witnesses that were joined to it. Flows
//! out: a [`DeathExplanation`]. Reconciles: where kernel, kubelet and pod status disagree, it says so.

use super::{
    exit::Exit,
    oom::follows,
    probe_count::{ProbeCountRise, ProbeRules},
    starvation::Starvation,
    termination::Termination,
};
use crate::{
    findings::{Evidence, EvidenceSource, Subject},
    model::{Attribution, Blame, BootTime, Bytes, Cause, Confidence, ContainerId, Moment, PodUid, Scope, in_words},
    parse::container_log::LastWords,
    signal::{ContainerKind, TerminatedState},
};
use serde::{Deserialize, Serialize};

/// A kill of which nobody knows whether it took the first process explains an end within this time, if nothing else
/// does: a runtime may see an end late while memory is short.
const ENDED_OF_KILL_SECONDS: u64 = 10;

/// A status has whole seconds: the end was up to this much later than it says.
const STATUS_SECOND_MICROS: u64 = 1_000_000;

/// An end this soon after the kill of a child may have to do with it, though nothing proves it.
const SOON_AFTER_KILL_SECONDS: u64 = 60;

/// What to do where nobody tells who asked a container to stop.
const LOOK_FOR_SIGTERM: &str =
    "Look for who sent SIGTERM: an operator, a script in the container, a probe; the kubelet's log at -v=2 names its own stops.";

/// SIGABRT has no effect on the first process of a pid namespace.
const ABORTED_AS_FIRST: &str =
    "aborted itself: SIGABRT has no effect on a container's first process, so the C library made it trap (SIGSEGV)";

/// One end, with what identifies it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Death {
    /// The end.
    pub termination: Termination,
    /// Its pod, in the kubelet's form.
    pub pod: PodUid,
    /// The instance's id.
    pub container: Option<ContainerId>,
    /// What its status says.
    pub exit: Exit,
    /// When it ended, as well as its status says.
    pub ended: Moment,
    /// When the agent learnt of it.
    pub noticed: Moment,
    /// When its probes' failures end it.
    #[serde(default)]
    pub probes: ProbeRules,
    /// Whether its log has been asked for by this run of the agent.
    #[serde(skip)]
    pub log_asked: bool,
}

/// A kill by the kernel in one container instance, remembered until the instance's end is explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillNote {
    /// The instance; `None` where only its pod is known, as on cgroup v2 where the counter is the pod's.
    pub container: Option<ContainerId>,
    /// The pod, where it is known.
    #[serde(default)]
    pub pod: Option<PodUid>,
    /// When; the latest it may have been where only a counter tells.
    pub at: BootTime,
    /// Since when it may have been; `None` where `at` is the moment itself.
    #[serde(default)]
    pub after: Option<BootTime>,
    /// Why.
    pub cause: Cause,
    /// Whether the killed process was the container's first; `None` where that is not known.
    pub ends_container: Option<bool>,
    /// The topic of its finding.
    pub topic: crate::findings::Topic,
    /// What the container was charged for, where its own limit was hit and the kernel said it.
    #[serde(default)]
    pub charged: Option<Bytes>,
    /// Whether the end that it brought is counted.
    #[serde(default)]
    pub accounted: bool,
}

/// A fault that the kernel logged about a process: a segfault or another trap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultNote {
    /// When.
    pub at: Moment,
    /// The container, if the process had been seen in it.
    pub container: Option<ContainerId>,
    /// The kernel's own words.
    pub line: String,
    /// Whether it is a general protection fault, which is how an `abort()` of a container's first
    /// process ends: SIGABRT has no effect on it, so the C library runs an instruction that traps.
    pub general_protection: bool,
    /// Whether it is a page fault.
    pub segfault: bool,
}

/// The kubelet's decision to kill a container because of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeKill {
    /// When.
    pub at: Moment,
    /// Whether the startup probe failed, else the liveness probe.
    pub startup: bool,
    /// What the kubelet said.
    pub said: String,
}

/// What the kubelet says about a container shortly before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeathWord {
    /// When.
    pub at: Moment,
    /// What it is about.
    pub kind: DeathWordKind,
    /// Its words.
    pub said: String,
}

/// What such a word is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeathWordKind {
    /// The container's definition changed: someone edited the pod, or a new kubelet computes another hash.
    DefinitionChanged,
    /// A hook of its life failed.
    HookFailed,
    /// Its sandbox was gone or had changed, so that all of the pod's containers start anew.
    SandboxChanged,
    /// It could not be killed at once.
    KillFailed,
    /// The kubelet killed it, with this long to end by itself.
    Killing {
        /// Its grace period in seconds.
        grace_seconds: Option<i64>,
    },
    /// Why the kubelet was about to kill it, where that is no probe and no new definition.
    KillReason,
}

impl ProbeKill {
    /// The kubelet's words.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            source: EvidenceSource::KubeletLog,
            time: self.at.wall,
            what: self.said.clone(),
            supports: true,
            how_matched: "pod uid and container".into(),
        }
    }

    /// The cause that it is, and what happened, as a clause.
    pub fn verdict(&self) -> (Cause, &'static str) {
        if self.startup {
            (Cause::StartupProbe, "was killed by the kubelet because its startup probe never succeeded")
        } else {
            (Cause::LivenessProbe, "was killed by the kubelet because its liveness probe failed")
        }
    }
}

/// The witnesses of one death.
#[derive(Debug, Clone, Default)]
pub struct Witnesses<'a> {
    /// The kernel's latest kill in this instance.
    pub kill: Option<&'a KillNote>,
    /// A fault that the kernel logged.
    pub fault: Option<&'a FaultNote>,
    /// The kubelet's probe decision.
    pub probe: Option<&'a ProbeKill>,
    /// How often its probes failed before it, by the kubelet's counts.
    pub probe_counts: Vec<ProbeCountRise>,
    /// What else the kubelet said about it.
    pub words: Vec<DeathWord>,
    /// Whether a kill by the kubelet would have been heard: its log is whole, and it prints enough.
    pub kubelet_heard: bool,
    /// What the program said last.
    pub last_words: Option<LastWords>,
    /// What slowed it down.
    pub starvation: Option<Starvation>,
    /// Why the kernel's log proves nothing about this time; `None` if it was readable and whole.
    pub log_doubt: Option<String>,
}

/// Where a program's last words were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastWordsIn {
    Log,
    TerminationMessage,
}

/// A death, explained.
#[derive(Debug, Clone, PartialEq)]
pub struct DeathExplanation {
    /// Why.
    pub cause: Cause,
    /// How sure.
    pub confidence: Confidence,
    /// Where.
    pub scope: Scope,
    /// Whose fault.
    pub blame: Blame,
    /// What happened, as a clause that follows the container's name.
    pub what: String,
    /// The witnesses' words.
    pub evidence: Vec<Evidence>,
    /// What was looked for in vain.
    pub not_found: Vec<String>,
    /// What to do.
    pub actions: Vec<String>,
    /// How the decisive witness was joined.
    pub attribution: Attribution,
}

/// How well the witnesses of a crash agree on why it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correlation {
    /// A direct witness tells the cause: the kernel, the kubelet, the runtime, or the exit itself.
    Explained,
    /// The evidence leaves more than one reading.
    Ambiguous,
    /// Nobody tells who ended it, or no status describes the end.
    Unexplained,
}

impl Correlation {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Explained, Self::Ambiguous, Self::Unexplained];

    /// As a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Explained => "explained",
            Self::Ambiguous => "ambiguous",
            Self::Unexplained => "unexplained",
        }
    }

    /// What an explanation comes to.
    pub fn of(told: &DeathExplanation) -> Self {
        match (told.cause, told.confidence, told.blame) {
            (Cause::Killed | Cause::Unknown, ..) => Self::Unexplained,
            (_, Confidence::Possible, _) | (_, Confidence::Likely, Blame::Insufficient) => Self::Ambiguous,
            _ => Self::Explained,
        }
    }
}

impl Death {
    /// Whether the kernel's kill is what this instance ended of. `probe` is the kubelet's decision to end it, if it made one.
    pub fn ended_of(&self, kill: &KillNote, probe: Option<&ProbeKill>) -> bool {
        if kill.container.is_none() {
            return probe.is_none() && self.may_have_ended_of(kill);
        }
        match kill.ends_container {
            Some(true) => true,
            _ if self.honoured_sigterm() => false,
            None if probe.is_none() => self.ended.boot.seconds_since(kill.at) <= ENDED_OF_KILL_SECONDS,
            _ => follows(kill.at, self.ended.boot),
        }
    }

    /// Whether it looks like the end that a kill somewhere in its pod brought, at a time that fits. One kill explains one end.
    fn may_have_ended_of(&self, kill: &KillNote) -> bool {
        let ended = self.ended.boot;
        let since = kill.after.unwrap_or(kill.at).0.saturating_sub(STATUS_SECOND_MICROS);
        let fits = ended.0 >= since && ended.seconds_since(kill.at) <= ENDED_OF_KILL_SECONDS;
        kill.pod.as_ref() == Some(&self.pod) && !kill.accounted && self.exit.crash && self.wants_a_kill() && fits
    }

    /// Whether its status looks like a kill by the kernel, whether or not it says so.
    pub fn wants_a_kill(&self) -> bool {
        let state = &self.termination.state;
        state.exit_code == 128 + 9 || claims_oom(state)
    }

    /// What Kubernetes says of an end that a kill explains, held against that kill. `by` is who told the kill.
    pub fn status_beside(&self, kill: &KillNote, by: Attribution) -> Evidence {
        let witness = if by == Attribution::Counter { "the cgroup's kill counter" } else { "the kernel's log" };
        let state = &self.termination.state;
        let passes_for_done = self.termination.kind == ContainerKind::Init && state.exit_code == 0;
        let (supports, remark) = match (kill.cause, claims_oom(state)) {
            (Cause::OomUserspace, _) => (true, ": a memory watcher in user space sent the signal".into()),
            (_, false) => (false, format!(", not OOMKilled; {witness} shows that it was")),
            (_, true) if passes_for_done => {
                (true, format!("; {witness} agrees, and the kubelet takes such an init container for failed, whatever its exit code"))
            }
            (Cause::OomNode | Cause::OomNodeAllocatable, true) => {
                (true, format!("; {witness} agrees, and shows that memory ran out beyond the container's own limit"))
            }
            (_, true) => (true, format!("; {witness} agrees")),
        };
        let how_matched = if kill.container.is_some() { "container id" } else { "pod uid and time" };
        Evidence { how_matched: how_matched.into(), ..self.status_evidence(supports, &remark) }
    }

    /// The sentence that joins it to a kill of which only the pod was known.
    pub fn joins_by_pod(&self) -> String {
        let (container, code) = (&self.termination.slot.container, self.termination.state.exit_code);
        format!(" Container {container} ended at that time with exit code {code}, which nothing else explains.")
    }

    /// What Kubernetes says, as evidence.
    pub fn status_evidence(&self, supports: bool, remark: &str) -> Evidence {
        let what = format!("Kubernetes says {}{remark}", said(&self.termination.state));
        Evidence { source: EvidenceSource::PodStatus, time: self.ended.wall, what, supports, how_matched: "container id".into() }
    }

    /// How long it lived, in seconds.
    pub fn uptime(&self) -> Option<u64> {
        let state = &self.termination.state;
        let lived = state.finished?.duration_since(state.started?);
        u64::try_from(lived.as_secs()).ok()
    }

    /// Explains the end.
    pub fn explain(&self, witnesses: &Witnesses<'_>) -> DeathExplanation {
        let mut told = DeathExplanation {
            cause: self.exit.cause,
            confidence: self.exit.confidence,
            scope: self.exit.scope,
            blame: self.exit.blame,
            what: self.exit.what.clone(),
            evidence: vec![self.status_evidence(true, "")],
            not_found: Vec::new(),
            actions: Vec::new(),
            attribution: Attribution::Runtime,
        };
        self.weigh_words(witnesses, &mut told);
        self.weigh_probe_counts(witnesses, &mut told);
        self.weigh_probe(witnesses, &mut told);
        self.weigh_kubelets_kill(witnesses, &mut told);
        self.weigh_kubelets_silence(witnesses, &mut told);
        self.weigh_starvation(witnesses, &mut told);
        self.weigh_fault(witnesses, &mut told);
        self.weigh_last_words(witnesses, &mut told);
        self.weigh_oom_claim(witnesses, &mut told);
        told.actions.extend(if self.was_asked_to_stop(told.cause) { vec![LOOK_FOR_SIGTERM.into()] } else { actions(told.cause) });
        told
    }

    fn was_asked_to_stop(&self, cause: Cause) -> bool {
        cause == Cause::Killed && self.honoured_sigterm()
    }

    /// Whether it ended because it was asked to.
    fn honoured_sigterm(&self) -> bool {
        self.termination.state.exit_code == 128 + 15
    }

    /// The kubelet's own reasons to end a container explain only ends that came from outside.
    fn weigh_words(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let from_outside = self.came_from_outside();
        for word in &witnesses.words {
            let clause = match word.kind {
                DeathWordKind::DefinitionChanged => Some((Cause::Stopped, "was restarted by the kubelet because its definition changed")),
                DeathWordKind::HookFailed if word.said.contains("PostStart") => {
                    Some((Cause::StartError, "was killed by the kubelet because its postStart hook failed"))
                }
                _ => None,
            };
            if let Some((cause, what)) = clause.filter(|_| from_outside) {
                (told.cause, told.what, told.confidence, told.blame) = (cause, what.to_owned(), Confidence::Proven, Blame::Workload);
            }
            told.evidence.push(Evidence {
                source: EvidenceSource::KubeletLog,
                time: word.at.wall,
                what: word.said.clone(),
                supports: true,
                how_matched: "pod uid and container".into(),
            });
        }
    }

    /// Whether something outside of it may have ended it: it was asked to stop, or killed.
    pub fn came_from_outside(&self) -> bool {
        matches!(self.termination.state.exit_code, 0 | 137 | 143) && self.exit.cause != Cause::Stopped
    }

    /// As many failures as end it, right before an end from outside, are near to a proof; that no probe
    /// failed is one that none ended it.
    fn weigh_probe_counts(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let guessed = matches!(told.cause, Cause::LivenessProbe | Cause::StartupProbe);
        let completed = told.cause == Cause::Completed;
        if !self.came_from_outside() || !(guessed || completed || told.cause == Cause::Killed) {
            return;
        }
        let counts = &witnesses.probe_counts;
        if let Some(count) = counts.iter().find(|count| count.reaches_threshold()) {
            let (cause, what) = count.verdict();
            (told.cause, told.what) = (cause, what.to_owned());
            (told.confidence, told.blame) = (Confidence::Likely, Blame::Workload);
            told.evidence.push(count.evidence(self.ended, true));
        } else if guessed && !counts.is_empty() && counts.iter().all(ProbeCountRise::never_failed) {
            let what = "was ended by a signal from outside, and not by a probe: the kubelet counts no failed try";
            (told.cause, told.what) = (Cause::Killed, what.to_owned());
            told.evidence.extend(counts.iter().map(|count| count.evidence(self.ended, true)));
        } else if guessed {
            told.evidence.extend(counts.iter().map(|count| count.evidence(self.ended, false)));
        }
    }

    fn weigh_probe(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let Some(probe) = witnesses.probe else { return };
        let (cause, what) = probe.verdict();
        (told.cause, told.what) = (cause, what.to_owned());
        (told.confidence, told.blame) = (Confidence::Proven, Blame::Workload);
        told.evidence.push(probe.evidence());
    }

    /// The kubelet says before each kill of its own that it kills: nothing else was the outside then.
    fn weigh_kubelets_kill(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        if !self.came_from_outside() || !matches!(told.cause, Cause::Killed | Cause::Completed) {
            return;
        }
        let of_this_life = |word: &&DeathWord| self.termination.state.started.is_none_or(|started| word.at.wall >= started);
        let words = || witnesses.words.iter().filter(of_this_life);
        let killing = words().find_map(|word| match word.kind {
            DeathWordKind::Killing { grace_seconds } => Some((word.at, grace_seconds)),
            _ => None,
        });
        let Some((at, grace_seconds)) = killing else { return };
        let reason = words().find_map(|word| match word.kind {
            DeathWordKind::KillReason => word.said.split_once("containerMessage=").map(|(_, reason)| reason.trim_matches('"')),
            DeathWordKind::SandboxChanged => Some("its pod's sandbox was gone or had changed"),
            _ => None,
        });
        let grace = grace_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let used_up = grace.is_some_and(|grace| grace > 1 && self.ended.boot.seconds_since(at.boot).saturating_add(1) >= grace);
        let (cause, how) = match (self.termination.state.exit_code, grace) {
            (137, Some(grace)) if used_up => {
                (Cause::SlowShutdown, format!("was killed by the kubelet when it had not ended {grace} s after it was asked to"))
            }
            _ => (Cause::Stopped, "was stopped by the kubelet".to_owned()),
        };
        told.cause = cause;
        (told.confidence, told.blame) =
            if reason.is_some() { (Confidence::Proven, Blame::Workload) } else { (Confidence::Likely, Blame::Insufficient) };
        told.what = reason.map_or_else(|| how.clone(), |reason| format!("{how}; its reason: {}", reason.trim_end_matches('.')));
        if reason.is_none() {
            told.not_found.push("the kubelet's reason for it".into());
            told.actions.push("Read what the kubelet logged right before it killed the container.".into());
        }
    }

    /// A kubelet that names each of its kills and named none did not kill: the end came from within, or from somebody else.
    fn weigh_kubelets_silence(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let said = witnesses.words.iter().any(|word| matches!(word.kind, DeathWordKind::Killing { .. }));
        if !witnesses.kubelet_heard || said || witnesses.probe.is_some() || !self.came_from_outside() {
            return;
        }
        const NOT_FOUND: &str = "a kill by the kubelet: its log names each one, and none of this container";
        match (told.cause, self.termination.state.exit_code) {
            (Cause::Completed, _) if told.blame == Blame::Insufficient => {
                (told.confidence, told.blame) = (Confidence::Proven, Blame::Workload);
                told.what = "ended with status 0 although it should have kept running, and not because the kubelet stopped it".into();
            }
            (Cause::LivenessProbe | Cause::StartupProbe, code) if told.blame == Blame::Insufficient => {
                told.cause = Cause::Killed;
                let signal = if code == 137 { "SIGKILL" } else { "SIGTERM" };
                told.what = format!("was ended by {signal} from outside, and not by the kubelet for a probe that failed");
            }
            (Cause::Killed, _) => {}
            _ => return,
        }
        told.not_found.push(NOT_FOUND.into());
    }

    /// Slowness explains a probe that failed. Of a kill by nobody knows whom it is only told.
    fn weigh_starvation(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let Some(starved) = &witnesses.starvation else { return };
        let by_probe = matches!(told.cause, Cause::LivenessProbe | Cause::StartupProbe);
        if by_probe {
            told.what = format!("{}; before, {}", told.what, starved.clause());
            told.blame = starved.blame();
            told.actions.extend(starved.actions());
        }
        if by_probe || told.cause == Cause::Killed {
            told.evidence.extend(starved.evidence(self.ended.wall));
        }
    }

    fn weigh_fault(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let (Some(fault), true) = (witnesses.fault, self.is_signalled()) else { return };
        if told.cause == Cause::Segfault && fault.general_protection {
            (told.cause, told.what) = (Cause::Aborted, ABORTED_AS_FIRST.into());
        }
        let joined = fault.container.is_some();
        told.confidence = if joined { Confidence::Proven } else { told.confidence };
        told.evidence.push(Evidence {
            source: EvidenceSource::KernelLog,
            time: fault.at.wall,
            what: fault.line.clone(),
            supports: true,
            how_matched: if joined { "pid, seen in the container" } else { "time: the only fault of that second" }.into(),
        });
    }

    /// Of its log, else of its termination message. The runtime's own message about a start that failed is no word of the program.
    fn last_words(&self, in_log: Option<LastWords>) -> Option<(LastWords, LastWordsIn)> {
        let ran = self.exit.crash && self.exit.cause != Cause::StartError && self.exit.cause != Cause::ExecFormat;
        let message = self.termination.state.message.as_deref().filter(|_| ran && self.termination.state.exit_code != 0);
        let in_message = || Some((LastWords::of_message(message?)?, LastWordsIn::TerminationMessage));
        in_log.map(|words| (words, LastWordsIn::Log)).or_else(in_message)
    }

    fn weigh_last_words(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let Some((words, by)) = self.last_words(witnesses.last_words) else { return };
        let refines = matches!(told.cause, Cause::AppError | Cause::Segfault | Cause::CommandNotFound | Cause::NotExecutable);
        let was = told.cause;
        told.cause = words.cause.filter(|_| refines).unwrap_or(was);
        let said = words.clause();
        told.what = match (was, told.cause) {
            // Said by the runtime's own process, which was to become the program.
            (_, Cause::ExecFormat | Cause::StartError) => format!("could not be started: {said}"),
            (Cause::Segfault, Cause::Aborted) => format!("{ABORTED_AS_FIRST}; its last words: {said}"),
            _ => format!("{}; its last words: {said}", told.what),
        };
        let (source, where_) = match by {
            LastWordsIn::Log => (EvidenceSource::ContainerLog, "the end of its log"),
            LastWordsIn::TerminationMessage => (EvidenceSource::PodStatus, "its termination message"),
        };
        told.evidence.push(Evidence {
            source,
            time: self.ended.wall,
            what: format!("{where_} shows {said}"),
            supports: true,
            how_matched: "pod uid, container and attempt".into(),
        });
    }

    /// `OOMKilled`, and a SIGKILL, are held against the kernel's own log.
    fn weigh_oom_claim(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let state = &self.termination.state;
        let claims = claims_oom(state);
        let killed = state.exit_code == 128 + 9;
        let lived_on = witnesses.kill.map(|kill| self.ended.boot.seconds_since(kill.at));
        let soon = lived_on.filter(|seconds| *seconds <= SOON_AFTER_KILL_SECONDS && !self.honoured_sigterm());
        if let Some(seconds) = soon {
            told.what = format!("{}, {} after the kernel had killed a child of it", told.what, in_words(seconds));
        }
        if !claims && !killed {
            return;
        }
        match (lived_on, &witnesses.log_doubt) {
            (Some(seconds), _) => {
                let ago = in_words(seconds);
                let remark = format!("; but that was a child process, {ago} before, which the container survived");
                told.evidence.retain(|evidence| evidence.source != EvidenceSource::PodStatus);
                told.evidence.push(self.status_evidence(false, &remark));
                if soon.is_none() {
                    told.what = format!("{} (not for lack of memory: the kernel had killed a child of it {ago} before)", told.what);
                }
            }
            (None, Some(doubt)) => {
                told.not_found.push(format!("a kill by the kernel in this instance; the kernel's log proves nothing here: {doubt}"));
                if claims {
                    (told.cause, told.confidence) = (Cause::OomContainerLimit, Confidence::Possible);
                }
            }
            (None, None) if claims => {
                (told.cause, told.confidence, told.blame) = (Cause::Killed, Confidence::Likely, Blame::Insufficient);
                told.evidence.retain(|evidence| evidence.source != EvidenceSource::PodStatus);
                told.evidence.push(self.status_evidence(false, "; the kernel killed nothing in this instance"));
                told.what = "ended, and Kubernetes says OOMKilled, but the kernel killed nothing in it".into();
            }
            (None, None) => told.not_found.push("a kill by the kernel's OOM killer: its log is whole and has none in this instance".into()),
        }
    }

    fn is_signalled(&self) -> bool {
        matches!(self.termination.state.exit_code, 132 | 134 | 135 | 136 | 139)
    }
}

/// Whether a status says that the kernel killed for memory.
fn claims_oom(state: &TerminatedState) -> bool {
    state.reason.as_deref() == Some("OOMKilled") || claims_init_oom(state)
}

/// runc's words when the container's first process did not survive its start (libcontainer/process_linux.go).
fn claims_init_oom(state: &TerminatedState) -> bool {
    state.message.as_deref().is_some_and(|message| message.contains("container init was OOM-killed"))
}

fn said(state: &TerminatedState) -> String {
    match &state.reason {
        Some(reason) => format!("{reason}, exit code {}", state.exit_code),
        None => format!("exit code {}", state.exit_code),
    }
}

/// The command that shows what the container wrote before it ended, where that may tell more.
pub fn log_command(cause: Cause, subject: &Subject) -> Option<String> {
    let tells = matches!(cause, Cause::AppError | Cause::AppPanic | Cause::Aborted);
    let (namespace, pod, container) = (subject.namespace.as_ref()?, subject.pod.as_ref()?, subject.container.as_ref()?);
    // A job's pods are not restarted: their only log is the one that counts.
    let previous = if matches!(subject.workload_kind.as_deref(), Some("Job" | "CronJob")) { "" } else { " --previous" };
    tells.then(|| format!("kubectl logs --namespace {namespace} {pod} --container {container}{previous}"))
}

pub(super) fn actions(cause: Cause) -> Vec<String> {
    let action = match cause {
        Cause::Segfault | Cause::BusError => "Look for a recent change of the program or its libraries; a core dump tells where.",
        Cause::IllegalInstruction => "Compare the CPU of this node with one where it runs; the program may be built for a newer one.",
        Cause::CommandNotFound | Cause::NotExecutable | Cause::StartError => "Compare the command of the pod with what the image holds.",
        Cause::ExecFormat => "Build the image for this node's architecture, or select nodes of the other one.",
        Cause::LivenessProbe => "Look at what the probe asks and how long it may take; a slow answer under load looks like death.",
        Cause::StartupProbe => "Give the startup probe more time (failureThreshold), or find out what the start waits for.",
        Cause::Completed => "Use a Job, or a restartPolicy that fits a program that ends.",
        Cause::SlowShutdown => "Let the program handle SIGTERM, or give it a longer terminationGracePeriodSeconds.",
        Cause::Killed => "Look for who sent SIGKILL: an operator, a probe, a debugger; the kubelet's log at -v=2 names its own kills.",
        _ => return Vec::new(),
    };
    vec![action.into()]
}
