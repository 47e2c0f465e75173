//! The figures of one cgroup, from whichever files its hierarchy has.
//!
//! Flows in: a [`Layout`] and a path. Flows out: a [`CgroupSample`], or single figures of it where
//! only these are wanted, because a look at 250 containers must cost next to nothing.

use super::{
    figures,
    files::{KernelFiles, ReadError},
    layout::Layout,
};
use crate::{
    model::Bytes,
    signal::{CgroupCounters, CgroupSample, CpuThrottling, PidsUse},
};
use std::path::Path;

/// Reads cgroups of one layout.
#[derive(Debug)]
pub struct CgroupReader {
    layout: Layout,
    files: KernelFiles,
    problem: Option<ReadError>,
}

impl CgroupReader {
    /// A reader for this layout.
    pub fn new(layout: Layout) -> Self {
        Self { layout, files: KernelFiles::default(), problem: None }
    }

    /// The layout that is read.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The last file that could not be read, since it was last asked for. Absence is no problem.
    pub fn take_problem(&mut self) -> Option<ReadError> {
        self.problem.take()
    }

    /// The memory charge alone; `None` when the cgroup is gone or accounts no memory.
    pub fn usage(&mut self, path: &str) -> Option<Bytes> {
        let (layout, mut cgroup) = self.cgroup(path);
        match layout {
            Layout::V1 { memory, .. } => cgroup.figure(memory, "memory.usage_in_bytes", figures::bytes),
            Layout::V2 { unified } => cgroup.figure(unified, "memory.current", figures::bytes),
        }
    }

    /// The counters alone. v1's `failcnt` counts reclaim, not kills, and is left to the whole sample.
    pub fn counters(&mut self, path: &str) -> CgroupCounters {
        let (layout, mut cgroup) = self.cgroup(path);
        match layout {
            Layout::V1 { memory, .. } => {
                CgroupCounters { local: cgroup.figure(memory, "memory.oom_control", figures::memory_events), ..CgroupCounters::default() }
            }
            Layout::V2 { unified } => CgroupCounters {
                events: cgroup.figure(unified, "memory.events", figures::memory_events),
                local: cgroup.figure(unified, "memory.events.local", figures::memory_events),
                failcnt: None,
            },
        }
    }

    /// The CPU throttling alone.
    pub fn throttling(&mut self, path: &str) -> Option<CpuThrottling> {
        let (layout, mut cgroup) = self.cgroup(path);
        let mount = match layout {
            Layout::V1 { cpu, .. } => cpu.as_deref()?,
            Layout::V2 { unified } => unified,
        };
        cgroup.figure(mount, "cpu.stat", figures::throttling)
    }

    /// For how long the tasks of a cgroup waited for disks and CPUs; memory is among its other figures.
    pub fn pressure(&mut self, sample: CgroupSample) -> CgroupSample {
        let (layout, mut cgroup) = self.cgroup(&sample.path);
        let Layout::V2 { unified } = layout else { return sample };
        let mut pressure = |file| cgroup.figure(unified, file, figures::pressure);
        let (io_pressure, cpu_pressure) = (pressure("io.pressure"), pressure("cpu.pressure"));
        CgroupSample { io_pressure, cpu_pressure, ..sample }
    }

    /// Everything; `None` when the cgroup is gone or accounts no memory.
    pub fn sample(&mut self, path: &str) -> Option<CgroupSample> {
        let usage = self.usage(path)?;
        Some(self.complete(path, usage))
    }

    /// Everything else, for a usage that was read just now.
    pub fn complete(&mut self, path: &str, usage: Bytes) -> CgroupSample {
        let counters = self.counters(path);
        let sample = CgroupSample { path: path.to_owned(), usage: Some(usage), counters, ..CgroupSample::default() };
        let (layout, cgroup) = self.cgroup(path);
        match layout {
            Layout::V1 { memory, cpu, pids } => cgroup.complete_v1(sample, memory, cpu.as_deref(), pids.as_deref()),
            Layout::V2 { unified } => cgroup.complete_v2(sample, unified),
        }
    }

    fn cgroup<'a>(&'a mut self, path: &'a str) -> (&'a Layout, Cgroup<'a>) {
        (&self.layout, Cgroup { path, files: &mut self.files, problem: &mut self.problem })
    }
}

/// One cgroup under the eyes of the reader.
struct Cgroup<'a> {
    path: &'a str,
    files: &'a mut KernelFiles,
    problem: &'a mut Option<ReadError>,
}

