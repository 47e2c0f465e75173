//! How a container's memory moved before it died.

use crate::model::{BootTime, Bytes};
use std::{collections::VecDeque, fmt};

/// Readings kept for each container: at the slow beat of 15 s a quarter of an hour, near the limit
/// the last minute or so. At 16 bytes each, 250 containers take 256 kB.
const READINGS: usize = 64;

/// A rise that happened for at least this share, in per cent, in one step is a jump, not growth.
const JUMP_SHARE: u64 = 70;

/// Movement below this share of the final amount, in per cent, is not worth telling.
const FLAT_SHARE: u64 = 5;

/// The memory charge of one container over its last readings.
#[derive(Debug, Clone, Default)]
pub struct MemoryHistory {
    readings: VecDeque<(BootTime, Bytes)>,
}

/// How the charge moved up to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// It rose over several readings.
    Grew {
        /// Average rise in a second.
        per_second: Bytes,
        /// For how many seconds.
        seconds: u64,
        /// From this charge.
        from: Bytes,
    },
    /// It rose at once between two readings.
    Jumped {
        /// By how much.
        by: Bytes,
        /// Milliseconds between the two readings.
        within_ms: u64,
    },
    /// It had been about as high all the time.
    Steady {
        /// For how many seconds.
        seconds: u64,
    },
}

impl MemoryHistory {
    /// Adds a reading; one that is older than the latest is ignored.
    pub fn add(&mut self, at: BootTime, charge: Bytes) {
        if self.readings.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        if self.readings.len() == READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back((at, charge));
    }

    /// The charge at the latest reading not after `until`.
    pub fn latest(&self, until: BootTime) -> Option<Bytes> {
        self.readings.iter().rev().find(|(at, _)| *at <= until).map(|(_, charge)| *charge)
    }

    /// How the charge came to be `charge` at the moment `until`; `None` with fewer than two points.
    pub fn growth(&self, until: BootTime, charge: Bytes) -> Option<Growth> {
        let mut points: Vec<_> = self.readings.iter().copied().filter(|(at, _)| *at < until).collect();
        // A cgroup that nothing had moved into yet held nothing, which is no beginning of growth.
        let begun = points.iter().position(|(_, held)| held.0 > 0).unwrap_or_default();
        points.drain(..begun);
        points.push((until, charge));
        let rise = rising_tail(&points);
        let (&(start, from), &(before_at, before)) = (rise.first()?, rise.get(rise.len().checked_sub(2)?)?);
        let risen = charge.saturating_sub(from);
        if risen.percent_of(charge)? < FLAT_SHARE {
            let steady = points.iter().rev().take_while(|(_, other)| near(*other, charge)).last()?;
            let seconds = until.seconds_since(steady.0);
            return (seconds > 0).then_some(Growth::Steady { seconds });
        }
        let last_step = charge.saturating_sub(before);
        if last_step.percent_of(risen)? >= JUMP_SHARE {
            return Some(Growth::Jumped { by: last_step, within_ms: until.micros_since(before_at) / 1000 });
        }
        let micros = until.micros_since(start).max(1);
        let per_second = u128::from(risen.0) * 1_000_000 / u128::from(micros);
        Some(Growth::Grew { per_second: Bytes(u64::try_from(per_second).ok()?), seconds: micros.div_ceil(1_000_000), from })
    }
}

/// The longest tail of the points in which the charge never falls by more than noise.
fn rising_tail(points: &[(BootTime, Bytes)]) -> &[(BootTime, Bytes)] {
    let falls = |pair: &[(BootTime, Bytes)]| matches!(pair, [(_, a), (_, b)] if a.0 > b.0 && !near(*b, *a));
    let start = points.windows(2).rposition(falls).map_or(0, |fall| fall + 1);
    points.get(start..).unwrap_or_default()
}

fn near(amount: Bytes, other: Bytes) -> bool {
    Bytes(amount.0.abs_diff(other.0)).percent_of(other).is_some_and(|share| share < FLAT_SHARE)
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grew { per_second, seconds, from } => write!(f, "grew {per_second}/s for {seconds} s, from {from}"),
            Self::Jumped { by, within_ms } => write!(f, "jumped {by} in one sample ({within_ms} ms)"),
            Self::Steady { seconds } => write!(f, "had been that high for {seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn history(charges: &[(u64, u64)]) -> MemoryHistory {
        let mut history = MemoryHistory::default();
        for (second, mib) in charges {
            history.add(BootTime(second * 1_000_000), Bytes(mib * MIB));
        }
        history
    }

    fn told(charges: &[(u64, u64)], at: u64, mib: u64) -> Option<String> {
        history(charges).growth(BootTime(at * 1_000_000), Bytes(mib * MIB)).map(|growth| growth.to_string())
    }

    #[test]
    fn steady_growth_has_a_rate_and_a_duration() {
        assert_eq!(told(&[(0, 20), (10, 140), (20, 260), (30, 380)], 40, 500).as_deref(), Some("grew 12 MiB/s for 40 s, from 20 MiB"));
    }

    #[test]
    fn growth_is_told_from_the_last_fall_on() {
        assert_eq!(told(&[(0, 400), (10, 40), (20, 160), (30, 280)], 40, 400).as_deref(), Some("grew 12 MiB/s for 30 s, from 40 MiB"));
    }

    #[test]
    fn one_big_step_is_a_jump() {
        assert_eq!(told(&[(0, 20), (10, 21), (20, 20)], 22, 320).as_deref(), Some("jumped 300 MiB in one sample (2000 ms)"));
    }

    #[test]
    fn a_charge_at_the_limit_all_along_is_steady() {
        assert_eq!(told(&[(0, 99), (10, 100), (20, 99)], 30, 100).as_deref(), Some("had been that high for 30 s"));
    }

    #[test]
    fn without_an_earlier_reading_nothing_is_told() {
        assert_eq!(told(&[], 30, 100), None);
        assert_eq!(told(&[(40, 10)], 30, 100), None);
    }

    #[test]
    fn an_empty_cgroup_is_no_beginning() {
        assert_eq!(told(&[(0, 0), (10, 140), (20, 260), (30, 380)], 40, 500).as_deref(), Some("grew 12 MiB/s for 30 s, from 140 MiB"));
    }

    #[test]
    fn the_ring_is_bounded_and_ordered() {
        let mut history = MemoryHistory::default();
        for second in 0..1000 {
            history.add(BootTime(second), Bytes(second));
            history.add(BootTime(0), Bytes(7));
        }
        assert_eq!(history.readings.len(), READINGS);
        assert_eq!(history.latest(BootTime(990)), Some(Bytes(990)));
    }
}
