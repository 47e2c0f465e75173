//! Which observations are problems, and of which class: the words of the parse command's output.

use super::runtime::{is_lookup_of_gone, is_unreachable};
use super::situation::{CriCall, EvictionStep, KillReason, LeaseStep, NotReady, Observation, Situation};
use crate::model::UnitRole;
use serde::Serialize;

/// The class of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A probe failed, or killed a container.
    ProbeFailed,
    /// A container waits because it ended too often.
    CrashloopBackoff,
    /// An image could not be pulled.
    ImagePull,
    /// A container could not be configured.
    ConfigError,
    /// A volume could not be mounted or unmounted.
    VolumeMount,
    /// A sandbox or the pod network failed.
    SandboxCni,
    /// The eviction manager acted.
    Eviction,
    /// The kubelet's look at its pods does not go round.
    Pleg,
    /// The runtime does not answer.
    RuntimeDown,
    /// The node's status or registration failed.
    NodeStatusUpdateFailed,
    /// The node's lease could not be renewed.
    LeaseFailed,
    /// The images' disk is too full.
    ImageGc,
    /// The kubelet's watcher of the kernel's OOM kills.
    OomWatcher,
    /// Certificates.
    Cert,
    /// A full disk.
    DiskPressure,
    /// The kubelet ended and is started again.
    Restart,
    /// Another problem.
    Other,
}

