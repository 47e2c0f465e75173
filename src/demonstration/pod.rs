//! Cgroups in the shape of a pod: `/nodewhy-demo-<n>/kubepods/burstable/pod<uid>/<container id>`.

use super::{DemoError, Hog, HogPlan, HogProgram};
use crate::{
    model::{Bytes, ContainerId, PodUid},
    sources::cgroups::Layout,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// What the pod is to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodPlan {
    /// How many containers.
    pub containers: usize,
    /// The limit of each container.
    pub container_limit: Option<Bytes>,
    /// The limit of the pod.
    pub pod_limit: Option<Bytes>,
}

/// One container of a [`DemoPod`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoContainer {
    /// Its id, as its cgroup's path names it.
    pub id: ContainerId,
    /// Its cgroup's path in the memory hierarchy.
    pub path: String,
}

/// A pod made of cgroups alone. Dropping it kills what is in it and removes them.
#[derive(Debug)]
pub struct DemoPod {
    layout: Layout,
    uid: PodUid,
    path: String,
    containers: Vec<DemoContainer>,
    /// Every cgroup that was made, the outermost first.
    made: Vec<PathBuf>,
}

impl DemoPod {
    /// Makes the cgroups below `cgroup_root`, the host's `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// [`DemoError`], which says what right is missing. Nothing is left behind then.
    pub fn create(cgroup_root: &Path, plan: &PodPlan) -> Result<Self, DemoError> {
        let layout = Layout::find(cgroup_root)?;
        let uid = random_uuid()?;
        let parent = format!("/nodewhy-demo-{}", uid.get(..8).unwrap_or_default());
        let path = format!("{parent}/kubepods/burstable/pod{uid}");
        let uid = PodUid::parse(&uid).ok_or_else(|| no_ids("uid"))?;
        let mut pod = Self { layout, uid, path, containers: Vec::new(), made: Vec::new() };
        pod.make_chain()?;
        pod.limit(&pod.path, plan.pod_limit)?;
        for _ in 0..plan.containers {
            let id = ContainerId::parse(&format!("{}{}", random_uuid()?, random_uuid()?).replace('-', "")).ok_or_else(|| no_ids("id"))?;
            let container = DemoContainer { path: format!("{}/{id}", pod.path), id };
            pod.make(&container.path)?;
            pod.limit(&container.path, plan.container_limit)?;
            pod.containers.push(container);
        }
        Ok(pod)
    }

    /// The uid that the cgroup's path names.
    pub fn uid(&self) -> &PodUid {
        &self.uid
    }

    /// The pod's path in the memory hierarchy.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// One of its containers.
    ///
    /// # Errors
    /// [`DemoError::NoHog`] when the plan had fewer.
    pub fn container(&self, index: usize) -> Result<&DemoContainer, DemoError> {
        self.containers.get(index).ok_or_else(|| DemoError::NoHog { detail: format!("the pod has no container {index}") })
    }

    /// Starts a process in a container. When this returns it is in its cgroup and has begun.
    ///
    /// # Errors
    /// [`DemoError::NoHog`] when it did not start.
    pub fn start(&self, container: &DemoContainer, program: &HogProgram, plan: &HogPlan) -> Result<Hog, DemoError> {
        Hog::start(program, &self.folder(&container.path), plan)
    }

    /// Makes every cgroup from the private parent to the pod.
    fn make_chain(&mut self) -> Result<(), DemoError> {
        let path = self.path.clone();
        let ends = path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]);
        self.delegate("")?;
        for part in ends.filter_map(|end| path.get(..end)) {
            self.make(part)?;
            self.delegate(part)?;
        }
        Ok(())
    }

    fn make(&mut self, path: &str) -> Result<(), DemoError> {
        let folder = self.folder(path);
        fs::create_dir(&folder).map_err(|error| DemoError::at(&folder, error))?;
        // Before kernel 5.11 a v1 limit holds for the cgroups inside only if this is set.
        let _ = fs::write(folder.join("memory.use_hierarchy"), "1");
        self.made.push(folder);
        Ok(())
    }

    /// Lets the cgroups inside this one have limits of their own (v2).
    fn delegate(&self, path: &str) -> Result<(), DemoError> {
        if matches!(self.layout, Layout::V1 { .. }) {
            return Ok(());
        }
        let control = self.folder(path).join("cgroup.subtree_control");
        fs::write(&control, "+memory").map_err(|source| match DemoError::at(&control, source) {
            DemoError::Io { path, source } => DemoError::NotDelegated { path, source },
            other => other,
        })
    }

    /// Sets a limit, and none of it may go to swap: the kill would only come later.
    fn limit(&self, path: &str, limit: Option<Bytes>) -> Result<(), DemoError> {
        let Some(Bytes(limit)) = limit else { return Ok(()) };
        let (file, no_swap) = match self.layout {
            Layout::V1 { .. } => ("memory.limit_in_bytes", "memory.swappiness"),
            Layout::V2 { .. } => ("memory.max", "memory.swap.max"),
        };
        let folder = self.folder(path);
        let file = folder.join(file);
        fs::write(&file, limit.to_string()).map_err(|error| DemoError::at(&file, error))?;
        // Missing where the kernel has no swap accounting.
        let _ = fs::write(folder.join(no_swap), "0");
        Ok(())
    }

    fn folder(&self, path: &str) -> PathBuf {
        self.layout.memory().join(path.trim_start_matches('/'))
    }
}

impl Drop for DemoPod {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            remove(folder);
        }
    }
}

/// Kills what is left in a cgroup and removes it. The kernel lets go of a killed process some
/// milliseconds after its parent heard of the end, so it may take a few attempts.
fn remove(folder: &Path) {
    const ATTEMPTS: u32 = 200;
    for _ in 0..ATTEMPTS {
        let left = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(Duration::from_millis(10)),
            _ => return,
        }
    }
}

fn random_uuid() -> Result<String, DemoError> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let uuid = fs::read_to_string(path).map_err(|error| DemoError::at(path, error))?;
    Ok(uuid.trim().to_owned())
}

fn no_ids(what: &str) -> DemoError {
    DemoError::NoHog { detail: format!("the kernel's random uuid makes no {what}") }
}
