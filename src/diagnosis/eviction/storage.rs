//! What pods have on the disks, over time, and which of them grew.
//!
//! Flows in: measurements. Flows out: the pod that took the space. The kubelet evicts in an order of
//! its own, by priority and by use over request: who goes first need not be who filled the disk.

use crate::{
    model::{BootTime, FilesystemRole, PodUid},
    signal::{DiskUse, PodStorage, PodStorageSample},
};
use std::collections::{BTreeMap, VecDeque};

/// Measurements kept of each pod: the oldest is what growth is held against.
const MEASUREMENTS: usize = 4;

/// The latest measurement is replaced until it is so much younger than the one before it: beside a
/// burst of measurements, an old one is kept.
const APART_SECONDS: u64 = 60;

/// A pod that was not measured for this long is gone; long enough to explain what it left.
const KEEP_SECONDS: u64 = 5400;

/// The most pods followed, each some 600 bytes: more than a node runs in that time.
pub const MAX_PODS: usize = 1024;

/// Growth below this explains nothing: a log that is written.
const LEAST_BYTES: u64 = 1 << 20;
/// And this for inodes.
const LEAST_INODES: u64 = 1000;

/// Which of the figures of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Bytes.
    Bytes,
    /// Files and directories.
    Inodes,
}

/// Which of a pod's files: those on one of the filesystems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Logs and `emptyDir`s, which are the kubelet's.
    Nodefs,
    /// Writable layers, which are the runtime's.
    Layers,
    /// All: both are on one filesystem, or it is not known which of the two ran out.
    Both,
}

impl Part {
    /// What pods have on a filesystem that plays these roles.
    pub fn on(roles: &[FilesystemRole]) -> Option<Self> {
        match (roles.contains(&FilesystemRole::Nodefs), roles.contains(&FilesystemRole::Containerfs)) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Nodefs),
            (false, true) => Some(Self::Layers),
            (false, false) => None,
        }
    }
}

/// The pod that took the most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grower {
    /// The pod.
    pub pod: PodUid,
    /// By how much it grew, or what it has where nothing earlier is known.
    pub amount: u64,
    /// Of which measure.
    pub measure: Measure,
    /// Since when, in seconds; `None` where only its size is known.
    pub within_seconds: Option<u64>,
    /// Where most of it is, in words.
    pub place: &'static str,
    /// Whether it has at least this much: not everything could be looked at.
    pub at_least: bool,
}

/// Measurements of every pod.
#[derive(Debug, Clone, Default)]
pub struct StorageHistory {
    pods: BTreeMap<PodUid, VecDeque<(BootTime, PodStorage)>>,
    /// The first measurement that left no pod out: a pod that appears later began with nothing.
    first: Option<BootTime>,
}

impl StorageHistory {
    /// Takes in a measurement.
    pub fn add(&mut self, at: BootTime, sample: &PodStorageSample) {
        for pod in &sample.pods {
            self.add_pod(at, pod);
        }
        if sample.left_out == 0 {
            self.first.get_or_insert(at);
        }
        self.pods.retain(|_, known| known.back().is_some_and(|(then, _)| at.seconds_since(*then) <= KEEP_SECONDS));
    }

    /// The pods that were in the latest measurement of all, with what they have.
    pub fn latest(&self) -> impl Iterator<Item = (&PodUid, &PodStorage)> {
        const OF_ONE_MEASUREMENT_SECONDS: u64 = 60;
        let newest = self.pods.values().filter_map(|known| known.back()).map(|(at, _)| *at).max().unwrap_or_default();
        let current = move |at: BootTime| newest.seconds_since(at) <= OF_ONE_MEASUREMENT_SECONDS;
        self.pods.iter().filter_map(move |(uid, known)| known.back().filter(|(at, _)| current(*at)).map(|(_, storage)| (uid, storage)))
    }

