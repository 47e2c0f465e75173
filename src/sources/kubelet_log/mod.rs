//! The kubelet's log, where the distribution puts it: systemd's journal or a file.
//!
//! Flows in: the choice of a place, the node's roots, the position that an earlier run reached.
//! Flows out: lines as they were written with who wrote them ([`KubeletLine`](crate::signal::KubeletLine)),
//! from the journal also what PID 1 says about the units of kubelet and runtime and what systemd-oomd
//! kills, the losses that are known, and a report whenever the source's condition changes. What a line
//! means is not known here.

mod file;
#[cfg(feature = "journal")]
mod journal;
#[cfg(not(feature = "journal"))]
#[path = "journal_absent.rs"]
mod journal;
mod lines;
mod units;
mod watch;

pub use crate::signal::KubeletPosition as Resume;

use super::{
    Outlet, Stop,
    feed::{Ended, Failure},
};
use crate::{
    config::{self, KubeletLogChoice, Roots},
    model::BootId,
    signal::{SourceName, SourceState},
};
use file::LogFile;
use journal::KubeletJournal;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};
use units::Units;

/// Reading needs little stack; the C library of the journal keeps its buffers on the heap.
const STACK: usize = 256 << 10;

/// Where the lines go, and how far they have come.
type Feed = super::feed::Feed<Resume>;

/// What `nodewhy doctor` tells of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whether it can be read.
    pub state: SourceState,
    /// What it would read, or why it cannot.
    pub detail: String,
    /// What makes it work, where it does not.
    pub remedy: Option<String>,
}

/// Looks for the log as the agent would, and reads no line.
pub fn probe(choice: &KubeletLogChoice, units: &config::Units, roots: &Roots, boot_id: &BootId) -> Probe {
    let source = Source::new(choice.clone(), units, roots.clone(), boot_id.clone());
    match source.open(&Resume::default()) {
        Ok((_, detail)) => Probe { state: SourceState::Up, detail, remedy: None },
        Err(failure) => Probe { state: failure.state, detail: failure.why, remedy: Some(failure.remedy) },
    }
}

/// Starts the thread that reads the log until the agent stops.
///
/// # Errors
/// The process may not start another thread.
pub fn spawn(
    choice: KubeletLogChoice,
    units: &config::Units,
    roots: Roots,
    boot_id: BootId,
    resume: Resume,
    outlet: Outlet,
    stop: Stop,
) -> io::Result<thread::JoinHandle<()>> {
    let feed = Feed::new(SourceName::KubeletLog, resume, outlet, stop);
    let mut source = Source::new(choice, units, roots, boot_id);
    thread::Builder::new().name("kubelet-log".into()).stack_size(STACK).spawn(move || feed.keep_trying(|feed| source.read(feed)))
}

/// Where the log may be.
struct Source {
    choice: KubeletLogChoice,
    units: Arc<Units>,
    roots: Roots,
    boot_id: BootId,
    history: History,
}

/// What this process has read before.
#[derive(Debug, Default)]
struct History {
    /// Entries of the journal.
    journal: bool,
    /// The file that is gone and was read to its end: the next of its name is new from its beginning.
    ended: Option<PathBuf>,
}

/// The log, open in one of its places.
enum Log {
    Journal(Box<KubeletJournal>),
    File(Box<LogFile>),
}

impl Source {
    fn new(choice: KubeletLogChoice, units: &config::Units, roots: Roots, boot_id: BootId) -> Self {
        Self { choice, units: Arc::new(Units::of(units)), roots, boot_id, history: History::default() }
    }

