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
        if path.pod_tokens().any(|at| matches!(path.below_pod(at), Self::Container { .. })) {
            return true;
        }
        if let Some(root) = path.names.iter().position(|name| is_pods_root(name)) {
            let is_container_in_pod = |pair: &[&str]| matches!(pair, [pod, child] if looks_like_pod(pod) && !child.contains("conmon"));
            return path.names.get(root..).unwrap_or_default().windows(2).any(is_container_in_pod);
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
        let name = self.names.get(at).copied().unwrap_or_default();
        let below = self.names.get(at + 1..).unwrap_or_default();
        // A second `kubepods` behind the first is the cut name of a class or a pod.
        let is_first = !self.names.iter().take(at).any(|name| is_pods_root(name));
        let class = match (name.rsplit("kubepods").next().unwrap_or_default(), below) {
            ("" | ".slice", []) if is_first => QosClass::All,
            ("", ["burstable"]) | ("-burstable.slice", []) => QosClass::Burstable,
            ("", ["besteffort"]) | ("-besteffort.slice", []) => QosClass::BestEffort,
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

/// The uid in `pod<uid>`, `kubepods-burstable-pod<uid>.slice` and their kind, `.slice` whole or cut.
fn pod_uid(name: &str) -> Option<PodUid> {
    let name = name.split_once('.').filter(|(_, end)| "slice".starts_with(end)).map_or(name, |(name, _)| name);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "0f8e1c52-6d1b-4a77-9b0e-2f5a4c3d2e10";
    const SYSTEMD_UID: &str = "0f8e1c52_6d1b_4a77_9b0e_2f5a4c3d2e10";
    const STATIC_UID: &str = "9c0f1e2d3b4a59687766554433221100";
    const OUTER_UID: &str = "11111111-2222-3333-4444-555555555555";

    fn id() -> String {
        "c1d2".repeat(16)
    }

    fn other() -> String {
        "0e9f".repeat(16)
    }

    /// Writes a path with the short words `UID`, `SUID` (systemd form), `HASH` (static pod), `CID` and `XID`.
    fn path(pattern: &str) -> String {
        let path = pattern.replace("SUID", SYSTEMD_UID).replace("OUTER", OUTER_UID).replace("UID", UID);
        path.replace("HASH", STATIC_UID).replace("CID", &id()).replace("XID", &other())
    }

    fn shown(pattern: &str) -> String {
        match CgroupPlace::of(&path(pattern)) {
            CgroupPlace::Container { pod, container, inside } => named("container", pod.as_str(), container.as_str(), inside),
            CgroupPlace::LooseContainer { container, inside } => named("loose", "", container.as_str(), inside),
            CgroupPlace::Pod { pod } => named("pod", pod.as_str(), "", None),
            CgroupPlace::Class(class) => format!("class {class:?}"),
            CgroupPlace::UnreadablePod => "unreadable pod".into(),
            CgroupPlace::Service(name) => format!("service {name}"),
            CgroupPlace::Root => "root".into(),
        }
    }

    fn named(kind: &str, pod: &str, container: &str, inside: Option<String>) -> String {
        let pod = pod.replace(UID, "UID").replace(STATIC_UID, "HASH").replace(OUTER_UID, "OUTER");
        let container = container.replace(&id(), "CID").replace(&other(), "XID");
        [kind, &pod, &container, &inside.unwrap_or_default()].iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_shape_of_path() {
        for (pattern, expected) in [
            ("/kubepods/podUID/CID", "container UID CID"),
            ("/kubepods/burstable/podUID/CID", "container UID CID"),
            ("/kubepods/besteffort/podUID/CID", "container UID CID"),
            ("/kubepods/burstable/podHASH/CID", "container HASH CID"),
            ("/kubepods/podUID/crio-CID", "container UID CID"),
            ("/kubepods.slice/kubepods-podSUID.slice/cri-containerd-CID.scope", "container UID CID"),
            ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSUID.slice/cri-containerd-CID.scope", "container UID CID"),
            ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSUID.slice/docker-CID.scope", "container UID CID"),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSUID.slice/crio-CID.scope/container",
                "container UID CID container",
            ),
            ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSUID.slice/crio-conmon-CID.scope", "pod UID"),
            ("/kubepods/burstable/podUID/crio-conmon-CID", "pod UID"),
            ("/system.slice/crio-conmon-CID.scope", &path("service crio-conmon-CID.scope")),
            ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podHASH.slice/cri-containerd-CID", "container HASH CID"),
            ("/system.slice/containerd.service/kubepods-besteffort-podSUID.slice:cri-containerd:CID", "container UID CID"),
            ("/system.slice/cri-containerd-CID.scope", "loose CID"),
            ("/docker/XID/kubepods/burstable/podUID/CID", "container UID CID"),
            (
                "/system.slice/docker-XID.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-podSUID.slice/cri-containerd-CID.scope",
                "container UID CID",
            ),
            (
                "/machine.slice/libpod-XID.scope/container/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podSUID.slice/cri-containerd-CID.scope",
                "container UID CID",
            ),
            ("/system.slice/docker-XID.scope/kubepods.slice/kubepods-podHASH.slice/docker-CID.scope", "container HASH CID"),
            ("/lxc.payload.node3/kubepods.slice/kubepods-podSUID.slice/cri-containerd-CID.scope", "container UID CID"),
            ("/podruntime/kubelet", "service podruntime/kubelet"),
            ("/init", "service init"),
            ("/runtime.slice/kubelet.service", "service kubelet.service"),
            ("/podruntime.slice/containerd.service", "service containerd.service"),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/x-0f8e1c52-6d1b-4a77-9b0e-2f5a4c3d2e10.scope", "service user.slice"),
            ("/init.scope", "service init.scope"),
            ("/kubepods/podUID/CID/init.scope", "container UID CID init.scope"),
            ("/kubepods.slice/kubepods-podSUID.slice/cri-containerd-CID.scope/docker/XID", "container UID CID docker/XID"),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-CID.scope/container", "loose CID container"),
            ("/docker/CID", "loose CID"),
            ("/docker/CID/docker/XID", "loose CID docker/XID"),
            ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSUID.slice", "pod UID"),
            ("/kubepods/podUID", "pod UID"),
            ("/kubepods", "class All"),
            ("/kubepods.slice", "class All"),
            ("/kubepods/besteffort", "class BestEffort"),
            ("/kubepods.slice/kubepods-burstable.slice", "class Burstable"),
            ("/docker/XID/kubelet.slice/kubelet-kubepods.slice", "class All"),
            ("0::/../../kubepods-besteffort-podSUID.slice/docker-CID.scope", "container UID CID"),
            ("0::/../podUID/CID", "container UID CID"),
            ("5:memory:/kubepods/burstable/podUID/CID", "container UID CID"),
            ("0::/kubepods/podUID/CID (deleted)", "container UID CID"),
            ("/", "root"),
            ("", "root"),
            ("0::/", "root"),
        ] {
            let inside = expected.replace("XID", &other());
            assert_eq!(shown(pattern), if expected.contains("docker/") { inside } else { expected.to_owned() }, "{pattern}");
        }
    }

    #[test]
    fn a_cut_path_never_widens_the_scope() {
        let whole = path("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSUID.slice/cri-containerd-CID.scope");
        let uid_ends = whole.find("/cri").expect("a container") - ".slice".len();
        let class_ends = whole.find(".slice/kubepods-burstable-pod").expect("a class") + ".slice".len();
        for end in class_ends + 2..whole.len() - ".scope".len() {
            let place = CgroupPlace::of(&whole[..end]);
            match place {
                CgroupPlace::UnreadablePod => assert!(end < uid_ends, "{end}"),
                CgroupPlace::Pod { .. } => assert!(end >= uid_ends, "{end}"),
                other => panic!("{end}: {other:?}"),
            }
        }
    }

    #[test]
    fn shortened_ids_and_foreign_words_are_refused() {
        for (pattern, expected) in [
            ("/kubepods/podUID/d", "pod UID"),
            ("/kubepods/podUID/docker-abc.scope", "pod UID"),
            ("/system.slice/docker-abc.scope", "service docker-abc.scope"),
            ("/system.slice/kubepods-watch.service", "service kubepods-watch.service"),
            ("/podUID/CID", "loose CID"),
            ("/kubepods/burstable/podsomething/CID", "unreadable pod"),
        ] {
            assert_eq!(shown(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn a_cluster_inside_a_pod_has_two_pairs() {
        let nested = path("/kubepods/podOUTER/XID/kubelet/kubepods/burstable/podUID/CID");
        let pairs = CgroupPlace::pairs(&nested);
        let shown: Vec<_> = pairs.iter().map(|(pod, container)| (pod.as_str(), container.as_ref().map(ContainerId::as_str))).collect();
        assert_eq!(shown, [(OUTER_UID, Some(other().as_str())), (UID, Some(id().as_str()))]);
        assert!(CgroupPlace::pairs("/system.slice/sshd.service").is_empty());
    }

    #[test]
    fn nodes_that_are_containers_are_told_apart() {
        for (pattern, nested) in [
            ("/docker/XID/kubepods/podUID/CID", true),
            ("/system.slice/docker-XID.scope/kubelet.slice/kubelet-kubepods.slice", true),
            ("/lxc/101/kubepods/podUID/CID", true),
            ("/lxc.payload.a/kubepods.slice", true),
            ("/kubepods/podUID/CID", false),
            ("/system.slice/containerd.service/kubepods-podSUID.slice:cri-containerd:CID", false),
            ("/docker/XID", false),
        ] {
            assert_eq!(CgroupPlace::is_on_nested_node(&path(pattern)), nested, "{pattern}");
        }
    }

    #[test]
    fn a_path_may_reach_a_container_whose_id_it_does_not_show() {
        for (pattern, reaches) in [
            ("/kubepods/podUID/CID", true),
            ("/kubepods/burstable/podXXXX/abc...", true),
            ("/kubepods.slice/kubepods-podSUID.slice/cri-containerd-12ab", true),
            ("/kubepods.slice/kubepods-podSUID.slice/crio-conmon-CID.scope", false),
            ("/kubepods/podUID", false),
            ("/kubepods/burstable", false),
            ("/lxc/101", true),
            ("/lxc.payload.web", true),
            ("/docker/12ab", true),
            ("/system.slice/docker-12ab.scope", true),
            ("/system.slice/docker.service", false),
            ("/user.slice", false),
        ] {
            assert_eq!(CgroupPlace::reaches_container(&path(pattern)), reaches, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_stands_in_the_path(text in "(/(kubepods|burstable|pod|\\.slice|[0-9a-f]{64}|docker-|\\.scope|:|-|crio-conmon-|[a-z]{0,3}|0f8e1c52_6d1b_4a77_9b0e_2f5a4c3d2e10){0,5}){0,6}|.{0,200}") {
            let place = CgroupPlace::of(&text);
            if let Some(container) = place.container() {
                prop_assert!(text.contains(container.as_str()));
                prop_assert!(!text.ends_with(&format!("conmon-{container}")), "{}", text);
            }
            if let Some(pod) = place.pod() {
                prop_assert!(text.replace('_', "-").contains(pod.as_str()));
            }
            let last = CgroupPlace::pairs(&text).pop();
            prop_assert_eq!(last.as_ref().map(|(pod, _)| pod), place.pod());
        }
    }
}
