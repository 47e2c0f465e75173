//! When something happened. Time is data: it arrives with the signals, nothing in the core reads a clock.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Time since boot, not counting suspend, in microseconds: the kernel log's own clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootTime(pub u64);

impl BootTime {
    /// Microseconds from `earlier` to this, zero if it is not earlier.
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds from `earlier` to this, zero if it is not earlier.
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        self.micros_since(earlier) / 1_000_000
    }

    /// This moment moved by whole seconds into the future.
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }
}

/// A length of time in its two largest units: `45 s`, `12 min 3 s`, `3 h 20 min`, `2 d 4 h`.
pub fn in_words(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let Some(first) = UNITS.iter().position(|(size, _)| seconds >= *size) else { return "0 s".into() };
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, unit) in UNITS.iter().skip(first).take(2) {
        if rest >= *size {
            parts.push(format!("{} {unit}", rest / size));
        }
        rest %= size;
    }
    parts.join(" ")
}

/// One boot of the machine: `/proc/sys/kernel/random/boot_id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The same instant on both clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// On the kernel log's clock.
    pub boot: BootTime,
    /// On the wall clock.
    pub wall: Timestamp,
}

impl Moment {
    /// The moment of an earlier (or slightly later) kernel record, carried over to the wall clock
    /// by its distance from this moment. Right as long as nobody sets the clock in between.
    pub fn at_boot_time(self, boot: BootTime) -> Self {
        let micros = i64::try_from(boot.0).unwrap_or(i64::MAX) - i64::try_from(self.boot.0).unwrap_or(i64::MAX);
        let wall = self.wall.checked_add(jiff::SignedDuration::from_micros(micros)).unwrap_or(self.wall);
        Self { boot, wall }
    }

    /// The moment of something known on the wall clock, carried over to the boot clock.
    pub fn at_wall_time(self, wall: Timestamp) -> Self {
        let micros = wall.duration_since(self.wall).as_micros();
        let boot = i128::from(self.boot.0).saturating_add(micros).clamp(0, i128::from(u64::MAX));
        Self { boot: BootTime(u64::try_from(boot).unwrap_or(self.boot.0)), wall }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_two_units_at_most() {
        let shown: Vec<_> = [0, 45, 60, 723, 12_000, 187_261].into_iter().map(in_words).collect();
        assert_eq!(shown, ["0 s", "45 s", "1 min", "12 min 3 s", "3 h 20 min", "2 d 4 h"]);
    }

    #[test]
    fn a_kernel_record_keeps_its_distance_on_the_wall_clock() {
        let read = Moment { boot: BootTime(10_000_000), wall: "2026-01-01T00:00:10Z".parse().expect("time") };
        let record = read.at_boot_time(BootTime(3_500_000));
        assert_eq!(record.wall.to_string(), "2026-01-01T00:00:03.5Z");
        assert_eq!(read.at_wall_time(record.wall), record);
    }
}
