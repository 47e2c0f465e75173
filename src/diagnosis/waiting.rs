//! Containers that do not even start: what their waiting state says.
//!
//! Flows in: a waiting reason and its message (pkg/kubelet/images/types.go, pkg/kubelet/kuberuntime).
//! Flows out: a [`WaitingCause`].

use crate::model::{Blame, Cause};

/// Why a container waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingCause {
    /// The cause.
    pub cause: Cause,
    /// Whose fault, as far as the message tells.
    pub blame: Blame,
    /// What goes wrong, as a clause.
    pub what: &'static str,
    /// Whether this word is the failed attempt itself, not the wait for the next one.
    pub attempt: bool,
}

impl WaitingCause {
    /// Reads a waiting state; `None` for one that is normal or that the container's last end explains.
    pub fn of(reason: &str, message: &str) -> Option<Self> {
        match reason {
            "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "SignatureValidationFailed" => {
                let (blame, what) = pull(message);
                Some(Self { cause: Cause::ImagePull, blame, what, attempt: reason != "ImagePullBackOff" })
            }
            "ErrImageNeverPull" => {
                let what = "its image is not on the node and may not be pulled (imagePullPolicy: Never)";
                Some(Self { cause: Cause::ImagePull, blame: Blame::Insufficient, what, attempt: true })
            }
            "InvalidImageName" => {
                Some(Self { cause: Cause::ImagePull, blame: Blame::Workload, what: "its image's name is not valid", attempt: true })
            }
            "ImageInspectError" => {
                Some(Self { cause: Cause::ImagePull, blame: Blame::Node, what: "the runtime cannot read its image", attempt: true })
            }
            "CreateContainerConfigError" => {
                Some(Self { cause: Cause::ConfigError, blame: Blame::Workload, what: "it cannot be configured", attempt: true })
            }
            "CreateContainerError" => {
                Some(Self { cause: Cause::StartError, blame: Blame::Insufficient, what: "the runtime cannot create it", attempt: true })
            }
            _ => None,
        }
    }

    /// What to do.
    pub fn action(self) -> &'static str {
        match self.cause {
            Cause::ImagePull => "Check the image's name, the registry and the pull secret, from this node.",
            Cause::ConfigError => "Create what is missing, or correct its name in the pod.",
            _ => "Read the message: the runtime names the reason.",
        }
    }
}

/// Classes of pull failures, by what registries and runtimes answer.
fn pull(message: &str) -> (Blame, &'static str) {
    const CLASSES: &[(&str, Blame, &str)] = &[
        ("no space left", Blame::Node, "there is no space left for its image"),
        ("x509", Blame::Node, "the registry's certificate is not trusted"),
        ("no such host", Blame::Node, "the registry's name cannot be resolved"),
        ("server misbehaving", Blame::Node, "the registry's name cannot be resolved"),
        ("connection refused", Blame::Insufficient, "the registry refuses the connection"),
        ("toomanyrequests", Blame::Insufficient, "the registry limits the rate of pulls"),
        ("429", Blame::Insufficient, "the registry limits the rate of pulls"),
        ("i/o timeout", Blame::Insufficient, "the registry does not answer"),
        ("deadline exceeded", Blame::Insufficient, "the registry does not answer"),
        ("TLS handshake timeout", Blame::Insufficient, "the registry does not answer"),
        ("no match for platform", Blame::Workload, "its image is not built for this node's architecture"),
        ("unauthorized", Blame::Workload, "the registry demands other credentials"),
        ("denied", Blame::Workload, "the registry demands other credentials, or the image does not exist"),
        ("not found", Blame::Workload, "its image does not exist in the registry"),
    ];
    let class = CLASSES.iter().find(|(needle, ..)| message.contains(needle));
    class.map_or((Blame::Insufficient, "its image cannot be pulled"), |(_, blame, what)| (*blame, *what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_start_have_causes() {
        let of = |reason: &str, message: &str| WaitingCause::of(reason, message).map(|cause| (cause.cause, cause.blame));
        assert_eq!(of("ErrImagePull", "failed to resolve reference \"x\": not found"), Some((Cause::ImagePull, Blame::Workload)));
        assert_eq!(of("ImagePullBackOff", "lookup registry: no such host"), Some((Cause::ImagePull, Blame::Node)));
        assert_eq!(of("CreateContainerConfigError", "secret \"db\" not found"), Some((Cause::ConfigError, Blame::Workload)));
        for normal in ["ContainerCreating", "PodInitializing", "CrashLoopBackOff", "RunContainerError"] {
            assert_eq!(of(normal, ""), None, "{normal}");
        }
    }
}
