//! The statistics block of a memcg OOM: what the charged memory was.
//!
//! Three forms: until 5.2 one line for each cgroup below the limit, its own pages only
//! (`Memory cgroup stats for P: cache:32KB rss:..`); from 5.3 the text of `memory.stat` in bytes, in
//! one record of many lines and from 6.4 in one record a line (`anon 4096`); on cgroup v1 the latter
//! has v1's keys (`rss 4096`) and, prefixed `total_`, the sums over the cgroups below.

use crate::model::Bytes;
use serde::Serialize;
use std::sync::Arc;

/// Charged memory by kind, in the words of cgroup v2 (v1's `rss` is `anon`, its `cache` is `cache`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemorySplit {
    /// Anonymous memory: heaps and stacks.
    pub anon: Option<Bytes>,
    /// Page cache, shared memory and tmpfs included.
    pub cache: Option<Bytes>,
    /// Shared memory and tmpfs: a restart does not free what a pod's volume holds.
    pub shmem: Option<Bytes>,
    /// All kernel memory (5.18 and later).
    pub kernel: Option<Bytes>,
    /// Kernel objects such as inodes and dentries.
    pub slab: Option<Bytes>,
    /// The part of it that can be reclaimed.
    pub slab_reclaimable: Option<Bytes>,
    /// The part of it that cannot.
    pub slab_unreclaimable: Option<Bytes>,
    /// Stacks of threads in the kernel.
    pub kernel_stack: Option<Bytes>,
    /// Page tables.
    pub page_tables: Option<Bytes>,
    /// Socket buffers.
    pub sock: Option<Bytes>,
    /// Per-CPU kernel structures.
    pub percpu: Option<Bytes>,
    /// Page cache that waits to be written.
    pub dirty: Option<Bytes>,
    /// Page cache that is being written.
    pub writeback: Option<Bytes>,
    /// Swapped out (v1 only; v2 has a line of its own).
    pub swap: Option<Bytes>,
}

impl MemorySplit {
    /// Page cache of files, without shared memory and tmpfs.
    pub fn file(&self) -> Option<Bytes> {
        Some(self.cache?.saturating_sub(self.shmem?))
    }

    /// Anonymous memory and page cache together: what a cgroup of the one-line form holds.
    pub fn user(&self) -> Bytes {
        self.anon.unwrap_or_default().saturating_add(self.cache.unwrap_or_default())
    }

    /// Kernel objects, where the sum is not printed from its two parts.
    pub fn slab(&self) -> Option<Bytes> {
        self.slab.or_else(|| Some(self.slab_reclaimable?.saturating_add(self.slab_unreclaimable?)))
    }

    fn slot(&mut self, key: &str) -> Option<&mut Option<Bytes>> {
        Some(match key {
            "anon" | "rss" => &mut self.anon,
            "file" | "cache" => &mut self.cache,
            "shmem" => &mut self.shmem,
            "kernel" => &mut self.kernel,
            "slab" => &mut self.slab,
            "slab_reclaimable" => &mut self.slab_reclaimable,
            "slab_unreclaimable" => &mut self.slab_unreclaimable,
            "kernel_stack" => &mut self.kernel_stack,
            "pagetables" => &mut self.page_tables,
            "sock" => &mut self.sock,
            "percpu" => &mut self.percpu,
            "file_dirty" | "dirty" => &mut self.dirty,
            "file_writeback" | "writeback" => &mut self.writeback,
            "swap" => &mut self.swap,
            _ => return None,
        })
    }

    fn set(&mut self, key: &str, amount: Bytes) {
        if let Some(slot) = self.slot(key) {
            *slot = Some(amount);
        }
    }

    fn slots_mut(&mut self) -> [&mut Option<Bytes>; 14] {
        [
            &mut self.anon,
            &mut self.cache,
            &mut self.shmem,
            &mut self.kernel,
            &mut self.slab,
            &mut self.slab_reclaimable,
            &mut self.slab_unreclaimable,
            &mut self.kernel_stack,
            &mut self.page_tables,
            &mut self.sock,
            &mut self.percpu,
            &mut self.dirty,
            &mut self.writeback,
            &mut self.swap,
        ]
    }

