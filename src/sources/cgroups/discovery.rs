//! Which cgroups of pods there are, from the first walk on by inotify.
//!
//! Flows in: the memory hierarchy. Flows out: [`Change`]s. The kubelet's tree may stand anywhere:
//! at the root, in the cgroup of a node that is itself a container (kind, minikube, LXC), below a
//! configured parent. So the walk goes down from the root through what is not a pod, to a bounded
//! depth, and does not go into containers, whose inside is their own business.
//!
//! In steady state nothing is scanned: the folders of the kubelet's tree, those above it and the
//! first two levels of the hierarchy are watched. A rare [`Discovery::rescan`] compares.

use super::watches::{Event, Watches, is_at_or_below};
use crate::{model::CgroupPlace, signal::CgroupVersion};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Bound,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The most cgroups that are followed: four times a node of 250 pods with three containers each.
pub const MOST_CGROUPS: usize = 4096;

/// How far below the root the kubelet's tree is looked for. The deepest known, kind on podman, has
/// it at five: `/machine.slice/libpod-<id>.scope/container/kubelet.slice/kubelet-kubepods.slice`.
const DEEPEST_SEARCH: usize = 6;

/// The level down to which folders that belong to no pod are watched for a new kubelet's tree.
const DEEPEST_OUTSIDE_WATCH: usize = 1;

/// What a followed cgroup stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// All pods, or all pods of one QoS class.
    Class,
    /// A pod.
    Pod,
    /// A container of a pod.
    Container,
}

/// A change in the set of followed cgroups, or in one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is followed from now on.
    Appeared(Arc<str>, Kind),
    /// It is gone.
    Gone(Arc<str>, Kind),
    /// Its counters changed (v2).
    Counters(Arc<str>),
}

/// The followed cgroups and the watches that keep them complete.
#[derive(Debug)]
pub struct Discovery {
    mount: PathBuf,
    version: CgroupVersion,
    watches: Watches,
    followed: BTreeMap<Arc<str>, Kind>,
    left_out: usize,
}

impl Discovery {
    /// Nothing followed yet, in the memory hierarchy mounted at `mount`. [`Discovery::rescan`] begins.
    pub fn new(mount: &Path, version: CgroupVersion) -> Self {
        Self { mount: mount.into(), version, watches: Watches::new(mount), followed: BTreeMap::new(), left_out: 0 }
    }

