//! The life of findings: they open, count, are amended, resolve, come back, and expire.

use super::{Finding, FindingId, FindingState};
use crate::model::{BootTime, Moment};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The most findings that are kept. A finding takes some 4 kB, so the store stays under 2 MB: about
/// two for each container of a full node. Beyond it the oldest resolved one goes, then the oldest.
pub const MAX_FINDINGS: usize = 512;

/// How many occurrences a finding remembers in order not to count one twice: after a restart the
/// agent reads back at most the records since its last checkpoint, seconds of them.
const REMEMBERED_OCCURRENCES: usize = 256;

/// A condition that has not recurred for this long is resolved. Longer than the kubelet's longest
/// back-off (5 min) and the ten minutes after which it considers a container healthy again.
const RESOLVE_AFTER_SECONDS: u64 = 3600;

/// A resolved finding stays readable for a day.
const EXPIRE_AFTER_SECONDS: u64 = 86_400;

/// What a finding is about, so that a repeat of the same condition finds its finding.
///
/// Two occurrences with the same topic are one condition: the same cause family for the same
/// container, pod, service or device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Topic(pub String);

/// One happening, however many witnesses tell of it: a container instance's death, a kernel kill.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OccurrenceId(pub String);

/// What the diagnosis concluded about one happening.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// Which condition it belongs to.
    pub topic: Topic,
    /// Which happening it is; telling it again amends instead of counting.
    pub id: OccurrenceId,
    /// When, on the boot clock.
    pub at: BootTime,
    /// How many times it counts: 0 for a condition that is told but not counted again.
    pub weight: u64,
    /// The finding as this happening alone would make it. `count`, `first_seen` and `id` are those
    /// of a new finding; an existing one keeps its own.
    pub finding: Finding,
}

/// What became of an occurrence or of the passing of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new finding, or one that had been resolved.
    Opened,
    /// The same condition again.
    Counted,
    /// More or better evidence for a happening already counted.
    Amended,
    /// The condition has stopped.
    Resolved,
}

/// One finding with what its life needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    finding: Finding,
    seen: VecDeque<OccurrenceId>,
    last: BootTime,
    resolved: Option<BootTime>,
}

/// All findings of this node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindingStore {
    entries: BTreeMap<Topic, Entry>,
    dropped: u64,
}

impl FindingStore {
    /// Takes in a happening and says what it changed.
    pub fn record(&mut self, occurrence: Occurrence) -> Change {
        let Occurrence { topic, id, at, weight, finding } = occurrence;
        let Some(entry) = self.entries.get_mut(&topic) else {
            self.make_room();
            self.entries.insert(topic, Entry { finding, seen: VecDeque::from([id]), last: at, resolved: None });
            return Change::Opened;
        };
        if entry.seen.contains(&id) {
            entry.amend(finding);
            return Change::Amended;
        }
        entry.count(id, at, weight, finding)
    }

    /// The topic and finding that tell of a happening, if one does.
    pub fn telling_of(&self, id: &OccurrenceId) -> Option<(&Topic, &Finding)> {
        let telling = self.entries.iter().find(|(_, entry)| entry.seen.contains(id));
        telling.map(|(topic, entry)| (topic, &entry.finding))
    }

    /// The finding about a topic.
    pub fn get(&self, topic: &Topic) -> Option<&Finding> {
        self.entries.get(topic).map(|entry| &entry.finding)
    }

    /// The finding about a topic, to be completed in place.
    pub fn get_mut(&mut self, topic: &Topic) -> Option<&mut Finding> {
        self.entries.get_mut(topic).map(|entry| &mut entry.finding)
    }

    /// Drops a topic whose one happening turned out to be something else.
    pub fn retract(&mut self, topic: &Topic, id: &OccurrenceId) {
        let Some(entry) = self.entries.get_mut(topic) else { return };
        entry.seen.retain(|seen| seen != id);
        entry.finding.count = entry.finding.count.saturating_sub(1);
        if entry.seen.is_empty() {
            self.entries.remove(topic);
        }
    }

    /// A condition that was told goes on: it is not quiet, however long nothing new is said of it.
    pub fn still_holds(&mut self, topic: &Topic, at: Moment) {
        if let Some(entry) = self.entries.get_mut(topic).filter(|entry| entry.resolved.is_none()) {
            entry.last = entry.last.max(at.boot);
            entry.finding.last_seen = entry.finding.last_seen.max(at.wall);
        }
    }

    /// Resolves a condition whose evidence has stopped or whose subject is gone.
    pub fn resolve(&mut self, topic: &Topic, now: BootTime) -> Option<&Finding> {
        let entry = self.entries.get_mut(topic)?;
        entry.resolve(now).then_some(&entry.finding)
    }

    /// Lets time pass: quiet findings resolve (their ids are returned), old ones expire.
    pub fn advance(&mut self, now: BootTime) -> Vec<Finding> {
        self.entries.retain(|_, entry| entry.resolved.is_none_or(|since| now.seconds_since(since) < EXPIRE_AFTER_SECONDS));
        let quiet = self.entries.values_mut().filter(|entry| now.seconds_since(entry.last) >= RESOLVE_AFTER_SECONDS);
        quiet.filter_map(|entry| entry.resolve(now).then(|| entry.finding.clone())).collect()
    }

    /// Every finding, open ones first, the latest first.
    pub fn list(&self) -> Vec<&Finding> {
        let mut findings: Vec<_> = self.entries.values().map(|entry| &entry.finding).collect();
        findings.sort_by(|a, b| {
            let resolved = |finding: &Finding| finding.state == FindingState::Resolved;
            (resolved(a), b.last_seen, &a.id).cmp(&(resolved(b), a.last_seen, &b.id))
        });
        findings
    }