    fn add(&mut self, mut other: Self) {
        for (sum, part) in self.slots_mut().into_iter().zip(other.slots_mut()) {
            if let Some(part) = part {
                *sum = Some(sum.unwrap_or_default().saturating_add(*part));
            }
        }
    }
}

/// The statistics of one cgroup, its own pages only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CgroupMemory {
    /// Its path.
    pub cgroup: Arc<str>,
    /// What it holds.
    pub split: MemorySplit,
}

/// The first line of a block, or in the old form the whole block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsLine<'a> {
    /// The cgroup.
    pub cgroup: Option<&'a str>,
    /// What follows on the same line or in the same record.
    pub rest: &'a str,
}

impl<'a> StatsLine<'a> {
    /// Reads the text behind `Memory cgroup stats for `. Paths may hold colons, never one before a space.
    pub fn parse(text: &'a str) -> Self {
        let ends = [": ", ":\n", ":#012", ":\\x0a"];
        let end = ends
            .iter()
            .filter_map(|end| text.find(end))
            .min()
            .or_else(|| text.trim_end().ends_with(':').then(|| text.trim_end().len() - 1));
        let (path, rest) = end.and_then(|end| text.split_at_checked(end)).unwrap_or((text, ""));
        Self { cgroup: (end.is_some() && path.starts_with('/')).then_some(path), rest: rest.strip_prefix(':').unwrap_or(rest) }
    }
}

/// Puts the block of one dump together.
#[derive(Debug, Clone, Default)]
pub struct MemoryStats {
    first: Option<Arc<str>>,
    sum: MemorySplit,
    own: MemorySplit,
    with_children: MemorySplit,
    cgroups: Vec<CgroupMemory>,
}

impl MemoryStats {
    /// A pod-level OOM of the old form prints a line for every container, dead ones included; the
    /// eight largest name the one that holds the memory.
    pub const MOST_CGROUPS: usize = 8;

    /// Takes a block's first line.
    pub fn begin(&mut self, line: StatsLine<'_>) {
        let mut inline = MemorySplit::default();
        let mut fields = line.rest.split(['\n', ' ', '\t']).flat_map(|piece| piece.split("#012")).flat_map(|piece| piece.split("\\x0a"));
        while let Some(field) = fields.next() {
            match field.split_once(':') {
                Some((key, amount)) => set_kib(&mut inline, key, amount),
                None if field.is_empty() => {}
                None => self.row(field, fields.next().and_then(|number| number.parse().ok())),
            }
        }
        let cgroup: Option<Arc<str>> = line.cgroup.map(Into::into);
        if self.first.is_none() {
            self.first = cgroup.clone();
        }
        if inline != MemorySplit::default() {
            self.sum.add(inline);
            self.keep(cgroup, inline);
        }
    }

    /// Takes one line of `memory.stat`.
    pub fn row(&mut self, key: &str, bytes: Option<u64>) {
        let Some(amount) = bytes.map(Bytes) else { return };
        match key.strip_prefix("total_") {
            Some(key) => self.with_children.set(key, amount),
            None => self.own.set(key, amount),
        }
    }

    /// Whether a block has begun.
    pub fn has_begun(&self) -> bool {
        self.first.is_some() || self.split().is_some()
    }

    /// The first cgroup of the block, which is the one whose limit was hit if nothing was left out before it.
    pub fn first_cgroup(&self) -> Option<&Arc<str>> {
        self.first.as_ref()
    }

    /// What all the memory was: the sum over the lines, or the hierarchical figures where both are printed.
    pub fn split(&self) -> Option<MemorySplit> {
        [self.with_children, self.own, self.sum].into_iter().find(|split| *split != MemorySplit::default())
    }

    /// The largest cgroups of the old form, largest first.
    pub fn into_cgroups(mut self) -> Vec<CgroupMemory> {
        self.cgroups.sort_by_key(|cgroup| std::cmp::Reverse(cgroup.split.user()));
        self.cgroups
    }

