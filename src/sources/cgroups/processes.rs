//! The processes of containers and what memory each holds.
//!
//! Flows in: the host's `/proc` and a container's cgroup. Flows out: [`ProcessesSample`]s.
//!
//! `cgroup.procs` translates pids into the pid namespace of whoever reads it, and leaves out (v1) or
//! shows as `0` (v2) those that have none there: an agent without `hostPID` reads nothing useful. The
//! host's `/proc` in turn always speaks the host's pids. So there are two ways to find a container's
//! processes, and the agent's own entry in that `/proc` tells which one works.

use super::{
    figures,
    files::KernelFiles,
    layout::Layout,
    proc_entry::{self, ProcessError, pids_by_namespace},
};
use crate::{
    model::{CgroupPlace, ContainerId, Pid},
    signal::{Mount, ProcessSample, ProcessesSample, SourceState},
    sources::mounts,
};
use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The most processes of one container that are read for one sample. The reading turns round in a
/// container that has more: 2,000 processes would cost some 50 ms each time.
const MOST_READ: usize = 256;

/// The most processes of one container in one sample: the largest, and its first process.
const MOST_KEPT: usize = 64;

/// So many containers in a row whose processes cannot be seen are no accident.
const FRUITLESS: usize = 10;

/// The most cgroups inside one container that are looked into.
const MOST_INNER_CGROUPS: usize = 64;

/// How pids of a container are found.
#[derive(Debug)]
enum Finder {
    /// From `cgroup.procs`: the agent shares the host's pid namespace.
    CgroupProcs,
    /// From `/proc/<pid>/cgroup` of every process of the host, as of the last pass.
    WholeProc(HashMap<ContainerId, Vec<u32>>),
}

/// Reads the processes of containers.
#[derive(Debug)]
pub struct Processes {
    proc: PathBuf,
    finder: Finder,
    files: KernelFiles,
    /// Where the reading of a container with very many processes goes on.
    turn: usize,
    denied: bool,
    /// Containers that have processes and were asked in vain, since one showed them.
    fruitless: usize,
}

impl Processes {
    /// Processes below `proc`, the host's `/proc`.
    pub fn new(proc: &Path) -> Self {
        let mut files = KernelFiles::default();
        let finder = if shares_pid_namespace(&mut files, proc) { Finder::CgroupProcs } else { Finder::WholeProc(HashMap::new()) };
        Self { proc: proc.into(), finder, files, turn: 0, denied: false, fruitless: 0 }
    }

    /// Whether pids come from a pass over the whole `/proc`, so that [`Processes::pass`] must be called.
    pub fn needs_passes(&self) -> bool {
        matches!(self.finder, Finder::WholeProc(_))
    }

