//! One container instance: one life of a container, as its cgroup and its processes show it.

use super::{
    MemoryHistory,
    pressure::{Throttled, throttled},
    recent::Recent,
};
use crate::{
    model::{BootTime, Bytes, CgroupPlace, ContainerId, Pid, PodUid, ProcessKey},
    signal::{CgroupSample, CpuThrottling, ProcessSample, ProcessesSample},
};

/// Processes remembered for each container. The kernel kills the largest, so the largest are kept.
const MAX_PROCESSES: usize = 64;

/// One life of a container.
#[derive(Debug, Clone)]
pub struct ContainerInstance {
    /// Its id.
    pub id: ContainerId,
    /// The pod it belongs to; `None` for a container outside of pods.
    pub pod: Option<PodUid>,
    /// The path of its cgroup, once seen.
    pub cgroup: Option<String>,
    /// Its latest figures.
    pub sample: Option<Box<CgroupSample>>,
    /// When they were read.
    pub sampled: BootTime,
    /// How its memory charge moved.
    pub history: MemoryHistory,
    /// How its CPU limit held it back; nothing where it has none.
    cpu: Recent<CpuThrottling>,
    /// Its processes at the latest reading.
    pub processes: Vec<ProcessSample>,
    /// When they were read; `None` before the first reading.
    pub processes_read: Option<BootTime>,
    /// Its first process.
    pub init: Option<ProcessKey>,
    /// When its cgroup went away.
    pub gone: Option<BootTime>,
}

/// What a look-up of a pid found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProcess {
    /// The process.
    pub process: ProcessSample,
    /// The container it runs in.
    pub container: ContainerId,
    /// When it was last seen there.
    pub seen: BootTime,
}

impl ContainerInstance {
    /// A container of which nothing but its identity is known yet.
    pub fn new(id: ContainerId, pod: Option<PodUid>, at: BootTime) -> Self {
        Self {
            id,
            pod,
            cgroup: None,
            sample: None,
            sampled: at,
            history: MemoryHistory::default(),
            cpu: Recent::default(),
            processes: Vec::new(),
            processes_read: None,
            init: None,
            gone: None,
        }
    }

    /// Takes in figures of its cgroup. Kill counters that a partial sample leaves out are kept.
    pub fn sampled(&mut self, at: BootTime, sample: &CgroupSample) {
        if let Some(usage) = sample.usage {
            self.history.add(at, usage);
        }
        if let Some(cpu) = sample.cpu {
            self.cpu.add(at, cpu);
        }
        self.sampled = at;
        self.cgroup.get_or_insert_with(|| sample.path.clone());
        match &mut self.sample {
            Some(known) => complete(known, sample),
            None => self.sample = Some(Box::new(sample.clone())),
        }
    }

    /// Takes in its processes.
    pub fn processes_read(&mut self, at: BootTime, read: &ProcessesSample) {
        self.processes = read.processes.clone();
        self.processes.sort_by_key(|process| std::cmp::Reverse(process.rss()));
        self.processes.truncate(MAX_PROCESSES);
        self.processes_read = Some(at);
        if let Some(first) = first_process(&read.processes) {
            self.init = Some(first);
        }
    }

    /// How its CPU limit held it back in about the `seconds` before `until`; `None` where that is not known.
    pub fn throttled(&self, until: BootTime, seconds: u64) -> Option<Throttled> {
        throttled(&self.cpu, until, seconds)
    }

    /// The process with this pid at the latest reading.
    pub fn process(&self, pid: Pid) -> Option<&ProcessSample> {
        self.processes.iter().find(|process| process.key.pid == pid)
    }

    /// What its processes have resident together.
    pub fn rss(&self) -> Option<Bytes> {
        self.processes.iter().filter_map(ProcessSample::rss).reduce(Bytes::saturating_add)
    }

    /// Whether its first process was seen alive after `at`.
    pub fn first_process_alive_after(&self, at: BootTime) -> bool {
        let read_later = self.processes_read.is_some_and(|read| read > at);
        let init = self.init.filter(|_| read_later);
        init.is_some_and(|init| self.processes.iter().any(|process| process.key == init))
    }
}

/// A container's first process has pid 1 in its own namespace; in a pod that shares its pid
/// namespace, the oldest process is the container's first.
fn first_process(processes: &[ProcessSample]) -> Option<ProcessKey> {
    let one = processes.iter().find(|process| process.inner_pid == Some(1));
    one.or_else(|| processes.iter().min_by_key(|process| process.key.start_ticks)).map(|process| process.key)
}

/// Overlays the figures that `newer` has; a fast sample reads only a few of the files.
pub(super) fn complete(known: &mut CgroupSample, newer: &CgroupSample) {
    macro_rules! take {
        ($($field:ident).+) => { if newer.$($field).+.is_some() { known.$($field).+ = newer.$($field).+; } };
    }
    take!(usage);
    take!(limit);
    take!(peak);
    take!(swap);
    take!(split);
    take!(counters.events);
    take!(counters.local);
    take!(counters.failcnt);
    take!(group_kill);
    take!(memory_pressure);
    take!(io_pressure);
    take!(cpu_pressure);
    take!(cpu);
    take!(pids);
}

/// Whether a sample's place is this container's own cgroup, not one that the container made inside itself.
pub(super) fn own_cgroup(place: &CgroupPlace) -> Option<(&ContainerId, Option<&PodUid>)> {
    match place {
        CgroupPlace::Container { pod, container, inside: None } => Some((container, Some(pod))),
        CgroupPlace::LooseContainer { container, inside: None } => Some((container, None)),
        _ => None,
    }
}