/// A class, and which of its problems: two lines are the same problem only if both are equal.
pub type Problem = (Class, &'static str);

/// The problem that an observation tells of; `None` for good news, plans and consequences.
pub fn problem(observation: &Observation) -> Option<Problem> {
    let said = observation.said.as_str();
    Some(match &observation.situation {
        Situation::FatalStart => (Class::Restart, "kubelet"),
        Situation::WatchdogWithheld => (Class::Other, "watchdog"),
        Situation::RegistrationFailed => (Class::NodeStatusUpdateFailed, "registration"),
        Situation::NodeStatusFailed { gave_up: false } => (Class::NodeStatusUpdateFailed, "try"),
        Situation::NodeStatusFailed { gave_up: true } => (Class::NodeStatusUpdateFailed, "gave_up"),
        Situation::LeaseFailed { step: LeaseStep::Update } => (Class::LeaseFailed, "update"),
        Situation::LeaseFailed { step: LeaseStep::FallBack } => (Class::LeaseFailed, "fall_back"),
        Situation::LeaseFailed { step: LeaseStep::Ensure } => (Class::LeaseFailed, "ensure"),
        Situation::NodeEvent { event } => node_event(event)?,
        Situation::NodeNotReady { causes } | Situation::SyncBlocked { causes, .. } => not_ready(*causes)?,
        Situation::Certificate { .. } => (Class::Cert, "certificate"),
        Situation::RelistFailed => (Class::Pleg, "pleg"),
        Situation::NetworkNotReady => (Class::SandboxCni, "network"),
        Situation::CriCallFailed { call, unreachable } => cri_call(*call, *unreachable, said)?,
        Situation::EmbeddedRuntimeEnded => (Class::RuntimeDown, "runtime"),
        Situation::BackOff { .. } => (Class::CrashloopBackoff, "back_off"),
        Situation::ImagePullFailed { .. } => (Class::ImagePull, "pull"),
        Situation::ConfigError => (Class::ConfigError, "config"),
        Situation::StartFailed { .. } => (Class::Other, "start"),
        Situation::SandboxFailed if is_unreachable(said) => (Class::RuntimeDown, "runtime"),
        Situation::SandboxFailed => (Class::SandboxCni, "sandbox"),
        Situation::SyncFailed => (Class::Other, "sync"),
        Situation::VolumeFailed { .. } => (Class::VolumeMount, "volume"),
        Situation::OrphanedVolumes => (Class::VolumeMount, "orphaned"),
        Situation::AdmissionDenied { condition, .. } => match condition.as_deref() {
            Some("DiskPressure") => (Class::DiskPressure, "admission"),
            Some(_) => (Class::Eviction, "admission"),
            None => (Class::Other, "admission"),
        },
        Situation::Preempting => (Class::Other, "preemption"),
        Situation::ManifestInvalid { .. } => (Class::Other, "manifest"),
        Situation::ProbeFailed { .. } | Situation::ProbeDecision { .. } | Situation::KillReason { reason: KillReason::Probe(_) } => {
            (Class::ProbeFailed, "probe")
        }
        Situation::KillFailed => (Class::Other, "kill"),
        Situation::HookFailed => (Class::Other, "hook"),
        Situation::Eviction { step, .. } => eviction(*step)?,
        Situation::ImageGcNeeded { .. } => (Class::ImageGc, "needed"),
        Situation::ImageGcFailed { repeatedly: true } => (Class::ImageGc, "failed"),
        Situation::ContainerGcFailed => container_gc(said),
        Situation::NoSpace => (Class::DiskPressure, "no_space"),
        Situation::SystemOom { .. } | Situation::CgroupOom { .. } => (Class::OomWatcher, "oom"),
        Situation::OomWatcherStopped => (Class::OomWatcher, "stopped"),
        Situation::Unit { event, .. } if !event.is_problem() => return None,
        Situation::Unit { role, .. } => match role {
            UnitRole::Kubelet => (Class::Restart, "kubelet"),
            UnitRole::Runtime => (Class::RuntimeDown, "runtime"),
        },
        Situation::KubeletVersion { .. }
        | Situation::KubeletStarted
        | Situation::LoopSlow
        | Situation::RuntimeVersion { .. }
        | Situation::SandboxChanged
        | Situation::DevicePluginLost
        | Situation::NodeShutdown
        | Situation::OutOfDescriptors { .. }
        | Situation::KillReason { .. }
        | Situation::Killing { .. }
        | Situation::Finished { .. }
        | Situation::ImageGcFailed { repeatedly: false } => return None,
    })
}

fn node_event(event: &str) -> Option<Problem> {
    match event {
        "NodeHasDiskPressure" => Some((Class::DiskPressure, "condition")),
        "NodeHasInsufficientMemory" | "NodeHasInsufficientPID" => Some((Class::Other, "pressure")),
        // `NodeNotReady` comes with "Node became not ready", which says why.
        _ => None,
    }
}

/// The deepest of the causes: without a runtime the PLEG and the network fail as well. Having just
/// started is no problem.
fn not_ready(causes: NotReady) -> Option<Problem> {
    let NotReady { runtime_down, pleg, network, starting } = causes;
    match (runtime_down, pleg, network) {
        (true, _, _) => Some((Class::RuntimeDown, "runtime")),
        (_, true, _) => Some((Class::Pleg, "pleg")),
        (_, _, true) => Some((Class::SandboxCni, "network")),
        _ => (!starting).then_some((Class::Other, "not_ready")),
    }
}

fn cri_call(call: CriCall, unreachable: bool, said: &str) -> Option<Problem> {
    if unreachable {
        return Some((Class::RuntimeDown, "runtime"));
    }
    if is_lookup_of_gone(call, said) {
        return None;
    }
    match call {
        CriCall::RunPodSandbox => Some((Class::SandboxCni, "sandbox")),
        CriCall::StopPodSandbox => said.contains("network").then_some((Class::SandboxCni, "sandbox")),
        CriCall::CreateContainer | CriCall::StartContainer => Some((Class::Other, "start")),
        CriCall::ExecSync => Some((Class::ProbeFailed, "probe")),
        CriCall::PullImage => Some((Class::ImagePull, "pull")),
        CriCall::Survey => Some((Class::RuntimeDown, "runtime")),
        CriCall::StopContainer | CriCall::ContainerStatus => None,
    }
}

fn eviction(step: EvictionStep) -> Option<Problem> {
    match step {
        EvictionStep::Relieved => None,
        EvictionStep::Attempt => Some((Class::Eviction, "attempt")),
        EvictionStep::MustEvict | EvictionStep::Ranked => Some((Class::Eviction, "must_evict")),
        EvictionStep::Evicted => Some((Class::Eviction, "evicted")),
        EvictionStep::Critical | EvictionStep::Failed => Some((Class::Eviction, "refused")),
    }
}

fn container_gc(said: &str) -> Problem {
    if said.contains("no space left on device") {
        (Class::DiskPressure, "no_space")
    } else if is_unreachable(said) || said.contains("DeadlineExceeded") {
        (Class::RuntimeDown, "runtime")
    } else {
        (Class::Other, "container_gc")
    }
}
