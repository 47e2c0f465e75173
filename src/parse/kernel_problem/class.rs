//! The classes of kernel problems: a closed set of words, for counting and for choosing what to tell.

use super::{DiskKind, FilesystemKind, HangKind, HardwareKind, HardwareProblem, KernelProblem, NetKind, OtherKind};
use serde::{Deserialize, Serialize};

macro_rules! classes {
    ($($word:ident = $text:literal : $meaning:literal,)+) => {
        /// What kind of problem the kernel reports; also the `class` label of metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ProblemClass { $(#[doc = $meaning] #[serde(rename = $text)] $word,)+ }
        impl ProblemClass {
            /// Every class.
            pub const ALL: &'static [Self] = &[$(Self::$word,)+];
            /// The word.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$word => $text,)+ } }
        }
    };
}

classes! {
    Segfault = "segfault": "A process accessed memory it may not.",
    Trap = "trap": "The CPU stopped a process for another reason.",
    PidsLimit = "pids_limit": "A pids limit refused a process.",
    IoError = "io_error": "A disk, or the filesystem on it, reports failed I/O.",
    MediumError = "medium_error": "A disk cannot read or write a place of its medium.",
    DiskTimeout = "disk_timeout": "A disk does not answer, or is being reset.",
    ArrayDegraded = "array_degraded": "An array lost a disk, a multipath device its paths, a thin pool its space.",
    FilesystemDamage = "filesystem_damage": "A filesystem found itself inconsistent, or its journal gave up.",
    FilesystemReadOnly = "filesystem_read_only": "A filesystem made itself read-only.",
    MountFailed = "mount_failed": "A filesystem could not be mounted.",
    HungTask = "hung_task": "A task waits uninterruptibly for minutes.",
    SoftLockup = "soft_lockup": "A CPU stays in the kernel.",
    HardLockup = "hard_lockup": "A CPU takes no interrupts.",
    RcuStall = "rcu_stall": "A CPU or task holds up read-copy-update.",
    MachineCheck = "machine_check": "CPU, memory or firmware report an error that was not corrected.",
    CorrectedError = "corrected_error": "The hardware corrected an error, slowed itself down, or logged one that nothing calls uncorrected.",
    MemoryFailure = "memory_failure": "A page of memory is broken.",
    PcieError = "pcie_error": "A PCIe error was not corrected.",
    Overheated = "overheated": "The machine reached its critical temperature.",
    GpuError = "gpu_error": "A GPU driver reports an error.",
    ConntrackFull = "conntrack_full": "The connection tracking table is full.",
    NeighbourOverflow = "neighbour_overflow": "The neighbour table is full.",
    LinkDown = "link_down": "An interface lost its link.",
    TxTimeout = "tx_timeout": "An interface did not send in time.",
    KernelPanic = "kernel_panic": "The kernel stopped the machine.",
    Oops = "oops": "The kernel made an error of its own and went on.",
    PageAllocation = "page_allocation": "The kernel did not find enough contiguous memory.",
    TcpMemory = "tcp_memory": "TCP reached its own memory limit.",
    NetdevLeak = "netdev_leak": "A network namespace cannot go away.",
    LogLoss = "log_loss": "The log itself lost records.",
}

impl KernelProblem {
    /// Its class; none for what a program of user space says.
    pub fn class(&self) -> Option<ProblemClass> {
        Some(match self {
            Self::Segfault(_) => ProblemClass::Segfault,
            Self::Trap(_) => ProblemClass::Trap,
            Self::PidsLimit(_) => ProblemClass::PidsLimit,
            Self::Disk(disk) => of_disk(disk.kind),
            Self::Filesystem(filesystem) => of_filesystem(filesystem.kind),
            Self::Hang(hang) => match hang.kind {
                HangKind::HungTask => ProblemClass::HungTask,
                HangKind::SoftLockup => ProblemClass::SoftLockup,
                HangKind::HardLockup => ProblemClass::HardLockup,
                HangKind::RcuStall => ProblemClass::RcuStall,
            },
            Self::Hardware(hardware) => of_hardware(hardware),
            Self::Net(net) => match net.kind {
                NetKind::ConntrackFull => ProblemClass::ConntrackFull,
                NetKind::NeighborOverflow => ProblemClass::NeighbourOverflow,
                NetKind::LinkDown => ProblemClass::LinkDown,
                NetKind::TxTimeout => ProblemClass::TxTimeout,
            },
            Self::Other(other) => match other.kind {
                OtherKind::KernelPanic => ProblemClass::KernelPanic,
                OtherKind::Oops => ProblemClass::Oops,
                OtherKind::PageAllocationFailure => ProblemClass::PageAllocation,
                OtherKind::TcpMemory => ProblemClass::TcpMemory,
                OtherKind::NetdevLeak => ProblemClass::NetdevLeak,
                OtherKind::LogLoss => ProblemClass::LogLoss,
                OtherKind::Coredump | OtherKind::UserspaceOomKill => return None,
            },
        })
    }
}

