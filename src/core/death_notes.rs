//! What is remembered of deaths: whom the kernel and the kubelet killed, what was said, which ends wait for
//! their witnesses, and each container's story.

use super::death_words::DeathWords;
use crate::{
    diagnosis::{
        crash_loop::Story,
        death::{Death, FaultNote, KillNote, ProbeKill},
        exit::Exit,
        termination::{Slot, Terminations, pod_key},
    },
    model::{BootTime, PodUid},
    parse::container_log::{LastWords, excerpt},
    signal::{ContainerLogTail, PodRecord},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Kills, faults and probe decisions remembered.
const MAX_NOTES: usize = 512;

/// Ends remembered for a kill that is read after they were told. A node with more crashes in [`LATE_SECONDS`] has the
/// latest of them told anew.
const MAX_TOLD: usize = 64;

/// How long: a source that fails is tried again every few seconds, and reads what it missed.
const LATE_SECONDS: u64 = 600;

/// A fault belongs to a death if they are no further apart; statuses have whole seconds.
const FAULT_WINDOW_MICROS: u64 = 2_500_000;

/// A probe's decision precedes the death by at most the grace period and some.
const PROBE_WINDOW_SECONDS: u64 = 90;

/// A pod counts as crashed for an hour: the window of the node-or-workload rules.
const CRASHED_SECONDS: u64 = 3600;

/// After a restart the pods are listed within this time: until then an end has no names.
const RELEARN_MICROS: u64 = 5_000_000;

/// What of the deaths survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DurableDeaths {
    /// The high-water marks.
    pub terminations: Terminations,
    /// Since when pods are followed.
    pub watching_since: Option<Timestamp>,
    /// Kills of instances whose end may still come.
    pub kills: VecDeque<KillNote>,
    /// The story of each container.
    pub stories: BTreeMap<Slot, Story>,
    /// When a container of each pod last crashed.
    pub crashed: BTreeMap<PodUid, BootTime>,
    /// Ends that are accounted for and wait for their witnesses, with when they are told.
    pub(super) waiting: Vec<(BootTime, Death)>,
    /// Ends that were told lately without a line of the kernel's log about their kill.
    told: VecDeque<ToldEnd>,
    faults: VecDeque<FaultNote>,
    probes: VecDeque<(PodUid, Option<String>, ProbeKill)>,
    pub(super) unplaced_kills: VecDeque<BootTime>,
    deletions: BTreeMap<String, (Timestamp, Option<u64>)>,
    /// What the kubelet said of containers that end.
    pub(super) words: DeathWords,
}

/// An end that a kill which is read late may still explain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToldEnd {
    death: Death,
    /// Whether a counter has told its kill: only that kill's own line says more.
    by_counter: bool,
}

/// Everything about deaths.
#[derive(Debug, Default)]
pub struct Deaths {
    pub(super) durable: DurableDeaths,
    last_words: VecDeque<((PodUid, String, u32), LastWords)>,
    excerpts: VecDeque<((PodUid, String, u32), Vec<String>)>,
    /// Whether the text of a log itself may be told.
    pub(super) tells_excerpts: bool,
}

impl Deaths {
    /// Remembers a kill until its container ends; a later telling replaces an earlier one. Returns it as it is remembered.
    pub fn note_kill(&mut self, mut note: KillNote) -> KillNote {
        let kills = &mut self.durable.kills;
        let same = |known: &KillNote| known.container == note.container || known.container.is_none();
        let known = kills.iter().position(|known| known.at == note.at && known.pod == note.pod && same(known));
        if let Some(known) = known.and_then(|at| kills.remove(at)) {
            note.accounted = known.accounted;
        }
        push_bounded(kills, note.clone());
        note
    }

    /// Forgets a kill that a counter told: its own line has come.
    pub(super) fn forget_counted_kill(&mut self, pod: &PodUid, at: BootTime) {
        self.durable.kills.retain(|kill| kill.after.is_none() || kill.at != at || kill.pod.as_ref() != Some(pod));
    }

    /// Takes up the state of the run before a restart. What waited waits until the pods are known again.
    pub fn restore(durable: DurableDeaths, now: BootTime) -> Self {
        let mut deaths = Self { durable, ..Self::default() };
        for (due, _) in &mut deaths.durable.waiting {
            *due = (*due).max(BootTime(now.0.saturating_add(RELEARN_MICROS)));
        }
        deaths
    }

    /// Remembers a kill that could not be placed: it may have been in any container that ended then.
    pub fn note_unplaced_kill(&mut self, at: BootTime) {
        push_bounded(&mut self.durable.unplaced_kills, at);
    }

    /// Remembers a fault that the kernel logged.
    pub fn note_fault(&mut self, note: FaultNote) {
        push_bounded(&mut self.durable.faults, note);
    }

    /// Remembers the kubelet's decision to kill because of a probe.
    pub fn note_probe(&mut self, pod: PodUid, container: Option<String>, kill: ProbeKill) {
        push_bounded(&mut self.durable.probes, (pod, container, kill));
    }

