//! systemd's journal: the lines of the kubelet's unit, and what PID 1 and journald say about it.
//!
//! Flows in: directories of journal files. Flows out: those lines with who wrote them, as journald
//! vouches for it (fields that begin with `_`): `SYSLOG_IDENTIFIER`, `UNIT` and the text are the
//! writer's own words, and anybody may write `kubelet` into them. Sources: systemd.journal-fields(7),
//! systemd 252 src/journal/journald-server.c and journald-stream.c.

use super::{Ended, Failure, Feed, Resume, units::Units};
use crate::{
    model::{BootId, BootTime, Pid},
    signal::{Body, Gap, KubeletLine, KubeletOrigin, SourceName},
    sources::journal::{Journal, Reading, newest_of, number_in},
};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

/// journald cuts lines at 48 KiB unless it is told otherwise (`LineMax=`).
const FIELD_LIMIT: usize = 64 << 10;
/// How far before the newest entry reading begins when no position is known: far enough for what
/// killed the containers that just died.
const HISTORY: Duration = Duration::from_mins(10);
/// At most this many entries of it: the lines of a verbose kubelet's 10 minutes.
const HISTORY_ENTRIES: u64 = 20_000;
/// `SD_MESSAGE_JOURNAL_DROPPED`: "Suppressed N messages from kubelet.service".
const SUPPRESSED: &str = "a596d6fe7bfa4994828e72309e95d61e";
/// `SD_MESSAGE_UNIT_OOMD_KILL`: PID 1 tells that systemd-oomd killed in a unit, which may be a container's scope.
const OOMD_KILL: &str = "d989611b15e44c9dbf31e3c81256e4ed";
/// Streams with an unfinished line that are remembered; a unit has two or three.
const OPEN_STREAMS: usize = 64;

/// The open journal of one directory.
pub(super) struct KubeletJournal {
    journal: Journal,
    units: Arc<Units>,
    /// Nothing of it was read yet by this process.
    first: bool,
}

/// Opens the directory with the newest entry of the wanted units in this boot. There need not be one
/// if it is `known` that the kubelet logs here: rotation may have taken the last. Where somebody named the
/// unit there must be: what was read before may be another unit's.
pub(super) fn open(
    directories: &[PathBuf],
    boot_id: &BootId,
    units: &Arc<Units>,
    wanted: &[String],
    known: bool,
) -> Result<KubeletJournal, Failure> {
    let journal = newest_of(directories, |directory| {
        let mut journal = Journal::open(directory, FIELD_LIMIT)?;
        let newest = choose_entries(&mut journal, boot_id, units, wanted).map_err(|error| journal.failing(&error))?;
        if newest.is_none() && (!known || units.kubelet_is_named()) {
            let why = format!("{} holds no entry of this boot ({boot_id}) by {}", directory.display(), wanted.join(", "));
            return Err(journal.no_entry(why, remedy(units)));
        }
        Ok((journal, newest))
    })?;
    Ok(KubeletJournal { journal, units: units.clone(), first: true })
}

fn remedy(units: &Units) -> &'static str {
    if units.kubelet_is_named() {
        "correct --kubelet-unit (`systemctl list-units --type=service` on the node), or mount the journal of this very host"
    } else {
        "mount the journal of this very host, name the unit that the kubelet runs in with --kubelet-unit, or the file that it writes with --kubelet-log"
    }
}

/// Says when the newest entry of the wanted units was taken, and matches what is read.
fn choose_entries(journal: &mut Journal, boot_id: &BootId, units: &Units, wanted: &[String]) -> Result<Option<u64>, systemd::Error> {
    journal.match_boot(boot_id)?;
    wanted.iter().try_for_each(|unit| journal.files().match_add("_SYSTEMD_UNIT", unit.as_str()).map(drop))?;
    let newest = journal.newest()?;
    journal.files().match_flush()?;
    journal.match_boot(boot_id)?;
    let files = journal.files();
    files.match_and()?;
    units.speaking().try_for_each(|unit| files.match_add("_SYSTEMD_UNIT", unit).map(drop))?;
    files.match_or()?;
    files.match_add("_PID", "1")?;
    units.spoken_of().try_for_each(|unit| files.match_add("UNIT", unit).map(drop))?;
    files.match_or()?;
    files.match_add("_PID", "1")?.match_add("MESSAGE_ID", OOMD_KILL)?;
    files.match_or()?;
    files.match_add("_TRANSPORT", "driver")?.match_add("MESSAGE_ID", SUPPRESSED)?;
    Ok(newest)
}

