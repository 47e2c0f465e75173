//! Messages of several lines: the line that names a problem, and the lines that follow and say whom it hit.
//!
//! Flows in: every kernel message in order. Flows out: problems, as soon as nothing more can be said about
//! them. What waits is bounded in number, in lines and in time.

use super::{Hang, HangKind, HardwareKind, HardwareProblem, KernelProblem, OtherKind, OtherProblem, recognise};
use crate::model::BootTime;
use crate::parse::oom::Position;
use std::collections::VecDeque;

/// More dumps than this are never open at the same time; the oldest goes out as it is.
const MOST_OPEN: usize = 8;
/// The header of a dump with its list of modules is shorter than this.
const MOST_LINES: u64 = 64;
/// A dump is printed in one go; a line that comes later belongs to something else.
const MOST_SECONDS: u64 = 2;

/// A problem with the place of its first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Where it began.
    pub at: Position,
    /// What happened.
    pub problem: KernelProblem,
}

/// A problem that waits for further lines.
#[derive(Debug)]
struct Open {
    reported: Reported,
    /// How many lines had been read when it began.
    since: u64,
}

/// Puts the lines of a problem together.
#[derive(Debug, Default)]
pub struct KernelProblemReader {
    lines: u64,
    open: VecDeque<Open>,
}

impl KernelProblemReader {
    /// A reader at the beginning of a log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next kernel message; returns what is known now, in the order of the first lines.
    pub fn push(&mut self, at: Position, text: &str) -> Vec<Reported> {
        self.lines += 1;
        let mut ready = self.overdue(at.boot);
        if self.continue_open(text, &mut ready) {
            return ready;
        }
        let Some(problem) = recognise(text) else { return ready };
        if let Some(hang) = hang_of_panic(&problem) {
            ready.push(Reported { at, problem: hang });
        }
        let Some(problem) = self.merge(problem) else { return ready };
        let reported = Reported { at, problem };
        if awaits_more(&reported.problem) {
            self.open.push_back(Open { reported, since: self.lines });
        } else {
            ready.push(reported);
        }
        if self.open.len() > MOST_OPEN {
            ready.extend(self.open.pop_front().map(|open| open.reported));
        }
        ready
    }

    /// Gives out what has waited for its further lines for too long. For a log that has fallen silent.
    pub fn expire(&mut self, now: BootTime) -> Vec<Reported> {
        self.overdue(Some(now))
    }

    /// Gives out everything: the log is at its end.
    pub fn flush(&mut self) -> Vec<Reported> {
        self.open.drain(..).map(|open| open.reported).collect()
    }

    /// Where the oldest problem that waits for more lines began: a restart must read from there.
    pub fn open_since(&self) -> Option<Position> {
        self.open.iter().map(|open| open.reported.at).min()
    }

    fn overdue(&mut self, now: Option<BootTime>) -> Vec<Reported> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let lines = self.lines;
        let is_overdue = |open: &Open| {
            let waited = open.reported.at.boot.zip(now).map_or(0, |(at, now)| now.seconds_since(at));
            waited > MOST_SECONDS || lines.saturating_sub(open.since) > MOST_LINES
        };
        let (overdue, open): (VecDeque<_>, _) = self.open.drain(..).partition(is_overdue);
        self.open = open;
        overdue.into_iter().map(|open| open.reported).collect()
    }

    /// Whether the line belongs to an open problem and says nothing else.
    fn continue_open(&mut self, text: &str, ready: &mut Vec<Reported>) -> bool {
        let Some(index) = self.open.iter_mut().position(|open| continues(&mut open.reported.problem, text)) else { return false };
        let is_complete = self.open.get(index).is_some_and(|open| !awaits_more(&open.reported.problem));
        if is_complete {
            ready.extend(self.open.remove(index).map(|open| open.reported));
        }
        true
    }

    /// Adds a message to the open problem that it completes; returns it if there is none.
    fn merge(&mut self, problem: KernelProblem) -> Option<KernelProblem> {
        let Some(open) = self.open.iter_mut().find(|open| completes(&open.reported.problem, &problem)) else { return Some(problem) };
        open.reported.problem.absorb(problem);
        None
    }
}

