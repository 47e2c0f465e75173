//! What the kernel's own reports mean: which are worth telling, what they are about, who suffers.
//!
//! Flows in: problems as the parser understood them, and who uses what on this node. Flows out: a
//! [`Trouble`], which gathers all problems about one thing, and its [`Verdict`]. Some reports are normal on
//! healthy nodes; those have no [`Matter`] and are only counted.

mod fault;
mod network;
mod pids;
mod storage;
mod trouble;
mod witness;

pub use pids::{PidsLevel, level as pids_level};
pub use storage::{is_everybodys, is_used_by};
pub use trouble::{Line, Trouble};
pub use witness::{NodeWitness, weigh as weigh_witness};

use crate::{
    findings::{Evidence, Subject, Topic},
    inventory::{Inventory, Storage},
    model::{Attribution, Blame, Cause, CgroupPlace, Confidence, PodUid, Scope},
    parse::kernel_problem::{HardwareKind, KernelProblem, ProblemClass},
};
use serde::{Deserialize, Serialize};

/// The most pods that a finding about the node names; the sentence says how many more there are.
const MAX_SUBJECTS: usize = 16;

/// NVIDIA error numbers that a program causes, not the card: those that NVIDIA's device plugin for
/// Kubernetes does not hold against the card, either.
const XIDS_OF_PROGRAMS: [u32; 6] = [13, 31, 43, 45, 68, 109];

/// What problems are about. Problems about the same are one finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matter {
    /// A disk, by the kernel's name.
    Disk(String),
    /// The filesystem on a device, which turned read-only.
    ReadOnly(String),
    /// The filesystem on a device, which shut itself down: nothing on it can be read or written.
    ShutDown(String),
    /// The kernel or the machine, by what is wrong.
    Fault(ProblemClass),
    /// The network, by what is wrong, and the interface or the network namespace.
    Network(ProblemClass, Option<String>),
    /// The pids limit above a cgroup.
    Pids(String),
}

/// What a trouble comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// How sure.
    pub confidence: Confidence,
    /// Where.
    pub scope: Scope,
    /// Whose fault.
    pub blame: Blame,
    /// The sentence.
    pub summary: String,
    /// Who suffers; none where it is the node as a whole.
    pub subjects: Vec<Subject>,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// What was looked for in vain.
    pub not_found: Vec<String>,
    /// What to do.
    pub actions: Vec<String>,
    /// How it was joined.
    pub attribution: Attribution,
}

impl Matter {
    /// What a problem is about; `None` for what is only counted: notices, corrected errors, a link that
    /// goes down (it may be meant to), a filesystem that cannot be mounted (it may have to be made
    /// first), and faults of processes, which explain the ends of containers.
    pub fn of(problem: &KernelProblem, storage: &Storage) -> Option<Self> {
        let class = problem.class()?;
        match problem {
            KernelProblem::PidsLimit(limit) => limit.cgroup.clone().map(Self::Pids),
            KernelProblem::Disk(disk) => disk.device.as_deref().map(|device| Self::Disk(storage.disk_of(device))),
            KernelProblem::Filesystem(filesystem) => {
                let device = filesystem.device.as_deref()?;
                match class {
                    ProblemClass::FilesystemReadOnly => Some(Self::ReadOnly(device.to_owned())),
                    ProblemClass::MountFailed => None,
                    _ if filesystem.is_shut_down() => Some(Self::ShutDown(device.to_owned())),
                    _ => Some(Self::Disk(storage.disk_of(device))),
                }
            }
            KernelProblem::Net(net) => match class {
                ProblemClass::LinkDown => None,
                _ => Some(Self::Network(class, net.device.clone().or_else(|| net.netns.map(|inode| inode.to_string())))),
            },
            KernelProblem::Hang(_) => Some(Self::Fault(class)),
            KernelProblem::Hardware(hardware) => {
                let by_program = hardware.kind == HardwareKind::GpuXid && hardware.xid.is_some_and(|xid| XIDS_OF_PROGRAMS.contains(&xid));
                (class != ProblemClass::CorrectedError && !by_program).then_some(Self::Fault(class))
            }
            KernelProblem::Other(_) if problem.is_notice() => None,
            KernelProblem::Other(_) => Some(Self::Fault(class)),
            KernelProblem::Segfault(_) | KernelProblem::Trap(_) => None,
        }
    }

