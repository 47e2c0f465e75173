//! systemd's journal: the kernel's lines as journald took them. Needs no capability.
//!
//! Flows in: directories of journal files. Flows out: the kernel's entries of the current boot, and
//! what journald says that it lost itself. The entries are found through the journal's own index of
//! boots, never by reading from the head: pages of other boots would stay mapped (measured: 142 MB
//! for a journal of 170 MB).

use super::{Ended, Failure, Feed, Follow, Resume};
use crate::{
    model::{BootId, BootTime},
    signal::{Body, Gap, KernelLine, SourceName, SourceState},
};
use jiff::Timestamp;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use systemd::journal::{JournalWaitResult, OpenDirectoryOptions};

mod files;

/// How long to wait for a new entry before asking whether the agent stops.
const WAIT: Duration = Duration::from_secs(1);
/// The kernel's lines are at most about 1 KiB; a longer field is cut.
const FIELD_LIMIT: usize = 8 << 10;
/// After catching up over this many entries the journal is opened anew, which gives the pages back.
const BACKLOG: usize = 256;
/// Damaged entries in a row after which the files are opened anew.
const DAMAGED_LIMIT: usize = 8;
/// `MESSAGE_ID` of "Missed N kernel messages" (systemd, sd-messages.h: `SD_MESSAGE_JOURNAL_MISSED`).
const MISSED: &str = "e9bf28e6e834481bb6f48f548ad13606";
/// What journald says when the kernel's ring overtook it.
const OVERRUN: &str = "/dev/kmsg buffer overrun";

/// The open journal of one directory.
pub(super) struct Journal {
    directory: PathBuf,
    files: systemd::Journal,
    /// When the kernel's newest entry of this boot was taken, in microseconds since 1970.
    newest: u64,
    /// The size of the files that should be in use, in bytes.
    usage: u64,
}

/// Opens the directory that holds the newest kernel entry of this boot. The persistent and the
/// volatile one hold the same entries for a moment when journald moves them, and one of them is old
/// when it has been told to change over.
pub(super) fn open(directories: &[PathBuf], boot_id: &BootId) -> Result<Journal, Failure> {
    let mut failures = Vec::new();
    let mut best: Option<Journal> = None;
    for directory in directories {
        match open_directory(directory, boot_id) {
            Ok(journal) if best.as_ref().is_none_or(|best| journal.newest > best.newest) => best = Some(journal),
            Ok(_) => {}
            Err(failure) => failures.push(failure),
        }
    }
    best.ok_or_else(|| {
        Failure::of_all(failures).unwrap_or_else(|| Failure {
            state: SourceState::Absent,
            why: "no journal directory is given".into(),
            remedy: "name one with --journal-dir".into(),
        })
    })
}

fn open_directory(directory: &Path, boot_id: &BootId) -> Result<Journal, Failure> {
    files::check(directory)?;
    let failed = |error: systemd::Error| failing(directory, &error);
    let mut journal = open_files(directory, boot_id)?;
    journal.newest = journal.newest().map_err(failed)?.ok_or_else(|| no_entry(directory, boot_id, journal.left_out()))?;
    // Driver entries are journald's own words, among them those of its losses.
    journal.files.match_add("_TRANSPORT", "driver").map_err(failed)?;
    Ok(journal)
}

/// Opens the files, with a match on the kernel's entries of this boot.
fn open_files(directory: &Path, boot_id: &BootId) -> Result<Journal, Failure> {
    let failed = |error: systemd::Error| failing(directory, &error);
    // Taken first: files that grow meanwhile are not missing.
    let usage = files::size(directory);
    let path = directory.to_string_lossy();
    let mut files = OpenDirectoryOptions::default().open_directory(path.as_ref()).map_err(failed)?;
    if files.usage().map_err(failed)? == 0 {
        return Err(files::unusable(directory));
    }
    files.set_data_threshold(FIELD_LIMIT).map_err(failed)?;
    files.match_add("_BOOT_ID", boot_id.0.replace('-', "")).map_err(failed)?;
    files.match_add("_TRANSPORT", "kernel").map_err(failed)?;
    Ok(Journal { directory: directory.into(), files, newest: 0, usage })
}

