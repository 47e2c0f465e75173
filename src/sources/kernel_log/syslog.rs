//! syslog(2): the kernel's ring as text. Needs CAP_SYSLOG, no device and no mount.
//!
//! Flows in: the whole buffer, when it has news, and now and then in case that was not told. Flows out: the lines that
//! were not in it before.
//! There are no sequence numbers: that lines were lost shows only as a reading that has nothing in
//! common with the one before. The log is read with `READ_ALL`, which takes nothing from anybody;
//! never with `READ`, nor from `/proc/kmsg`, which take the lines away from the node's own daemon.

use super::{Ended, Failure, Feed, Follow, alarm::Alarm, position::syslog_time, rights::Rights};
use crate::{
    signal::{Body, Gap, KernelLine, SourceName, SourceState},
    sources::stop::Wake,
};
use std::{
    collections::VecDeque,
    io,
    path::Path,
    time::{Duration, Instant},
};

/// Between two readings that nothing asked for, while each line that came was told.
const TOLD_PERIOD: Duration = Duration::from_secs(5);
/// The same where lines come untold. A ring of 128 KiB holds about 1,300 lines.
const PERIOD: Duration = Duration::from_secs(1);
/// How long lines gather after the first that is told. The kernel writes a kill's dump within a few milliseconds, its
/// most telling line last.
const GATHER: Duration = Duration::from_millis(4);
/// The same in a flood. A reading costs as much as the whole ring, about a millisecond, however little is new; a ring of
/// 128 KiB is overrun meanwhile by 20,000 lines a second.
const GATHER_IN_A_FLOOD: Duration = Duration::from_millis(64);
/// Or this multiple of what a reading takes: the ring of a machine with many processors is megabytes, and a flood of a few
/// lines a second must not cost more than a twentieth of a core there.
const READING_SHARE: u32 = 20;
/// The most that is read at once: the ring of a machine with hundreds of processors.
const BUFFER_LIMIT: usize = 4 << 20;
/// How many lines of the last reading are kept to find the place again. Lines may repeat, runs of
/// this length with their times do not.
const TAIL: usize = 64;

/// The buffer, and what tells that it has news.
#[derive(Debug)]
pub(super) struct Syslog {
    buffer: Vec<u8>,
    seen: Overlap,
    alarm: Option<Alarm>,
    /// A reading that nobody asked for had news: somebody takes the lines from the alarm's file, or there is none.
    comes_untold: bool,
    pace: Pace,
}

/// Opens the log: asks for its size, which takes the same right as reading it.
pub(super) fn open(proc: &Path, rights: Rights) -> Result<Syslog, Failure> {
    let size = raw::buffer_size().map_err(|error| failure(&error, rights))?;
    // The text has a prefix on every line and so can be longer than the ring that holds it.
    let buffer = vec![0; size.saturating_mul(2).min(BUFFER_LIMIT)];
    let alarm = Alarm::open(proc).ok();
    Ok(Syslog { buffer, seen: Overlap::default(), comes_untold: alarm.is_none(), alarm, pace: Pace::default() })
}

/// Why the call is refused, and what grants it.
fn failure(error: &io::Error, rights: Rights) -> Failure {
    let (state, remedy) = match error.raw_os_error() {
        Some(nix::libc::EPERM) => (SourceState::Unreadable, remedy_of_eperm(rights)),
        Some(nix::libc::ENOSYS) => (SourceState::Absent, "this kernel is built without printk; choose another transport"),
        _ => (SourceState::Failing, "choose another transport of the kernel's log"),
    };
    Failure { state, why: format!("syslog(2): {error}"), remedy: remedy.into() }
}

fn remedy_of_eperm(rights: Rights) -> &'static str {
    match rights {
        Rights { user_namespace: Some(true), .. } => "set hostUsers: true; CAP_SYSLOG of a user namespace is not enough",
        Rights { syslog: Some(true), .. } => "allow syslog(2) in the seccomp profile; CAP_SYSLOG is there",
        _ => "run as uid 0 and add the capability SYSLOG",
    }
}

/// Asks for the size and reads nothing.
pub(super) fn probe(rights: Rights) -> Result<String, Failure> {
    let size = raw::buffer_size().map_err(|error| failure(&error, rights))?;
    Ok(format!("syslog(2), a buffer of {} KiB", size / 1024))
}

impl Follow for Syslog {
    fn describe(&self) -> String {
        let when = if self.alarm.is_some() { "read when it has news" } else { "read every second and when a kill is counted" };
        format!("syslog(2), {when}; losses are noticed, not counted")
    }

    fn follow(&mut self, feed: &mut Feed) -> Ended {
        // The history was told to nobody.
        let mut wake = Wake::Ready;
        loop {
            match self.read(feed) {
                Ok(news) => self.comes_untold |= news && wake == Wake::TimedOut,
                Err(ended) => return ended,
            }
            wake = match self.wait(feed) {
                Ok(Wake::Stopped) => return Ended::Stopped,
                Ok(wake) => wake,
                Err(error) => return Ended::Failed(failure(&error, Rights::default())),
            };
        }
    }
}