    /// Goes once over every process of the host to learn which container it is in.
    pub fn pass(&mut self, layout: &Layout) {
        let Self { proc, finder: Finder::WholeProc(by_container), files, .. } = self else { return };
        by_container.clear();
        let Ok(entries) = fs::read_dir(&*proc) else { return };
        for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            if let Some(container) = container_of(files, proc, layout, pid) {
                by_container.entry(container).or_default().push(pid);
            }
        }
    }

    /// The processes of the container whose cgroup is `path`; `None` when none is found.
    pub fn sample(&mut self, layout: &Layout, path: &str) -> Option<ProcessesSample> {
        let mut pids = self.pids(layout, path);
        self.choose(&mut pids);
        let mut processes: Vec<_> = pids.into_iter().filter_map(|pid| self.process(layout, path, pid)).collect();
        processes.sort_by_key(|process| Reverse((process.inner_pid == Some(1), process.rss())));
        processes.truncate(MOST_KEPT);
        if !processes.is_empty() {
            self.fruitless = 0;
        } else if has_processes(&mut self.files, layout, path) {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        (!processes.is_empty()).then(|| ProcessesSample { cgroup: path.to_owned(), processes })
    }

    /// What a container's process sees mounted from disks; `None` while it still sees the host's mounts.
    ///
    /// # Errors
    /// It is gone, or hidden.
    pub fn mounts(&self, pid: Pid) -> std::io::Result<Option<Vec<Mount>>> {
        mounts::of_container(&self.proc, pid.0)
    }

    /// Whether processes can be read, and how, or why not.
    pub fn condition(&mut self) -> (SourceState, String) {
        let proc = self.proc.display();
        if !self.proc.join("self").is_symlink() && !self.proc.join("stat").exists() {
            return (SourceState::Absent, format!("{proc} is no proc filesystem; mount the host's /proc here"));
        }
        let first = self.files.read(&self.proc, "/1", "stat");
        if self.denied || !matches!(first, Ok(Some(_))) {
            let detail =
                format!("{proc} hides the processes of other users; the host mounts it with hidepid, which the gid= of that mount lifts");
            return (SourceState::Unreadable, detail);
        }
        if self.fruitless >= FRUITLESS {
            let detail = format!("{proc} shows no process of any container; mount the host's /proc here");
            return (SourceState::Unreadable, detail);
        }
        let how = match self.finder {
            Finder::CgroupProcs => "pids from cgroup.procs",
            Finder::WholeProc(_) => "pids from a pass over all processes, since the agent has a pid namespace of its own",
        };
        (SourceState::Up, format!("{proc}, {how}"))
    }

    fn pids(&mut self, layout: &Layout, path: &str) -> Vec<u32> {
        match &self.finder {
            Finder::CgroupProcs => pids_in_cgroup(&mut self.files, layout.memory(), path),
            Finder::WholeProc(by_container) => {
                container_id(path).and_then(|container| by_container.get(&container)).cloned().unwrap_or_default()
            }
        }
    }

    /// Keeps the first process and as many others as are read at once, other ones each time.
    fn choose(&mut self, pids: &mut Vec<u32>) {
        if let Some((_, others)) = pids.split_first_mut().filter(|(_, others)| others.len() >= MOST_READ) {
            let start = self.turn.wrapping_mul(MOST_READ - 1) % others.len();
            others.rotate_left(start);
            self.turn = self.turn.wrapping_add(1);
        }
        pids.truncate(MOST_READ);
    }

    fn process(&mut self, layout: &Layout, path: &str, pid: u32) -> Option<ProcessSample> {
        let process = match proc_entry::read(&self.proc, pid) {
            Ok(process) => process,
            Err(error) => {
                self.denied |= matches!(error, ProcessError::Denied);
                return None;
            }
        };
        // The pass may be half a minute old: the pid may belong to someone else by now.
        let is_ours = !self.needs_passes() || container_of(&mut self.files, &self.proc, layout, pid) == container_id(path);
        is_ours.then_some(process)
    }
}

/// `NSpid` of the agent's own entry lists its pid in every namespace from that of the mounted `/proc`
/// to its own: one number means that they are the same. A `/proc` without an entry for the agent
/// belongs to a namespace that does not hold it.
fn shares_pid_namespace(files: &mut KernelFiles, proc: &Path) -> bool {
    let status = files.read(proc, "/self", "status").ok().flatten();
    status.is_some_and(|status| pids_by_namespace(status).is_none_or(|pids| pids.count() == 1))
}

/// The processes of a cgroup and of those inside it, where a container's init may have put them
/// (systemd, crun, Docker in Docker).
fn pids_in_cgroup(files: &mut KernelFiles, mount: &Path, path: &str) -> Vec<u32> {
    let mut pids = Vec::new();
    let mut pending = VecDeque::from([path.to_owned()]);
    for _ in 0..MOST_INNER_CGROUPS {
        let Some(path) = pending.pop_front() else { break };
        if let Ok(Some(content)) = files.read(mount, &path, "cgroup.procs") {
            let listed = content.split(|byte| *byte == b'\n').filter_map(figures::number);
            pids.extend(listed.filter_map(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0));
        }
        pending.extend(inner_cgroups(mount, &path));
    }
    pids
}

