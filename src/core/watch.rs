//! Whether a condition of the node holds, steadied over several samples, and when to tell of it again.

use crate::model::{BootTime, PodUid};

/// Samples in a row that make a condition, and that end it.
pub const HITS: u32 = 2;
const CALM: u32 = 3;

/// A condition that holds is told again so often, lest it be taken for one that has passed.
pub const RETELL_SECONDS: u64 = 1800;

/// Whether a condition holds, steadied.
#[derive(Debug, Default)]
pub struct Watch {
    hits: u32,
    calm: u32,
    /// Since when it is told.
    pub since: Option<BootTime>,
    /// What was last told of it, and when.
    pub told: Option<(Phase, Option<PodUid>, BootTime)>,
}

/// How a condition stands: a change of it is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Near,
    Below,
    Full,
}

/// What a watch says after a sample.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Ended,
    Nothing,
}

impl Watch {
    /// Takes a sample: whether the condition holds, whether it is over, and how many samples in a row make it.
    pub fn step(&mut self, now: BootTime, holds: bool, over: bool, hits: u32) -> Verdict {
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
    pub fn is_news(&mut self, phase: Phase, culprit: Option<PodUid>, now: BootTime) -> bool {
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
