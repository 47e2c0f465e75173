//! The rest: the kernel's own faults, and notices that explain a death only together with others.

use super::fields::{Process, Said, after, before, between, fill_in, number, said, word};
use crate::model::Pid;
use serde::Serialize;
use std::fmt;

/// A problem without a family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherProblem {
    /// What happened.
    pub kind: OtherKind,
    /// The process it happened to.
    pub comm: Option<String>,
    /// Its id.
    pub pid: Option<Pid>,
    /// The cgroup it happened to.
    pub cgroup: Option<String>,
    /// The interface it happened to.
    pub device: Option<String>,
    /// How many records are missing.
    pub count: Option<u64>,
    /// What was said.
    pub message: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherKind {
    /// The kernel stopped the machine.
    KernelPanic,
    /// The kernel made an error of its own and went on.
    Oops,
    /// A process dumped core (systemd-coredump).
    Coredump,
    /// A memory watcher in user space killed something.
    UserspaceOomKill,
    /// The kernel did not find enough contiguous memory; usually it copes.
    PageAllocationFailure,
    /// TCP's own memory limit is reached.
    TcpMemory,
    /// A network namespace cannot go away.
    NetdevLeak,
    /// The log itself lost records.
    LogLoss,
}

impl OtherProblem {
    pub(super) fn of(kind: OtherKind, process: Process, message: &str) -> Self {
        Self { kind, comm: process.comm, pid: process.pid, cgroup: None, device: None, count: None, message: said(message) }
    }

    fn saying(kind: OtherKind, message: &str) -> Self {
        Self::of(kind, Process::default(), message)
    }

    pub(super) fn read(prefix: &str, statement: &str) -> Option<Self> {
        Self::read_panic(prefix, statement)
            .or_else(|| Self::read_oops(prefix, statement))
            .or_else(|| Self::read_notice(prefix, statement))
            .or_else(|| Self::read_log_loss(prefix, statement))
    }

    /// `panic` (kernel/panic.c). The last line of the dump repeats it behind `---[ end `.
    fn read_panic(prefix: &str, statement: &str) -> Option<Self> {
        let statement = statement.strip_prefix("---[ end ").unwrap_or(statement);
        if let Some(rest) = statement.strip_prefix("Kernel panic - not syncing") {
            let reason = rest.trim_start_matches([':', ' ']);
            let reason = reason.split_once(" ]---").map_or(reason, |(reason, _)| reason);
            return Some(Self::saying(OtherKind::KernelPanic, reason));
        }
        // Before 2.6.x's end the reason followed another word.
        (prefix.is_empty() && statement.starts_with("Kernel panic: ")).then(|| Self::saying(OtherKind::KernelPanic, statement))
    }

    /// arch/*/kernel: `BUG: kernel NULL pointer dereference, address: ..` and its older and other forms, with the
    /// `Oops:` line that follows; `kernel BUG at file:line!`.
    fn read_oops(prefix: &str, statement: &str) -> Option<Self> {
        let is_bug = prefix == "BUG"
            && [
                "kernel NULL pointer dereference",
                "unable to handle ",
                "Bad page state",
                "Bad page map",
                "scheduling while atomic",
                "Bad rss-counter",
            ]
            .iter()
            .any(|start| statement.starts_with(start));
        let begins_one = prefix.is_empty()
            && (statement.starts_with("Unable to handle kernel ")
                || statement.starts_with("kernel BUG at ")
                || statement.starts_with("Oops: "));
        // `general protection fault: 0000 [#1] SMP`, `Internal error: Oops: 96000004 [#1] SMP`: the number of the oops.
        let is_numbered =
            matches!(prefix, "general protection fault" | "divide error" | "invalid opcode" | "stack segment" | "Internal error" | "Oops")
                && statement.contains(" [#");
        let is_fault = prefix.is_empty() && statement.starts_with("general protection fault, ") && statement.contains(" [#");
        if !(is_bug || begins_one || is_numbered || is_fault) {
            return None;
        }
        Some(Self::saying(OtherKind::Oops, statement))
    }

