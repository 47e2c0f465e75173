//! The header of a klog text line: `Lmmdd hh:mm:ss.uuuuuu ppppppp file.go:line] `.
//!
//! Source: k8s.io/klog/v2 `klog.go`, `(*loggingT).formatHeader`; glog before 1.14 wrote the same. The
//! header is looked for behind whatever stands before it (a syslog prefix, a component's name, the
//! mark of a quotation), and is accepted without its first or its last part, as damaged lines have it.

use crate::model::Pid;

/// How far into a line a header may begin: behind a syslog prefix with a long host name.
const FARTHEST: usize = 320;

/// What klog thinks of a line. Not stable between kubelet versions: for display only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// `I`
    Info,
    /// `W`
    Warning,
    /// `E`
    Error,
    /// `F`: the process exits after this line.
    Fatal,
}

impl Severity {
    fn of(letter: u8) -> Option<Self> {
        match letter {
            b'I' => Some(Self::Info),
            b'W' => Some(Self::Warning),
            b'E' => Some(Self::Error),
            b'F' => Some(Self::Fatal),
            _ => None,
        }
    }
}

/// When a line was written, as far as the line itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stamp {
    /// Text header: the node's local time, without a year or a zone.
    Local {
        /// 1 to 12.
        month: u8,
        /// 1 to 31.
        day: u8,
        /// Since local midnight.
        seconds: u32,
        /// Microseconds of that second.
        micros: u32,
    },
    /// JSON: milliseconds since 1970.
    Unix {
        /// Whole milliseconds.
        millis: i64,
    },
}

impl Stamp {
    /// Seconds from `earlier` to this, when both are of one form. Days of the text form are counted
    /// with 31 to a month: good enough to tell minutes from days.
    pub fn seconds_since(self, earlier: Self) -> Option<i64> {
        match (self, earlier) {
            (Self::Unix { millis: late }, Self::Unix { millis: early }) => Some(late.saturating_sub(early) / 1000),
            (Self::Local { .. }, Self::Local { .. }) => Some(self.local_seconds()? - earlier.local_seconds()?),
            _ => None,
        }
    }

    fn local_seconds(self) -> Option<i64> {
        let Self::Local { month, day, seconds, .. } = self else { return None };
        Some((i64::from(month) * 31 + i64::from(day)) * 86_400 + i64::from(seconds))
    }
}

/// The parts of a header that the line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header<'a> {
    /// `None` when the line's begin is missing.
    pub severity: Option<Severity>,
    /// `None` when the line's begin is missing.
    pub stamp: Option<Stamp>,
    /// klog's process.
    pub pid: Option<Pid>,
    /// The source file, such as `pod_workers.go`: a hint, never a key.
    pub file: Option<&'a str>,
    /// The line in that file; changes with every release.
    pub line: Option<u32>,
}

/// A line cut at its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headed<'a> {
    /// What stands before the header.
    pub before: &'a str,
    /// The header.
    pub header: Header<'a>,
    /// What stands behind it.
    pub message: &'a str,
}

/// Finds the header of a line.
pub fn find(text: &str) -> Option<Headed<'_>> {
    text.bytes()
        .enumerate()
        .take(FARTHEST)
        .filter(|(at, byte)| Severity::of(*byte).is_some() && is_word_begin(text, *at))
        .find_map(|(at, _)| whole(text, at))
        .or_else(|| without_begin(text))
}

fn is_word_begin(text: &str, at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| text.as_bytes().get(at));
    before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-' && *byte != b'_')
}

/// A header whose begin stands at `at`; process, file and line may be missing.
fn whole(text: &str, at: usize) -> Option<Headed<'_>> {
    let (before, from) = text.split_at_checked(at)?;
    let severity = Severity::of(*from.as_bytes().first()?)?;
    let (date, rest) = from.get(1..)?.split_at_checked(4)?;
    let (month, day) = date.split_at_checked(2)?;
    let (month, day) = (two_digits(month)?, two_digits(day)?);
    let rest = after_blanks(rest)?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let seconds = clock_seconds(clock)?;
    let (micros, rest) = fraction(rest);
    let stamp = Stamp::Local { month, day, seconds, micros };
    let (pid, rest) = process(rest);
    let mut header = Header { severity: Some(severity), stamp: Some(stamp), pid, file: None, line: None };
    let message = match place(rest) {
        Some((file, line, message)) => {
            (header.file, header.line) = (Some(file), Some(line));
            message
        }
        None => rest.trim_start(),
    };
    Some(Headed { before, header, message })
}

