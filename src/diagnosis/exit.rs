//! What a container's end means: from its exit code, its reason and its message, and from what else
//! is known of it.
//!
//! Flows in: a terminated state and its pod. Flows out: an [`Exit`]. Does not know the kernel's log:
//! whether a SIGKILL was the OOM killer's is decided by who holds that evidence.

use super::{eviction::PodEnd, probe_count::ProbeRules};
use crate::{
    model::{Blame, Cause, Confidence, Scope},
    signal::{ContainerKind, ContainerRecord, PodRecord, RestartPolicy, TerminatedState},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The meaning of one end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Why, as far as the status says.
    pub cause: Cause,
    /// How sure.
    pub confidence: Confidence,
    /// Where.
    pub scope: Scope,
    /// Whose fault.
    pub blame: Blame,
    /// What happened, as a clause that follows "the container".
    pub what: String,
    /// Whether it is a crash: worth a finding and counted as one.
    pub crash: bool,
}

/// An exit status above this is 128 plus the number of the signal that ended the process.
const SIGNALLED: i32 = 128;

impl Exit {
    /// Reads an end. `now` bounds what a deletion can explain; `booted` is when the node started.
    pub fn of(pod: &PodRecord, container: &ContainerRecord, state: &TerminatedState, booted: Option<Timestamp>) -> Self {
        let reason = state.reason.as_deref().unwrap_or_default();
        pod_level(pod)
            .or_else(|| synthetic(state, reason, booted))
            .or_else(|| stopped(pod, container, state))
            .or_else(|| not_started(state, reason))
            .unwrap_or_else(|| by_code(pod, container, state))
    }

    /// What the whole pod's end makes of its containers' ends, if it has such an end.
    pub fn of_pod(pod: &PodRecord) -> Option<Self> {
        pod_level(pod)
    }

    /// What the whole pod's end makes of its containers' ends.
    pub fn of_end(end: PodEnd) -> Self {
        let PodEnd { cause, confidence, scope, blame, what, .. } = end;
        Self { scope, crash: false, ..Self::crash(cause, confidence, blame, format!("ended with its pod, which {what}")) }
    }

    fn crash(cause: Cause, confidence: Confidence, blame: Blame, what: impl Into<String>) -> Self {
        Self { cause, confidence, scope: Scope::Container, blame, what: what.into(), crash: true }
    }

    fn ordinary(cause: Cause, what: impl Into<String>) -> Self {
        Self { crash: false, ..Self::crash(cause, Confidence::Proven, Blame::Workload, what) }
    }
}

/// Ends that the whole pod explains. An eviction is one occurrence of the pod, told with the pod; that
/// the kubelet's own kill then ends its containers is no crash of theirs.
fn pod_level(pod: &PodRecord) -> Option<Exit> {
    if let Some(end) = PodEnd::of(pod) {
        return Some(Exit::of_end(end));
    }
    matches!(pod.reason.as_deref()?, "Terminated" | "NodeShutdown")
        .then(|| Exit::ordinary(Cause::Stopped, "was stopped because the node shuts down"))
}

/// Statuses that the kubelet or the runtime makes up when it cannot know.
fn synthetic(state: &TerminatedState, reason: &str, booted: Option<Timestamp>) -> Option<Exit> {
    match reason {
        "ContainerStatusUnknown" | "RestartingAllContainers" => Some(Exit {
            crash: false,
            ..Exit::crash(
                Cause::RuntimeRestarted,
                Confidence::Possible,
                Blame::Insufficient,
                "was lost from sight; its exit code is made up by the kubelet",
            )
        }),
        "Unknown" if state.exit_code == 255 => {
            let before_boot = matches!((state.started, booted), (Some(started), Some(booted)) if started < booted);
            let (cause, what) = if before_boot {
                (Cause::NodeRebooted, "ended because the node was restarted")
            } else {
                (Cause::RuntimeRestarted, "was lost by the container runtime, which knows no exit code")
            };
            Some(Exit { scope: Scope::Node, crash: false, ..Exit::crash(cause, Confidence::Likely, Blame::Node, what) })
        }
        _ => None,
    }
}

