//! The sum check: `/proc/vmstat` counts every process that the OOM killer takes (kernel 4.13 and
//! later). What the log and the counters do not explain of it stays open, and is said.

use crate::model::BootTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A figure is compared only when the log has had this long to tell of the same kills.
const LOG_DELAY_SECONDS: u64 = 5;

/// Kills whose time still matters: those since the last count, at 4,500 a minute for some 13 seconds.
const MAX_TIMES: usize = 1024;

/// The sum check's state.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VmstatCheck {
    explained: u64,
    times: VecDeque<(BootTime, u64)>,
    offset: Option<u64>,
    waiting: Option<(BootTime, u64)>,
    unexplained: Option<u64>,
}

impl VmstatCheck {
    /// Notes processes killed at `at` that something explains.
    pub fn explain(&mut self, at: BootTime, processes: u64) {
        if self.times.len() == MAX_TIMES
            && let Some((_, oldest)) = self.times.pop_front()
        {
            self.explained += oldest;
        }
        self.times.push_back((at, processes));
    }

    /// Notes the kernel's count.
    pub fn counted(&mut self, at: BootTime, kills: u64) {
        if self.waiting.is_none() {
            self.waiting = Some((at, kills));
        }
    }

    /// Compares a count that is old enough with what was explained up to then.
    ///
    /// At the first comparison whatever is unexplained happened before anyone looked, or its lines
    /// are overwritten: it becomes the offset, unless the log reaches back to the boot.
    pub fn settle(&mut self, now: BootTime, log_is_whole: bool) {
        let Some((at, kills)) = self.waiting.filter(|(at, _)| now.seconds_since(*at) >= LOG_DELAY_SECONDS) else { return };
        self.waiting = None;
        while let Some((_, processes)) = self.times.pop_front_if(|(time, _)| *time <= at) {
            self.explained += processes;
        }
        let open = kills.saturating_sub(self.explained);
        let offset = *self.offset.get_or_insert(if log_is_whole { 0 } else { open });
        self.unexplained = Some(open.saturating_sub(offset));
    }

    /// Processes that the kernel counted as killed and nothing explains.
    pub fn unexplained(&self) -> Option<u64> {
        self.unexplained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> BootTime {
        BootTime(second * 1_000_000)
    }

    #[test]
    fn kills_that_nothing_explains_are_told() {
        let mut check = VmstatCheck::default();
        check.explain(at(1), 3);
        check.counted(at(2), 3);
        check.settle(at(7), true);
        assert_eq!(check.unexplained(), Some(0));
        check.counted(at(10), 7);
        check.explain(at(9), 2);
        check.explain(at(11), 1);
        check.settle(at(14), true);
        assert_eq!(check.unexplained(), Some(0), "the log has its time");
        check.settle(at(15), true);
        assert_eq!(check.unexplained(), Some(2), "a kill after the count explains nothing of it");
    }

    #[test]
    fn what_happened_before_anyone_looked_is_no_alarm() {
        let mut check = VmstatCheck::default();
        check.counted(at(2), 40);
        check.settle(at(7), false);
        assert_eq!(check.unexplained(), Some(0));
        check.counted(at(10), 41);
        check.settle(at(15), false);
        assert_eq!(check.unexplained(), Some(1));
    }
}