    /// mm/page_alloc.c `warn_alloc`, net/ipv4/tcp.c, net/core/dev.c.
    fn read_notice(prefix: &str, statement: &str) -> Option<Self> {
        if statement.starts_with("page allocation failure") {
            let process = Process { comm: said(prefix), pid: None };
            return Some(Self::of(OtherKind::PageAllocationFailure, process, statement));
        }
        if statement.starts_with("out of memory -- consider tuning tcp_mem") {
            return Some(Self::saying(OtherKind::TcpMemory, statement));
        }
        let rest = statement.strip_prefix("waiting for ").filter(|_| prefix.starts_with("unregister_netdevice"))?;
        let device = before(rest, " to become free");
        Some(Self { device: said(device), ..Self::saying(OtherKind::NetdevLeak, statement) })
    }

    /// journald's notice in the kernel log, the console's, and every rate limit's (lib/ratelimit.c).
    fn read_log_loss(prefix: &str, statement: &str) -> Option<Self> {
        if let Some(count) = statement.strip_suffix(" callbacks suppressed").and_then(number) {
            return Some(Self { count: Some(count), comm: word(prefix).and_then(said), ..Self::saying(OtherKind::LogLoss, statement) });
        }
        if let Some(rest) = statement.strip_prefix("** ").filter(|rest| rest.contains("printk messages dropped")) {
            return Some(Self { count: number(rest), ..Self::saying(OtherKind::LogLoss, statement) });
        }
        statement.starts_with("/dev/kmsg buffer overrun").then(|| Self::saying(OtherKind::LogLoss, statement))
    }

    /// Reads a line of the dump that followed an oops; whether it told who it was.
    pub(super) fn complete(&mut self, line: &str) -> bool {
        let Some((_, process)) = Process::in_cpu_line(line) else { return false };
        (self.comm, self.pid) = (process.comm, process.pid);
        true
    }

    pub(super) fn is_same_event(&self, later: &Self) -> bool {
        self.kind == later.kind
            && match self.kind {
                OtherKind::KernelPanic | OtherKind::TcpMemory => true,
                OtherKind::Oops => self.pid == later.pid || self.pid.is_none() || later.pid.is_none(),
                OtherKind::LogLoss => false,
                OtherKind::UserspaceOomKill if self.pid.is_none() && later.pid.is_none() => is_unit_of(&self.cgroup, &later.cgroup),
                _ => (&self.comm, self.pid, &self.cgroup, &self.device) == (&later.comm, later.pid, &later.cgroup, &later.device),
            }
    }

    pub(super) fn absorb(&mut self, later: Self) {
        fill_in!(self, later, comm, pid, cgroup, device, message);
    }
}