/// Whether lines that tell more about it may follow.
fn awaits_more(problem: &KernelProblem) -> bool {
    match problem {
        KernelProblem::Hang(hang) => hang.awaits_process(),
        KernelProblem::Hardware(hardware) => match hardware.kind {
            HardwareKind::Mce => hardware.bank.is_none(),
            HardwareKind::GhesCorrected | HardwareKind::GhesUncorrected => hardware.device.is_none(),
            _ => false,
        },
        KernelProblem::Other(other) => other.kind == OtherKind::Oops && other.pid.is_none(),
        _ => false,
    }
}

/// Lets an open problem read a line that is no message of its own.
fn continues(problem: &mut KernelProblem, text: &str) -> bool {
    match problem {
        KernelProblem::Hang(hang) => hang.complete(text),
        KernelProblem::Hardware(hardware) if matches!(hardware.kind, HardwareKind::GhesCorrected | HardwareKind::GhesUncorrected) => {
            hardware.complete_ghes(text)
        }
        KernelProblem::Other(other) if other.kind == OtherKind::Oops => other.complete(text),
        _ => false,
    }
}

/// Whether a message of its own is the rest of an open one.
fn completes(open: &KernelProblem, later: &KernelProblem) -> bool {
    match (open, later) {
        (
            KernelProblem::Hardware(HardwareProblem { kind: HardwareKind::Mce, .. }),
            KernelProblem::Hardware(HardwareProblem { kind: HardwareKind::Mce, .. }),
        )
        | (
            KernelProblem::Other(OtherProblem { kind: OtherKind::Oops, .. }),
            KernelProblem::Other(OtherProblem { kind: OtherKind::Oops, .. }),
        ) => open.is_same_event(later),
        _ => false,
    }
}

