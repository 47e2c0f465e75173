//! What one decision of the OOM killer looks like when its lines have been put together.

use super::{Announcement, CgroupMemory, MemorySplit, TaskTable};
use crate::model::{BootTime, Bytes, CgroupPlace, ContainerId, Limit, Pid, PodUid};
use serde::Serialize;
use std::sync::Arc;

/// Where a line stands in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// The record's sequence number in the kernel log, or the number of the line in a file.
    pub record: u64,
    /// The record's own clock, where the log has it.
    pub boot: Option<BootTime>,
}

/// Names an event among those of one [`super::OomAssembler`], so that it can be amended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OomId(pub u64);

/// How much of the decision the log shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OomOutcome {
    /// `Killed process` was printed.
    Killed,
    /// A victim was chosen (`Kill process`, the summary, or the reaper names it); its `Killed`
    /// line is not in the log.
    Chosen,
    /// An OOM killer ran; whom it killed is not in the log.
    Unseen,
}

/// The allocation constraint, as far as it is to be trusted: kernels 5.0 to 5.1.18 print
/// `CONSTRAINT_NONE` for every OOM, so a limit's cgroup outweighs the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// A memory cgroup's limit.
    Memcg,
    /// The whole machine.
    None,
    /// The nodes of a cpuset.
    Cpuset,
    /// The nodes of a NUMA policy.
    Mempolicy,
    /// Not said, or a word that this program does not know.
    Unknown,
}

/// Whose memory ran out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// The machine's, or that of a set of its NUMA nodes.
    Global,
    /// The limit of this cgroup.
    Memcg(Arc<str>),
    /// The limit of a cgroup that the log does not name.
    UnnamedMemcg,
    /// The log does not say.
    Unknown,
}

/// Where the limit was hit, in four words. [`OomEvent::limit_place`] says it in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OomScope {
    /// A container's own cgroup, of a pod or of plain docker, podman or LXC.
    Container,
    /// A pod's cgroup.
    Pod,
    /// The whole machine.
    System,
    /// All pods, a class of pods, the container of a nested node, a host service, or not known.
    Other,
}

/// A process as a line names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Process {
    /// Its pid in the host's namespace.
    pub pid: Pid,
    /// Its name: up to 15 bytes of anything.
    pub comm: Option<Arc<str>>,
}

/// The process that was killed, or chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Victim {
    /// Its pid in the host's namespace.
    pub pid: Option<Pid>,
    /// Its name: up to 15 bytes of anything.
    pub comm: Option<Arc<str>>,
    /// Address space; from the `Killed` line like the other sizes.
    pub total_vm: Option<Bytes>,
    /// Resident anonymous memory.
    pub anon_rss: Option<Bytes>,
    /// Resident pages of files.
    pub file_rss: Option<Bytes>,
    /// Resident shared memory and tmpfs (kernel 4.5 and later).
    pub shmem_rss: Option<Bytes>,
    /// Page tables (5.4 and later).
    pub page_tables: Option<Bytes>,
    /// Its user id.
    pub uid: Option<u32>,
    /// Its `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
}

/// Who allocated when the memory ran out. Often another process, or another container, than the victim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Trigger {
    /// The allocating thread's name.
    pub comm: Option<Arc<str>>,
    /// The allocating thread's id, from the `CPU: .. PID: ..` line.
    pub pid: Option<Pid>,
    /// The last name of its cpuset's path.
    pub cpuset: Option<Arc<str>>,
    /// The allocation's flags as printed, such as `0xcc0(GFP_KERNEL)`.
    pub gfp_mask: Option<Arc<str>>,
    /// The allocation's order; -1 asks for a kill by hand (SysRq-f).
    pub order: Option<i32>,
    /// Its `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
}

/// A line such as `memory: usage 1024kB, limit 1024kB, failcnt 7`: figures of the cgroup whose
/// limit was hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LimitUse {
    /// Charged, in KiB.
    pub usage_kib: Option<u64>,
    /// The limit in KiB as printed; a huge number means none.
    pub limit_kib: Option<u64>,
    /// How often the limit was reached. It counts reclaim, not kills.
    pub failcnt: Option<u64>,
}

impl LimitUse {
    /// Charged memory.
    pub fn usage(&self) -> Option<Bytes> {
        self.usage_kib.map(Bytes::from_kib)
    }

