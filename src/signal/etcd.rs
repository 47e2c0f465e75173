//! Lines of etcd's log, where it runs as a static pod of this node.

use crate::model::PodUid;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdLine {
    /// The pod, in the kubelet's form.
    pub pod: PodUid,
    /// As the runtime wrote it (time, stream, tag, text), at most 4 KiB. What etcd itself marks as
    /// information is not read.
    pub text: String,
}