    /// Remembers what a container said last.
    pub fn note_last_words(&mut self, tail: &ContainerLogTail) -> Option<LastWords> {
        let life = || (tail.pod.clone(), tail.container.clone(), tail.attempt);
        if self.tells_excerpts {
            push_bounded(&mut self.excerpts, (life(), excerpt(&tail.lines)));
        }
        let words = LastWords::of(&tail.lines)?;
        push_bounded(&mut self.last_words, (life(), words));
        Some(words)
    }

    /// The ends of a pod's containers that are still to be told follow from what the kubelet did to the pod.
    pub fn explain_by_pod(&mut self, pod: &PodUid, exit: &Exit) {
        for (_, death) in self.durable.waiting.iter_mut().filter(|(_, death)| death.pod == *pod) {
            death.exit = exit.clone();
        }
    }

    /// Takes how long the kubelet's log says that it waits; the status says the same where there is one.
    pub fn back_off_told(&mut self, pod: &PodUid, container: Option<&str>, seconds: u64) {
        let pod = pod.to_string();
        let of_it = |slot: &Slot| slot.pod == pod && Some(slot.container.as_str()) == container;
        if let Some((_, story)) = self.durable.stories.iter_mut().find(|(slot, _)| of_it(slot)) {
            story.backs_off(seconds);
        }
    }

    /// When the next death is due.
    pub fn due(&self) -> Option<BootTime> {
        self.durable.waiting.iter().map(|(due, _)| *due).min()
    }

    /// When the last of the container's ends before this one is told: lives are told in their order.
    pub(super) fn earlier_due(&self, death: &Death) -> Option<BootTime> {
        let same = |earlier: &&(BootTime, Death)| earlier.1.termination.slot == death.termination.slot;
        self.durable.waiting.iter().filter(same).map(|(due, _)| *due).max()
    }

    /// Whether a container crash-loops now.
    pub fn is_looping(&self, slot: &Slot, now: BootTime) -> bool {
        self.durable.stories.get(slot).is_some_and(|story| story.is_looping(now))
    }

    /// Whether a container of the pod crashed in the last hour.
    pub fn has_crashed(&self, pod: &PodUid, now: BootTime) -> bool {
        self.durable.crashed.get(pod).is_some_and(|at| now.seconds_since(*at) < CRASHED_SECONDS)
    }

    /// Forgets which pods crashed longer ago.
    pub(super) fn advance(&mut self, now: BootTime) {
        self.durable.crashed.retain(|_, at| now.seconds_since(*at) < CRASHED_SECONDS);
        self.durable.words.advance(now);
        self.durable.told.retain(|told| now.seconds_since(told.death.noticed.boot) < LATE_SECONDS);
    }

    /// The first deletion time that a pod showed: a stop that ends early moves it back.
    pub(super) fn with_first_deletion(&mut self, pod: &PodRecord) -> PodRecord {
        let mut pod = pod.clone();
        if let Some(deletion) = pod.deletion {
            let (first, grace) = *self.durable.deletions.entry(pod_key(&pod).to_owned()).or_insert((deletion, pod.grace_seconds));
            (pod.deletion, pod.grace_seconds) = (Some(first), grace);
        }
        pod
    }

    pub(super) fn knows_kill(&self, death: &Death) -> bool {
        self.kill_in(death).or_else(|| self.kill_that_ended(death)).is_some()
    }

    /// The latest kill in the instance.
    pub(super) fn kill_in(&self, death: &Death) -> Option<&KillNote> {
        let container = death.container.as_ref()?;
        self.durable.kills.iter().rev().find(|kill| kill.container.as_ref() == Some(container))
    }

    /// The kill that an instance ended of: one in it, else one of which only the pod is known.
    pub(super) fn kill_that_ended(&self, death: &Death) -> Option<&KillNote> {
        let probe = self.probe_of(death);
        let in_it = self.kill_in(death).filter(|kill| death.ended_of(kill, probe));
        in_it.or_else(|| self.durable.kills.iter().find(|kill| kill.container.is_none() && death.ended_of(kill, probe)))
    }

    /// The end that a kill brought, if it still waits to be told.
    pub(super) fn waiting_end_of(&self, kill: &KillNote) -> Option<&Death> {
        self.end_of(kill, self.durable.waiting.iter().map(|(_, death)| death))
    }

    /// The end that a kill brought, if it was told without it.
    pub(super) fn told_end_of(&self, kill: &KillNote) -> Option<&Death> {
        let is_line = kill.after.is_none();
        self.end_of(kill, self.durable.told.iter().filter(|told| is_line || !told.by_counter).map(|told| &told.death))
    }

