//! The kernel log inside the core: decodes records, counts loss and forgery exactly, and reads OOM dumps.
//!
//! Flows in: [`KernelLine`]s. Flows out: [`OomNews`]. Whatever the transport, a record ends up with a
//! position that a restart finds again.

use crate::{
    model::{BootTime, Moment},
    parse::{
        kernel_problem::{KernelProblemReader, Reported, unmounted},
        kmsg::{self, KernelRecord},
        oom::{OomAssembler, OomLine, OomNews, Position},
    },
    signal::KernelLine,
};
use serde::{Deserialize, Serialize};

/// The state of reading the kernel's log.
#[derive(Debug, Default)]
pub struct KernelLog {
    assembler: OomAssembler,
    problems: KernelProblemReader,
    resume: Resume,
    last_seq: Option<u64>,
    first_seq: Option<u64>,
    latest: Option<RecordNumber>,
    latest_boot: Option<BootTime>,
    latest_loss: Option<BootTime>,
    /// How long after it was written the latest record was read, in microseconds.
    behind: u64,
}

/// Where an earlier run of the same boot stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resume {
    /// The last record that needs no second look.
    pub record: Option<RecordNumber>,
    /// Its time: what carries over when the transport changes.
    pub boot: Option<BootTime>,
}

impl Resume {
    /// The record's number, if the transport numbers records.
    pub fn sequence(self) -> Option<u64> {
        match self.record {
            Some(RecordNumber::Sequence(number)) => Some(number),
            _ => None,
        }
    }

    /// Whether a record needs no second look.
    fn covers(self, number: RecordNumber, boot: BootTime) -> bool {
        match (self.record, number) {
            (Some(RecordNumber::Sequence(done)), RecordNumber::Sequence(number)) => number <= done,
            (Some(RecordNumber::Clock(done)), RecordNumber::Clock(number)) => number <= done,
            (Some(_), _) => self.boot.is_some_and(|done| boot <= done),
            (None, _) => false,
        }
    }
}

/// The number of a record, in the way of its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordNumber {
    /// The kernel's own gap-free number (`/dev/kmsg`).
    Sequence(u64),
    /// Microseconds since boot, for a transport without numbers.
    Clock(u64),
}

impl RecordNumber {
    const fn raw(self) -> u64 {
        match self {
            Self::Sequence(number) | Self::Clock(number) => number,
        }
    }

    const fn with(self, number: u64) -> Self {
        match self {
            Self::Sequence(_) => Self::Sequence(number),
            Self::Clock(_) => Self::Clock(number),
        }
    }
}

/// What one line of the log brought.
#[derive(Debug, Default)]
pub struct Read {
    /// News of OOM kills.
    pub news: Vec<OomNews>,
    /// Other problems, each with the kernel's words: those of the record, or of what several records say.
    pub problems: Vec<(Reported, String)>,
    /// The device of a filesystem that was unmounted.
    pub unmounted: Option<String>,
    /// When the record was written.
    pub at: Option<BootTime>,
    /// Records lost just before this one.
    pub lost: u64,
    /// It looks like an OOM line, but user space wrote it.
    pub spoofed: bool,
    /// It could not be decoded.
    pub malformed: bool,
}

impl KernelLog {
    /// Goes on where an earlier run stopped.
    pub fn resume(&mut self, resume: Resume) {
        self.resume = resume;
    }

    /// Reads one record.
    pub fn read(&mut self, line: &KernelLine, at: Moment) -> Read {
        let read = self.read_line(line, at);
        self.behind = self.latest_boot.map_or(0, |latest| at.boot.micros_since(latest));
        read
    }

    fn read_line(&mut self, line: &KernelLine, at: Moment) -> Read {
        match line {
            KernelLine::Kmsg(record) => self.read_decoded(kmsg::decode(record.as_bytes())),
            KernelLine::Syslog(line) => self.read_decoded(kmsg::decode_syslog(line.as_bytes())),
            KernelLine::Journal { facility, boot_time, message, .. } => {
                let facility = facility.unwrap_or(kmsg::KERNEL_FACILITY);
                self.read_text(facility, None, boot_time.unwrap_or(at.boot), message)
            }
        }
    }