impl KubeletJournal {
    /// What is read, in a clause.
    pub(super) fn describe(&self) -> String {
        format!("the journal in {}", self.journal.directory().display())
    }

    /// This process has read the journal before: what rotation removes from now on was read.
    pub(super) fn again(mut self) -> Self {
        self.first = false;
        self
    }

    /// Sends every line after the position, and then every new one.
    pub(super) fn follow(&mut self, feed: &mut Feed) -> Ended {
        let mut lines = KubeletEntries::new(self.units.clone(), self.first);
        self.journal.follow(&mut lines, feed)
    }
}

/// The entries after a position.
struct KubeletEntries {
    units: Arc<Units>,
    /// The position's entry, which should come first.
    expected: Option<String>,
    /// Whether its absence means that something may be lost.
    tell_missing: bool,
    /// It did not come, which is still to be told.
    missing: bool,
    /// Streams whose last line was cut, so that the next entry goes on with it.
    open_lines: BTreeSet<String>,
}

impl Reading for KubeletEntries {
    type Position = Resume;
    type Entry = Body;

    fn seek(&mut self, journal: &mut Journal, feed: &Feed) -> Result<(), systemd::Error> {
        match feed.position.cursor.as_deref() {
            Some(cursor) if journal.files().seek_cursor(cursor).is_ok() => {
                self.expected = Some(cursor.to_owned());
                Ok(())
            }
            _ => seek_history(journal),
        }
    }

    fn read(&mut self, journal: &mut Journal) -> Result<Option<Body>, systemd::Error> {
        let cursor = journal.files().cursor()?;
        if let Some(expected) = self.expected.take() {
            if is_same_entry(&cursor, &expected) {
                return Ok(None);
            }
            // It may be another unit's, which was followed before one was named.
            let is_there = || journal.entry_at(&expected).is_some_and(|found| is_same_entry(&found, &expected));
            self.missing = self.tell_missing && !is_there();
        }
        let writer = journal.field("_SYSTEMD_UNIT")?;
        let message_id = journal.field("MESSAGE_ID")?;
        if message_id.as_deref() == Some(SUPPRESSED) && journal.field("_TRANSPORT")?.as_deref() == Some("driver") {
            return suppressed(journal, &self.units);
        }
        let pid: Option<u32> = journal.number("_PID")?;
        let is_pid1 = pid == Some(1);
        let unit = if is_pid1 { journal.field("UNIT")? } else { writer };
        let invocation = journal.field(if is_pid1 { "INVOCATION_ID" } else { "_SYSTEMD_INVOCATION_ID" })?;
        let stream = journal.field("_STREAM_ID")?;
        let Some(unit) = unit.filter(|unit| self.is_wanted(unit, is_pid1, message_id.as_deref())) else { return Ok(None) };
        if self.goes_on(stream.as_deref(), journal.field("_LINE_BREAK")?.as_deref()) {
            return Ok(None);
        }
        let origin = KubeletOrigin::Journal {
            role: self.units.named_role(&unit),
            unit: unit.into(),
            identifier: journal.field("SYSLOG_IDENTIFIER")?,
            pid: pid.map(Pid),
            stream,
            invocation,
            cursor,
            boot_time: journal.files().monotonic_timestamp().ok().map(|(micros, _)| BootTime(micros)),
            wall: journal.wall(),
            is_pid1,
        };
        let text = journal.field("MESSAGE")?.unwrap_or_default();
        Ok(Some(Body::Kubelet(KubeletLine { origin, text })))
    }

    fn send(&mut self, entry: Body, feed: &mut Feed) -> Result<(), Ended> {
        if std::mem::take(&mut self.missing) {
            let detail = "the journal no longer holds the entry that was read last; what followed it may be removed too";
            feed.lost(None, detail.into())?;
        }
        if let Body::Kubelet(line) = &entry {
            feed.position.pass(line);
        }
        feed.send(entry)
    }
}

impl KubeletEntries {
    fn new(units: Arc<Units>, tell_missing: bool) -> Self {
        Self { units, expected: None, tell_missing, missing: false, open_lines: BTreeSet::new() }
    }

    fn is_wanted(&self, unit: &str, is_pid1: bool, message_id: Option<&str>) -> bool {
        if is_pid1 {
            message_id == Some(OOMD_KILL) || self.units.spoken_of().any(|known| known == unit)
        } else {
            self.units.speaking().any(|known| known == unit)
        }
    }

