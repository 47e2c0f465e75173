//! A real kill by the kernel, on purpose: a pod-shaped cgroup with a small limit, and in it a process
//! that wants more.
//!
//! Flows in: the host's `/sys/fs/cgroup`, a [`PodPlan`] and [`HogPlan`]s. Flows out: a [`DemoPod`]
//! whose cgroups are gone again when it is dropped, and what became of each [`Hog`]. Used by the
//! command that shows an explained kill and by tests against the real kernel. Knows nothing of the
//! agent that watches.
//!
//! The pod stands below a parent of its own, never in the kubelet's tree: the kubelet removes pods
//! that it does not know, and would count this one's memory against the node's pods.

mod hog;
mod pod;

pub use hog::{HOG_ARGUMENT, Hog, HogEnd, HogPlan, HogProgram, run_hog};
pub use pod::{DemoContainer, DemoPod, PodPlan};

use crate::{
    model::{Bytes, ContainerId, Pid, PodUid},
    sources::cgroups::LayoutError,
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a demonstration cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No memory hierarchy, or it cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Cgroups may not be made.
    #[error("{}: permission denied; run as root on the host, or in a privileged container", .path.display())]
    NotRoot {
        /// What was to be made or written.
        path: PathBuf,
    },
    /// The hierarchy is mounted read-only, as in an ordinary container.
    #[error("{}: the cgroup hierarchy is mounted read-only; run on the host, or in a privileged container", .path.display())]
    ReadOnly {
        /// What was to be made or written.
        path: PathBuf,
    },
    /// The memory controller cannot be given to a cgroup (v2).
    #[error("{}: the memory controller cannot be enabled here ({source}); choose a cgroup root without processes of its own", .path.display())]
    NotDelegated {
        /// The `cgroup.subtree_control` that refused.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Memory was to be filled in a folder that is no tmpfs.
    #[error("{}: not a tmpfs", .path.display())]
    NotTmpfs {
        /// The folder.
        path: PathBuf,
    },
    /// The process that is to be killed did not start or did not get into its cgroup.
    #[error("the process to be killed did not start: {detail}")]
    NoHog {
        /// What it or the system said.
        detail: String,
    },
    /// The process reached far more than its limit and lives, or ended by itself.
    #[error("the kernel killed nothing: {detail}")]
    NotKilled {
        /// What happened instead.
        detail: String,
    },
    /// Anything else.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl DemoError {
    fn at(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotRoot { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            _ => Self::Io { path, source },
        }
    }
}

/// Plays the hog if this process was started as one; `None` for every other start of the program.
pub fn run_if_asked() -> Option<std::process::ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let asked = arguments.next().is_some_and(|first| first == HOG_ARGUMENT);
    let program = asked.then(HogProgram::this)?;
    let rest: Vec<_> = arguments.collect();
    Some(program.map_or(std::process::ExitCode::FAILURE, |program| run_hog(&program, &rest)))
}

/// A kill that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoKill {
    /// The pod that the cgroup's path names.
    pub pod: PodUid,
    /// The container that the cgroup's path names.
    pub container: ContainerId,
    /// The killed process.
    pub pid: Pid,
    /// Path of the container's cgroup in the memory hierarchy.
    pub path: String,
    /// The limit that it hit.
    pub limit: Bytes,
}

/// The whole demonstration: one container with a limit of 32 MiB, one process that grows by 14 MiB
/// a second, killed by the kernel. Takes two to three seconds.
///
/// # Errors
/// [`DemoError`], which says what right is missing.
pub fn kill_once(cgroup_root: &Path, program: &HogProgram) -> Result<DemoKill, DemoError> {
    let limit = Bytes(32 << 20);
    let plan = PodPlan { containers: 1, container_limit: Some(limit), pod_limit: None };
    let pod = DemoPod::create(cgroup_root, &plan)?;
    let container = pod.container(0)?;
    let hog = pod.start(container, program, &HogPlan::grow_beyond(limit))?;
    let pid = hog.pid();
    match hog.wait()? {
        HogEnd::Killed => {
            Ok(DemoKill { pod: pod.uid().clone(), container: container.id.clone(), pid, path: container.path.clone(), limit })
        }
        HogEnd::Ended(status) => Err(DemoError::NotKilled { detail: format!("the process ended with {status}") }),
    }
}
