//! What survives a restart of the agent on the same boot: positions, findings, counters.
//!
//! Positions and counts are written together, so that records read again after a restart are told
//! again and counted once.

use super::{
    Counters, death_notes::DurableDeaths, evictions::DurableEvictions, kernel_log::Resume, kernel_problems::DurableProblems,
    kubelet::DurableKubelet, lost::Lost, recent_kills::RecentKills, waiting::WaitNote,
};
use crate::{
    diagnosis::{kill_ledger::Baseline, termination::Slot, vmstat::VmstatCheck},
    findings::FindingStore,
    inventory::Remembered,
    model::BootId,
    signal::KubeletPosition,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Version of the checkpoint's form. One of another version is ignored: it is a cache of what the
/// node still says, not an archive.
pub const VERSION: u32 = 1;

/// The durable state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`VERSION`].
    pub version: u32,
    /// The boot it belongs to; on another boot it is void.
    pub boot_id: BootId,
    /// Where reading the kernel's log goes on.
    pub kernel_log: Resume,
    /// Where reading the kubelet's log goes on.
    pub kubelet_log: KubeletPosition,
    /// Troubles of the node, and who the kubelet is.
    #[serde(default)]
    pub kubelet: DurableKubelet,
    /// Containers that were lost.
    #[serde(default)]
    pub lost: Lost,
    /// Who the pods and containers are.
    #[serde(default)]
    pub inventory: Remembered,
    /// Findings.
    pub findings: FindingStore,
    /// Counters.
    pub counters: Counters,
    /// Kills already counted, the latest ones.
    pub counted: VecDeque<String>,
    /// Kill counters of cgroups when last read.
    pub baselines: BTreeMap<String, Baseline>,
    /// Marks and stories of containers.
    pub deaths: DurableDeaths,
    /// Pods whose eviction was told.
    #[serde(default)]
    pub evictions: DurableEvictions,
    /// Containers in which the kernel killed lately.
    #[serde(default)]
    pub recent_kills: RecentKills,
    /// What containers that do not start wait for.
    #[serde(default)]
    pub waiting: BTreeMap<Slot, WaitNote>,
    /// What the kernel has said about things in trouble.
    #[serde(default)]
    pub kernel_problems: DurableProblems,
    /// The sum check.
    pub vmstat: VmstatCheck,
}

impl Checkpoint {
    /// Whether it may be used on this boot.
    pub fn fits(&self, boot: &BootId) -> bool {
        self.version == VERSION && self.boot_id == *boot
    }
}
