//! Ends that a whole pod suffers from the kubelet: evicted, preempted, refused.
//!
//! Flows in: a pod's record. Flows out: a [`PodEnd`]. Its containers' own ends follow from it and are
//! no findings of their own.

use crate::{
    model::{Blame, Cause, Confidence, Scope},
    parse::eviction::{EvictedFor, EvictedMessage},
    signal::PodRecord,
};

/// What the kubelet did to a pod, as its status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEnd {
    /// Why.
    pub cause: Cause,
    /// How sure.
    pub confidence: Confidence,
    /// What gave way.
    pub scope: Scope,
    /// Whose fault, as far as the status alone tells.
    pub blame: Blame,
    /// What happened, as a clause that follows the pod's name.
    pub what: String,
    /// The message's figures.
    pub said: EvictedMessage,
}

/// Reasons of a refusal besides `OutOf…` (pkg/kubelet/lifecycle/predicate.go, pkg/kubelet/kubelet.go,
/// pkg/kubelet/cm), and whether another node would have taken the pod.
const REFUSALS: [(&str, Blame); 11] = [
    ("UnexpectedAdmissionError", Blame::Node),
    ("TopologyAffinityError", Blame::Node),
    ("NodeShutdown", Blame::Node),
    ("VolumeAttachmentLimitExceeded", Blame::Node),
    ("NodeAffinity", Blame::Workload),
    ("NodeName", Blame::Workload),
    ("AppArmor", Blame::Node),
    ("SysctlForbidden", Blame::Workload),
    ("PodOSNotSupported", Blame::Workload),
    ("PodOSSelectorNodeLabelDoesNotMatch", Blame::Workload),
    ("InvalidNodeInfo", Blame::Node),
];

impl PodEnd {
    /// Reads a pod's status.
    pub fn of(pod: &PodRecord) -> Option<Self> {
        let reason = pod.reason.as_deref()?;
        let message = pod.message.as_deref().unwrap_or_default();
        let never_ran = pod.containers.iter().all(|container| container.restart_count.is_none() && container.state.is_none());
        let said = EvictedMessage::parse(message);
        match reason {
            "Evicted" if said.reason == EvictedFor::Condition => Some(Self::refused(Blame::Node, reason, message, said)),
            "Evicted" => Some(Self::evicted(said)),
            "Preempting" => Some(Self {
                cause: Cause::Preempted,
                confidence: Confidence::Proven,
                scope: Scope::Node,
                blame: Blame::Neighbour,
                what: "was ended to make room for a pod of higher priority".into(),
                said,
            }),
            _ if never_ran && pod.phase.as_deref() == Some("Failed") => {
                Some(Self::refused(blame_of_refusal(reason, message)?, reason, message, said))
            }
            _ => None,
        }
    }

    fn evicted(said: EvictedMessage) -> Self {
        let own = |scope, what: &str| (Cause::EvictedEphemeralStorage, scope, Blame::Workload, what.to_owned());
        let node = |cause, what: &str| (cause, Scope::Node, Blame::Node, format!("was evicted because the node ran short of {what}"));
        let (cause, scope, blame, what) = match said.reason {
            EvictedFor::ContainerLimit => {
                own(Scope::Container, "was evicted because a container of it wrote more than its ephemeral-storage limit")
            }
            EvictedFor::PodLimit => own(Scope::Pod, "was evicted because it wrote more than its containers' ephemeral-storage limits"),
            EvictedFor::EmptyDirLimit => own(Scope::Pod, "was evicted because an emptyDir volume of it outgrew its sizeLimit"),
            EvictedFor::Memory => node(Cause::EvictedMemory, "memory"),
            EvictedFor::Inodes => node(Cause::EvictedInodes, "inodes"),
            EvictedFor::Pids => node(Cause::EvictedPids, "process ids"),
            EvictedFor::Disk | EvictedFor::Condition | EvictedFor::Unknown => node(Cause::EvictedDisk, "disk space"),
        };
        Self { cause, confidence: Confidence::Proven, scope, blame, what, said }
    }

