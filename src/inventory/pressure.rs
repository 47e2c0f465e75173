//! How long tasks waited for what they needed: on the node, in a pod, under a CPU limit.

use super::recent::Recent;
use crate::{
    model::{BootTime, Resource},
    signal::{CpuThrottling, Pressure},
};

/// The pressure of a node or a pod over the last minutes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PressureHistory {
    cpu: Recent<Pressure>,
    io: Recent<Pressure>,
    memory: Recent<Pressure>,
}

/// For how long tasks waited for a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled {
    /// For what.
    pub resource: Resource,
    /// Microseconds in which some task waited.
    pub some_us: u64,
    /// Microseconds in which all tasks that had work waited at once; `None` where that is not accounted.
    pub full_us: Option<u64>,
    /// Of so many microseconds.
    pub of_us: u64,
}

impl PressureHistory {
    /// Adds a reading; `None` is a reading that was not made.
    pub fn add(&mut self, at: BootTime, resource: Resource, pressure: Option<Pressure>) {
        if let Some(pressure) = pressure {
            self.of_mut(resource).add(at, pressure);
        }
    }

    /// The newest reading.
    pub fn latest(&self, resource: Resource) -> Option<Pressure> {
        self.of(resource).latest()
    }

    /// How long tasks waited in about the `seconds` before `until`; `None` where that is not known.
    pub fn stalled(&self, resource: Resource, until: BootTime, seconds: u64) -> Option<Stalled> {
        let stretch = self.of(resource).stretch(until, seconds)?;
        let full = stretch.to.full_total_us.zip(stretch.from.full_total_us);
        Some(Stalled {
            resource,
            some_us: stretch.to.some_total_us.saturating_sub(stretch.from.some_total_us),
            full_us: full.map(|(to, from)| to.saturating_sub(from)),
            of_us: stretch.micros,
        })
    }

    fn of(&self, resource: Resource) -> &Recent<Pressure> {
        match resource {
            Resource::Cpu => &self.cpu,
            Resource::Io => &self.io,
            Resource::Memory => &self.memory,
        }
    }

    fn of_mut(&mut self, resource: Resource) -> &mut Recent<Pressure> {
        match resource {
            Resource::Cpu => &mut self.cpu,
            Resource::Io => &mut self.io,
            Resource::Memory => &mut self.memory,
        }
    }
}

impl Stalled {
    /// The share of the time in which some task waited, in per cent.
    pub fn some_percent(self) -> u64 {
        percent(self.some_us, self.of_us)
    }

    /// The share of the time in which all tasks waited at once, in per cent.
    pub fn full_percent(self) -> u64 {
        percent(self.full_us.unwrap_or(0), self.of_us)
    }
}

/// How a CPU limit held a container back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// Microseconds for which it was held back, summed over the CPUs.
    pub held_us: u64,
    /// Of so many microseconds.
    pub of_us: u64,
    /// Scheduling periods in which it was held back.
    pub held_periods: u64,
    /// Scheduling periods in which it wanted to run.
    pub periods: u64,
}

impl Throttled {
    /// The share of its periods in which it was held back, in per cent.
    pub fn periods_percent(self) -> u64 {
        percent(self.held_periods, self.periods)
    }

    /// The time for which it was held back, in per cent of what passed.
    pub fn time_percent(self) -> u64 {
        percent(self.held_us, self.of_us)
    }
}

/// How a CPU limit held a container back in about the `seconds` before `until`.
pub(super) fn throttled(readings: &Recent<CpuThrottling>, until: BootTime, seconds: u64) -> Option<Throttled> {
    let stretch = readings.stretch(until, seconds)?;
    let (from, to) = (stretch.from, stretch.to);
    Some(Throttled {
        held_us: to.throttled_us.saturating_sub(from.throttled_us),
        of_us: stretch.micros,
        held_periods: to.throttled_periods.saturating_sub(from.throttled_periods),
        periods: to.periods.saturating_sub(from.periods),
    })
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime(seconds * 1_000_000)
    }

    #[test]
    fn what_waited_is_the_rise_of_the_total() {
        let mut history = PressureHistory::default();
        let total = |some_total_us, full_total_us| Some(Pressure { some_avg10: 0.0, some_total_us, full_total_us });
        history.add(at(10), Resource::Io, total(5_000_000, Some(1_000_000)));
        history.add(at(70), Resource::Io, total(35_000_000, Some(7_000_000)));
        history.add(at(71), Resource::Io, None);
        let stalled = history.stalled(Resource::Io, at(72), 60).expect("known");
        assert_eq!((stalled.some_percent(), stalled.full_percent()), (50, 10));
        assert_eq!(history.stalled(Resource::Cpu, at(72), 60), None, "never read");
    }

    #[test]
    fn a_kernel_that_does_not_account_all_tasks_says_nothing_of_them() {
        let mut history = PressureHistory::default();
        for second in [10, 20] {
            history.add(at(second), Resource::Cpu, Some(Pressure { some_total_us: second * 1_000_000, ..Pressure::default() }));
        }
        let stalled = history.stalled(Resource::Cpu, at(21), 60).expect("known");
        assert_eq!((stalled.full_us, stalled.full_percent(), stalled.some_percent()), (None, 0, 100));
    }
}