    /// Whether anything was ever measured.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// How many pods are followed.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// The pod whose files grew by at least half of what all pods' files grew; without anything
    /// earlier to compare with, the pod that has at least half of what all pods have and a quarter
    /// of the filesystem.
    pub fn grower(&self, measure: Measure, part: Part, capacity: Option<u64>) -> Option<Grower> {
        let least = match measure {
            Measure::Bytes => LEAST_BYTES,
            Measure::Inodes => LEAST_INODES,
        };
        let growth = self.pods.iter().filter_map(|(uid, known)| self.growth(uid, known, measure, part));
        if let Some(grower) = leader(growth).filter(|grower| grower.amount >= least) {
            return Some(grower);
        }
        let sizes = self.pods.iter().filter_map(|(uid, known)| known.back().map(|(_, latest)| sized(uid, latest, measure, part)));
        let quarter = capacity.map_or(u64::MAX, |capacity| capacity / 4);
        leader(sizes).filter(|largest| largest.amount >= least.max(quarter))
    }

    fn growth(&self, uid: &PodUid, known: &VecDeque<(BootTime, PodStorage)>, measure: Measure, part: Part) -> Option<Grower> {
        let ((then, before), (now, after)) = (known.front()?, known.back()?);
        let is_new = self.first.is_some_and(|first| *then > first);
        let before_ = if is_new { DiskUse::default() } else { of_part(before, part) };
        if then == now && !is_new {
            return None;
        }
        let since = if is_new { self.first.unwrap_or(*then) } else { *then };
        let grown = of_part(after, part).since(before_);
        Some(Grower {
            amount: of_measure(grown, measure),
            within_seconds: Some(now.seconds_since(since)),
            ..sized(uid, after, measure, part)
        })
    }

    fn add_pod(&mut self, at: BootTime, pod: &PodStorage) {
        if !self.pods.contains_key(&pod.uid) && self.pods.len() >= MAX_PODS {
            let oldest = self.pods.iter().min_by_key(|(_, known)| known.back().map(|(at, _)| *at)).map(|(uid, _)| uid.clone());
            oldest.and_then(|uid| self.pods.remove(&uid));
        }
        let known = self.pods.entry(pod.uid.clone()).or_default();
        if known.back().is_some_and(|(last, before)| at.seconds_since(*last) < APART_SECONDS && is_being_removed(before, pod)) {
            return;
        }
        let before = known.len().checked_sub(2).and_then(|n| known.get(n)).map(|(then, _)| *then);
        let crowded = before.is_some_and(|before| known.back().is_some_and(|(last, _)| last.seconds_since(before) < APART_SECONDS));
        if crowded {
            known.pop_back();
        }
        if known.len() == MEASUREMENTS {
            known.pop_front();
        }
        known.push_back((at, pod.clone()));
    }
}

/// A pod that was put out is removed file by file: what is left of it meanwhile says nothing about what it took.
fn is_being_removed(before: &PodStorage, now: &PodStorage) -> bool {
    let (before, now) = (before.total(), now.total());
    now.bytes.0 < before.bytes.0 / 2 || now.inodes < before.inodes / 2
}

/// The one that has at least half of everybody's.
fn leader(all: impl Iterator<Item = Grower>) -> Option<Grower> {
    let (mut sum, mut largest) = (0u64, None::<Grower>);
    for one in all {
        sum = sum.saturating_add(one.amount);
        if largest.as_ref().is_none_or(|largest| one.amount > largest.amount) {
            largest = Some(one);
        }
    }
    largest.filter(|largest| largest.amount > 0 && largest.amount >= sum / 2)
}

fn sized(uid: &PodUid, storage: &PodStorage, measure: Measure, part: Part) -> Grower {
    let places = [("its logs", storage.logs), ("its emptyDir volumes", storage.empty_dirs), ("its containers' own files", storage.layers)];
    let place = places.into_iter().max_by_key(|(_, disk)| of_measure(*disk, measure)).map_or("", |(place, _)| place);
    Grower {
        pod: uid.clone(),
        amount: of_measure(of_part(storage, part), measure),
        measure,
        within_seconds: None,
        place,
        at_least: storage.cut || storage.unreadable > 0,
    }
}

const fn of_part(storage: &PodStorage, part: Part) -> DiskUse {
    match part {
        Part::Nodefs => storage.logs.plus(storage.empty_dirs),
        Part::Layers => storage.layers,
        Part::Both => storage.total(),
    }
}

