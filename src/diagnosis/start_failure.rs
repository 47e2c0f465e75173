//! Why a pod or a container does not start: the classes of each failure, with whose fault it is and
//! where to look.
//!
//! Flows in: a class of the kubelet's log, or the words of a runtime, a storage driver or a network
//! plugin. Flows out: a [`StartFailure`].

use crate::{model::Blame, parse::kubelet::PullFailure};

/// One class of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartFailure {
    /// Whose fault, as far as the words tell.
    pub blame: Blame,
    /// What goes wrong, as a clause.
    pub what: &'static str,
    /// What to do.
    pub action: &'static str,
}

const fn failure(blame: Blame, what: &'static str, action: &'static str) -> StartFailure {
    StartFailure { blame, what, action }
}

/// An image that cannot be pulled.
pub const fn pull(class: PullFailure) -> StartFailure {
    match class {
        PullFailure::NotFound => {
            failure(Blame::Workload, "its image does not exist in the registry", "Correct the image's name or tag, or push it.")
        }
        PullFailure::Unauthorised => failure(
            Blame::Workload,
            "the registry demands other credentials, or the image does not exist",
            "Check the pull secret of the pod and of its service account, and the image's name.",
        ),
        PullFailure::Tls => failure(
            Blame::Node,
            "the registry's certificate is not trusted",
            "Give this node the registry's certificate authority (containerd: /etc/containerd/certs.d), and compare its clock.",
        ),
        PullFailure::Timeout => failure(
            Blame::Insufficient,
            "the registry does not answer in time",
            "Pull the same image on another node: if it works there, look at this node's network or proxy, else at the registry.",
        ),
        PullFailure::RateLimit => failure(
            Blame::Insufficient,
            "the registry limits the rate of pulls",
            "Pull with credentials, through a mirror, or less often (imagePullPolicy: IfNotPresent).",
        ),
        PullFailure::NoSpace => failure(
            Blame::Node,
            "there is no space left for its image",
            "Free the disk of the images on this node; look at why the kubelet's image collection does not.",
        ),
        PullFailure::WrongPlatform => failure(
            Blame::Workload,
            "its image is not built for this node's architecture",
            "Build the image for this node's architecture, or select nodes of the other one.",
        ),
        PullFailure::NameResolution => failure(
            Blame::Node,
            "the registry's name cannot be resolved",
            "Look at this node's own name resolution (/etc/resolv.conf of the host, not the cluster's).",
        ),
        PullFailure::ConnectionRefused => failure(
            Blame::Insufficient,
            "the registry refuses the connection or is not routed to",
            "Ask the registry from this node and from another; look at firewalls and proxies.",
        ),
        PullFailure::Other => failure(
            Blame::Insufficient,
            "its image cannot be pulled",
            "Check the image's name, the registry and the pull secret, from this node.",
        ),
    }
}

/// A container that cannot be configured (pkg/kubelet/kuberuntime, `verifyRunAsNonRoot`; else a reference of its environment).
pub fn config(said: &str) -> StartFailure {
    const CLASSES: &[(&[&str], StartFailure)] = &[(
        &["runasnonroot", "non-numeric user"],
        failure(
            Blame::Workload,
            "its pod forbids to run it as root",
            "Set runAsUser to a number other than 0, or build the image with a numeric USER that is not root.",
        ),
    )];
    const REFERENCE: StartFailure =
        failure(Blame::Workload, "it cannot be configured", "Create what is missing, or correct its name in the pod.");
    first_of(said, CLASSES, REFERENCE)
}

/// The first class whose words the text has, in any case of letters.
fn first_of(text: &str, classes: &[(&[&str], StartFailure)], otherwise: StartFailure) -> StartFailure {
    let text = text.to_ascii_lowercase();
    let class = classes.iter().find(|(words, _)| words.iter().any(|word| text.contains(word)));
    class.map_or(otherwise, |(_, failure)| *failure)
}

