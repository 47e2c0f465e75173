//! What is left on the node, held against the kubelet's thresholds: evictions before they happen,
//! and filesystems that are full.

use super::{Core, Effect, KubeletQuestion, condition::Condition};
use crate::{
    diagnosis::eviction::{Grower, Measure, Part, StorageHistory, Threshold, Trend, effective},
    findings::{Evidence, EvidenceSource, FindingState, Topic},
    model::{Attribution, Blame, BootTime, Bytes, Cause, Confidence, EvictionSignal, FilesystemRole, Moment, PodUid, Scope},
    signal::{EvictionLayer, EvictionSettings, FilesystemSample, PodStorageSample, RoomSample, SourceName, SourceReport, SourceState},
};
use std::collections::{BTreeMap, VecDeque};

/// Near: less than five quarters of the threshold is left ...
const NEAR_PERCENT: u64 = 125;
/// ... or it will be reached within a quarter of an hour at the present rate.
const NEAR_SECONDS: u64 = 900;

/// Far again: half more than the threshold, and not reached within half an hour.
const FAR_PERCENT: u64 = 150;
const FAR_SECONDS: u64 = 1800;

/// Samples in a row that make a condition, and that end it.
const HITS: u32 = 2;
const CALM: u32 = 3;

/// A filesystem is full when less than this is left: a file can hardly be written.
const FULL_BYTES: u64 = 1 << 20;
const FULL_INODES: u64 = 16;
/// And it has room again with this.
const ROOM_BYTES: u64 = 16 << 20;
const ROOM_INODES: u64 = 1024;

/// A condition that holds is told again so often, lest it be taken for one that has passed.
const RETELL_SECONDS: u64 = 1800;

/// Without a sample for this long, six of the source's beats, what was read says nothing about now.
const STALE_SECONDS: u64 = 60;

/// Pods are measured when a filesystem has lost this share of its size, in per mille ...
const LOSS_PER_MILLE: u64 = 10;
/// ... or, where an eviction is near, this one.
const LOSS_NEAR_PER_MILLE: u64 = 1;

/// Words about a full disk remembered, from the kubelet's log and from containers.
const MAX_WORDS: usize = 16;
/// And for how long they count.
const WORDS_SECONDS: u64 = 900;

/// Image collection runs every five minutes: after three rounds without a failure it works again.
const GC_QUIET_SECONDS: u64 = 900;

/// Everything about what is left.
#[derive(Debug, Default)]
pub struct Room {
    latest: Option<(Moment, RoomSample)>,
    thresholds: Option<Result<Vec<Threshold>, String>>,
    /// What the configuration on the disk says.
    written: Option<EvictionSettings>,
    /// Whether the thresholds are the kubelet's own answer.
    answered: bool,
    pub(super) storage: StorageHistory,
    trends: BTreeMap<EvictionSignal, Trend>,
    watches: BTreeMap<Topic, Watch>,
    /// What was left of each filesystem when pods were last measured, or more since.
    measured_at: BTreeMap<String, (Bytes, Option<u64>)>,
    words: VecDeque<(Moment, EvidenceSource, String)>,
    gc_failed: Option<BootTime>,
    words_told: Option<BootTime>,
}

/// Whether a condition holds, steadied.
#[derive(Debug, Default)]
struct Watch {
    hits: u32,
    calm: u32,
    /// Since when it is told.
    since: Option<BootTime>,
    /// What was last told of it, and when.
    told: Option<(Phase, Option<PodUid>, BootTime)>,
}

/// How a condition stands: a change of it is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Near,
    Below,
    Full,
}

/// What a watch says after a sample.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Holds,
    Ended,
    Nothing,
}

/// One thing that may run out.
#[derive(Debug, Clone)]
pub(super) struct Margin {
    pub signal: EvictionSignal,
    pub available: u64,
    pub capacity: u64,
    /// The highest of its thresholds, in its own unit, and how long it may be crossed if it is a soft one.
    pub threshold: Option<(u64, Option<u64>)>,
    pub reached_in_seconds: Option<u64>,
    /// The directory asked, for a filesystem.
    pub path: Option<String>,
    /// Whether nodefs and imagefs are this one filesystem.
    pub shared: bool,
}

