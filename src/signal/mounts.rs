//! Which filesystem lies on which disk, as the kernel lists it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Every disk of the machine, and every mount of the host that lies on one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountTable {
    /// `/sys/class/block`.
    pub devices: Vec<BlockDevice>,
    /// `/proc/1/mountinfo`, in its order; what lies on no disk is left out.
    pub mounts: Vec<Mount>,
}

/// The mounts that one container sees and that lie on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMounts {
    /// Path of the container's cgroup.
    pub cgroup: String,
    /// `/proc/<its first process>/mountinfo`; paths are the container's.
    pub mounts: Vec<Mount>,
}

/// `major:minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceNumber(pub u32, pub u32);

impl DeviceNumber {
    /// Reads `254:0`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }

    /// Whether it stands for no disk: filesystems without one, and those that span several (btrfs).
    pub const fn is_anonymous(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

/// A disk, a partition, or what the kernel makes of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// The kernel's name: `sda1`, `dm-0`.
    pub name: String,
    /// Its number.
    pub number: DeviceNumber,
    /// Of a partition: the disk.
    pub part_of: Option<String>,
    /// Of a partition: where it begins on the disk, in sectors of 512 bytes.
    pub start: Option<u64>,
    /// Its size in sectors of 512 bytes.
    pub sectors: Option<u64>,
    /// Of a device-mapper device: the name that people gave it.
    pub mapper_name: Option<String>,
    /// The devices that it is made of.
    pub slaves: Vec<String>,
    /// Of a loop device: the file.
    pub backing_file: Option<String>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The number of the device below.
    pub device: DeviceNumber,
    /// What was mounted, such as `/dev/sda1`; the mounter's own word.
    pub source: String,
    /// The folder of the filesystem that is seen: `/`, or another for a bind mount.
    pub root: String,
    /// Where.
    pub point: String,
    /// The filesystem's type.
    pub filesystem: String,
    /// This mount was made read-only.
    pub read_only: bool,
    /// The filesystem itself is read-only, through whichever mount one writes.
    pub filesystem_read_only: bool,
}
