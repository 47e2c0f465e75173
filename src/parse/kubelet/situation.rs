//! The closed list of what the kubelet's log can tell about a node and its containers.

use super::excerpt::Excerpt;
use super::subject::Subject;
use super::unit::UnitEvent;
use crate::model::{ServiceName, UnitRole};
use crate::parse::klog::Stamp;
use std::time::Duration;

/// One thing that the kubelet, or PID 1 about the kubelet, said.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// What happened.
    pub situation: Situation,
    /// To whom, as far as the line says.
    pub subject: Subject,
    /// The words, redacted and cut.
    pub said: Excerpt,
    /// When, as the line itself says.
    pub stamp: Option<Stamp>,
}

/// What happened. "Printed from" names the lowest `-v` of the kubelet at which the line exists.
#[derive(Debug, Clone, PartialEq)]
pub enum Situation {
    /// The kubelet names its version: a start.
    KubeletVersion {
        /// Such as `v1.30.1`.
        version: String,
    },
    /// The kubelet runs.
    KubeletStarted,
    /// The kubelet could not start and exits.
    FatalStart,
    /// The kubelet's own loop is slow.
    LoopSlow,
    /// The kubelet holds back systemd's watchdog signal because it is unhealthy (1.32 and later).
    WatchdogWithheld,
    /// The runtime names itself.
    RuntimeVersion {
        /// Such as `containerd`.
        name: Option<String>,
        /// Such as `1.7.27`.
        version: Option<String>,
    },
    /// The node could not be registered at the API server.
    RegistrationFailed,
    /// The node's status could not be written.
    NodeStatusFailed {
        /// All five tries of one update failed.
        gave_up: bool,
    },
    /// The node's lease could not be renewed.
    LeaseFailed {
        /// Which step.
        step: LeaseStep,
    },
    /// A condition of the node turned (printed from -v=2).
    NodeEvent {
        /// Such as `NodeHasDiskPressure`.
        event: String,
    },
    /// The node declares itself not ready.
    NodeNotReady {
        /// Why.
        causes: NotReady,
    },
    /// A certificate is missing, expired, refused or not trusted.
    Certificate {
        /// What of it.
        problem: CertificateProblem,
    },
    /// The kubelet starts no pods for now.
    SyncBlocked {
        /// Why.
        causes: NotReady,
        /// How long ago the PLEG last went round.
        pleg_age: Option<Duration>,
    },
    /// The PLEG could not list the pods.
    RelistFailed,
    /// The runtime's network plugin is not ready.
    NetworkNotReady,
    /// A call to the runtime failed.
    CriCallFailed {
        /// Which call.
        call: CriCall,
        /// The runtime itself did not answer, as opposed to refusing.
        unreachable: bool,
    },
    /// k3s and its kin: the embedded containerd ended.
    EmbeddedRuntimeEnded,
    /// A container waits before its next start because it ended too often.
    BackOff {
        /// How long it waits.
        delay: Option<Duration>,
    },
    /// An image could not be pulled.
    ImagePullFailed {
        /// Why.
        failure: PullFailure,
        /// This line says only that the kubelet waits before the next try.
        backing_off: bool,
        /// The image.
        image: Option<String>,
    },
    /// A container could not be configured.
    ConfigError,
    /// A container could not be created or started.
    StartFailed {
        /// The kubelet's word, such as `RunContainerError`.
        reason: String,
    },
    /// A pod's sandbox or network could not be made or unmade.
    SandboxFailed,
    /// A pod is made again in a new sandbox (printed from -v=2).
    SandboxChanged,
    /// A pod could not be synced, for a reason that has no situation of its own.
    SyncFailed,
    /// A volume could not be mounted, attached or unmounted.
    VolumeFailed {
        /// The volumes named.
        volumes: Vec<String>,
        /// The operation, such as `MountVolume.SetUp`.
        operation: Option<String>,
    },
    /// Volumes of pods that are gone are left on the disk.
    OrphanedVolumes,
    /// The kubelet refused a pod.
    AdmissionDenied {
        /// The reason, such as `OutOfcpu`.
        reason: Option<String>,
        /// The refusal is because of this node condition, such as `DiskPressure`.
        condition: Option<String>,
    },
    /// A pod was told to go for one of higher priority (printed from -v=2).
    Preempting,
    /// The manifest of a static pod could not be read.
    ManifestInvalid {
        /// The file.
        path: Option<String>,
    },
    /// A device plugin vanished.
    DevicePluginLost,
    /// The node is shutting down (printed from -v=1).
    NodeShutdown,
    /// A probe failed (printed from -v=1).
    ProbeFailed {
        /// Which probe.
        probe: Probe,
        /// The probe could not be run, which is no verdict about the container.
        errored: bool,
    },
    /// A probe failed often enough: the container will be killed (printed from -v=1).
    ProbeDecision {
        /// Which probe, where the line says.
        probe: Option<Probe>,
    },
    /// Why a container will be killed (printed from -v=2).
    KillReason {
        /// The reason.
        reason: KillReason,
    },
    /// A container is killed (printed from -v=2).
    Killing {
        /// Its grace period in seconds.
        grace_seconds: Option<i64>,
    },
    /// A container could not be killed.
    KillFailed,
    /// A lifecycle hook failed.
    HookFailed,
    /// The kubelet may open no more files, sockets or watches.
    OutOfDescriptors {
        /// What it lacks are inotify's instances, which all programs of a user share.
        inotify: bool,
    },
    /// A container or a sandbox ended (printed from -v=2).
    Finished {
        /// Its exit status.
        exit_code: i32,
    },
    /// The eviction manager acted.
    Eviction {
        /// What it did.
        step: EvictionStep,
        /// What is short.
        resource: Option<String>,
        /// The pods named, in the order of the line: for a ranking the first is the victim.
        pods: Vec<Subject>,
    },
    /// The disk of the images is over its high threshold.
    ImageGcNeeded {
        /// In per cent.
        usage: Option<u64>,
        /// In bytes.
        to_free: Option<u64>,
    },
    /// Images could not be collected.
    ImageGcFailed {
        /// More than once in a row; a single time is normal at a start.
        repeatedly: bool,
    },
    /// Dead containers could not be collected.
    ContainerGcFailed,
    /// A filesystem has no space left.
    NoSpace,
    /// The kubelet saw the kernel's OOM killer act outside of any container's limit (printed from -v=1).
    SystemOom {
        /// The victim's process.
        process: Option<String>,
        /// Its process id.
        pid: Option<u32>,
    },
    /// cAdvisor inside the kubelet saw an OOM kill in a cgroup (printed from -v=3).
    CgroupOom {
        /// The cgroup's path; `/` where cAdvisor did not understand the kernel's words.
        cgroup: String,
    },
    /// The kubelet no longer sees OOM kills.
    OomWatcherStopped,
    /// PID 1 about the kubelet's or the runtime's unit.
    Unit {
        /// The unit.
        unit: ServiceName,
        /// Whose it is.
        role: UnitRole,
        /// What happened to it.
        event: UnitEvent,
    },
}

