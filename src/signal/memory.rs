//! Figures of cgroups, processes and the node, as read.
//!
//! Every figure is an `Option`: a file that this kernel does not have is `None`, never zero.

use crate::model::{Bytes, Limit, ProcessKey};
use serde::{Deserialize, Serialize};

/// The figures of one cgroup at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupSample {
    /// Its path below the root of the memory hierarchy, with a leading slash.
    pub path: String,
    /// `memory.current`; v1 `memory.usage_in_bytes`.
    pub usage: Option<Bytes>,
    /// `memory.max`; v1 `memory.limit_in_bytes`.
    pub limit: Option<Limit>,
    /// `memory.peak`; v1 `memory.max_usage_in_bytes`.
    pub peak: Option<Bytes>,
    /// `memory.swap.current`; on v1 `memory.memsw.usage_in_bytes` less the memory usage.
    pub swap: Option<Bytes>,
    /// What the usage consists of.
    pub split: Option<MemorySplit>,
    /// Kill and limit counters.
    pub counters: CgroupCounters,
    /// `memory.oom.group`: the kernel kills all processes of this cgroup together.
    pub group_kill: Option<bool>,
    /// `memory.pressure` (v2 only).
    pub memory_pressure: Option<Pressure>,
    /// `io.pressure` (v2 only, of pods only).
    pub io_pressure: Option<Pressure>,
    /// `cpu.pressure` (v2 only, of pods only).
    pub cpu_pressure: Option<Pressure>,
    /// `cpu.stat`.
    pub cpu: Option<CpuThrottling>,
    /// `pids.current` and `pids.max`.
    pub pids: Option<PidsUse>,
}

/// What a cgroup's memory charge consists of, from `memory.stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySplit {
    /// Anonymous memory: `anon`; v1 `total_rss`.
    pub anon: Option<Bytes>,
    /// Page cache, tmpfs included: `file`; v1 `total_cache`.
    pub file: Option<Bytes>,
    /// The part of `file` that is tmpfs or shared memory, which reclaim cannot drop: `shmem`; v1 `total_shmem`.
    pub shmem: Option<Bytes>,
    /// Kernel memory: `kernel`; v1 `memory.kmem.usage_in_bytes`.
    pub kernel: Option<Bytes>,
    /// The part of `kernel` in slabs.
    pub slab: Option<Bytes>,
    /// Page cache that can be dropped cheaply: `inactive_file`.
    pub inactive_file: Option<Bytes>,
}

/// Counters of one cgroup. They only rise while the cgroup lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupCounters {
    /// Hierarchical: this cgroup and everything below. `memory.events`; v1 has none.
    pub events: Option<MemoryEvents>,
    /// This cgroup alone: `memory.events.local`; on v1 `oom_kill` of `memory.oom_control`.
    pub local: Option<MemoryEvents>,
    /// v1 `memory.failcnt`: how often the limit was hit (reclaim, not kills).
    pub failcnt: Option<u64>,
}

/// The lines of `memory.events` (Documentation/admin-guide/cgroup-v2.rst).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryEvents {
    /// Allocations that ran into the limit.
    pub max: Option<u64>,
    /// Times the limit was reached and an allocation was about to fail.
    pub oom: Option<u64>,
    /// Processes killed by any kind of OOM killer.
    pub oom_kill: Option<u64>,
    /// Times a whole cgroup was killed.
    pub oom_group_kill: Option<u64>,
}

/// One line of a pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Share of the last ten seconds in which some task waited, in per cent.
    pub some_avg10: f64,
    /// Total time some task waited, in microseconds.
    pub some_total_us: u64,
    /// Total time all tasks waited, in microseconds.
    pub full_total_us: Option<u64>,
}

/// CPU bandwidth control of one cgroup (`cpu.stat`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuThrottling {
    /// Enforcement periods that have passed.
    pub periods: u64,
    /// Periods in which the cgroup was throttled.
    pub throttled_periods: u64,
    /// Time it was throttled, in microseconds, summed over the CPUs: it can be more than has passed.
    pub throttled_us: u64,
}

/// Tasks of one cgroup (`pids.current`, `pids.max`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidsUse {
    /// Tasks now.
    pub current: u64,
    /// The most it may have; `None` for `max`.
    pub max: Option<u64>,
    /// How often a fork was refused: `pids.events` `max`.
    pub refused: Option<u64>,
}

/// The processes of one container at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessesSample {
    /// The container's cgroup, as in [`CgroupSample::path`].
    pub cgroup: String,
    /// Its processes. A process that ended during the reading is left out.
    pub processes: Vec<ProcessSample>,
}

/// One process, from `/proc/<pid>/status`, `stat` and `oom_score_adj`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSample {
    /// Which process.
    pub key: ProcessKey,
    /// Its pid in the innermost pid namespace: 1 for a container's first process.
    pub inner_pid: Option<u32>,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// `RssAnon`.
    pub rss_anon: Option<Bytes>,
    /// `RssFile`.
    pub rss_file: Option<Bytes>,
    /// `RssShmem`.
    pub rss_shmem: Option<Bytes>,
    /// `VmSwap`.
    pub swap: Option<Bytes>,
    /// `/proc/<pid>/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
}

impl ProcessSample {
    /// `VmRSS`: the sum of its parts; `None` for a kernel thread.
    pub fn rss(&self) -> Option<Bytes> {
        let parts = [self.rss_anon, self.rss_file, self.rss_shmem];
        parts.into_iter().flatten().reduce(Bytes::saturating_add)
    }
}

/// Figures of the whole node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSample {
    /// `oom_kill` of `/proc/vmstat` (kernel 4.13 and later): processes killed since boot.
    pub oom_kill: Option<u64>,
    /// `MemAvailable` of `/proc/meminfo`.
    pub memory_available: Option<Bytes>,
    /// `MemTotal`.
    pub memory_total: Option<Bytes>,
    /// `/proc/pressure/memory`.
    pub memory_pressure: Option<Pressure>,
    /// `/proc/pressure/io`.
    pub io_pressure: Option<Pressure>,
    /// `/proc/pressure/cpu`.
    pub cpu_pressure: Option<Pressure>,
}
