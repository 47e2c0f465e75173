//! How far the kernel's log has been read, and what of it a reader may therefore pass over.
//!
//! Flows in: the checkpoint of an earlier run, then every line that is sent. Flows out: whether a
//! line is already covered. Each transport has its own exact position; the kernel's own clock is
//! what carries over when the transport changes.

use crate::model::BootTime;

/// The last line that is covered, of the current boot.
///
/// It belongs to one boot: the caller must not give the position of another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resume {
    /// Sequence number of the last `/dev/kmsg` record.
    pub seq: Option<u64>,
    /// Cursor of the last journal entry.
    pub cursor: Option<String>,
    /// The line's own time, for a transport that has no exact position (syslog(2)) or whose own is
    /// not known because another transport was read before.
    pub boot_time: Option<BootTime>,
}

impl Resume {
    /// Whether a record of `/dev/kmsg` comes at or before this position. A record that shows no
    /// position is not covered: it is the core's to judge.
    pub(super) fn covers_kmsg(&self, record: &str) -> bool {
        let (seq, boot_time) = kmsg_position(record);
        match (self.seq, seq) {
            (Some(covered), Some(seq)) => seq <= covered,
            (None, _) => self.covers_time(boot_time),
            (Some(_), None) => false,
        }
    }

    /// Whether something of this time comes at or before this position.
    pub(super) fn covers_time(&self, boot_time: Option<BootTime>) -> bool {
        matches!((self.boot_time, boot_time), (Some(covered), Some(time)) if time <= covered)
    }

    /// Moves on over a record of `/dev/kmsg`.
    pub(super) fn pass_kmsg(&mut self, record: &str) {
        let (seq, boot_time) = kmsg_position(record);
        self.seq = seq.or(self.seq);
        self.pass_time(boot_time);
    }

    /// Moves on over a journal entry.
    #[cfg_attr(not(feature = "journal"), allow(dead_code, reason = "only the journal has cursors"))]
    pub(super) fn pass_cursor(&mut self, cursor: &str, boot_time: Option<BootTime>) {
        match &mut self.cursor {
            Some(kept) => kept.replace_range(.., cursor),
            None => self.cursor = Some(cursor.to_owned()),
        }
        self.pass_time(boot_time);
    }

    /// Moves on to a time.
    pub(super) fn pass_time(&mut self, boot_time: Option<BootTime>) {
        self.boot_time = self.boot_time.max(boot_time);
    }
}

/// Sequence number and time of `prio,seq,usec,flags;text` (Documentation/ABI/testing/dev-kmsg).
fn kmsg_position(record: &str) -> (Option<u64>, Option<BootTime>) {
    let mut fields = record.split(',').skip(1);
    let mut number = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let seq = number();
    (seq, number().map(BootTime))
}

/// The time of a syslog(2) line, `<prio>[ seconds.micros] text`. Absent when `printk.time` is off.
pub(super) fn syslog_time(line: &str) -> Option<BootTime> {
    let (_, rest) = line.strip_prefix('<')?.split_once(">[")?;
    let (seconds, rest) = rest.trim_start().split_once('.')?;
    let micros = rest.get(..6)?;
    let seconds: u64 = seconds.parse().ok()?;
    let micros: u64 = micros.parse().ok()?;
    Some(BootTime(seconds.checked_mul(1_000_000)?.checked_add(micros)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sequence_number_decides_where_it_is_known() {
        let mut resume = Resume { seq: Some(41), boot_time: Some(BootTime(9_000)), ..Resume::default() };
        assert!(resume.covers_kmsg("6,41,5000,-;old"));
        assert!(!resume.covers_kmsg("6,42,5000,-;new, although its time is earlier"));
        assert!(!resume.covers_kmsg("rubbish"));
        resume.pass_kmsg("6,42,9500,-;new");
        assert_eq!(resume, Resume { seq: Some(42), boot_time: Some(BootTime(9_500)), ..Resume::default() });
    }

    #[test]
    fn after_another_transport_the_time_decides() {
        let resume = Resume { boot_time: Some(BootTime(9_000)), ..Resume::default() };
        assert!(resume.covers_kmsg("6,41,9000,-;old"));
        assert!(!resume.covers_kmsg("6,42,9001,-;new"));
        assert!(!Resume::default().covers_kmsg("6,0,0,-;the first of all"));
    }

    #[test]
    fn the_time_of_a_syslog_line() {
        assert_eq!(syslog_time("<6>[ 3750.315370] text"), Some(BootTime(3_750_315_370)));
        assert_eq!(syslog_time("<6>[    0.000000] [x] y"), Some(BootTime(0)));
        for without in ["<6>text", "<6>[now] text", "<6>[1.5] text", "", "<6>[", "<6>[ 1.00000"] {
            assert_eq!(syslog_time(without), None, "{without}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in ".{0,60}", prefix in "(<[0-9]{1,3}>\\[ *[0-9.]{0,30}|[0-9]{1,25},[0-9]{1,25},)?") {
            let line = format!("{prefix}{text}");
            let _ = syslog_time(&line);
            let mut resume = Resume::default();
            resume.pass_kmsg(&line);
            prop_assert!(resume.seq.is_none() || resume.covers_kmsg(&line));
        }
    }
}
