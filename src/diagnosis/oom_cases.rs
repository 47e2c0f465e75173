//! OOM kills from the moment they are logged until nothing can be added to them.
//!
//! Flows in: the OOM parser's news and the passing of time. Flows out: [`Told`], explanations to be
//! recorded as findings, amended or taken back. A kill is told at once when its container is known
//! to end with it. It waits a moment where the next second decides what it was: a child process
//! whose container may follow it, a pod that nobody has named yet, a kill without a cgroup.

use super::{
    kill_ledger::{CountedKill, KillLedger},
    oom::{LastSeen, OomExplanation, Role, Victim},
};
use crate::{
    inventory::{Belonging, Inventory},
    model::{BootTime, ContainerId, Moment, PodUid},
    parse::oom::{OomEvent, OomOutcome, Position},
};

/// Kills looked after at a time. At 4,500 kills a minute this is three seconds of them.
pub const MAX_CASES: usize = 256;

/// A container whose child was killed may end of it within this time.
const CHILD_WAIT_MICROS: u64 = 1_000_000;

/// A kill without a cgroup waits this long for a counter to tell whose it was.
const UNPLACED_WAIT_MICROS: u64 = 6_000_000;

/// A pod that nobody has named is another kubelet's after this time: pods are named within a second.
const FOREIGN_WAIT_MICROS: u64 = 10_000_000;

/// After this time a kill's story is complete: group members, reaper, last samples have been told.
const COMPLETE_AFTER_MICROS: u64 = 5_000_000;

/// The story of a killed process that may have been a child is complete when its container's status
/// had time to come: the kubelet sends a status within ten seconds.
const CHILD_COMPLETE_AFTER_MICROS: u64 = 15_000_000;

/// Kills being looked after.
#[derive(Debug, Default)]
pub struct OomCases {
    cases: Vec<Case>,
}

#[derive(Debug)]
struct Case {
    event: OomEvent,
    killed: Moment,
    read: BootTime,
    victim: Victim,
    /// The container as it was before the kill, kept because fresh figures replace it.
    seen: Option<LastSeen>,
    stage: Stage,
    told: Option<Told>,
    /// Kill lines already told to the ledger.
    noted: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits until the moment for what would change its telling.
    Waiting(BootTime),
    /// Has been told and may be amended.
    Young,
}

/// A kill as it is told now.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The kill's position: the same after a restart.
    pub position: String,
    /// When.
    pub at: Moment,
    /// Who.
    pub victim: Victim,
    /// The explanation.
    pub explanation: OomExplanation,
    /// The processes that the kernel said it killed, repeats included, as its counters count.
    pub lines: u64,
}

/// What has to be done about a kill.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A kill is told for the first time.
    Tell(Box<Told>),
    /// It is told again; `was` is the earlier telling.
    Retell {
        /// The earlier telling.
        was: Box<Told>,
        /// The telling now.
        now: Box<Told>,
    },
    /// Its story is complete: it may be counted.
    Complete(Box<Told>),
    /// The log tells this many more killed processes of this pod: to be held against its counter.
    Logged {
        /// The kill's position.
        position: String,
        /// The pod.
        pod: PodUid,
        /// When they were killed.
        at: BootTime,
        /// How many.
        lines: u64,
    },
    /// It was another kubelet's.
    Foreign,
    /// Fresh figures of this cgroup, named as the kernel names it, would help.
    Look(String),
}