/// Understands what programs say about kills that the kernel does not log: systemd-coredump, earlyoom,
/// systemd-oomd, Talos, and systemd about systemd-oomd. Their lines are theirs alone, so `program` decides.
pub(super) fn read_program(program: &str, text: &str) -> Option<OtherProblem> {
    match program {
        "systemd-coredump" => {
            let (process, _) = after(text, "Process ")?.split_once(" dumped core")?;
            let (pid, comm) = process.split_once(" (")?;
            let comm = comm.rsplit_once(')').map_or(comm, |(comm, _)| comm);
            let process = Process { comm: said(comm), pid: pid.trim().parse().ok().map(Pid) };
            Some(OtherProblem::of(OtherKind::Coredump, process, text))
        }
        "earlyoom" => {
            let rest = ["sending SIGTERM to process ", "sending SIGKILL to process ", "Killing process "]
                .iter()
                .find_map(|start| after(text, start))?;
            let pid = number(rest).and_then(|pid| u32::try_from(pid).ok()).map(Pid)?;
            let quoted = after(rest, "\"").and_then(|comm| comm.split_once('"')).map(|(comm, _)| comm);
            // Before 1.3: `Killing process 77 shop`.
            let comm = quoted.or_else(|| rest.split_whitespace().nth(1).filter(|word| *word != "uid"));
            Some(OtherProblem::of(OtherKind::UserspaceOomKill, Process { comm: comm.and_then(said), pid: Some(pid) }, text))
        }
        "systemd-oomd" => {
            let cgroup = text.strip_prefix("Killed ")?.split_whitespace().next().filter(|path| path.starts_with('/'))?;
            Some(OtherProblem { cgroup: said(cgroup), ..OtherProblem::saying(OtherKind::UserspaceOomKill, text) })
        }
        // runtime.OOMController (since 1.12): `Sending SIGKILL to cgroup {"component": .., "cgroup": "/sys/fs/cgroup/kubepods/..."}`.
        "talos" => {
            let rest = text.strip_prefix("Sending SIGKILL to cgroup")?;
            let cgroup = between(rest, "\"cgroup\": \"", "\"").map(|path| path.strip_prefix("/sys/fs/cgroup").unwrap_or(path));
            Some(OtherProblem { cgroup: cgroup.and_then(said), ..OtherProblem::saying(OtherKind::UserspaceOomKill, text) })
        }
        // PID 1 about the unit of the cgroup (unit_check_oomd_kill, src/core/unit.c, systemd 248):
        // `cri-containerd-0.scope: systemd-oomd killed 3 process(es) in this unit.`
        "systemd" => {
            let (unit, said) = text.split_once(": ")?;
            let count = number(said.strip_prefix("systemd-oomd killed ")?)?;
            Some(OtherProblem { cgroup: said_unit(unit), count: Some(count), ..OtherProblem::saying(OtherKind::UserspaceOomKill, text) })
        }
        _ => None,
    }
}

/// systemd-oomd tells the cgroup that it killed, and PID 1 the unit that ended.
fn is_unit_of(cgroup: &Option<String>, unit: &Option<String>) -> bool {
    let (Some(cgroup), Some(unit)) = (cgroup, unit) else { return cgroup == unit };
    cgroup == unit || cgroup.strip_suffix(unit.as_str()).is_some_and(|parent| parent.ends_with('/'))
}

fn said_unit(unit: &str) -> Option<String> {
    said(unit).filter(|unit| !unit.contains(' '))
}

