//! What the core knows at one moment, for exporters to read.
//!
//! Flows in: the core's state. Flows out: plain values; an exporter holds no reference into the core.

use super::RecentKill;
use crate::{
    diagnosis::death::Correlation,
    findings::Finding,
    model::{Bytes, Cause, EvictionSignal, FilesystemRole, Limit, Moment, Resource, Scope},
    parse::kernel_problem::ProblemClass,
    signal::{CpuThrottling, MemorySplit, NodeFacts, PidsUse, Pressure, SourceName, SourceState},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The state of everything at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The facts of this node; `None` before the first signal.
    pub facts: Option<NodeFacts>,
    /// The moment of the latest signal.
    pub at: Option<Moment>,
    /// Findings, open ones first, the latest first.
    pub findings: Vec<Finding>,
    /// The health of each source.
    pub sources: Vec<SourceHealth>,
    /// Counters of this boot; they survive restarts of the agent.
    pub counters: Counters,
    /// Living containers of this node.
    pub containers: Vec<ContainerFigures>,
    /// How long tasks of the node have waited since it booted; empty where the kernel does not account it.
    pub pressure: Vec<(Resource, Pressure)>,
    /// Workloads with pods on this node.
    pub workloads: Vec<WorkloadFigures>,
    /// What is left of what the kubelet evicts pods for.
    pub room: RoomFigures,
    /// OOM kills that `/proc/vmstat` counts and nothing explains; `None` where the kernel does not count.
    pub unexplained_oom_kills: Option<u64>,
    /// The kubelet's version, where it has said it.
    pub kubelet_version: Option<String>,
    /// The highest `-v` whose lines were seen of the kubelet; `None` before its first line.
    pub kubelet_verbosity: Option<u8>,
    /// Containers in which the kernel killed in the last hour.
    pub recent_kills: Vec<RecentKill>,
    /// How full each bounded store is.
    pub fill: Vec<Fill>,
}

/// The health of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceHealth {
    /// Which source.
    pub source: SourceName,
    /// Its state.
    pub state: SourceState,
    /// What it reads and how, or why it cannot.
    pub detail: String,
    /// Records or samples read.
    pub records: u64,
    /// Records lost.
    pub lost: u64,
    /// The latest loss, in words; `None` when nothing was lost.
    pub last_loss: Option<Loss>,
    /// When the latest record was read.
    pub last_record: Option<Timestamp>,
}

/// Records that a source lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// When it was noticed.
    pub at: Timestamp,
    /// How many records, at least.
    pub records: u64,
    /// Why, in a clause.
    pub why: String,
}

/// Everything that is counted. A key that may happen is there from the beginning, with zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// OOM kills by cause and scope: one for each event, however many processes a group kill took.
    pub oom_kills: Vec<(Cause, Scope, u64)>,
    /// OOM kills by workload and container.
    pub workload_oom_kills: BTreeMap<ContainerKey, BTreeMap<Cause, u64>>,
    /// OOM kills of a service outside of pods, or of a host process, by unit (a closed set, else `other`).
    pub host_oom_kills: BTreeMap<String, u64>,
    /// Ends of container instances by workload, container and cause.
    pub terminations: BTreeMap<ContainerKey, BTreeMap<Cause, u64>>,
    /// Crashes by how well their witnesses agree.
    pub correlations: BTreeMap<Correlation, u64>,
    /// Of the ends, those that the attempt number or the log directory proves and no status described in
    /// time; their cause is `unknown`.
    pub terminations_unobserved: u64,
    /// Times a container's attempt number went backwards.
    pub restart_counter_resets: u64,
    /// Pods evicted, by cause.
    pub evictions: BTreeMap<Cause, u64>,
    /// Findings opened by cause.
    pub findings_opened: BTreeMap<Cause, u64>,
    /// Kernel-looking records that user space wrote (facility other than 0).
    pub spoofed_records: u64,
    /// Kernel log records that could not be decoded.
    pub malformed_records: u64,
    /// OOM dumps that the kernel's rate limit suppressed.
    pub dumps_suppressed: u64,
    /// OOM killer runs that killed nothing: no process could be killed, or the victim was about to exit.
    pub oom_without_kill: u64,
    /// OOM kills that could not be joined to a container, by why.
    pub unattributed: BTreeMap<String, u64>,
    /// OOM kills of pods that another kubelet on this kernel runs.
    pub foreign_oom_kills: u64,
    /// Kills that the kernel's log and the counters both told.
    pub kills_both_saw: u64,
    /// Kills that only the kernel's log told.
    pub kills_only_log: u64,
    /// Kills that only a cgroup's counter told.
    pub kills_only_counter: u64,
    /// Starts of the kubelet after another life of it had been seen.
    pub kubelet_restarts: u64,
    /// Problems that the kernel reported, by class.
    pub kernel_problems: BTreeMap<ProblemClass, u64>,
    /// Problems that the kernel reported of a disk or the filesystem on it, by device (bounded, else `other`).
    pub storage_errors: BTreeMap<String, u64>,
    /// Ends and kills counted without their workload, because there were too many series.
    pub series_overflow: u64,
}

