//! Ends of container instances, each noticed exactly once.
//!
//! Flows in: pod records, in whatever order and completeness the watch gives them. Flows out: one
//! [`Termination`] for each attempt that ended, and counts of those whose details were never seen.
//!
//! The state is one number for each container: the highest attempt whose end is accounted for (the
//! high-water mark). Kubernetes numbers a container's attempts from 0 in `restartCount`, which is
//! the number of the *newest* instance; one terminated record at most is kept beside it. So
//! duplicates, relists, gaps and restarts of the agent change nothing, and a gap longer than one
//! life loses details but never the count.

use crate::signal::{ContainerKind, ContainerRecord, ContainerState, PodRecord, TerminatedState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most containers followed: those of all the pods that the inventory remembers.
pub const MAX_SLOTS: usize = 4096;

/// One container of one pod, across its lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Slot {
    /// The pod: for a static pod the hash of its manifest, which survives its mirror.
    pub pod: String,
    /// Which list of the spec. Init containers and sidecars share one, so their names never clash.
    pub list: SlotList,
    /// The container's name.
    pub container: String,
}

/// The status list in which a container is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlotList {
    /// `initContainerStatuses`.
    Init,
    /// `containerStatuses`.
    App,
    /// `ephemeralContainerStatuses`.
    Ephemeral,
}

impl SlotList {
    /// The list in which a kind of container is told.
    pub const fn of(kind: ContainerKind) -> Self {
        match kind {
            ContainerKind::Init | ContainerKind::Sidecar => Self::Init,
            ContainerKind::App => Self::App,
            ContainerKind::Ephemeral => Self::Ephemeral,
        }
    }
}

/// What is accounted for of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The highest attempt whose end is accounted for; -1 before the first end.
    ended: i64,
    /// The newest instance's id.
    id: Option<String>,
    /// The latest time that its statuses have named: tells a counter that was reset from a status
    /// that is merely late.
    latest: Option<Timestamp>,
}

/// One container instance's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Termination {
    /// Which container.
    pub slot: Slot,
    /// Which list of the spec.
    pub kind: ContainerKind,
    /// Its attempt number.
    pub attempt: u32,
    /// How it ended.
    pub state: TerminatedState,
    /// Whether it ended before the agent looked: it is explained, but not counted.
    pub earlier: bool,
    /// Ends just before this one that no record describes: the kubelet tells only the latest status,
    /// and the first restart follows at once.
    pub unobserved_before: u64,
}

/// What one look at a pod brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Ends with their details, oldest first.
    pub terminations: Vec<Termination>,
    /// Ends that the attempt number proves and no record describes.
    pub unobserved: u64,
    /// Containers whose attempt number went backwards.
    pub resets: u64,
}

impl Seen {
    /// Adds the ends that are described, of `new` ones in all.
    fn add(&mut self, mut told: Vec<Termination>, new: u64) {
        let unobserved = new.saturating_sub(u64::try_from(told.len()).unwrap_or(0));
        if let Some(first) = told.first_mut() {
            first.unobserved_before = unobserved;
        }
        self.unobserved += unobserved;
        self.terminations.extend(told);
    }
}

/// Follows the attempts of every container of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Terminations {
    marks: BTreeMap<Slot, Mark>,
}

impl Terminations {
    /// Looks at a pod. `watching_since` is when the watch first told all pods: a pod created after it
    /// is followed from its first attempt, an older one from where it is now.
    pub fn look(&mut self, pod: &PodRecord, watching_since: Option<Timestamp>) -> Seen {
        let mut seen = Seen::default();
        let new_pod = matches!((pod.created, watching_since), (Some(created), Some(since)) if created >= since);
        for container in &pod.containers {
            self.look_at(pod, container, new_pod, &mut seen);
        }
        seen
    }

    /// Forgets a pod that is gone.
    pub fn forget(&mut self, pod_key: &str) {
        self.marks.retain(|slot, _| slot.pod != pod_key);
    }