impl fmt::Display for OtherProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comm = self.comm.as_deref().or(self.cgroup.as_deref()).unwrap_or("a process");
        let pid = Said(" (pid ", &self.pid, ")");
        match self.kind {
            OtherKind::KernelPanic => write!(f, "the kernel stopped the machine{}", Said(": ", &self.message, "")),
            OtherKind::Oops => write!(f, "the kernel made an error of its own{}", Said(": ", &self.message, "")),
            OtherKind::Coredump => write!(f, "{comm}{pid} dumped core"),
            OtherKind::UserspaceOomKill => write!(f, "a memory watcher in user space killed {comm}{pid}"),
            OtherKind::PageAllocationFailure => write!(f, "the kernel did not find enough contiguous memory for {comm}"),
            OtherKind::TcpMemory => write!(f, "TCP reached its own memory limit (net.ipv4.tcp_mem)"),
            OtherKind::NetdevLeak => {
                write!(f, "a network namespace cannot go away: {} is still in use", self.device.as_deref().unwrap_or("an interface"))
            }
            OtherKind::LogLoss => write!(f, "the log lost records{}", Said(": ", &self.count, "")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::kernel_problem::{recognise_program, testing::report};
    use serde_json::json;

    #[test]
    fn panics() {
        let found = report("Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009");
        assert_eq!(
            (found["kind"].as_str(), found["message"].as_str()),
            (Some("kernel_panic"), Some("Attempted to kill init! exitcode=0x00000009"))
        );
        assert_eq!(report("---[ end Kernel panic - not syncing: Fatal exception ]---")["message"], "Fatal exception");
    }

    #[test]
    fn oopses_of_every_era() {
        for line in [
            "BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008",
            "BUG: unable to handle page fault for address: ffffffffc0a1b2c3",
            "Oops: general protection fault, probably for non-canonical address 0xdffffc000000000e: 0000 [#1] PREEMPT SMP",
            "Oops: 0002 [#1] SMP",
            "general protection fault: 0000 [#1] SMP",
            "divide error: 0000 [#1] SMP NOPTI",
            "Unable to handle kernel paging request at virtual address ffff000012345678",
            "Internal error: Oops: 96000004 [#1] SMP",
            "kernel BUG at mm/slub.c:305!",
            "BUG: Bad page state in process shop  pfn:12ab",
            "BUG: scheduling while atomic: shop/77/0x00000002",
        ] {
            assert_eq!(report(line)["kind"], "oops", "{line}");
        }
    }

    #[test]
    fn notices() {
        let found = report("kworker/u33:5: page allocation failure: order:7, mode:0xc04(GFP_NOIO|GFP_DMA32), nodemask=(null)");
        assert_eq!((found["kind"].as_str(), found["comm"].as_str()), (Some("page_allocation_failure"), Some("kworker/u33:5")));
        assert_eq!(report("shop: page allocation failure. order:1, mode:0x20")["comm"], "shop");
        assert_eq!(report("TCP: out of memory -- consider tuning tcp_mem")["kind"], "tcp_memory");
        assert_eq!(report("unregister_netdevice: waiting for br-1a2b to become free. Usage count = 2")["device"], "br-1a2b");
        assert_eq!(report("oom_kill_process: 12 callbacks suppressed")["count"], 12);
        assert_eq!(report("** 4833 printk messages dropped **")["count"], 4833);
    }

    #[test]
    fn programs_that_kill() {
        let found = |program, text| recognise_program(program, text).map(|problem| serde_json::to_value(problem).expect("json"));
        let dump = found("systemd-coredump", "Process 77 (my (shop)) of user 1000 dumped core.").expect("core dump");
        assert_eq!((&dump["type"], &dump["comm"], &dump["pid"]), (&json!("other"), &json!("my (shop)"), &json!(77)));
        let early = found("earlyoom", "sending SIGKILL to process 77 uid 1000 \"shop\": badness 900, VmRSS 61 MiB").expect("kill");
        assert_eq!((&early["kind"], &early["comm"]), (&json!("userspace_oom_kill"), &json!("shop")));
        let oomd = found("systemd-oomd", "Killed /user.slice/shop.scope due to memory pressure for /user.slice being 61% > 50% for > 20s")
            .expect("kill");
        assert_eq!(oomd["cgroup"], "/user.slice/shop.scope");
        let talos = r#"Sending SIGKILL to cgroup {"component": "controller-runtime", "cgroup": "/sys/fs/cgroup/kubepods/burstable/podx"}"#;
        assert_eq!(found("talos", talos).expect("kill")["cgroup"], "/kubepods/burstable/podx");
        assert_eq!(found("earlyoom", "sending SIGTERM when mem <= 10.00% and swap <= 10.00%,"), None);
        assert_eq!(found("shop", "Process 77 (shop) of user 1000 dumped core."), None);
    }

    #[test]
    fn a_unit_that_systemd_oomd_killed_is_told_once() {
        let told = |program, text| recognise_program(program, text).expect(text);
        let oomd = told("systemd-oomd", "Killed /system.slice/shop.service due to memory pressure for /system.slice being 61% > 50%");
        assert!(oomd.is_same_event(&told("systemd", "shop.service: systemd-oomd killed 2 process(es) in this unit.")));
        assert!(!oomd.is_same_event(&told("systemd", "op.service: systemd-oomd killed 2 process(es) in this unit.")));
    }
}