/// Whether a cgroup has processes, in whatever pid namespace. What a runtime or a kubelet that ended left
/// behind has none; where no hierarchy counts them, a cgroup is taken to be in use.
fn has_processes(files: &mut KernelFiles, layout: &Layout, path: &str) -> bool {
    let Some(mount) = layout.pids() else { return true };
    let current = files.read(mount, path, "pids.current").ok().flatten().and_then(figures::number);
    current.is_some_and(|current| current > 0)
}

/// The cgroups directly inside one. The link count of a folder on cgroupfs is two more than its
/// folders, so that listing the forty files of each container is seldom needed.
fn inner_cgroups(mount: &Path, path: &str) -> Vec<String> {
    let folder = mount.join(path.trim_start_matches('/'));
    if fs::metadata(&folder).is_ok_and(|metadata| metadata.nlink() == 2) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.filter_map(|entry| Some(format!("{path}/{}", entry.file_name().to_str()?))).collect()
}

/// The container that a process is in, by `/proc/<pid>/cgroup`. The path in it is relative to the
/// agent's cgroup namespace (`0::/../../kubepods-...`), so only the container's id is taken from it.
fn container_of(files: &mut KernelFiles, proc: &Path, layout: &Layout, pid: u32) -> Option<ContainerId> {
    let content = files.read(proc, &format!("/{pid}"), "cgroup").ok()??;
    let path = content.split(|byte| *byte == b'\n').find_map(|line| memory_path(line, layout))?;
    container_id(std::str::from_utf8(path).ok()?)
}

/// The path of a line `<number>:<controllers>:<path>`, if it is the memory hierarchy's (cgroups(7)).
fn memory_path<'a>(line: &'a [u8], layout: &Layout) -> Option<&'a [u8]> {
    let mut parts = line.splitn(3, |byte| *byte == b':').skip(1);
    let controllers = parts.next()?;
    let is_memory = match layout {
        Layout::V1 { .. } => controllers.split(|byte| *byte == b',').any(|controller| controller == b"memory"),
        Layout::V2 { .. } => controllers.is_empty(),
    };
    parts.next().filter(|_| is_memory)
}

