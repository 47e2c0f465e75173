//! What a source says of itself: whether it can be read, why not, and what it lost.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The places that the agent reads. Also the `source` label of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    /// The kernel's log, by whichever transport was chosen.
    KernelLog,
    /// The kubelet's log, from the journal or a file.
    KubeletLog,
    /// cgroup files.
    Cgroups,
    /// `/proc/<pid>` of the containers' processes.
    Processes,
    /// Node-wide figures of `/proc`.
    NodeMemory,
    /// Disks and what is mounted from them.
    Mounts,
    /// Pods of this node, from the API server.
    Pods,
    /// Pods of this node, from `/var/log/pods`.
    PodLogs,
    /// Filesystems of the kubelet and the runtime, and the kubelet's thresholds.
    Disks,
    /// The kubelet's HTTP API.
    KubeletApi,
    /// etcd's log, on a node of the control plane.
    EtcdLog,
}

impl SourceName {
    /// Every source.
    pub const ALL: &'static [Self] = &[
        Self::KernelLog,
        Self::KubeletLog,
        Self::Cgroups,
        Self::Processes,
        Self::NodeMemory,
        Self::Mounts,
        Self::Pods,
        Self::PodLogs,
        Self::Disks,
        Self::KubeletApi,
        Self::EtcdLog,
    ];

    /// The word used in JSON, labels and documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KernelLog => "kernel_log",
            Self::KubeletLog => "kubelet_log",
            Self::Cgroups => "cgroups",
            Self::Processes => "processes",
            Self::NodeMemory => "node_memory",
            Self::Mounts => "mounts",
            Self::Pods => "pods",
            Self::PodLogs => "pod_logs",
            Self::Disks => "disks",
            Self::KubeletApi => "kubelet_api",
            Self::EtcdLog => "etcd_log",
        }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether a source can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// It works.
    Up,
    /// It does not exist on this node.
    Absent,
    /// It exists and may not be read.
    Unreadable,
    /// It can be read but has said nothing for longer than is normal.
    Stale,
    /// Reading fails in a way that is neither absence nor a missing right.
    Failing,
}

impl SourceState {
    /// The word used in JSON and in sentences.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Absent => "absent",
            Self::Unreadable => "unreadable",
            Self::Stale => "stale",
            Self::Failing => "failing",
        }
    }
}

/// A source's own condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Which source.
    pub source: SourceName,
    /// Its state.
    pub state: SourceState,
    /// What it reads and how, or why it cannot: one clause that a person can act on, such as
    /// `/dev/kmsg: operation not permitted; grant CAP_SYSLOG or choose --kernel-log journal`.
    pub detail: String,
}

/// Records that a source knows it lost, where their number does not follow from positions.
///
/// The loss of `/dev/kmsg` is not told this way: the core counts it from the sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Which source.
    pub source: SourceName,
    /// How many records, where known.
    pub lost: Option<u64>,
    /// Why, in a clause.
    pub detail: String,
}