    /// What the eviction manager's lines alone tell: what the node was short of, by the kubelet's word for the resource;
    /// where it was short of nothing, the pod reached a limit of its own, and which one is not said.
    pub fn by_log(resource: Option<&str>) -> Self {
        if let Some(resource) = resource {
            let said = EvictedMessage { reason: EvictedFor::of_resource(resource), ..EvictedMessage::default() };
            return Self::evicted(said);
        }
        Self {
            cause: Cause::EvictedEphemeralStorage,
            confidence: Confidence::Likely,
            scope: Scope::Pod,
            blame: Blame::Workload,
            what: "was evicted while the node was short of nothing: it wrote more than its limits of local storage allow".into(),
            said: EvictedMessage::default(),
        }
    }

    fn refused(blame: Blame, reason: &str, message: &str, said: EvictedMessage) -> Self {
        let because = message.strip_prefix("Pod was rejected: ").or_else(|| message.strip_prefix("Pod ")).unwrap_or(message).trim();
        let because = if because.is_empty() { "the kubelet gives no reason" } else { because };
        let what = format!("was refused by the kubelet ({reason}): {}", because.trim_end_matches('.'));
        Self { cause: Cause::AdmissionRejected, confidence: Confidence::Proven, scope: Scope::Node, blame, what, said }
    }
}

/// `None` for a reason that is no refusal, such as a Job's deadline.
fn blame_of_refusal(reason: &str, message: &str) -> Option<Blame> {
    if reason.starts_with("OutOf") {
        return Some(Blame::Node);
    }
    let known = REFUSALS.iter().find(|(known, _)| *known == reason).map(|(_, blame)| *blame);
    known.or_else(|| message.starts_with("Pod was rejected").then_some(Blame::Insufficient))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::{ContainerRecord, ContainerState, TerminatedState};
    use proptest::prelude::*;

    fn pod(reason: &str, message: &str) -> PodRecord {
        PodRecord { phase: Some("Failed".into()), reason: Some(reason.into()), message: Some(message.into()), ..PodRecord::default() }
    }

    fn ran(pod: PodRecord) -> PodRecord {
        let state = Some(ContainerState::Terminated(TerminatedState { exit_code: 137, ..TerminatedState::default() }));
        let container = ContainerRecord { name: "app".into(), restart_count: Some(0), state, ..ContainerRecord::default() };
        PodRecord { containers: vec![container], ..pod }
    }

    fn told(pod: &PodRecord) -> Option<(Cause, Scope, Blame)> {
        PodEnd::of(pod).map(|end| (end.cause, end.scope, end.blame))
    }

    #[test]
    fn evictions_by_the_node_and_by_own_limits() {
        let of = |message: &str| told(&ran(pod("Evicted", message))).expect("an end");
        assert_eq!(of("The node was low on resource: memory. "), (Cause::EvictedMemory, Scope::Node, Blame::Node));
        assert_eq!(of("The node was low on resource: inodes. "), (Cause::EvictedInodes, Scope::Node, Blame::Node));
        assert_eq!(of("The node was low on resource: ephemeral-storage. "), (Cause::EvictedDisk, Scope::Node, Blame::Node));
        let limit = of("Usage of EmptyDir volume \"v\" exceeds the limit \"8Mi\". ");
        assert_eq!(limit, (Cause::EvictedEphemeralStorage, Scope::Pod, Blame::Workload));
    }

    #[test]
    fn refusals_are_no_evictions() {
        let of = |reason: &str, message: &str| told(&pod(reason, message)).map(|(cause, _, blame)| (cause, blame));
        let rejected = |blame| Some((Cause::AdmissionRejected, blame));
        assert_eq!(of("Evicted", "Pod was rejected: The node had condition: [DiskPressure]. "), rejected(Blame::Node));
        assert_eq!(of("OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu"), rejected(Blame::Node));
        assert_eq!(of("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed"), rejected(Blame::Workload));
        assert_eq!(of("Novel", "Pod was rejected: because"), rejected(Blame::Insufficient));
        assert_eq!(of("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"), None);
        assert_eq!(told(&ran(pod("OutOfcpu", ""))), None, "it ran");
        assert_eq!(told(&ran(pod("Terminated", "Pod was terminated in response to imminent node shutdown."))), None);
    }

    proptest! {
        #[test]
        fn any_status_is_survived(reason in "\\PC{0,12}", message in "\\PC{0,60}") {
            let _ = PodEnd::of(&pod(&reason, &message));
        }
    }
}
