//! A process that accessed memory it may not.
//!
//! x86: `show_signal_msg` (arch/x86/mm/fault.c), `print_vma_addr` gained the offset and
//! `likely on CPU` came with 6.1. arm64: `arm64_show_signal` and before 4.17 `__do_user_fault`.
//! powerpc: `show_signal_msg` (arch/powerpc/kernel/traps.c). riscv: `do_trap`. mips and loongarch:
//! `__do_page_fault`. All are rate-limited and can be switched off (`debug.exception-trace`).

use super::fields::{Hex, Process, Said, after, before, fill_in, said};
use super::trap;
use crate::model::Pid;
use serde::{Serialize, Serializer};
use std::fmt;

/// A segmentation fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Segfault {
    /// The process' name, at most 15 bytes.
    pub comm: Option<String>,
    /// Its id in the host's pid namespace.
    pub pid: Option<Pid>,
    /// The address it accessed.
    pub addr: Option<Hex>,
    /// Where its code was.
    pub ip: Option<Hex>,
    /// Where its stack was.
    pub sp: Option<Hex>,
    /// What kind of access it was.
    pub error: Option<FaultCode>,
    /// The file that the code belongs to.
    pub library: Option<String>,
}

/// x86's page fault error code (`enum x86_pf_error_code`): bit 0 protection, 1 write, 2 user mode,
/// 4 instruction fetch. The kernel prints it in hexadecimal; so does the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultCode(pub u64);

impl FaultCode {
    /// What the process tried to do, in a word.
    pub const fn access(self) -> &'static str {
        match (self.0 & 0x10 != 0, self.0 & 0x2 != 0) {
            (true, _) => "executing",
            (_, true) => "writing",
            _ => "reading",
        }
    }
}

impl Serialize for FaultCode {
    /// The digits as the kernel prints them: a number as long as they are decimal digits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = format!("{:x}", self.0);
        match digits.parse::<u64>() {
            Ok(number) => serializer.serialize_u64(number),
            Err(_) => serializer.serialize_str(&digits),
        }
    }
}

impl Segfault {
    /// `prefix` is what stands before the statement: the process.
    pub(super) fn read(prefix: &str, statement: &str) -> Option<Self> {
        let kind = ["segfault at ", "segfault (11) at ", "unhandled signal 11 "].iter().find(|start| statement.starts_with(**start));
        if let Some(start) = kind {
            let process = Process::in_brackets(prefix)?;
            let address = statement.strip_prefix(start)?;
            let address = address.strip_prefix("at ").or_else(|| after(address, " at ")).unwrap_or(address);
            return Some(Self { addr: Hex::leading(address), ..Self::of(process, statement) });
        }
        Self::read_arm(prefix, statement).or_else(|| Self::read_mips(statement))
    }

    /// arm64: `unhandled level 2 translation fault (11) at 0x10, esr 0x92000006, in shop[400000+1000]`,
    /// since 4.17 `unhandled exception: DABT (lower EL), ESR 0x92000004, level 0 translation fault in shop[..]`.
    fn read_arm(prefix: &str, statement: &str) -> Option<Self> {
        let fault = statement.strip_prefix("unhandled ")?;
        if !fault.contains("translation fault") && !fault.contains("permission fault") && !fault.contains("access flag fault") {
            return None;
        }
        let process = Process::in_brackets(prefix)?;
        Some(Self { addr: after(fault, " at 0x").and_then(Hex::leading), ..Self::of(process, statement) })
    }

    /// mips, loongarch: `do_page_fault(): sending SIGSEGV to shop for invalid read access from` with
    /// the address at the end or on a line of its own.
    fn read_mips(statement: &str) -> Option<Self> {
        let rest = statement.strip_prefix("sending SIGSEGV to ")?;
        let (comm, access) = rest.split_once(" for invalid ")?;
        let addr = after(access, " from").or_else(|| after(access, " to")).and_then(Hex::leading);
        Some(Self { comm: said(comm), addr, ..Self::default() })
    }

    fn of(process: Process, statement: &str) -> Self {
        let place = trap::Place::after_words(statement);
        let error = after(statement, " error ").and_then(Hex::leading).map(|code| FaultCode(code.0));
        Self { comm: process.comm, pid: process.pid, addr: None, ip: place.ip, sp: place.sp, error, library: library(statement) }
    }