impl OomCases {
    /// Takes up a new kill.
    pub fn open(&mut self, event: OomEvent, read: Moment, inventory: &Inventory) -> Vec<News> {
        let killed = event.killed_at.or(event.last.boot).map_or(read, |boot| read.at_boot_time(boot));
        let victim = Victim::identify(&event, inventory, killed.boot);
        let path = event.task_memcg.as_deref().filter(|_| victim.container.is_some());
        let mut news: Vec<_> = path.map(|path| News::Look(path.to_owned())).into_iter().collect();
        if self.cases.len() >= MAX_CASES {
            news.extend(self.cases.remove(0).finish(inventory));
        }
        let mut case = Case { event, killed, read: read.boot, victim, seen: None, stage: Stage::Young, told: None, noted: 0 };
        case.look_back(inventory);
        case.stage = case.first_stage(inventory);
        if case.stage == Stage::Young {
            news.extend(case.tell(inventory));
        }
        news.extend(case.note());
        self.cases.push(case);
        news
    }

    /// Takes in more of a kill's dump.
    pub fn amend(&mut self, event: OomEvent, inventory: &Inventory) -> Vec<News> {
        let Some(case) = self.cases.iter_mut().rev().find(|case| case.event.id == event.id) else { return Vec::new() };
        case.event = event;
        case.reconsider(inventory)
    }

    /// Looks again at the kills of a container of which something new is known.
    pub fn container_changed(&mut self, id: &ContainerId, inventory: &Inventory) -> Vec<News> {
        let of_container = self.cases.iter_mut().filter(|case| case.victim.container.as_ref() == Some(id));
        of_container.flat_map(|case| case.reconsider(inventory)).collect()
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: BootTime, inventory: &Inventory, ledger: &KillLedger) -> Vec<News> {
        let mut news = Vec::new();
        for case in &mut self.cases {
            news.extend(case.advance(now, inventory, ledger));
        }
        let complete = |case: &Case| case.stage == Stage::Young && now >= case.due();
        news.extend(self.cases.extract_if(.., |case| complete(case)).flat_map(|case| case.finish(inventory)));
        news
    }

    /// When time next matters.
    pub fn due(&self) -> Option<BootTime> {
        self.cases.iter().map(|case| case.due()).min()
    }

    /// The first record of the oldest kill whose story is not complete: a restart reads from there.
    pub fn oldest_record(&self) -> Option<Position> {
        self.cases.iter().map(|case| case.event.first).min()
    }

    /// Whether a kill in a container, or in its pod if that is all that is known, is told and may still be told anew.
    pub fn tells_of(&self, container: Option<&ContainerId>, pod: &PodUid) -> bool {
        self.cases.iter().filter(|case| case.told.is_some()).any(|case| match &case.victim.container {
            Some(id) => Some(id) == container,
            None => case.victim.pod.as_ref() == Some(pod),
        })
    }

    /// How many kills are looked after.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }
}

impl Case {
    fn first_stage(&self, inventory: &Inventory) -> Stage {
        let until = |micros| Stage::Waiting(BootTime(self.read.0.saturating_add(micros)));
        if self.is_foreign(inventory) {
            return until(FOREIGN_WAIT_MICROS);
        }
        match self.victim.role {
            _ if self.victim.is_unplaced() => until(UNPLACED_WAIT_MICROS),
            Role::Child => until(CHILD_WAIT_MICROS),
            _ => Stage::Young,
        }
    }

    fn due(&self) -> BootTime {
        match self.stage {
            Stage::Waiting(until) => until,
            Stage::Young if matches!(self.victim.role, Role::Child | Role::Unknown) => {
                BootTime(self.read.0.saturating_add(CHILD_COMPLETE_AFTER_MICROS))
            }
            Stage::Young => BootTime(self.read.0.saturating_add(COMPLETE_AFTER_MICROS)),
        }
    }

    fn advance(&mut self, now: BootTime, inventory: &Inventory, ledger: &KillLedger) -> Vec<News> {
        let Stage::Waiting(until) = self.stage else { return Vec::new() };
        if self.victim.is_unplaced() {
            self.place_by_counter(ledger);
        }
        let foreign = self.is_foreign(inventory);
        let settled = match (foreign, self.victim.is_unplaced(), self.victim.role) {
            (false, false, Role::Child) | (true, ..) | (_, true, _) => now >= until,
            (false, false, _) => true,
        };
        if !settled {
            return Vec::new();
        }
        self.stage = Stage::Young;
        let noted = self.note();
        let told = if foreign { Some(News::Foreign) } else { self.tell(inventory) };
        noted.into_iter().chain(told).collect()
    }