fn container_id(path: &str) -> Option<ContainerId> {
    CgroupPlace::of(path).container().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Pid,
        sources::cgroups::testing::{Tree, process},
    };

    fn container() -> String {
        format!("/kubepods/pod1b4e28ba-2fa1-41d2-883f-0016d3cca427/{}", "c".repeat(64))
    }

    fn v2(tree: &Tree) -> Layout {
        Layout::V2 { unified: tree.at("cgroup") }
    }

    fn pids(sample: &ProcessesSample) -> Vec<Pid> {
        let mut pids: Vec<_> = sample.processes.iter().map(|process| process.key.pid).collect();
        pids.sort();
        pids
    }

    fn proc_of_the_host(tree: &Tree, own_ns_pids: &str) -> PathBuf {
        tree.write("self/status", &format!("Name:\tnodewhy\nNSpid:\t{own_ns_pids}\n"));
        tree.write("stat", "");
        tree.root().into()
    }

    #[test]
    fn in_the_hosts_namespace_the_cgroup_lists_its_processes_also_inner_ones() {
        let tree = Tree::new();
        let proc = proc_of_the_host(&tree, "900");
        tree.write(&format!("cgroup{}/cgroup.procs", container()), "21\n22\n23\n");
        tree.write(&format!("cgroup{}/init.scope/cgroup.procs", container()), "24\n");
        for pid in [21, 22, 24] {
            process(&tree, pid, "worker", 5, &pid.to_string());
        }
        let mut processes = Processes::new(&proc);
        let sample = processes.sample(&v2(&tree), &container()).expect("sample");
        assert_eq!(pids(&sample), [Pid(21), Pid(22), Pid(24)], "23 ended meanwhile");
        assert_eq!(sample.cgroup, container());
    }

    #[test]
    fn in_a_namespace_of_its_own_the_whole_proc_is_asked() {
        let tree = Tree::new();
        let proc = proc_of_the_host(&tree, "900\t1");
        tree.write(&format!("cgroup{}/cgroup.procs", container()), "0\n0\n");
        for (pid, cgroup) in [(31, format!("/../..{}", &container()[9..])), (32, "/system.slice/sshd.service".to_owned())] {
            process(&tree, pid, "worker", 5, &pid.to_string());
            tree.write(&format!("{pid}/cgroup"), &format!("0::{cgroup}\n"));
        }
        let mut processes = Processes::new(&proc);
        assert!(processes.needs_passes());
        processes.pass(&v2(&tree));
        let sample = processes.sample(&v2(&tree), &container()).expect("sample");
        assert_eq!(pids(&sample), [Pid(31)]);
        tree.write("31/cgroup", "0::/system.slice/cron.service\n");
        assert_eq!(processes.sample(&v2(&tree), &container()), None, "the pid belongs to someone else since");
    }

    #[test]
    fn v1_names_the_hierarchy() {
        let layout = Layout::V1 { memory: "/m".into(), cpu: None, pids: None };
        assert_eq!(memory_path(b"4:cpu,memory:/kubepods/x:y", &layout), Some(&b"/kubepods/x:y"[..]));
        assert_eq!(memory_path(b"0::/elsewhere", &layout), None);
        assert_eq!(memory_path(b"0::/here", &Layout::V2 { unified: "/".into() }), Some(&b"/here"[..]));
        assert_eq!(memory_path(b"junk", &layout), None);
    }

    #[test]
    fn a_crowded_container_is_read_in_turns_and_its_first_process_always() {
        let tree = Tree::new();
        let mut processes = Processes::new(&proc_of_the_host(&tree, "900"));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10 {
            let mut pids: Vec<u32> = (1..=2000).collect();
            processes.choose(&mut pids);
            assert_eq!((pids.len(), pids.first()), (MOST_READ, Some(&1)));
            seen.extend(pids);
        }
        assert_eq!(seen.len(), 2000);
    }

    #[test]
    fn only_the_largest_are_kept() {
        let tree = Tree::new();
        let proc = proc_of_the_host(&tree, "900");
        let listed: String = (100..200).map(|pid| format!("{pid}\n")).collect();
        tree.write(&format!("cgroup{}/cgroup.procs", container()), &listed);
        for pid in 100..200u32 {
            process(&tree, pid, "worker", 5, &pid.to_string());
            tree.write(&format!("{pid}/status"), &format!("NSpid:\t{pid}\t{}\nRssAnon:\t{pid} kB\n", pid - 99));
        }
        let sample = Processes::new(&proc).sample(&v2(&tree), &container()).expect("sample");
        let kept = pids(&sample);
        assert_eq!((kept.len(), kept.first(), kept.last()), (MOST_KEPT, Some(&Pid(100)), Some(&Pid(199))));
    }

    #[test]
    fn conditions() {
        let tree = Tree::new();
        assert_eq!(Processes::new(tree.root()).condition().0, SourceState::Absent);
        let proc = proc_of_the_host(&tree, "900");
        assert_eq!(Processes::new(&proc).condition().0, SourceState::Unreadable, "process 1 is hidden");
        process(&tree, 1, "init", 1, "1");
        let mut processes = Processes::new(&proc);
        assert_eq!(processes.condition().0, SourceState::Up);
        tree.write(&format!("cgroup{}/cgroup.procs", container()), "0\n");
        let sample = |processes: &mut Processes, running: &str| {
            tree.write(&format!("cgroup{}/pids.current", container()), running);
            for _ in 0..FRUITLESS {
                assert_eq!(processes.sample(&v2(&tree), &container()), None);
            }
        };
        sample(&mut processes, "0\n");
        assert_eq!(processes.condition().0, SourceState::Up, "cgroups that a runtime left behind");
        sample(&mut processes, "3\n");
        assert_eq!(processes.condition().0, SourceState::Unreadable, "a /proc that is not the host's");
    }
}
