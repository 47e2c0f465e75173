//! Lines of `dmesg` (util-linux sys-utils/dmesg.c): bracketed stamps of every kind, the decoded
//! `kern  :err   :` column, ISO time, the caller column; and Talos' variant of the same.

use super::{Frame, Stamp, record, syslog};
use crate::model::BootTime;
use std::borrow::Cow;

/// A line that begins with dmesg's columns.
pub(super) fn read(line: &str) -> Option<Frame<'_>> {
    let (line, decoded) = match decoded_column(line) {
        Some((facility, level, rest)) => (rest, Some((facility, level))),
        None => (line, None),
    };
    let mut frame = match read_bracket(line).or_else(|| read_iso(line)) {
        Some(frame) => frame,
        None => Frame::kernel(None, decoded.map(|_| line)?),
    };
    if let Some((facility, level)) = decoded {
        (frame.facility, frame.level) = (Some(facility), Some(level));
    }
    Some(frame)
}

/// A stamp behind something else, such as a console's login prompt or a line number.
pub(super) fn read_embedded(line: &str) -> Option<Frame<'_>> {
    /// A prompt is short; a stamp further right is part of a text.
    const PROMPT: usize = 48;
    // The first line of a selection often lost its begin: `50.315370] text`.
    if let Some((stamp, text)) = line.split_once("] ")
        && let Some(at) = seconds(stamp)
    {
        return Some(Frame::kernel(Some(Stamp::Boot(at)), text));
    }
    let mut from = 0;
    while let Some(at) = line.get(from..)?.find('[').map(|at| from + at).filter(|at| *at <= PROMPT) {
        let tail = line.get(at..)?;
        if matches!(stamp(tail), Some((Some(Stamp::Boot(_)), _))) {
            return read_bracket(tail);
        }
        from = at + 1;
    }
    None
}

fn read_bracket(line: &str) -> Option<Frame<'_>> {
    let (mut time, mut rest) = stamp(line)?;
    // `dmesg -r`, `-d` and `-e` and consoles print several brackets: boot time, delta, caller.
    while let Some((another, tail)) = stamp(rest.trim_start()).or_else(|| caller(rest.trim_start()).map(|tail| (None, tail))) {
        time = time.or(another);
        rest = tail;
    }
    if let Some(prefixed) = record::priority(rest.trim_start()) {
        return Some(Frame { level: Some(prefixed.level), facility: Some(prefixed.facility), ..after_kernel_tag(prefixed.rest, time) });
    }
    let text = rest.strip_prefix(": ").or_else(|| rest.strip_prefix(" | ")).or_else(|| rest.strip_prefix(' ')).unwrap_or(rest);
    // A collector's stamp: `[2026-11-23T20:26:56Z][kubelet][I] E1123 20:26:56 ...`.
    if let Some(klog) = syslog::klog_behind(text) {
        return Some(Frame { time, framed: true, ..Frame::bare(klog) });
    }
    Some(syslog::read_signature(text, time.clone()).unwrap_or_else(|| Frame::kernel(time, text)))
}

/// The text behind everything that may stand between `kernel:` and it.
pub(super) fn after_kernel_tag<'a>(text: &'a str, time: Option<Stamp<'a>>) -> Frame<'a> {
    let text = text.trim_start();
    // Some daemons leave the record's priority in.
    let text = record::priority(text).map_or(text, |prefixed| prefixed.rest);
    match read(text) {
        Some(mut inner) => {
            if let (Some(Stamp::Wall(_)), Some(_)) = (&inner.time, &time) {
                inner.time = time;
            }
            inner
        }
        None => Frame::kernel(time, text),
    }
}

/// A leading `[...]` that is a time: its meaning and what follows.
///
/// A bracket with a bare whole number is none: the OOM task table begins so.
fn stamp(line: &str) -> Option<(Option<Stamp<'_>>, &str)> {
    /// The longest real one is a wall time with a delta and a long month name.
    const LONGEST: usize = 72;
    let (inside, rest) = line.strip_prefix('[')?.split_once(']')?;
    if inside.len() > LONGEST {
        return None;
    }
    let inside = inside.split_once('<').map_or(inside, |(stamp, _delta)| stamp).trim();
    if inside.is_empty() {
        // `[    <    0.000012>]` of `dmesg -d -T`; `[     ]` with the time blanked out.
        return line.starts_with("[ ").then_some((None, rest));
    }
    if let Some(at) = seconds(inside) {
        return Some((Some(Stamp::Boot(at)), rest));
    }
    if inside.strip_prefix('+').and_then(seconds).is_some() || is_blanked(inside) {
        return Some((None, rest));
    }
    let is_wall_clock = syslog::time_of_day(inside).is_some() || is_relative_stamp(inside);
    is_wall_clock.then_some((Some(Stamp::Wall(Cow::Borrowed(inside))), rest))
}

