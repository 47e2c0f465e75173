//! The systemd units that matter: in which a kubelet runs, and about which PID 1's word counts.
//!
//! Flows in: nothing. Flows out: names. Sources: the unit files of each distribution.

/// A unit's whole name.
pub(super) type Unit = &'static str;

/// Units whose lines are a kubelet's, be it alone or inside of a distribution's one process.
pub(super) const KUBELETS: &[Unit] = &[
    "kubelet.service",
    "k3s.service",
    "k3s-agent.service",
    "k0sworker.service",
    "k0scontroller.service",
    "microshift.service",
    "snap.microk8s.daemon-kubelite.service",
    "snap.microk8s.daemon-kubelet.service",
];

/// Units that run a kubelet which logs to a file of its own.
pub(super) const SUPERVISORS: &[Unit] = &["rke2-server.service", "rke2-agent.service"];

/// Container runtimes: only what PID 1 says of them is read.
#[cfg(feature = "journal")]
pub(super) const RUNTIMES: &[Unit] =
    &["containerd.service", "crio.service", "docker.service", "cri-docker.service", "snap.microk8s.daemon-containerd.service"];

/// The killers in user space, whose words name their victims.
#[cfg(feature = "journal")]
pub(super) const OOM_KILLERS: [Unit; 2] = ["systemd-oomd.service", "earlyoom.service"];

/// Units whose own lines are read.
#[cfg(feature = "journal")]
pub(super) fn speaking() -> impl Iterator<Item = Unit> {
    KUBELETS.iter().chain(SUPERVISORS).chain(&OOM_KILLERS).copied()
}

/// Units about which PID 1's lines are read.
#[cfg(feature = "journal")]
pub(super) fn spoken_of() -> impl Iterator<Item = Unit> {
    KUBELETS.iter().chain(SUPERVISORS).chain(RUNTIMES).copied()
}
