//! What the kubelet's log says of a container shortly before it ends.

use crate::{
    diagnosis::death::{Death, DeathWord, DeathWordKind},
    model::{BootTime, PodUid},
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Words kept: as many as kills and faults.
const MAX_WORDS: usize = 512;

/// What is said precedes the end by at most a grace period and some.
const BEFORE_SECONDS: u64 = 90;

/// Statuses have whole seconds, and the kubelet may speak after the runtime.
const AFTER_MICROS: u64 = 2_500_000;

/// The latest words. They survive a restart of the agent, because the lines that they stand in are not read again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeathWords {
    words: VecDeque<(PodUid, Option<String>, DeathWord)>,
}

/// How long a container may live on after a word, by the word itself.
fn grace_of(word: &DeathWord) -> u64 {
    match word.kind {
        DeathWordKind::Killing { grace_seconds } => grace_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0),
        _ => 0,
    }
}

impl DeathWords {
    /// How long before an end its first word may have been said, where no grace period is longer.
    pub const REACH_SECONDS: u64 = BEFORE_SECONDS;

    /// Forgets words of ends that have surely been told.
    pub fn advance(&mut self, now: BootTime) {
        let over = |word: &DeathWord| now.seconds_since(word.at.boot) > 2 * BEFORE_SECONDS + grace_of(word);
        self.words.retain(|(_, _, word)| !over(word));
    }

    /// Notes a word; one without a container is about all of the pod's.
    pub fn note(&mut self, pod: PodUid, container: Option<String>, word: DeathWord) {
        if self.words.len() == MAX_WORDS {
            self.words.pop_front();
        }
        self.words.push_back((pod, container, word));
    }

    /// The words about one end: the latest of each kind.
    pub fn of(&self, death: &Death) -> Vec<DeathWord> {
        let mut found: Vec<DeathWord> = Vec::new();
        for (pod, container, word) in self.words.iter().rev() {
            let named = container.as_ref().is_none_or(|name| *name == death.termination.slot.container);
            let before = word.at.boot <= BootTime(death.ended.boot.0.saturating_add(AFTER_MICROS));
            let near = before && death.ended.boot.seconds_since(word.at.boot) <= BEFORE_SECONDS.saturating_add(grace_of(word));
            if *pod == death.pod && named && near && found.iter().all(|known| known.kind != word.kind) {
                found.push(word.clone());
            }
        }
        found
    }
}
