//! What the kubelet answers over HTTP, inside the core.

use super::Core;
use crate::{
    diagnosis::{death::Death, probe_count::ProbeCountRise},
    model::Moment,
    signal::{KubeletConfiguration, ProbeCounts, SourceName},
};

impl Core {
    /// Takes in how the kubelet is configured, defaults included.
    pub(super) fn kubelet_configuration(&mut self, answer: KubeletConfiguration, at: Moment) {
        self.health.record(SourceName::KubeletApi, at);
        self.kubelet_log.durable.life.configured_verbosity = answer.verbosity;
        self.eviction_settings_answered(answer.eviction);
    }

    /// Takes in how often probes have failed.
    pub(super) fn probe_counts(&mut self, read: &ProbeCounts, at: Moment) {
        self.health.record(SourceName::KubeletApi, at);
        self.inventory.probes_counted(at.boot, read);
    }

    /// How often a container's probes failed before it ended.
    pub(super) fn probe_counts_of(&self, death: &Death) -> Vec<ProbeCountRise> {
        death.probes.rises(self.inventory.probes(), &death.pod, &death.termination.slot.container, death.ended.boot)
    }
}
