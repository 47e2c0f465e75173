//! Process ids and memory of the node, counted as the kubelet counts them for evictions.
//!
//! Flows in: the host's `/proc` and `/sys/fs/cgroup`. Flows out: [`PidRoom`], [`MemoryRoom`].

use crate::{
    model::Bytes,
    signal::{MemoryRoom, PidRoom},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// `memory.stat` has some 2 KiB, the others a line or fifty.
const LONGEST: u64 = 64 << 10;

/// Reads the node's limits.
#[derive(Debug)]
pub(super) struct NodeLimits {
    proc: PathBuf,
    cgroup: PathBuf,
}

impl NodeLimits {
    /// Below the host's `/proc` and `/sys/fs/cgroup`.
    pub fn new(proc: &Path, cgroup: &Path) -> Self {
        Self { proc: proc.into(), cgroup: cgroup.into() }
    }

    /// pkg/kubelet/stats/pidlimit/pidlimit_linux.go.
    pub fn pids(&self) -> Option<PidRoom> {
        let limit = |file: &str| text(&self.proc.join("sys/kernel").join(file))?.trim().parse::<u64>().ok();
        let max = [limit("pid_max"), limit("threads-max")].into_iter().flatten().min()?;
        let loadavg = text(&self.proc.join("loadavg"))?;
        let (_, used) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
        Some(PidRoom { max, used: used.parse().ok()? })
    }

    /// The root cgroup's working set: on v1 `memory.usage_in_bytes`, on v2, whose root has no such
    /// file, `anon` and `file` of its `memory.stat`; less `inactive_file` (cadvisor, `setMemoryStats`).
    pub fn memory(&self) -> Option<MemoryRoom> {
        let meminfo = text(&self.proc.join("meminfo"))?;
        let capacity = Bytes::from_kib(value(&meminfo, "MemTotal:")?);
        let v1 = self.cgroup.join("memory");
        let (usage, inactive) = match text(&v1.join("memory.usage_in_bytes")) {
            Some(usage) => (usage.trim().parse().ok()?, value(&text(&v1.join("memory.stat"))?, "total_inactive_file")?),
            None => {
                let stat = text(&self.cgroup.join("memory.stat"))?;
                (value(&stat, "anon")?.saturating_add(value(&stat, "file")?), value(&stat, "inactive_file")?)
            }
        };
        Some(MemoryRoom { capacity, working_set: Bytes(usage).saturating_sub(Bytes(inactive)) })
    }
}

/// The number behind a key that begins a line.
fn value(text: &str, key: &str) -> Option<u64> {
    let mut words = text.lines().map(str::split_ascii_whitespace).find(|words| words.clone().next() == Some(key))?;
    words.nth(1)?.parse().ok()
}

fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("dir");
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("dir");
            fs::write(path, text).expect("file");
        }
        dir
    }

    #[test]
    fn pids_are_bounded_by_the_lower_limit() {
        let dir =
            tree(&[("sys/kernel/pid_max", "4194304\n"), ("sys/kernel/threads-max", "63345\n"), ("loadavg", "0.5 0.4 0.3 2/1021 4711\n")]);
        let limits = NodeLimits::new(dir.path(), dir.path());
        assert_eq!(limits.pids(), Some(PidRoom { max: 63345, used: 1021 }));
        assert_eq!(limits.memory(), None);
    }

    #[test]
    fn the_working_set_on_both_hierarchies() {
        let meminfo = ("meminfo", "MemTotal:        1000 kB\nMemFree: 1 kB\n");
        let v1 = tree(&[
            meminfo,
            ("memory/memory.usage_in_bytes", "700000\n"),
            ("memory/memory.stat", "inactive_file 5\ntotal_inactive_file 200000\n"),
        ]);
        let v2 = tree(&[meminfo, ("memory.stat", "anon 400000\nfile 300000\ninactive_file 200000\n")]);
        for dir in [v1, v2] {
            let memory = NodeLimits::new(dir.path(), dir.path()).memory().expect("read");
            assert_eq!((memory.capacity, memory.working_set), (Bytes(1_024_000), Bytes(500_000)));
        }
    }

    #[test]
    fn this_machine_has_both() {
        let limits = NodeLimits::new(Path::new("/proc"), Path::new("/sys/fs/cgroup"));
        assert!(limits.pids().is_some_and(|pids| pids.max > pids.used && pids.used > 0));
    }
}