/// The labels of a per-container counter: no pod name, so that they outlive pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContainerKey {
    /// Namespace, empty where not known.
    pub namespace: String,
    /// Kind of the workload, empty where not known.
    pub workload_kind: String,
    /// Name of the workload, empty where not known.
    pub workload: String,
    /// Name of the container, empty where not known.
    pub container: String,
}

/// As a JSON object's key: the four labels, none of which can hold a slash, joined by slashes.
impl From<ContainerKey> for String {
    fn from(key: ContainerKey) -> Self {
        [key.namespace, key.workload_kind, key.workload, key.container].join("/")
    }
}

impl TryFrom<String> for ContainerKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [namespace, kind, workload, container] => Ok(Self {
                namespace: (*namespace).into(),
                workload_kind: (*kind).into(),
                workload: (*workload).into(),
                container: (*container).into(),
            }),
            _ => Err(format!("`{text}` is not namespace/kind/workload/container")),
        }
    }
}

/// The memory, CPU and pids of one living container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerFigures {
    /// Namespace, empty where not known.
    pub namespace: String,
    /// Pod, its uid where the name is not known.
    pub pod: String,
    /// Container, its id's first digits where the name is not known.
    pub container: String,
    /// The limit that holds it: its own, else its pod's.
    pub limit: Option<Limit>,
    /// Charge of its cgroup.
    pub usage: Option<Bytes>,
    /// Highest charge.
    pub peak: Option<Bytes>,
    /// What the charge consists of.
    pub split: Option<MemorySplit>,
    /// Swap.
    pub swap: Option<Bytes>,
    /// VmRSS of its processes together.
    pub rss: Option<Bytes>,
    /// Time in which some task waited for memory.
    pub memory_pressure: Option<Pressure>,
    /// CPU throttling.
    pub cpu: Option<CpuThrottling>,
    /// Tasks.
    pub pids: Option<PidsUse>,
}

/// The pods of one workload on this node, over the last hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadFigures {
    /// Namespace.
    pub namespace: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Pods on this node now or in the last hour.
    pub pods: u64,
    /// Of these, pods of which a container crashed in the last hour.
    pub crashed_pods: u64,
    /// Containers that are crash-looping now.
    pub crash_looping: u64,
}

/// What is left of what the kubelet evicts pods for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoomFigures {
    /// The filesystems that the kubelet watches, by what they are to it.
    pub filesystems: Vec<FilesystemFigures>,
    /// Every signal of the kubelet's eviction manager that could be looked at.
    pub signals: Vec<SignalFigures>,
    /// The pods that have the most on the disks, the largest first.
    pub pods: Vec<PodStorageFigures>,
}

/// One filesystem in one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesystemFigures {
    /// What it is to the kubelet.
    pub role: FilesystemRole,
    /// Its size.
    pub size: Bytes,
    /// What is left for programs without privileges.
    pub available: Bytes,
    /// Inodes; `None` where it has no fixed number of them.
    pub inodes: Option<u64>,
    /// Inodes left.
    pub inodes_free: Option<u64>,
}

/// One signal of the kubelet's eviction manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalFigures {
    /// Which.
    pub signal: EvictionSignal,
    /// What is left, in its own unit.
    pub available: u64,
    /// The threshold that is reached first; `None` where none is configured or it is not known.
    pub threshold: Option<u64>,
    /// The seconds until it is reached at the present rate; `None` unless it shrinks.
    pub reached_in_seconds: Option<u64>,
}

/// What one pod has on the disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodStorageFigures {
    /// Namespace, empty where not known.
    pub namespace: String,
    /// Pod, its uid where the name is not known.
    pub pod: String,
    /// Logs, `emptyDir` volumes and writable layers together.
    pub bytes: Bytes,
}

/// How full a bounded store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Which store.
    pub store: &'static str,
    /// Entries in it.
    pub used: usize,
    /// Entries it may have.
    pub capacity: usize,
}