impl Syslog {
    /// Sends what is new; says whether there was anything.
    fn read(&mut self, feed: &mut Feed) -> Result<bool, Ended> {
        let begun = Instant::now();
        let length = raw::read_all(&mut self.buffer).map_err(|error| Ended::Failed(failure(&error, Rights::default())))?;
        let text = String::from_utf8_lossy(self.buffer.get(..length).unwrap_or_default());
        let fresh = self.seen.fresh(&text);
        let news = !fresh.lines.is_empty();
        // Without what follows: to wait for a busy core must not make the next reading later.
        self.pace.reading_takes = begun.elapsed();
        send(feed, fresh).map(|()| news)
    }

    /// Waits for news and until they have gathered.
    fn wait(&mut self, feed: &Feed) -> io::Result<Wake> {
        let period = if self.comes_untold { PERIOD } else { TOLD_PERIOD };
        let wake = feed.wait(self.alarm.as_ref().map(Alarm::fd), period)?;
        let Some(alarm) = self.alarm.as_ref().filter(|_| wake == Wake::Ready) else { return Ok(wake) };
        if feed.stop.wait(self.pace.gather(Instant::now())) {
            return Ok(Wake::Stopped);
        }
        alarm.clear();
        Ok(wake)
    }
}

/// How long lines gather before they are read: longer and longer while there is no quiet between.
#[derive(Debug, Default)]
struct Pace {
    /// The last wait's beginning and length.
    last: Option<(Instant, Duration)>,
    /// The last reading's time.
    reading_takes: Duration,
}

impl Pace {
    fn gather(&mut self, now: Instant) -> Duration {
        let longest = GATHER_IN_A_FLOOD.max(self.reading_takes.saturating_mul(READING_SHARE)).min(PERIOD);
        let gather = match self.last {
            Some((began, gather)) if now.duration_since(began) < gather.saturating_mul(10) => gather.saturating_mul(2).min(longest),
            _ => GATHER,
        };
        self.last = Some((now, gather));
        gather
    }
}

fn send(feed: &mut Feed, fresh: Fresh<'_>) -> Result<(), Ended> {
    if fresh.after_gap {
        feed.send(Body::Gap(Gap {
            source: SourceName::KernelLog,
            lost: None,
            detail: "syslog(2): nothing of the previous reading is left; lines were overwritten or the buffer was cleared".into(),
        }))?;
    }
    // Only at the start can a line be covered: later the overlap alone decides, so that two lines of one microsecond both arrive.
    let covered = if fresh.first { feed.position.clone() } else { super::Resume::default() };
    for line in fresh.lines {
        let time = syslog_time(line);
        if !covered.covers_time(time) {
            feed.position.pass_time(time);
            feed.send(Body::Kernel(KernelLine::Syslog(line.to_owned())))?;
        }
    }
    Ok(())
}

/// What a reading has that the one before had not.
#[derive(Debug, PartialEq, Eq)]
struct Fresh<'t> {
    /// There was no reading before.
    first: bool,
    /// Nothing of the reading before was found again.
    after_gap: bool,
    /// The new lines, oldest first.
    lines: Vec<&'t str>,
}

/// The end of the last reading.
#[derive(Debug, Default)]
struct Overlap {
    tail: VecDeque<String>,
}

impl Overlap {
    /// Finds the new lines of a reading and remembers its end.
    fn fresh<'t>(&mut self, text: &'t str) -> Fresh<'t> {
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let first = self.tail.is_empty();
        let place = self.place(&lines);
        let after_gap = !first && place.is_none() && !lines.is_empty();
        let fresh = lines.split_off(place.unwrap_or(0));
        self.remember(&fresh);
        Fresh { first, after_gap, lines: fresh }
    }

    /// The number of lines up to and with the last one of the reading before: of all its equals, the
    /// one with the longest run of the same lines before it, and of these the latest.
    fn place(&self, lines: &[&str]) -> Option<usize> {
        let mut best = None;
        for (at, _) in lines.iter().enumerate().rev().filter(|(_, line)| self.tail.back().is_some_and(|last| last == *line)) {
            let before = lines.get(..=at).unwrap_or_default();
            let run = before.iter().rev().zip(self.tail.iter().rev()).take_while(|(line, kept)| kept == *line).count();
            if best.is_none_or(|(longest, _)| run > longest) {
                best = Some((run, at.saturating_add(1)));
            }
            if run == self.tail.len() {
                break;
            }
        }
        best.map(|(_, place)| place)
    }

    fn remember(&mut self, fresh: &[&str]) {
        let kept = fresh.get(fresh.len().saturating_sub(TAIL)..).unwrap_or_default();
        let surplus = self.tail.len().saturating_add(kept.len()).saturating_sub(TAIL);
        self.tail.drain(..surplus.min(self.tail.len()));
        self.tail.extend(kept.iter().map(|line| (*line).to_owned()));
    }
}

/// The system call. No crate has a safe wrapper of it.
#[allow(unsafe_code)]
mod raw {
    use nix::libc::{c_char, c_int, klogctl};
    use std::{io, ptr};

