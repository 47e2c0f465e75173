//! systemd's journal: the kernel's lines as journald took them. Needs no capability.
//!
//! Flows in: directories of journal files. Flows out: the kernel's entries of the current boot, and
//! what journald says that it lost itself.

use super::{Ended, Failure, Feed, Follow, Resume};
use crate::{
    model::{BootId, BootTime},
    signal::{Body, Gap, KernelLine, SourceName},
    sources::journal::{Journal, Reading, newest_of, number_in},
};
use std::path::{Path, PathBuf};

/// The kernel's lines are at most about 1 KiB; a longer field is cut.
const FIELD_LIMIT: usize = 8 << 10;
/// `MESSAGE_ID` of "Missed N kernel messages" (systemd, sd-messages.h: `SD_MESSAGE_JOURNAL_MISSED`).
const MISSED: &str = "e9bf28e6e834481bb6f48f548ad13606";
/// What journald says when the kernel's ring overtook it.
const OVERRUN: &str = "/dev/kmsg buffer overrun";

/// The open journal of one directory.
pub(super) struct KernelJournal(Journal);

/// Opens the directory that holds the newest kernel entry of this boot.
pub(super) fn open(directories: &[PathBuf], boot_id: &BootId) -> Result<KernelJournal, Failure> {
    newest_of(directories, |directory| open_directory(directory, boot_id)).map(KernelJournal)
}

fn open_directory(directory: &Path, boot_id: &BootId) -> Result<(Journal, Option<u64>), Failure> {
    let mut journal = Journal::open(directory, FIELD_LIMIT)?;
    let newest = choose_entries(&mut journal, boot_id).map_err(|error| journal.failing(&error))?;
    if newest.is_none() {
        let why = format!("{} holds no kernel entry of this boot ({boot_id})", directory.display());
        let remedy = "set ReadKMsg=yes in journald.conf, mount the journal of this very host, or choose another transport";
        return Err(journal.no_entry(why, remedy));
    }
    Ok((journal, newest))
}

/// Matches what is read, and says when the newest of the kernel's own entries was taken.
fn choose_entries(journal: &mut Journal, boot_id: &BootId) -> Result<Option<u64>, systemd::Error> {
    journal.match_boot(boot_id)?;
    journal.files().match_add("_TRANSPORT", "kernel")?;
    let newest = journal.newest()?;
    // Driver entries are journald's own words, among them those of its losses.
    journal.files().match_add("_TRANSPORT", "driver")?;
    Ok(newest)
}

impl Follow for KernelJournal {
    fn describe(&self) -> String {
        format!("the journal in {}", self.0.directory().display())
    }

    fn follow(&mut self, feed: &mut Feed) -> Ended {
        let covered = Some(feed.position.clone());
        self.0.follow(&mut KernelEntries { covered }, feed)
    }
}

/// The kernel's entries after a position.
struct KernelEntries {
    /// What the first entries are compared with, until one is new.
    covered: Option<Resume>,
}

impl Reading for KernelEntries {
    type Position = Resume;
    type Entry = Entry;

    /// Goes to the position's entry, or to where it would be, or to the start of this boot.
    fn seek(&mut self, journal: &mut Journal, feed: &Feed) -> Result<(), systemd::Error> {
        let cursor = feed.position.cursor.as_deref();
        let found = cursor.is_some_and(|cursor| journal.files().seek_cursor(cursor).is_ok());
        if found { Ok(()) } else { journal.files().seek_head() }
    }

    /// The current entry, if it is one of the kernel's or tells of a loss.
    fn read(&mut self, journal: &mut Journal) -> Result<Option<Entry>, systemd::Error> {
        let message = journal.field("MESSAGE")?.unwrap_or_default();
        let facility: Option<u8> = journal.number("SYSLOG_FACILITY")?;
        let boot_time = journal.number("_SOURCE_MONOTONIC_TIMESTAMP")?.map(BootTime);
        let cursor = journal.files().cursor()?;
        let of_kernel = journal.field("_TRANSPORT")?.as_deref() == Some("kernel");
        let missed = !of_kernel && journal.field("MESSAGE_ID")?.as_deref() == Some(MISSED);
        let body = match (missed, message.contains(OVERRUN)) {
            (true, _) => lost(number_in(&message), message),
            // In the kernel's transport anybody who may write to /dev/kmsg says this; facility 0 is the kernel itself.
            (_, true) if !of_kernel || facility != Some(0) => lost(None, message),
            _ if of_kernel => Body::Kernel(KernelLine::Journal {
                priority: journal.number("PRIORITY")?,
                facility,
                boot_time,
                wall: journal.wall(),
                subsystem: journal.field("_KERNEL_SUBSYSTEM")?,
                device: journal.field("_KERNEL_DEVICE")?,
                cursor: cursor.clone(),
                message,
            }),
            _ => return Ok(None),
        };
        Ok(Some(Entry { cursor, boot_time, body }))
    }

    fn send(&mut self, entry: Entry, feed: &mut Feed) -> Result<(), Ended> {
        let covered = self.covered.as_ref();
        let known = covered.is_some_and(|covered| entry.is_covered_by(covered));
        if covered.is_some_and(|covered| !known || covered.cursor.as_ref() == Some(&entry.cursor)) {
            // From here on the order of the files alone decides.
            self.covered = None;
        }
        if known {
            return Ok(());
        }
        feed.position.pass_cursor(&entry.cursor, entry.boot_time);
        feed.send(entry.body)
    }
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

fn lost(lost: Option<u64>, message: String) -> Body {
    Body::Gap(Gap { source: SourceName::KernelLog, lost, detail: format!("journald: {message}") })
}