impl Watch {
    fn step(&mut self, now: BootTime, holds: bool, over: bool, hits: u32) -> Verdict {
        (self.hits, self.calm) = (if holds { self.hits + 1 } else { 0 }, if over { self.calm + 1 } else { 0 });
        if self.since.is_none() && self.hits >= hits {
            self.since = Some(now);
        }
        if self.calm == CALM {
            (self.since, self.told) = (None, None);
            return Verdict::Ended;
        }
        if self.since.is_some() { Verdict::Holds } else { Verdict::Nothing }
    }

    /// Whether this is worth telling: it is new, it changed, or it was told long ago.
    fn is_news(&mut self, phase: Phase, culprit: Option<PodUid>, now: BootTime) -> bool {
        let same = |(was, whom, at): &(Phase, Option<PodUid>, BootTime)| {
            *was == phase && (*whom == culprit || culprit.is_none()) && now.seconds_since(*at) < RETELL_SECONDS
        };
        let news = !self.told.as_ref().is_some_and(same);
        if news {
            self.told = Some((phase, culprit, now));
        }
        news
    }
}

impl Margin {
    fn is_near(&self) -> bool {
        let Some((threshold, _)) = self.threshold else { return false };
        let scaled = u128::from(self.available) * 100 < u128::from(threshold) * u128::from(NEAR_PERCENT);
        scaled || self.reached_in_seconds.is_some_and(|seconds| seconds <= NEAR_SECONDS)
    }

    fn is_far(&self) -> bool {
        let Some((threshold, _)) = self.threshold else { return true };
        let scaled = u128::from(self.available) * 100 >= u128::from(threshold) * u128::from(FAR_PERCENT);
        scaled && self.reached_in_seconds.is_none_or(|seconds| seconds > FAR_SECONDS)
    }

    pub(super) fn is_below(&self) -> bool {
        self.threshold.is_some_and(|(threshold, _)| self.available < threshold)
    }

    /// What pods could have taken of it.
    fn measure(&self) -> Option<(Measure, Part)> {
        let (measure, role) = match self.signal {
            EvictionSignal::Space(role) => (Measure::Bytes, role),
            EvictionSignal::Inodes(role) => (Measure::Inodes, role),
            EvictionSignal::Memory | EvictionSignal::Pids => return None,
        };
        let part = match role {
            _ if self.shared => Part::Both,
            FilesystemRole::Nodefs => Part::Nodefs,
            FilesystemRole::Imagefs | FilesystemRole::Containerfs => Part::Imagefs,
        };
        Some((measure, part))
    }

    pub(super) fn amount(&self, amount: u64) -> String {
        match self.signal {
            EvictionSignal::Memory | EvictionSignal::Space(_) => Bytes(amount).to_string(),
            EvictionSignal::Inodes(_) => format!("{amount} inodes"),
            EvictionSignal::Pids => format!("{amount} process ids"),
        }
    }

    /// `nodefs.available: 1.2 GiB of 20 GiB are left; the kubelet evicts below 2 GiB`.
    pub(super) fn said(&self) -> String {
        let threshold = match self.threshold {
            Some((threshold, None)) => format!("; the kubelet evicts below {}", self.amount(threshold)),
            Some((threshold, Some(grace))) => {
                format!("; the kubelet evicts when it is below {} for {grace} s (a soft threshold)", self.amount(threshold))
            }
            None => String::new(),
        };
        format!("{}: {} of {} are left{threshold}", self.signal, self.amount(self.available), self.amount(self.capacity))
    }
}

impl Room {
    /// Every signal of the latest sample, as far as it is fresh.
    pub(super) fn margins(&self, now: BootTime) -> Vec<Margin> {
        let fresh = self.latest.as_ref().filter(|(at, _)| now.seconds_since(at.boot) <= STALE_SECONDS);
        let Some((_, sample)) = fresh else { return Vec::new() };
        let mut margins = Vec::new();
        for filesystem in &sample.filesystems {
            for role in &filesystem.roles {
                margins.push(self.margin(EvictionSignal::Space(*role), filesystem.available.0, filesystem.size.0, Some(filesystem)));
                if let (Some(all), Some(free)) = (filesystem.inodes, filesystem.inodes_free) {
                    margins.push(self.margin(EvictionSignal::Inodes(*role), free, all, Some(filesystem)));
                }
            }
        }
        if let Some(memory) = sample.memory {
            let available = memory.capacity.saturating_sub(memory.working_set);
            margins.push(self.margin(EvictionSignal::Memory, available.0, memory.capacity.0, None));
        }
        if let Some(pids) = sample.pids {
            margins.push(self.margin(EvictionSignal::Pids, pids.max.saturating_sub(pids.used), pids.max, None));
        }
        margins.sort_by_key(|margin| margin.signal);
        margins
    }

