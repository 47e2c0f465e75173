//! Who the kubelet is: its version, how much it prints, and how often it was started again.

use crate::{
    model::{BootTime, UnitRole},
    parse::kubelet::{Observation, Situation},
    signal::{KubeletLine, KubeletOrigin},
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Lives remembered, so that a late line of an earlier one is no start.
const MAX_LIVES: usize = 8;

/// What is known of the kubelet that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KubeletLife {
    /// Such as `v1.36.3`; it is said at a start only.
    pub version: Option<String>,
    /// The highest `-v` whose lines were seen of it; `None` before its first line.
    pub verbosity: Option<u8>,
    /// Its `-v` by its own answer; `None` where it was not asked.
    pub configured_verbosity: Option<u8>,
    /// systemd's ids of the lives seen, the newest last.
    lives: VecDeque<String>,
    /// When its log was first read.
    seen_since: Option<BootTime>,
}

impl KubeletLife {
    /// Takes a line before it is understood; whether it is the first of another life.
    pub fn line(&mut self, line: &KubeletLine, at: BootTime) -> bool {
        let KubeletOrigin::Journal { invocation: Some(invocation), .. } = &line.origin else { return false };
        if line.origin.unit_role() != Some(UnitRole::Kubelet) || self.lives.contains(invocation) {
            return false;
        }
        let known = !self.lives.is_empty();
        if self.lives.len() == MAX_LIVES {
            self.lives.pop_front();
        }
        self.lives.push_back(invocation.clone());
        self.seen_since.get_or_insert(at);
        if known {
            (self.verbosity, self.configured_verbosity) = (None, None);
        }
        known
    }

    /// Whether the kubelet that runs wrote it, as opposed to the one before, or systemd.
    pub fn is_its(&self, origin: &KubeletOrigin) -> bool {
        match origin {
            KubeletOrigin::Journal { is_pid1: true, .. } => false,
            KubeletOrigin::Journal { invocation, .. } => {
                origin.unit_role() == Some(UnitRole::Kubelet) && (invocation.is_none() || self.lives.back() == invocation.as_ref())
            }
            KubeletOrigin::File { .. } => true,
        }
    }

    /// Takes what a line told; whether it shows another life where systemd's ids are not to be had.
    pub fn told(&mut self, observation: &Observation, at: BootTime) -> bool {
        let known = self.seen_since.is_some();
        self.seen_since.get_or_insert(at);
        let Situation::KubeletVersion { version } = &observation.situation else { return false };
        self.version = Some(version.clone());
        known && self.lives.is_empty()
    }
}
