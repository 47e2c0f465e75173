//! What is left on the node of what the kubelet evicts pods for, how the kubelet is configured to
//! do so, and what each pod has on the disks.

use crate::model::{Bytes, FilesystemRole, PodUid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is left at one moment. What could not be read is `None` or not in the list, never zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomSample {
    /// The filesystems that the kubelet watches, each once.
    pub filesystems: Vec<FilesystemSample>,
    /// The runtime keeps images in a directory of their own, apart from containers' writable layers, be it on the same
    /// filesystem or not (CRI-O's `imagestore`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub images_apart: bool,
    /// Process ids.
    pub pids: Option<PidRoom>,
    /// Memory as the kubelet counts it.
    pub memory: Option<MemoryRoom>,
    /// Whether a kubelet's process runs; `None` where none has been seen since the agent started. A new one is noticed
    /// within half a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubelet_runs: Option<bool>,
}

/// One filesystem (statvfs(3)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesystemSample {
    /// What it is to the kubelet.
    pub roles: Vec<FilesystemRole>,
    /// The directory that was asked.
    pub path: String,
    /// Its size: `f_blocks`.
    pub size: Bytes,
    /// What a process without privileges may still write: `f_bavail`, which the kubelet compares.
    pub available: Bytes,
    /// `f_files`; `None` on a filesystem that has no fixed number of inodes.
    pub inodes: Option<u64>,
    /// `f_ffree`.
    pub inodes_free: Option<u64>,
}

/// Process ids of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidRoom {
    /// The most there may be: the lower of `kernel/pid_max` and `kernel/threads-max`.
    pub max: u64,
    /// Tasks that exist: the number behind the slash in `/proc/loadavg`.
    pub used: u64,
}

/// Memory of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRoom {
    /// `MemTotal`.
    pub capacity: Bytes,
    /// What is used and cannot be dropped cheaply: usage of the root cgroup less `inactive_file`.
    pub working_set: Bytes,
}

/// What the kubelet's configuration says of evictions, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvictionSettings {
    /// Where the parts come from, the later ones over the earlier ones.
    pub layers: Vec<EvictionLayer>,
    /// Why a part could not be read: what it says is not known.
    pub unread: Option<String>,
}

/// One part of the kubelet's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvictionLayer {
    /// What kind of part.
    pub kind: LayerKind,
    /// The file, flag or address.
    pub from: String,
    /// `evictionHard`, as it is written.
    pub hard: Option<BTreeMap<String, String>>,
    /// `evictionSoft`.
    pub soft: Option<BTreeMap<String, String>>,
    /// `evictionSoftGracePeriod`.
    pub soft_grace: Option<BTreeMap<String, String>>,
    /// `mergeDefaultEvictionSettings`.
    pub merge_defaults: Option<bool>,
}

/// The parts of a kubelet's configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// The file of `--config`; an empty one where the kubelet has none.
    #[default]
    File,
    /// A file of `--config-dir`: its keys are laid over those before.
    DropIn,
    /// Flags: a map in a flag replaces the map before.
    Flags,
    /// The kubelet's own answer (`/configz`): complete, defaults included.
    Effective,
}

/// What pods have on the node's disks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodStorageSample {
    /// The pods that were measured.
    pub pods: Vec<PodStorage>,
    /// Pods that there was no time for; the next measurement begins with them.
    pub left_out: u64,
}

/// What one pod has on the disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStorage {
    /// The pod.
    pub uid: PodUid,
    /// Its containers' logs below `/var/log/pods`.
    #[serde(default)]
    pub logs: DiskUse,
    /// Its `emptyDir` volumes on the disk.
    #[serde(default)]
    pub empty_dirs: DiskUse,
    /// The writable layers of its running containers.
    #[serde(default)]
    pub layers: DiskUse,
    /// Directories that could not be read: it has at least this much.
    #[serde(default)]
    pub unreadable: u64,
    /// It has more files than are looked at: it has at least this much.
    #[serde(default)]
    pub cut: bool,
}

/// What a tree of files occupies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    /// Blocks allocated.
    pub bytes: Bytes,
    /// Files and directories.
    pub inodes: u64,
}

impl DiskUse {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), inodes: self.inodes.saturating_add(other.inodes) }
    }

    /// What was added since, zero where it shrank.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(earlier.bytes), inodes: self.inodes.saturating_sub(earlier.inodes) }
    }
}

impl PodStorage {
    /// Everything that counts against the pod's ephemeral storage.
    pub const fn total(&self) -> DiskUse {
        self.logs.plus(self.empty_dirs).plus(self.layers)
    }
}