/// A step of renewing the node's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaseStep {
    /// One renewal failed.
    Update,
    /// Five renewals failed: the kubelet reads the lease anew.
    FallBack,
    /// The lease could not be read or made.
    Ensure,
}

/// Why a node is not ready. All may hold at once; none of them means another reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct NotReady {
    /// The runtime does not answer.
    pub runtime_down: bool,
    /// The PLEG does not go round.
    pub pleg: bool,
    /// The network plugin is not ready.
    pub network: bool,
    /// The kubelet has just started and has not looked yet.
    pub starting: bool,
}

impl NotReady {
    /// Reads the sentences that `pkg/kubelet/runtime.go` and `kubelet.go` join.
    pub fn of(text: &str) -> Self {
        let has = |word| text.contains(word);
        Self {
            runtime_down: has("container runtime is down"),
            pleg: has("PLEG is not healthy") && !has("pleg has yet to be successful"),
            network: has("NetworkPluginNotReady") || has("network not ready") || has("network plugin is not ready"),
            starting: has("status check may not have completed yet")
                || has("pleg has yet to be successful")
                || has("CSINode is not yet initialized"),
        }
    }
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateProblem {
    /// The kubelet's client certificate expired.
    ClientExpired,
    /// The kubelet has no valid client certificate.
    ClientMissing,
    /// The control plane did not sign, or the result could not be stored.
    RotationFailed,
    /// The kubelet has no serving certificate, so `logs` and `exec` fail.
    NoServing,
    /// The kubelet and the API server do not accept each other: a request of the kubelet's own failed so.
    NotAccepted,
    /// A certificate was not accepted, and nothing says that it is one of the kubelet's: a client that
    /// the kubelet turns away, or what else runs inside its process on k3s and its kin.
    OfOthers,
}

/// A call of the runtime interface (`k8s.io/cri-api`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CriCall {
    /// Makes a pod's sandbox.
    RunPodSandbox,
    /// Stops or removes a sandbox.
    StopPodSandbox,
    /// Makes a container.
    CreateContainer,
    /// Starts a container.
    StartContainer,
    /// Stops or removes a container.
    StopContainer,
    /// Runs a command in a container: exec probes and hooks.
    ExecSync,
    /// Pulls an image.
    PullImage,
    /// Asks after one container or sandbox.
    ContainerStatus,
    /// Asks after all of them, or after the runtime itself.
    Survey,
}