    /// The cause that its finding has.
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Disk(_) => Cause::StorageError,
            Self::ReadOnly(_) | Self::ShutDown(_) => Cause::ReadOnlyFilesystem,
            Self::Fault(_) => Cause::KernelFault,
            Self::Network(..) => Cause::NetworkFault,
            Self::Pids(_) => Cause::PidsLimit,
        }
    }

    /// What its finding is about.
    pub fn topic(&self) -> Topic {
        let about = match self {
            Self::Disk(device) | Self::ReadOnly(device) | Self::ShutDown(device) => device.clone(),
            Self::Fault(class) | Self::Network(class, None) => class.as_str().to_owned(),
            Self::Network(class, Some(device)) => format!("{}|{device}", class.as_str()),
            Self::Pids(cgroup) => cgroup.clone(),
        };
        Topic(format!("{}|{about}", self.cause()))
    }

    /// The pod that it is about, where it is about one alone.
    pub fn pod(&self) -> Option<PodUid> {
        match self {
            Self::Pids(cgroup) => CgroupPlace::of(cgroup).pod().cloned(),
            _ => None,
        }
    }

    /// Without news for so long, it is over. Full tables and stalled queues are reported every few seconds
    /// while they last. A disk's bad place is met whenever somebody reads it, a hung task is reported ten
    /// times at most, and a pids limit once for each cgroup: silence says little there.
    pub const fn quiet_seconds(&self) -> u64 {
        match self {
            Self::Network(..) => 600,
            _ => 3600,
        }
    }

    /// How long to wait before it is first told. One failure of a disk makes lines on several levels; the
    /// figures of a cgroup at its pids limit are asked for.
    pub const fn settle_micros(&self) -> u64 {
        match self {
            Self::Disk(_) | Self::ReadOnly(_) | Self::ShutDown(_) => 1_000_000,
            Self::Pids(_) => 2_000_000,
            Self::Fault(_) | Self::Network(..) => 0,
        }
    }
}

/// What a trouble comes to, as far as is known now.
pub fn explain(trouble: &Trouble, inventory: &Inventory) -> Verdict {
    match &trouble.matter {
        Matter::Disk(device) => storage::disk(trouble, device, inventory),
        Matter::ReadOnly(device) => storage::read_only(trouble, device, inventory),
        Matter::ShutDown(device) => storage::shut_down(trouble, device, inventory),
        Matter::Fault(class) => fault::explain(trouble, *class, inventory),
        Matter::Network(class, device) => network::explain(trouble, *class, device.as_deref()),
        Matter::Pids(cgroup) => pids::explain(trouble, cgroup, inventory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::kernel_problem::recognise;

    fn matter(line: &str) -> Option<Matter> {
        Matter::of(&recognise(line).unwrap_or_else(|| panic!("{line}")), &Storage::default())
    }

    #[test]
    fn every_layers_view_of_a_disk_is_one_matter() {
        for line in [
            "I/O error, dev vdb, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
            "Buffer I/O error on dev vdb, logical block 9, lost async page write",
            "EXT4-fs error (device vdb): ext4_find_entry:1436: inode #2: comm cp: reading directory lblock 0",
            "Aborting journal on device vdb-8.",
        ] {
            assert_eq!(matter(line), Some(Matter::Disk("vdb".into())), "{line}");
        }
        assert_eq!(matter("EXT4-fs (vdb): Remounting filesystem read-only"), Some(Matter::ReadOnly("vdb".into())));
        let gave_up = "XFS (vdb1): Log I/O Error (0x2) detected at x+0x1/0x2 [xfs] (fs/xfs/x.c:1).  Shutting down filesystem.";
        assert_eq!(matter(gave_up), Some(Matter::ShutDown("vdb1".into())));
    }

    #[test]
    fn what_healthy_nodes_say_is_only_counted() {
        for line in [
            "shop[77]: segfault at 0 ip 000055e5c59d2139 sp 00007fffbc740640 error 4 in shop[1139,55e5c59d2000+1000]",
            "EXT4-fs (vdb): VFS: Can't find ext4 filesystem",
            "igb 0000:01:00.0 eth0: igb: eth0 NIC Link is Down",
            "EDAC MC3: 1 CE memory read error on CPU_SrcID#0_Channel#0_DIMM#0 (channel:0 slot:0 page:0x12345)",
            "mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 9: 8c00004000010091",
            "mce: [Hardware Error]: Machine check events logged",
            "shop: page allocation failure: order:7, mode:0xc04(GFP_NOIO|GFP_DMA32), nodemask=(null),cpuset=/,mems_allowed=0",
            "unregister_netdevice: waiting for lo to become free. Usage count = 1",
            "NVRM: Xid (PCI:0000:17:00): 31, pid=12, name=shop, Ch 00000008, MMU Fault",
            "oom_kill_process: 12 callbacks suppressed",
        ] {
            assert_eq!(matter(line), None, "{line}");
        }
        let uncorrected = "mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 9: ac00004000010091";
        assert_eq!(matter(uncorrected), Some(Matter::Fault(ProblemClass::MachineCheck)));
        let card = "NVRM: Xid (PCI:0000:17:00): 79, pid=12, name=shop, GPU has fallen off the bus.";
        assert_eq!(matter(card), Some(Matter::Fault(ProblemClass::GpuError)));
    }

    #[test]
    fn topics_differ_where_matters_do() {
        let matters = [
            Matter::Disk("sda".into()),
            Matter::ReadOnly("sda".into()),
            Matter::Fault(ProblemClass::Oops),
            Matter::Network(ProblemClass::TxTimeout, Some("eth0".into())),
            Matter::Network(ProblemClass::TxTimeout, None),
            Matter::Pids("/a".into()),
        ];
        let topics: std::collections::BTreeSet<_> = matters.iter().map(Matter::topic).collect();
        assert_eq!(topics.len(), matters.len());
    }
}
