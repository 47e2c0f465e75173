//! What the kubelet watches in order to evict pods before the node runs dry.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a filesystem is to the kubelet. One filesystem may be all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilesystemRole {
    /// The kubelet's own directory: volumes, `emptyDir`s, on most nodes also the pods' logs.
    Nodefs,
    /// The runtime's images.
    Imagefs,
    /// The containers' writable layers: where the images are, unless CRI-O has a directory for images alone.
    Containerfs,
}

impl FilesystemRole {
    /// Every role.
    pub const ALL: &'static [Self] = &[Self::Nodefs, Self::Imagefs, Self::Containerfs];

    /// The kubelet's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nodefs => "nodefs",
            Self::Imagefs => "imagefs",
            Self::Containerfs => "containerfs",
        }
    }
}

impl fmt::Display for FilesystemRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A signal of the kubelet's eviction manager (pkg/kubelet/eviction/api/types.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvictionSignal {
    /// `memory.available`: the machine's memory less what is in use and cannot be dropped.
    Memory,
    /// `<filesystem>.available`: bytes.
    Space(FilesystemRole),
    /// `<filesystem>.inodesFree`.
    Inodes(FilesystemRole),
    /// `pid.available`.
    Pids,
}

impl EvictionSignal {
    /// Every signal.
    pub const ALL: &'static [Self] = &[
        Self::Memory,
        Self::Space(FilesystemRole::Nodefs),
        Self::Space(FilesystemRole::Imagefs),
        Self::Space(FilesystemRole::Containerfs),
        Self::Inodes(FilesystemRole::Nodefs),
        Self::Inodes(FilesystemRole::Imagefs),
        Self::Inodes(FilesystemRole::Containerfs),
        Self::Pids,
    ];

    /// The kubelet's word: its key in `evictionHard` and the `signal` label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::Space(FilesystemRole::Nodefs) => "nodefs.available",
            Self::Space(FilesystemRole::Imagefs) => "imagefs.available",
            Self::Space(FilesystemRole::Containerfs) => "containerfs.available",
            Self::Inodes(FilesystemRole::Nodefs) => "nodefs.inodesFree",
            Self::Inodes(FilesystemRole::Imagefs) => "imagefs.inodesFree",
            Self::Inodes(FilesystemRole::Containerfs) => "containerfs.inodesFree",
            Self::Pids => "pid.available",
        }
    }

    /// Reads the kubelet's word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|signal| signal.as_str() == text)
    }

    /// The same of another filesystem; `None` for a signal of none.
    pub const fn of_filesystem(self, role: FilesystemRole) -> Option<Self> {
        match self {
            Self::Space(_) => Some(Self::Space(role)),
            Self::Inodes(_) => Some(Self::Inodes(role)),
            Self::Memory | Self::Pids => None,
        }
    }

    /// Whether it is counted in bytes.
    pub const fn is_bytes(self) -> bool {
        matches!(self, Self::Memory | Self::Space(_))
    }
}

impl fmt::Display for EvictionSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_read_back() {
        for signal in EvictionSignal::ALL {
            assert_eq!(EvictionSignal::parse(signal.as_str()), Some(*signal));
        }
        assert_eq!(EvictionSignal::parse("allocatableMemory.available"), None);
    }
}
