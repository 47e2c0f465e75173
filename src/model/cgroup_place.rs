//! What a cgroup's path says: a container of a pod, a pod, a QoS class of pods, or something else.
//!
//! Flows in: a path as the kernel log prints it, or a line of `/proc/<pid>/cgroup`. Flows out: who
//! it is. It knows no node: whether the pod lives here is for the inventory to say.
//!
//! One rule covers cgroupfs and systemd drivers, every runtime, static pods, and nodes that are
//! themselves containers (kind, minikube, LXC): find the *last* component that ends in a pod's uid
//! below something called `kubepods`; the component behind it is the container. Neither the first
//! nor the last long hexadecimal name of a path will do: the first is the node container of a kind
//! cluster, the last is an inner container of docker-in-docker.

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
    /// Below the pods' cgroup, but the path is cut before the pod's uid ends. Not a class: the
    /// limit of one pod must not be taken for the limit of all.
    UnreadablePod,
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
    pub fn of(path: &str) -> Self {
        let path = Components::of(path);
        if let Some(at) = path.pod_tokens().last() {
            return path.below_pod(at);
        }
        if let Some(at) = path.names.iter().rposition(|name| is_pods_root(name)) {
            return path.class_at(at);
        }
        if let Some((at, container)) = path.containers().next() {
            return Self::LooseContainer { container, inside: path.inside(at) };
        }
        path.service().map_or(Self::Root, |name| Self::Service(ServiceName(name.into())))
    }

    /// Every (pod, container) that the path passes through, outermost first. More than one when a
    /// whole cluster runs inside a pod; the agent of the outer node knows only the outer pair.
    pub fn pairs(path: &str) -> Vec<(PodUid, Option<ContainerId>)> {
        let path = Components::of(path);
        let pair = |at| match path.below_pod(at) {
            Self::Container { pod, container, .. } => Some((pod, Some(container))),
            Self::Pod { pod } => Some((pod, None)),
            _ => None,
        };
        path.pod_tokens().filter_map(pair).collect()
    }

    /// Whether the pods of this path belong to a node that is itself a container of this machine
    /// (kind, k3d, minikube on docker, LXC): such nodes share one kernel log.
    pub fn is_on_nested_node(path: &str) -> bool {
        let path = Components::of(path);
        let pods = path.names.iter().position(|name| is_pods_root(name));
        pods.is_some_and(|pods| path.names.iter().take(pods).any(|name| container_id(name).is_some() || is_lxc(name)))
    }

    /// Whether the path goes below a pod's own cgroup, or below a runtime's folder or LXC's, to a
    /// container, even one whose id is shortened or that has none. The helper conmon is none.
    pub fn reaches_container(path: &str) -> bool {
        let path = Components::of(path);
        if let Some(root) = path.names.iter().rposition(|name| is_pods_root(name)) {
            let mut below = path.names.iter().skip(root).skip_while(|name| !looks_like_pod(name)).skip(1);
            return below.next().is_some_and(|name| !name.contains("conmon"));
        }
        let in_folder = |pair: &[&str]| matches!(pair, ["docker" | "lxc" | "libpod_parent", _]);
        let is_scope = |name: &&str| {
            !name.contains("conmon") && RUNTIME_PREFIXES.iter().any(|prefix| name.starts_with(prefix) && name.ends_with(".scope"))
        };
        path.containers().next().is_some()
            || path.names.windows(2).any(in_folder)
            || path.names.iter().any(is_scope)
            || path.names.iter().any(|name| name.starts_with("lxc.payload"))
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

/// What the runtimes put before a container's id in the name of its scope or folder.
const RUNTIME_PREFIXES: [&str; 6] = ["cri-containerd-", "crio-", "docker-", "libpod-", "nerdctl-", "containerd-"];

/// The names along a path.
struct Components<'a> {
    names: Vec<&'a str>,
    /// The path starts above the reader's cgroup namespace (`/../..`), so `kubepods` may be missing.
    relative: bool,
}

impl<'a> Components<'a> {
    fn of(line: &'a str) -> Self {
        let path = without_hierarchy(line.trim());
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let relative = path.trim_start_matches('/').starts_with("..");
        let whole = path.split('/').filter(|name| !name.is_empty() && *name != ".." && *name != ".");
        Self { names: whole.flat_map(parts_of_name).collect(), relative }
    }

    /// Where the path names a pod below `kubepods`, outermost first.
    fn pod_tokens(&self) -> impl DoubleEndedIterator<Item = usize> {
        let first_root = self.names.iter().position(|name| name.contains("kubepods"));
        let is_below_pods = move |at: usize| self.relative || first_root.is_some_and(|root| root <= at);
        (0..self.names.len()).filter(move |at| is_below_pods(*at) && self.pod_at(*at).is_some())
    }