    fn margin(&self, signal: EvictionSignal, available: u64, capacity: u64, filesystem: Option<&FilesystemSample>) -> Margin {
        let known = self.thresholds.iter().flat_map(|known| known.as_ref().ok()).flatten().filter(|threshold| threshold.signal == signal);
        let threshold = known.map(|threshold| (threshold.amount.of(capacity), threshold.grace_seconds)).max_by_key(|(amount, _)| *amount);
        let trend = self.trends.get(&signal);
        Margin {
            signal,
            available,
            capacity,
            threshold,
            reached_in_seconds: threshold.and_then(|(amount, _)| trend?.seconds_until(amount)),
            path: filesystem.map(|filesystem| filesystem.path.clone()),
            shared: filesystem.is_some_and(|filesystem| filesystem.roles.contains(&FilesystemRole::Nodefs) && filesystem.roles.len() > 1),
        }
    }

    /// Why the thresholds are not known.
    pub(super) fn thresholds_unknown(&self) -> Option<String> {
        match &self.thresholds {
            None => Some("the kubelet's configuration was not read".into()),
            Some(Err(why)) => Some(why.clone()),
            Some(Ok(_)) => None,
        }
    }

    /// What of the thresholds was read and cannot be understood.
    pub(super) fn thresholds_unreadable(&self) -> Option<&str> {
        self.thresholds.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// The latest sample, while it is fresh.
    pub(super) fn sample(&self, now: BootTime) -> Option<&RoomSample> {
        self.latest.as_ref().filter(|(at, _)| now.seconds_since(at.boot) <= STALE_SECONDS).map(|(_, sample)| sample)
    }

    /// The pod that took what ran out, and of what.
    pub(super) fn grower(&self, margin: &Margin) -> Option<Grower> {
        let (measure, part) = margin.measure()?;
        self.storage.grower(measure, part, Some(margin.capacity))
    }

    fn follow(&mut self, at: BootTime) {
        for margin in self.margins(at) {
            self.trends.entry(margin.signal).or_default().add(at, margin.available);
        }
    }

    /// Whether a filesystem has lost enough for a measurement to be worth it.
    fn wants_measurement(&mut self, near: bool) -> bool {
        let Some((_, sample)) = &self.latest else { return false };
        let per_mille = if near { LOSS_NEAR_PER_MILLE } else { LOSS_PER_MILLE };
        let mut wants = false;
        for filesystem in &sample.filesystems {
            let left = (filesystem.available, filesystem.inodes_free);
            let mark = self.measured_at.entry(filesystem.path.clone()).or_insert(left);
            let lost =
                |before: u64, now: u64, all: u64| u128::from(before.saturating_sub(now)) * 1000 > u128::from(all) * u128::from(per_mille);
            let bytes = lost(mark.0.0, left.0.0, filesystem.size.0);
            let inodes = lost(mark.1.unwrap_or(0), left.1.unwrap_or(0), filesystem.inodes.unwrap_or(0));
            if bytes || inodes {
                wants = true;
                *mark = left;
            } else {
                *mark = (mark.0.max(left.0), mark.1.max(left.1));
            }
        }
        // More filesystems than are watched at a time are those of before a move.
        self.measured_at.retain(|path, _| sample.filesystems.iter().any(|filesystem| filesystem.path == *path));
        wants
    }

    fn note_words(&mut self, at: Moment, source: EvidenceSource, what: String) {
        // A try that fails again says the same again.
        self.words.retain(|(_, _, known)| *known != what);
        if self.words.len() == MAX_WORDS {
            self.words.pop_front();
        }
        self.words.push_back((at, source, what));
    }

    fn words(&self, now: BootTime) -> impl Iterator<Item = Evidence> {
        let fresh = self.words.iter().filter(move |(at, ..)| now.seconds_since(at.boot) <= WORDS_SECONDS);
        fresh.map(|(at, source, what)| Evidence {
            source: *source,
            time: at.wall,
            what: what.clone(),
            supports: true,
            how_matched: "time: while the filesystem was full".into(),
        })
    }
}

impl Core {
    /// Takes in what is left on the node.
    pub(super) fn room(&mut self, sample: &RoomSample, at: Moment) {
        self.health.record(SourceName::Disks, at);
        if self.health.is_stale(SourceName::Disks) {
            let detail = "answers again".to_owned();
            self.health.reported(&SourceReport { source: SourceName::Disks, state: SourceState::Up, detail });
        }
        self.room.latest = Some((at, sample.clone()));
        self.room.follow(at.boot);
        let margins = self.room.margins(at.boot);
        for margin in margins.iter().filter(|margin| is_the_first_to_give_way(margin, &margins)) {
            self.watch_margin(margin, at);
        }
        for filesystem in &sample.filesystems {
            self.watch_full(filesystem, at);
        }
        let near = margins.iter().any(Margin::is_near);
        if self.room.wants_measurement(near) {
            self.effects.push(Effect::MeasureStorage);
        }
    }

