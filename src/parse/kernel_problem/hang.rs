//! A CPU or a task that makes no progress: hung tasks (kernel/hung_task.c), soft and hard lockups
//! (kernel/watchdog.c, arch/powerpc/kernel/watchdog.c), RCU stalls (kernel/rcu/tree_stall.h).

use super::fields::{Process, Said, after, between, fill_in, number, pid, small_number};
use crate::model::Pid;
use serde::Serialize;
use std::fmt;

/// Something hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hang {
    /// How.
    pub kind: HangKind,
    /// The name of the task that hangs or occupies the CPU.
    pub comm: Option<String>,
    /// Its id.
    pub pid: Option<Pid>,
    /// For how long already. RCU counts in jiffies, whose length the log does not say.
    pub seconds: Option<u64>,
    /// The CPU that is stuck.
    pub cpu: Option<u32>,
    /// The task that likely holds the lock which the hung task waits for (since 6.16).
    pub blocked_by_comm: Option<String>,
    /// Its id.
    pub blocked_by_pid: Option<Pid>,
}

/// How something hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HangKind {
    /// A task waits uninterruptibly, most often for a disk or a network filesystem.
    HungTask,
    /// A CPU stays in the kernel without scheduling.
    SoftLockup,
    /// A CPU does not even take interrupts.
    HardLockup,
    /// A CPU or task holds up read-copy-update.
    RcuStall,
}

impl Hang {
    fn of(kind: HangKind, process: Process, seconds: Option<u64>, cpu: Option<u32>) -> Self {
        Self { kind, comm: process.comm, pid: process.pid, seconds, cpu, blocked_by_comm: None, blocked_by_pid: None }
    }

    pub(super) fn read(prefix: &str, statement: &str) -> Option<Self> {
        Self::read_hung_task(prefix, statement)
            .or_else(|| Self::read_soft_lockup(prefix, statement))
            .or_else(|| Self::read_hard_lockup(prefix, statement))
            .or_else(|| Self::read_rcu_stall(prefix, statement))
    }

    /// `task comm:pid blocked for more than 120 seconds.`, since 6.17 also `blocked in I/O wait for more
    /// than`; and `task A:1 is blocked on a mutex likely owned by task B:2.` since 6.16.
    fn read_hung_task(prefix: &str, statement: &str) -> Option<Self> {
        let rest = statement.strip_prefix("task ").filter(|_| prefix.ends_with("INFO"))?;
        if let Some((task, lock)) = rest.split_once(" is blocked on a ").or_else(|| rest.split_once(" blocked on a ")) {
            let owner = after(lock, " by task ").and_then(|owner| Process::before_colon(owner.trim_end_matches('.')));
            let owner = owner.unwrap_or_default();
            let hung = Self::of(HangKind::HungTask, Process::before_colon(task)?, None, None);
            return Some(Self { blocked_by_comm: owner.comm, blocked_by_pid: owner.pid, ..hung });
        }
        let (task, duration) = rest.split_once(" blocked ")?;
        let seconds = after(duration, "for more than").and_then(number);
        Some(Self::of(HangKind::HungTask, Process::before_colon(task)?, seconds, None))
    }

    /// `BUG: soft lockup - CPU#1 stuck for 22s! [comm:pid]`; 2.6: `BUG: soft lockup detected on CPU#0!`.
    fn read_soft_lockup(prefix: &str, statement: &str) -> Option<Self> {
        let rest = statement.strip_prefix("soft lockup ").filter(|_| prefix.ends_with("BUG"))?;
        let cpu = after(rest, "CPU#").and_then(small_number);
        let seconds = after(rest, "stuck for").and_then(number);
        let process = after(rest, "! [").and_then(|task| Process::before_colon(task.split_once(']').map_or(task, |(task, _)| task)));
        Some(Self::of(HangKind::SoftLockup, process.unwrap_or_default(), seconds, cpu))
    }

