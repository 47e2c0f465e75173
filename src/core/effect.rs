//! What the core asks the outside to do. Exporters and sources carry it out; nothing comes back.

use super::Loss;
use crate::{
    findings::{Change, Finding},
    model::PodUid,
    signal::SourceName,
};

/// One effect.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A finding changed: say it.
    Finding {
        /// What changed.
        change: Change,
        /// As it is now.
        finding: Box<Finding>,
    },
    /// A source lost records: say it.
    Loss {
        /// Which source.
        source: SourceName,
        /// What it lost, and why.
        loss: Loss,
    },
    /// Fresh figures of this cgroup would complete an explanation.
    Look {
        /// Its path below the hierarchy's root.
        cgroup: String,
    },
    /// The kernel has counted a kill, so its log has lines of it that have not come yet.
    ReadKernelLog,
    /// Something took much of a disk: what pods have on it would tell who.
    MeasureStorage,
    /// The end of this dead container's log would complete an explanation.
    ReadLog {
        /// Namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// Its uid in the kubelet's form.
        uid: PodUid,
        /// The container's name.
        container: String,
        /// Which life.
        attempt: u32,
    },
    /// The kubelet's own answer would complete an explanation.
    AskKubelet(KubeletQuestion),
    /// Something was learnt that a restart must not lose.
    Save,
}

/// What the kubelet can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubeletQuestion {
    /// How it is configured: another one runs.
    Configuration,
    /// How often probes have failed: a container with a probe has ended.
    ProbeCounts,
}