    /// Whether an entry goes on with a line that journald cut. Its text may begin with anything that
    /// the line's writer was made to print, such as another line's header, so it is passed over.
    fn goes_on(&mut self, stream: Option<&str>, line_break: Option<&str>) -> bool {
        let Some(stream) = stream else { return false };
        let goes_on = self.open_lines.remove(stream);
        if matches!(line_break, Some("line-max" | "nul")) {
            if self.open_lines.len() >= OPEN_STREAMS {
                self.open_lines.pop_first();
            }
            self.open_lines.insert(stream.to_owned());
        }
        goes_on
    }
}

/// Goes to where the first start begins.
fn seek_history(journal: &mut Journal) -> Result<(), systemd::Error> {
    let Some(newest) = journal.newest()? else { return journal.files().seek_head() };
    let since = newest.saturating_sub(u64::try_from(HISTORY.as_micros()).unwrap_or(u64::MAX));
    let files = journal.files();
    files.seek_tail()?;
    files.previous_skip(HISTORY_ENTRIES)?;
    if files.timestamp_usec()? < since {
        return files.seek_realtime_usec(since);
    }
    let cursor = files.cursor()?;
    files.seek_cursor(cursor.as_str())
}

/// Whether two cursors are of the same entry. journald gives an entry another number when it moves
/// it from the volatile to the persistent journal; its time and the hash of its fields stay.
fn is_same_entry(one: &str, other: &str) -> bool {
    let part = |cursor: &str, key: &str| cursor.split(';').find_map(|part| part.strip_prefix(key).map(str::to_owned));
    let same = |key| part(one, key).is_some_and(|value| part(other, key) == Some(value));
    one == other || ["b=", "t=", "x="].into_iter().all(same)
}

/// What journald's rate limit took, if it took it from one of the units.
fn suppressed(journal: &mut Journal, units: &Units) -> Result<Option<Body>, systemd::Error> {
    let message = journal.field("MESSAGE")?.unwrap_or_default();
    if !is_about_wanted(&message, units) {
        return Ok(None);
    }
    let lost = journal.number("N_DROPPED")?.or_else(|| number_in(&message));
    Ok(Some(Body::Gap(Gap { source: SourceName::KubeletLog, lost, detail: format!("journald: {message}") })))
}

/// `Suppressed 812 messages from kubelet.service`; systemd before 235 names the cgroup.
fn is_about_wanted(message: &str, units: &Units) -> bool {
    let from = message.rsplit(' ').next().unwrap_or_default();
    let unit = from.rsplit('/').next().unwrap_or_default();
    units.speaking().any(|known| known == unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn an_entry_that_was_moved_is_the_same() {
        let volatile = "s=aa;i=10;b=77;m=5;t=900;x=f0";
        assert!(is_same_entry(volatile, volatile));
        assert!(is_same_entry(volatile, "s=bb;i=1;b=77;m=5;t=900;x=f0"));
        for other in ["s=aa;i=10;b=77;m=5;t=900;x=f1", "s=aa;i=10;b=77;m=5;t=901;x=f0", "s=aa;i=10", "", "rubbish"] {
            assert!(!is_same_entry(volatile, other), "{other}");
        }
        assert!(!is_same_entry("", "x"));
    }

    #[test]
    fn what_was_suppressed_names_its_unit() {
        let is_about_wanted = |message| is_about_wanted(message, &Units::of(&config::Units::default()));
        assert!(is_about_wanted("Suppressed 812 messages from kubelet.service"));
        assert!(is_about_wanted("Suppressed 812 messages from /system.slice/k3s.service"));
        assert!(!is_about_wanted("Suppressed 812 messages from cron.service"));
        assert!(!is_about_wanted(""));
    }

    #[test]
    fn the_rest_of_a_cut_line_is_no_line() {
        let mut entries = KubeletEntries::new(Arc::new(Units::of(&config::Units::default())), false);
        assert!(!entries.goes_on(Some("a"), Some("line-max")));
        assert!(!entries.goes_on(Some("b"), None), "another stream");
        assert!(entries.goes_on(Some("a"), Some("line-max")), "cut again");
        assert!(entries.goes_on(Some("a"), None));
        assert!(!entries.goes_on(Some("a"), Some("eof")));
        assert!(!entries.goes_on(Some("a"), None));
        assert!(!entries.goes_on(None, Some("nul")));
        (0..200).for_each(|n| assert!(!entries.goes_on(Some(&n.to_string()), Some("nul"))));
        assert_eq!(entries.open_lines.len(), OPEN_STREAMS);
    }
}
