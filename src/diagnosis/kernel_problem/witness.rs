//! A trouble of the node beside the end of a container.
//!
//! One direct fact about the node, tied in time to one end, outweighs what the exit status alone suggests.
//! Tied are: broken memory or a failed disk under a mapped file to a SIGBUS, and errors of the disk under
//! a volume of the pod's own to any error that the program ended with. Errors of the disk that all
//! pods share are told beside the end and accuse nobody: most containers there live on.

use crate::{
    diagnosis::death::DeathExplanation,
    findings::{Evidence, FindingId},
    model::{Blame, Cause, Confidence},
};

/// What the kernel reported close to an end, joined to its container.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeWitness {
    /// The finding that tells of it.
    pub finding: FindingId,
    /// What was seen, as evidence for the end.
    pub evidence: Evidence,
    /// Whether it hit something of this pod's own.
    pub own: bool,
}

/// Lets a witness speak; whether it had anything to say about such an end.
pub fn weigh(told: &mut DeathExplanation, witness: &NodeWitness) -> bool {
    let direct = told.cause == Cause::BusError;
    let by_error = matches!(
        told.cause,
        Cause::AppError | Cause::AppPanic | Cause::Aborted | Cause::CommandNotFound | Cause::NotExecutable | Cause::StartError
    );
    if !direct && !by_error {
        return false;
    }
    if direct || witness.own {
        told.blame = Blame::Node;
        // The status proves that it ended, and the disk that it could; that the one made the other is likely.
        told.confidence = told.confidence.min(Confidence::Likely);
        told.what = format!("{}; at that time {}", told.what, witness.evidence.what);
    }
    told.evidence.push(witness.evidence.clone());
    true
}