fn no_entry(directory: &Path, boot_id: &BootId, left_out: u64) -> Failure {
    if left_out > 0 {
        return files::unusable(directory);
    }
    Failure {
        state: SourceState::Stale,
        why: format!("{} holds no kernel entry of this boot ({boot_id})", directory.display()),
        remedy: "set ReadKMsg=yes in journald.conf, mount the journal of this very host, or choose another transport".into(),
    }
}

fn failing(directory: &Path, error: &systemd::Error) -> Failure {
    Failure {
        state: SourceState::Failing,
        why: format!("{}: {error}", directory.display()),
        remedy: "check the files with `journalctl --verify` on the node".into(),
    }
}

impl Follow for Journal {
    fn describe(&self) -> String {
        format!("the journal in {}", self.directory.display())
    }

    fn follow(&mut self, feed: &mut Feed) -> Ended {
        self.follow_files(feed).map_or_else(|ended| ended, |()| Ended::Renew)
    }
}

impl Journal {
    /// Reads on from the position until the files should be opened anew.
    fn follow_files(&mut self, feed: &mut Feed) -> Result<(), Ended> {
        self.seek(feed)?;
        // What the first entries are compared with, until one is new.
        let mut covered = Some(feed.position.clone());
        let backlog = self.drain(feed, &mut covered)?;
        // The first wait tells of the files that were found at opening as if they were new.
        self.wait(Duration::ZERO)?;
        if backlog > BACKLOG {
            return Ok(());
        }
        loop {
            self.drain(feed, &mut covered)?;
            if feed.stop.stopped() {
                return Err(Ended::Stopped);
            }
            if self.wait(WAIT)? == Change::Files {
                self.drain(feed, &mut covered)?;
                return Ok(());
            }
        }
    }