    /// How many containers are followed.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether none is followed.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    fn look_at(&mut self, pod: &PodRecord, container: &ContainerRecord, new_pod: bool, seen: &mut Seen) {
        let Some(restart_count) = container.restart_count else { return };
        let slot = Slot::of(pod, container);
        let records = records(container, restart_count);
        let highest = highest_ended(restart_count, &records);
        let Some(mark) = self.marks.get_mut(&slot) else {
            self.first_look(slot, container, new_pod, highest, records, seen);
            return;
        };
        if is_late(mark, container) {
            return;
        }
        if is_reset(mark, container, restart_count) {
            seen.resets += 1;
            mark.ended = i64::from(restart_count) - 1;
        }
        let new = u64::try_from(highest - mark.ended).unwrap_or(0);
        seen.add(tell(&slot, container.kind, records, mark.ended, false), new);
        mark.ended = mark.ended.max(highest);
        mark.note(container);
    }

    fn first_look(
        &mut self,
        slot: Slot,
        container: &ContainerRecord,
        new_pod: bool,
        highest: i64,
        records: Vec<(i64, TerminatedState)>,
        seen: &mut Seen,
    ) {
        if self.marks.len() >= MAX_SLOTS {
            self.marks.pop_first();
        }
        if new_pod {
            seen.add(tell(&slot, container.kind, records, -1, false), u64::try_from(highest + 1).unwrap_or(0));
        } else if is_down(container) {
            // A container that is down right now wants an explanation, though its end is not news.
            seen.terminations.extend(tell(&slot, container.kind, records, highest - 1, true));
        }
        let mut mark = Mark { ended: highest, ..Mark::default() };
        mark.note(container);
        self.marks.insert(slot, mark);
    }
}

impl Mark {
    fn note(&mut self, container: &ContainerRecord) {
        let latest = latest(container);
        if container.container_id.is_some() && latest >= self.latest {
            self.id.clone_from(&container.container_id);
        }
        self.latest = self.latest.max(latest);
    }
}

impl Slot {
    /// The slot of a pod's container.
    pub fn of(pod: &PodRecord, container: &ContainerRecord) -> Self {
        Self { pod: pod_key(pod).to_owned(), list: SlotList::of(container.kind), container: container.name.clone() }
    }
}

/// What a pod is followed by: a static pod's hash outlives its mirror pods.
pub fn pod_key(pod: &PodRecord) -> &str {
    pod.static_hash.as_deref().unwrap_or(&pod.uid)
}

/// The attempts whose end a status describes: the newest instance's own, and the one before.
fn records(container: &ContainerRecord, restart_count: u32) -> Vec<(i64, TerminatedState)> {
    let newest = i64::from(restart_count);
    let own = match &container.state {
        Some(ContainerState::Terminated(state)) => Some((newest, state.clone())),
        _ => None,
    };
    let last = container.last.as_ref().map(|state| {
        // While the next instance waits, `lastState` is still that of the newest one.
        let of_newest = own.is_none() && state.container_id.is_some() && state.container_id == container.container_id;
        (if of_newest { newest } else { newest - 1 }, state.clone())
    });
    last.into_iter().chain(own).filter(|(attempt, _)| *attempt >= 0).collect()
}

/// The highest attempt that has surely ended.
fn highest_ended(restart_count: u32, records: &[(i64, TerminatedState)]) -> i64 {
    let told = records.iter().map(|(attempt, _)| *attempt).max().unwrap_or(-1);
    // Attempt N can only exist once N-1 has ended, whether or not a record of it is left.
    told.max(i64::from(restart_count) - 1)
}

fn tell(slot: &Slot, kind: ContainerKind, records: Vec<(i64, TerminatedState)>, after: i64, earlier: bool) -> Vec<Termination> {
    let new = records.into_iter().filter(|(attempt, _)| *attempt > after);
    new.filter_map(|(attempt, state)| {
        Some(Termination { slot: slot.clone(), kind, attempt: u32::try_from(attempt).ok()?, state, earlier, unobserved_before: 0 })
    })
    .collect()
}

/// The runtime and the log directory were wiped: the kubelet begins to count anew with another instance.
fn is_reset(mark: &Mark, container: &ContainerRecord, restart_count: u32) -> bool {
    let other = container.container_id.is_some() && container.container_id != mark.id;
    let later = latest(container).is_some_and(|latest| mark.latest.is_none_or(|known| latest > known));
    other && later && i64::from(restart_count) < mark.ended
}

