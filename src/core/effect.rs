//! What the core asks the outside to do. Exporters and sources carry it out; nothing comes back.

use crate::findings::{Change, Finding};

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
    /// Fresh figures of this cgroup would complete an explanation.
    Look {
        /// Its path below the hierarchy's root.
        cgroup: String,
    },
    /// Something was learnt that a restart must not lose.
    Save,
}
