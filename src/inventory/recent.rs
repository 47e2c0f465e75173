//! The last minutes of figures that only rise, such as the time that tasks have waited.

use crate::model::BootTime;
use std::collections::VecDeque;

/// Readings older than this are dropped, but for the one that the others are compared with. Longer
/// than any explanation looks back.
const KEEP_SECONDS: u64 = 300;

/// Readings closer together replace each other, so that a burst of them does not push out the minutes before.
const APART_SECONDS: u64 = 10;

/// What [`KEEP_SECONDS`] at [`APART_SECONDS`] need, with the newest and the one before them all. At
/// 48 bytes each and mostly four of them, 250 containers take some 50 kB, under fire 400 kB.
const READINGS: usize = (KEEP_SECONDS / APART_SECONDS) as usize + 2;

/// How old the newest reading may be to speak for a moment: two of the sampler's quiet beats.
const FRESH_SECONDS: u64 = 30;

/// The readings of one set of figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Recent<T> {
    readings: VecDeque<(BootTime, T)>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { readings: VecDeque::new() }
    }
}

/// The readings at both ends of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch<T> {
    /// At its beginning.
    pub from: T,
    /// At its end.
    pub to: T,
    /// How long it is, in microseconds; never zero.
    pub micros: u64,
}

impl<T: Copy> Recent<T> {
    /// Adds a reading; one that is not later than the newest is ignored.
    pub fn add(&mut self, at: BootTime, figures: T) {
        if self.readings.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        let mut newest = self.readings.iter().rev().map(|(then, _)| *then);
        if let (Some(last), Some(before)) = (newest.next(), newest.next())
            && last.seconds_since(before) < APART_SECONDS
        {
            self.readings.pop_back();
        }
        let is_old = |reading: Option<&(BootTime, T)>| reading.is_some_and(|(then, _)| at.seconds_since(*then) > KEEP_SECONDS);
        while self.readings.len() >= READINGS || is_old(self.readings.get(1)) {
            self.readings.pop_front();
        }
        self.readings.push_back((at, figures));
    }

    /// The newest figures.
    pub fn latest(&self) -> Option<T> {
        self.readings.back().map(|(_, figures)| *figures)
    }

    /// About the `seconds` before `until`: from the last reading before them, or the first one there
    /// is. `None` where nothing was read shortly before `until`, or only once.
    pub fn stretch(&self, until: BootTime, seconds: u64) -> Option<Stretch<T>> {
        let mut before = self.readings.iter().rev().skip_while(|(at, _)| *at > until);
        let (end, to) = before.next().filter(|(at, _)| until.seconds_since(*at) <= FRESH_SECONDS)?;
        let mut from = None;
        for reading in before {
            from = Some(reading);
            if until.seconds_since(reading.0) >= seconds {
                break;
            }
        }
        let (start, from) = from?;
        Some(Stretch { from: *from, to: *to, micros: end.micros_since(*start).max(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime(seconds * 1_000_000)
    }

    fn read(seconds: impl IntoIterator<Item = u64>) -> Recent<u64> {
        let mut recent = Recent::default();
        seconds.into_iter().for_each(|second| recent.add(at(second), second));
        recent
    }

    #[test]
    fn a_stretch_begins_before_the_time_that_is_asked_for() {
        let recent = read([0, 15, 30, 45, 60]);
        assert_eq!(recent.stretch(at(61), 40), Some(Stretch { from: 15, to: 60, micros: 45_000_000 }));
        assert_eq!(recent.stretch(at(61), 4000).map(|stretch| stretch.from), Some(0), "as far as it was seen");
        assert_eq!(recent.stretch(at(50), 30), Some(Stretch { from: 15, to: 45, micros: 30_000_000 }), "nothing after the moment");
    }

    #[test]
    fn what_was_not_read_lately_is_not_known() {
        assert_eq!(read([0, 15]).stretch(at(100), 60), None);
        assert_eq!(read([15]).stretch(at(20), 60), None, "one reading is no stretch");
        assert_eq!(read([]).stretch(at(20), 60), None);
    }

    #[test]
    fn a_burst_of_readings_does_not_push_out_the_minutes_before() {
        let mut recent = read((0..100).map(|step| step * 15));
        for millis in 0..5000 {
            recent.add(BootTime(1_500_000_000 + millis * 1000), 1500);
        }
        let stretch = recent.stretch(at(1505), 300).expect("a stretch");
        assert!(stretch.from <= 1205 && stretch.to == 1500, "{stretch:?}");
        assert!(recent.readings.len() <= READINGS);
    }

    #[test]
    fn what_is_older_than_the_minutes_before_is_dropped() {
        let recent = read((0..1000).map(|step| step * 120));
        assert!(recent.readings.len() <= 4, "{}", recent.readings.len());
        assert_eq!(recent.latest(), Some(999 * 120));
    }
}