    /// Goes to the position's entry, or to where it would be, or to the start of this boot.
    fn seek(&mut self, feed: &Feed) -> Result<(), Ended> {
        let cursor = feed.position.cursor.as_deref();
        let found = cursor.is_some_and(|cursor| self.files.seek_cursor(cursor).is_ok());
        if !found {
            self.files.seek_head().map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Sends every entry that is there and says how many were read.
    fn drain(&mut self, feed: &mut Feed, covered: &mut Option<Resume>) -> Result<usize, Ended> {
        let (mut read, mut damaged) = (0_usize, 0_usize);
        loop {
            match self.files.next() {
                Ok(0) => break,
                Ok(_) => match self.send(feed, covered)? {
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
        self.tell_left_out(feed)?;
        Ok(read)
    }

    /// When the newest of the matching entries was taken.
    fn newest(&mut self) -> Result<Option<u64>, systemd::Error> {
        self.files.seek_tail()?;
        // Backwards: a step forward from the tail can land anywhere.
        if self.files.previous()? == 0 { Ok(None) } else { self.files.timestamp_usec().map(Some) }
    }

    /// Bytes of files that are not in use: the library gives a file that it cannot read up in
    /// silence, but does not count its size.
    fn left_out(&self) -> u64 {
        self.usage.saturating_sub(self.files.usage().unwrap_or_default())
    }

    fn tell_left_out(&self, feed: &mut Feed) -> Result<(), Ended> {
        let dropped = self.left_out();
        if dropped == 0 {
            return Ok(());
        }
        let detail =
            format!("{}: journal files of {} KiB are damaged or of a newer format and left out", self.directory.display(), dropped / 1024);
        feed.lost_once(Gap { source: SourceName::KernelLog, lost: None, detail })
    }

    /// Sends the current entry if it is not covered; a damaged one is told as a loss.
    fn send(&mut self, feed: &mut Feed, covered: &mut Option<Resume>) -> Result<Taken, Ended> {
        match self.entry() {
            Ok(None) => Ok(Taken::Whole),
            Ok(Some(entry)) => {
                let known = covered.as_ref().is_some_and(|covered| entry.is_covered_by(covered));
                if covered.as_ref().is_some_and(|covered| !known || covered.cursor.as_ref() == Some(&entry.cursor)) {
                    // From here on the order of the files alone decides.
                    *covered = None;
                }
                if !known {
                    feed.position.pass_cursor(&entry.cursor, entry.boot_time);
                    feed.send(entry.body)?;
                }
                Ok(Taken::Whole)
            }
            Err(error) if is_damage(&error) => {
                let detail = format!("{}: a damaged journal entry: {error}", self.directory.display());
                feed.send(Body::Gap(Gap { source: SourceName::KernelLog, lost: Some(1), detail }))?;
                Ok(Taken::Damaged)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// The current entry, if it is one of the kernel's or tells of a loss.
    fn entry(&mut self) -> Result<Option<Entry>, systemd::Error> {
        let message = self.field("MESSAGE")?.unwrap_or_default();
        let facility: Option<u8> = self.number("SYSLOG_FACILITY")?;
        let boot_time = self.number("_SOURCE_MONOTONIC_TIMESTAMP")?.map(BootTime);
        let cursor = self.files.cursor()?;
        let of_kernel = self.field("_TRANSPORT")?.as_deref() == Some("kernel");
        let missed = !of_kernel && self.field("MESSAGE_ID")?.as_deref() == Some(MISSED);
        let body = match (missed, message.contains(OVERRUN)) {
            (true, _) => lost(number_in(&message), message),
            // In the kernel's transport anybody who may write to /dev/kmsg says this; facility 0 is the kernel itself.
            (_, true) if !of_kernel || facility != Some(0) => lost(None, message),
            _ if of_kernel => Body::Kernel(KernelLine::Journal {
                priority: self.number("PRIORITY")?,
                facility,
                boot_time,
                wall: self.wall(),
                subsystem: self.field("_KERNEL_SUBSYSTEM")?,
                device: self.field("_KERNEL_DEVICE")?,
                cursor: cursor.clone(),
                message,
            }),
            _ => return Ok(None),
        };
        Ok(Some(Entry { cursor, boot_time, body }))
    }

    fn field(&mut self, name: &str) -> Result<Option<String>, systemd::Error> {
        let field = self.files.get_data(name)?;
        let value = field.as_ref().and_then(systemd::journal::JournalEntryField::value);
        let value = value.map(|value| value.get(..FIELD_LIMIT).unwrap_or(value));
        Ok(value.map(|value| String::from_utf8_lossy(value).into_owned()))
    }

    fn number<N: std::str::FromStr>(&mut self, name: &str) -> Result<Option<N>, systemd::Error> {
        Ok(self.field(name)?.and_then(|value| value.parse().ok()))
    }

    fn wall(&self) -> Option<Timestamp> {
        let micros = self.files.timestamp_usec().ok()?;
        Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()
    }

    fn wait(&mut self, time: Duration) -> Result<Change, Ended> {
        let change = match self.files.wait(Some(time)) {
            Ok(JournalWaitResult::Invalidate) => Change::Files,
            Ok(JournalWaitResult::Append | JournalWaitResult::Nop) => Change::Entries,
            Err(error) if error.raw_os_error() == Some(nix::libc::EINTR) => Change::Entries,
            Err(error) => return Err(self.failed(&error)),
        };
        // A file that was deleted while waiting was not damaged.
        self.usage = self.files.usage().unwrap_or_default();
        Ok(change)
    }

    fn failed(&self, error: &systemd::Error) -> Ended {
        Ended::Failed(failing(&self.directory, error))
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

/// One entry, ready to be sent.
struct Entry {
    cursor: String,
    boot_time: Option<BootTime>,
    body: Body,
}

impl Entry {
    fn is_covered_by(&self, position: &Resume) -> bool {
        position.cursor.as_ref() == Some(&self.cursor) || position.covers_time(self.boot_time)
    }
}

/// Errors that say that a file is damaged or was written in a way this library cannot read.
fn is_damage(error: &systemd::Error) -> bool {
    use nix::libc::{EBADMSG, EIO, ENODATA, EPROTONOSUPPORT};
    matches!(error.raw_os_error(), Some(EBADMSG | EIO | ENODATA | EPROTONOSUPPORT))
}

fn lost(lost: Option<u64>, message: String) -> Body {
    Body::Gap(Gap { source: SourceName::KernelLog, lost, detail: format!("journald: {message}") })
}

/// The first number of "Missed 17 kernel messages".
fn number_in(message: &str) -> Option<u64> {
    message.split_whitespace().find_map(|word| word.parse().ok())
}