const fn of_disk(kind: DiskKind) -> ProblemClass {
    match kind {
        DiskKind::IoError => ProblemClass::IoError,
        DiskKind::MediumError => ProblemClass::MediumError,
        DiskKind::NvmeTimeout | DiskKind::NvmeReset | DiskKind::NvmeResetFailed => ProblemClass::DiskTimeout,
        DiskKind::MdDiskFailure | DiskKind::NoUsablePath | DiskKind::DmThinMetadata | DiskKind::DmThinData => ProblemClass::ArrayDegraded,
    }
}

const fn of_filesystem(kind: FilesystemKind) -> ProblemClass {
    match kind {
        FilesystemKind::Ext4Error
        | FilesystemKind::XfsCorruption
        | FilesystemKind::BtrfsError
        | FilesystemKind::FatError
        | FilesystemKind::JournalAbort => ProblemClass::FilesystemDamage,
        FilesystemKind::RemountRo => ProblemClass::FilesystemReadOnly,
        FilesystemKind::MountFailed => ProblemClass::MountFailed,
        FilesystemKind::IoError => ProblemClass::IoError,
    }
}

fn of_hardware(hardware: &HardwareProblem) -> ProblemClass {
    match hardware.kind {
        HardwareKind::Mce if hardware.is_uncorrected() => ProblemClass::MachineCheck,
        HardwareKind::EdacUe | HardwareKind::GhesUncorrected => ProblemClass::MachineCheck,
        HardwareKind::Mce
        | HardwareKind::EdacCe
        | HardwareKind::GhesCorrected
        | HardwareKind::PcieAerCorrected
        | HardwareKind::ThermalThrottle => ProblemClass::CorrectedError,
        HardwareKind::MemoryFailure => ProblemClass::MemoryFailure,
        HardwareKind::PcieAerUncorrected => ProblemClass::PcieError,
        HardwareKind::ThermalCritical => ProblemClass::Overheated,
        HardwareKind::GpuXid | HardwareKind::GpuInitFailed => ProblemClass::GpuError,
    }
}

#[cfg(test)]
mod tests {
    use super::ProblemClass;
    use crate::parse::kernel_problem::{recognise, recognise_program};

    #[test]
    fn each_problem_of_the_kernel_has_a_class_and_those_of_programs_none() {
        for (line, class) in [
            ("I/O error, dev vdb, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2", "io_error"),
            ("nvme nvme3: I/O 7 QID 2 timeout, aborting", "disk_timeout"),
            ("EXT4-fs (vdb): Remounting filesystem read-only", "filesystem_read_only"),
            ("EXT4-fs (vdb): VFS: Can't find ext4 filesystem", "mount_failed"),
            ("INFO: task shop:7 blocked for more than 120 seconds.", "hung_task"),
            ("nf_conntrack: nf_conntrack: table full, dropping packet", "conntrack_full"),
            ("mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 9: 8c00004000010091", "corrected_error"),
            ("mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 9: ac00004000010091", "machine_check"),
            ("mce: [Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 9: be00000000800401", "machine_check"),
            ("[Hardware Error]: CPU:3 (17:31:0) MC9_STATUS[-|CE|MiscV|-|-|-|SyndV|-|-|-]: 0x982000000002080c", "corrected_error"),
            ("mce: [Hardware Error]: Machine check events logged", "corrected_error"),
        ] {
            assert_eq!(recognise(line).and_then(|problem| problem.class()).map(ProblemClass::as_str), Some(class), "{line}");
        }
        let killed = recognise_program("earlyoom", "sending SIGTERM to process 77 uid 0 \"shop\": badness 900").expect("a kill");
        assert_eq!(killed.class(), None);
    }

    #[test]
    fn words_are_spelled_alike_everywhere() {
        for class in ProblemClass::ALL {
            assert_eq!(serde_json::to_value(class).expect("json"), class.as_str());
        }
    }
}
