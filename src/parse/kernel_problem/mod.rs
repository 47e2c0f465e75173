//! Problems that the kernel reports in single lines or short dumps, other than OOM kills.
//!
//! Flows in: the text of one kernel message, without its stamp. Flows out: a [`KernelProblem`], whose
//! JSON form is the contract of `nodewhy parse`. It does not know where a message came from: the caller
//! has rejected what a process wrote. [`KernelProblemReader`] adds the lines that follow.
//!
//! A message is a chain of statements joined by `: `, where all but the last name who speaks
//! (`watchdog: BUG: soft lockup - ..`, `nvme nvme0: I/O 5 ..`). Drivers put any number of names in front,
//! so each statement is looked at by itself, and its first two letters decide quickly that it says nothing.
//! No rule looks at the end of a record, and none into the middle of a statement that another word began.

mod class;
mod disk;
mod fields;
mod filesystem;
mod hang;
mod hardware;
mod net;
mod other;
mod pids;
mod reader;
mod segfault;
mod trap;

pub use class::ProblemClass;
pub use disk::{DiskKind, DiskProblem};
pub use fields::Hex;
pub use filesystem::{FilesystemKind, FilesystemProblem, unmounted};
pub use hang::{Hang, HangKind};
pub use hardware::{HardwareKind, HardwareProblem};
pub use net::{NetKind, NetProblem};
pub use other::{OtherKind, OtherProblem};
pub use pids::PidsLimit;
pub use reader::{KernelProblemReader, Reported};
pub use segfault::{FaultCode, Segfault};
pub use trap::Trap;

use serde::Serialize;
use std::fmt;

/// One problem that the kernel, or a program that kills in its place, reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum KernelProblem {
    /// A process accessed memory it may not.
    Segfault(Segfault),
    /// The CPU stopped a process for another reason.
    Trap(Trap),
    /// A pids limit refused a process.
    #[serde(rename = "pids")]
    PidsLimit(PidsLimit),
    /// A disk.
    Disk(DiskProblem),
    /// A filesystem.
    #[serde(rename = "fs")]
    Filesystem(FilesystemProblem),
    /// A task or CPU without progress.
    Hang(Hang),
    /// The machine.
    Hardware(HardwareProblem),
    /// The network.
    Net(NetProblem),
    /// The rest.
    Other(OtherProblem),
}

impl KernelProblem {
    /// Whether this is a mere notice: normal on many healthy nodes, and evidence only beside something
    /// else. Anything else is a fault worth telling on its own.
    pub fn is_notice(&self) -> bool {
        use OtherKind::{LogLoss, NetdevLeak, PageAllocationFailure, TcpMemory};
        matches!(self, Self::Other(other) if matches!(other.kind, LogLoss | NetdevLeak | PageAllocationFailure | TcpMemory))
    }

    /// Whether `later` tells the same event again: a repetition, or another layer's view of it.
    pub fn is_same_event(&self, later: &Self) -> bool {
        match (self, later) {
            (Self::Segfault(own), Self::Segfault(later)) => own.is_same_event(later),
            (Self::Trap(own), Self::Trap(later)) => own.is_same_event(later),
            (Self::PidsLimit(own), Self::PidsLimit(later)) => own == later,
            (Self::Disk(own), Self::Disk(later)) => own.is_same_event(later),
            (Self::Filesystem(own), Self::Filesystem(later)) => own.is_same_event(later),
            (Self::Hang(own), Self::Hang(later)) => own.is_same_event(later),
            (Self::Hardware(own), Self::Hardware(later)) => own.is_same_event(later),
            (Self::Net(own), Self::Net(later)) => own.is_same_event(later),
            (Self::Other(own), Self::Other(later)) => own.is_same_event(later),
            _ => false,
        }
    }

    /// Takes over what a later message about the same event says more.
    pub fn absorb(&mut self, later: Self) {
        match (self, later) {
            (Self::Segfault(own), Self::Segfault(later)) => own.absorb(later),
            (Self::Trap(own), Self::Trap(later)) => own.absorb(later),
            (Self::Disk(own), Self::Disk(later)) => own.absorb(later),
            (Self::Filesystem(own), Self::Filesystem(later)) => own.absorb(later),
            (Self::Hang(own), Self::Hang(later)) => own.absorb(later),
            (Self::Hardware(own), Self::Hardware(later)) => own.absorb(later),
            (Self::Net(own), Self::Net(later)) => own.absorb(later),
            (Self::Other(own), Self::Other(later)) => own.absorb(later),
            _ => {}
        }
    }
}

impl fmt::Display for KernelProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segfault(problem) => problem.fmt(f),
            Self::Trap(problem) => problem.fmt(f),
            Self::PidsLimit(problem) => problem.fmt(f),
            Self::Disk(problem) => problem.fmt(f),
            Self::Filesystem(problem) => problem.fmt(f),
            Self::Hang(problem) => problem.fmt(f),
            Self::Hardware(problem) => problem.fmt(f),
            Self::Net(problem) => problem.fmt(f),
            Self::Other(problem) => problem.fmt(f),
        }
    }
}

