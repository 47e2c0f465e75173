//! Pods of this node, slimmed to what explaining their deaths needs.
//!
//! A whole Pod object costs ten times its 20 kB of text in memory, one of these records about 1 kB.

use super::ProbeRule;
use crate::model::{Bytes, PodUid};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A change in what is known of this node's pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodUpdate {
    /// The whole list, after a start or a gap of the watch: what is not in it is gone.
    Listed(PodSnapshot),
    /// One pod as it is now, also with its last status at its deletion (`deleted`).
    Changed {
        /// The pod.
        pod: Box<PodRecord>,
        /// Whether this is the object of a DELETED event.
        deleted: bool,
    },
    /// A pod known only by its log directory: `/var/log/pods/<namespace>_<name>_<uid>/<container>/<attempt>.log`.
    Directory {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// The uid in the directory's name; for a static pod the hash of its manifest.
        uid: PodUid,
        /// Its containers and the highest attempt whose log exists.
        containers: Vec<(String, u32)>,
        /// Whether the directory was being followed before: what is new in it began since the last look.
        #[serde(default)]
        followed: bool,
    },
    /// The log directory of a pod is gone: the kubelet has removed what was left of it.
    DirectoryGone {
        /// The uid in the directory's name.
        uid: PodUid,
    },
}

/// Every pod of this node at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodSnapshot {
    /// The pods.
    pub pods: Vec<PodRecord>,
}

/// One pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodRecord {
    /// `metadata.uid` as the API server gives it (for a mirror pod, the mirror's own).
    pub uid: String,
    /// Annotation `kubernetes.io/config.hash` or `config.mirror`: the uid that the kubelet uses for a static pod.
    pub static_hash: Option<String>,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The controller that owns it.
    pub owner: Option<Owner>,
    /// Label `pod-template-hash`: strips a ReplicaSet's name to its Deployment's.
    pub template_hash: Option<String>,
    /// `status.phase`.
    pub phase: Option<String>,
    /// `status.reason`, such as `Evicted`.
    pub reason: Option<String>,
    /// `status.message`.
    pub message: Option<String>,
    /// `status.qosClass`.
    pub qos: Option<String>,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`, or the one of the deletion.
    pub grace_seconds: Option<u64>,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: the end of the grace period.
    pub deletion: Option<Timestamp>,
    /// Its containers of every kind, in the order of the spec.
    pub containers: Vec<ContainerRecord>,
    /// Pod-level memory limit (`spec.resources`, Kubernetes 1.32 and later).
    pub memory_limit: Option<Bytes>,
}

/// The controller of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Its kind, such as `ReplicaSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// `spec.restartPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Restart on every end.
    #[default]
    Always,
    /// Restart on failure.
    OnFailure,
    /// Never restart.
    Never,
}

/// The list of the spec in which a container stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerKind {
    /// `initContainers`, run to completion before the others.
    Init,
    /// `initContainers` with `restartPolicy: Always`.
    Sidecar,
    /// `containers`.
    #[default]
    App,
    /// `ephemeralContainers`.
    Ephemeral,
}

/// One container of a pod: its spec and its status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerRecord {
    /// Name.
    pub name: String,
    /// Which list of the spec.
    pub kind: ContainerKind,
    /// Image as the spec names it.
    pub image: String,
    /// `resources.limits.memory`.
    pub memory_limit: Option<Bytes>,
    /// `resources.requests.memory`.
    pub memory_request: Option<Bytes>,
    /// Whether it has a liveness probe.
    pub liveness_probe: bool,
    /// Whether it has a startup probe.
    pub startup_probe: bool,
    /// When its liveness probe ends it; `None` without one, and in recordings of agents that did not look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_rule: Option<ProbeRule>,
    /// The same of its startup probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_rule: Option<ProbeRule>,
    /// `status.containerID`, with the runtime's prefix; of the newest instance.
    pub container_id: Option<String>,
    /// `status.restartCount`: the attempt number of the newest instance.
    pub restart_count: Option<u32>,
    /// `status.state`.
    pub state: Option<ContainerState>,
    /// `status.lastState.terminated`.
    pub last: Option<TerminatedState>,
}

/// `status.state` of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Running since.
    Running {
        /// `startedAt`.
        started: Option<Timestamp>,
    },
    /// Not running, and why.
    Waiting(WaitingState),
    /// Ended.
    Terminated(TerminatedState),
}

/// `state.waiting`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitingState {
    /// Such as `CrashLoopBackOff` or `ErrImagePull`.
    pub reason: Option<String>,
    /// The kubelet's message.
    pub message: Option<String>,
}

/// `state.terminated`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TerminatedState {
    /// `exitCode`.
    pub exit_code: i32,
    /// Such as `OOMKilled`, `Error`, `Completed`.
    pub reason: Option<String>,
    /// The runtime's message and the termination message.
    pub message: Option<String>,
    /// `startedAt`.
    pub started: Option<Timestamp>,
    /// `finishedAt`.
    pub finished: Option<Timestamp>,
    /// `containerID`, with the runtime's prefix.
    pub container_id: Option<String>,
}
