//! How much memory of which kind, how it grew, and whether a restart frees it.

use super::Victim;
use crate::{
    findings::Memory,
    inventory::{ContainerInstance, Growth, Inventory},
    model::{BootTime, Bytes, CgroupPlace},
    parse::oom::OomEvent,
    signal::MemorySplit,
};

/// A kind of memory that makes up this share, in per cent, of the charge decides what can help.
const DECISIVE_SHARE: u64 = 50;

/// The memory at a kill, with what the sentence needs beyond the finding's own figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryPicture {
    /// The figures for the finding.
    pub figures: Memory,
    /// What the processes of the victim's container had resident together, and what it was charged
    /// for, when each was last sampled before the kill.
    pub resident: Option<(Bytes, Bytes)>,
    /// How the container's charge moved.
    pub growth: Option<Growth>,
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
    pub fn of(event: &OomEvent, victim: &Victim, inventory: &Inventory, at: BootTime) -> Self {
        let instance = victim.container.as_ref().and_then(|id| inventory.container(id));
        // What was sampled after the kill shows what is left, not what was there.
        let before = instance.filter(|instance| instance.sampled <= at);
        let sampled = before.and_then(|instance| instance.sample.as_deref());
        let own_limit = instance.and_then(|instance| instance.sample.as_deref()).and_then(|sample| sample.limit);
        let limit_place = event.limit_place();
        let of_container = limit_place.as_ref().is_none_or(|place| place.container().is_some());
        let usage = event.memory.and_then(|memory| memory.usage()).or_else(|| sampled.filter(|_| of_container)?.usage);
        let limit = event.memory.and_then(|memory| memory.limit()).or(own_limit.filter(|_| of_container));
        let split = event.split.map(from_dump).or_else(|| sampled.filter(|_| of_container)?.split).unwrap_or_default();
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
        let resident = instance.and_then(|instance| Some((instance.resident.latest(at)?, instance.history.latest(at)?)));
        Self { figures, resident, growth }
    }

    /// The memory that a restart does not free, if it makes up most of the charge.
    pub fn sticky(&self) -> Option<Sticky> {
        sticky(&self.figures)
    }
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
