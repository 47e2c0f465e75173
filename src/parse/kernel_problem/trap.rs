//! A process that the CPU stopped for another reason than memory: a bad instruction, a division by
//! zero, a general protection fault.
//!
//! x86: `show_signal` and `do_general_protection` (arch/x86/kernel/traps.c); before 2.6.38 without
//! `traps: `. arm64: `undefined instruction`. powerpc: the signal's name.

use super::fields::{Hex, Process, Said, after, fill_in, said};
use super::segfault::library;
use crate::model::Pid;
use serde::Serialize;
use std::fmt;

/// A trap in a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Trap {
    /// The process' name, at most 15 bytes.
    pub comm: Option<String>,
    /// Its id in the host's pid namespace.
    pub pid: Option<Pid>,
    /// The trap's name, such as `invalid opcode`.
    pub trap: Option<String>,
    /// Where its code was.
    pub ip: Option<Hex>,
    /// Where its stack was.
    pub sp: Option<Hex>,
    /// The trap's error code.
    pub error: Option<u64>,
    /// The file that the code belongs to.
    pub library: Option<String>,
}

/// Where a process was when it failed.
pub(super) struct Place {
    pub(super) ip: Option<Hex>,
    pub(super) sp: Option<Hex>,
}

impl Place {
    /// ` ip 55d0 sp 7ffd`; `rip`/`rsp` in 2.6, `nip` on powerpc.
    pub(super) fn after_words(statement: &str) -> Self {
        let first = |names: [&str; 3]| names.iter().find_map(|name| after(statement, name)).and_then(Hex::leading);
        Self { ip: first([" ip ", " rip ", " nip "]), sp: first([" sp ", " rsp ", " SP "]) }
    }

    fn after_colons(statement: &str) -> Self {
        let first = |names: [&str; 2]| names.iter().find_map(|name| after(statement, name)).and_then(Hex::leading);
        Self { ip: first([" ip:", " rip:"]), sp: first([" sp:", " rsp:"]) }
    }
}

impl Trap {
    /// `shop[12] trap invalid opcode ip:.. sp:.. error:0 in shop[..]`.
    pub(super) fn read_x86(statement: &str) -> Option<Self> {
        let (head, _) = statement.split_once(" ip:").or_else(|| statement.split_once(" rip:"))?;
        let (process, name) = head.rsplit_once("] ")?;
        let process = Process::in_brackets(&format!("{process}]"))?;
        let place = Place::after_colons(statement);
        // The general protection fault lost its last word between 2.6 and 5.x.
        let trap = match name.strip_prefix("trap ").unwrap_or(name) {
            "general protection" => "general protection fault",
            name => name,
        };
        let error = after(statement, " error:").and_then(Hex::leading).map(|code| code.0);
        Some(Self {
            comm: process.comm,
            pid: process.pid,
            trap: said(trap),
            ip: place.ip,
            sp: place.sp,
            error,
            library: library(statement),
        })
    }

    /// The same statement behind `comm[pid]: ` on other architectures.
    pub(super) fn read_elsewhere(prefix: &str, statement: &str) -> Option<Self> {
        const NAMES: [(&str, &str); 6] = [
            ("undefined instruction", "undefined instruction"),
            ("illegal instruction (4)", "illegal instruction"),
            ("bus error (7)", "bus error"),
            ("floating point exception (8)", "floating point exception"),
            ("unhandled signal 4 ", "illegal instruction"),
            ("unhandled signal 7 ", "bus error"),
        ];
        let (_, name) = NAMES.iter().find(|(start, _)| statement.starts_with(start))?;
        let process = Process::in_brackets(prefix)?;
        let place = Place::after_words(statement);
        let ip = place.ip.or_else(|| after(statement, " pc=").and_then(Hex::leading));
        Some(Self { comm: process.comm, pid: process.pid, trap: said(name), ip, sp: place.sp, error: None, library: library(statement) })
    }

    /// A breakpoint is what a program does to itself on purpose: headless browsers end every
    /// abandoned process so, and debuggers live of it.
    pub(super) fn is_benign(&self) -> bool {
        self.trap.as_deref().is_some_and(|trap| matches!(trap, "int3" | "debug"))
    }

    pub(super) fn is_same_event(&self, later: &Self) -> bool {
        self.comm == later.comm && self.pid == later.pid && self.trap == later.trap
    }

    pub(super) fn absorb(&mut self, later: Self) {
        fill_in!(self, later, ip, sp, error, library);
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comm = self.comm.as_deref().unwrap_or("a process");
        write!(f, "{comm}{} crashed{}{}", Said(" (pid ", &self.pid, ")"), Said(": ", &self.trap, ""), Said(" in ", &self.library, ""))
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::kernel_problem::{recognise, testing::report};
    use serde_json::json;

    #[test]
    fn x86_of_every_era() {
        assert_eq!(
            report("traps: shop[77] trap invalid opcode ip:55d0c1a2b3c4 sp:7ffd01020304 error:0 in shop[1b3c4,55d0c1a10000+9000]"),
            json!({"type": "trap", "comm": "shop", "pid": 77, "trap": "invalid opcode", "ip": "55d0c1a2b3c4", "sp": "7ffd01020304", "error": 0, "library": "shop"})
        );
        assert_eq!(
            report("traps: shop[77] general protection fault ip:1 sp:2 error:0 in libc.so[1+2]")["trap"],
            "general protection fault"
        );
        assert_eq!(report("traps: shop[77] general protection ip:1 sp:2 error:0 in libc-2.17.so[1+2]")["trap"], "general protection fault");
        assert_eq!(report("shop[77] trap divide error rip:400544 rsp:7ffd error:0")["ip"], "400544");
        assert_eq!(report("shop[77] trap divide error ip:400544 sp:7ffd error:0 in shop[400000+1000]")["trap"], "divide error");
    }

    #[test]
    fn other_architectures() {
        assert_eq!(report("shop[77]: undefined instruction: pc=0000aaaac0de0010 (0x0)")["ip"], "aaaac0de0010");
        assert_eq!(
            report("shop[77]: illegal instruction (4) at 10000a5c nip 10000a5c lr 10000a40 code 1 in shop[1+2]")["trap"],
            "illegal instruction"
        );
    }

    #[test]
    fn a_breakpoint_is_no_problem() {
        assert_eq!(recognise("traps: browser[77] trap int3 ip:1 sp:2 error:0 in browser[1+2]"), None);
    }
}