    fn keep(&mut self, cgroup: Option<Arc<str>>, split: MemorySplit) {
        let Some(cgroup) = cgroup.filter(|_| split.user() > Bytes(0)) else { return };
        let smallest = self.cgroups.iter().enumerate().min_by_key(|(_, kept)| kept.split.user());
        match smallest {
            Some((at, kept)) if self.cgroups.len() >= Self::MOST_CGROUPS => {
                if kept.split.user() < split.user() {
                    self.cgroups.swap_remove(at);
                    self.cgroups.push(CgroupMemory { cgroup, split });
                }
            }
            _ => self.cgroups.push(CgroupMemory { cgroup, split }),
        }
    }
}

fn set_kib(split: &mut MemorySplit, key: &str, amount: &str) {
    let kib = amount.strip_suffix("KB").or_else(|| amount.strip_suffix("kB")).and_then(|digits| digits.parse().ok());
    if let Some(kib) = kib {
        split.set(key, Bytes::from_kib(kib));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str], rows: &[(&str, u64)]) -> MemoryStats {
        let mut stats = MemoryStats::default();
        lines.iter().for_each(|line| stats.begin(StatsLine::parse(line)));
        rows.iter().for_each(|(key, value)| stats.row(key, Some(*value)));
        stats
    }

    #[test]
    fn lines_for_each_cgroup_are_summed_and_the_largest_kept() {
        let stats = read(
            &[
                "/pod: cache:0KB rss:0KB swap:0KB",
                "/pod/a: cache:8KB rss:100KB shmem:4KB swap:1KB",
                "/pod/b: cache:0KB rss:900KB shmem:0KB swap:0KB",
            ],
            &[],
        );
        let split = stats.split().expect("split");
        assert_eq!(
            [split.anon, split.cache, split.shmem, split.file(), split.swap],
            [1000, 8, 4, 4, 1].map(|kib| Some(Bytes::from_kib(kib)))
        );
        assert_eq!(stats.first_cgroup().map(AsRef::as_ref), Some("/pod"));
        let paths: Vec<_> = stats.into_cgroups().into_iter().map(|cgroup| cgroup.cgroup.to_string()).collect();
        assert_eq!(paths, ["/pod/b", "/pod/a"]);
    }

    #[test]
    fn one_record_of_many_lines_is_in_bytes_however_its_newlines_are_written() {
        for newline in ["\n", "#012", "\\x0a", " "] {
            let line =
                ["/a:b/pod:", "anon 4096", "file 8192", "shmem 8192", "slab_reclaimable 512", "slab_unreclaimable 512"].join(newline);
            let stats = read(&[&line], &[]);
            let split = stats.split().expect("split");
            assert_eq!([split.anon, split.file(), split.slab()], [Some(Bytes(4096)), Some(Bytes(0)), Some(Bytes(1024))], "{newline:?}");
            assert_eq!(stats.first_cgroup().map(AsRef::as_ref), Some("/a:b/pod"));
        }
    }

    #[test]
    fn a_record_for_each_line_prefers_the_hierarchy() {
        let v1 = read(&["/pod:"], &[("cache", 1), ("rss", 2), ("total_cache", 100), ("total_rss", 200), ("unknown", 9)]);
        assert_eq!(v1.split().and_then(|split| split.anon), Some(Bytes(200)));
        let v2 = read(&["/pod:"], &[("anon", 5), ("kernel", 7)]);
        assert_eq!(v2.split().map(|split| (split.anon, split.kernel, split.shmem)), Some((Some(Bytes(5)), Some(Bytes(7)), None)));
    }

    #[test]
    fn hundreds_of_dead_cgroups_are_bounded() {
        let lines: Vec<String> = (0..500).map(|n| format!("/pod/{n}: cache:0KB rss:{n}KB")).collect();
        let stats = read(&lines.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        let kept = stats.into_cgroups();
        assert_eq!(kept.len(), MemoryStats::MOST_CGROUPS);
        assert_eq!(kept.first().map(|cgroup| cgroup.cgroup.as_ref()), Some("/pod/499"));
    }
}
