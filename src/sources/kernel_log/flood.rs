//! Letting records gather while they come in a flood.
//!
//! A record that comes alone is read at once. In a flood, to wake for each record costs several times
//! what reading it costs, so the reader waits a moment and then reads what has gathered.

use std::time::{Duration, Instant};

/// The rate is judged over this long.
const WINDOW: Duration = Duration::from_millis(100);

/// So many records in a window are a flood: a thousand a second. An OOM dump of a node with few
/// processes is some 40 records, and none of them shall wait.
const FLOOD: u32 = 100;

/// How long records gather. A kill in a flood is told so much later; and the smallest ring in use
/// (128 KiB, some 1,300 records) is not overrun meanwhile by less than 300,000 records a second.
pub(super) const GATHER: Duration = Duration::from_millis(4);

/// The rate of records, window by window.
#[derive(Debug)]
pub(super) struct Flood {
    since: Instant,
    records: u32,
    is_on: bool,
}

impl Flood {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, records: 0, is_on: false }
    }

    /// Counts a record.
    pub(super) fn record(&mut self) {
        self.records = self.records.saturating_add(1);
    }

    /// Whether records should gather before the next are read.
    pub(super) fn is_on(&mut self, now: Instant) -> bool {
        let passed = now.duration_since(self.since);
        if passed >= WINDOW {
            // What came before a long silence is over.
            *self = Self { since: now, records: 0, is_on: self.records >= FLOOD && passed < 2 * WINDOW };
        }
        self.is_on || self.records >= FLOOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records so many microseconds apart, asked about after each; whether each should wait.
    fn waits(start: Instant, apart: u64, records: u64) -> Vec<bool> {
        let mut flood = Flood::new(start);
        let ask = |record: u64| {
            flood.record();
            flood.is_on(start + Duration::from_micros(record * apart))
        };
        (0..records).map(ask).collect()
    }

    #[test]
    fn a_flood_gathers_from_its_hundredth_record_on_without_pause() {
        let waits = waits(Instant::now(), 150, 10_000);
        assert_eq!(waits.iter().position(|waits| *waits), Some(99));
        assert!(waits.iter().skip(99).all(|waits| *waits));
    }

    #[test]
    fn a_dump_and_a_busy_log_do_not_wait() {
        assert!(waits(Instant::now(), 20, 60).iter().all(|waits| !waits));
        assert!(waits(Instant::now(), 2_000, 5_000).iter().all(|waits| !waits), "500 a second");
    }

    #[test]
    fn what_follows_a_flood_does_not_wait() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        (0..5000).for_each(|_| flood.record());
        assert!(flood.is_on(start + Duration::from_millis(50)));
        assert!(!flood.is_on(start + Duration::from_secs(5)));
    }
}
