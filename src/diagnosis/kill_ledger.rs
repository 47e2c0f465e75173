//! The second detector of OOM kills: the kill counters of cgroups, held against the kernel's log.
//!
//! On cgroup v2 the counter of the pod's cgroup covers everything below it and outlives containers.
//! On v1 a counter is not hierarchical and dies with its cgroup, so the containers' counters are
//! added up as long as they can be read. What only one detector saw is told as such.

use crate::{
    model::{BootTime, CgroupPlace, ContainerId, PodUid},
    signal::CgroupSample,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// How long a counter may wait for its line in the kernel's log: `syslog(2)` is read each second where nothing tells of news,
/// the journal writes within one.
const LOG_DELAY_SECONDS: u64 = 5;

/// How long a logged kill may wait for its counter: one slow beat of the sampler and some.
const COUNTER_DELAY_SECONDS: u64 = 30;

/// How long a kill that only a counter told may still find its line: a source that fails is tried again every few
/// seconds, and reads what it missed.
const LATE_SECONDS: u64 = 600;

/// Kills that only a counter told, remembered for that: at one a second.
const MAX_LATE: usize = 600;

/// The kernel stamps a kill and the sampler a counter at different moments of it.
const SAME_MOMENT_MICROS: u64 = 1_000_000;

/// Baselines kept: one for every cgroup of a pod or container that the inventory may hold.
const MAX_BASELINES: usize = 4096;

/// What both detectors have said about each pod and is not yet matched.
#[derive(Debug, Default)]
pub struct KillLedger {
    baselines: BTreeMap<String, Baseline>,
    open: HashMap<PodUid, Open>,
    /// Kills that were told without their line.
    told: VecDeque<CountedKill>,
}

/// A counter's value when it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Kills.
    kills: u64,
    /// Times this cgroup's own limit was reached (v2 only).
    own_limit: Option<u64>,
    /// Since when it is watched.
    since: BootTime,
    /// When it was read.
    #[serde(default)]
    read: BootTime,
}

#[derive(Debug, Default)]
struct Open {
    logged: VecDeque<Logged>,
    counted: VecDeque<CountedKill>,
}

#[derive(Debug)]
struct Logged {
    at: BootTime,
    lines: u64,
}

/// Kills that a counter told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedKill {
    /// The pod.
    pub pod: PodUid,
    /// The container, where its own counter told.
    pub container: Option<ContainerId>,
    /// When the counter was read.
    pub at: BootTime,
    /// When it was read before, or as long ago as a slow beat of the sampler: the kills were since then.
    pub after: BootTime,
    /// How many processes.
    pub kills: u64,
    /// Whether the limit of this very cgroup was reached; `None` where the kernel does not say.
    pub own_limit: Option<bool>,
    /// The counter's new value: the position from which the finding's id is derived.
    pub position: String,
}

/// What a logged kill settled.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// How many of its processes a counter had already told.
    pub both: u64,
    /// Kills that were told because their line did not come: it is this one.
    pub late: Vec<CountedKill>,
}

/// What the passing of time settled.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Kills that only the log told.
    pub only_log: u64,
    /// Kills that only a counter told.
    pub only_counter: Vec<CountedKill>,
}

impl KillLedger {
    /// Takes up the baselines of an earlier run of the same boot.
    pub fn restore(baselines: BTreeMap<String, Baseline>) -> Self {
        Self { baselines, ..Self::default() }
    }

    /// The baselines, to be kept over a restart.
    pub fn baselines(&self) -> &BTreeMap<String, Baseline> {
        &self.baselines
    }

    /// Notes a kill of the kernel's log.
    pub fn logged(&mut self, pod: &PodUid, at: BootTime, lines: u64) -> Matched {
        let (late, lines) = self.told_before_its_line(pod, at, lines);
        if lines == 0 {
            return Matched { both: 0, late };
        }
        let open = self.open.entry(pod.clone()).or_default();
        open.logged.push_back(Logged { at, lines });
        Matched { both: open.settle(), late }
    }

    /// The told kills that a line read late is about, and how many of its processes are left.
    fn told_before_its_line(&mut self, pod: &PodUid, at: BootTime, mut lines: u64) -> (Vec<CountedKill>, u64) {
        let is_it = |counted: &&mut CountedKill| {
            let from = counted.after.0.saturating_sub(SAME_MOMENT_MICROS);
            counted.pod == *pod && (from..=counted.at.0.saturating_add(SAME_MOMENT_MICROS)).contains(&at.0)
        };
        let mut late = Vec::new();
        for counted in self.told.iter_mut().filter(is_it) {
            let both = lines.min(counted.kills);
            lines -= both;
            counted.kills -= both;
            late.extend((both > 0).then(|| counted.clone()));
        }
        (late, lines)
    }

