//! A signal: one raw thing that the node said.
//!
//! Flows in: nothing. Flows out: the only language between the sources and the core. Signals hold
//! what was read, as text or as numbers, with the moment of reading; what it *means* is decided by
//! the core, so that a parser's mistake in the field can be repeated from a recording. The
//! JSON form of these types is the recording format; its version is [`VERSION`].

mod container_log;
mod etcd;
mod kernel;
mod kubelet;
mod kubelet_api;
mod memory;
mod mounts;
mod pods;
mod room;
mod source;

pub use container_log::ContainerLogTail;
pub use etcd::EtcdLine;
pub use kernel::KernelLine;
pub use kubelet::{FilePosition, KubeletLine, KubeletOrigin, KubeletPosition};
pub use kubelet_api::{CountedProbe, KubeletConfiguration, ProbeCount, ProbeCounts, ProbeRule};
pub use memory::{
    CgroupCounters, CgroupSample, CpuThrottling, MemoryEvents, MemorySplit, NodeSample, PidsUse, Pressure, ProcessSample, ProcessesSample,
};
pub use mounts::{BlockDevice, ContainerMounts, DeviceNumber, Mount, MountTable};
pub use pods::{
    ContainerKind, ContainerRecord, ContainerState, Owner, PodRecord, PodSnapshot, PodUpdate, RestartPolicy, TerminatedState, WaitingState,
};
pub use room::{
    DiskUse, EvictionLayer, EvictionSettings, FilesystemSample, LayerKind, MemoryRoom, PidRoom, PodStorage, PodStorageSample, RoomSample,
};
pub use source::{Gap, SourceName, SourceReport, SourceState};

use crate::model::{BootId, Moment};
use serde::{Deserialize, Serialize};

/// Version of the signals' JSON form. A recording of another version is refused.
pub const VERSION: u32 = 1;

/// One raw thing that the node said, and when it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// The moment of reading, both clocks together.
    pub at: Moment,
    /// What was read.
    pub body: Body,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The facts of this node and boot: the first signal of every run.
    Node(NodeFacts),
    /// A source's own condition changed, or its regular report.
    Source(SourceReport),
    /// A source lost records.
    Gap(Gap),
    /// A record of the kernel's log.
    Kernel(KernelLine),
    /// A line of the kubelet's log, or of PID 1 about the kubelet's unit.
    Kubelet(KubeletLine),
    /// The memory, CPU and pids figures of one cgroup.
    Cgroup(Box<CgroupSample>),
    /// A cgroup is gone; its last known counters are all there is.
    CgroupGone {
        /// Its path below the hierarchy's root.
        path: String,
    },
    /// The processes of one container's cgroup.
    Processes(ProcessesSample),
    /// Figures of the whole node.
    NodeMemory(NodeSample),
    /// The disks and the host's mounts on them changed.
    Mounts(MountTable),
    /// What a new container has mounted.
    ContainerMounts(ContainerMounts),
    /// What is known of the pods of this node changed.
    Pods(PodUpdate),
    /// The end of a dead container's log.
    ContainerLog(ContainerLogTail),
    /// What is left of disks, inodes, process ids and memory.
    Room(RoomSample),
    /// How the kubelet is configured to evict.
    EvictionSettings(EvictionSettings),
    /// What pods have on the disks.
    PodStorage(PodStorageSample),
    /// The kubelet's own answer to how it is configured.
    KubeletConfiguration(KubeletConfiguration),
    /// How often probes have failed, as the kubelet counts.
    ProbeCounts(ProbeCounts),
    /// A line of etcd's log.
    Etcd(EtcdLine),
    /// Time passed and nothing else happened.
    Tick,
}

/// Facts that hold for one run of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// The node's name, as Kubernetes knows it, else the host's name.
    pub node: String,
    /// This boot of the machine.
    pub boot_id: BootId,
    /// `uname -r`.
    pub kernel: String,
    /// The hierarchy in which memory is accounted.
    pub cgroups: CgroupVersion,
    /// Bytes in a memory page.
    pub page_size: u64,
    /// Clock ticks in a second (`sysconf(_SC_CLK_TCK)`): the unit of process start times.
    pub ticks_per_second: u64,
    /// Total memory of the machine.
    pub memory_total: Option<crate::model::Bytes>,
    /// Version of the agent that read the signals.
    pub agent: String,
}

/// The cgroup hierarchy that accounts memory on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupVersion {
    /// `memory` as a v1 hierarchy, also in hybrid mode.
    V1,
    /// The unified hierarchy.
    V2,
    /// No memory controller was found.
    Absent,
}