/// An end that was asked for: the pod was being deleted.
fn stopped(pod: &PodRecord, container: &ContainerRecord, state: &TerminatedState) -> Option<Exit> {
    let deletion = pod.deletion?;
    let grace = i64::try_from(pod.grace_seconds.unwrap_or(30)).unwrap_or(30);
    // `deletionTimestamp` is the end of the grace period; statuses have whole seconds.
    let asked = deletion.checked_sub(SignedDuration::from_secs(grace.saturating_add(1))).ok()?;
    if state.finished.is_some_and(|finished| finished < asked) {
        return None;
    }
    let expected_last = container.kind == ContainerKind::Sidecar;
    if state.exit_code == SIGNALLED + 9 && !expected_last {
        let what = format!("did not stop within its grace period of {grace} s and was killed");
        return Some(Exit::crash(Cause::SlowShutdown, Confidence::Likely, Blame::Workload, what));
    }
    Some(Exit::ordinary(Cause::Stopped, "was stopped because its pod was deleted"))
}

/// The runtime could not start it (containerd: exit code 128, reason `StartError`).
fn not_started(state: &TerminatedState, reason: &str) -> Option<Exit> {
    if !matches!(reason, "StartError" | "ContainerCannotRun") {
        return None;
    }
    let message = state.message.as_deref().unwrap_or("the runtime gives no reason");
    let cause = if message.contains("exec format error") { Cause::ExecFormat } else { Cause::StartError };
    Some(Exit::crash(cause, Confidence::Proven, Blame::Workload, format!("could not be started: {}", essence(message))))
}

/// The part of a runtime's message that people need: what follows its own chain of functions.
fn essence(message: &str) -> &str {
    const CHAIN: [&str; 3] = ["error during container init: ", "unable to start container process: ", "runc create failed: "];
    let tail = CHAIN.iter().find_map(|link| message.split_once(link)).map_or(message, |(_, rest)| rest);
    tail.trim_end_matches(": unknown").trim()
}

fn by_code(pod: &PodRecord, container: &ContainerRecord, state: &TerminatedState) -> Exit {
    let workload = |cause, confidence, what: String| Exit::crash(cause, confidence, Blame::Workload, what);
    match state.exit_code {
        0 => completed(pod, container, state),
        126 => workload(Cause::NotExecutable, Confidence::Likely, "ended with status 126: its command may not be executed".into()),
        127 => workload(
            Cause::CommandNotFound,
            Confidence::Likely,
            "ended with status 127: its command, or one that it calls, does not exist in the image".into(),
        ),
        132 => workload(
            Cause::IllegalInstruction,
            Confidence::Likely,
            "was ended by SIGILL: an instruction that this CPU does not have".into(),
        ),
        134 => workload(Cause::Aborted, Confidence::Likely, "aborted itself (SIGABRT)".into()),
        135 => workload(Cause::BusError, Confidence::Likely, "was ended by SIGBUS: a memory access that could not be served".into()),
        136 => workload(Cause::AppError, Confidence::Likely, "was ended by SIGFPE: most often a division by zero".into()),
        137 => killed(pod, container, state),
        139 => workload(Cause::Segfault, Confidence::Likely, "was ended by SIGSEGV: an access to memory that it may not use".into()),
        143 => asked_to_stop(pod, container, state),
        159 => workload(Cause::AppError, Confidence::Likely, "was ended by SIGSYS: a system call that its seccomp profile forbids".into()),
        code => workload(Cause::AppError, Confidence::Likely, format!("ended itself with status {code}")),
    }
}