/// A volume that cannot be mounted or attached (pkg/volume, and the words of CSI drivers).
pub fn mount(said: &str) -> StartFailure {
    const CLASSES: &[(&[&str], StartFailure)] = &[
        (
            &["configmap \"", "secret \"", "couldn't find key", "references non-existent"],
            failure(Blame::Workload, "what the volume names does not exist", "Create the ConfigMap, Secret or key, or correct its name."),
        ),
        (
            &["hostpath type check failed"],
            failure(Blame::Workload, "the path on the host is missing or of another kind", "Create the path on this node, or correct it."),
        ),
        (
            &["multi-attach", "already exclusively attached", "already used by"],
            failure(
                Blame::Insufficient,
                "it is still attached to another node",
                "Look for the pod that still uses it, or the node that has not released it: `kubectl get volumeattachments`.",
            ),
        ),
        (
            &["not attached", "waitforattach", "attachvolume", "verifycontrollerattachedvolume", "timed out waiting for external-attacher"],
            failure(
                Blame::Insufficient,
                "it is not attached to this node in time",
                "Look at the storage driver's controller and at `kubectl get volumeattachments`; the cloud may limit volumes of a node.",
            ),
        ),
        (
            &["driver name", "not found in the list of registered csi drivers"],
            failure(Blame::Node, "its storage driver does not run on this node", "Look at the driver's pod on this node."),
        ),
        (
            &["no space left on device", "read-only file system", "input/output error", "structure needs cleaning", "superblock"],
            failure(Blame::Node, "the file system beneath it is damaged or full", "Look at the disk: `dmesg`, `df`, `fsck`."),
        ),
        (
            &["mount.nfs", "no route to host", "connection refused", "connection timed out", "host is down"],
            failure(Blame::Insufficient, "its storage server does not answer", "Ask the storage server from this node and from another."),
        ),
        (
            &["timed out waiting", "deadline exceeded", "deadlineexceeded"],
            failure(
                Blame::Insufficient,
                "it does not become ready in time",
                "Look at the storage driver's pods and at the volume's events.",
            ),
        ),
    ];
    let otherwise = failure(
        Blame::Insufficient,
        "it cannot be mounted",
        "Create what the volume names, or correct its name; look at the storage if it exists.",
    );
    first_of(said, CLASSES, otherwise)
}

/// A sandbox or its network that cannot be made (containerd, CRI-O, and the words of CNI plugins).
pub fn sandbox(said: &str) -> StartFailure {
    const CLASSES: &[(&[&str], StartFailure)] = &[
        (
            &["no ip addresses available", "failed to allocate for range", "no available ip", "no free ip"],
            failure(
                Blame::Node,
                "no address is left for a pod on this node",
                "Look for addresses that were not given back (/var/lib/cni/networks), or give the node a larger range.",
            ),
        ),
        (
            &["cni plugin not initialized", "no cni configuration", "networkpluginnotready", "no networks found"],
            failure(Blame::Node, "the network plugin is not ready", "Look at the network plugin's pod on this node and at /etc/cni/net.d."),
        ),
        (
            &["failed to get sandbox image", "failed to pull image"],
            failure(
                Blame::Node,
                "the image of the sandbox itself cannot be had",
                "Make the pause image available to this node, and keep the image collection away from it.",
            ),
        ),
        (
            &["failed to reserve sandbox name"],
            failure(Blame::Node, "an earlier try still hangs in the runtime", "Look for what makes the runtime slow on this node."),
        ),
        (
            &["runtime handler", "no runtime for"],
            failure(Blame::Node, "this node has no such runtime class", "Configure the handler on this node, or select other nodes."),
        ),
        (
            &["connection refused", "failed to dial", "unauthorized"],
            failure(
                Blame::Node,
                "the network plugin does not get through to its own daemon or to the API server",
                "Look at the network plugin's pod on this node.",
            ),
        ),
        (
            &["no space left on device", "read-only file system"],
            failure(Blame::Node, "the disk beneath it is full or read-only", "Look at the disk: `df`, `df -i`, `dmesg`."),
        ),
    ];
    let otherwise = failure(
        Blame::Insufficient,
        "it cannot be set up",
        "Look at the network plugin on this node: its pods, its configuration, its free addresses.",
    );
    first_of(said, CLASSES, otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_fails_for_the_reason_that_it_names() {
        let blame = |said: &str| mount(said).blame;
        assert_eq!(blame("MountVolume.SetUp failed for volume \"cfg\" : configmap \"cfg\" not found"), Blame::Workload);
        assert_eq!(blame("MountVolume.SetUp failed for volume \"h\" : hostPath type check failed: /x is not a directory"), Blame::Workload);
        assert_eq!(blame("MountVolume.MountDevice failed for volume \"pvc\" : mount failed: Structure needs cleaning"), Blame::Node);
        let attach = mount(
            "MountVolume.WaitForAttach failed for volume \"pvc\" : timed out waiting for external-attacher of x CSI driver to attach volume",
        );
        assert_eq!((attach.blame, attach.what), (Blame::Insufficient, "it is not attached to this node in time"));
        assert_eq!(mount("Multi-Attach error for volume \"pvc\"").what, "it is still attached to another node");
        assert_eq!(
            mount("unmounted volumes=[a], unattached volumes=[]: timed out waiting for the condition").what,
            "it does not become ready in time"
        );
    }

    #[test]
    fn a_sandbox_fails_for_the_reason_that_it_names() {
        let full = sandbox(
            "failed to setup network for sandbox \"x\": plugin type=\"host-local\" failed (add): no IP addresses available in range set",
        );
        assert_eq!((full.blame, full.what), (Blame::Node, "no address is left for a pod on this node"));
        assert_eq!(sandbox("something nobody knows").blame, Blame::Insufficient);
    }
}