    /// The limit.
    pub fn limit(&self) -> Option<Limit> {
        self.limit_kib.map(|kib| Limit::from_v1(kib.saturating_mul(1024)))
    }
}

/// `memory.oom.group`: the kernel killed every process of a cgroup together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GroupKill {
    /// The cgroup that has `memory.oom.group` set.
    pub cgroup: Option<Arc<str>>,
    /// Every process printed as killed, without repetition, up to [`GroupKill::MOST_LISTED`].
    pub members: Vec<Process>,
    /// How many more `Killed` lines there were than listed members.
    pub unlisted: u32,
}

impl GroupKill {
    /// A container may have as many processes as its pids limit allows; the first 256 tell the story.
    pub const MOST_LISTED: usize = 256;
}

/// What the OOM reaper said about the victim's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReaperWord {
    /// It freed the memory.
    Reaped,
    /// It could not, so the kill may not have helped.
    UnableToReap,
}

/// Which parts of the dump the log holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Completeness {
    /// `X invoked oom-killer`.
    pub header: bool,
    /// The `oom-kill:` line, or `Task in .. killed as a result of limit of ..` before 5.0.
    pub summary: bool,
    /// `Killed process`.
    pub kill: bool,
    /// The table of tasks.
    pub table: bool,
    /// Records were lost within the dump, or between it and its kill.
    pub gap: bool,
}

/// One decision of the OOM killer, as far as the log tells it. `None` is what it does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OomEvent {
    /// Names this event in later amendments.
    pub id: OomId,
    /// Its first line.
    pub first: Position,
    /// Its last line so far.
    pub last: Position,
    /// When the `Killed` line was printed, or the line that names the chosen victim, or the last one.
    pub killed_at: Option<BootTime>,
    /// How much of the decision the log shows.
    pub outcome: OomOutcome,
    /// Who was killed.
    pub victim: Victim,
    /// Who allocated.
    pub trigger: Trigger,
    /// What the kill line itself says about the kind of OOM.
    pub announcement: Option<Announcement>,
    /// The `constraint=` word as printed. It may lie: see [`OomEvent::constraint`].
    pub constraint_word: Option<Arc<str>>,
    /// `global_oom`, `limit of host` or a memory dump of the whole machine.
    pub says_global: bool,
    /// The cgroup whose limit was hit.
    pub oom_memcg: Option<Arc<str>>,
    /// The victim's cgroup.
    pub task_memcg: Option<Arc<str>>,
    /// `memory: usage ..` of the cgroup whose limit was hit.
    pub memory: Option<LimitUse>,
    /// `memory+swap: usage ..` (cgroup v1).
    pub memory_and_swap: Option<LimitUse>,
    /// `swap: usage ..` (cgroup v2).
    pub swap: Option<LimitUse>,
    /// `kmem: usage ..` (cgroup v1).
    pub kmem: Option<LimitUse>,
    /// What the charged memory was, from the statistics of the cgroup and those below it.
    pub split: Option<MemorySplit>,
    /// The same for single cgroups, largest first, where the kernel prints them (before 5.3).
    pub cgroups: Vec<CgroupMemory>,
    /// The processes of the OOM domain.
    pub tasks: TaskTable,
    /// Set when a whole cgroup was killed.
    pub group: Option<GroupKill>,
    /// What the reaper said.
    pub reaper: Option<ReaperWord>,
    /// Which parts of the dump the log holds.
    pub completeness: Completeness,
    /// The decisive lines as printed, bounded in number and length.
    pub evidence: Vec<Arc<str>>,
}

impl OomEvent {
    /// Whose memory ran out: decided by the cgroup that the dump names, `global_oom` and the wording
    /// of the kill line. The constraint word alone never decides.
    pub fn domain(&self) -> Domain {
        if let Some(path) = &self.oom_memcg {
            return Domain::Memcg(path.clone());
        }
        if self.says_global {
            return Domain::Global;
        }
        match self.announcement {
            Some(Announcement::Memcg) => Domain::UnnamedMemcg,
            Some(Announcement::Global) => Domain::Global,
            None if self.memory.is_some() => Domain::UnnamedMemcg,
            None => match self.constraint_word.as_deref() {
                Some("CONSTRAINT_MEMCG") => Domain::UnnamedMemcg,
                Some("CONSTRAINT_CPUSET" | "CONSTRAINT_MEMORY_POLICY") => Domain::Global,
                _ => Domain::Unknown,
            },
        }
    }

