//! Which filesystem lies on which disk: what joins the kernel's words about a disk to pods.
//!
//! Flows in: the host's `/proc/1/mountinfo` and `/sys/class/block`. Flows out: a [`MountTable`] whenever
//! it has changed. The kernel tells of mounts and unmounts (`POLLPRI`), but not of a filesystem that
//! turns read-only by itself, so the table is also read on a beat. Needs no capability.
//!
//! [`MountTable`]: crate::signal::MountTable

mod block;
mod mountinfo;

pub use mountinfo::of_container;

use super::{Outlet, Stop, Stopped, Wake};
use crate::{
    config::Roots,
    signal::{Body, MountTable, SourceName, SourceReport, SourceState},
};
use std::{fs::File, io, os::fd::AsFd, path::Path, thread, time::Duration};

/// How often the table is read although nothing was mounted. A table of 1,500 lines takes the kernel
/// and this source some 3 ms.
const BEAT: Duration = Duration::from_secs(30);

/// A pod's start makes mounts in a row; they are read together.
const SETTLE: Duration = Duration::from_secs(1);

/// Starts the thread that follows the table until the agent stops.
///
/// # Errors
/// The process may not start another thread.
pub fn spawn(roots: &Roots, outlet: Outlet, stop: Stop) -> io::Result<thread::JoinHandle<()>> {
    let mut follower = Follower { roots: roots.clone(), outlet, told: None, state: None };
    thread::Builder::new().name("mounts".into()).stack_size(256 << 10).spawn(move || {
        // The only error is that nobody listens any more.
        let _ = follower.follow(&stop);
    })
}

/// Whether the table can be read, and what of it, or why not and what helps.
pub fn probe(roots: &Roots) -> (SourceState, String, Option<String>) {
    let opened = open(&roots.proc).and_then(|mut table| read(&mut table, &roots.sys));
    match opened {
        Ok(table) => (SourceState::Up, describe(roots, &table), None),
        Err((error, remedy)) => (state_of(&error), error.to_string(), Some(remedy)),
    }
}

/// What went wrong, and what helps.
type Failure = (io::Error, String);

struct Follower {
    roots: Roots,
    outlet: Outlet,
    told: Option<MountTable>,
    state: Option<SourceState>,
}

impl Follower {
    fn follow(&mut self, stop: &Stop) -> Result<(), Stopped> {
        loop {
            match open(&self.roots.proc) {
                Ok(table) => self.follow_table(table, stop)?,
                Err(failure) => self.report(&failure)?,
            }
            if stop.wait(BEAT) {
                return Ok(());
            }
        }
    }

    /// Reads the table again and again until it fails.
    fn follow_table(&mut self, mut file: File, stop: &Stop) -> Result<(), Stopped> {
        loop {
            match read(&mut file, &self.roots.sys) {
                Ok(table) => self.tell(table)?,
                Err(failure) => return self.report(&failure),
            }
            match stop.wait_priority(file.as_fd(), Some(BEAT)) {
                Ok(Wake::Ready) if !stop.wait(SETTLE) => {}
                Ok(Wake::TimedOut) => {}
                _ => return Ok(()),
            }
        }
    }

    fn tell(&mut self, table: MountTable) -> Result<(), Stopped> {
        if self.state.replace(SourceState::Up) != Some(SourceState::Up) {
            let detail = describe(&self.roots, &table);
            self.outlet.send(Body::Source(SourceReport { source: SourceName::Mounts, state: SourceState::Up, detail }))?;
        }
        if self.told.as_ref() == Some(&table) {
            return Ok(());
        }
        self.outlet.send(Body::Mounts(table.clone()))?;
        self.told = Some(table);
        Ok(())
    }

    fn report(&mut self, (error, remedy): &Failure) -> Result<(), Stopped> {
        let state = state_of(error);
        if self.state.replace(state) == Some(state) {
            return Ok(());
        }
        self.outlet.send(Body::Source(SourceReport { source: SourceName::Mounts, state, detail: format!("{error}; {remedy}") }))
    }
}

fn describe(roots: &Roots, table: &MountTable) -> String {
    let (mounts, devices) = (table.mounts.len(), table.devices.len());
    format!("{}/1/mountinfo and {}/class/block: {mounts} mounts on {devices} devices", roots.proc.display(), roots.sys.display())
}

fn open(proc: &Path) -> Result<File, Failure> {
    let path = proc.join("1/mountinfo");
    File::open(&path).map_err(|error| named(&path, &error, "mount the host's /proc here and name it with --proc-root"))
}

fn read(table: &mut File, sys: &Path) -> Result<MountTable, Failure> {
    let mounts = mountinfo::read(table).map_err(|error| named(Path::new("mountinfo"), &error, "restart the agent"))?;
    let devices = block::read(sys)
        .map_err(|error| named(&sys.join("class/block"), &error, "every container has it; name the host's with --sys-root"))?;
    Ok(MountTable { devices, mounts })
}

fn named(path: &Path, error: &io::Error, remedy: &str) -> Failure {
    (io::Error::new(error.kind(), format!("{}: {error}", path.display())), remedy.to_owned())
}

fn state_of(error: &io::Error) -> SourceState {
    match error.kind() {
        io::ErrorKind::NotFound => SourceState::Absent,
        io::ErrorKind::PermissionDenied => SourceState::Unreadable,
        _ => SourceState::Failing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn roots(folder: &Path) -> Roots {
        Roots { proc: folder.join("proc"), sys: folder.join("sys"), ..Roots::default() }
    }

    #[test]
    fn a_table_is_told_once_until_it_changes() {
        let folder = tempfile::tempdir().expect("folder");
        let roots = roots(folder.path());
        let (outlet, mut signals) = super::super::channel();
        let mut follower = Follower { roots: roots.clone(), outlet, told: None, state: None };
        assert_eq!(probe(&roots).0, SourceState::Absent);
        follower.report(&open(&roots.proc).expect_err("absent")).expect("running");
        fs::create_dir_all(roots.proc.join("1")).expect("folder");
        fs::create_dir_all(roots.sys.join("class/block")).expect("folder");
        fs::write(roots.proc.join("1/mountinfo"), "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n").expect("write");
        let mut file = open(&roots.proc).expect("a table");
        let once = read(&mut file, &roots.sys).expect("a table");
        follower.tell(once.clone()).expect("running");
        follower.tell(read(&mut file, &roots.sys).expect("a table")).expect("running");
        fs::write(roots.proc.join("1/mountinfo"), "27 1 8:1 / / rw - ext4 /dev/sda1 ro\n").expect("write");
        follower.tell(read(&mut file, &roots.sys).expect("a table")).expect("running");
        let told: Vec<_> = std::iter::from_fn(|| signals.try_recv().ok()).map(|signal| signal.body).collect();
        let [Body::Source(absent), Body::Source(up), Body::Mounts(first), Body::Mounts(second)] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!((absent.state, up.state), (SourceState::Absent, SourceState::Up));
        assert!(absent.detail.contains("--proc-root"), "{}", absent.detail);
        assert_eq!((first, second.mounts[0].filesystem_read_only), (&once, true));
        assert_eq!(probe(&roots).0, SourceState::Up);
    }
}