/// Why an image could not be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PullFailure {
    /// No such repository or tag.
    NotFound,
    /// The registry wants other credentials.
    Unauthorised,
    /// TLS failed: the certificate, or plain HTTP behind it.
    Tls,
    /// No answer in time.
    Timeout,
    /// Too many requests.
    RateLimit,
    /// No space for it.
    NoSpace,
    /// No image for this machine's architecture.
    WrongPlatform,
    /// The registry's name could not be resolved.
    NameResolution,
    /// The registry does not listen or is not routed to.
    ConnectionRefused,
    /// Something else, or the line does not say.
    Other,
}

/// A kind of probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Probe {
    /// Kills the container.
    Liveness,
    /// Takes the pod out of its services.
    Readiness,
    /// Kills the container.
    Startup,
}

impl Probe {
    /// Reads the word in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Liveness, Self::Readiness, Self::Startup].into_iter().find(|probe| text.eq_ignore_ascii_case(probe.as_str()))
    }

    /// The kubelet's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
            Self::Startup => "Startup",
        }
    }
}

/// Why the kubelet kills a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KillReason {
    /// A probe failed.
    Probe(Probe),
    /// Its definition changed: someone edited the image, or a new kubelet computes another hash.
    DefinitionChanged,
    /// Something else.
    Other,
}

/// What the eviction manager did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvictionStep {
    /// A threshold is crossed: it deletes dead containers and unused images first.
    Attempt,
    /// That was enough.
    Relieved,
    /// That was not enough: a pod has to go.
    MustEvict,
    /// The order in which pods would go.
    Ranked,
    /// A pod was evicted.
    Evicted,
    /// The victim is critical, so nothing was done.
    Critical,
    /// A pod could not be evicted, or there is none to evict.
    Failed,
}

impl Situation {
    /// The lowest `-v` at which the kubelet prints it. Lines of PID 1 are always there.
    pub fn min_verbosity(&self) -> u8 {
        match self {
            Self::ProbeFailed { .. } | Self::ProbeDecision { .. } | Self::NodeShutdown | Self::SystemOom { .. } => 1,
            Self::NodeEvent { .. }
            | Self::SandboxChanged
            | Self::Preempting
            | Self::KillReason { .. }
            | Self::Killing { .. }
            | Self::Finished { .. } => 2,
            Self::CgroupOom { .. } => 3,
            _ => 0,
        }
    }
}
