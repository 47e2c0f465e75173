//! Ends that no status tells, because the API server cannot be reached: the pod's log directory has
//! a file for each attempt, so the file of attempt `n + 1` proves that attempt `n` has ended.
//!
//! A status says more and is usually sooner, so the directory waits for it. Both move the same mark:
//! what one has told, the other does not count again, and a status that comes late describes what
//! was told without it.

use super::{Mark, Seen, Slot, SlotList, Standing, Termination, Terminations, is_down, records, tell};
use crate::{
    model::{BootTime, Moment},
    signal::{ContainerRecord, TerminatedState},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The directory's word is taken after this long without a status: the kubelet sends statuses at
/// most every 10 s, and the API server passes them on at once.
const STATUS_WAIT_SECONDS: u64 = 12;

/// What the dead container's log says is asked for then, and has this long to be read.
const READING_SECONDS: u64 = 2;

/// A status describes the end of the newest instance and of the one before; older ones stay undescribed.
const DESCRIBABLE: usize = 2;

/// What the log directory was when it was first looked at, before any status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// When that was.
    pub(super) since: Timestamp,
    /// The highest attempt that had ended by then; nothing up to it is counted.
    pub(super) ended: i64,
}

/// An attempt whose log exists although no status has told the end of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The attempt.
    attempt: u32,
    /// When the first such attempt was seen.
    at: BootTime,
    /// Whether the log of the one before has been asked for.
    asked: bool,
}

/// What a silence has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// An end will soon be told without a status: its log would complete it.
    Suspected {
        /// Which container.
        slot: Slot,
        /// Which life.
        attempt: u32,
    },
    /// An end that is counted now.
    Ended(SilentEnd),
}

/// The end of a container instance that only the log directory proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentEnd {
    /// Which container.
    pub slot: Slot,
    /// Which life.
    pub attempt: u32,
    /// Ends before it that no status will describe any more.
    pub unobserved_before: u64,
    /// When the next life was seen.
    pub at: BootTime,
}

impl Terminations {
    /// Notes the highest attempt whose log exists. `followed` says that the directory was being
    /// followed before, so that what is new in it began since.
    pub fn sighted(&mut self, pod_key: &str, container: &str, attempt: u32, followed: bool, at: Moment) {
        let lists = [SlotList::App, SlotList::Init, SlotList::Ephemeral];
        let slot = |list| Slot { pod: pod_key.to_owned(), list, container: container.to_owned() };
        let known = lists.into_iter().map(slot).find(|slot| self.marks.contains_key(slot));
        let key = known.unwrap_or_else(|| {
            self.make_room();
            let ended = if followed { -1 } else { i64::from(attempt) - 1 };
            let mark = Mark { ended, unseen: Some(Unseen { since: at.wall, ended }), ..Mark::default() };
            let slot = slot(SlotList::App);
            self.marks.insert(slot.clone(), mark);
            slot
        });
        if let Some(mark) = self.marks.get_mut(&key) {
            mark.sighted(attempt, at.boot);
        }
    }

    /// What no status has told in time.
    pub fn silences(&mut self, now: BootTime) -> Vec<Silence> {
        let mut silences = Vec::new();
        for (slot, mark) in self.marks.iter_mut().filter(|(_, mark)| mark.sighting.is_some()) {
            mark.break_silence(slot, now, &mut silences);
        }
        silences
    }

    /// The directory does not say in which list of the spec a container stands; its first status does.
    pub(super) fn adopt(&mut self, slot: &Slot) {
        if slot.list == SlotList::App || self.marks.contains_key(slot) {
            return;
        }
        let assumed = Slot { list: SlotList::App, ..slot.clone() };
        if let Some(mark) = self.marks.remove(&assumed) {
            self.marks.insert(slot.clone(), mark);
        }
    }
}

impl Mark {
    fn sighted(&mut self, attempt: u32, at: BootTime) {
        if i64::from(attempt) - 1 <= self.ended {
            return;
        }
        let sighting = self.sighting.get_or_insert(Sighting { attempt, at, asked: false });
        sighting.attempt = sighting.attempt.max(attempt);
    }

    fn break_silence(&mut self, slot: &Slot, now: BootTime, silences: &mut Vec<Silence>) {
        let Some(sighting) = &mut self.sighting else { return };
        let Some(ended) = sighting.attempt.checked_sub(1) else { return };
        let waited = now.seconds_since(sighting.at);
        if !sighting.asked && waited >= STATUS_WAIT_SECONDS {
            sighting.asked = true;
            silences.push(Silence::Suspected { slot: slot.clone(), attempt: ended });
        }
        if waited < STATUS_WAIT_SECONDS + READING_SECONDS {
            return;
        }
        let at = sighting.at;
        let new: u64 = u64::try_from(i64::from(ended) - self.ended).unwrap_or(0);
        let told = (0..=ended).rev().take(DESCRIBABLE).filter(|attempt| i64::from(*attempt) > self.ended);
        let mut told: Vec<u32> = told.collect();
        told.reverse();
        let mut before = new.saturating_sub(u64::try_from(told.len()).unwrap_or(0));
        for attempt in &told {
            let unobserved_before = std::mem::take(&mut before);
            silences.push(Silence::Ended(SilentEnd { slot: slot.clone(), attempt: *attempt, unobserved_before, at }));
        }
        self.undescribed.extend(told);
        self.undescribed.drain(..self.undescribed.len().saturating_sub(DESCRIBABLE));
        self.ended = i64::from(ended);
        self.sighting = None;
    }

    /// Takes in a status whose highest ended attempt is `highest`: what the directory told up to it
    /// is described now or never, and what it is about to tell is told.
    pub(super) fn settle(&mut self, highest: i64) {
        self.undescribed.retain(|attempt| i64::from(*attempt) > highest);
        self.sighting = self.sighting.filter(|sighting| i64::from(sighting.attempt) - 1 > self.ended);
    }

    /// The first status of a container that the directory has told of.
    pub(super) fn first_status(
        &self,
        slot: &Slot,
        container: &ContainerRecord,
        told: Vec<(i64, TerminatedState)>,
        unseen: Unseen,
        new_pod: bool,
        seen: &mut Seen,
    ) {
        let restart_count = container.restart_count.unwrap_or_default();
        let highest = super::highest_ended(restart_count, &records(container, restart_count));
        if new_pod {
            // All its ends count, also those before the directory was first looked at.
            let standing = |attempt| if attempt <= unseen.ended { Standing::New } else { self.standing(attempt) };
            let new = (highest - self.ended).max(0) + highest.min(unseen.ended) + 1;
            seen.add(slot, tell(slot, container.kind, told, standing, false), u64::try_from(new).unwrap_or(0));
            return;
        }
        let since = |termination: &Termination| termination.state.finished.is_some_and(|finished| finished >= unseen.since);
        let untold = tell(slot, container.kind, told, |attempt| self.standing(attempt), false);
        let (news, old): (Vec<_>, Vec<_>) = untold.into_iter().partition(|termination| termination.told_before || since(termination));
        let new = u64::try_from(highest - self.ended).unwrap_or(0);
        seen.add(slot, news, new.saturating_sub(u64::try_from(old.len()).unwrap_or(0)));
        if is_down(container) {
            seen.terminations.extend(old.into_iter().map(|termination| Termination { earlier: true, ..termination }));
        }
    }
}