    /// To wait on; readable when [`Discovery::changes`] has some.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.watches.as_fd()
    }

    /// How many cgroups of one kind are followed.
    pub fn count(&self, kind: Kind) -> usize {
        self.followed.values().filter(|followed| **followed == kind).count()
    }

    /// Cgroups beyond [`MOST_CGROUPS`] at the last walk.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether the watches alone keep the set complete. If not, rescan often.
    pub fn is_event_driven(&self) -> bool {
        self.watches.are_complete()
    }

    /// What the watches saw since the last call.
    pub fn changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for event in self.watches.drain() {
            match event {
                Event::Made { parent, name } => {
                    let path = child_of(&parent, &name);
                    self.visit(&path, &mut BTreeSet::new(), &mut changes);
                }
                Event::Removed { parent, name } => self.drop_below(&child_of(&parent, &name), &mut changes),
                Event::Counters(path) if changes.last() != Some(&Change::Counters(Arc::clone(&path))) => {
                    changes.push(Change::Counters(path));
                }
                Event::Counters(_) => {}
                Event::Overflow => changes.extend(self.rescan()),
            }
        }
        changes
    }

    /// Walks the tree and compares it with what is followed.
    pub fn rescan(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut seen = BTreeSet::new();
        self.left_out = 0;
        self.watches.forgive();
        self.visit(&Arc::from("/"), &mut seen, &mut changes);
        let lost: Vec<_> = self.followed.keys().filter(|path| !seen.contains(*path)).cloned().collect();
        for path in lost {
            self.drop_below(&path, &mut changes);
        }
        changes
    }

    /// Takes in the cgroup at `path` and what is below it; says whether there were pods.
    fn visit(&mut self, path: &Arc<str>, seen: &mut BTreeSet<Arc<str>>, changes: &mut Vec<Change>) -> bool {
        match self.kind_of(path) {
            Some(kind) => {
                self.follow(path, kind, seen, changes);
                if kind != Kind::Container {
                    self.watches.watch_folder(path);
                    self.visit_children(path, seen, changes);
                }
                true
            }
            None if is_helper_of_pod(path) => false,
            None => self.search(path, seen, changes),
        }
    }

    /// Looks for the kubelet's tree in a folder that is not part of one.
    fn search(&mut self, path: &Arc<str>, seen: &mut BTreeSet<Arc<str>>, changes: &mut Vec<Change>) -> bool {
        let depth = depth_of(path);
        if depth > DEEPEST_SEARCH {
            return false;
        }
        if depth <= DEEPEST_OUTSIDE_WATCH {
            self.watches.watch_folder(path);
        }
        let found = self.visit_children(path, seen, changes);
        if found {
            self.watches.watch_folder(path);
        }
        found
    }

    fn visit_children(&mut self, path: &Arc<str>, seen: &mut BTreeSet<Arc<str>>, changes: &mut Vec<Change>) -> bool {
        // Watched before it is listed, so a folder made in between is seen at least once.
        let Ok(entries) = fs::read_dir(self.mount.join(path.trim_start_matches('/'))) else { return false };
        let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        let mut found = false;
        for name in names {
            found |= self.visit(&child_of(path, &name), seen, changes);
        }
        found
    }

    fn follow(&mut self, path: &Arc<str>, kind: Kind, seen: &mut BTreeSet<Arc<str>>, changes: &mut Vec<Change>) {
        seen.insert(Arc::clone(path));
        if self.version == CgroupVersion::V2 && kind != Kind::Class {
            self.watches.watch_counters(path);
        }
        if self.followed.contains_key(path) {
            return;
        }
        if self.followed.len() >= MOST_CGROUPS {
            self.left_out += 1;
            return;
        }
        self.followed.insert(Arc::clone(path), kind);
        changes.push(Change::Appeared(Arc::clone(path), kind));
    }

    /// Ends everything at `path` and below, the deepest first: a container goes before its pod.
    fn drop_below(&mut self, path: &str, changes: &mut Vec<Change>) {
        for folder in self.watches.folders_below(path) {
            self.watches.forget(&folder);
        }
        let from = (Bound::Included(path), Bound::Unbounded);
        let below = self.followed.range::<str, _>(from).take_while(|(followed, _)| followed.starts_with(path));
        let gone: Vec<_> = below.filter(|(followed, _)| is_at_or_below(followed, path)).map(|(path, _)| Arc::clone(path)).collect();
        for path in gone.into_iter().rev() {
            self.watches.forget(&path);
            if let Some(kind) = self.followed.remove(&path) {
                changes.push(Change::Gone(path, kind));
            }
        }
    }

    fn kind_of(&self, path: &str) -> Option<Kind> {
        match CgroupPlace::of(path) {
            CgroupPlace::Class(_) => Some(Kind::Class),
            CgroupPlace::Pod { .. } => (!is_helper_of_pod(path)).then_some(Kind::Pod),
            CgroupPlace::Container { inside: None, .. } => Some(Kind::Container),
            _ => None,
        }
    }
}

/// A folder in a pod's own that is no container: a monitor process such as conmon has one. By its
/// place it is the pod too, and would be counted twice.
fn is_helper_of_pod(path: &str) -> bool {
    let is_pod = |path: &str| matches!(CgroupPlace::of(path), CgroupPlace::Pod { .. });
    is_pod(path) && parent_of(path).is_some_and(is_pod)
}

/// The folder above; `None` for the root.
pub fn parent_of(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty())
}

fn child_of(parent: &str, name: &str) -> Arc<str> {
    format!("{}/{name}", parent.trim_end_matches('/')).into()
}

