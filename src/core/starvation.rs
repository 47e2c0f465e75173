//! What slowed a container down, inside the core: looked at when a probe fails, asked for when it ends.

use super::{Core, Effect};
use crate::{
    diagnosis::{death::Death, starvation::Starvation},
    model::{BootTime, PodUid},
};

/// Statuses have whole seconds: what was read in the second of an end was read before it.
const SECOND_MICROS: u64 = 1_000_000;

impl Core {
    /// Asks for figures of a container whose probe failed: while nothing is wrong they are read seldom.
    pub(super) fn look_at(&mut self, pod: &PodUid, container: &str) {
        let id = self.inventory.pod(pod).and_then(|pod| pod.containers.get(container)?.id.as_ref());
        let cgroup = id.and_then(|id| self.inventory.container(id)?.cgroup.clone());
        self.effects.extend(cgroup.map(|cgroup| Effect::Look { cgroup }));
    }

    /// What slowed a container down before it ended.
    pub(super) fn starvation_of(&self, death: &Death) -> Option<Starvation> {
        let until = BootTime(death.ended.boot.0.saturating_add(SECOND_MICROS));
        Starvation::of(&self.inventory, &death.pod, death.container.as_ref(), until)
    }
}