/// What a single kernel message says. `None` for nearly all of them, quickly.
pub fn recognise(text: &str) -> Option<KernelProblem> {
    Statements::of(text.trim()).find_map(|(prefix, statement)| read_statement(prefix, statement))
}

/// What a program's line says about a kill. `program` is its syslog identifier.
pub fn recognise_program(program: &str, text: &str) -> Option<KernelProblem> {
    other::read_program(program, text.trim()).map(KernelProblem::Other)
}

/// Asks only the families that have a statement with these first two letters.
fn read_statement(prefix: &str, statement: &str) -> Option<KernelProblem> {
    use KernelProblem::{Disk, Filesystem, Hang as Hanging, Hardware, Net, Other, PidsLimit as Pids, Segfault as Fault};
    let disk = || DiskProblem::read(prefix, statement).map(Disk);
    let filesystem = || FilesystemProblem::read(statement).map(Filesystem);
    let hang = || Hang::read(prefix, statement).map(Hanging);
    let hardware = || HardwareProblem::read(prefix, statement).map(Hardware);
    let net = || NetProblem::read(prefix, statement).map(Net);
    let other = || OtherProblem::read(prefix, statement).map(Other);
    let process = || Segfault::read(prefix, statement).map(Fault).or_else(|| trap(Trap::read_elsewhere(prefix, statement)));
    if prefix == "traps" {
        return trap(Trap::read_x86(statement));
    }
    match statement.as_bytes() {
        [b'A', b'E' | b'b', ..] => filesystem().or_else(hardware),
        [b'B', b'T' | b'u', ..] => disk().or_else(filesystem),
        [b'B', b'a', ..] => other(),
        [b'C', b'P' | b'o' | b'r', ..] => hang().or_else(hardware),
        [b'C' | b'U', b'E', b' ', ..] | [b'T', b'e', ..] | [b'{', ..] => hardware(),
        [b'D', b'e' | b'i', ..] => disk().or_else(filesystem).or_else(net),
        [b'E', b'X' | b'r', ..] => filesystem(),
        [b'F', b'A' | b'a' | b'i', ..] => disk().or_else(filesystem).or_else(hardware),
        [b'G', b'P', ..] => hardware(),
        [b'I', b'/' | b't', ..] => disk().or_else(filesystem).or_else(hardware),
        [b'K', b'e' | b'i', ..] => other().or_else(hardware),
        [b'L' | b'l', b'i', ..] => net(),
        [b'M', b'a', ..] | [b'P', b'C' | b'a', ..] => hardware(),
        [b'N', b'E' | b'I' | b'e', ..] => net(),
        [b'O', b'o', ..] | [b'U', b'n', ..] => other(),
        [b'R', b'e' | b'm', ..] => disk().or_else(hardware),
        [b'S', b'e', ..] => hardware(),
        [b'T', b'X' | b'x', ..] => net(),
        [b'W', b'a', ..] => hang(),
        [b'X', b'F' | b'i', ..] => filesystem().or_else(hardware),
        [b'a', b'b', ..] | [b'm', b'e', ..] => disk(),
        [b'b', b'u', ..] | [b'i', b'l', ..] => process(),
        [b'c', b'o' | b'r', ..] => disk().or_else(hardware),
        [b'd', b'e', ..] => disk(),
        [b'e', b'v', ..] => hardware(),
        [b'f', b'a' | b'l' | b'o' | b'r', ..] => disk().or_else(process).or_else(|| pids::PidsLimit::read(statement).map(Pids)),
        [b'g', b'e', ..] | [b'k', b'e', ..] | [b'o', b'u', ..] | [b'w', b'a', ..] => other(),
        [b'n', b'e' | b'o', ..] => disk().or_else(net),
        [b'p', b'a' | b'r', ..] => disk().or_else(other),
        [b'r', b'c' | b'e' | b'm', ..] => disk().or_else(hang).or_else(hardware),
        [b's', b'c' | b'e' | b'o' | b'w', ..] => hang().or_else(process).or_else(disk).or_else(other),
        [b't', b'a' | b'i' | b'r', ..] => hang().or_else(net).or_else(disk),
        [b'u', b'n', ..] => process().or_else(disk).or_else(other),
        [b'0'..=b'9', ..] if prefix.starts_with("EDAC") => hardware(),
        [b'0'..=b'9', ..] | [b'*' | b'-', ..] | [b'/', b'd', ..] => other(),
        [b'[', ..] if prefix.starts_with("sd ") => disk(),
        _ => None,
    }
    .or_else(|| unsigned(prefix, statement))
}