    fn pod_at(&self, at: usize) -> Option<PodUid> {
        self.names.get(at).copied().and_then(pod_uid)
    }

    /// The place of a path whose pod is named at `at`.
    fn below_pod(&self, at: usize) -> CgroupPlace {
        let Some(pod) = self.pod_at(at) else { return CgroupPlace::UnreadablePod };
        match self.names.get(at + 1).copied().and_then(container_id) {
            Some(container) => CgroupPlace::Container { pod, container, inside: self.inside(at + 1) },
            None => CgroupPlace::Pod { pod },
        }
    }

    /// The place of a path without a pod's uid whose last mention of `kubepods` is at `at`.
    fn class_at(&self, at: usize) -> CgroupPlace {
        let name = self.names.get(at).map_or("", |name| name.strip_suffix(".slice").unwrap_or(name));
        let below = self.names.get(at + 1..).unwrap_or_default();
        let class = match (name.rsplit("kubepods").next().unwrap_or_default(), below) {
            ("", []) => QosClass::All,
            ("", ["burstable"]) | ("-burstable", []) => QosClass::Burstable,
            ("", ["besteffort"]) | ("-besteffort", []) => QosClass::BestEffort,
            _ => return CgroupPlace::UnreadablePod,
        };
        CgroupPlace::Class(class)
    }

    fn containers(&self) -> impl Iterator<Item = (usize, ContainerId)> {
        self.names.iter().enumerate().filter_map(|(at, name)| Some((at, container_id(name)?)))
    }

    fn inside(&self, container_at: usize) -> Option<String> {
        let below = self.names.get(container_at + 1..).unwrap_or_default();
        (!below.is_empty()).then(|| below.join("/"))
    }

    /// The most telling name: everything of a user is `user.slice`, everything inside an LXC
    /// container is that container, otherwise the outermost service, else the innermost scope or
    /// slice, else the folder's path.
    fn service(&self) -> Option<String> {
        let first = *self.names.first()?;
        if first == "user.slice" || first.starts_with("lxc.") {
            return Some(first.to_owned());
        }
        let service = self.names.iter().find(|name| name.ends_with(".service"));
        let unit = service.or_else(|| self.names.iter().rfind(|name| name.ends_with(".scope") || name.ends_with(".slice")));
        Some(unit.map_or_else(|| self.names.iter().take(2).copied().collect::<Vec<_>>().join("/"), |unit| (*unit).to_owned()))
    }
}

/// Takes `5:memory:` or `0::` off a line of `/proc/<pid>/cgroup`.
fn without_hierarchy(line: &str) -> &str {
    let mut parts = line.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(number), Some(_), Some(path)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => path,
        _ => line,
    }
}

/// A kubelet with the systemd driver over a runtime with the cgroupfs driver makes one folder that
/// is called `<pod's slice>:<runtime>:<container id>`; it means a pod and a container.
fn parts_of_name(name: &str) -> impl Iterator<Item = &str> {
    let mut triple = name.split(':');
    match (triple.next(), triple.next(), triple.next(), triple.next()) {
        (Some(slice), Some(_), Some(id), None) => [Some(slice), Some(id)].into_iter().flatten(),
        _ => [Some(name), None].into_iter().flatten(),
    }
}

/// The uid in `pod<uid>`, `kubepods-burstable-pod<uid>.slice` and their kind.
fn pod_uid(name: &str) -> Option<PodUid> {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let uid = match name.rsplit_once("-pod") {
        Some((_, uid)) => uid,
        None => name.strip_prefix("pod")?,
    };
    PodUid::parse(uid)
}

/// The id in `<id>`, `cri-containerd-<id>.scope`, `crio-<id>` and their kind. The name
/// `crio-conmon-<id>` is the container's monitor and not the container.
fn container_id(name: &str) -> Option<ContainerId> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = RUNTIME_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    ContainerId::parse(id)
}

/// `kubepods`, `kubepods.slice`, `kubelet-kubepods-burstable.slice`, and what is left of a cut
/// `kubepods-burstable-pod7b71`. A service that only mentions the word is none.
fn is_pods_root(name: &str) -> bool {
    let is_pods = name == "kubepods" || name.starts_with("kubepods.") || name.starts_with("kubepods-") || name.contains("-kubepods");
    is_pods && !name.ends_with(".service") && !name.ends_with(".scope")
}

/// A pod's folder or slice below `kubepods`, even with a shortened or blanked uid.
fn looks_like_pod(name: &str) -> bool {
    name.starts_with("pod") || name.contains("-pod")
}

fn is_lxc(name: &str) -> bool {
    name == "lxc" || name.starts_with("lxc.payload")
}