/// A line whose begin was lost: `28317 kubelet.go:1873] text`, `kubelet.go:1873] text`.
fn without_begin(text: &str) -> Option<Headed<'_>> {
    let end = text.bytes().take(FARTHEST).position(|byte| byte == b']')?;
    let (head, _) = text.split_at_checked(end)?;
    let begin = head.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
    let (before, from) = text.split_at_checked(begin)?;
    let (file, line, message) = place(from)?;
    let pid = before.split_ascii_whitespace().next_back().and_then(|word| word.parse().ok()).map(Pid);
    Some(Headed { before, header: Header { file: Some(file), line: Some(line), pid, ..Header::default() }, message })
}

/// `file.go:123] message`
fn place(text: &str) -> Option<(&str, u32, &str)> {
    let (place, message) = text.trim_start_matches([' ', '\t']).split_once(']')?;
    let (file, line) = place.rsplit_once(':')?;
    let sound = file.ends_with(".go") && file.len() <= 128 && !file.contains([' ', ':', '"', '[']);
    Some((sound.then_some(file)?, line.parse().ok()?, message.strip_prefix(' ').unwrap_or(message)))
}

fn two_digits(text: &str) -> Option<u8> {
    let all_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok())?
}

fn clock_seconds(clock: &str) -> Option<u32> {
    let mut parts = clock.split(':').map(two_digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let valid = parts.next().is_none() && hour < 24 && minute < 60 && second < 61;
    valid.then(|| u32::from(hour) * 3600 + u32::from(minute) * 60 + u32::from(second))
}

/// `.558677` and what follows; no fraction counts as zero.
fn fraction(text: &str) -> (u32, &str) {
    let Some(rest) = text.strip_prefix('.') else { return (0, text) };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
    let micros = digits.bytes().chain(std::iter::repeat(b'0')).take(6).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    (micros, after)
}

/// The process id, when the next word is one.
fn process(text: &str) -> (Option<Pid>, &str) {
    let rest = text.trim_start_matches([' ', '\t']);
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let Some((digits, after)) = rest.split_at_checked(length) else { return (None, text) };
    match digits.parse() {
        Ok(pid) if after.starts_with([' ', '\t']) => (Some(Pid(pid)), after),
        _ => (None, text),
    }
}

fn after_blanks(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches([' ', '\t']);
    (rest.len() < text.len()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headed(text: &str) -> Headed<'_> {
        find(text).unwrap_or_else(|| panic!("no header in {text}"))
    }

    #[test]
    fn every_part_of_a_whole_header() {
        let line = headed("E0307 04:05:06.070809    1234 pod_workers.go:965] rest of it");
        assert_eq!(line.before, "");
        assert_eq!(line.message, "rest of it");
        let stamp = Stamp::Local { month: 3, day: 7, seconds: 4 * 3600 + 5 * 60 + 6, micros: 70_809 };
        let header = Header {
            severity: Some(Severity::Error),
            stamp: Some(stamp),
            pid: Some(Pid(1234)),
            file: Some("pod_workers.go"),
            line: Some(965),
        };
        assert_eq!(line.header, header);
    }

    #[test]
    fn a_header_behind_something_else() {
        for before in ["kubelet ", "> ", "Mar  7 04:05:06 node-1 kubelet[1234]: ", "2026-03-07T04:05:06Z stderr F ", "- `"] {
            let text = format!("{before}W0307 04:05:06.1 12 kubelet.go:7]no blank");
            assert_eq!(headed(&text).before, before);
            assert_eq!(headed(&text).message, "no blank");
        }
    }

    #[test]
    fn damaged_headers() {
        let lost = headed("   4711 kubelet.go:1873] \"Skipping pod synchronization\"");
        assert_eq!((lost.header.pid, lost.header.file, lost.header.severity), (Some(Pid(4711)), Some("kubelet.go"), None));
        assert_eq!(headed("kubelet.go:9] x").header.line, Some(9));
        let short = headed("E0307 04:05:06.070809 the rest without a place");
        assert_eq!((short.header.pid, short.message), (None, "the rest without a place"));
    }

    #[test]
    fn what_is_no_header() {
        for text in [
            "",
            "E",
            "E0307",
            "E0307 24:00:00 x",
            "xE0307 04:05:06.1 1 a.go] x",
            "reflector.go:12: Failed to list",
            "[1.5] x",
            "a[b] c: d]",
        ] {
            assert_eq!(find(text).filter(|line| line.header.stamp.is_some() || line.header.file.is_some()), None, "{text}");
        }
    }

    #[test]
    fn minutes_are_told_from_days() {
        let at = |text| headed(text).header.stamp.expect("stamp");
        assert_eq!(at("I0102 00:10:00 x").seconds_since(at("I0102 00:00:00 x")), Some(600));
        assert!(at("I0201 00:00:00 x").seconds_since(at("I0131 23:59:59 x")).is_some_and(|gap| gap > 0));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,400}") {
            if let Some(line) = find(&text) {
                prop_assert!(text.starts_with(line.before) && text.ends_with(line.message));
            }
        }
    }
}
