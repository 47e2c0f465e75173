//! The facts of this node and boot, read once at the start.
//!
//! Flows in: the node's roots and its name in Kubernetes, where given. Flows out: [`NodeFacts`], the
//! first signal of every run.

use crate::{
    config::Roots,
    model::{BootId, Bytes},
    signal::{CgroupVersion, NodeFacts},
};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// A fact without which nothing can be said is missing.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}; mount the host's /proc and name it with --proc-root", path.display())]
pub struct NodeFactsError {
    path: PathBuf,
    source: io::Error,
}

/// Reads the facts.
///
/// Without a `node` name it is the host's name, which inside of a pod is the pod's: a cluster's
/// agent must be given the name (the downward API's `spec.nodeName`).
///
/// # Errors
/// `/proc` has no boot id, kernel release or host name to read.
pub fn read(roots: &Roots, node: Option<&str>) -> Result<NodeFacts, NodeFactsError> {
    let line = |below: &str| {
        let path = roots.proc.join(below);
        text(&path).map(|text| text.trim().to_owned()).map_err(|source| NodeFactsError { path, source })
    };
    Ok(NodeFacts {
        node: node.map_or_else(|| line("sys/kernel/hostname"), |node| Ok(node.to_owned()))?,
        boot_id: BootId(line("sys/kernel/random/boot_id")?),
        kernel: line("sys/kernel/osrelease")?,
        cgroups: cgroup_version(&roots.cgroup),
        // The same kernel answers in every container.
        page_size: procfs::page_size(),
        ticks_per_second: procfs::ticks_per_second(),
        memory_total: text(&roots.proc.join("meminfo")).ok().as_deref().and_then(memory_total),
        agent: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// The hierarchy that accounts memory. In hybrid mode the root is a tmpfs with one directory for
/// each v1 controller, and `unified` for systemd's own use; the memory controller is in one of the
/// two, never in both. Where it is in `unified`, that directory must be given as the root.
pub fn cgroup_version(root: &Path) -> CgroupVersion {
    let controls_memory = |controllers: &Path| text(controllers).is_ok_and(|text| text.split_whitespace().any(|word| word == "memory"));
    if root.join("memory/memory.usage_in_bytes").exists() {
        CgroupVersion::V1
    } else if controls_memory(&root.join("cgroup.controllers")) {
        CgroupVersion::V2
    } else {
        CgroupVersion::Absent
    }
}

/// The line `MemTotal:       16303236 kB` of `/proc/meminfo`.
fn memory_total(meminfo: &str) -> Option<Bytes> {
    let amount = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    amount.trim().strip_suffix("kB")?.trim_end().parse().ok().map(Bytes::from_kib)
}

fn text(path: &Path) -> io::Result<String> {
    const LIMIT: u64 = 64 << 10; // `meminfo` is about 1.5 KiB
    let mut text = String::new();
    File::open(path)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn write(root: &Path, below: &str, text: &str) {
        let path = root.join(below);
        fs::create_dir_all(path.parent().expect("parent")).expect("dir");
        fs::write(path, text).expect("write");
    }

    fn roots(root: &Path) -> Roots {
        Roots { proc: root.join("proc"), cgroup: root.join("cgroup"), ..Roots::default() }
    }

    #[test]
    fn facts_come_from_the_given_roots() {
        let root = tempfile::tempdir().expect("temp dir");
        write(root.path(), "proc/sys/kernel/hostname", "worker-3\n");
        write(root.path(), "proc/sys/kernel/osrelease", "6.12.1-test\n");
        write(root.path(), "proc/sys/kernel/random/boot_id", "1b2c3d4e-0000-4000-8000-0123456789ab\n");
        write(root.path(), "proc/meminfo", "MemTotal:        2048 kB\nMemFree:  1 kB\n");
        write(root.path(), "cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
        let facts = read(&roots(root.path()), None).expect("facts");
        assert_eq!((facts.node.as_str(), facts.kernel.as_str()), ("worker-3", "6.12.1-test"));
        assert_eq!(facts.boot_id.0, "1b2c3d4e-0000-4000-8000-0123456789ab");
        assert_eq!((facts.memory_total, facts.cgroups), (Some(Bytes(2 << 20)), CgroupVersion::V2));
        assert!(facts.page_size.is_power_of_two() && facts.ticks_per_second >= 100);
        assert_eq!(read(&roots(root.path()), Some("node-a")).expect("facts").node, "node-a");
    }

    #[test]
    fn a_missing_boot_id_names_its_path_and_the_remedy() {
        let root = tempfile::tempdir().expect("temp dir");
        let error = read(&roots(root.path()), Some("node-a")).expect_err("nothing there").to_string();
        assert!(error.contains("random/boot_id") && error.contains("--proc-root"), "{error}");
    }

    #[test]
    fn memory_decides_the_version_in_hybrid_mode() {
        let root = tempfile::tempdir().expect("temp dir");
        let cgroup = root.path();
        assert_eq!(cgroup_version(cgroup), CgroupVersion::Absent);
        write(cgroup, "unified/cgroup.controllers", "\n");
        write(cgroup, "memory/memory.usage_in_bytes", "1\n");
        assert_eq!(cgroup_version(cgroup), CgroupVersion::V1);
    }

    #[test]
    fn a_unified_hierarchy_without_memory_is_absent() {
        let root = tempfile::tempdir().expect("temp dir");
        write(root.path(), "cgroup.controllers", "cpu memory_other pids\n");
        assert_eq!(cgroup_version(root.path()), CgroupVersion::Absent);
    }

    #[test]
    fn this_machine_has_facts() {
        let facts = read(&Roots::default(), None).expect("facts");
        assert_eq!(facts.boot_id.0.len(), 36);
        assert!(facts.memory_total.is_some_and(|total| total > Bytes(64 << 20)));
    }

    proptest! {
        #[test]
        fn any_meminfo_is_taken(text in "(MemTotal:)?[ 0-9]{0,30}( kB)?\\PC{0,20}") {
            let _ = memory_total(&text);
        }
    }
}
