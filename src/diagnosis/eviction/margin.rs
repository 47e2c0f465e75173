//! How far one of the node's resources is from the kubelet's threshold.

use super::{Measure, Part};
use crate::model::{Bytes, EvictionSignal};

/// Near: less than five quarters of the threshold is left ...
const NEAR_PERCENT: u64 = 125;
/// ... or it will be reached within a quarter of an hour at the present rate.
const NEAR_SECONDS: u64 = 900;

/// Far again: half more than the threshold, and not reached within half an hour.
const FAR_PERCENT: u64 = 150;
const FAR_SECONDS: u64 = 1800;

/// One thing that may run out.
#[derive(Debug, Clone)]
pub struct Margin {
    /// The kubelet's name of it.
    pub signal: EvictionSignal,
    /// What is left, in bytes, inodes or process ids.
    pub available: u64,
    /// What there is in all.
    pub capacity: u64,
    /// The highest of its thresholds, in its own unit, and how long it may be crossed if it is a soft one.
    pub threshold: Option<(u64, Option<u64>)>,
    /// When the threshold is reached at the present rate.
    pub reached_in_seconds: Option<u64>,
    /// The directory asked, for a filesystem.
    pub path: Option<String>,
    /// Which of pods' files lie on that filesystem; `None` where none do.
    pub part: Option<Part>,
}

impl Margin {
    /// Whether an eviction is near.
    pub fn is_near(&self) -> bool {
        let Some((threshold, _)) = self.threshold else { return false };
        let scaled = u128::from(self.available) * 100 < u128::from(threshold) * u128::from(NEAR_PERCENT);
        scaled || self.reached_in_seconds.is_some_and(|seconds| seconds <= NEAR_SECONDS)
    }

    /// Whether it is far again.
    pub fn is_far(&self) -> bool {
        let Some((threshold, _)) = self.threshold else { return true };
        let scaled = u128::from(self.available) * 100 >= u128::from(threshold) * u128::from(FAR_PERCENT);
        scaled && self.reached_in_seconds.is_none_or(|seconds| seconds > FAR_SECONDS)
    }

    /// Whether the kubelet evicts.
    pub fn is_below(&self) -> bool {
        self.threshold.is_some_and(|(threshold, _)| self.available < threshold)
    }

    /// What pods could have taken of it.
    pub fn measure(&self) -> Option<(Measure, Part)> {
        let measure = match self.signal {
            EvictionSignal::Space(_) => Measure::Bytes,
            EvictionSignal::Inodes(_) => Measure::Inodes,
            EvictionSignal::Memory | EvictionSignal::Pids => return None,
        };
        Some((measure, self.part?))
    }

    /// An amount in its unit.
    pub fn amount(&self, amount: u64) -> String {
        match self.signal {
            EvictionSignal::Memory | EvictionSignal::Space(_) => Bytes(amount).to_string(),
            EvictionSignal::Inodes(_) => format!("{amount} inodes"),
            EvictionSignal::Pids => format!("{amount} process ids"),
        }
    }

    /// `nodefs.available: 1.2 GiB of 20 GiB are left; the kubelet evicts below 2 GiB`.
    pub fn said(&self) -> String {
        let threshold = match self.threshold {
            Some((threshold, None)) => format!("; the kubelet evicts below {}", self.amount(threshold)),
            Some((threshold, Some(grace))) => {
                format!("; the kubelet evicts when it is below {} for {grace} s (a soft threshold)", self.amount(threshold))
            }
            None => String::new(),
        };
        format!("{}: {} of {} are left{threshold}", self.signal, self.amount(self.available), self.amount(self.capacity))
    }

    /// What a condition is about: a filesystem's space stays the same thing whichever role gives way first.
    pub fn resource(&self) -> String {
        match (&self.path, self.signal.is_bytes()) {
            (Some(path), true) => format!("space of {path}"),
            (Some(path), false) => format!("inodes of {path}"),
            (None, _) => self.signal.to_string(),
        }
    }

    /// How the kubelet reads it, and so does this agent.
    pub fn how_read(&self) -> &'static str {
        match self.signal {
            EvictionSignal::Space(_) | EvictionSignal::Inodes(_) => "statvfs, as the kubelet asks",
            EvictionSignal::Memory => "the root cgroup's working set, as the kubelet counts it",
            EvictionSignal::Pids => "/proc/loadavg against pid_max, as the kubelet counts it",
        }
    }

    /// What helps.
    pub fn remedy(&self) -> &'static str {
        match self.signal {
            EvictionSignal::Space(_) | EvictionSignal::Inodes(_) if self.part.is_none() => {
                "Only images lie there: delete unused ones (`crictl rmi --prune`), or give them a larger disk."
            }
            EvictionSignal::Space(_) => "Free space: delete what the named pod writes, rotate logs, or give it an ephemeral-storage limit.",
            EvictionSignal::Inodes(_) => {
                "Delete small files, or move what makes them to a volume of its own; a larger disk alone may not help."
            }
            EvictionSignal::Memory => "Look at pods that use more memory than they request; set requests to what they use.",
            EvictionSignal::Pids => "Look for a pod that starts processes without end; set the kubelet's podPidsLimit.",
        }
    }
}

/// Where one filesystem plays several roles, the role with the highest threshold gives way first.
pub fn is_the_first_to_give_way(margin: &Margin, all: &[Margin]) -> bool {
    let Some(path) = &margin.path else { return true };
    let rivals = all.iter().filter(|other| other.path.as_ref() == Some(path) && other.signal.is_bytes() == margin.signal.is_bytes());
    let amount = |margin: &Margin| margin.threshold.map(|(amount, _)| amount);
    let first = rivals.max_by_key(|other| (amount(other), std::cmp::Reverse(other.signal)));
    first.is_some_and(|first| first.signal == margin.signal)
}
