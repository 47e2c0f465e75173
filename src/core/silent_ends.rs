//! Ends that only the log directory tells, inside the core: told from the node's own witnesses while
//! the API server is away, and told again when a status describes them.

use super::{
    ContainerKey, Core, Effect,
    deaths::{death_topic, position},
};
use crate::{
    diagnosis::{
        death::{Correlation, Death, KillNote},
        silent_death::{self, SilentWitnesses},
        termination::{Silence, SilentEnd, Slot},
    },
    findings::{Finding, Life, Occurrence, OccurrenceId, Subject, Topic},
    model::{BootTime, Cause, Moment, PodUid},
};

/// A container is started again at most this long after its end: the kubelet's longest back-off, 5 min,
/// and what a start and the next look at the directory take.
const RESTART_SECONDS: u64 = 360;

impl Core {
    /// Takes the directory's word where no status came in time.
    pub(super) fn break_silences(&mut self, now: Moment) {
        for silence in self.deaths.durable.terminations.silences(now.boot) {
            match silence {
                Silence::Suspected { slot, attempt } => self.ask_for_log(&slot, attempt),
                Silence::Ended(end) => self.tell_silent_end(&end, now),
            }
        }
    }

    fn ask_for_log(&mut self, slot: &Slot, attempt: u32) {
        let Some(pod) = PodUid::parse(&slot.pod).and_then(|uid| self.inventory.pod(&uid)) else { return };
        let (Some(namespace), Some(name)) = (pod.namespace.clone(), pod.name.clone()) else { return };
        let container = slot.container.clone();
        self.effects.push(Effect::ReadLog { namespace, pod: name, uid: pod.uid.clone(), container, attempt });
    }

    fn tell_silent_end(&mut self, end: &SilentEnd, now: Moment) {
        let Some(uid) = PodUid::parse(&end.slot.pod) else { return };
        let seen = now.at_boot_time(end.at);
        self.count_unobserved(&uid, &end.slot.container, end.unobserved_before);
        let told = match self.kill_before(&uid, end) {
            Some(kill) => {
                self.deaths.account_for_kill(&kill);
                self.add_silent_life(end, kill.at, kill.cause);
                (kill.cause, Correlation::Explained)
            }
            None => self.tell_unwitnessed(end, &uid, seen),
        };
        let key = ContainerKey::of(&self.subject_of_slot(&uid, end));
        self.counters.count_termination(key, told.0, 1);
        self.counters.count_correlation(told.1, 1);
        self.deaths.durable.crashed.insert(uid, end.at);
        self.effects.push(Effect::Save);
    }

    /// The kernel's kill that ended this life, if its end is not counted yet. Its finding is told already.
    fn kill_before(&self, uid: &PodUid, end: &SilentEnd) -> Option<KillNote> {
        let fits = |kill: &&KillNote| {
            let ended = kill.ends_container.unwrap_or(kill.cause != Cause::OomChildProcess);
            let timely = kill.at <= end.at && end.at.seconds_since(kill.at) <= RESTART_SECONDS;
            ended && timely && !kill.accounted && self.is_life_of(kill, uid, &end.slot)
        };
        self.deaths.durable.kills.iter().find(fits).cloned()
    }

    fn is_life_of(&self, kill: &KillNote, uid: &PodUid, slot: &Slot) -> bool {
        let Some(container) = &kill.container else { return false };
        let subject = self.inventory.subject(None, Some(container));
        let pod = subject.pod_uid.or_else(|| self.inventory.container(container)?.pod.clone());
        let name = self.inventory.subject(Some(uid), Some(container)).container;
        pod.as_ref() == Some(uid) && name.is_some_and(|name| name == slot.container)
    }

    fn tell_unwitnessed(&mut self, end: &SilentEnd, uid: &PodUid, seen: Moment) -> (Cause, Correlation) {
        let last = self.deaths.durable.stories.get(&end.slot).and_then(crate::diagnosis::crash_loop::Story::last_death);
        let after = last.unwrap_or(BootTime(end.at.0.saturating_sub(RESTART_SECONDS * 1_000_000)));
        let witnesses = SilentWitnesses {
            probe: self.deaths.probe_between(uid, &end.slot.container, after, end.at),
            last_words: self.deaths.words_of(uid, &end.slot.container, end.attempt),
            log_doubt: self.log_doubt(end.at),
        };
        let explanation = silent_death::explain(end.attempt, seen.wall, &witnesses);
        let told = (explanation.cause, Correlation::of(&explanation));
        let story = self.add_silent_life(end, end.at, explanation.cause);
        let position = silent_position(&end.slot, end.attempt);
        let subject = self.subject_of_slot(uid, end);
        let topic = death_topic(explanation.cause, Some(&subject));
        let finding = self.finding_of_end(&position, subject, seen.wall, explanation, story);
        let weight = 1 + end.unobserved_before;
        let finding = Finding { count: weight, ..finding };
        self.record(Occurrence { topic, id: OccurrenceId(position), at: end.at, weight, finding });
        told
    }

    fn add_silent_life(&mut self, end: &SilentEnd, at: BootTime, cause: Cause) -> Option<crate::findings::CrashLoop> {
        let life = Life { attempt: Some(end.attempt), exit_code: None, uptime_seconds: None, memory_at_death_bytes: None };
        let story = self.deaths.durable.stories.entry(end.slot.clone()).or_default();
        story.died(at, cause, life);
        story.told()
    }

    fn subject_of_slot(&self, uid: &PodUid, end: &SilentEnd) -> Subject {
        Subject { container: Some(end.slot.container.clone()), attempt: Some(end.attempt), ..self.inventory.subject(Some(uid), None) }
    }

    /// The happening under which a death is told: the one without a status, if that told it, so that
    /// the finding is amended where the cause stays and moves where another turned out.
    pub(super) fn take_over(&mut self, death: &Death, topic: &Topic) -> OccurrenceId {
        if !death.termination.told_before {
            return OccurrenceId(position(death));
        }
        let id = OccurrenceId(silent_position(&death.termination.slot, death.termination.attempt));
        let was = self.findings.telling_of(&id).map(|(was, _)| was.clone());
        if let Some(was) = was.filter(|was| was != topic) {
            self.findings.retract(&was, &id);
        }
        id
    }

    /// An end that was told without a status turned out to be another finding's, or none.
    pub(super) fn retract_silent(&mut self, death: &Death) {
        if death.termination.told_before {
            self.retract_end(death);
        }
    }

    /// Takes back how an end was told.
    pub(super) fn retract_end(&mut self, death: &Death) {
        let slot = &death.termination.slot;
        for id in [silent_position(slot, death.termination.attempt), position(death)].map(OccurrenceId) {
            if let Some(was) = self.findings.telling_of(&id).map(|(was, _)| was.clone()) {
                self.findings.retract(&was, &id);
            }
        }
    }

    /// Counts ends that happened without anybody describing them.
    pub(super) fn count_unobserved(&mut self, uid: &PodUid, container: &str, ends: u64) {
        if ends == 0 {
            return;
        }
        let subject = Subject { container: Some(container.to_owned()), ..self.inventory.subject(Some(uid), None) };
        self.counters.terminations_unobserved += ends;
        self.counters.count_termination(ContainerKey::of(&subject), Cause::Unknown, ends);
        self.counters.count_correlation(Correlation::Unexplained, ends);
    }
}

/// Which happening it is, as far as the directory tells: without the instance's id.
fn silent_position(slot: &Slot, attempt: u32) -> String {
    format!("end:{}/{}:{attempt}", slot.pod, slot.container)
}
