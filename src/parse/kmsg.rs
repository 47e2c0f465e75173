//! The kernel log's live records, as `/dev/kmsg` and `syslog(2)` give them.
//!
//! Flows in: the bytes of one record (Documentation/ABI/testing/dev-kmsg; `msg_print_ext_header`
//! and `msg_print_ext_body` in kernel/printk/printk.c, the same from 3.5 to 6.18) or one line of
//! `SYSLOG_ACTION_READ_ALL`. Flows out: a [`KernelRecord`]. It does not know what a text means.
//! A record without escapes is borrowed, not copied: this is the path of a flood.

use crate::model::BootTime;
use std::borrow::Cow;

/// The facility of messages that the kernel itself wrote. A process that writes to `/dev/kmsg`
/// always gets another one, whatever it asks for.
pub const KERNEL_FACILITY: u8 = 0;

/// One message of the kernel log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRecord<'a> {
    /// syslog facility; [`KERNEL_FACILITY`] is the kernel, anything else is a process.
    pub facility: u8,
    /// syslog level, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Position in the log since boot, without gaps; `syslog(2)` does not tell it.
    pub seq: Option<u64>,
    /// Time of the message; absent from `syslog(2)` when `printk.time` is off.
    pub at: Option<BootTime>,
    /// The text continues the record before it, or is continued by the next (flags `c`, `+`).
    pub continuation: bool,
    /// The message, unescaped. May hold newlines.
    pub text: Cow<'a, str>,
    /// The `KEY=value` lines that follow the text.
    pub dictionary: Dictionary<'a>,
}

impl KernelRecord<'_> {
    /// Whether the kernel wrote this record; anyone may have written the others.
    pub const fn is_from_kernel(&self) -> bool {
        self.facility == KERNEL_FACILITY
    }
}

/// The `KEY=value` lines of a record: which subsystem and device it speaks of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dictionary<'a> {
    lines: &'a [u8],
}

impl<'a> Dictionary<'a> {
    /// The kernel subsystem, such as `nvme`.
    pub fn subsystem(self) -> Option<Cow<'a, str>> {
        self.get("SUBSYSTEM")
    }

    /// The device, such as `c241:0` (character), `b8:0` (block), `n2` (network), `+pci:0000:00:1c.0`.
    pub fn device(self) -> Option<Cow<'a, str>> {
        self.get("DEVICE")
    }

    /// The value of any key.
    pub fn get(self, key: &str) -> Option<Cow<'a, str>> {
        let lines = self.lines.split(|byte| *byte == b'\n');
        let mut values = lines.filter_map(|line| line.strip_prefix(b" ")?.strip_prefix(key.as_bytes())?.strip_prefix(b"="));
        values.next().map(unescape)
    }
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedRecord {
    /// There is no `;` between header and text.
    #[error("a kernel log record without `;` after its header")]
    NoText,
    /// A number of the header is missing, not a number, or out of range.
    #[error("a kernel log record whose header has no valid {0}")]
    Header(&'static str),
    /// A `syslog(2)` line does not begin with `<priority>`.
    #[error("a line of syslog(2) without `<priority>`")]
    NoPriority,
}

/// Reads one record of `/dev/kmsg`: what a single `read()` returned.
pub fn decode(record: &[u8]) -> Result<KernelRecord<'_>, MalformedRecord> {
    let (header, body) = split_once(record, b';').ok_or(MalformedRecord::NoText)?;
    let mut fields = header.split(|byte| *byte == b',');
    let priority = fields.next().and_then(number).ok_or(MalformedRecord::Header("priority"))?;
    let (facility, level) = facility_and_level(priority).ok_or(MalformedRecord::Header("priority"))?;
    let seq = fields.next().and_then(number).ok_or(MalformedRecord::Header("sequence number"))?;
    let usec = fields.next().and_then(number).ok_or(MalformedRecord::Header("time"))?;
    let flags = fields.next().unwrap_or_default();
    let (text, lines) = split_once(body, b'\n').unwrap_or((body, &[]));
    Ok(KernelRecord {
        facility,
        level,
        seq: Some(seq),
        at: Some(BootTime(usec)),
        continuation: flags.iter().any(|flag| matches!(flag, b'c' | b'+')),
        text: unescape(text),
        dictionary: Dictionary { lines },
    })
}

/// Reads one line of `syslog(2)`: `<6>[ 3750.315370] text`.
///
/// The kernel repeats the prefix on every line of a record of several lines.
pub fn decode_syslog(line: &[u8]) -> Result<KernelRecord<'_>, MalformedRecord> {
    let rest = line.strip_prefix(b"<").ok_or(MalformedRecord::NoPriority)?;
    let (priority, rest) = split_once(rest, b'>').ok_or(MalformedRecord::NoPriority)?;
    let (facility, level) = number(priority).and_then(facility_and_level).ok_or(MalformedRecord::NoPriority)?;
    let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
    let (at, text) = match boot_stamp(rest) {
        Some((at, text)) => (Some(at), text),
        None => (None, rest),
    };
    let text = String::from_utf8_lossy(text);
    Ok(KernelRecord { facility, level, seq: None, at, continuation: false, text, dictionary: Dictionary::default() })
}

