//! Filesystems of the node that are full, and words about one that is not watched.

use super::{
    Core,
    condition::Condition,
    room::told,
    watch::{Phase, Verdict, Watch},
};
use crate::{
    findings::{Evidence, EvidenceSource, Topic},
    model::{Attribution, Blame, BootTime, Cause, Confidence, EvictionSignal, FilesystemRole, Moment, Scope},
    signal::FilesystemSample,
};
use std::collections::VecDeque;

/// A filesystem is full when less than this is left: a file can hardly be written.
const FULL_BYTES: u64 = 1 << 20;
const FULL_INODES: u64 = 16;
/// And it has room again with this.
const ROOM_BYTES: u64 = 16 << 20;
const ROOM_INODES: u64 = 1024;

/// Words about a full disk remembered, from the kubelet's log and from containers.
const MAX_WORDS: usize = 16;
/// And for how long they count.
const WORDS_SECONDS: u64 = 900;

/// Who found no space left, lately.
#[derive(Debug, Default)]
pub struct NoSpace {
    words: VecDeque<(Moment, EvidenceSource, String)>,
    /// The time of the words that were told last.
    told: Option<BootTime>,
}

impl NoSpace {
    fn note(&mut self, at: Moment, source: EvidenceSource, what: String) {
        // A try that fails again says the same again.
        self.words.retain(|(_, _, known)| *known != what);
        if self.words.len() == MAX_WORDS {
            self.words.pop_front();
        }
        self.words.push_back((at, source, what));
    }

    fn evidence(&self, now: BootTime) -> impl Iterator<Item = Evidence> {
        let fresh = self.words.iter().filter(move |(at, ..)| now.seconds_since(at.boot) <= WORDS_SECONDS);
        fresh.map(|(at, source, what)| told(*source, *at, what.clone(), "time: while the filesystem was full"))
    }
}

impl Core {
    /// Notes that somebody found no space on a device.
    pub(super) fn note_no_space(&mut self, at: Moment, source: EvidenceSource, what: String) {
        self.room.no_space.note(at, source, what);
    }

    /// Looks whether a filesystem is full.
    pub(super) fn watch_full(&mut self, filesystem: &FilesystemSample, at: Moment) {
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
        evidence.insert(0, told(EvidenceSource::Disk, at, margin.said(), margin.how_read()));
        evidence.extend(self.room.no_space.evidence(at.boot));
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
                actions: vec![margin.remedy().into()],
                attribution: Attribution::None,
            },
            at,
        );
    }

    /// Somebody found no space, and no filesystem that is watched is full: another one is.
    pub(super) fn tell_words_without_a_full_disk(&mut self, now: Moment) {
        /// The kubelet's word comes before the next sample.
        const SAMPLE_FOLLOWS_SECONDS: u64 = 15;
        let topic = Topic(format!("{}|words", Cause::DiskFull));
        let of_kubelet = |(_, source, _): &&(Moment, EvidenceSource, String)| *source == EvidenceSource::KubeletLog;
        let Some((at, _, said)) = self.room.no_space.words.iter().rev().find(of_kubelet).cloned() else { return };
        let age = now.boot.seconds_since(at.boot);
        if age > WORDS_SECONDS {
            if self.room.no_space.told.take().is_some() {
                self.clear_condition(&topic, now.boot);
            }
            return;
        }
        let full = |watch: (&Topic, &Watch)| watch.0.0.starts_with(Cause::DiskFull.as_str()) && watch.1.since.is_some();
        if self.room.watches.iter().any(full) {
            // They speak of that one, and are its evidence.
            self.room.no_space.told = Some(at.boot);
            return;
        }
        if age < SAMPLE_FOLLOWS_SECONDS || self.room.no_space.told >= Some(at.boot) {
            return;
        }
        self.room.no_space.told = Some(at.boot);
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
}
