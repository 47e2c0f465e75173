//! Reading systemd's journal, for every source that finds its lines there. Needs no capability.
//!
//! Flows in: a directory of journal files and which of their entries a source wants ([`Reading`]).
//! Flows out: those entries in order, live, with the losses that the files themselves show. What an
//! entry means and which signal it becomes, the source knows. Entries are found through the journal's
//! own indexes, never by reading from the head: pages of others would stay mapped (measured: 142 MB
//! for a journal of 170 MB).

mod descriptor;
mod directory;

use super::{
    feed::{Ended, Failure, Feed},
    stop::Wake,
};
use crate::{model::BootId, signal::SourceState};
use jiff::Timestamp;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use systemd::journal::{JournalWaitResult, OpenDirectoryOptions};

/// How long to wait for a change: on a network filesystem the library finds one only when it is asked.
const WAIT: Duration = Duration::from_secs(1);
/// After catching up over this many entries the journal is opened anew, which gives the pages back.
const BACKLOG: usize = 256;
/// Damaged entries in a row after which the files are opened anew.
const DAMAGED_LIMIT: usize = 8;
/// How long a file may be out of use before that is told: journald may be about to make it, to shorten or to remove it.
const SETTLING: Duration = Duration::from_secs(3);

/// What a source reads from the journal, and what it makes of it.
pub(super) trait Reading {
    /// How far the source has come.
    type Position: Clone + PartialEq;
    /// An entry, ready to be sent.
    type Entry;
    /// Goes to where reading begins, which may be at or before entries that are covered.
    fn seek(&mut self, journal: &mut Journal, feed: &Feed<Self::Position>) -> Result<(), systemd::Error>;
    /// Reads the current entry; `None` for one that is none of the source's.
    fn read(&mut self, journal: &mut Journal) -> Result<Option<Self::Entry>, systemd::Error>;
    /// Sends an entry that is not covered and moves the position on.
    fn send(&mut self, entry: Self::Entry, feed: &mut Feed<Self::Position>) -> Result<(), Ended>;
}

/// The open journal of one directory.
pub(super) struct Journal {
    directory: PathBuf,
    files: systemd::Journal,
    /// The files that were there at opening.
    opened: directory::Files,
    /// How many bytes of files were in use, or should have been at opening, when it was last looked.
    usage: u64,
    /// When fewer were in use than before, until it is known why.
    fewer_since: Option<Instant>,
    /// The longest part of a field that is read, in bytes.
    field_limit: usize,
}

impl Journal {
    /// Opens the files of a directory; no entry matches until [`Self::files`] is told which do.
    pub(super) fn open(directory: &Path, field_limit: usize) -> Result<Self, Failure> {
        directory::check(directory)?;
        let failed = |error: systemd::Error| failing(directory, &error);
        // Taken first: files that grow meanwhile are not missing.
        let opened = directory::Files::of(directory);
        let path = directory.to_string_lossy();
        let mut files = OpenDirectoryOptions::default().open_directory(path.as_ref()).map_err(failed)?;
        if files.usage().map_err(failed)? == 0 {
            return Err(directory::unusable(directory));
        }
        files.set_data_threshold(field_limit).map_err(failed)?;
        let usage = opened.size();
        Ok(Self { directory: directory.into(), files, opened, usage, fewer_since: None, field_limit })
    }

    /// Restricts the entries to those of a boot.
    pub(super) fn match_boot(&mut self, boot_id: &BootId) -> Result<(), systemd::Error> {
        self.files.match_add("_BOOT_ID", boot_id.0.replace('-', "")).map(drop)
    }

    /// The library's own handle, for matches and seeks.
    pub(super) fn files(&mut self) -> &mut systemd::Journal {
        &mut self.files
    }

    /// Where the files are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Why no entry matches: files cannot be read, or there is none, which the source words.
    pub(super) fn no_entry(&self, why: String, remedy: &str) -> Failure {
        if self.left_out() > 0 {
            return directory::unusable(&self.directory);
        }
        Failure { state: SourceState::Stale, why, remedy: remedy.into() }
    }

    /// An error of the library, in words.
    pub(super) fn failing(&self, error: &systemd::Error) -> Failure {
        failing(&self.directory, error)
    }

