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
//!
//! Where no status comes, because the API server is away, the pod's log directory speaks for it
//! (`silent`): one number more is one end more, whoever says it first.

mod silent;

pub use silent::{Silence, SilentEnd};

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
#[serde(default)]
pub struct Mark {
    /// The highest attempt whose end is accounted for; -1 before the first end.
    ended: i64,
    /// The newest instance's id.
    id: Option<String>,
    /// The latest time that its statuses have named: tells a counter that was reset from a status
    /// that is merely late.
    latest: Option<Timestamp>,
    /// Until the first status: what the log directory was when it was first looked at.
    unseen: Option<silent::Unseen>,
    /// Attempts whose end the log directory alone has told; a status may still describe them.
    undescribed: Vec<u32>,
    /// Whether the pod is said to be gone. It may be told again: by a stale list, a static pod's next mirror, or the
    /// log directory that outlives it.
    closed: bool,
    /// What the log directory says beyond the mark, until a status says it or it is told without one.
    #[serde(skip)]
    sighting: Option<silent::Sighting>,
}

/// One container instance's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Whether the log directory had told it: it is counted already, and is now described.
    pub told_before: bool,
}

/// What one look at a pod brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Ends with their details, oldest first.
    pub terminations: Vec<Termination>,
    /// Ends that the attempt number proves and no record describes, by container.
    pub unobserved: Vec<(Slot, u64)>,
    /// Containers whose attempt number went backwards.
    pub resets: u64,
}

impl Seen {
    /// Adds the ends that are described, of `new` ones in all.
    fn add(&mut self, slot: &Slot, mut told: Vec<Termination>, new: u64) {
        let described = told.iter().filter(|termination| !termination.told_before).count();
        let unobserved = new.saturating_sub(u64::try_from(described).unwrap_or(0));
        if let Some(first) = told.iter_mut().find(|termination| !termination.told_before) {
            first.unobserved_before = unobserved;
        }
        if unobserved > 0 {
            self.unobserved.push((slot.clone(), unobserved));
        }
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
            // A mirror pod is made anew at any time of the static pod's life (kubernetes/kubernetes#54476).
            let new = new_pod && (pod.static_hash.is_none() || container.restart_count == Some(0));
            self.look_at(pod, container, new, &mut seen);
        }
        seen
    }

    /// Notes that a pod is gone. Its marks stay until nobody can tell it again, lest its ends count twice.
    pub fn close(&mut self, pod_key: &str) {
        self.marks.iter_mut().filter(|(slot, _)| slot.pod == pod_key).for_each(|(_, mark)| mark.closed = true);
    }

    /// Forgets all pods but these.
    pub fn retain(&mut self, known: impl Fn(&str) -> bool) {
        self.marks.retain(|slot, _| known(&slot.pod));
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
        self.adopt(&slot);
        let Some(mark) = self.marks.get_mut(&slot) else {
            self.first_look(slot, container, new_pod, highest, records, seen);
            return;
        };
        if let Some(unseen) = mark.unseen.take() {
            mark.first_status(&slot, container, records, unseen, new_pod, seen);
        } else if is_late(mark, container) {
            return;
        } else {
            if is_reset(mark, container, restart_count) {
                seen.resets += 1;
                *mark = Mark { ended: i64::from(restart_count) - 1, latest: mark.latest, ..Mark::default() };
            }
            let new = u64::try_from(highest - mark.ended).unwrap_or(0);
            seen.add(&slot, tell(&slot, container.kind, records, |attempt| mark.standing(attempt), false), new);
        }
        mark.ended = mark.ended.max(highest);
        mark.settle(highest);
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
        self.make_room();
        if new_pod {
            let told = tell(&slot, container.kind, records, |_| Standing::New, false);
            seen.add(&slot, told, u64::try_from(highest + 1).unwrap_or(0));
        } else if is_down(container) {
            // A container that is down right now wants an explanation, though its end is not news.
            let newest = |attempt| if attempt == highest { Standing::New } else { Standing::Told };
            seen.terminations.extend(tell(&slot, container.kind, records, newest, true));
        }
        let mut mark = Mark { ended: highest, ..Mark::default() };
        mark.note(container);
        self.marks.insert(slot, mark);
    }

    /// Pods that are gone make room first, then those of which nothing was told for the longest time: what crashes is
    /// told of.
    fn make_room(&mut self) {
        if self.marks.len() >= MAX_SLOTS {
            let oldest = self.marks.iter().min_by_key(|(_, mark)| (!mark.closed, mark.last_told())).map(|(slot, _)| slot.clone());
            oldest.and_then(|slot| self.marks.remove(&slot));
        }
    }
}