    /// `Watchdog detected hard LOCKUP on cpu 6`; powerpc: `CPU 3 self-detected hard LOCKUP @ ..`,
    /// `CPU 3 detected hard LOCKUP on other CPUs 1`.
    fn read_hard_lockup(prefix: &str, statement: &str) -> Option<Self> {
        if let Some(cpu) = statement.strip_prefix("Watchdog detected hard LOCKUP on cpu") {
            return Some(Self::of(HangKind::HardLockup, Process::default(), None, small_number(cpu)));
        }
        let rest = statement.strip_prefix("CPU ").filter(|_| prefix.ends_with("atchdog"))?;
        let cpu = if rest.contains(" self-detected hard LOCKUP") || rest.contains(" Hard LOCKUP") {
            small_number(rest)
        } else {
            small_number(after(rest, " detected hard LOCKUP on other CPUs")?)
        };
        Some(Self::of(HangKind::HardLockup, Process::default(), None, cpu))
    }

    /// `rcu: INFO: rcu_sched self-detected stall on CPU`, `INFO: rcu_preempt detected stalls on
    /// CPUs/tasks: { 3} (detected by 1, ..)`. Since 3.19 the CPU stands on the next line.
    fn read_rcu_stall(prefix: &str, statement: &str) -> Option<Self> {
        if !prefix.ends_with("INFO") || !statement.starts_with("rcu") {
            return None;
        }
        let (_, rest) = statement
            .split_once(" self-detected stall")
            .or_else(|| statement.split_once(" detected stall"))
            .or_else(|| statement.split_once(" detected expedited stalls"))?;
        // `detected stall on CPU 3 (t=60031 jiffies)` until 3.1.
        let cpu = between(rest, "{", "}").or_else(|| after(rest, "on CPU ")).and_then(small_number);
        Some(Self::of(HangKind::RcuStall, Process::default(), None, cpu))
    }

    /// Whether a later `CPU: .. PID: .. Comm: ..` line of the same dump may say who it is.
    pub(super) fn awaits_process(&self) -> bool {
        self.kind != HangKind::HungTask && self.pid.is_none()
    }

    /// Reads a line of the dump that followed; whether it belongs to this hang.
    pub(super) fn complete(&mut self, line: &str) -> bool {
        if self.kind == HangKind::RcuStall
            && self.cpu.is_none()
            && let Some(cpu) = stalled_cpu(line)
        {
            self.cpu = Some(cpu);
            return true;
        }
        if self.kind == HangKind::RcuStall
            && let Some(process) = running_task(line)
        {
            (self.comm, self.pid) = (process.comm, process.pid);
            return true;
        }
        match Process::in_cpu_line(line) {
            Some((cpu, process)) if self.cpu.is_none_or(|own| own == cpu) => {
                (self.cpu, self.comm, self.pid) = (Some(cpu), process.comm, process.pid);
                true
            }
            _ => false,
        }
    }

    pub(super) fn is_same_event(&self, later: &Self) -> bool {
        self.kind == later.kind
            && self.comm == later.comm
            && self.pid == later.pid
            && (self.cpu == later.cpu || self.kind == HangKind::HungTask)
    }

    /// A task that still hangs is reported again with a longer time.
    pub(super) fn absorb(&mut self, later: Self) {
        self.seconds = later.seconds.or(self.seconds);
        fill_in!(self, later, cpu, blocked_by_comm, blocked_by_pid);
    }
}

/// `rcu: \t3-....: (14837 ticks this GP) ..`, `\t3-...: (1 GPs behind) ..`, `\t3: (..)`: the line of a
/// stalled CPU (`print_cpu_stall_info`).
fn stalled_cpu(line: &str) -> Option<u32> {
    let line = line.trim_start();
    let line = line.strip_prefix("rcu:").unwrap_or(line).trim_start();
    let (cpu, rest) = line.split_once(": (").or_else(|| line.split_once(":("))?;
    if !rest.contains("GP") && !rest.contains("tick") {
        return None;
    }
    let (digits, flags) = cpu.split_at(cpu.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(cpu.len()));
    (flags.is_empty() || flags.starts_with('-')).then(|| digits.parse().ok())?
}