    /// Opens the log and reads it as long as that works. `Ok` when there is nothing to read for good.
    fn read(&mut self, feed: &mut Feed) -> Result<(), Ended> {
        if self.choice == KubeletLogChoice::None {
            return feed.report(SourceState::Absent, switched_off().why);
        }
        let (log, detail) = self.open(&feed.position).map_err(Ended::Failed)?;
        feed.report(SourceState::Up, detail)?;
        match log {
            Log::Journal(mut journal) => {
                self.history.journal = true;
                Err(journal.follow(feed))
            }
            Log::File(file) => {
                let (path, before) = (file.path().to_owned(), self.history.ended.take());
                let (ended, at_its_end) = file.follow(feed, before.as_ref() == Some(&path));
                self.history.ended = Some(path).filter(|_| at_its_end);
                Err(ended)
            }
        }
    }

    /// The log and what to say of it.
    fn open(&self, position: &Resume) -> Result<(Log, String), Failure> {
        let log = match &self.choice {
            KubeletLogChoice::None => return Err(switched_off()),
            KubeletLogChoice::Auto => return self.find(position),
            KubeletLogChoice::Journal => {
                let wanted = [self.units.kubelets.as_slice(), &self.units.supervisors].concat();
                self.open_journal(position, &wanted)?
            }
            KubeletLogChoice::File(path) => open_file(path)?,
        };
        Ok(log.told(""))
    }

    /// The journal if a kubelet logs there, else a file, else the journal of what runs a kubelet that logs elsewhere.
    fn find(&self, position: &Resume) -> Result<(Log, String), Failure> {
        let in_journal = match self.open_journal(position, &self.units.kubelets) {
            Ok(log) => return Ok(log.told("")),
            Err(failure) => failure,
        };
        let in_file = match first_file(&self.roots.kubelet_logs) {
            Ok(log) => return Ok(log.told(&format!("; not the journal: {}", in_journal.why))),
            Err(failure) => failure,
        };
        match self.open_journal(position, &self.units.supervisors) {
            Ok(log) => Ok(log.told(&format!(", without the kubelet's own lines: {}", in_file.why))),
            Err(of_supervisor) => {
                let in_journal = if self.units.kubelets.is_empty() { of_supervisor } else { in_journal };
                Err(Failure::of_all(vec![in_journal, in_file]).unwrap_or_else(switched_off))
            }
        }
    }

    fn open_journal(&self, position: &Resume, wanted: &[String]) -> Result<Log, Failure> {
        if wanted.is_empty() {
            return Err(nobody_logs_there());
        }
        let journal = journal::open(&self.roots.journal, &self.boot_id, &self.units, wanted, position.cursor.is_some())?;
        Ok(Log::Journal(Box::new(if self.history.journal { journal.again() } else { journal })))
    }
}

impl Log {
    /// It and what to say of it.
    fn told(self, more: &str) -> (Self, String) {
        let detail = format!("{}{more}", self.describe());
        (self, detail)
    }

    fn describe(&self) -> String {
        match self {
            Self::Journal(journal) => journal.describe(),
            Self::File(file) => file.describe(),
        }
    }
}

fn open_file(path: &Path) -> Result<Log, Failure> {
    LogFile::open(path).map(|file| Log::File(Box::new(file)))
}

/// The first file that exists. One that exists and cannot be read is why there is none.
fn first_file(paths: &[PathBuf]) -> Result<Log, Failure> {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.iter().find(|path| path.symlink_metadata().is_ok()).map(|path| open_file(path)).unwrap_or_else(|| {
        Err(Failure {
            state: SourceState::Absent,
            why: format!("no such file: {}", names.join(", ")),
            remedy: "mount the host's journal, or name the file that the kubelet writes with --kubelet-log".into(),
        })
    })
}

/// Every unit that was named is a supervisor.
fn nobody_logs_there() -> Failure {
    Failure {
        state: SourceState::Absent,
        why: "the unit named with --kubelet-unit runs a kubelet that logs to a file".into(),
        remedy: "name the file that the kubelet writes with --kubelet-log".into(),
    }
}

fn switched_off() -> Failure {
    Failure { state: SourceState::Absent, why: "switched off by --kubelet-log none".into(), remedy: "choose --kubelet-log auto".into() }
}
