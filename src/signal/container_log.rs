//! The end of a dead container's log: what the program said last.

use crate::model::PodUid;
use serde::{Deserialize, Serialize};

/// The last lines of one attempt's log, read when its end was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerLogTail {
    /// The pod, in the kubelet's form.
    pub pod: PodUid,
    /// The container's name.
    pub container: String,
    /// Which attempt's log.
    pub attempt: u32,
    /// The last lines as the runtime wrote them (time, stream, tag, text), oldest first. The text is
    /// the program's own and may hold secrets: only its class leaves the core.
    pub lines: Vec<String>,
}
