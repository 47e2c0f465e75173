//! One explained condition on this node. The JSON form of these types is the agent's public contract.

use crate::model::{Attribution, Blame, BootId, Bytes, Cause, Confidence, ContainerId, PodUid, Scope};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A finding's identity: the same after every restart of the agent, because it is derived from the
/// boot, the position of the first evidence and the cause.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FindingId(pub String);

impl FindingId {
    /// Derives the id of a condition first seen at `position` (a kernel log sequence number, a
    /// counter's value, a container's attempt) of this boot.
    pub fn derive(boot: &BootId, position: &str, cause: Cause) -> Self {
        let hash = [boot.0.as_bytes(), b"|", position.as_bytes(), b"|", cause.as_str().as_bytes()].concat();
        Self(format!("{:016x}", fnv1a(&hash)))
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The 64-bit FNV-1a hash. The standard library's hasher may change between Rust versions, an id may not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether a condition still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// It holds, or happened lately.
    Open,
    /// It has stopped, or its subject is gone.
    Resolved,
}

/// Who a finding is about. Every field is null where it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The pod's uid, in the kubelet's form.
    pub pod_uid: Option<PodUid>,
    /// The container's name.
    pub container: Option<String>,
    /// The id of the container's latest affected instance.
    pub container_id: Option<ContainerId>,
    /// The kind of the workload that owns the pod, such as `Deployment`.
    pub workload_kind: Option<String>,
    /// The workload's name.
    pub workload: Option<String>,
    /// The latest affected attempt: how many instances of this container came before it.
    pub attempt: Option<u32>,
}

/// Where a piece of evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceSource {
    /// The kernel's log.
    KernelLog,
    /// Files of a cgroup.
    Cgroup,
    /// `/proc/<pid>`.
    Process,
    /// Node-wide figures of `/proc`.
    Node,
    /// The pod's status.
    PodStatus,
    /// The kubelet's log.
    KubeletLog,
    /// The class of a container's last log lines.
    ContainerLog,
    /// Filesystems, and what else the kubelet evicts for.
    Disk,
    /// What another service of the host says in the journal.
    Journal,
    /// What the kubelet answers over HTTP.
    KubeletApi,
    /// etcd's log.
    EtcdLog,
}

/// One observation that supports a cause or speaks against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where it was seen.
    pub source: EvidenceSource,
    /// When.
    pub time: Timestamp,
    /// What was seen: the kernel's own line, or a statement with its figures.
    pub what: String,
    /// Whether it supports the cause (else it contradicts it).
    pub supports: bool,
    /// How it was joined to the subject.
    pub how_matched: String,
}

/// The memory at the moment of an OOM kill. Null where nothing said it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The limit that was hit.
    pub limit_bytes: Option<Bytes>,
    /// The charge of the cgroup whose limit was hit.
    pub usage_bytes: Option<Bytes>,
    /// Of the charge: anonymous memory.
    pub anon_bytes: Option<Bytes>,
    /// Of the charge: page cache, tmpfs included.
    pub file_bytes: Option<Bytes>,
    /// Of the charge: tmpfs and shared memory.
    pub shmem_bytes: Option<Bytes>,
    /// Of the charge: kernel memory.
    pub kernel_bytes: Option<Bytes>,
    /// What the victim had resident (VmRSS).
    pub victim_rss_bytes: Option<Bytes>,
    /// How the charge grew before the kill, in a clause.
    pub growth: Option<String>,
    /// Whether a restart of the container frees the memory; null where that is not known.
    pub restart_helps: Option<bool>,
}

/// One life of a looping container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// The attempt number.
    pub attempt: Option<u32>,
    /// How it exited.
    pub exit_code: Option<i32>,
    /// How long it lived, in seconds.
    pub uptime_seconds: Option<u64>,
    /// The container's memory charge when last sampled before its death.
    pub memory_at_death_bytes: Option<Bytes>,
}

/// The loop that a finding's deaths form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CrashLoop {
    /// Deaths seen by the agent.
    pub deaths: u64,
    /// The attempt number of the newest instance, as Kubernetes counts.
    pub attempt: Option<u32>,
    /// Median time between two deaths, in seconds.
    pub interval_seconds: Option<u64>,
    /// How long the kubelet currently waits before the next start, in seconds.
    pub back_off_seconds: Option<u64>,
    /// Whether every death seen has the same cause.
    pub same_cause: bool,
    /// The latest lives, oldest first.
    pub lives: Vec<Life>,
}

/// One explained condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable over restarts of the agent.
    pub id: FindingId,
    /// Why.
    pub cause: Cause,
    /// How sure.
    pub confidence: Confidence,
    /// Where it gave way.
    pub scope: Scope,
    /// Whose fault.
    pub blame: Blame,
    /// Open or resolved.
    pub state: FindingState,
    /// How many times it happened.
    pub count: u64,
    /// The first time.
    pub first_seen: Timestamp,
    /// The latest time.
    pub last_seen: Timestamp,
    /// The explanation in a sentence or two.
    pub summary: String,
    /// Who it is about; empty for the node itself.
    pub subjects: Vec<Subject>,
    /// What supports and what contradicts it, for the latest occurrence.
    pub evidence: Vec<Evidence>,
    /// What was looked for and not found.
    pub not_found: Vec<String>,
    /// Which sources could not be read at that time, and why.
    pub blind: Vec<String>,
    /// What to do next.
    pub actions: Vec<String>,
    /// Ids of findings in the same chain.
    pub related: Vec<FindingId>,
    /// How the latest occurrence was joined to its subject.
    pub attribution: Attribution,
    /// The memory at the latest kill, for OOM causes.
    pub memory: Option<Memory>,
    /// The loop, where the container dies again and again.
    pub crash_loop: Option<CrashLoop>,
    /// The last lines of the container's log, cut and without credentials: only where the agent was
    /// told to keep them (`--log-excerpts`), and only for the local log and readers with a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_excerpt: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_boot_position_and_cause_only() {
        let boot = BootId("6f1c2a4e".into());
        let id = FindingId::derive(&boot, "233572", Cause::OomContainerLimit);
        assert_eq!(id.0, "71c7202e7e905ed2");
        assert_ne!(id, FindingId::derive(&boot, "233573", Cause::OomContainerLimit));
        assert_ne!(id, FindingId::derive(&BootId("other".into()), "233572", Cause::OomContainerLimit));
    }
}