    /// Reads the counters of a sample; returns how many kills both detectors have now told.
    ///
    /// The first reading of a cgroup that existed before the agent is a baseline. One that appeared
    /// later starts from zero.
    pub fn counted(&mut self, place: &CgroupPlace, sample: &CgroupSample, at: BootTime, started: BootTime) -> u64 {
        let Some((pod, container)) = counter_owner(place, sample) else { return 0 };
        let Some(kills) = kills(place, sample) else { return 0 };
        let own_limit = sample.counters.local.filter(|_| sample.counters.events.is_some()).and_then(|local| local.oom);
        let before = self.baseline(&sample.path, kills, at, started);
        let (risen, from) = if kills >= before.kills { (kills - before.kills, before) } else { (kills, Baseline { kills: 0, ..before }) };
        self.baselines.insert(sample.path.clone(), Baseline { kills, own_limit, since: from.since, read: at });
        if risen == 0 {
            return 0;
        }
        let own_limit = own_limit.map(|now| now > from.own_limit.unwrap_or_default());
        let position = format!("{}:{kills}", sample.path);
        let after = before.read.max(BootTime(at.0.saturating_sub(COUNTER_DELAY_SECONDS * 1_000_000)));
        let open = self.open.entry(pod.clone()).or_default();
        let (pod, container) = (pod.clone(), container.cloned());
        open.counted.push_back(CountedKill { pod, container, at, after, kills: risen, own_limit, position });
        open.settle()
    }

    /// Whether kills are counted that the log has not told yet.
    pub fn awaits_log(&self) -> bool {
        self.open.values().any(|open| !open.counted.is_empty())
    }

    /// A pod whose counter rose around `at` without a line of its own: the owner of a kill that the
    /// log does not place, if there is exactly one.
    pub fn owner_of_unplaced(&self, at: BootTime) -> Option<&CountedKill> {
        let near = |counted: &&CountedKill| counted.at.0.abs_diff(at.0) <= COUNTER_DELAY_SECONDS * 1_000_000;
        let mut waiting = self.open.values().flat_map(|open| &open.counted).filter(near);
        let only = waiting.next()?;
        waiting.next().is_none().then_some(only)
    }

    /// Forgets a cgroup.
    pub fn gone(&mut self, path: &str) {
        self.baselines.remove(path);
    }

    /// Gives up waiting where the other detector had its time.
    pub fn settle(&mut self, now: BootTime) -> Settled {
        let mut settled = Settled::default();
        for (pod, open) in &mut self.open {
            while open.counted.front().is_some_and(|counted| now.seconds_since(counted.at) >= LOG_DELAY_SECONDS) {
                settled.only_counter.extend(open.counted.pop_front());
            }
            while let Some(logged) = open.logged.pop_front_if(|logged| now.seconds_since(logged.at) >= COUNTER_DELAY_SECONDS) {
                let watched =
                    self.baselines.iter().any(|(path, baseline)| baseline.since <= logged.at && CgroupPlace::of(path).pod() == Some(pod));
                settled.only_log += if watched { logged.lines } else { 0 };
            }
        }
        self.open.retain(|_, open| !(open.logged.is_empty() && open.counted.is_empty()));
        self.told.extend(settled.only_counter.iter().cloned());
        self.told.retain(|counted| counted.kills > 0 && now.seconds_since(counted.at) < LATE_SECONDS);
        self.told.drain(..self.told.len().saturating_sub(MAX_LATE));
        settled
    }

    fn baseline(&mut self, path: &str, kills: u64, at: BootTime, started: BootTime) -> Baseline {
        /// The first sweep over what existed at the start takes no longer than this.
        const FIRST_SWEEP_SECONDS: u64 = 10;
        if let Some(known) = self.baselines.get(path) {
            return *known;
        }
        if self.baselines.len() >= MAX_BASELINES {
            self.baselines.pop_first();
        }
        let existed = at.seconds_since(started) < FIRST_SWEEP_SECONDS;
        Baseline { kills: if existed { kills } else { 0 }, own_limit: None, since: at, read: BootTime(0) }
    }
}

impl Open {
    /// Pairs kills that both told; returns how many.
    fn settle(&mut self) -> u64 {
        let mut paired = 0;
        while let (Some(logged), Some(counted)) = (self.logged.front_mut(), self.counted.front_mut()) {
            let both = logged.lines.min(counted.kills);
            logged.lines -= both;
            counted.kills -= both;
            paired += both;
            if logged.lines == 0 {
                self.logged.pop_front();
            }
            if self.counted.front().is_some_and(|counted| counted.kills == 0) {
                self.counted.pop_front();
            }
        }
        paired
    }
}

/// Whose counter a sample is: on v2 the pod's, on v1 the container's own or the pod's own.
fn counter_owner<'a>(place: &'a CgroupPlace, sample: &CgroupSample) -> Option<(&'a PodUid, Option<&'a ContainerId>)> {
    let hierarchical = sample.counters.events.is_some();
    match place {
        CgroupPlace::Pod { pod } => Some((pod, None)),
        CgroupPlace::Container { pod, container, inside: None } if !hierarchical => Some((pod, Some(container))),
        _ => None,
    }
}

