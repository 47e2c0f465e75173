//! What is said of each trouble of the node besides its own sign.

use crate::model::{Blame, Cause, Resource, Scope};

/// Whose fault it is, as far as this node's evidence tells.
pub const fn blame(cause: Cause) -> Blame {
    match cause {
        // A dead API server, a dead network and a dead control plane look the same from here.
        Cause::ApiServerUnreachable => Blame::Insufficient,
        _ => Blame::Node,
    }
}

/// What gave way.
pub const fn scope(cause: Cause) -> Scope {
    match cause {
        Cause::KubeletDown | Cause::KubeletRestarted | Cause::RuntimeDown | Cause::RuntimeRestarted | Cause::ControlPlaneStarved => {
            Scope::HostService
        }
        _ => Scope::Node,
    }
}

/// What it means for the pods, as a sentence.
pub const fn meaning(cause: Cause) -> &'static str {
    match cause {
        Cause::RuntimeDown => "Containers run on, but none is started, stopped or restarted.",
        Cause::PlegUnhealthy => "Nothing is started, and deaths of containers go unnoticed.",
        Cause::NetworkNotReady => "Pods with a network of their own do not start.",
        Cause::KubeletDown => "Containers run on, but none is started, probed or restarted.",
        Cause::ControlPlaneStarved => "The API server answers late or not at all, on every node that asks this one.",
        Cause::ApiServerUnreachable => "The node itself may be well; after 40 s the control plane counts it as lost.",
        _ => "",
    }
}

/// A trouble that follows from another, as a clause.
pub const fn consequence(cause: Cause) -> &'static str {
    match cause {
        Cause::PlegUnhealthy => "the kubelet's round over the containers (PLEG) does not finish",
        Cause::NetworkNotReady => "the network plugin counts as not ready",
        Cause::NodeNotReady => "the node declares itself not ready",
        Cause::KubeletDown => "the kubelet cannot start",
        Cause::KubeletRestarted => "the kubelet ends and is started again",
        Cause::ApiServerUnreachable => "the kubelet does not get through to the API server",
        _ => "other troubles follow",
    }
}

/// What to do.
pub const fn action(cause: Cause) -> &'static str {
    match cause {
        Cause::RuntimeDown => {
            "Look at the runtime's own log (`journalctl -u containerd`) and at its disk; restarting it leaves containers running."
        }
        Cause::RuntimeRestarted => "Look in the runtime's own log for why it ended.",
        Cause::PlegUnhealthy => {
            "Look for what makes the runtime slow: a full or slow disk, very many containers, a container that cannot be stopped."
        }
        Cause::NetworkNotReady => "Look at the network plugin's pod on this node and at /etc/cni/net.d.",
        Cause::NodeNotReady => "Read the condition's message: `kubectl describe node`.",
        Cause::ApiServerUnreachable => {
            "Ask another node: if it is cut off as well, look at the control plane, else at this node's network."
        }
        Cause::ControlPlaneStarved => {
            "Look at what else writes to etcd's disk (`iostat -x 1`, `iotop`); give etcd a fast disk that it shares with nothing."
        }
        Cause::KubeletCertificate => "Look at /var/lib/kubelet/pki and at pending requests: `kubectl get csr`; compare this node's clock.",
        Cause::KubeletDown => "Read why: `systemctl status kubelet` and `journalctl -u kubelet`.",
        Cause::KubeletRestarted => "Look for what the kubelet said last before its end: `journalctl -u kubelet`.",
        _ => "",
    }
}

/// For how many seconds the kubelet's log must be silent about a trouble before it counts as over:
/// some rounds of the line that would repeat.
pub const fn quiet_seconds(cause: Cause) -> u64 {
    match cause {
        // Renewed every 10 s with time-outs of 10 s, five tries a round.
        Cause::ApiServerUnreachable => 90,
        // Said once when it turns; that it has turned back shows only from -v=2.
        Cause::NodeNotReady => 600,
        // Tried again with growing waits.
        Cause::KubeletCertificate => 900,
        // A happening, not a state: open as long as it is news.
        Cause::KubeletRestarted | Cause::RuntimeRestarted => 600,
        // Looked at every 5 s.
        _ => 60,
    }
}

/// The troubles from which one follows: while one of them holds, it is part of that story.
pub const fn roots(cause: Cause) -> &'static [Cause] {
    match cause {
        Cause::PlegUnhealthy | Cause::NetworkNotReady => &[Cause::RuntimeDown],
        Cause::NodeNotReady => &[Cause::RuntimeDown, Cause::PlegUnhealthy, Cause::NetworkNotReady],
        Cause::KubeletDown => &[Cause::RuntimeDown, Cause::KubeletCertificate],
        // Where etcd runs on this node, its API server does, too.
        Cause::ApiServerUnreachable => &[Cause::KubeletCertificate, Cause::ControlPlaneStarved],
        Cause::KubeletRestarted => &[Cause::KubeletCertificate],
        _ => &[],
    }
}

/// What the kernel or the disks tell of the node, from which a trouble probably follows that begins while it is so.
pub const fn starts(cause: Cause) -> &'static [Cause] {
    match cause {
        // The runtime keeps its state, its images and the containers' files on the node's disk.
        Cause::RuntimeDown | Cause::PlegUnhealthy | Cause::NodeNotReady => {
            &[Cause::StorageError, Cause::ReadOnlyFilesystem, Cause::DiskFull, Cause::KernelFault]
        }
        Cause::ApiServerUnreachable => &[Cause::NetworkFault],
        _ => &[],
    }
}

/// Resources without which a trouble probably follows.
pub const fn starved_of(cause: Cause) -> &'static [Resource] {
    match cause {
        Cause::RuntimeDown | Cause::PlegUnhealthy | Cause::NodeNotReady => &[Resource::Io, Resource::Memory],
        _ => &[],
    }
}

/// Whether two troubles that were told apart belong to one chain.
pub fn are_chained(one: Cause, other: Cause) -> bool {
    const NEIGHBOURS: [(Cause, Cause); 2] = [(Cause::RuntimeDown, Cause::RuntimeRestarted), (Cause::KubeletDown, Cause::KubeletRestarted)];
    let neighbours = NEIGHBOURS.contains(&(one, other)) || NEIGHBOURS.contains(&(other, one));
    neighbours || roots(one).contains(&other) || roots(other).contains(&one)
}