    /// `SYSLOG_ACTION_READ_ALL` (include/linux/syslog.h).
    const READ_ALL: c_int = 3;
    /// `SYSLOG_ACTION_SIZE_BUFFER`.
    const SIZE_BUFFER: c_int = 10;

    /// The size of the kernel's ring in bytes.
    pub(super) fn buffer_size() -> io::Result<usize> {
        // SAFETY: this action does not use the buffer.
        result(unsafe { klogctl(SIZE_BUFFER, ptr::null_mut(), 0) })
    }

    /// Fills the buffer with the newest lines that fit and tells how many bytes they are.
    pub(super) fn read_all(buffer: &mut [u8]) -> io::Result<usize> {
        let length = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
        // SAFETY: the kernel writes at most `length` bytes, which the exclusively borrowed buffer has.
        result(unsafe { klogctl(READ_ALL, buffer.as_mut_ptr().cast::<c_char>(), length) })
    }

    /// A negative answer is an error, kept in `errno`.
    fn result(answer: c_int) -> io::Result<usize> {
        usize::try_from(answer).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(range: std::ops::Range<u64>) -> String {
        range.map(|n| format!("<6>[    1.{n:06}] line {n}\n")).collect()
    }

    #[test]
    fn only_new_lines_are_fresh() {
        let mut seen = Overlap::default();
        let fresh = |seen: &mut Overlap, text: &str| {
            let fresh = seen.fresh(text);
            (fresh.first, fresh.after_gap, fresh.lines.len())
        };
        assert_eq!(fresh(&mut seen, &lines(0..100)), (true, false, 100));
        assert_eq!(fresh(&mut seen, &lines(0..100)), (false, false, 0));
        assert_eq!(fresh(&mut seen, &lines(30..103)), (false, false, 3));
        assert_eq!(fresh(&mut seen, &lines(102..110)), (false, false, 7), "only the last line is left of the reading before");
        assert_eq!(fresh(&mut seen, ""), (false, false, 0), "a cleared buffer is no loss by itself");
        assert_eq!(fresh(&mut seen, &lines(200..210)), (false, true, 10));
    }

    #[test]
    fn a_repeated_line_is_told_apart_by_the_lines_before_it() {
        let mut seen = Overlap::default();
        seen.fresh("a\nb\nsame\n");
        assert_eq!(seen.fresh("a\nb\nsame\nc\nsame\n").lines, ["c", "same"]);
    }

    #[test]
    fn a_flood_is_read_less_often_than_a_dump() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut gathers = |pauses: [u64; 7]| {
            pauses.map(|pause| {
                now += Duration::from_millis(pause);
                pace.gather(now).as_millis()
            })
        };
        assert_eq!(gathers([0, 5, 9, 17, 33, 65, 65]), [4, 8, 16, 32, 64, 64, 64], "no quiet in between");
        assert_eq!(gathers([1000; 7]), [4; 7], "a line a second");
    }

    #[test]
    fn a_large_ring_is_read_less_often_still() {
        let mut pace = Pace { reading_takes: Duration::from_millis(8), ..Pace::default() };
        let now = Instant::now();
        let longest = (0..9).map(|_| pace.gather(now)).max();
        assert_eq!(longest, Some(Duration::from_millis(160)));
        pace.reading_takes = Duration::MAX;
        let longest = (0..9).map(|_| pace.gather(now)).max();
        assert_eq!(longest, Some(PERIOD), "never later than where nothing tells of news");
    }

    #[test]
    fn each_reason_names_its_remedy() {
        let told = |rights| failure(&io::Error::from_raw_os_error(nix::libc::EPERM), rights);
        assert!(told(Rights { syslog: Some(false), ..Rights::default() }).remedy.contains("SYSLOG"));
        assert!(told(Rights { syslog: Some(true), user_namespace: Some(true), ..Rights::default() }).remedy.contains("hostUsers"));
        assert!(told(Rights { syslog: Some(true), user_namespace: Some(false), ..Rights::default() }).remedy.contains("seccomp"));
    }

    proptest! {
        /// A ring of any size that is read after any number of new lines gives every line once, and
        /// says so when it cannot.
        #[test]
        fn every_line_arrives_once(ring in 1u64..80, steps in proptest::collection::vec(0u64..100, 1..8)) {
            let (mut seen, mut written, mut got, mut gaps) = (Overlap::default(), 1, Vec::new(), 0u64);
            for step in steps {
                let before = written;
                written += step;
                let text = lines(written.saturating_sub(ring)..written);
                let first = got.is_empty();
                let fresh = seen.fresh(&text);
                got.extend(fresh.lines.iter().map(|line| line.to_string()));
                let lost = !first && step >= ring;
                prop_assert_eq!(fresh.after_gap, lost, "before {}", before);
                gaps += u64::from(lost);
            }
            let mut unique = got.clone();
            unique.dedup();
            prop_assert_eq!(&unique, &got);
            prop_assert!(gaps > 0 || got.len() as u64 == written.min(ring).max(got.len() as u64));
            prop_assert!(got.is_sorted());
        }
    }
}
