//! Explains the end of a container instance from everything that was seen around it.
//!
//! Flows in: the end as the pod's status tells it, and the witnesses that were joined to it. Flows
//! out: a [`DeathExplanation`]. Reconciles: where kernel, kubelet and pod status disagree, it says so.

mod correlation;
mod kubelet;
mod witness;

pub use correlation::Correlation;
pub use witness::{DeathWord, DeathWordKind, FaultNote, KillNote, ProbeKill, Witnesses};

use super::{exit::Exit, oom::follows, probe_count::ProbeRules, termination::Termination};
use crate::{
    findings::{Evidence, EvidenceSource, Subject},
    model::{Attribution, Blame, Cause, Confidence, ContainerId, Moment, PodUid, Scope, in_words},
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

    /// Whether something outside of it may have ended it: it was asked to stop, or killed.
    pub fn came_from_outside(&self) -> bool {
        matches!(self.termination.state.exit_code, 0 | 137 | 143) && self.exit.cause != Cause::Stopped
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
