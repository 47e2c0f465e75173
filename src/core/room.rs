//! What is left on the node, held against the kubelet's thresholds: evictions before they happen,
//! and filesystems that are full.

use super::{
    Core, Effect, KubeletQuestion,
    condition::Condition,
    full_disk::NoSpace,
    watch::{HITS, Phase, RETELL_SECONDS, Verdict, Watch},
};
use crate::{
    diagnosis::eviction::{
        Grower, Margin, Measure, Part, StorageHistory, Threshold, Trend, effective, is_the_first_to_give_way, written_as,
    },
    findings::{Evidence, EvidenceSource, FindingState, Topic},
    model::{Attribution, Blame, BootTime, Bytes, Cause, Confidence, EvictionSignal, FilesystemRole, Moment, Scope},
    signal::{EvictionLayer, EvictionSettings, FilesystemSample, PodStorageSample, RoomSample, SourceName, SourceReport, SourceState},
};
use std::collections::BTreeMap;

/// Without a sample for this long, six of the source's beats, what was read says nothing about now.
const STALE_SECONDS: u64 = 60;

/// Pods are measured when a filesystem has lost this share of its size, in per mille ...
const LOSS_PER_MILLE: u64 = 10;
/// ... or, where an eviction is near, this one.
const LOSS_NEAR_PER_MILLE: u64 = 1;

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
    pub(super) watches: BTreeMap<Topic, Watch>,
    /// What was left of each filesystem when pods were last measured, or more since.
    measured_at: BTreeMap<String, (Bytes, Option<u64>)>,
    pub(super) no_space: NoSpace,
    gc_failed: Option<BootTime>,
}

impl Room {
    /// Every signal of the latest sample, as far as it is fresh.
    pub(super) fn margins(&self, now: BootTime) -> Vec<Margin> {
        let fresh = self.latest.as_ref().filter(|(at, _)| now.seconds_since(at.boot) <= STALE_SECONDS);
        let Some((_, sample)) = fresh else { return Vec::new() };
        let mut margins = Vec::new();
        for filesystem in &sample.filesystems {
            for role in &filesystem.roles {
                margins.push(self.margin(
                    EvictionSignal::Space(*role),
                    filesystem.available.0,
                    filesystem.size.0,
                    sample,
                    Some(filesystem),
                ));
                if let (Some(all), Some(free)) = (filesystem.inodes, filesystem.inodes_free) {
                    margins.push(self.margin(EvictionSignal::Inodes(*role), free, all, sample, Some(filesystem)));
                }
            }
        }
        if let Some(memory) = sample.memory {
            let available = memory.capacity.saturating_sub(memory.working_set);
            margins.push(self.margin(EvictionSignal::Memory, available.0, memory.capacity.0, sample, None));
        }
        if let Some(pids) = sample.pids {
            margins.push(self.margin(EvictionSignal::Pids, pids.max.saturating_sub(pids.used), pids.max, sample, None));
        }
        margins.sort_by_key(|margin| margin.signal);
        margins
    }

    fn margin(
        &self,
        signal: EvictionSignal,
        available: u64,
        capacity: u64,
        sample: &RoomSample,
        filesystem: Option<&FilesystemSample>,
    ) -> Margin {
        let written = written_as(signal, sample);
        let known = self.thresholds.iter().flat_map(|known| known.as_ref().ok()).flatten();
        let known = known.filter(|threshold| Some(threshold.signal) == written);
        let threshold = known.map(|threshold| (threshold.amount.of(capacity), threshold.grace_seconds)).max_by_key(|(amount, _)| *amount);
        let trend = self.trends.get(&signal);
        Margin {
            signal,
            available,
            capacity,
            threshold,
            reached_in_seconds: threshold.and_then(|(amount, _)| trend?.seconds_until(amount)),
            path: filesystem.map(|filesystem| filesystem.path.clone()),
            part: filesystem.and_then(|filesystem| Part::on(&filesystem.roles)),
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

    /// Images could not be collected, not for the first time.
    pub(super) fn image_gc_failed(&mut self, said: String, at: Moment) {
        self.room.gc_failed = Some(at.boot);
        let margins = self.room.margins(at.boot);
        let images = margins.iter().find(|margin| margin.signal == EvictionSignal::Space(FilesystemRole::Imagefs));
        let left = images.map(|margin| format!(" {}.", margin.said())).unwrap_or_default();
        let action = match images {
            Some(images) if images.part.is_none() => {
                "What fills the images' filesystem is not unused images, and pods write nothing there: look at images in use and at files of others."
            }
            _ => "What fills the images' filesystem is not unused images: look at writable layers, logs and files outside of pods.",
        };
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
                actions: vec![action.into()],
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
        let topic = Topic(format!("{}|{}", Cause::EvictionImminent, margin.resource()));
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
        evidence.insert(0, told(EvidenceSource::Disk, at, margin.said(), margin.how_read()));
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
                actions: vec![margin.remedy().into()],
                attribution: Attribution::None,
            },
            at,
        );
    }

    /// Which happening to tell a condition as, and how many times it counts; `None` if it is no news.
    pub(super) fn news_of(&mut self, topic: &Topic, phase: Phase, grower: Option<&Grower>, at: Moment) -> Option<(String, u64)> {
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

    pub(super) fn not_found_of_grower(&self, grower: Option<&Grower>, margin: &Margin) -> Vec<String> {
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

fn gc_topic() -> Topic {
    Topic(format!("{}|", Cause::ImageGcFailed))
}

pub(super) fn told(source: EvidenceSource, at: Moment, what: String, how_matched: &str) -> Evidence {
    Evidence { source, time: at.wall, what, supports: true, how_matched: how_matched.into() }
}

pub(super) fn minutes(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