    /// Notes records that the transport knows it lost.
    pub fn gap(&mut self, at: BootTime) {
        self.latest_loss = Some(at);
        self.assembler.note_gap();
    }

    /// Lets time pass: a dump that broke off is told as far as it is known.
    pub fn advance(&mut self, now: BootTime) -> Vec<OomNews> {
        self.assembler.expire(self.time_of_log(now))
    }

    /// How far the log itself is, where it is read late: its lines are as far apart as when they were written.
    fn time_of_log(&self, now: BootTime) -> BootTime {
        BootTime(now.0.saturating_sub(self.behind))
    }

    /// Problems whose further lines did not come.
    pub fn overdue_problems(&mut self, now: BootTime) -> Vec<Reported> {
        self.problems.expire(self.time_of_log(now))
    }

    /// Tells what is left at the end of a recording.
    pub fn flush(&mut self) -> Vec<OomNews> {
        self.assembler.flush()
    }

    /// Whether records were lost shortly before `now`: what the log does not say then proves nothing.
    pub fn lost_lately(&self, now: BootTime) -> bool {
        const LATELY_SECONDS: u64 = 60;
        self.latest_loss.is_some_and(|loss| now.seconds_since(loss) < LATELY_SECONDS)
    }

    /// Whether the log reaches back to the boot.
    pub fn is_whole(&self) -> bool {
        self.first_seq == Some(0)
    }

    /// Where a restart may go on: before the dump being read and before `oldest_case`.
    pub fn position(&self, oldest_case: Option<Position>) -> Resume {
        let latest = self.latest.or(self.resume.record);
        let latest_boot = self.latest_boot.or(self.resume.boot);
        let needed = [self.assembler.open_since(), self.problems.open_since(), oldest_case].into_iter().flatten().min();
        match (needed, latest) {
            (Some(needed), Some(latest)) => Resume {
                record: Some(latest.with(needed.record.saturating_sub(1))),
                boot: needed.boot.map(|boot| BootTime(boot.0.saturating_sub(1))),
            },
            _ => Resume { record: latest, boot: latest_boot },
        }
    }

    fn read_decoded(&mut self, record: Result<KernelRecord<'_>, kmsg::MalformedRecord>) -> Read {
        let Ok(record) = record else { return Read { malformed: true, ..Read::default() } };
        // Without printk.time a syslog line has no clock; such a record is placed at the latest one.
        let boot = record.at.or(self.latest_boot).unwrap_or_default();
        self.read_text(record.facility, record.seq, boot, &record.text)
    }

    fn read_text(&mut self, facility: u8, seq: Option<u64>, boot: BootTime, text: &str) -> Read {
        let lost = seq.map_or(0, |seq| self.loss_before(seq));
        if lost > 0 {
            self.assembler.note_gap();
            self.latest_loss = Some(boot);
        }
        // A transport without sequence numbers is ordered by its microseconds.
        let number = seq.map_or(RecordNumber::Clock(boot.0), RecordNumber::Sequence);
        if self.resume.covers(number, boot) {
            return Read { lost, ..Read::default() };
        }
        self.latest = Some(number);
        self.latest_boot = Some(boot);
        let position = Position { record: number.raw(), boot: Some(boot) };
        if facility != kmsg::KERNEL_FACILITY {
            return Read { lost, spoofed: OomLine::recognise(text).is_some(), ..Read::default() };
        }
        let news = self.assembler.push(position, text);
        let in_words = |reported: Reported| {
            let words = if reported.at == position { text.to_owned() } else { reported.problem.to_string() };
            (reported, words)
        };
        let problems = self.problems.push(position, text).into_iter().map(in_words).collect();
        Read { news, problems, lost, unmounted: unmounted(text).map(str::to_owned), at: Some(boot), ..Read::default() }
    }

    /// Records between the last one and this: exact, because the kernel numbers them without gaps.
    fn loss_before(&mut self, seq: u64) -> u64 {
        self.first_seq.get_or_insert(seq);
        let expected = match self.last_seq.replace(seq) {
            Some(last) => last.saturating_add(1),
            None => match self.resume.record {
                Some(RecordNumber::Sequence(done)) => done.saturating_add(1),
                _ => seq,
            },
        };
        seq.saturating_sub(expected)
    }
}
