//! What the kubelet answers over HTTP: its effective configuration, and how often probes failed.

use super::EvictionLayer;
use crate::model::PodUid;
use serde::{Deserialize, Serialize};

/// The part of the kubelet's own configuration (`/configz`) that matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KubeletConfiguration {
    /// Its eviction settings: [`LayerKind::Effective`](super::LayerKind::Effective), defaults included.
    pub eviction: EvictionLayer,
    /// `logging.verbosity`, into which `--v` is merged.
    pub verbosity: Option<u8>,
}

/// Every count of `/metrics/probes` at one moment. A probe that has not failed yet is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProbeCounts {
    /// The counts.
    pub counts: Vec<ProbeCount>,
}

/// How often one probe has failed (`prober_probe_total{result="failed"}`). It counts each try, from
/// when the kubelet started to look at the pod, over all lives of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeCount {
    /// The pod, in the kubelet's form.
    pub pod: PodUid,
    /// The container's name.
    pub container: String,
    /// Which probe.
    pub probe: CountedProbe,
    /// Failed tries.
    pub failed: u64,
}

/// The probes whose failure ends a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedProbe {
    /// `livenessProbe`.
    Liveness,
    /// `startupProbe`.
    Startup,
}

/// When a probe's failures end the container (`periodSeconds`, `timeoutSeconds`, `failureThreshold`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRule {
    /// Seconds from the container's start to the first try.
    #[serde(default)]
    pub delay_seconds: u64,
    /// Seconds from one try to the next.
    pub period_seconds: u64,
    /// Seconds after which a try has failed.
    pub timeout_seconds: u64,
    /// Failed tries in a row that end the container.
    pub failure_threshold: u64,
}

impl ProbeRule {
    /// How long the failures that end a container can take, in seconds.
    pub const fn takes_seconds(self) -> u64 {
        self.period_seconds.saturating_mul(self.failure_threshold).saturating_add(self.timeout_seconds)
    }
}
