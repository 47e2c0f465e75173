//! Amounts of memory and disk.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A number of bytes.
///
/// `Display` prints it for people with a binary unit: `32 MiB`, `1.5 GiB`, `68 KiB`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// From the kernel log's and `/proc`'s `kB`, which are units of 1024 bytes.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1024))
    }

    /// From a count of memory pages.
    pub const fn from_pages(pages: u64, page_size: u64) -> Self {
        Self(pages.saturating_mul(page_size))
    }

    /// Whole KiB, rounded down.
    pub const fn kib(self) -> u64 {
        self.0 / 1024
    }

    /// The difference, zero when `other` is larger.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum, capped at the largest value.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// This amount as a share of `whole`, in per cent, rounded down; `None` when `whole` is zero.
    pub fn percent_of(self, whole: Self) -> Option<u64> {
        let share = u128::from(self.0) * 100 / u128::from((whole.0 > 0).then_some(whole.0)?);
        u64::try_from(share).ok()
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let Some((size, unit)) = UNITS.iter().find(|(size, _)| self.0 >= *size) else {
            return write!(f, "{} B", self.0);
        };
        let whole = self.0 / size;
        let tenths = (self.0 % size) * 10 / size;
        if whole >= 100 || tenths == 0 { write!(f, "{whole} {unit}") } else { write!(f, "{whole}.{tenths} {unit}") }
    }
}

/// A memory or pids limit as a cgroup states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// At most this much.
    Bytes(Bytes),
    /// `max` (cgroup v2), or on v1 a number at or above the largest page-aligned `i64`.
    Unlimited,
}

impl Limit {
    /// cgroup v1 has no word for "no limit": it shows `PAGE_COUNTER_MAX` in bytes, which is
    /// `LONG_MAX` rounded down to a page, 4 KiB to 64 KiB below 2^63 (mm/page_counter.c, any version).
    pub fn from_v1(bytes: u64) -> Self {
        const SMALLEST_UNLIMITED: u64 = (1 << 63) - (64 << 10);
        if bytes >= SMALLEST_UNLIMITED { Self::Unlimited } else { Self::Bytes(Bytes(bytes)) }
    }

    /// The number, if there is one.
    pub fn bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Unlimited => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_like_a_person_writes_them() {
        let shown = |bytes| Bytes(bytes).to_string();
        assert_eq!(shown(0), "0 B");
        assert_eq!(shown(1023), "1023 B");
        assert_eq!(shown(32 << 20), "32 MiB");
        assert_eq!(shown(3 << 29), "1.5 GiB");
        assert_eq!(shown((256 << 20) + (1 << 19)), "256 MiB");
    }

    #[test]
    fn v1_shows_no_limit_as_a_huge_number() {
        assert_eq!(Limit::from_v1(9_223_372_036_854_771_712), Limit::Unlimited);
        assert_eq!(Limit::from_v1(32 << 20), Limit::Bytes(Bytes(32 << 20)));
    }

    #[test]
    fn a_share_of_nothing_is_unknown() {
        assert_eq!(Bytes(5).percent_of(Bytes(0)), None);
        assert_eq!(Bytes(95).percent_of(Bytes(100)), Some(95));
    }
}