/// `task:shop state:R  running task stack: 0 pid: 77 ppid: 1`: a stalled CPU that did not answer is shown by
/// its task (`sched_show_task`, since 5.11).
fn running_task(line: &str) -> Option<Process> {
    let (comm, state) = line.trim_start().strip_prefix("task:")?.split_once(" state:R")?;
    Some(Process { comm: Some(comm.trim().to_owned()), pid: after(state, " pid:").and_then(pid) })
}

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comm = self.comm.as_deref().unwrap_or("a task");
        let seconds = Said(" for ", &self.seconds, " seconds");
        match self.kind {
            HangKind::HungTask => {
                write!(f, "{comm}{} has been blocked{seconds}{}", Said(" (pid ", &self.pid, ")"), Said(" by ", &self.blocked_by_comm, ""))
            }
            HangKind::SoftLockup => write!(f, "CPU{} has been stuck in the kernel{seconds} with {comm}", Said(" ", &self.cpu, "")),
            HangKind::HardLockup => write!(f, "CPU{} takes no interrupts any more", Said(" ", &self.cpu, "")),
            HangKind::RcuStall => write!(f, "CPU{} holds up the whole kernel (RCU stall) with {comm}", Said(" ", &self.cpu, "")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::kernel_problem::{recognise, testing::report};

    #[test]
    fn hung_tasks() {
        let found = report("INFO: task my shop:77 blocked for more than 122 seconds.");
        assert_eq!((found["comm"].as_str(), found["pid"].as_u64(), found["seconds"].as_u64()), (Some("my shop"), Some(77), Some(122)));
        assert_eq!(report("INFO: task kworker/u8:2:77 blocked for more than 120 seconds.")["comm"], "kworker/u8:2");
        assert_eq!(report("INFO: task a:7 blocked in I/O wait for more than 120 seconds.")["seconds"], 120);
        let owned = report("INFO: task a:7 is blocked on a mutex likely owned by task b:8.");
        assert_eq!((owned["blocked_by_comm"].as_str(), owned["blocked_by_pid"].as_u64()), (Some("b"), Some(8)));
    }

    #[test]
    fn lockups_of_every_era() {
        for prefix in ["watchdog: BUG", "NMI watchdog: BUG", "BUG"] {
            let found = report(&format!("{prefix}: soft lockup - CPU#3 stuck for 22s! [migration/3:21]"));
            assert_eq!(
                (found["kind"].as_str(), found["comm"].as_str(), found["cpu"].as_u64()),
                (Some("soft_lockup"), Some("migration/3"), Some(3))
            );
        }
        assert_eq!(report("BUG: soft lockup detected on CPU#0!")["cpu"], 0);
        for line in [
            "watchdog: Watchdog detected hard LOCKUP on cpu 6",
            "NMI watchdog: Watchdog detected hard LOCKUP on cpu 6",
            "watchdog: CPU6: Watchdog detected hard LOCKUP on cpu 6",
            "watchdog: CPU 6 self-detected hard LOCKUP @ queued_spin_lock_slowpath+0x1/0x2",
            "watchdog: CPU 1 detected hard LOCKUP on other CPUs 6",
        ] {
            let found = report(line);
            assert_eq!((found["kind"].as_str(), found["cpu"].as_u64()), (Some("hard_lockup"), Some(6)), "{line}");
        }
    }

    #[test]
    fn stalls() {
        for line in [
            "rcu: INFO: rcu_sched self-detected stall on CPU",
            "INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks:",
        ] {
            assert_eq!(report(line)["kind"], "rcu_stall", "{line}");
        }
        assert_eq!(report("INFO: rcu_sched self-detected stall on CPU { 3}  (t=60000 jiffies g=1 c=0 q=1)")["cpu"], 3);
        assert_eq!(report("INFO: rcu_sched_state detected stall on CPU 5 (t=15000 jiffies)")["cpu"], 5);
        assert_eq!(stalled_cpu("rcu: \t24-....: (14837 ticks this GP) idle=521c"), Some(24));
        assert_eq!(stalled_cpu("\t3-...: (1 GPs behind) idle=1"), Some(3));
        assert_eq!(stalled_cpu("\t3: (1 GPs behind) idle=1"), Some(3));
        let task = running_task("task:shop            state:R  running task     stack:    0 pid:   77 ppid:     1 flags:0x00000008");
        assert_eq!(task, Some(Process { comm: Some("shop".into()), pid: Some(Pid(77)) }));
        assert_eq!(stalled_cpu("rcu: \t(t=15004 jiffies g=26003221 q=211022 ncpus=96)"), None);
    }

    #[test]
    fn words_without_their_prefix_are_no_hang() {
        for line in [
            "task x:1 blocked for more than 120 seconds.",
            "rcu: Hierarchical RCU implementation.",
            "rcu: RCU calculated value of scheduler-enlistment delay is 25 jiffies.",
        ] {
            assert_eq!(recognise(line), None, "{line}");
        }
    }
}