const fn of_measure(disk: DiskUse, measure: Measure) -> u64 {
    match measure {
        Measure::Bytes => disk.bytes.0,
        Measure::Inodes => disk.inodes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Bytes;
    use proptest::prelude::*;

    fn uid(n: u8) -> PodUid {
        PodUid::parse(&format!("{n:08x}-44a7-433c-a896-a8c81a4df533")).expect("uid")
    }

    fn pod(n: u8, mib: u64, inodes: u64) -> PodStorage {
        let empty_dirs = DiskUse { bytes: Bytes(mib << 20), inodes };
        PodStorage { uid: uid(n), logs: DiskUse::default(), empty_dirs, layers: DiskUse::default(), unreadable: 0, cut: false }
    }

    fn history(samples: &[(u64, Vec<PodStorage>)]) -> StorageHistory {
        let mut history = StorageHistory::default();
        for (seconds, pods) in samples {
            history.add(BootTime(seconds * 1_000_000), &PodStorageSample { pods: pods.clone(), left_out: 0 });
        }
        history
    }

    #[test]
    fn who_grew_is_named_and_not_who_is_large() {
        let history = history(&[(0, vec![pod(1, 900, 5), pod(2, 10, 5)]), (100, vec![pod(1, 901, 5), pod(2, 300, 9000)])]);
        let grower = history.grower(Measure::Bytes, Part::Nodefs, Some(1 << 30)).expect("named");
        assert_eq!((grower.pod, grower.amount, grower.within_seconds), (uid(2), 290 << 20, Some(100)));
        assert_eq!(grower.place, "its emptyDir volumes");
        assert_eq!(history.grower(Measure::Inodes, Part::Both, None).expect("named").pod, uid(2));
        assert_eq!(history.grower(Measure::Bytes, Part::Layers, Some(1 << 30)), None, "nothing grew there");
    }

    #[test]
    fn a_pod_that_came_later_began_with_nothing() {
        let history = history(&[(0, vec![pod(1, 900, 5)]), (100, vec![pod(1, 900, 5), pod(2, 300, 5)])]);
        let grower = history.grower(Measure::Bytes, Part::Both, None).expect("named");
        assert_eq!((grower.pod, grower.amount, grower.within_seconds), (uid(2), 300 << 20, Some(100)));
    }

    #[test]
    fn without_anything_earlier_only_a_giant_is_named() {
        let history = history(&[(0, vec![pod(1, 900, 5), pod(2, 10, 5)])]);
        let largest = history.grower(Measure::Bytes, Part::Both, Some(2 << 30)).expect("named");
        assert_eq!((largest.pod, largest.within_seconds), (uid(1), None));
        assert_eq!(history.grower(Measure::Bytes, Part::Both, Some(100 << 30)), None);
    }

    #[test]
    fn what_is_left_of_a_pod_that_is_being_removed_hides_nothing() {
        let samples =
            [(0, vec![pod(1, 900, 5)]), (100, vec![pod(1, 900, 5), pod(2, 300, 9000)]), (103, vec![pod(1, 900, 5), pod(2, 20, 7)])];
        let grower = history(&samples).grower(Measure::Bytes, Part::Both, None).expect("named");
        assert_eq!((grower.pod, grower.amount), (uid(2), 300 << 20));
    }

    #[test]
    fn a_burst_of_measurements_keeps_an_old_one() {
        let mut samples = vec![(0, vec![pod(1, 1, 1)])];
        samples.extend((1..40).map(|n| (1000 + n * 5, vec![pod(1, 10 + n, 1)])));
        let history = history(&samples);
        let grower = history.grower(Measure::Bytes, Part::Both, None).expect("named");
        assert_eq!(grower.within_seconds, Some(1195), "still held against the first");
    }

    proptest! {
        #[test]
        fn any_measurements_are_survived(samples in proptest::collection::vec((0..9000u64, 0..40u8, any::<u32>(), any::<u64>()), 0..80)) {
            let mut history = StorageHistory::default();
            for (at, n, mib, left_out) in samples {
                history.add(BootTime(at * 1_000_000), &PodStorageSample { pods: vec![pod(n, mib.into(), 1)], left_out });
                let _ = history.grower(Measure::Bytes, Part::Both, Some(1));
                prop_assert!(history.len() <= MAX_PODS && history.latest().count() <= history.len());
            }
        }
    }
}