    pub(super) fn is_same_event(&self, later: &Self) -> bool {
        self.comm == later.comm && self.pid == later.pid && (self.pid.is_some() || self.addr == later.addr)
    }

    pub(super) fn absorb(&mut self, later: Self) {
        fill_in!(self, later, addr, ip, sp, error, library);
    }
}

/// The file in ` in libc.so.6[26000,7f0011000000+155000]`, the last words of a fault. Names may
/// hold blanks and brackets.
pub(super) fn library(statement: &str) -> Option<String> {
    let file = after(statement, " in ")?;
    let file = before(before(file, " likely on CPU"), "] ");
    let name = match file.rfind('[') {
        Some(bracket) => file.get(..bracket)?,
        None => file,
    };
    said(name.trim_end_matches([',', '.']))
}

impl fmt::Display for Segfault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = self.error.map(FaultCode::access);
        write!(f, "{}{} crashed with a segmentation fault", self.comm.as_deref().unwrap_or("a process"), Said(" (pid ", &self.pid, ")"))?;
        write!(f, "{}{}{}", Said(" ", &access, ""), Said(" address 0x", &self.addr, ""), Said(" in ", &self.library, ""))
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::kernel_problem::testing::report;
    use serde_json::json;

    #[test]
    fn x86_of_every_era() {
        let old = report("shop[4711]: segfault at 18 ip 000055d0c1a2b3c4 sp 00007ffd01020304 error 6 in libshop-2.so[55d0c1a10000+9000]");
        assert_eq!(
            old,
            json!({"type": "segfault", "comm": "shop", "pid": 4711, "addr": "18", "ip": "55d0c1a2b3c4", "sp": "7ffd01020304", "error": 6, "library": "libshop-2.so"})
        );
        let new = report(
            "my shop[4711]: segfault at 7f00 ip 00007f0011223344 sp 00007ffd01020304 error 14 in libc.so.6[1b3c4,7f0011200000+9000] likely on CPU 1 (core 1, socket 0)",
        );
        assert_eq!((&new["comm"], &new["library"], &new["error"]), (&json!("my shop"), &json!("libc.so.6"), &json!(14)));
        let null = report("a[1]: segfault at 0 ip           (null) sp 00007ffd01020304 error 1d");
        assert_eq!((&null["ip"], &null["error"], &null["library"]), (&json!("0"), &json!("1d"), &json!(null)));
        assert_eq!(report("a[1]: segfault at 0000000000000010 rip 0000000000400544 rsp 00007fffffffe0b0 error 4")["ip"], "400544");
    }

    #[test]
    fn other_architectures() {
        let arm = report("shop[77]: unhandled level 2 translation fault (11) at 0x00000010, esr 0x92000006, in shop[aaaac0de0000+1000]");
        assert_eq!((&arm["type"], &arm["addr"], &arm["library"]), (&json!("segfault"), &json!("10"), &json!("shop")));
        let arm = report(
            "shop[77]: unhandled exception: DABT (lower EL), ESR 0x0000000092000004, level 0 translation fault in shop[aaaac0de0000+1000]",
        );
        assert_eq!((&arm["pid"], &arm["library"]), (&json!(77), &json!("shop")));
        let power = report("shop[77]: segfault (11) at 8 nip 10000a5c lr 10000a40 code 1 in shop[10000000+10000]");
        assert_eq!((&power["addr"], &power["ip"], &power["library"]), (&json!("8"), &json!("10000a5c"), &json!("shop")));
        let power = report("shop[77]: unhandled signal 11 at 0000000000000008 nip 0000000010000a5c lr 0000000010000a40 code 30001");
        assert_eq!((&power["addr"], &power["ip"]), (&json!("8"), &json!("10000a5c")));
        let riscv = report("shop[77]: unhandled signal 11 code 0x1 at 0x0000000000000010 in shop[2aaaaaa000+1000]");
        assert_eq!((&riscv["addr"], &riscv["library"]), (&json!("10"), &json!("shop")));
        let mips = report("do_page_fault(): sending SIGSEGV to shop for invalid read access from 00000010");
        assert_eq!((&mips["comm"], &mips["addr"]), (&json!("shop"), &json!("10")));
    }
}