/// The root has depth 0.
fn depth_of(path: &str) -> usize {
    path.split('/').filter(|name| !name.is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::cgroups::testing::Tree;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    const UID: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

    fn container(digit: &str) -> String {
        digit.repeat(64)
    }

    fn discovery(tree: &Tree) -> Discovery {
        Discovery::new(tree.root(), CgroupVersion::V2)
    }

    fn appeared(changes: &[Change]) -> Vec<(String, Kind)> {
        let mut paths: Vec<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Appeared(path, kind) => Some((path.to_string(), *kind)),
                _ => None,
            })
            .collect();
        paths.sort();
        paths
    }

    /// Waits for events; the kernel queues them before the call that causes them returns, so the
    /// generous timeout is only there to end a broken test.
    fn next(discovery: &mut Discovery) -> Vec<Change> {
        let fd = discovery.as_fd().expect("inotify");
        let ready = poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(10_000u16)).expect("poll");
        assert_eq!(ready, 1, "no event came");
        discovery.changes()
    }

    #[test]
    fn the_first_walk_finds_every_level_wherever_the_tree_stands() {
        for parent in ["", "/nodewhy-e2e-host1", "/machine.slice/x.scope/container"] {
            let tree = Tree::new();
            let pod = format!("{parent}/kubepods/burstable/pod{UID}");
            tree.make(&format!("{pod}/{}/inner/deeper", container("a")));
            tree.make(&format!("{parent}/kubepods/besteffort"));
            tree.make("/system.slice/sshd.service");
            let found = appeared(&discovery(&tree).rescan());
            let expected = vec![
                (format!("{parent}/kubepods"), Kind::Class),
                (format!("{parent}/kubepods/besteffort"), Kind::Class),
                (format!("{parent}/kubepods/burstable"), Kind::Class),
                (pod.clone(), Kind::Pod),
                (format!("{pod}/{}", container("a")), Kind::Container),
            ];
            assert_eq!(found, expected, "below `{parent}`");
        }
    }

    #[test]
    fn slices_scopes_and_helpers() {
        let tree = Tree::new();
        let slice = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice";
        let pod = format!("{slice}/kubelet-kubepods-burstable-pod{}.slice", UID.replace('-', "_"));
        tree.make(&format!("{pod}/crio-{}.scope", container("b")));
        tree.make(&format!("{pod}/crio-conmon-{}.scope", container("b")));
        let found = appeared(&discovery(&tree).rescan());
        assert_eq!(found.iter().filter(|(_, kind)| *kind == Kind::Pod).count(), 1, "conmon is no second pod");
        assert!(found.contains(&(format!("{pod}/crio-{}.scope", container("b")), Kind::Container)));
    }

    #[test]
    fn folders_made_later_are_seen_with_what_is_in_them() {
        let tree = Tree::new();
        let mut discovery = discovery(&tree);
        assert_eq!(discovery.rescan(), vec![]);
        let pod = format!("/node2/kubepods/pod{UID}");
        tree.make(&format!("{pod}/{}", container("a")));
        let mut found = appeared(&next(&mut discovery));
        while found.len() < 3 {
            found.extend(appeared(&next(&mut discovery)));
        }
        assert_eq!(found.len(), 3, "each once: {found:?}");
        tree.make(&format!("{pod}/{}", container("b")));
        assert_eq!(appeared(&next(&mut discovery)), vec![(format!("{pod}/{}", container("b")), Kind::Container)]);
    }

    #[test]
    fn what_goes_takes_its_inside_along_and_its_watches() {
        let tree = Tree::new();
        let pod = format!("/kubepods/pod{UID}");
        tree.make(&format!("{pod}/{}", container("a")));
        tree.write(&format!("{pod}/memory.events"), "oom 0\n");
        let mut discovery = discovery(&tree);
        discovery.rescan();
        let (watched, counted) = (discovery.watches.len(), discovery.count(Kind::Pod));
        assert_eq!((watched, counted), (4, 1), "root, kubepods, the pod and its counters");
        tree.remove(&pod);
        let mut gone: Vec<_> = next(&mut discovery).into_iter().filter(|change| matches!(change, Change::Gone(..))).collect();
        while gone.len() < 2 {
            gone.extend(next(&mut discovery).into_iter().filter(|change| matches!(change, Change::Gone(..))));
        }
        let expected = vec![Change::Gone(format!("{pod}/{}", container("a")).into(), Kind::Container), Change::Gone(pod.into(), Kind::Pod)];
        assert_eq!(gone, expected);
        assert_eq!(discovery.watches.len(), 2);
    }

    #[test]
    fn a_change_of_the_counters_names_the_cgroup() {
        let tree = Tree::new();
        let pod = format!("/kubepods/pod{UID}");
        tree.write(&format!("{pod}/memory.events"), "oom_kill 0\n");
        let mut discovery = discovery(&tree);
        discovery.rescan();
        tree.write(&format!("{pod}/memory.events"), "oom_kill 1\n");
        assert_eq!(next(&mut discovery), vec![Change::Counters(pod.into())]);
    }

    #[test]
    fn a_rescan_finds_what_no_event_told() {
        let tree = Tree::new();
        let pod = format!("/kubepods/pod{UID}");
        tree.make(&pod);
        let mut discovery = discovery(&tree);
        discovery.rescan();
        assert_eq!(discovery.rescan(), vec![], "nothing changed");
        tree.remove(&pod);
        tree.make(&format!("/kubepods/burstable/pod{UID}"));
        discovery.watches.drain();
        let changes = discovery.rescan();
        assert!(changes.contains(&Change::Gone(pod.into(), Kind::Pod)));
        assert_eq!(appeared(&changes).len(), 2);
    }
}