/// `[ 3750.315370] ` or `[ 3750.315370][    T12] `, and what follows.
fn boot_stamp(line: &[u8]) -> Option<(BootTime, &[u8])> {
    let (stamp, rest) = split_once(line.strip_prefix(b"[")?, b']')?;
    let (seconds, micros) = split_once(stamp.trim_ascii(), b'.')?;
    let at = number(seconds)?.checked_mul(1_000_000)?.checked_add(number(micros).filter(|_| micros.len() == 6)?)?;
    let rest = match rest.strip_prefix(b"[").and_then(|caller| split_once(caller, b']')) {
        Some((_caller, rest)) => rest,
        None => rest,
    };
    Some((BootTime(at), rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// The priority of a record is `facility * 8 + level`; a facility has five bits in practice.
fn facility_and_level(priority: u64) -> Option<(u8, u8)> {
    let facility = u8::try_from(priority >> 3).ok()?;
    let level = u8::try_from(priority & 7).ok()?;
    Some((facility, level))
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    let (before, after) = bytes.split_at(at);
    Some((before, after.get(1..).unwrap_or_default()))
}

/// Undoes the kernel's `\xNN` for control characters, non-ASCII bytes and the backslash.
fn unescape(text: &[u8]) -> Cow<'_, str> {
    if !text.contains(&b'\\') {
        return String::from_utf8_lossy(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        match rest {
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

const fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_with_a_dictionary() {
        let raw = b"4,812,61000250,-,caller=T17,later=1;nvme nvme3: I/O 7 QID 2 timeout, aborting\n SUBSYSTEM=nvme\n DEVICE=c240:3\n";
        let record = decode(raw).expect("well formed");
        assert_eq!((record.facility, record.level, record.seq, record.at), (0, 4, Some(812), Some(BootTime(61_000_250))));
        assert_eq!(record.text, "nvme nvme3: I/O 7 QID 2 timeout, aborting");
        assert_eq!(record.dictionary.subsystem().as_deref(), Some("nvme"));
        assert_eq!(record.dictionary.device().as_deref(), Some("c240:3"));
        assert_eq!(record.dictionary.get("DEV"), None);
        assert!(record.is_from_kernel() && !record.continuation);
    }

    #[test]
    fn a_record_without_escapes_is_borrowed() {
        assert!(matches!(decode(b"6,1,2,-;plain text\n").expect("record").text, Cow::Borrowed("plain text")));
    }

    #[test]
    fn escapes_become_bytes() {
        let record = decode(br"6,1,2,-;tab\x09 e\xc3\xa9 back\x5cslash bad\xff half\x4").expect("record");
        assert_eq!(record.text, "tab\t e\u{e9} back\\slash bad\u{fffd} half\\x4");
    }

    #[test]
    fn text_may_begin_with_a_blank_and_hold_a_semicolon() {
        assert_eq!(decode(b"4,1,2,-; <TASK>; x\n").expect("record").text, " <TASK>; x");
    }

    #[test]
    fn flags_of_fragments() {
        assert!(decode(b"6,1,2,c;a").expect("record").continuation);
        assert!(decode(b"6,1,2,+;a").expect("record").continuation);
    }

    #[test]
    fn a_process_cannot_speak_as_the_kernel() {
        assert_eq!(decode(b"12,5,9,-;Out of memory").expect("record").facility, 1);
        assert_eq!(decode_syslog(b"<14>[    1.000000] x").expect("line").facility, 1);
    }

    #[test]
    fn what_is_no_record() {
        assert_eq!(decode(b"6,1,2,- text"), Err(MalformedRecord::NoText));
        assert_eq!(decode(b"x,1,2,-;text"), Err(MalformedRecord::Header("priority")));
        assert_eq!(decode(b"99999,1,2,-;text"), Err(MalformedRecord::Header("priority")));
        assert_eq!(decode(b"6,,2,-;text"), Err(MalformedRecord::Header("sequence number")));
        assert_eq!(decode(b"6,1;text"), Err(MalformedRecord::Header("time")));
        assert_eq!(decode_syslog(b"text"), Err(MalformedRecord::NoPriority));
        assert_eq!(decode_syslog(b"<x>text"), Err(MalformedRecord::NoPriority));
    }

    #[test]
    fn lines_of_syslog() {
        let line = decode_syslog(b"<3>[   61.000250] EXT4-fs error\n").expect("line");
        assert_eq!((line.level, line.at, line.text.as_ref()), (3, Some(BootTime(61_000_250)), "EXT4-fs error"));
        assert_eq!(decode_syslog(b"<6>[    1.000000][   C0] x").expect("line").text, "x");
        let unstamped = decode_syslog(b"<6>[  42] x").expect("line");
        assert_eq!((unstamped.at, unstamped.text.as_ref()), (None, "[  42] x"));
    }

    /// The escaping of kernel/printk/printk.c `msg_add_ext_text`.
    fn escape(text: &str) -> String {
        let kept = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'\\';
        text.bytes().map(|byte| if kept(byte) { char::from(byte).to_string() } else { format!("\\x{byte:02x}") }).collect()
    }

    proptest! {
        #[test]
        fn what_the_kernel_escapes_comes_back(
            priority in 0_u16..192, seq: u64, usec: u64, text in any::<String>(), device in "[+a-z0-9:.]{1,20}"
        ) {
            let raw = format!("{priority},{seq},{usec},-;{}\n SUBSYSTEM=pci\n DEVICE={device}\n", escape(&text));
            let record = decode(raw.as_bytes()).expect("well formed");
            prop_assert_eq!(u16::from(record.facility) * 8 + u16::from(record.level), priority);
            prop_assert_eq!((record.seq, record.at), (Some(seq), Some(BootTime(usec))));
            prop_assert_eq!(record.text.as_ref(), text.as_str());
            let found = record.dictionary.device();
            prop_assert_eq!(found.as_deref(), Some(device.as_str()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = decode_syslog(&bytes);
        }
    }
}