/// A status of an instance before the newest one, which arrived after it.
fn is_late(mark: &Mark, container: &ContainerRecord) -> bool {
    let other = container.container_id.is_some() && container.container_id != mark.id;
    other && matches!((latest(container), mark.latest), (Some(latest), Some(known)) if latest < known)
}

/// The latest time that a status names.
fn latest(container: &ContainerRecord) -> Option<Timestamp> {
    let ends = |state: &TerminatedState| state.finished.max(state.started);
    let state = match &container.state {
        Some(ContainerState::Running { started }) => *started,
        Some(ContainerState::Terminated(state)) => ends(state),
        _ => None,
    };
    state.max(container.last.as_ref().and_then(ends))
}

fn is_down(container: &ContainerRecord) -> bool {
    match &container.state {
        Some(ContainerState::Terminated(_)) => true,
        Some(ContainerState::Waiting(waiting)) => waiting.reason.as_deref() == Some("CrashLoopBackOff"),
        _ => false,
    }
}

/// As a JSON object's key; neither a uid nor a container's name can hold a slash.
impl From<Slot> for String {
    fn from(slot: Slot) -> Self {
        let list = match slot.list {
            SlotList::Init => "init",
            SlotList::App => "app",
            SlotList::Ephemeral => "ephemeral",
        };
        format!("{}/{list}/{}", slot.pod, slot.container)
    }
}

