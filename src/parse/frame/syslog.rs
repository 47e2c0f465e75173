//! Lines of a journal or a syslog daemon: `<date and time> <host> <program>[<pid>]: text`, in the
//! shapes of `journalctl -o short*`, RFC 3164, RFC 5424 and ISO time, in any language.
//!
//! Dates differ by locale and host names are often blanked out, so the two fixed points are the
//! time of day and the signature before the colon.

use super::{Frame, Stamp, dmesg, record};
use crate::model::Pid;
use std::borrow::Cow;

/// Words between the time and the signature: a year, a zone, `AM`, a host, a blanked host of several words.
const SIGNATURE_WITHIN: usize = 6;

pub(super) fn read(line: &str) -> Option<Frame<'_>> {
    let Some(clock) = time_of_day(line) else { return read_undated(line) };
    let (date, after) = (line.get(..clock.start)?, line.get(clock.end..)?);
    if !is_date(date) {
        return read_undated(line);
    }
    let (rest, stamp_end) = skip_fraction_and_zone(after);
    let stamp = line.get(..clock.end + stamp_end)?;
    let time = Some(Stamp::Wall(Cow::Borrowed(stamp.trim_end())));
    let rest = rest.trim_start();
    // A console server's, a runner's or a collector's stamp in front of a line with a stamp of its own.
    if let Some(inner) = record::priority(rest).map(super::leveled_syslog).or_else(|| dmesg::read(rest)) {
        return Some(inner);
    }
    if let Some(frame) = signed(rest, time.clone()) {
        return Some(frame);
    }
    if begins_like_kernel(rest) {
        return Some(Frame::kernel(time, rest));
    }
    if let Some(inner) = read_dated(rest) {
        return Some(inner);
    }
    Some(Frame { time, framed: true, ..dmesg::read_embedded(rest).unwrap_or_else(|| Frame::bare(rest)) })
}

/// A whole line behind what a collector put in front of it: `stdout F Nov 23 20:26:56 node kernel: text`.
fn read_dated(rest: &str) -> Option<Frame<'_>> {
    let clock = time_of_day(rest)?;
    let date_begins = is_date(rest.get(..clock.start)?);
    let (after, _) = skip_fraction_and_zone(rest.get(clock.end..).filter(|_| date_begins)?);
    signed(after.trim_start(), Some(Stamp::Wall(Cow::Borrowed(rest.get(..clock.end)?))))
}

/// `<host> <program>[<pid>]: ` or a part of it in front of a text whose time is already known.
pub(super) fn read_signature<'a>(text: &'a str, time: Option<Stamp<'a>>) -> Option<Frame<'a>> {
    let mut words = Words::of(text);
    let (first, after_first) = words.next()?;
    // Talos has no other log than the kernel's.
    if first == "[talos]" {
        return Some(Frame::program("talos", None, time, own_text(after_first)));
    }
    // systemd and its kind write into the kernel's log before the journal runs.
    if let Some((name, Some(pid))) = signature(first)
        && name.starts_with("systemd")
    {
        return Some(Frame::program(name, Some(pid), time, own_text(after_first)));
    }
    if first == "kernel:" {
        return Some(dmesg::after_kernel_tag(after_first, time));
    }
    let (second, after_second) = words.next()?;
    if first.ends_with(':') {
        return None;
    }
    if second == "kernel:" {
        return Some(dmesg::after_kernel_tag(after_second, time));
    }
    match signature(second) {
        Some((name, Some(pid))) if !speaks_of_a_process(after_second) => {
            Some(Frame::program(name, Some(pid), time, own_text(after_second)))
        }
        _ => None,
    }
}

/// RFC 5424 behind its priority: `1 <time> <host> <app> <procid> <msgid> <structured data> <text>`.
pub(super) fn read_rfc5424(line: &str) -> Option<Frame<'_>> {
    let rest = line.strip_prefix("1 ")?;
    let mut words = Words::of(rest);
    let (stamp, _) = words.next()?;
    let (_host, _) = words.next()?;
    let (app, _) = words.next()?;
    let (procid, _) = words.next()?;
    let (_msgid, rest) = words.next()?;
    let rest = rest.trim_start();
    let time = Some(Stamp::Wall(Cow::Borrowed(stamp)));
    let text = match rest.strip_prefix('-') {
        Some(text) => text,
        None => rest.strip_prefix('[').and_then(|data| data.split_once("] ")).map_or(rest, |(_data, text)| text),
    };
    let text = text.trim_start().trim_start_matches('\u{feff}');
    if app == "kernel" {
        return Some(dmesg::after_kernel_tag(text, time));
    }
    Some(Frame::program(program_name(app), procid.parse().ok().map(Pid), time, text))
}