    /// Takes in how the kubelet is configured.
    ///
    /// What the kubelet itself has answered holds until another configuration is found on the disk: then
    /// another kubelet runs, which has not answered yet.
    pub(super) fn eviction_settings(&mut self, settings: &EvictionSettings) {
        let is_other = self.room.written.replace(settings.clone()).is_some();
        if !self.room.answered || is_other {
            self.room.answered = false;
            self.room.thresholds = Some(effective(settings));
        }
        if is_other {
            self.effects.push(Effect::AskKubelet(KubeletQuestion::Configuration));
        }
    }

    /// Takes in what the kubelet itself answers.
    pub(super) fn eviction_settings_answered(&mut self, layer: EvictionLayer) {
        self.room.answered = true;
        self.room.thresholds = Some(effective(&EvictionSettings { layers: vec![layer], unread: None }));
    }

    /// Takes in what pods have on the disks.
    pub(super) fn pod_storage(&mut self, sample: &PodStorageSample, at: Moment) {
        self.room.storage.add(at.boot, sample);
    }

    /// Notes that somebody found no space on a device.
    pub(super) fn note_no_space(&mut self, at: Moment, source: EvidenceSource, what: String) {
        self.room.note_words(at, source, what);
    }

    /// Images could not be collected, not for the first time.
    pub(super) fn image_gc_failed(&mut self, said: String, at: Moment) {
        self.room.gc_failed = Some(at.boot);
        let margins = self.room.margins(at.boot);
        let images = margins.iter().find(|margin| margin.signal == EvictionSignal::Space(FilesystemRole::Imagefs));
        let left = images.map(|margin| format!(" {}.", margin.said())).unwrap_or_default();
        let mut evidence = vec![told(EvidenceSource::KubeletLog, at, said, "the kubelet's own words")];
        evidence.extend(images.map(|margin| told(EvidenceSource::Disk, at, margin.said(), "statvfs of the runtime's directory")));
        self.tell_condition(
            Condition {
                topic: gc_topic(),
                happening: format!("image-gc:{}", at.boot.0),
                weight: 1,
                cause: Cause::ImageGcFailed,
                confidence: Confidence::Proven,
                scope: Scope::Node,
                blame: Blame::Node,
                summary: format!("The kubelet cannot free enough space by deleting unused images.{left}"),
                subjects: vec![],
                evidence,
                not_found: vec![],
                actions: vec![
                    "What fills the images' filesystem is not unused images: look at writable layers, logs and files outside of pods."
                        .into(),
                ],
                attribution: Attribution::None,
            },
            at,
        );
    }