impl TryFrom<String> for Slot {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let parts: Vec<_> = text.split('/').collect();
        let [pod, list, container] = parts.as_slice() else { return Err(format!("`{text}` is not pod/list/container")) };
        let list = match *list {
            "init" => SlotList::Init,
            "app" => SlotList::App,
            "ephemeral" => SlotList::Ephemeral,
            other => return Err(format!("`{other}` is no list of containers")),
        };
        Ok(Self { pod: (*pod).into(), list, container: (*container).into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("time")
    }

    fn ended(attempt: u32) -> TerminatedState {
        TerminatedState {
            exit_code: 1,
            container_id: Some(format!("id{attempt}")),
            finished: Some(time(i64::from(attempt) * 10 + 5)),
            ..TerminatedState::default()
        }
    }

    fn pod(container: ContainerRecord, created: i64) -> PodRecord {
        PodRecord { uid: "uid".into(), created: Some(time(created)), containers: vec![container], ..PodRecord::default() }
    }

    fn running(attempt: u32) -> ContainerRecord {
        ContainerRecord {
            name: "app".into(),
            restart_count: Some(attempt),
            container_id: Some(format!("id{attempt}")),
            state: Some(ContainerState::Running { started: Some(time(i64::from(attempt) * 10)) }),
            last: attempt.checked_sub(1).map(ended),
            ..ContainerRecord::default()
        }
    }

    fn backing_off(attempt: u32) -> ContainerRecord {
        let waiting = crate::signal::WaitingState { reason: Some("CrashLoopBackOff".into()), message: None };
        ContainerRecord { state: Some(ContainerState::Waiting(waiting)), last: Some(ended(attempt)), ..running(attempt) }
    }

    fn terminated(attempt: u32) -> ContainerRecord {
        ContainerRecord { state: Some(ContainerState::Terminated(ended(attempt))), ..running(attempt) }
    }

    fn attempts(seen: &Seen) -> Vec<u32> {
        seen.terminations.iter().map(|termination| termination.attempt).collect()
    }

    #[test]
    fn one_crash_is_told_once_however_it_is_shown() {
        let mut terminations = Terminations::default();
        let mut look = |container| terminations.look(&pod(container, 10), Some(time(0)));
        assert_eq!(look(running(0)), Seen::default());
        assert_eq!(attempts(&look(terminated(0))), [0]);
        assert_eq!(look(backing_off(0)), Seen::default());
        assert_eq!(look(running(1)), Seen::default());
        assert_eq!(attempts(&look(backing_off(1))), [1]);
        assert_eq!(look(running(2)), Seen::default());
    }

    #[test]
    fn a_gap_loses_details_but_no_count() {
        let mut terminations = Terminations::default();
        terminations.look(&pod(running(0), 10), Some(time(0)));
        let seen = terminations.look(&pod(backing_off(5), 10), Some(time(0)));
        assert_eq!((attempts(&seen), seen.unobserved), (vec![5], 5));
    }

    #[test]
    fn a_pod_older_than_the_watch_is_followed_from_now_on() {
        let mut terminations = Terminations::default();
        assert_eq!(terminations.look(&pod(running(12), -100), Some(time(0))), Seen::default());
        let seen = terminations.look(&pod(backing_off(12), -100), Some(time(0)));
        assert_eq!((attempts(&seen), seen.unobserved), (vec![12], 0));
    }

    #[test]
    fn a_container_that_is_down_at_first_sight_is_explained_and_not_counted() {
        let mut terminations = Terminations::default();
        let seen = terminations.look(&pod(backing_off(7), -100), None);
        assert_eq!((attempts(&seen), seen.terminations[0].earlier, seen.unobserved), (vec![7], true, 0));
    }

    #[test]
    fn a_new_mirror_of_a_static_pod_repeats_nothing() {
        let mut terminations = Terminations::default();
        let mirror = |uid: &str, container| PodRecord { uid: uid.into(), static_hash: Some("hash".into()), ..pod(container, 10) };
        terminations.look(&mirror("first", backing_off(3)), Some(time(0)));
        assert_eq!(terminations.look(&mirror("second", backing_off(3)), Some(time(0))), Seen::default());
    }

    #[test]
    fn a_counter_that_goes_backwards_is_a_new_beginning() {
        let mut terminations = Terminations::default();
        terminations.look(&pod(running(9), -100), Some(time(0)));
        let state = Some(ContainerState::Running { started: Some(time(500)) });
        let wiped = ContainerRecord { container_id: Some("other".into()), last: None, state, ..running(0) };
        let seen = terminations.look(&pod(wiped, -100), Some(time(0)));
        assert_eq!((seen.resets, seen.unobserved, seen.terminations.len()), (1, 0, 0));
        let stale = terminations.look(&pod(running(3), -100), Some(time(0)));
        assert_eq!(stale, Seen::default(), "a late status of the old counting");
    }

    #[test]
    fn marks_survive_being_stored() {
        let mut terminations = Terminations::default();
        terminations.look(&pod(backing_off(3), 10), Some(time(0)));
        let stored = serde_json::to_string(&terminations).expect("json");
        assert_eq!(serde_json::from_str::<Terminations>(&stored).expect("json"), terminations);
    }

    /// What a kubelet shows over some lives of a container, in order.
    fn shown(lives: u32) -> Vec<ContainerRecord> {
        (0..lives).flat_map(|attempt| [running(attempt), terminated(attempt), backing_off(attempt)]).collect()
    }

    proptest! {
        /// Whatever of the kubelet's statuses arrives, however often, with restarts of the agent in
        /// between: told and unobserved ends add up to the ends that the last status proves, and no
        /// attempt is told twice.
        #[test]
        fn no_end_is_missed_or_told_twice(
            lives in 1u32..12,
            picks in prop::collection::vec((any::<bool>(), 1usize..3, any::<bool>()), 36),
        ) {
            let mut terminations = Terminations::default();
            let (mut told, mut unobserved, mut highest) = (Vec::new(), 0, -1i64);
            for (container, (arrives, times, restart)) in shown(lives).into_iter().zip(picks) {
                if !arrives { continue }
                for _ in 0..times {
                    let seen = terminations.look(&pod(container.clone(), 10), Some(time(0)));
                    told.extend(attempts(&seen));
                    unobserved += seen.unobserved;
                }
                let count = container.restart_count.expect("set");
                highest = highest.max(highest_ended(count, &records(&container, count)));
                if restart {
                    let stored = serde_json::to_string(&terminations).expect("json");
                    terminations = serde_json::from_str(&stored).expect("json");
                }
            }
            let mut unique = told.clone();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), told.len());
            prop_assert_eq!(i64::try_from(told.len()).expect("small") + i64::try_from(unobserved).expect("small"), highest + 1);
        }

        /// Late and reordered statuses never tell an end again.
        #[test]
        fn reordering_tells_nothing_twice(order in prop::collection::vec(0usize..30, 1..60)) {
            let statuses = shown(10);
            let mut terminations = Terminations::default();
            let mut told = Vec::new();
            for index in order {
                told.extend(attempts(&terminations.look(&pod(statuses[index].clone(), 10), Some(time(0)))));
            }
            let mut unique = told.clone();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), told.len());
        }
    }
}