    fn end_of<'a>(&self, kill: &KillNote, mut among: impl Iterator<Item = &'a Death>) -> Option<&'a Death> {
        let in_it = |death: &Death| kill.container.is_none() || kill.container == death.container;
        among.find(|death| in_it(death) && death.ended_of(kill, self.probe_of(death)))
    }

    /// Remembers an end that was told without its kill, or with one that only a counter tells.
    pub(super) fn note_told(&mut self, death: &Death, by_counter: bool) {
        if self.durable.told.len() == MAX_TOLD {
            self.durable.told.pop_front();
        }
        self.durable.told.push_back(ToldEnd { death: death.clone(), by_counter });
    }

    /// Takes back an end from those that are told.
    pub(super) fn take_told(&mut self, kill: &KillNote) -> Option<Death> {
        let end = self.told_end_of(kill)?;
        let at = self.durable.told.iter().position(|told| std::ptr::eq(&raw const told.death, end))?;
        self.durable.told.remove(at).map(|told| told.death)
    }

    pub(super) fn fault_of(&self, death: &Death) -> Option<&FaultNote> {
        let near = |fault: &&FaultNote| fault.at.boot.0.abs_diff(death.ended.boot.0) <= FAULT_WINDOW_MICROS;
        let joined = self.durable.faults.iter().rev().find(|fault| fault.container.is_some() && fault.container == death.container);
        joined.or_else(|| {
            let mut unplaced = self.durable.faults.iter().filter(|fault| fault.container.is_none()).filter(near);
            let only = unplaced.next()?;
            unplaced.next().is_none().then_some(only)
        })
    }

    pub(super) fn probe_of(&self, death: &Death) -> Option<&ProbeKill> {
        let name = &death.termination.slot.container;
        let fits = |(pod, container, kill): &&(PodUid, Option<String>, ProbeKill)| {
            let before = kill.at.boot <= BootTime(death.ended.boot.0.saturating_add(FAULT_WINDOW_MICROS));
            *pod == death.pod
                && container.as_ref().is_none_or(|container| container == name)
                && before
                && death.ended.boot.seconds_since(kill.at.boot) <= PROBE_WINDOW_SECONDS
        };
        self.durable.probes.iter().rev().find(fits).map(|(.., kill)| kill)
    }

    pub(super) fn last_words_of(&self, death: &Death) -> Option<LastWords> {
        self.words_of(&death.pod, &death.termination.slot.container, death.termination.attempt)
    }

    /// What a life of a container said last.
    pub(super) fn words_of(&self, pod: &PodUid, container: &String, attempt: u32) -> Option<LastWords> {
        let key = (pod, container, attempt);
        let said = self.last_words.iter().rev().find(|((pod, container, attempt), _)| (pod, container, *attempt) == key);
        said.map(|(_, words)| *words)
    }

    /// The end of its log, if it may be told.
    pub(super) fn excerpt_of(&self, death: &Death) -> Vec<String> {
        let key = (&death.pod, &death.termination.slot.container, death.termination.attempt);
        let said = self.excerpts.iter().rev().find(|((pod, container, attempt), _)| (pod, container, *attempt) == key);
        said.map(|(_, lines)| lines.clone()).unwrap_or_default()
    }

    /// Whether no later kill is told by the same finding.
    pub(super) fn is_latest(&self, kill: &KillNote) -> bool {
        self.durable.kills.iter().filter(|known| known.topic == kill.topic).all(|known| known.at <= kill.at)
    }

    /// Marks a kill as one whose container's end is counted.
    pub(super) fn account_for_kill(&mut self, kill: &KillNote) {
        let same = |known: &&mut KillNote| (&known.container, &known.pod, known.at) == (&kill.container, &kill.pod, kill.at);
        let known = self.durable.kills.iter_mut().filter(same);
        known.for_each(|known| known.accounted = true);
    }

    /// The kubelet's latest decision about a container between two moments.
    pub(super) fn probe_between(&self, pod: &PodUid, container: &str, after: BootTime, until: BootTime) -> Option<&ProbeKill> {
        let fits = |(known, name, kill): &&(PodUid, Option<String>, ProbeKill)| {
            known == pod && name.as_ref().is_none_or(|name| name == container) && kill.at.boot > after && kill.at.boot <= until
        };
        self.durable.probes.iter().rev().find(fits).map(|(.., kill)| kill)
    }

    /// Forgets a pod that is gone, but for which of its ends are counted: it may be told again.
    pub(super) fn close(&mut self, key: &str) {
        self.durable.terminations.close(key);
        self.durable.stories.retain(|slot, _| slot.pod != key);
        self.durable.deletions.remove(key);
    }

    /// Forgets all pods but these.
    pub(super) fn retain(&mut self, known: impl Fn(&str) -> bool) {
        self.durable.terminations.retain(&known);
        self.durable.stories.retain(|slot, _| known(&slot.pod));
        self.durable.deletions.retain(|key, _| known(key));
    }
}

fn push_bounded<T>(notes: &mut VecDeque<T>, note: T) {
    if notes.len() == MAX_NOTES {
        notes.pop_front();
    }
    notes.push_back(note);
}
