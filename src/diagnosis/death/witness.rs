//! What is remembered of a container instance until its end is explained, and is then held against it.

use crate::{
    diagnosis::{probe_count::ProbeCountRise, starvation::Starvation},
    findings::{Evidence, EvidenceSource, Topic},
    model::{BootTime, Bytes, Cause, ContainerId, Moment, PodUid},
    parse::container_log::LastWords,
};
use serde::{Deserialize, Serialize};

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
    pub topic: Topic,
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
