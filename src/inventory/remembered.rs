//! What a restart of the agent must not forget: who the pods and containers are. Figures are read anew within seconds.
//!
//! Flows out: names, into the checkpoint. Flows in: the same, at the next start on the same boot, so that what dies
//! before the API server answers, or while it is away, is told with its container and its workload. The first list of
//! the API server says which of these pods are still there.

use super::{ContainerName, Inventory, Pod, PressureHistory};
use crate::model::ContainerId;
use serde::{Deserialize, Serialize};

/// The names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    pods: Vec<Pod>,
    instances: Vec<(ContainerId, ContainerName)>,
}

impl Inventory {
    /// What to remember: pods that have a name, and which container each instance is.
    pub fn remembered(&self) -> Remembered {
        let pods = self.pods.values().filter(|pod| pod.named);
        Remembered {
            pods: pods.map(|pod| Pod { sample: None, pressure: PressureHistory::default(), ..pod.clone() }).collect(),
            instances: self.names.iter().map(|(id, named)| (id.clone(), named.clone())).collect(),
        }
    }

    /// Takes up what an earlier run of the agent knew.
    pub fn recall(&mut self, remembered: Remembered) {
        self.pods_named |= !remembered.pods.is_empty();
        self.pods.extend(remembered.pods.into_iter().map(|pod| (pod.uid.clone(), pod)));
        self.names.extend(remembered.instances);
    }
}