    /// The constraint, corrected where the word is known to lie.
    pub fn constraint(&self) -> Constraint {
        if matches!(self.domain(), Domain::Memcg(_) | Domain::UnnamedMemcg) {
            return Constraint::Memcg;
        }
        match self.constraint_word.as_deref() {
            Some("CONSTRAINT_CPUSET") => Constraint::Cpuset,
            Some("CONSTRAINT_MEMORY_POLICY") => Constraint::Mempolicy,
            Some("CONSTRAINT_MEMCG") => Constraint::Memcg,
            Some("CONSTRAINT_NONE") => Constraint::None,
            Some(_) => Constraint::Unknown,
            None if self.domain() == Domain::Global && self.announcement.is_some() => Constraint::None,
            None => Constraint::Unknown,
        }
    }

    /// Where the limit was hit, in four words.
    pub fn scope(&self) -> OomScope {
        match self.domain() {
            Domain::Global => OomScope::System,
            Domain::Memcg(limit) => scope_of_limit(&limit, self.task_memcg.as_deref()),
            Domain::UnnamedMemcg | Domain::Unknown => OomScope::Other,
        }
    }

    /// The place whose limit was hit: `None` for a global OOM and where it is not named.
    pub fn limit_place(&self) -> Option<CgroupPlace> {
        self.oom_memcg.as_deref().map(CgroupPlace::of)
    }

    /// The victim's place, as precisely as the log tells. The victim is always inside the cgroup
    /// whose limit was hit, so that one helps where the victim's own path is cut or lost.
    pub fn victim_place(&self) -> Option<CgroupPlace> {
        let group = self.group.as_ref().and_then(|group| group.cgroup.as_deref());
        let known = [self.task_memcg.as_deref(), group, self.oom_memcg.as_deref()];
        let places = || known.iter().flatten().map(|path| CgroupPlace::of(path));
        let container = places().find(|place| matches!(place, CgroupPlace::Container { .. }));
        container
            .or_else(|| places().find(|place| place.pod().is_some()))
            .or_else(|| places().find(|place| place.container().is_some()))
            .or_else(|| places().next())
    }

    /// The victim's pod.
    pub fn pod(&self) -> Option<PodUid> {
        self.victim_place()?.pod().cloned()
    }

    /// The victim's container.
    pub fn container(&self) -> Option<ContainerId> {
        self.victim_place()?.container().cloned()
    }

    /// Someone asked for this kill by hand (SysRq-f): not memory pressure.
    pub fn is_manual(&self) -> bool {
        self.trigger.order == Some(-1)
    }

    /// The page size, where the victim's row (pages) and its `Killed` line (kB) agree on one.
    pub fn page_size(&self) -> Option<u64> {
        let total_vm = self.victim.total_vm?.0;
        let pages = self.tasks.victim.as_ref()?.total_vm_pages?;
        [4 << 10, 16 << 10, 64 << 10].into_iter().find(|size| pages > 0 && pages.checked_mul(*size) == Some(total_vm))
    }
}

fn scope_of_limit(limit: &str, victim: Option<&str>) -> OomScope {
    let holds_pods = || victim.is_some_and(|path| CgroupPlace::of(path).pod().is_some());
    match CgroupPlace::of(limit) {
        CgroupPlace::Container { .. } => OomScope::Container,
        CgroupPlace::Pod { .. } | CgroupPlace::UnreadablePod if CgroupPlace::reaches_container(limit) => OomScope::Container,
        CgroupPlace::Pod { .. } => OomScope::Pod,
        CgroupPlace::UnreadablePod if names_pod(limit) => OomScope::Pod,
        CgroupPlace::LooseContainer { .. } | CgroupPlace::Service(_) if CgroupPlace::reaches_container(limit) && !holds_pods() => {
            OomScope::Container
        }
        _ => OomScope::Other,
    }
}

/// A pod's folder whose uid is blanked, as people do before they post.
fn names_pod(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or(path);
    last.ends_with(".slice") && last.contains("-pod") || last.starts_with("pod")
}