    /// Lets time pass.
    pub(super) fn advance_room(&mut self, now: Moment) {
        if self.room.gc_failed.is_some_and(|at| now.boot.seconds_since(at) > GC_QUIET_SECONDS) {
            self.room.gc_failed = None;
            self.clear_condition(&gc_topic(), now.boot);
        }
        let silent = self.room.latest.as_ref().is_some_and(|(at, _)| now.boot.seconds_since(at.boot) > STALE_SECONDS);
        if silent && self.health.is_up(SourceName::Disks) {
            let detail = "no answer for a minute: a filesystem hangs".to_owned();
            self.health.reported(&SourceReport { source: SourceName::Disks, state: SourceState::Stale, detail });
        }
        self.tell_words_without_a_full_disk(now);
    }

    fn watch_margin(&mut self, margin: &Margin, at: Moment) {
        let topic = Topic(format!("{}|{}", Cause::EvictionImminent, resource_of(margin)));
        let watch = self.room.watches.entry(topic.clone()).or_default();
        match watch.step(at.boot, margin.is_near(), margin.is_far(), HITS) {
            Verdict::Ended => self.clear_condition(&topic, at.boot),
            Verdict::Holds => self.tell_margin(topic, margin, at),
            Verdict::Nothing => {}
        }
    }

    fn tell_margin(&mut self, topic: Topic, margin: &Margin, at: Moment) {
        let grower = self.room.grower(margin);
        let phase = if margin.is_below() { Phase::Below } else { Phase::Near };
        let Some(happening) = self.news_of(&topic, phase, grower.as_ref(), at) else { return };
        let is_about = match (phase, margin.reached_in_seconds) {
            (Phase::Below, _) => "The kubelet evicts pods".to_owned(),
            (_, Some(seconds)) => format!("The kubelet is about to evict pods, in {} at the present rate", minutes(seconds)),
            _ => "The kubelet is about to evict pods".to_owned(),
        };
        let (culprit, mut evidence) = self.told_of_grower(grower.as_ref(), at);
        evidence.insert(0, told(EvidenceSource::Disk, at, margin.said(), how_read(margin)));
        let not_found = self.not_found_of_grower(grower.as_ref(), margin);
        self.tell_condition(
            Condition {
                topic,
                happening: happening.0,
                weight: happening.1,
                cause: Cause::EvictionImminent,
                confidence: Confidence::Proven,
                scope: Scope::Node,
                blame: if grower.is_some() { Blame::Workload } else { Blame::Node },
                summary: format!("{is_about}: {}.{culprit}", margin.said()),
                subjects: vec![],
                evidence,
                not_found,
                actions: vec![action_for(margin.signal).into()],
                attribution: Attribution::None,
            },
            at,
        );
    }

    fn watch_full(&mut self, filesystem: &FilesystemSample, at: Moment) {
        let lack = |limit_bytes: u64, limit_inodes: u64| {
            let bytes = filesystem.available.0 < limit_bytes && filesystem.size.0 > limit_bytes;
            let inodes = filesystem.inodes_free.is_some_and(|free| free < limit_inodes);
            (bytes, inodes)
        };
        let (bytes, inodes) = lack(FULL_BYTES, FULL_INODES);
        let topic = Topic(format!("{}|{}", Cause::DiskFull, filesystem.path));
        let watch = self.room.watches.entry(topic.clone()).or_default();
        match watch.step(at.boot, bytes || inodes, lack(ROOM_BYTES, ROOM_INODES) == (false, false), 1) {
            Verdict::Ended => self.clear_condition(&topic, at.boot),
            Verdict::Holds => self.tell_full(topic, filesystem, bytes || !inodes, at),
            Verdict::Nothing => {}
        }
    }