fn kills(place: &CgroupPlace, sample: &CgroupSample) -> Option<u64> {
    let whole = matches!(place, CgroupPlace::Pod { .. }).then_some(sample.counters.events).flatten();
    whole.or(sample.counters.local)?.oom_kill
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::{CgroupCounters, MemoryEvents};

    const POD: &str = "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555";
    const START: BootTime = BootTime(0);

    fn at(second: u64) -> BootTime {
        BootTime(second * 1_000_000)
    }

    fn pod() -> PodUid {
        PodUid::parse("11111111-2222-3333-4444-555555555555").expect("uid")
    }

    fn v2(kills: u64, own_limit: u64) -> CgroupSample {
        let events = MemoryEvents { oom_kill: Some(kills), oom: Some(own_limit), ..MemoryEvents::default() };
        let counters = CgroupCounters { events: Some(events), local: Some(events), failcnt: None };
        CgroupSample { path: POD.into(), counters, ..CgroupSample::default() }
    }

    fn read(ledger: &mut KillLedger, second: u64, kills: u64) -> u64 {
        ledger.counted(&CgroupPlace::of(POD), &v2(kills, kills), at(second), START)
    }

    #[test]
    fn a_kill_that_both_told_is_settled_in_either_order() {
        let mut ledger = KillLedger::default();
        assert_eq!(read(&mut ledger, 1, 3), 0, "what was there before is a baseline");
        assert_eq!(ledger.logged(&pod(), at(20), 1).both, 0);
        assert_eq!(read(&mut ledger, 21, 4), 1);
        assert_eq!(read(&mut ledger, 30, 6), 0);
        assert_eq!(ledger.logged(&pod(), at(29), 2).both, 2);
        assert_eq!(ledger.settle(at(100)), Settled::default());
    }

    #[test]
    fn what_only_a_counter_told_is_a_kill_too() {
        let mut ledger = KillLedger::default();
        read(&mut ledger, 1, 0);
        read(&mut ledger, 20, 2);
        assert_eq!(ledger.settle(at(24)), Settled::default(), "the log has its time");
        let settled = ledger.settle(at(25));
        assert_eq!(settled.only_counter.iter().map(|kill| (kill.kills, kill.own_limit)).collect::<Vec<_>>(), [(2, Some(true))]);
    }

    #[test]
    fn what_only_the_log_told_is_counted_where_a_counter_was_watched() {
        let mut ledger = KillLedger::default();
        ledger.logged(&pod(), at(5), 1);
        assert_eq!(ledger.settle(at(40)).only_log, 0, "no counter was watched");
        read(&mut ledger, 41, 0);
        ledger.logged(&pod(), at(50), 1);
        assert_eq!(ledger.settle(at(80)).only_log, 1);
    }

    #[test]
    fn a_new_cgroup_counts_from_zero_and_a_replaced_one_again() {
        let mut ledger = KillLedger::default();
        assert_eq!(ledger.logged(&pod(), at(60), 1).both, 0);
        assert_eq!(read(&mut ledger, 61, 1), 1);
        read(&mut ledger, 62, 5);
        ledger.settle(at(200));
        ledger.logged(&pod(), at(201), 1);
        assert_eq!(read(&mut ledger, 202, 1), 1, "the counter went backwards: another cgroup with the same path");
    }

    #[test]
    fn an_unplaced_kill_belongs_to_the_only_pod_whose_counter_rose() {
        let mut ledger = KillLedger::default();
        assert_eq!(ledger.owner_of_unplaced(at(20)), None);
        read(&mut ledger, 1, 0);
        read(&mut ledger, 20, 1);
        assert_eq!(ledger.owner_of_unplaced(at(21)).map(|kill| &kill.pod), Some(&pod()));
        let other = POD.replace("11111111", "22222222");
        let sample = CgroupSample { path: other.clone(), ..v2(1, 0) };
        ledger.counted(&CgroupPlace::of(&other), &sample, at(22), START);
        assert_eq!(ledger.owner_of_unplaced(at(21)), None, "two candidates are none");
    }

    #[test]
    fn a_line_that_comes_late_is_that_of_a_told_kill_of_its_time() {
        let mut ledger = KillLedger::default();
        read(&mut ledger, 1, 0);
        read(&mut ledger, 10, 0);
        read(&mut ledger, 20, 2);
        assert_eq!(ledger.settle(at(25)).only_counter.len(), 1);
        assert_eq!(ledger.logged(&pod(), at(5), 1), Matched::default(), "before the counter stood where it stood");
        let positions = |matched: Matched| matched.late.into_iter().map(|counted| counted.position).collect::<Vec<_>>();
        assert_eq!(positions(ledger.logged(&pod(), at(19), 1)), [format!("{POD}:2")]);
        assert_eq!(positions(ledger.logged(&pod(), at(19), 2)), [format!("{POD}:2")], "one of these two was not counted");
        assert_eq!(ledger.settle(at(60)).only_log, 2, "that one, and the one before");
    }
}
