//! Which hierarchy accounts memory on this node, and where its directories are.
//!
//! Flows in: the folder that the host's `/sys/fs/cgroup` is mounted at. Flows out: a [`Layout`].
//! Three arrangements exist in the field (Documentation/admin-guide/cgroup-v1/cgroups.rst and
//! cgroup-v2.rst): `unified`, where the folder itself is the v2 hierarchy; `legacy`, one folder for
//! each v1 hierarchy; and `hybrid`, legacy with a v2 hierarchy in `unified/` that usually has no
//! memory controller. A controller belongs to one hierarchy at a time, so the first one that has
//! `memory` is the one.

use crate::signal::{CgroupVersion, SourceState};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// The hierarchies that figures are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Memory is a v1 hierarchy (legacy and hybrid).
    V1 {
        /// Mount of the memory hierarchy.
        memory: PathBuf,
        /// Mount of the cpu hierarchy, which has the same paths below it.
        cpu: Option<PathBuf>,
        /// Mount of the pids hierarchy.
        pids: Option<PathBuf>,
    },
    /// Memory is a controller of the unified hierarchy.
    V2 {
        /// Mount of the unified hierarchy.
        unified: PathBuf,
    },
}

/// Why no hierarchy was found.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The folder is there and none of its hierarchies accounts memory.
    #[error("{}: no cgroup hierarchy with the memory controller; mount the host's /sys/fs/cgroup here", .root.display())]
    NoMemoryController {
        /// The folder that was searched.
        root: PathBuf,
    },
    /// The folder could not be read.
    #[error("{}: {source}", .root.display())]
    Unreadable {
        /// The folder that was searched.
        root: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl LayoutError {
    /// The state of a source that has this error.
    pub fn state(&self) -> SourceState {
        match self {
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => SourceState::Unreadable,
            Self::NoMemoryController { .. } | Self::Unreadable { .. } => SourceState::Absent,
        }
    }
}

impl Layout {
    /// Finds the hierarchies below `root`, the host's `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// [`LayoutError`] when there is none or `root` cannot be read.
    pub fn find(root: &Path) -> Result<Self, LayoutError> {
        let hierarchies = directories(root).map_err(|source| LayoutError::Unreadable { root: root.into(), source })?;
        let unified = [root.to_path_buf(), root.join("unified")].into_iter().find(|mount| has_memory_controller(mount));
        if let Some(unified) = unified {
            return Ok(Self::V2 { unified });
        }
        let of = |controller: &str| hierarchies.iter().find(|mount| names_controller(mount, controller)).cloned();
        match of("memory").filter(|mount| mount.join("memory.usage_in_bytes").exists()) {
            Some(memory) => Ok(Self::V1 { memory, cpu: of("cpu"), pids: of("pids") }),
            None => Err(LayoutError::NoMemoryController { root: root.into() }),
        }
    }

    /// The hierarchy's version, as the node's facts name it.
    pub fn version(&self) -> CgroupVersion {
        match self {
            Self::V1 { .. } => CgroupVersion::V1,
            Self::V2 { .. } => CgroupVersion::V2,
        }
    }

    /// Mount of the hierarchy that accounts memory; the paths of samples are below it.
    pub fn memory(&self) -> &Path {
        match self {
            Self::V1 { memory, .. } => memory,
            Self::V2 { unified } => unified,
        }
    }

    /// Mount of the hierarchy that counts processes, if there is one; it has the same paths below it.
    pub fn pids(&self) -> Option<&Path> {
        match self {
            Self::V1 { pids, .. } => pids.as_deref(),
            Self::V2 { unified } => Some(unified),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self {
            Self::V1 { .. } => "v1",
            Self::V2 { .. } => "v2",
        };
        write!(f, "cgroup {version} memory hierarchy at {}", self.memory().display())
    }
}

/// v1 hierarchies are folders, or links to folders, named after their controllers: `cpu,cpuacct`.
fn directories(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(root)?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    Ok(found)
}

fn names_controller(mount: &Path, controller: &str) -> bool {
    mount.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.split(',').any(|word| word == controller))
}

fn has_memory_controller(mount: &Path) -> bool {
    fs::read_to_string(mount.join("cgroup.controllers")).is_ok_and(|list| list.split_whitespace().any(|word| word == "memory"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::cgroups::testing::Tree;

    #[test]
    fn unified() {
        let tree = Tree::new();
        tree.write("cgroup.controllers", "cpuset cpu io memory pids\n");
        let layout = Layout::find(tree.root()).expect("layout");
        assert_eq!(layout, Layout::V2 { unified: tree.root().into() });
        assert_eq!(layout.version(), CgroupVersion::V2);
    }

    #[test]
    fn legacy_with_joined_controllers() {
        let tree = Tree::new();
        tree.write("memory/memory.usage_in_bytes", "1\n");
        tree.write("cpu,cpuacct/cpu.stat", "");
        tree.write("pids/cgroup.procs", "");
        let layout = Layout::find(tree.root()).expect("layout");
        let at = |name: &str| tree.root().join(name);
        assert_eq!(layout, Layout::V1 { memory: at("memory"), cpu: Some(at("cpu,cpuacct")), pids: Some(at("pids")) });
    }

    #[test]
    fn hybrid_follows_the_memory_controller() {
        let tree = Tree::new();
        tree.write("memory/memory.usage_in_bytes", "1\n");
        tree.write("unified/cgroup.controllers", "hugetlb\n");
        assert_eq!(Layout::find(tree.root()).expect("layout").memory(), tree.root().join("memory"));
        tree.write("unified/cgroup.controllers", "hugetlb memory\n");
        assert_eq!(Layout::find(tree.root()).expect("layout").memory(), tree.root().join("unified"));
    }

    #[test]
    fn no_hierarchy_and_no_folder_are_told_apart() {
        let tree = Tree::new();
        tree.write("cgroup.controllers", "cpu pids\n");
        assert!(matches!(Layout::find(tree.root()), Err(LayoutError::NoMemoryController { .. })));
        assert!(matches!(Layout::find(&tree.root().join("none")), Err(LayoutError::Unreadable { .. })));
    }
}