/// RHEL's kernels report a hard lockup only as the reason of the panic that it causes.
fn hang_of_panic(problem: &KernelProblem) -> Option<KernelProblem> {
    let KernelProblem::Other(OtherProblem { kind: OtherKind::KernelPanic, message: Some(reason), .. }) = problem else { return None };
    let hang = recognise(reason)?;
    matches!(hang, KernelProblem::Hang(Hang { kind: HangKind::HardLockup, .. })).then_some(hang)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn unstamped(record: u64) -> Position {
        Position { record, boot: None }
    }

    /// Everything a log says, with the lines' numbers.
    fn read(lines: &[&str]) -> Vec<(u64, Value)> {
        let mut reader = KernelProblemReader::new();
        let mut found: Vec<Reported> = (1..).zip(lines).flat_map(|(number, line)| reader.push(unstamped(number), line)).collect();
        found.extend(reader.flush());
        found.into_iter().map(|reported| (reported.at.record, serde_json::to_value(reported.problem).expect("json"))).collect()
    }

    fn process(value: &Value) -> (&Value, &Value, &Value) {
        (&value["cpu"], &value["comm"], &value["pid"])
    }

    #[test]
    fn a_stall_learns_its_cpu_and_task() {
        let found = read(&[
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "rcu: \t3-....: (1 GPs behind) idle=1/1/0x4 softirq=1/1 fqs=5",
            "rcu: \t(detected by 1, t=60002 jiffies, g=1, q=2 ncpus=4)",
            "Sending NMI from CPU 1 to CPUs 3:",
            "CPU: 1 PID: 5 Comm: other Not tainted 6.12.0 #1",
            "CPU: 3 UID: 0 PID: 77 Comm: shop Tainted: G    L 6.12.0 #1",
            "CPU: 3 UID: 0 PID: 78 Comm: late Not tainted 6.12.0 #1",
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!(process(&found[0].1), (&json!(3), &json!("shop"), &json!(77)));
    }

    #[test]
    fn a_complete_lockup_does_not_wait() {
        let mut reader = KernelProblemReader::new();
        assert_eq!(reader.push(unstamped(1), "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [shop:77]").len(), 1);
        assert_eq!(reader.flush(), []);
    }

    #[test]
    fn a_hard_lockup_learns_its_task() {
        let found = read(&["watchdog: Watchdog detected hard LOCKUP on cpu 3", "CPU: 3 PID: 77 Comm: shop Not tainted 6.1.0 #1"]);
        assert_eq!(process(&found[0].1), (&json!(3), &json!("shop"), &json!(77)));
    }

    #[test]
    fn a_panic_that_is_a_hard_lockup() {
        let found = read(&["Kernel panic - not syncing: Watchdog detected hard LOCKUP on cpu 3"]);
        assert_eq!(found.iter().map(|(_, value)| value["kind"].clone()).collect::<Vec<_>>(), [json!("hard_lockup"), json!("kernel_panic")]);
    }

    #[test]
    fn a_machine_check_learns_its_bank() {
        let found =
            read(&["mce: [Hardware Error]: Machine check events logged", "mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 9: 8c00"]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, &found[0].1["bank"], &found[0].1["cpu"]), (1, &json!(9), &json!(3)));
    }

    #[test]
    fn an_uncorrected_machine_check_is_none_of_the_corrected_ones_before_it() {
        let found = read(&[
            "mce: [Hardware Error]: Machine check events logged",
            "mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 9: 8c00004000010091",
            "mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 9: ac00004000010091",
        ]);
        let statuses: Vec<_> = found.iter().map(|(_, value)| value["status"].clone()).collect();
        assert_eq!(statuses.len(), 2, "{statuses:?}");
        assert!(statuses.contains(&json!("ac00004000010091")), "{statuses:?}");
    }

    #[test]
    fn a_firmware_record_is_one_event() {
        let found = read(&[
            "{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 1",
            "{1}[Hardware Error]: It has been corrected by h/w and requires no further action",
            "{1}[Hardware Error]: event severity: corrected",
            "{1}[Hardware Error]:   device_id: 0000:00:1d.0",
            "{1}[Hardware Error]:   class_code: 060400",
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1["device"], "0000:00:1d.0");
    }

    #[test]
    fn the_lines_of_an_oops_are_one_event() {
        let found = read(&[
            "BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "#PF: supervisor read access in kernel mode",
            "Oops: 0000 [#1] PREEMPT SMP NOPTI",
            "CPU: 3 PID: 77 Comm: shop Not tainted 6.1.0 #1",
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].1["comm"], &found[0].1["pid"]), (&json!("shop"), &json!(77)));
    }

    #[test]
    fn what_waits_expires_by_time_and_by_lines() {
        let mut reader = KernelProblemReader::new();
        let at = BootTime(1_000_000);
        assert_eq!(reader.push(Position { record: 1, boot: Some(at) }, "rcu: INFO: rcu_sched self-detected stall on CPU"), []);
        assert_eq!(reader.expire(at.plus_seconds(1)), []);
        assert_eq!(reader.expire(at.plus_seconds(9)).len(), 1);
        assert_eq!(reader.push(unstamped(2), "rcu: INFO: rcu_sched self-detected stall on CPU"), []);
        let given: usize = (0..100).map(|_| reader.push(unstamped(3), "random: crng init done").len()).sum();
        assert_eq!(given, 1);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut reader = KernelProblemReader::new();
        let given: usize = (0..1000).map(|_| reader.push(unstamped(2), "rcu: INFO: rcu_sched self-detected stall on CPU").len()).sum();
        assert_eq!(given + reader.flush().len(), 1000);
    }

    proptest! {
        #[test]
        fn no_lines_make_it_panic(lines in proptest::collection::vec(any::<String>(), 0..20)) {
            let mut reader = KernelProblemReader::new();
            for line in &lines {
                let _ = reader.push(Position { record: 1, boot: Some(BootTime(5)) }, line);
            }
            let _ = reader.flush();
        }
    }
}
