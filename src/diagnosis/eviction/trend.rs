//! How fast something runs out.
//!
//! Flows in: what was left at moments. Flows out: the change per second. The median of the slopes
//! between all pairs of readings (Theil and Sen): up to a quarter of them may be anything, so that
//! an image that is pulled for half a minute is no trend.

use crate::model::BootTime;
use std::collections::VecDeque;

/// Readings kept: five minutes at the kubelet's beat of ten seconds.
const READINGS: usize = 30;

/// Readings older than this say nothing about now.
const WINDOW_SECONDS: u64 = 330;

/// A trend has lasted at least so long.
const LEAST_SECONDS: u64 = 120;

/// How something moves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trend {
    readings: VecDeque<(BootTime, u64)>,
}

impl Trend {
    /// Takes in a reading.
    pub fn add(&mut self, at: BootTime, left: u64) {
        self.readings.retain(|(then, _)| at.seconds_since(*then) <= WINDOW_SECONDS && *then < at);
        if self.readings.len() == READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back((at, left));
    }

    /// How much is lost in a second; `None` while it does not fall or is not followed for long enough.
    pub fn falls_per_second(&self) -> Option<f64> {
        let (first, last) = (self.readings.front()?.0, self.readings.back()?.0);
        if last.seconds_since(first) < LEAST_SECONDS {
            return None;
        }
        let mut slopes: Vec<f64> = self.pairs().collect();
        slopes.sort_by(f64::total_cmp);
        let median = *slopes.get(slopes.len() / 2)?;
        (median > 0.0).then_some(median)
    }

    /// The seconds until so much is left, at the present rate; zero when it is so already.
    pub fn seconds_until(&self, threshold: u64) -> Option<u64> {
        let (_, left) = self.readings.back()?;
        if *left <= threshold {
            return Some(0);
        }
        let seconds = as_float(left.saturating_sub(threshold)) / self.falls_per_second()?;
        /// Beyond it "at the present rate" has no meaning: 30 days.
        const FURTHEST: f64 = 2_592_000.0;
        (seconds <= FURTHEST).then(|| format!("{seconds:.0}").parse().ok())?
    }

    fn pairs(&self) -> impl Iterator<Item = f64> {
        let readings = &self.readings;
        readings.iter().enumerate().flat_map(move |(n, (then, before))| {
            readings.iter().skip(n + 1).map(move |(now, after)| {
                let seconds = as_float(now.micros_since(*then).max(1)) / 1e6;
                (as_float(*before) - as_float(*after)) / seconds
            })
        })
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate needs no more than the 15 digits of a float")]
fn as_float(amount: u64) -> f64 {
    amount as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trend(left: impl IntoIterator<Item = u64>) -> Trend {
        let mut trend = Trend::default();
        for (n, left) in (0u64..).zip(left) {
            trend.add(BootTime(n * 10_000_000), left);
        }
        trend
    }

    #[test]
    fn a_steady_loss_is_told_with_its_end() {
        let steady = trend((0..20).map(|n| 10_000 - n * 100));
        assert_eq!(steady.falls_per_second(), Some(10.0));
        assert_eq!(steady.seconds_until(7_100), Some(100));
        assert_eq!(steady.seconds_until(9_000), Some(0), "already");
    }

    #[test]
    fn a_burst_is_no_trend_and_nor_is_a_minute() {
        let burst = trend((0..30).map(|n| if n < 27 { 10_000 } else { 10_000 - (n - 26) * 2_000 }));
        assert_eq!(burst.falls_per_second(), None);
        assert_eq!(trend([9, 8, 7, 6, 5]).falls_per_second(), None);
        assert_eq!(trend((0..30).map(|n| 100 + n)).falls_per_second(), None, "it grows");
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut trend = trend((0..20).map(|n| 10_000 - n * 100));
        trend.add(BootTime(10_000_000_000), 5);
        assert_eq!(trend.falls_per_second(), None);
        assert_eq!(trend.readings.len(), 1);
    }

    proptest! {
        #[test]
        fn any_readings_are_survived_and_bounded(readings in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..60), threshold: u64) {
            let mut trend = Trend::default();
            for (at, left) in readings {
                trend.add(BootTime(at), left);
                let _ = trend.seconds_until(threshold);
                prop_assert!(trend.readings.len() <= READINGS);
            }
        }
    }
}