    fn tell_full(&mut self, topic: Topic, filesystem: &FilesystemSample, of_bytes: bool, at: Moment) {
        let role = filesystem.roles.first().copied().unwrap_or(FilesystemRole::Nodefs);
        let signal = if of_bytes { EvictionSignal::Space(role) } else { EvictionSignal::Inodes(role) };
        let Some(margin) = self.room.margins(at.boot).into_iter().find(|margin| margin.signal == signal) else { return };
        let grower = self.room.grower(&margin);
        let Some(happening) = self.news_of(&topic, Phase::Full, grower.as_ref(), at) else { return };
        let (culprit, mut evidence) = self.told_of_grower(grower.as_ref(), at);
        evidence.insert(0, told(EvidenceSource::Disk, at, margin.said(), how_read(&margin)));
        evidence.extend(self.room.words(at.boot));
        let what = if of_bytes { "no space" } else { "no inodes" };
        let roles: Vec<_> = filesystem.roles.iter().map(|role| role.as_str()).collect();
        let not_found = self.not_found_of_grower(grower.as_ref(), &margin);
        let left = if of_bytes { margin.amount(filesystem.available.0) } else { margin.amount(filesystem.inodes_free.unwrap_or(0)) };
        self.tell_condition(
            Condition {
                topic,
                happening: happening.0,
                weight: happening.1,
                cause: Cause::DiskFull,
                confidence: Confidence::Proven,
                scope: Scope::Node,
                blame: if grower.is_some() { Blame::Workload } else { Blame::Node },
                summary: format!(
                    "The filesystem at {} ({}) has {what} left: {left} of {}.{culprit}",
                    filesystem.path,
                    roles.join(", "),
                    margin.amount(margin.capacity)
                ),
                subjects: vec![],
                evidence,
                not_found,
                actions: vec![action_for(signal).into()],
                attribution: Attribution::None,
            },
            at,
        );
    }

    /// Somebody found no space, and no filesystem that is watched is full: another one is.
    fn tell_words_without_a_full_disk(&mut self, now: Moment) {
        /// The kubelet's word comes before the next sample.
        const SAMPLE_FOLLOWS_SECONDS: u64 = 15;
        let topic = Topic(format!("{}|words", Cause::DiskFull));
        let of_kubelet = |(_, source, _): &&(Moment, EvidenceSource, String)| *source == EvidenceSource::KubeletLog;
        let Some((at, _, said)) = self.room.words.iter().rev().find(of_kubelet).cloned() else { return };
        let age = now.boot.seconds_since(at.boot);
        if age > WORDS_SECONDS {
            if self.room.words_told.take().is_some() {
                self.clear_condition(&topic, now.boot);
            }
            return;
        }
        let full = |watch: (&Topic, &Watch)| watch.0.0.starts_with(Cause::DiskFull.as_str()) && watch.1.since.is_some();
        if self.room.watches.iter().any(full) {
            // They speak of that one, and are its evidence.
            self.room.words_told = Some(at.boot);
            return;
        }
        if age < SAMPLE_FOLLOWS_SECONDS || self.room.words_told >= Some(at.boot) {
            return;
        }
        self.room.words_told = Some(at.boot);
        let watched = self.room.sample(now.boot).map(|sample| sample.filesystems.iter().map(|fs| fs.path.clone()).collect::<Vec<_>>());
        let not_found = match watched.filter(|paths| !paths.is_empty()) {
            Some(paths) => format!("a full filesystem among those that are watched: {}", paths.join(", ")),
            None => "which filesystem it is: none can be looked at".into(),
        };
        self.tell_condition(
            Condition {
                topic,
                happening: format!("no-space:{}", at.boot.0),
                weight: 1,
                cause: Cause::DiskFull,
                confidence: Confidence::Likely,
                scope: Scope::Node,
                blame: Blame::Insufficient,
                summary: "The kubelet finds no space left on a device.".into(),
                subjects: vec![],
                evidence: vec![told(EvidenceSource::KubeletLog, at, said, "the kubelet's own words")],
                not_found: vec![not_found],
                actions: vec!["Look at every filesystem and volume of the node: `df -h`, `df -i`.".into()],
                attribution: Attribution::None,
            },
            at,
        );
    }

    /// Which happening to tell a condition as, and how many times it counts; `None` if it is no news.
    fn news_of(&mut self, topic: &Topic, phase: Phase, grower: Option<&Grower>, at: Moment) -> Option<(String, u64)> {
        let open = self.findings.get(topic).is_some_and(|finding| finding.state == FindingState::Open);
        let watch = self.room.watches.get_mut(topic)?;
        let since = watch.since?;
        let first = watch.told.is_none();
        if !watch.is_news(phase, grower.map(|grower| grower.pod.clone()), at.boot) {
            return None;
        }
        let rounds = at.boot.seconds_since(since) / RETELL_SECONDS;
        // One that an earlier run of the agent left open goes on.
        let weight = u64::from(rounds == 0 && !(first && open));
        Some((format!("room:{}:{}:{rounds}", topic.0, since.0), weight))
    }