    /// When the newest of the matching entries was taken, in microseconds since 1970.
    pub(super) fn newest(&mut self) -> Result<Option<u64>, systemd::Error> {
        self.files.seek_tail()?;
        // Backwards: a step forward from the tail can land anywhere.
        if self.files.previous()? == 0 { Ok(None) } else { self.files.timestamp_usec().map(Some) }
    }

    /// A field of the current entry, cut at the limit.
    pub(super) fn field(&mut self, name: &str) -> Result<Option<String>, systemd::Error> {
        let field = self.files.get_data(name)?;
        let value = field.as_ref().and_then(systemd::journal::JournalEntryField::value);
        let value = value.map(|value| value.get(..self.field_limit).unwrap_or(value));
        Ok(value.map(|value| String::from_utf8_lossy(value).into_owned()))
    }

    /// A field of the current entry that is a number.
    pub(super) fn number<N: std::str::FromStr>(&mut self, name: &str) -> Result<Option<N>, systemd::Error> {
        Ok(self.field(name)?.and_then(|value| value.parse().ok()))
    }

    /// When journald took the current entry.
    pub(super) fn wall(&self) -> Option<Timestamp> {
        let micros = self.files.timestamp_usec().ok()?;
        Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()
    }

    /// The cursor of the entry that is found by one, whether the entry matches or not.
    pub(super) fn entry_at(&self, cursor: &str) -> Option<String> {
        let mut all = Self::open(&self.directory, self.field_limit).ok()?;
        all.files.seek_cursor(cursor).ok()?;
        all.files.next().ok().filter(|entries| *entries > 0)?;
        all.files.cursor().ok()
    }

    /// Reads on until the files should be opened anew or cannot be read.
    pub(super) fn follow<R: Reading>(&mut self, reading: &mut R, feed: &mut Feed<R::Position>) -> Ended {
        self.follow_files(reading, feed).map_or_else(|ended| ended, |()| Ended::Renew)
    }

    fn follow_files<R: Reading>(&mut self, reading: &mut R, feed: &mut Feed<R::Position>) -> Result<(), Ended> {
        reading.seek(self, feed).map_err(|error| self.failed(&error))?;
        let backlog = self.drain(reading, feed)?;
        // The first wait does not wait: it tells of the files that were found at opening as if they were new.
        let found = self.files.wait(Some(Duration::ZERO));
        self.change(found)?;
        self.tell_left_out(feed)?;
        if backlog > BACKLOG {
            return Ok(());
        }
        loop {
            self.drain(reading, feed)?;
            let change = self.wait_for_change(feed)?;
            self.tell_left_out(feed)?;
            if change == Change::Files {
                self.drain(reading, feed)?;
                return Ok(());
            }
        }
    }

    /// Sends every entry that is there and says how many were read.
    fn drain<R: Reading>(&mut self, reading: &mut R, feed: &mut Feed<R::Position>) -> Result<usize, Ended> {
        let (mut read, mut damaged) = (0_usize, 0_usize);
        loop {
            match self.files.next() {
                Ok(0) => break,
                Ok(_) => match self.take(reading, feed)? {
                    Taken::Whole => damaged = 0,
                    Taken::Damaged => damaged = damaged.saturating_add(1),
                },
                Err(error) if is_damage(&error) => damaged = damaged.saturating_add(1),
                Err(error) => return Err(self.failed(&error)),
            }
            if damaged >= DAMAGED_LIMIT {
                return Err(self.failed(&systemd::Error::from_raw_os_error(nix::libc::EBADMSG)));
            }
            read = read.saturating_add(1);
        }
        Ok(read)
    }

