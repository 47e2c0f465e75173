//! What a restart of the agent must not forget: who the pods and containers are, and how often probes had failed when.
//! Other figures are read anew within seconds.
//!
//! Flows out: names and counts, into the checkpoint. Flows in: the same, at the next start on the same boot, so that what
//! dies before the API server answers, or while it is away, is told with its container and its workload. The first list
//! of the API server says which of these pods are still there.

use super::{ContainerName, Inventory, Pod, ProbeHistory};
use crate::model::ContainerId;
use serde::{Deserialize, Serialize};

/// The names and counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    pods: Vec<Pod>,
    instances: Vec<(ContainerId, ContainerName)>,
    #[serde(default)]
    probes: ProbeHistory,
}

impl Inventory {
    /// What to remember: living pods that have a name, and which container each of their instances is. Of pods that ended
    /// there may be thousands, and hardly anything is still to be told of them.
    pub fn remembered(&self) -> Remembered {
        let lives = |pod: &&Pod| pod.named && pod.gone.is_none();
        let of_living = |named: &ContainerName| self.pods.get(&named.pod).as_ref().is_some_and(lives);
        let instances = self.names.iter().filter(|(_, named)| of_living(named));
        Remembered {
            pods: self.pods.values().filter(lives).map(Pod::names).collect(),
            instances: instances.map(|(id, named)| (id.clone(), named.clone())).collect(),
            probes: self.probes.clone(),
        }
    }

    /// Takes up what an earlier run of the agent knew.
    pub fn recall(&mut self, remembered: Remembered) {
        self.pods_named |= !remembered.pods.is_empty();
        self.pods.extend(remembered.pods.into_iter().map(|pod| (pod.uid.clone(), pod)));
        self.names.extend(remembered.instances);
        self.probes = remembered.probes;
    }
}