fn completed(pod: &PodRecord, container: &ContainerRecord, state: &TerminatedState) -> Exit {
    if container.kind == ContainerKind::Init && state.reason.as_deref() == Some("OOMKilled") {
        // The kubelet's own rule (pkg/kubelet/kuberuntime/kuberuntime_container.go, `isInitContainerFailed`).
        let what = "ended with status 0, but Kubernetes says OOMKilled, for which the kubelet takes an init container for failed";
        return Exit::crash(Cause::OomChildProcess, Confidence::Possible, Blame::Workload, what);
    }
    let runs_on = match container.kind {
        ContainerKind::Sidecar => true,
        ContainerKind::App => pod.restart_policy == RestartPolicy::Always,
        ContainerKind::Init | ContainerKind::Ephemeral => false,
    };
    if !runs_on {
        return Exit::ordinary(Cause::Completed, "ended with status 0");
    }
    let what = "ended with status 0 although it should have kept running";
    match probe(pod, container, state) {
        // So ends a program that handles SIGTERM when a probe's failure stops it.
        Some((_, probe)) => {
            let what = format!("{what}; that its {probe} probe failed and the kubelet stopped it cannot be told from that");
            Exit::crash(Cause::Completed, Confidence::Likely, Blame::Insufficient, what)
        }
        None => Exit::crash(Cause::Completed, Confidence::Proven, Blame::Workload, what),
    }
}

/// SIGKILL. A probe's kill looks like this when the program ignores SIGTERM.
fn killed(pod: &PodRecord, container: &ContainerRecord, state: &TerminatedState) -> Exit {
    if state.reason.as_deref() == Some("OOMKilled") {
        let what = "was killed (SIGKILL); Kubernetes says OOMKilled";
        return Exit::crash(Cause::OomContainerLimit, Confidence::Possible, Blame::Workload, what);
    }
    match probe(pod, container, state) {
        Some((cause, probe)) => {
            let what = format!(
                "was killed (SIGKILL) and its pod was not being deleted; it has a {probe} probe, whose failure is the usual reason"
            );
            Exit::crash(cause, Confidence::Likely, Blame::Insufficient, what)
        }
        None => Exit::crash(Cause::Killed, Confidence::Likely, Blame::Insufficient, "was killed (SIGKILL) by something outside of it"),
    }
}

/// SIGTERM without a deletion.
fn asked_to_stop(pod: &PodRecord, container: &ContainerRecord, state: &TerminatedState) -> Exit {
    match probe(pod, container, state) {
        Some((cause, probe)) => {
            let what = format!(
                "was asked to stop (SIGTERM) although its pod was not being deleted; it has a {probe} probe, whose failure is the usual reason"
            );
            Exit::crash(cause, Confidence::Likely, Blame::Insufficient, what)
        }
        None => Exit::crash(
            Cause::Killed,
            Confidence::Likely,
            Blame::Insufficient,
            "was ended by SIGTERM although its pod was not being deleted",
        ),
    }
}

/// The probe whose failure would have ended it: until the startup probe has succeeded, only that one runs.
fn probe(pod: &PodRecord, container: &ContainerRecord, state: &TerminatedState) -> Option<(Cause, &'static str)> {
    let lived = state.started.zip(state.finished).map(|(started, finished)| finished.duration_since(started));
    if container.startup_probe && ProbeRules::of(container, pod.grace_seconds).may_end_a_start_of(lived) {
        Some((Cause::StartupProbe, "startup"))
    } else {
        container.liveness_probe.then_some((Cause::LivenessProbe, "liveness"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::ProbeRule;

    /// A SIGKILL after so many seconds, of a container whose start may take 5 s, three failures a second apart and 10 s to stop.
    fn killed_after(seconds: i64, liveness_probe: bool) -> Cause {
        let rule = ProbeRule { delay_seconds: 5, period_seconds: 1, timeout_seconds: 1, failure_threshold: 3 };
        let container = ContainerRecord { startup_probe: true, startup_rule: Some(rule), liveness_probe, ..ContainerRecord::default() };
        let pod = PodRecord { grace_seconds: Some(10), ..PodRecord::default() };
        let second = |second| Timestamp::from_second(second).ok();
        let state = TerminatedState { exit_code: 137, started: second(0), finished: second(seconds), ..TerminatedState::default() };
        Exit::of(&pod, &container, &state, None).cause
    }

    #[test]
    fn a_startup_probe_is_suspected_only_as_long_as_a_start_may_take() {
        assert_eq!(killed_after(8, true), Cause::StartupProbe);
        assert_eq!(killed_after(22, true), Cause::StartupProbe, "with the time to stop and some for whole seconds");
        assert_eq!(killed_after(23, true), Cause::LivenessProbe);
        assert_eq!(killed_after(3600, false), Cause::Killed);
    }
}