    /// Sends the current entry; a damaged one is told as a loss.
    fn take<R: Reading>(&mut self, reading: &mut R, feed: &mut Feed<R::Position>) -> Result<Taken, Ended> {
        match reading.read(self) {
            Ok(None) => Ok(Taken::Whole),
            Ok(Some(entry)) => reading.send(entry, feed).map(|()| Taken::Whole),
            Err(error) if is_damage(&error) => {
                feed.lost(Some(1), format!("{}: a damaged journal entry: {error}", self.directory.display()))?;
                Ok(Taken::Damaged)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Bytes of files that are there and not in use: the library gives a file that it cannot read up in silence, but
    /// does not count its size.
    fn left_out(&self) -> u64 {
        let in_use = self.in_use();
        let remaining = self.opened.size_of_remaining(&self.directory);
        // Asked again: what grew meanwhile is in use.
        remaining.saturating_sub(in_use.max(self.in_use()))
    }

    /// Bytes of files that the library reads.
    fn in_use(&self) -> u64 {
        self.files.usage().unwrap_or_default()
    }

    /// Tells of files that have fallen out of use, once that has lasted.
    fn tell_left_out<P: Clone + PartialEq>(&mut self, feed: &mut Feed<P>) -> Result<(), Ended> {
        let in_use = self.in_use();
        if in_use < std::mem::replace(&mut self.usage, in_use) {
            self.fewer_since = Some(Instant::now());
        }
        if self.fewer_since.is_none_or(|since| since.elapsed() < SETTLING) {
            return Ok(());
        }
        self.fewer_since = None;
        match self.left_out() {
            0 => Ok(()),
            dropped => feed.lost_once(format!(
                "{}: journal files of {} KiB are damaged or of a newer format and left out",
                self.directory.display(),
                dropped / 1024
            )),
        }
    }

    /// Waits until the library has a change to tell, or somebody rings: journald lets others know of an entry up to a
    /// quarter of a second after it is written, and an entry can be read before.
    fn wait_for_change<P: Clone + PartialEq>(&mut self, feed: &Feed<P>) -> Result<Change, Ended> {
        let waited = descriptor::of(&self.files).and_then(|fd| Ok(feed.wait(Some(fd), WAIT)?));
        if waited.map_err(|error| self.failed(&error))? == Wake::Stopped {
            return Err(Ended::Stopped);
        }
        let found = self.files.process();
        self.change(found)
    }

    fn change(&self, found: Result<JournalWaitResult, systemd::Error>) -> Result<Change, Ended> {
        Ok(match found.map_err(|error| self.failed(&error))? {
            JournalWaitResult::Invalidate => Change::Files,
            JournalWaitResult::Append | JournalWaitResult::Nop => Change::Entries,
        })
    }

    fn failed(&self, error: &systemd::Error) -> Ended {
        Ended::Failed(self.failing(error))
    }
}

/// Opens every directory and takes the one with the newest entry. The persistent and the volatile one
/// hold the same entries for a moment when journald moves them, and one of them is old when it has
/// been told to change over.
pub(super) fn newest_of(
    directories: &[PathBuf],
    open: impl Fn(&Path) -> Result<(Journal, Option<u64>), Failure>,
) -> Result<Journal, Failure> {
    let mut failures = Vec::new();
    let mut best: Option<(Journal, Option<u64>)> = None;
    for directory in directories {
        match open(directory) {
            Ok(found) if best.as_ref().is_none_or(|best| found.1 > best.1) => best = Some(found),
            Ok(_) => {}
            Err(failure) => failures.push(failure),
        }
    }
    best.map(|(journal, _)| journal).ok_or_else(|| {
        Failure::of_all(failures).unwrap_or_else(|| Failure {
            state: SourceState::Absent,
            why: "no journal directory is given".into(),
            remedy: "name one with --journal-dir".into(),
        })
    })
}

/// The first number of "Missed 17 kernel messages".
pub(super) fn number_in(message: &str) -> Option<u64> {
    message.split_whitespace().find_map(|word| word.parse().ok())
}

fn failing(directory: &Path, error: &systemd::Error) -> Failure {
    Failure {
        state: SourceState::Failing,
        why: format!("{}: {error}", directory.display()),
        remedy: "check the files with `journalctl --verify` on the node".into(),
    }
}

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// Perhaps there are new entries.
    Entries,
    /// Files came or went. They are opened anew, which closes those that are deleted.
    Files,
}

/// How the current entry was.
enum Taken {
    /// It was read; it may have been none of ours.
    Whole,
    /// It cannot be read.
    Damaged,
}

/// Errors that say that a file is damaged or was written in a way this library cannot read.
fn is_damage(error: &systemd::Error) -> bool {
    use nix::libc::{EBADMSG, EIO, ENODATA, EPROTONOSUPPORT};
    matches!(error.raw_os_error(), Some(EBADMSG | EIO | ENODATA | EPROTONOSUPPORT))
}
