//! Whose systemd unit it is.

use serde::{Deserialize, Serialize};

/// What a systemd unit is to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitRole {
    /// The kubelet's, or that of a distribution which runs the kubelet inside of its own process.
    Kubelet,
    /// The container runtime's.
    Runtime,
}

impl UnitRole {
    /// The role of a unit that is called as distributions call theirs, `None` for every other.
    pub fn of(unit: &str) -> Option<Self> {
        const KUBELETS: [&str; 8] =
            ["kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent", "k0scontroller", "k0sworker", "microshift"];
        const RUNTIMES: [&str; 6] = ["containerd", "docker", "crio", "cri-o", "cri-docker", "dockershim"];
        let name = unit.strip_suffix(".service")?;
        if KUBELETS.contains(&name) || name.starts_with("snap.microk8s.daemon-kubel") {
            return Some(Self::Kubelet);
        }
        (RUNTIMES.contains(&name) || name == "snap.microk8s.daemon-containerd").then_some(Self::Runtime)
    }
}