/// Statements whose first letter is a name's: an interface before its verdict, a kind of page, and x86 traps
/// before 2.6.38.
fn unsigned(prefix: &str, statement: &str) -> Option<KernelProblem> {
    if statement.ends_with("own") {
        return NetProblem::read(prefix, statement).map(KernelProblem::Net);
    }
    if prefix.starts_with("MCE 0x") {
        return HardwareProblem::read(prefix, statement).map(KernelProblem::Hardware);
    }
    if !prefix.is_empty() || statement.starts_with("traps: ") {
        return None;
    }
    let behind_process = statement.find(']').and_then(|bracket| statement.get(bracket..))?;
    let is_trap = behind_process.starts_with("] trap ") || behind_process.starts_with("] general protection ");
    if is_trap { trap(Trap::read_x86(statement)) } else { None }
}

fn trap(trap: Option<Trap>) -> Option<KernelProblem> {
    trap.filter(|trap| !trap.is_benign()).map(KernelProblem::Trap)
}

/// The statements of a message, each with everything before it.
struct Statements<'a> {
    text: &'a str,
    /// Where the next statement begins; `None` after the last.
    next: Option<usize>,
    left: u8,
}

impl<'a> Statements<'a> {
    /// Drivers put at most four names in front; what comes later is an argument.
    const MOST: u8 = 6;

    fn of(text: &'a str) -> Self {
        Self { text, next: Some(0), left: Self::MOST }
    }
}

/// Behind the first `: `. Colons alone stand inside of names.
fn end_of_name(statement: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let colon = from + statement.get(from..)?.find(':')?;
        if statement.as_bytes().get(colon + 1) == Some(&b' ') {
            return Some(colon + 2);
        }
        from = colon + 1;
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next?;
        self.left = self.left.checked_sub(1)?;
        let statement = self.text.get(start..)?;
        self.next = end_of_name(statement).map(|end| start + end);
        let prefix = self.text.get(..start)?.trim_end_matches([':', ' ']);
        Some((prefix, statement.trim_start()))
    }
}

#[cfg(test)]
mod testing {
    /// The JSON object of a message that must be recognised.
    pub(super) fn report(text: &str) -> serde_json::Value {
        let problem = super::recognise(text).unwrap_or_else(|| panic!("not recognised: {text}"));
        serde_json::to_value(problem).expect("json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clean_boot_says_nothing() {
        for line in [
            "Linux version 6.12.0 (builder@host) (gcc 14.2.0) #1 SMP PREEMPT_DYNAMIC",
            "Command line: BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro panic=10 oops=panic",
            "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable",
            "ACPI: RSDP 0x00000000000F5A20 000014 (v00 BOCHS )",
            "rcu: Preemptible hierarchical RCU implementation.",
            "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
            "nvme nvme0: pci function 0000:00:04.0",
            "sd 0:0:0:0: [sda] Write Protect is off",
            "systemd[1]: Reached target Local File Systems.",
            "audit: type=1400 audit(1.1:2): apparmor=\"STATUS\" operation=\"profile_load\"",
            "oom_reaper: reaped process 77 (shop), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
            "shop invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
            "Out of memory: Killed process 77 (shop) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB",
            "exe (2998): /proc/2998/oom_adj is deprecated, please use /proc/2998/oom_score_adj instead.",
            "device eth9 entered promiscuous mode",
            "random: crng init done",
            "Code: 74 15 31 c0 48 83 c4 08",
            "Call Trace:",
            " <TASK>",
            "RIP: 0010:_raw_spin_unlock_irqrestore+0x1b/0x30",
            "Modules linked in: nf_conntrack overlay",
            "perf: interrupt took too long (2506 > 2500), lowering kernel.perf_event_max_sample_rate to 79750",
            "",
        ] {
            assert_eq!(recognise(line), None, "{line}");
        }
    }

    #[test]
    fn quoted_words_of_the_kernel_are_no_statement() {
        for line in ["shop: I said Kernel panic - not syncing", "user wrote segfault at 0 ip 0", "a soft lockup - CPU#1 stuck for 22s!"] {
            assert_eq!(recognise(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in any::<String>(),
            start in proptest::sample::select(vec![
                "INFO: task ", "BUG: soft lockup ", "watchdog: CPU ", "traps: ", "x[1]: segfault at ", "x[1]: unhandled ", "EDAC MC0: 1 CE ",
                "mce: [Hardware Error]: CPU ", "NVRM: Xid (", "XFS (", "EXT4-fs (", "EXT4-fs error (device ", "I/O error, dev ", "nvme nvme0: ",
                "Memory failure: 0x1: ", "eth0: NIC Link ", "BTRFS ", "pcieport 0: AER: ", "Kernel panic - not syncing", "rcu: INFO: rcu",
            ])
        ) {
            let _ = recognise(&text);
            let _ = recognise(&format!("{start}{text}"));
            for program in ["systemd-coredump", "earlyoom", "systemd-oomd"] {
                let _ = recognise_program(program, &text);
            }
        }
    }
}