/// Finds the signature behind a date.
fn signed<'a>(rest: &'a str, time: Option<Stamp<'a>>) -> Option<Frame<'a>> {
    let mut previous_is_facility = false;
    for (index, (word, after)) in Words::of(rest).take(SIGNATURE_WITHIN).enumerate() {
        if let Some(glued) = kernel_tag(word) {
            return Some(dmesg::after_kernel_tag(behind_tag(rest, after, glued), time));
        }
        if word == "kernel" && after.trim_start().starts_with(['-', '[']) {
            return Some(dmesg::after_kernel_tag(after.trim_start_matches(['-', ' ']), time));
        }
        if index == 0 && begins_like_kernel(rest) {
            return None;
        }
        match signature(word) {
            Some((name, pid @ Some(_))) if !speaks_of_a_process(after) => return Some(Frame::program(name, pid, time, own_text(after))),
            Some((name, None)) if (index == 1 && !is_log_level(name)) || previous_is_facility || (index == 0 && is_known_program(name)) => {
                return Some(Frame::program(name, None, time, own_text(after)));
            }
            _ => {}
        }
        previous_is_facility = is_facility_and_level(word);
    }
    None
}

/// Lines without a date: `kernel: text`, `host kernel: text`, `earlyoom[45]: text`.
fn read_undated(line: &str) -> Option<Frame<'_>> {
    for (index, (word, after)) in Words::of(line).take(3).enumerate() {
        if let Some(glued) = kernel_tag(word).filter(|glued| index == 0 || glued.is_empty() || glued.starts_with('[')) {
            return Some(dmesg::after_kernel_tag(behind_tag(line, after, glued), None));
        }
        match signature(word) {
            Some((name, pid)) if index < 2 && is_known_program(name) => return Some(Frame::program(name, pid, None, own_text(after))),
            _ => {}
        }
        if word.ends_with(':') {
            return None;
        }
    }
    None
}

/// The text behind the kernel's tag: after the word, or from inside it where the stamp touches the colon.
fn behind_tag<'a>(line: &'a str, after: &'a str, glued: &str) -> &'a str {
    line.get(line.len() - after.len() - glued.len()..).unwrap_or(after)
}

/// The text behind a program's signature, with its own indentation: the kubelet's blocks begin with tabs.
fn own_text(after: &str) -> &str {
    after.strip_prefix(' ').unwrap_or(after)
}

/// `kernel:`, or `kernel:[123.4` and `kernel:watchdog:` when the text touches it, as in broadcasts to
/// terminals: what follows the colon in the word.
fn kernel_tag(word: &str) -> Option<&str> {
    if let Some(glued) = word.strip_prefix("kernel:") {
        return Some(glued);
    }
    let inside = word.strip_prefix("kernel[")?;
    inside.strip_suffix("]:").map(|_| "")
}

/// `name[12]:` or `name:`.
fn signature(word: &str) -> Option<(&str, Option<Pid>)> {
    let name = word.strip_suffix(':')?;
    match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((name, pid)) => Some((program_name(name), Some(Pid(pid.parse().ok()?)))),
        None => (!name.is_empty() && !name.contains(['[', ']'])).then(|| (program_name(name), None)),
    }
}

/// The identifier of `/usr/bin/kubelet`, `kubelet.service`, `kubelet.service/kubelet`, `sshd(pam_unix)`.
fn program_name(name: &str) -> &str {
    let name = name.rsplit_once('/').map_or(name, |(_, base)| base);
    let name = name.split_once('(').map_or(name, |(name, _)| name);
    name.strip_suffix(".service").unwrap_or(name)
}

/// The kernel signs messages about a process with `comm[pid]:`, as programs sign their own.
fn speaks_of_a_process(text: &str) -> bool {
    let text = text.trim_start();
    ["segfault ", "unhandled ", "undefined instruction", "bad frame", "trap ", "illegal instruction", "bus error", "floating point"]
        .iter()
        .any(|start| text.starts_with(start))
}

fn is_known_program(name: &str) -> bool {
    const PROGRAMS: [&str; 22] = [
        "earlyoom",
        "systemd-oomd",
        "systemd-coredump",
        "systemd",
        "systemd-journald",
        "systemd-logind",
        "kubelet",
        "kubenswrapper",
        "hyperkube",
        "k3s",
        "k0s",
        "rke2",
        "containerd",
        "dockerd",
        "crio",
        "kubelite",
        "microk8s.daemon-kubelite",
        "node-problem-detector",
        "nohang",
        "sshd",
        "sudo",
        "dbus-daemon",
    ];
    PROGRAMS.contains(&name)
}

