//! Wakes a reader when a file grows, is emptied, or another one takes its name.
//!
//! Flows in: a path. Flows out: wakes, which are only hints; what happened the reader looks up. Where
//! inotify cannot be had (network file systems, no instances left) the wait's own end is the wake.

use crate::sources::{Stop, Wake};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::{os::fd::AsFd, path::Path, time::Duration};

/// The slow look that finds what inotify did not tell.
const POLL: Duration = Duration::from_secs(5);

/// The watch on a file and on the directory that names it.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Option<Inotify>,
}

impl Watch {
    /// Watches the name. A file that gets the name later is watched from [`Self::renew`] on.
    pub(super) fn new(path: &Path) -> Self {
        let watch = Self { inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok() };
        let names = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        watch.add(path.parent().unwrap_or(Path::new("/")), names);
        watch.renew(path);
        watch
    }

    /// Watches the file that has the name now; a file that is already watched stays so.
    pub(super) fn renew(&self, path: &Path) {
        self.add(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVE_SELF);
    }

    fn add(&self, path: &Path, events: AddWatchFlags) {
        // What cannot be watched is looked at regularly.
        let _ = self.inotify.as_ref().map(|inotify| inotify.add_watch(path, events));
    }

    /// Waits for a change, for the slow look, or for the agent's end.
    pub(super) fn wait(&self, stop: &Stop) -> Wake {
        let Some(inotify) = &self.inotify else {
            return if stop.wait(POLL) { Wake::Stopped } else { Wake::TimedOut };
        };
        let wake = stop.wait_readable(inotify.as_fd(), Some(POLL)).unwrap_or(Wake::TimedOut);
        if wake == Wake::Ready {
            while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
        wake
    }
}