    fn place_by_counter(&mut self, ledger: &KillLedger) {
        if let Some(CountedKill { pod, container, .. }) = ledger.owner_of_unplaced(self.killed.boot) {
            self.victim = Victim::by_counter(Some(pod.clone()), container.clone());
        }
    }

    fn reconsider(&mut self, inventory: &Inventory) -> Vec<News> {
        let victim = Victim::identify(&self.event, inventory, self.killed.boot);
        if !victim.is_unplaced() {
            self.victim = victim;
        }
        let noted = self.note();
        // A container that ended, or a group that was killed whole, needs no more waiting.
        if matches!(self.stage, Stage::Waiting(_)) && self.victim.role != Role::Child {
            self.stage = self.first_stage(inventory);
        }
        let foreign = self.stage == Stage::Young && self.told.is_none() && self.is_foreign(inventory);
        let told = if self.stage == Stage::Young && !foreign { self.tell(inventory) } else { None };
        noted.into_iter().chain(told).collect()
    }

    /// Tells the ledger what the log says about a pod whose cgroup the kernel names.
    fn note(&mut self) -> Option<News> {
        let more = kill_lines(&self.event).saturating_sub(self.noted);
        let pod = self.victim.pod.clone().filter(|_| more > 0)?;
        self.noted += more;
        Some(News::Logged { position: self.position(), pod, at: self.killed.boot, lines: more })
    }

    fn is_foreign(&self, inventory: &Inventory) -> bool {
        self.victim.pod.as_ref().is_some_and(|pod| inventory.belonging(pod) == Belonging::Unknown)
    }

    /// Remembers the container as it was, once it is known which one.
    fn look_back(&mut self, inventory: &Inventory) {
        let instance = || self.victim.container.as_ref().and_then(|id| inventory.container(id));
        self.seen = self.seen.take().or_else(|| instance().map(|instance| LastSeen::before(instance, self.killed.boot)));
    }

    fn tell(&mut self, inventory: &Inventory) -> Option<News> {
        self.look_back(inventory);
        let seen = self.seen.clone().unwrap_or_default();
        let told = Told {
            position: self.position(),
            at: self.killed,
            victim: self.victim.clone(),
            explanation: OomExplanation::of(&self.event, &self.victim, &seen, inventory, self.killed),
            lines: kill_lines(&self.event),
        };
        match self.told.replace(told.clone()) {
            None => Some(News::Tell(Box::new(told))),
            Some(was) if was == told => None,
            Some(was) => Some(News::Retell { was: Box::new(was), now: Box::new(told) }),
        }
    }

    /// Ends the case: what was never told is told now.
    fn finish(mut self, inventory: &Inventory) -> Vec<News> {
        let untold = matches!(self.stage, Stage::Waiting(_));
        let mut news: Vec<_> = untold.then(|| self.tell(inventory)).flatten().into_iter().collect();
        news.extend(self.told.map(|told| News::Complete(Box::new(told))));
        news
    }

    /// The record that the dump begins with and its victim: two kills never share both.
    fn position(&self) -> String {
        let victim = self.event.victim.pid.map_or(0, |pid| pid.0);
        format!("kernel:{}:{victim}", self.event.first.record)
    }
}

/// `Killed process` lines of an event, the first victim of a group counted again as the kernel does.
fn kill_lines(event: &OomEvent) -> u64 {
    let first = u64::from(event.outcome == OomOutcome::Killed);
    let group = event.group.as_ref().map_or(0, |group| u64::try_from(group.members.len()).unwrap_or(0) + u64::from(group.unlisted));
    first + group
}