/// `3750.315370`, or with the comma of some locales.
fn seconds(text: &str) -> Option<BootTime> {
    // Amlogic's kernels put the CPU behind it: `3750.315370@2`.
    let text = text.split_once('@').map_or(text, |(stamp, _cpu)| stamp);
    let (whole, fraction) = text.split_once(['.', ','])?;
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let micros = format!("{fraction:0<6}").get(..6)?.parse::<u64>().ok()?;
    Some(BootTime(whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)?))
}

/// A time that someone crossed out: `[xxxx.xxxxxx]`, `[...]`, `[****]`.
fn is_blanked(text: &str) -> bool {
    text.chars().all(|letter| matches!(letter, 'x' | 'X' | '*' | '.' | '…' | '?' | '-'))
}

/// `Nov23 20:26`, once a minute in `dmesg -e`.
fn is_relative_stamp(text: &str) -> bool {
    let Some((date, clock)) = text.split_once(' ') else { return false };
    let is_clock =
        clock.len() == 5 && clock.bytes().enumerate().all(|(at, byte)| if at == 2 { byte == b':' } else { byte.is_ascii_digit() });
    is_clock && date.ends_with(|last: char| last.is_ascii_digit()) && date.contains(char::is_alphabetic)
}

/// `[    T123]` or `[   C0]` of CONFIG_PRINTK_CALLER.
fn caller(line: &str) -> Option<&str> {
    let (inside, rest) = line.strip_prefix('[')?.split_once(']')?;
    let id = inside.trim_start().strip_prefix(['T', 'C'])?;
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
}

/// `2026-11-23T20:26:56,283302+00:00 text`. The decimal comma is dmesg's alone; with a point a
/// host name would follow.
fn read_iso(line: &str) -> Option<Frame<'_>> {
    let (stamp, text) = line.split_once(' ')?;
    let (_, decimals) = stamp.split_once('T')?.1.split_once(',')?;
    if stamp.len() > 40 || !decimals.starts_with(|first: char| first.is_ascii_digit()) || syslog::time_of_day(stamp).is_none() {
        return None;
    }
    let time = Some(Stamp::Wall(Cow::Borrowed(stamp)));
    Some(syslog::read_signature(text, time.clone()).unwrap_or_else(|| Frame::kernel(time, text)))
}

/// `kern  :err   : ` of `dmesg -x`, `kern:     err: ` of `talosctl dmesg`.
fn decoded_column(line: &str) -> Option<(u8, u8, &str)> {
    let column = |line: &'_ str| -> Option<(u8, u8, usize)> {
        let (facility, rest) = line.split_once(':')?;
        let (level, rest) = rest.split_once(':')?;
        Some((facility_code(facility.trim())?, level_code(level.trim())?, rest.trim_start().len()))
    };
    // talosctl puts the node's name or address first.
    let behind_node = || line.split_once(": ").filter(|(node, _)| !node.contains(' ')).and_then(|(_, rest)| column(rest));
    let (facility, level, text) = column(line).or_else(behind_node)?;
    Some((facility, level, line.get(line.len() - text..)?))
}

/// The code of a facility's name.
pub(super) fn facility_code(name: &str) -> Option<u8> {
    const NAMES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "res0", "res1", "res2",
        "res3", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    ];
    NAMES.iter().position(|known| *known == name).and_then(|code| u8::try_from(code).ok())
}

/// The code of a level's name.
pub(super) fn level_code(name: &str) -> Option<u8> {
    let code = match name {
        "emerg" | "panic" => 0,
        "alert" => 1,
        "crit" => 2,
        "err" | "error" => 3,
        "warn" | "warning" => 4,
        "notice" => 5,
        "info" => 6,
        "debug" => 7,
        _ => return None,
    };
    Some(code)
}
