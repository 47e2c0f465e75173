//! How often probes have failed, over the last minutes, as the kubelet counts.

use crate::{
    model::{BootTime, PodUid},
    signal::{CountedProbe, ProbeCounts},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Probes followed: a liveness and a startup probe of every container that the inventory remembers.
const MAX_PROBES: usize = 4096;

/// Changes of one count remembered: a container that fails again and again changes it at each reading.
const MAX_CHANGES: usize = 16;

/// Readings remembered, so far apart; the newest is always one of them. Ten minutes: longer than the
/// time between two readings that nobody asked for.
const MAX_READINGS: usize = 60;
const APART_SECONDS: u64 = 10;

type Key = (PodUid, String, CountedProbe);

/// The counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct ProbeHistory {
    readings: VecDeque<BootTime>,
    series: BTreeMap<Key, Changes>,
}

/// The counts in a form that JSON has: its objects have only texts as keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    readings: VecDeque<BootTime>,
    series: Vec<(Key, Changes)>,
}

impl From<Kept> for ProbeHistory {
    fn from(kept: Kept) -> Self {
        Self { readings: kept.readings, series: kept.series.into_iter().collect() }
    }
}

impl From<ProbeHistory> for Kept {
    fn from(history: ProbeHistory) -> Self {
        Self { readings: history.readings, series: history.series.into_iter().collect() }
    }
}

/// How much a count rose between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rise {
    /// The reading before.
    pub from: BootTime,
    /// Failed tries since.
    pub failed: u64,
}

/// One count, each value at the reading that first showed it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Changes {
    changes: VecDeque<(BootTime, u64)>,
    /// Whether earlier ones were dropped.
    cut: bool,
}

impl ProbeHistory {
    /// Takes in a reading, which is complete: a probe that is not in it has not failed yet, or is gone.
    pub fn add(&mut self, at: BootTime, read: &ProbeCounts) {
        let mut present = BTreeSet::new();
        for count in read.counts.iter().take(MAX_PROBES) {
            let key = (count.pod.clone(), count.container.clone(), count.probe);
            self.series.entry(key.clone()).or_default().note(at, count.failed);
            present.insert(key);
        }
        self.series.retain(|key, _| present.contains(key));
        let too_close = self.readings.iter().rev().nth(1).is_some_and(|before| at.seconds_since(*before) < APART_SECONDS);
        if too_close || self.readings.len() >= MAX_READINGS {
            if too_close {
                self.readings.pop_back()
            } else {
                self.readings.pop_front()
            };
        }
        self.readings.push_back(at);
    }

    /// How much a probe's count rose from the newest reading at or before `after`, else from the
    /// oldest, to the first one at or behind `until`; `None` where there are not two such readings.
    pub fn rise(&self, pod: &PodUid, container: &str, probe: CountedProbe, after: BootTime, until: BootTime) -> Option<Rise> {
        let to = *self.readings.iter().find(|reading| **reading >= until)?;
        let before = self.readings.iter().rev().find(|reading| **reading <= after).or(self.readings.front());
        let from = *before.filter(|from| **from < until)?;
        let series = self.series.get(&(pod.clone(), container.to_owned(), probe));
        Some(Rise { from, failed: series.map_or(0, |series| series.rise(from, to)) })
    }
}

impl Changes {
    fn note(&mut self, at: BootTime, failed: u64) {
        if self.changes.back().is_some_and(|(_, known)| *known == failed) {
            return;
        }
        if self.changes.len() == MAX_CHANGES {
            self.changes.pop_front();
            self.cut = true;
        }
        self.changes.push_back((at, failed));
    }

    /// A count that falls was begun anew by another kubelet.
    fn rise(&self, from: BootTime, to: BootTime) -> u64 {
        // What was dropped is not counted: it may have been before.
        let oldest = self.changes.front().filter(|_| self.cut).map_or(0, |(_, failed)| *failed);
        let at_from = self.changes.iter().rev().find(|(at, _)| *at <= from).map_or(oldest, |(_, failed)| *failed);
        let later = self.changes.iter().filter(|(at, _)| *at > from && *at <= to);
        let (_, rise) = later.fold((at_from, 0), |(before, rise): (u64, u64), (_, failed)| {
            (*failed, rise.saturating_add(failed.checked_sub(before).unwrap_or(*failed)))
        });
        rise
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::ProbeCount;

    fn uid() -> PodUid {
        PodUid::parse("7145627f-44a7-433c-a896-a8c81a4df533").expect("uid")
    }

    fn second(seconds: u64) -> BootTime {
        BootTime(seconds * 1_000_000)
    }

    fn read(history: &mut ProbeHistory, at: u64, failed: Option<u64>) {
        let count = |failed| ProbeCount { pod: uid(), container: "app".into(), probe: CountedProbe::Liveness, failed };
        history.add(second(at), &ProbeCounts { counts: failed.map(count).into_iter().collect() });
    }

    fn rise(history: &ProbeHistory, after: u64, until: u64) -> Option<(u64, u64)> {
        let rise = history.rise(&uid(), "app", CountedProbe::Liveness, second(after), second(until))?;
        Some((rise.from.0 / 1_000_000, rise.failed))
    }

    #[test]
    fn a_rise_lies_between_a_reading_before_and_one_after() {
        let mut history = ProbeHistory::default();
        assert_eq!(rise(&history, 0, 1), None, "nothing was read");
        read(&mut history, 100, None);
        assert_eq!(rise(&history, 50, 150), None, "nothing was read behind the end");
        read(&mut history, 400, Some(2));
        read(&mut history, 460, Some(5));
        assert_eq!(rise(&history, 405, 455), Some((400, 3)));
        assert_eq!(rise(&history, 399, 455), Some((100, 5)), "a probe that was not told had not failed");
        assert_eq!(rise(&history, 50, 390), Some((100, 2)), "the oldest reading is better than none");
        assert_eq!(rise(&history, 0, 90), None, "and none is before the end");
    }

    #[test]
    fn what_was_counted_before_the_first_reading_is_no_rise() {
        let mut history = ProbeHistory::default();
        read(&mut history, 100, Some(57));
        read(&mut history, 200, Some(57));
        assert_eq!(rise(&history, 100, 150), Some((100, 0)));
    }

    #[test]
    fn another_kubelet_counts_from_zero() {
        let mut history = ProbeHistory::default();
        read(&mut history, 100, Some(57));
        read(&mut history, 200, Some(3));
        assert_eq!(rise(&history, 100, 150), Some((100, 3)));
    }

    #[test]
    fn many_readings_in_a_row_keep_the_ones_before() {
        let mut history = ProbeHistory::default();
        read(&mut history, 0, None);
        for at in 300..900 {
            read(&mut history, at, Some(at));
        }
        assert!(history.readings.len() <= MAX_READINGS);
        assert_eq!(history.readings.back(), Some(&second(899)));
        assert!(rise(&history, 860, 899).is_some_and(|(from, failed)| from >= 850 && failed <= 49 && failed > 0));
    }
}
