//! What a cgroup's path says: a container of a pod, a pod, a QoS class of pods, or something else.

use super::{ContainerId, PodUid, ServiceName};

/// A group of pods that the kubelet keeps under one cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QosClass {
    /// `kubepods` itself: every pod of the node. Guaranteed pods sit directly in it.
    All,
    /// `kubepods/burstable`.
    Burstable,
    /// `kubepods/besteffort`.
    BestEffort,
}

/// The meaning of one cgroup path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CgroupPlace {
    /// A container of a pod, or a cgroup that the container made inside itself.
    Container {
        /// The pod it belongs to.
        pod: PodUid,
        /// The container.
        container: ContainerId,
        /// The path below the container's own cgroup, without a leading slash.
        inside: Option<String>,
    },
    /// The cgroup of a whole pod, or a helper process in it that is no container (conmon), or a
    /// container whose id the path does not show whole.
    Pod {
        /// The pod.
        pod: PodUid,
    },
    /// All pods, or all pods of one class.
    Class(QosClass),
    /// A container that no pod owns: plain Docker, podman, or a node container of kind.
    LooseContainer {
        /// The container.
        container: ContainerId,
        /// The path below the container's own cgroup, without a leading slash.
        inside: Option<String>,
    },
    /// A unit or slice of the host.
    Service(ServiceName),
    /// The root of the hierarchy.
    Root,
}

impl CgroupPlace {
    /// Reads a path as the kernel log or `/proc/<pid>/cgroup` prints it.
    pub fn of(_path: &str) -> Self {
        Self::Root
    }

    /// The pod, where the path names one.
    pub fn pod(&self) -> Option<&PodUid> {
        match self {
            Self::Container { pod, .. } | Self::Pod { pod } => Some(pod),
            _ => None,
        }
    }

    /// The container, where the path names one.
    pub fn container(&self) -> Option<&ContainerId> {
        match self {
            Self::Container { container, .. } | Self::LooseContainer { container, .. } => Some(container),
            _ => None,
        }
    }
}
