//! inotify on cgroup folders and files, kept by path.
//!
//! Flows in: paths below one mount. Flows out: [`Event`]s by path. A kernel without a watch to spare
//! is no failure: what cannot be watched is counted, and the caller looks for itself more often.

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
};
use std::{
    collections::{BTreeMap, HashMap},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The most watches: a folder and an events file for each of [`super::discovery::MOST_CGROUPS`],
/// and the folders on the way to them. Each holds about 1 kB of kernel memory.
const MOST_WATCHES: usize = 2 * super::discovery::MOST_CGROUPS + 512;

/// What a watch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Folder,
    EventsFile,
}

/// Something happened in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A folder was made in a watched folder.
    Made {
        /// The watched folder.
        parent: Arc<str>,
        /// The new folder's name.
        name: String,
    },
    /// A folder was removed from a watched folder.
    Removed {
        /// The watched folder.
        parent: Arc<str>,
        /// The removed folder's name.
        name: String,
    },
    /// `memory.events` of this cgroup changed.
    Counters(Arc<str>),
    /// The kernel's queue ran over: anything may have happened.
    Overflow,
}

/// The watches.
#[derive(Debug)]
pub struct Watches {
    mount: PathBuf,
    /// `None` when the kernel gave no inotify instance.
    inotify: Option<Inotify>,
    by_descriptor: HashMap<WatchDescriptor, (Arc<str>, Target)>,
    by_path: BTreeMap<(Arc<str>, Target), WatchDescriptor>,
    refused: usize,
}

impl Watches {
    /// No watches yet, below `mount`.
    pub fn new(mount: &Path) -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok();
        Self { mount: mount.into(), inotify, by_descriptor: HashMap::new(), by_path: BTreeMap::new(), refused: 0 }
    }

    /// To wait on; readable when events are there.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Whether every watch that was asked for is held.
    pub fn are_complete(&self) -> bool {
        self.inotify.is_some() && self.refused == 0
    }

    /// Gives refused watches another chance: the caller is about to ask for all of them again.
    pub fn forgive(&mut self) {
        self.refused = 0;
    }

    /// Watches the making and removing of folders in `path`.
    pub fn watch_folder(&mut self, path: &Arc<str>) {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
        self.watch(path, Target::Folder, path, flags);
    }

    /// Watches the counters of `path`; cgroup v2 only, v1 notifies nobody.
    pub fn watch_counters(&mut self, path: &Arc<str>) {
        self.watch(path, Target::EventsFile, &format!("{path}/memory.events"), AddWatchFlags::IN_MODIFY);
    }

    fn watch(&mut self, path: &Arc<str>, target: Target, file: &str, flags: AddWatchFlags) {
        let key = (Arc::clone(path), target);
        let Some(inotify) = &self.inotify else { return };
        if self.by_path.contains_key(&key) {
            return;
        }
        if self.by_path.len() >= MOST_WATCHES {
            self.refused += 1;
            return;
        }
        match inotify.add_watch(&self.mount.join(file.trim_start_matches('/')), flags) {
            Ok(descriptor) => {
                self.by_descriptor.insert(descriptor, (Arc::clone(path), target));
                self.by_path.insert(key, descriptor);
            }
            // Gone again already, or a cgroup without memory files.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENODEV) => {}
            Err(_) => self.refused += 1,
        }
    }

    /// Ends the watches of one cgroup. After an `rmdir` the kernel may hold them for ever, silent
    /// (seen on 6.18: kernfs gives no `IN_IGNORED`), so this must be called.
    pub fn forget(&mut self, path: &Arc<str>) {
        for target in [Target::Folder, Target::EventsFile] {
            let Some(descriptor) = self.by_path.remove(&(Arc::clone(path), target)) else { continue };
            self.by_descriptor.remove(&descriptor);
            if let Some(inotify) = &self.inotify {
                // EINVAL says that the kernel ended it first.
                let _ = inotify.rm_watch(descriptor);
            }
        }
    }

    /// Every watched folder at `path` or below.
    pub fn folders_below(&self, path: &str) -> Vec<Arc<str>> {
        let folders = self.by_path.keys().filter(|(_, target)| *target == Target::Folder);
        folders.map(|(folder, _)| folder).filter(|folder| is_at_or_below(folder, path)).cloned().collect()
    }

    /// What happened since the last call, without waiting.
    pub fn drain(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let Some(inotify) = &self.inotify else { return events };
        while let Ok(batch) = inotify.read_events() {
            events.extend(batch.iter().filter_map(|event| self.understand(event)));
        }
        events
    }

    fn understand(&self, event: &InotifyEvent) -> Option<Event> {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return Some(Event::Overflow);
        }
        let (path, target) = self.by_descriptor.get(&event.wd)?;
        let path = Arc::clone(path);
        if *target == Target::EventsFile {
            return event.mask.contains(AddWatchFlags::IN_MODIFY).then_some(Event::Counters(path));
        }
        let name = event.name.as_ref()?.to_str().filter(|_| event.mask.contains(AddWatchFlags::IN_ISDIR))?.to_owned();
        if event.mask.contains(AddWatchFlags::IN_CREATE) {
            Some(Event::Made { parent: path, name })
        } else {
            event.mask.contains(AddWatchFlags::IN_DELETE).then_some(Event::Removed { parent: path, name })
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_path.len()
    }
}

/// Whether `path` is `ancestor` or in it.
pub fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_means_whole_names() {
        assert!(is_at_or_below("/kubepods/pod1", "/kubepods"));
        assert!(is_at_or_below("/kubepods", "/kubepods"));
        assert!(is_at_or_below("/kubepods", "/"));
        assert!(!is_at_or_below("/kubepods.slice", "/kubepods"));
    }
}