/// How an attempt's end stands to what is accounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is not accounted for.
    New,
    /// The log directory has told it.
    Undescribed,
    /// It was told with its details.
    Told,
}

impl Mark {
    fn standing(&self, attempt: i64) -> Standing {
        if attempt > self.ended {
            return Standing::New;
        }
        let undescribed = self.undescribed.iter().any(|known| i64::from(*known) == attempt);
        if undescribed { Standing::Undescribed } else { Standing::Told }
    }

    /// When something was last told of it, as far as that is known.
    fn last_told(&self) -> Option<Timestamp> {
        self.latest.max(self.unseen.map(|unseen| unseen.since))
    }

    fn note(&mut self, container: &ContainerRecord) {
        self.closed = false;
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
        Some(ContainerState::Terminated(state)) if !is_made_up_twice(container, state) => Some((newest, state.clone())),
        _ => None,
    };
    let last = container.last.as_ref().map(|state| {
        // While the next instance waits, `lastState` is still that of the newest one.
        let of_newest = own.is_none() && state.container_id.is_some() && state.container_id == container.container_id;
        (if of_newest { newest } else { newest - 1 }, state.clone())
    });
    last.into_iter().chain(own).filter(|(attempt, _)| *attempt >= 0).collect()
}

/// A kubelet that cannot find a container makes up how it ended and counts a start that never was (pkg/kubelet/kubelet_pods.go,
/// `convertToAPIContainerStatuses`). Where its pod ends with that, an evicted one above all, it makes up the end of that start,
/// too (pkg/kubelet/status/status_manager.go, `TerminatePod`).
fn is_made_up_twice(container: &ContainerRecord, state: &TerminatedState) -> bool {
    let made_up = |state: &TerminatedState| state.reason.as_deref() == Some("ContainerStatusUnknown") && state.container_id.is_none();
    container.restart_count > Some(0) && made_up(state) && container.last.as_ref().is_some_and(made_up)
}

/// The highest attempt that has surely ended.
fn highest_ended(restart_count: u32, records: &[(i64, TerminatedState)]) -> i64 {
    let told = records.iter().map(|(attempt, _)| *attempt).max().unwrap_or(-1);
    // Attempt N can only exist once N-1 has ended, whether or not a record of it is left.
    told.max(i64::from(restart_count) - 1)
}

fn tell(
    slot: &Slot,
    kind: ContainerKind,
    records: Vec<(i64, TerminatedState)>,
    standing: impl Fn(i64) -> Standing,
    earlier: bool,
) -> Vec<Termination> {
    let untold = records
        .into_iter()
        .map(|(attempt, state)| (attempt, state, standing(attempt)))
        .filter(|(.., standing)| *standing != Standing::Told);
    untold
        .filter_map(|(attempt, state, standing)| {
            let attempt = u32::try_from(attempt).ok()?;
            let told_before = standing == Standing::Undescribed;
            Some(Termination { slot: slot.clone(), kind, attempt, state, earlier, unobserved_before: 0, told_before })
        })
        .collect()
}

/// The runtime and the log directory were wiped: the kubelet begins to count anew with another instance.
fn is_reset(mark: &Mark, container: &ContainerRecord, restart_count: u32) -> bool {
    let other = container.container_id.is_some() && container.container_id != mark.id;
    // A made-up status names no time: beside it, any status that a cache held back looks later.
    let later = matches!((latest(container), mark.latest), (Some(latest), Some(known)) if latest > known);
    // What the log directory told last is ahead of every status that is still on its way.
    let caught_up = mark.undescribed.is_empty();
    other && later && caught_up && i64::from(restart_count) < mark.ended
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
mod tests;
