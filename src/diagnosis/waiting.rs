//! Containers that do not even start: what their waiting state says.
//!
//! Flows in: a waiting reason and its message (pkg/kubelet/images/types.go, pkg/kubelet/kuberuntime).
//! Flows out: a [`WaitingCause`].

use super::start_failure::{StartFailure, config, pull};
use crate::{
    model::{Blame, Cause},
    parse::kubelet::PullFailure,
};

/// Why a container waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingCause {
    /// The cause.
    pub cause: Cause,
    /// Whose fault, as far as the message tells.
    pub blame: Blame,
    /// What goes wrong, as a clause.
    pub what: &'static str,
    /// What to do.
    pub action: &'static str,
    /// Whether the message says why, not only that it fails.
    pub says_why: bool,
    /// Whether this word is the failed attempt itself, not the wait for the next one.
    pub attempt: bool,
}

const READ_THE_MESSAGE: &str = "Read the message: the runtime names the reason.";

impl WaitingCause {
    /// Reads a waiting state; `None` for one that is normal or that the container's last end explains.
    pub fn of(reason: &str, message: &str) -> Option<Self> {
        let of = |cause, blame, what, action| Some(Self { cause, blame, what, action, says_why: true, attempt: true });
        match reason {
            "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "SignatureValidationFailed" => {
                let class = PullFailure::of(message);
                let StartFailure { blame, what, action } = pull(class);
                let says_why = class != PullFailure::Other;
                Some(Self { cause: Cause::ImagePull, blame, what, action, says_why, attempt: reason != "ImagePullBackOff" })
            }
            "ErrImageNeverPull" => of(
                Cause::ImagePull,
                Blame::Insufficient,
                "its image is not on the node and may not be pulled (imagePullPolicy: Never)",
                "Load the image onto this node, or allow pulling it.",
            ),
            "InvalidImageName" => {
                of(Cause::ImagePull, Blame::Workload, "its image's name is not valid", "Correct the image's name in the pod.")
            }
            "ImageInspectError" => of(
                Cause::ImagePull,
                Blame::Node,
                "the runtime cannot read its image",
                "Remove the image from this node and let it be pulled anew.",
            ),
            "CreateContainerConfigError" => {
                let StartFailure { blame, what, action } = config(message);
                of(Cause::ConfigError, blame, what, action)
            }
            "CreateContainerError" => of(Cause::StartError, Blame::Insufficient, "the runtime cannot create it", READ_THE_MESSAGE),
            "PostStartHookError" => of(
                Cause::StartError,
                Blame::Workload,
                "its postStart hook fails, for which the kubelet kills it",
                "Run the hook's command in the container by hand; its output is in the pod's events only.",
            ),
            _ => None,
        }
    }
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
