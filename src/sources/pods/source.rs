//! What a source of pods has to tell, whoever it is.

use crate::signal::{PodRecord, SourceState};
use futures::stream::BoxStream;

/// Something that knows the pods of one node: tells all of them first, then each change, endlessly.
///
/// The API server's watch is one. The kubelet's read-only `/pods` would be another: it tells every answer as a list.
/// So would the kubelet's Pods API on its local socket (KEP-4188), whose `INITIAL_SYNC_COMPLETE` is
/// [`PodEvent::ListEnds`]. Whoever follows a source does not know which one it is.
pub trait PodSource {
    /// As people call it: `API server`.
    const NAME: &'static str;

    /// Starts telling the pods of `node`. After a failure the source goes on by itself, with a new list if it may have
    /// missed something.
    fn pods_of(self, node: &str) -> BoxStream<'static, Result<PodEvent, PodSourceFailure>>;
}

/// What is told of pods.
#[derive(Debug, Clone, PartialEq)]
pub enum PodEvent {
    /// A list of all pods begins. What a list that broke off has told is void.
    ListBegins,
    /// A pod of the list.
    Listed(PodRecord),
    /// The list is whole: pods that are not in it are gone.
    ListEnds,
    /// A pod is new or has changed.
    Changed(PodRecord),
    /// A pod is gone. The record is its last one: a source that is told only a uid keeps what it told before.
    Gone(PodRecord),
}

/// Why a source cannot tell at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSourceFailure {
    /// [`SourceState::Unreadable`] if somebody has to grant something, else [`SourceState::Failing`].
    pub state: SourceState,
    /// What went wrong, and the remedy.
    pub detail: String,
}