impl Cgroup<'_> {
    fn figure<T>(&mut self, mount: &Path, file: &str, parse: fn(&[u8]) -> Option<T>) -> Option<T> {
        match self.files.read(mount, self.path, file) {
            Ok(content) => content.and_then(parse),
            Err(error) => {
                *self.problem = Some(error);
                None
            }
        }
    }

    fn complete_v2(mut self, sample: CgroupSample, unified: &Path) -> CgroupSample {
        CgroupSample {
            limit: self.figure(unified, "memory.max", figures::limit),
            peak: self.figure(unified, "memory.peak", figures::bytes),
            swap: self.figure(unified, "memory.swap.current", figures::bytes),
            split: self.figure(unified, "memory.stat", figures::split),
            group_kill: self.figure(unified, "memory.oom.group", figures::flag),
            memory_pressure: self.figure(unified, "memory.pressure", figures::pressure),
            cpu: self.figure(unified, "cpu.stat", figures::throttling),
            pids: self.pids(unified),
            ..sample
        }
    }

    fn complete_v1(mut self, sample: CgroupSample, memory: &Path, cpu: Option<&Path>, pids: Option<&Path>) -> CgroupSample {
        let kernel = self.figure(memory, "memory.kmem.usage_in_bytes", figures::bytes);
        let split = self.figure(memory, "memory.stat", figures::split_v1);
        let both = self.figure(memory, "memory.memsw.usage_in_bytes", figures::bytes);
        CgroupSample {
            limit: self.figure(memory, "memory.limit_in_bytes", figures::limit_v1),
            peak: self.figure(memory, "memory.max_usage_in_bytes", figures::bytes),
            swap: both.zip(sample.usage).map(|(both, usage)| both.saturating_sub(usage)),
            split: split.map(|split| crate::signal::MemorySplit { kernel, ..split }),
            counters: CgroupCounters { failcnt: self.figure(memory, "memory.failcnt", figures::number), ..sample.counters },
            cpu: cpu.and_then(|cpu| self.figure(cpu, "cpu.stat", figures::throttling)),
            pids: pids.and_then(|pids| self.pids(pids)),
            ..sample
        }
    }

    /// The files are the same in both versions.
    fn pids(&mut self, mount: &Path) -> Option<PidsUse> {
        Some(PidsUse {
            current: self.figure(mount, "pids.current", figures::number)?,
            max: self.figure(mount, "pids.max", figures::number),
            refused: self.figure(mount, "pids.events", |content| figures::value(content, "max")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Limit,
        signal::{CpuThrottling, MemoryEvents},
        sources::cgroups::testing::Tree,
    };

    const POD: &str = "/kubepods/burstable/pod1b4e28ba-2fa1-41d2-883f-0016d3cca427";

    #[test]
    fn v2_and_what_this_kernel_does_not_have() {
        let tree = Tree::new();
        let file = |name: &str, content: &str| tree.write(&format!("{POD}/{name}"), content);
        file("memory.current", "4096\n");
        file("memory.max", "max\n");
        file("memory.stat", "anon 1\nfile 2\n");
        file("memory.events", "max 5\noom 2\noom_kill 2\n");
        file("memory.events.local", "max 0\noom 1\noom_kill 0\n");
        file("memory.oom.group", "1\n");
        file("cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_usec 1\n");
        file("pids.current", "4\n");
        file("pids.max", "max\n");
        let mut reader = CgroupReader::new(Layout::V2 { unified: tree.root().into() });
        let sample = reader.sample(POD).expect("sample");
        assert_eq!(sample.path, POD);
        assert_eq!((sample.usage, sample.limit), (Some(Bytes(4096)), Some(Limit::Unlimited)));
        assert_eq!(sample.counters.events, Some(MemoryEvents { max: Some(5), oom: Some(2), oom_kill: Some(2), oom_group_kill: None }));
        assert_eq!(sample.counters.local.and_then(|local| local.oom_kill), Some(0));
        assert_eq!(sample.cpu, Some(CpuThrottling { periods: 3, throttled_periods: 2, throttled_us: 1 }));
        assert_eq!(sample.pids, Some(PidsUse { current: 4, max: None, refused: None }));
        assert_eq!((sample.group_kill, sample.peak, sample.swap, sample.memory_pressure), (Some(true), None, None, None));
        assert!(reader.take_problem().is_none());
    }

    #[test]
    fn v1_gathers_from_three_hierarchies() {
        let tree = Tree::new();
        tree.write("memory/memory.usage_in_bytes", "0\n");
        let file = |name: &str, content: &str| tree.write(&name.replace('*', POD.trim_start_matches('/')), content);
        file("memory/*/memory.usage_in_bytes", "1000\n");
        file("memory/*/memory.memsw.usage_in_bytes", "1500\n");
        file("memory/*/memory.limit_in_bytes", "33554432\n");
        file("memory/*/memory.stat", "total_rss 7\n");
        file("memory/*/memory.kmem.usage_in_bytes", "9\n");
        file("memory/*/memory.oom_control", "under_oom 0\noom_kill 3\n");
        file("memory/*/memory.failcnt", "12\n");
        file("cpu/*/cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 5000\n");
        file("pids/*/pids.current", "4\n");
        file("pids/*/pids.max", "100\n");
        file("pids/*/pids.events", "max 6\n");
        let mut reader = CgroupReader::new(Layout::find(tree.root()).expect("layout"));
        let sample = reader.sample(POD).expect("sample");
        assert_eq!((sample.usage, sample.swap), (Some(Bytes(1000)), Some(Bytes(500))));
        assert_eq!(sample.limit, Some(Limit::Bytes(Bytes(32 << 20))));
        assert_eq!(sample.split.and_then(|split| split.kernel), Some(Bytes(9)));
        assert_eq!(sample.counters.local.and_then(|local| local.oom_kill), Some(3));
        assert_eq!((sample.counters.events, sample.counters.failcnt), (None, Some(12)));
        assert_eq!(sample.cpu.map(|cpu| cpu.throttled_us), Some(5));
        assert_eq!(sample.pids, Some(PidsUse { current: 4, max: Some(100), refused: Some(6) }));
    }

    #[test]
    fn a_cgroup_that_is_gone_has_no_sample() {
        let tree = Tree::new();
        let mut reader = CgroupReader::new(Layout::V2 { unified: tree.root().into() });
        assert_eq!(reader.sample(POD), None);
        assert!(reader.take_problem().is_none());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_and_spoils_nothing_else() {
        let tree = Tree::new();
        tree.write(&format!("{POD}/memory.current"), "1\n");
        tree.make(&format!("{POD}/memory.stat"));
        let mut reader = CgroupReader::new(Layout::V2 { unified: tree.root().into() });
        assert_eq!(reader.sample(POD).expect("sample").split, None);
        assert!(reader.take_problem().expect("problem").path.ends_with("memory.stat"));
    }
}