    /// Topics with their findings.
    pub fn topics(&self) -> impl Iterator<Item = (&Topic, &Finding)> {
        self.entries.iter().map(|(topic, entry)| (topic, &entry.finding))
    }

    /// How many findings are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many were given up for lack of room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn make_room(&mut self) {
        if self.entries.len() < MAX_FINDINGS {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, entry)| (entry.resolved.is_none(), entry.last)).map(|(topic, _)| topic.clone());
        if let Some(topic) = oldest {
            self.entries.remove(&topic);
            self.dropped += 1;
        }
    }
}

impl Entry {
    fn amend(&mut self, told: Finding) {
        let old = std::mem::replace(&mut self.finding, told);
        self.finding.id = old.id;
        self.finding.count = old.count;
        self.finding.first_seen = old.first_seen;
        self.finding.last_seen = old.last_seen.max(self.finding.last_seen);
        self.finding.state = old.state;
        self.finding.related = merged(old.related, std::mem::take(&mut self.finding.related));
    }

    fn count(&mut self, id: OccurrenceId, at: BootTime, weight: u64, told: Finding) -> Change {
        let count = self.finding.count + weight;
        self.amend(told);
        self.finding.count = count;
        self.finding.state = FindingState::Open;
        self.seen.push_back(id);
        if self.seen.len() > REMEMBERED_OCCURRENCES {
            self.seen.pop_front();
        }
        self.last = self.last.max(at);
        if self.resolved.take().is_some() { Change::Opened } else { Change::Counted }
    }

    fn resolve(&mut self, now: BootTime) -> bool {
        if self.resolved.is_some() {
            return false;
        }
        self.resolved = Some(now);
        self.finding.state = FindingState::Resolved;
        true
    }
}

fn merged(mut ids: Vec<FindingId>, more: Vec<FindingId>) -> Vec<FindingId> {
    for id in more {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        findings::Subject,
        model::{Attribution, Blame, BootId, Cause, Confidence, Scope},
    };
    use jiff::Timestamp;

    fn occurrence(topic: &str, id: &str, second: u64) -> Occurrence {
        let time = Timestamp::from_second(1_800_000_000 + i64::try_from(second).expect("small")).expect("time");
        let finding = Finding {
            id: FindingId::derive(&BootId("boot".into()), id, Cause::OomContainerLimit),
            cause: Cause::OomContainerLimit,
            confidence: Confidence::Proven,
            scope: Scope::Container,
            blame: Blame::Workload,
            state: FindingState::Open,
            count: 1,
            first_seen: time,
            last_seen: time,
            summary: id.into(),
            subjects: vec![Subject::default()],
            evidence: vec![],
            not_found: vec![],
            blind: vec![],
            actions: vec![],
            related: vec![],
            attribution: Attribution::Kernel,
            memory: None,
            crash_loop: None,
            log_excerpt: vec![],
        };
        Occurrence { topic: Topic(topic.into()), id: OccurrenceId(id.into()), at: BootTime(second * 1_000_000), weight: 1, finding }
    }

    #[test]
    fn a_repeat_counts_and_a_second_telling_amends() {
        let mut store = FindingStore::default();
        assert_eq!(store.record(occurrence("web", "a", 1)), Change::Opened);
        let first = store.list()[0].clone();
        assert_eq!(store.record(occurrence("web", "b", 2)), Change::Counted);
        assert_eq!(store.record(occurrence("web", "a", 1)), Change::Amended);
        let finding = store.list()[0];
        assert_eq!((finding.count, &finding.id, finding.first_seen), (2, &first.id, first.first_seen));
        assert!(finding.last_seen > first.last_seen, "a late telling does not turn the time back");
    }

    #[test]
    fn a_quiet_condition_resolves_comes_back_and_expires() {
        let mut store = FindingStore::default();
        store.record(occurrence("web", "a", 0));
        assert!(store.advance(BootTime(3_599_000_000)).is_empty());
        assert_eq!(store.advance(BootTime(3_600_000_000))[0].state, FindingState::Resolved);
        assert!(store.advance(BootTime(3_601_000_000)).is_empty(), "it resolves once");
        assert_eq!(store.record(occurrence("web", "b", 4000)), Change::Opened);
        assert_eq!(store.list()[0].count, 2);
        store.advance(BootTime(8_000_000_000));
        store.advance(BootTime(8_000_000_000 + 86_400_000_000));
        assert!(store.is_empty());
    }

    #[test]
    fn the_store_is_bounded_and_gives_up_resolved_findings_first() {
        let mut store = FindingStore::default();
        for n in 0..MAX_FINDINGS {
            store.record(occurrence(&format!("topic {n:04}"), "a", u64::try_from(n).expect("small")));
        }
        store.resolve(&Topic("topic 0007".into()), BootTime(600_000_000));
        store.record(occurrence("one more", "a", 700));
        assert_eq!((store.len(), store.dropped()), (MAX_FINDINGS, 1));
        assert!(store.get(&Topic("topic 0007".into())).is_none());
        assert!(store.get(&Topic("topic 0000".into())).is_some());
    }

    #[test]
    fn a_retracted_happening_leaves_nothing_behind() {
        let mut store = FindingStore::default();
        let told = occurrence("web", "a", 1);
        store.record(told.clone());
        store.retract(&told.topic, &told.id);
        assert!(store.is_empty());
    }

    #[test]
    fn a_stored_state_is_read_back_as_it_was() {
        let mut store = FindingStore::default();
        store.record(occurrence("web", "a", 1));
        let text = serde_json::to_string(&store).expect("json");
        assert_eq!(serde_json::from_str::<FindingStore>(&text).expect("json"), store);
    }
}