    /// The pod that took the space: a sentence, and the evidence.
    pub(super) fn told_of_grower(&self, grower: Option<&Grower>, at: Moment) -> (String, Vec<Evidence>) {
        let Some(grower) = grower else { return (String::new(), Vec::new()) };
        let what = self.grower_said(grower);
        (format!(" {what}."), vec![told(EvidenceSource::Disk, at, what, "sizes of the pod's logs, emptyDir volumes and writable layers")])
    }

    /// `Pod shop/hog grew by 5.1 GiB in 12 min, most of it in its emptyDir volumes`.
    pub(super) fn grower_said(&self, grower: &Grower) -> String {
        let name = self.inventory.pod(&grower.pod).map_or_else(|| grower.pod.to_string(), crate::inventory::Pod::label);
        let amount = match grower.measure {
            Measure::Bytes => Bytes(grower.amount).to_string(),
            Measure::Inodes => format!("{} files", grower.amount),
        };
        let least = if grower.at_least { "at least " } else { "" };
        match grower.within_seconds {
            Some(seconds) => {
                format!("Pod {name} grew by {least}{amount} in {}, most of what it has is in {}", minutes(seconds), grower.place)
            }
            None => format!("Pod {name} has {least}{amount}, more than all others together, most of it in {}", grower.place),
        }
    }

    fn not_found_of_grower(&self, grower: Option<&Grower>, margin: &Margin) -> Vec<String> {
        let mut not_found = Vec::new();
        if grower.is_none() && margin.measure().is_some() {
            not_found.push(if self.room.storage.is_empty() {
                "who took it: pods' files have not been measured".into()
            } else {
                "a pod whose files grew: files outside of pods, images, or deleted files that a process still holds open take the rest"
                    .into()
            });
        }
        not_found.extend(self.room.thresholds_unknown().map(|why| format!("the kubelet's thresholds: {why}")));
        not_found
    }
}

/// Where one filesystem plays several roles, the role with the highest threshold gives way first.
fn is_the_first_to_give_way(margin: &Margin, all: &[Margin]) -> bool {
    let Some(path) = &margin.path else { return true };
    let rivals = all.iter().filter(|other| other.path.as_ref() == Some(path) && other.signal.is_bytes() == margin.signal.is_bytes());
    let amount = |margin: &Margin| margin.threshold.map(|(amount, _)| amount);
    let first = rivals.max_by_key(|other| (amount(other), std::cmp::Reverse(other.signal)));
    first.is_some_and(|first| first.signal == margin.signal)
}

/// What a condition is about: a filesystem's space stays the same thing whichever role gives way first.
fn resource_of(margin: &Margin) -> String {
    match (&margin.path, margin.signal.is_bytes()) {
        (Some(path), true) => format!("space of {path}"),
        (Some(path), false) => format!("inodes of {path}"),
        (None, _) => margin.signal.to_string(),
    }
}

fn gc_topic() -> Topic {
    Topic(format!("{}|", Cause::ImageGcFailed))
}

pub(super) fn told(source: EvidenceSource, at: Moment, what: String, how_matched: &str) -> Evidence {
    Evidence { source, time: at.wall, what, supports: true, how_matched: how_matched.into() }
}

fn how_read(margin: &Margin) -> &'static str {
    match margin.signal {
        EvictionSignal::Space(_) | EvictionSignal::Inodes(_) => "statvfs, as the kubelet asks",
        EvictionSignal::Memory => "the root cgroup's working set, as the kubelet counts it",
        EvictionSignal::Pids => "/proc/loadavg against pid_max, as the kubelet counts it",
    }
}

fn action_for(signal: EvictionSignal) -> &'static str {
    match signal {
        EvictionSignal::Space(_) => "Free space: delete what the named pod writes, rotate logs, or give it an ephemeral-storage limit.",
        EvictionSignal::Inodes(_) => {
            "Delete small files, or move what makes them to a volume of its own; a larger disk alone may not help."
        }
        EvictionSignal::Memory => "Look at pods that use more memory than they request; set requests to what they use.",
        EvictionSignal::Pids => "Look for a pod that starts processes without end; set the kubelet's podPidsLimit.",
    }
}

pub(super) fn minutes(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
