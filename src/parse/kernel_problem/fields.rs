//! Reads the fields of a kernel message: what follows a word, numbers, names of processes.

use crate::model::Pid;
use serde::{Serialize, Serializer};
use std::fmt;

/// A number that the kernel prints in hexadecimal: an address, a status register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hex(pub u64);

impl Hex {
    /// The leading hexadecimal digits of `text`, with or without `0x`. Old kernels print a null
    /// pointer as `(null)`.
    pub(super) fn leading(text: &str) -> Option<Self> {
        let text = text.trim_start();
        if text.starts_with("(null)") {
            return Some(Self(0));
        }
        let text = text.strip_prefix("0x").unwrap_or(text);
        let end = text.find(|digit: char| !digit.is_ascii_hexdigit()).unwrap_or(text.len());
        u64::from_str_radix(text.get(..end)?, 16).ok().map(Self)
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What follows the first `marker`.
pub(super) fn after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    text.split_once(marker).map(|(_, rest)| rest)
}

/// What stands before the first `marker`, or everything.
pub(super) fn before<'a>(text: &'a str, marker: &str) -> &'a str {
    text.split_once(marker).map_or(text, |(head, _)| head)
}

/// What stands between `open` and the next `close`.
pub(super) fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    after(text, open)?.split_once(close).map(|(inside, _)| inside)
}

/// The leading decimal digits.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let end = text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// The leading decimal digits, where they fit.
pub(super) fn small_number(text: &str) -> Option<u32> {
    number(text).and_then(|number| u32::try_from(number).ok())
}

/// The leading process id.
pub(super) fn pid(text: &str) -> Option<Pid> {
    small_number(text).map(Pid)
}

/// The first word, without the punctuation that ends it.
pub(super) fn word(text: &str) -> Option<&str> {
    let word = text.split_whitespace().next()?.trim_end_matches([',', '.', ':', ';', '!']);
    (!word.is_empty()).then_some(word)
}

/// Some text, if there is any.
pub(super) fn said(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A process as the kernel names it: its name and its id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) comm: Option<String>,
    pub(super) pid: Option<Pid>,
}

impl Process {
    /// `comm[123]`.
    pub(super) fn in_brackets(text: &str) -> Option<Self> {
        let (comm, pid) = text.trim().strip_suffix(']')?.rsplit_once('[')?;
        Some(Self { comm: own_name(comm), pid: Some(Pid(pid.parse().ok()?)) })
    }

    /// `comm:123`. A name may hold colons itself.
    pub(super) fn before_colon(text: &str) -> Option<Self> {
        let (comm, pid) = text.trim().rsplit_once(':')?;
        Some(Self { comm: said(comm), pid: Some(Pid(pid.parse().ok()?)) })
    }

    /// `CPU: 3 UID: 0 PID: 314 Comm: bash Kdump: loaded Not tainted ...`: the line that
    /// `dump_stack_print_info` (lib/dump_stack.c) puts into every dump, with the CPU's number.
    pub(super) fn in_cpu_line(text: &str) -> Option<(u32, Self)> {
        let text = text.trim_start();
        let cpu = small_number(text.strip_prefix("CPU:")?)?;
        let comm = after(text, " Comm: ").or_else(|| after(text, " comm: "))?;
        let comm = [" Kdump: ", " Not tainted", " Tainted: "].iter().fold(comm, |comm, end| before(comm, end));
        let pid = after(text, " PID: ").and_then(pid);
        Some((cpu, Self { comm: said(comm), pid }))
    }
}

/// The name before `[pid]`. A name is at most 15 bytes (`TASK_COMM_LEN`); what stands before it is
/// the rest of a prefix that was not recognised.
fn own_name(text: &str) -> Option<String> {
    const LONGEST: usize = 15;
    if text.len() <= LONGEST { said(text) } else { text.split_whitespace().last().map(str::to_owned) }
}

/// Takes over the fields that only the later message says.
macro_rules! fill_in {
    ($into:expr, $from:expr, $($field:ident),+ $(,)?) => {
        $(if $into.$field.is_none() { $into.$field = $from.$field; })+
    };
}
pub(super) use fill_in;

/// Prints a part of a sentence where its field was said.
pub(super) struct Said<'a, T>(pub(super) &'static str, pub(super) &'a Option<T>, pub(super) &'static str);

impl<T: fmt::Display> fmt::Display for Said<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(value) => write!(f, "{}{value}{}", self.0, self.2),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_processes() {
        let process = |comm: &str, pid| Process { comm: Some(comm.to_owned()), pid: Some(Pid(pid)) };
        assert_eq!(Process::in_brackets("elastic[e[12]"), Some(process("elastic[e", 12)));
        assert_eq!(Process::in_brackets("some prefix left over shop[12]"), Some(process("shop", 12)));
        assert_eq!(Process::before_colon("kworker/u8:2:77"), Some(process("kworker/u8:2", 77)));
        assert_eq!(Process::before_colon("shop"), None);
        let line = "CPU: 3 UID: 0 PID: 314 Comm: my shop Kdump: loaded Tainted: G    L 6.12.0 #1";
        assert_eq!(Process::in_cpu_line(line), Some((3, process("my shop", 314))));
        assert_eq!(Process::in_cpu_line("CPU: 3 PID: 314 Comm: a Not tainted 4.18.0"), Some((3, process("a", 314))));
    }

    #[test]
    fn hexadecimal_numbers() {
        assert_eq!(Hex::leading(" 0x00007fF0 x"), Some(Hex(0x7ff0)));
        assert_eq!(Hex::leading("          (null) sp"), Some(Hex(0)));
        assert_eq!(Hex::leading("zz"), None);
        assert_eq!(Hex(0x7ff0).to_string(), "7ff0");
    }
}
