//! How much memory of which kind, how it grew, and whether a restart frees it.

use super::Victim;
use crate::{
    findings::Memory,
    inventory::{ContainerInstance, Growth, Inventory},
    model::{BootTime, Bytes, CgroupPlace, Limit},
    parse::oom::{Domain, OomEvent},
    signal::MemorySplit,
};

/// A kind of memory that makes up this share, in per cent, of the charge decides what can help.
const DECISIVE_SHARE: u64 = 50;

/// The memory at a kill, with what the sentence needs beyond the finding's own figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryPicture {
    /// The figures for the finding.
    pub figures: Memory,
    /// What the processes of the victim's container had resident together, and its charge at that time.
    pub resident: Option<Resident>,
    /// How the container's charge moved.
    pub growth: Option<Growth>,
    /// Whether the dump gives the figures; else they are those of the last look before the kill.
    pub is_dumped: bool,
}

/// What a container's processes had resident (VmRSS), and what its cgroup was charged for then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    /// Resident.
    pub rss: Bytes,
    /// Charged.
    pub charge: Bytes,
}

/// The figures of the victim's container when it was last looked at before the kill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastSeen {
    charge: Option<Bytes>,
    limit: Option<Limit>,
    split: Option<MemorySplit>,
    resident: Option<Resident>,
}

impl LastSeen {
    /// What is known of the time before `at`. Figures read later show what the kill has left, which
    /// is no reason for it.
    pub fn before(instance: &ContainerInstance, at: BootTime) -> Self {
        let sample = instance.sample.as_deref();
        let in_time = sample.filter(|_| instance.sampled <= at);
        let read = instance.processes_read.filter(|read| *read <= at);
        let resident = || Some(Resident { rss: instance.rss()?, charge: instance.history.latest(read?)? });
        Self {
            charge: instance.history.latest(at),
            limit: sample.and_then(|sample| sample.limit),
            split: in_time.and_then(|sample| sample.split.filter(|split| accounts_for(split, sample.usage))),
            resident: resident(),
        }
    }
}

/// The kind of memory that a restart of the container leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sticky {
    /// tmpfs: memory-backed volumes and shared memory stay charged to the pod.
    Tmpfs(Bytes),
    /// Kernel objects, which are freed by the kernel when it likes.
    Kernel(Bytes),
}

impl MemoryPicture {
    /// Puts the picture together from the dump, completed by what was sampled before.
    pub fn of(event: &OomEvent, victim: &Victim, seen: &LastSeen, inventory: &Inventory, at: BootTime) -> Self {
        let instance = victim.container.as_ref().and_then(|id| inventory.container(id));
        let limit_place = event.limit_place();
        let of_container = of_container(event, limit_place.as_ref());
        let usage = event.memory.and_then(|memory| memory.usage()).or(seen.charge.filter(|_| of_container));
        let limit = event.memory.and_then(|memory| memory.limit()).or(seen.limit.filter(|_| of_container));
        let split = event.split.map(from_dump).or(seen.split.filter(|_| of_container)).unwrap_or_default();
        let kernel = split.kernel.or(event.kmem.and_then(|kmem| kmem.usage()));
        let rss = [event.victim.anon_rss, event.victim.file_rss, event.victim.shmem_rss];
        let growth = instance.and_then(|instance| growth(instance, limit_place.as_ref(), usage, at));
        let mut figures = Memory {
            limit_bytes: limit.and_then(|limit| limit.bytes()),
            usage_bytes: usage,
            anon_bytes: split.anon,
            file_bytes: split.file,
            shmem_bytes: split.shmem,
            kernel_bytes: kernel,
            victim_rss_bytes: rss.into_iter().flatten().reduce(Bytes::saturating_add),
            growth: growth.map(|growth| growth.to_string()),
            restart_helps: None,
        };
        figures.restart_helps = restart_helps(&figures);
        Self { figures, resident: seen.resident, growth, is_dumped: event.memory.is_some() }
    }

    /// The memory that a restart does not free, if it makes up most of the charge.
    pub fn sticky(&self) -> Option<Sticky> {
        sticky(&self.figures)
    }
}

/// Whether the container's own figures tell of the limit that was hit. The limit of a kill without
/// its dump is most often the container's; that of the whole node never is.
fn of_container(event: &OomEvent, limit_place: Option<&CgroupPlace>) -> bool {
    match (event.domain(), limit_place) {
        (Domain::Global, _) => false,
        (_, place) => place.is_none_or(|place| place.container().is_some()),
    }
}

/// Whether the parts make up the charge. Parts are read less often than the charge; older ones would
/// contradict it.
fn accounts_for(split: &MemorySplit, charge: Option<Bytes>) -> bool {
    const NEARLY_ALL: u64 = 80;
    let known = [split.anon, split.file, split.kernel].into_iter().flatten().fold(Bytes(0), Bytes::saturating_add);
    charge.and_then(|charge| known.percent_of(charge)).is_some_and(|share| share >= NEARLY_ALL)
}

fn restart_helps(figures: &Memory) -> Option<bool> {
    if sticky(figures).is_some() {
        return Some(false);
    }
    let (anon, usage) = (figures.anon_bytes?, figures.usage_bytes?);
    (anon.percent_of(usage)? >= DECISIVE_SHARE).then_some(true)
}

fn sticky(figures: &Memory) -> Option<Sticky> {
    let usage = figures.usage_bytes?;
    let most = |amount: Bytes| amount.percent_of(usage).is_some_and(|share| share >= DECISIVE_SHARE);
    let tmpfs = figures.shmem_bytes.filter(|amount| most(*amount)).map(Sticky::Tmpfs);
    tmpfs.or_else(|| figures.kernel_bytes.filter(|amount| most(*amount)).map(Sticky::Kernel))
}

/// The growth of the container whose process died. Where its own limit was hit, the dump's usage is
/// the last point; else its charge when it was last sampled.
fn growth(instance: &ContainerInstance, limit_place: Option<&CgroupPlace>, usage: Option<Bytes>, at: BootTime) -> Option<Growth> {
    let own = limit_place.and_then(CgroupPlace::container) == Some(&instance.id);
    let charge = usage.filter(|_| own).or_else(|| instance.history.latest(at))?;
    instance.history.growth(at, charge)
}

fn from_dump(split: crate::parse::oom::MemorySplit) -> MemorySplit {
    let file = split.file();
    MemorySplit { anon: split.anon, file, shmem: split.shmem, kernel: split.kernel, slab: split.slab(), inactive_file: None }
}
