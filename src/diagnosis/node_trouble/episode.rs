//! One trouble from its first sign to its end.

use super::sign::Sign;
use crate::{
    findings::{EvidenceSource, Topic},
    model::{BootTime, Cause, Moment},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Lines kept as evidence: the first of each kind, which are a handful.
const MAX_WITNESSES: usize = 8;

/// A line that tells of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Witness {
    /// When.
    pub at: Moment,
    /// Which kind of line.
    pub kind: String,
    /// Its words, redacted and cut.
    pub said: String,
    /// Who says it.
    #[serde(default = "kubelet_log")]
    pub source: EvidenceSource,
}

/// With what it probably began: something that was wrong with the node before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// What was wrong, as a clause.
    pub clause: String,
    /// What shows it.
    pub witness: Witness,
    /// The finding about it, where there is one.
    pub topic: Option<Topic>,
}

/// What checkpoints of earlier versions leave out.
const fn kubelet_log() -> EvidenceSource {
    EvidenceSource::KubeletLog
}

/// One trouble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    since: Moment,
    last: Moment,
    read_first: BootTime,
    read_last: BootTime,
    what: String,
    rank: u8,
    hold_seconds: u64,
    once: bool,
    until_started: bool,
    told: bool,
    happenings: u64,
    brings: BTreeSet<Cause>,
    witnesses: Vec<Witness>,
    start: Option<Start>,
}

impl Episode {
    pub(super) fn new(first: &Sign, at: Moment, read: BootTime) -> Self {
        Self {
            since: at,
            last: at,
            read_first: read,
            read_last: read,
            what: first.what.clone(),
            rank: first.rank,
            hold_seconds: first.hold_seconds,
            once: first.once,
            until_started: first.until_started,
            told: false,
            happenings: 0,
            brings: BTreeSet::new(),
            witnesses: Vec::new(),
            start: None,
        }
    }

    /// With what it probably began.
    pub fn start(&self) -> Option<&Start> {
        self.start.as_ref()
    }

    /// Takes with what it probably began; what was told of that once stays.
    pub(super) fn begins_with(&mut self, start: Start) {
        self.start.get_or_insert(start);
    }

    /// When its first sign was.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// When its latest sign was.
    pub fn last(&self) -> Moment {
        self.last
    }

    /// What is wrong, as a clause.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How many times it happened; a state that lasts happened once.
    pub fn happenings(&self) -> u64 {
        self.happenings.max(1)
    }

    /// What follows from it.
    pub fn consequences(&self) -> impl Iterator<Item = Cause> {
        self.brings.iter().copied()
    }

    /// The lines that tell of it.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether it has been told.
    pub fn is_told(&self) -> bool {
        self.told
    }

    pub(super) fn into_witnesses(self) -> impl Iterator<Item = Witness> {
        self.witnesses.into_iter()
    }

    pub(super) fn tell(&mut self) {
        self.told = true;
    }

    /// Whether something named it outright, as opposed to one call that failed.
    pub(super) fn is_explicit(&self) -> bool {
        self.rank >= 2
    }

    pub(super) fn waits_for_start(&self) -> bool {
        self.until_started
    }

    /// Takes a sign of it; whether that changes what is to be told.
    pub(super) fn take(&mut self, sign: Sign, witness: Witness, read: BootTime) -> bool {
        let mut more = sign.counts;
        self.goes_on(witness.at, read);
        self.happenings += u64::from(sign.counts);
        self.hold_seconds = self.hold_seconds.min(sign.hold_seconds);
        self.once |= sign.once;
        self.until_started |= sign.until_started;
        // Of equal signs the later one is right about counts and times, and the first one is good enough.
        if sign.rank > self.rank || sign.counts && sign.rank == self.rank {
            more |= sign.what != self.what;
            (self.rank, self.what) = (sign.rank, sign.what);
        }
        for cause in sign.brings {
            more |= self.brings(cause);
        }
        self.witness(witness);
        more
    }

    /// Something follows from it; whether that is new.
    pub(super) fn brings(&mut self, cause: Cause) -> bool {
        self.brings.insert(cause)
    }

    /// Keeps the first line of each kind.
    pub(super) fn witness(&mut self, witness: Witness) {
        if self.witnesses.len() < MAX_WITNESSES && self.witnesses.iter().all(|known| known.kind != witness.kind) {
            self.witnesses.push(witness);
        }
    }

    pub(super) fn goes_on(&mut self, at: Moment, read: BootTime) {
        self.last = self.last.max(at);
        self.read_last = self.read_last.max(read);
    }

    /// Whether its signs have gone on for long enough.
    pub(super) fn is_due(&self, at: Moment) -> bool {
        at.boot.seconds_since(self.since.boot) >= self.hold_seconds
    }

    /// Whether it is to be told although nothing followed.
    pub(super) fn is_overdue(&self, now: BootTime) -> bool {
        !self.told && self.once && now.seconds_since(self.read_first) >= self.hold_seconds
    }

    pub(super) fn is_quiet(&self, now: BootTime, seconds: u64) -> bool {
        now.seconds_since(self.read_last) >= seconds
    }
}