/// `I125`: severity and number, where a hypervisor's log of its guest's console has a program.
fn is_log_level(name: &str) -> bool {
    let number = name.strip_prefix(['I', 'W', 'E']).unwrap_or_default();
    number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// `kern.err`, before the signature in busybox' and OpenWrt's logs.
fn is_facility_and_level(word: &str) -> bool {
    let Some((facility, level)) = word.split_once('.') else { return false };
    dmesg::facility_code(facility).is_some() && dmesg::level_code(level).is_some()
}

/// Kernel messages that a host name or a program cannot be mistaken for: for lines that keep their
/// date and lost the rest.
fn begins_like_kernel(text: &str) -> bool {
    const STARTS: [&str; 50] = [
        "INFO:",
        "BUG:",
        "watchdog:",
        "NMI",
        "rcu:",
        "mce:",
        "EDAC",
        "[Hardware",
        "{1}",
        "oom-kill:",
        "oom_reaper:",
        "Out of",
        "Memory cgroup",
        "Memory failure",
        "Killed process",
        "Task in",
        "Tasks",
        "CPU:",
        "Call Trace",
        "nvme ",
        "sd ",
        "Buffer I/O",
        "EXT4-fs",
        "XFS (",
        "BTRFS",
        "FAT-fs",
        "traps:",
        "cgroup:",
        "neighbour:",
        "nf_conntrack:",
        "TCP:",
        "NVRM:",
        "pcieport",
        "blk_update_request:",
        "print_req_error:",
        "I/O error",
        "end_request:",
        "critical ",
        "Kernel panic",
        "Oops:",
        "Aborting journal",
        "JBD2:",
        "md/",
        "device-mapper:",
        "block ",
        "thermal ",
        "NETDEV WATCHDOG",
        "unregister_netdevice:",
        "ata",
        "Modules linked",
    ];
    STARTS.iter().any(|start| text.starts_with(start))
}

/// A time of day's place in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    start: usize,
    end: usize,
}

/// The first `20:26:56` near the beginning of a line.
pub(super) fn time_of_day(line: &str) -> Option<Clock> {
    /// Long enough for a weekday, a month and a year in any language.
    const WITHIN: usize = 72;
    let bytes = line.as_bytes();
    let window = bytes.get(..bytes.len().min(WITHIN)).unwrap_or_default();
    let start = window.windows(8).position(|eight| {
        eight.iter().enumerate().all(|(at, byte)| if at == 2 || at == 5 { *byte == b':' } else { byte.is_ascii_digit() })
    })?;
    Some(Clock { start, end: start + 8 })
}

/// Whether the words before a time of day can be a date (or nothing): at most six short words, none
/// of them a klog header, a key or a sentence.
fn is_date(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_word =
        |word: &&str| *word == "@" || (word.chars().count() <= 16 && !word.ends_with(':') && !word.contains(['"', '=', '{', '(', '@']));
    words.len() <= 6 && words.iter().all(is_word) && !words.last().is_some_and(|word| is_klog_date(word))
}

/// `I1123`: severity, month and day of klog.
pub(super) fn is_klog_date(word: &str) -> bool {
    let mut letters = word.bytes();
    letters.next().is_some_and(|severity| b"IWEF".contains(&severity)) && word.len() == 5 && letters.all(|byte| byte.is_ascii_digit())
}

/// klog's line at the begin of a text or behind a word or two.
pub(super) fn klog_behind(text: &str) -> Option<&str> {
    let (word, after) = Words::of(text).take(3).find(|(word, _)| is_klog_date(word))?;
    time_of_day(after)?;
    text.get(text.len() - after.len() - word.len()..)
}

/// Skips `.123456`, `+01:00`, `Z`, and a year or zone in words of their own; returns the rest and
/// how much was skipped.
fn skip_fraction_and_zone(after: &str) -> (&str, usize) {
    let glued_end = after.find(char::is_whitespace).unwrap_or(after.len());
    let mut rest = after.get(glued_end..).unwrap_or_default();
    while let Some((word, tail)) = Words::of(rest).next() {
        let is_year = word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
        let is_zone = (2..=5).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_offset = word.len() == 5 && word.starts_with(['+', '-']) && word.bytes().skip(1).all(|byte| byte.is_ascii_digit());
        if !(is_year || (is_zone && !matches!(word, "INFO" | "BUG" | "EDAC" | "XFS" | "TCP" | "NMI" | "CPU" | "BTRFS")) || is_offset) {
            break;
        }
        rest = tail;
    }
    (rest, after.len() - rest.len())
}

/// The words of a line, each with everything behind it, blanks included.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: text.trim_start() }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(end);
        self.rest = after.trim_start();
        Some((word, after))
    }
}
