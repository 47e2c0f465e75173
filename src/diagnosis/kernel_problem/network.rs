//! Faults of the network: tables that are full, interfaces that do not send.

use super::{Trouble, Verdict};
use crate::{
    model::{Attribution, Blame, Confidence, Scope},
    parse::kernel_problem::ProblemClass,
};

/// What a fault of the network comes to.
pub fn explain(trouble: &Trouble, class: ProblemClass, device: Option<&str>) -> Verdict {
    let (summary, action) = match class {
        ProblemClass::ConntrackFull => (
            "The connection tracking table is full: the kernel drops packets of new connections of any pod".to_owned(),
            "Raise net.netfilter.nf_conntrack_max (kube-proxy --conntrack-max-per-core), or find who opens so many connections.",
        ),
        ProblemClass::NeighbourOverflow => (
            "The neighbour table is full: this node cannot reach pods or nodes that it has not talked to lately".to_owned(),
            "Raise net.ipv4.neigh.default.gc_thresh1, gc_thresh2 and gc_thresh3 (and those of ipv6).",
        ),
        _ => (
            format!("Interface {} stopped sending", device.unwrap_or("of this node")),
            "Look at the interface's driver and firmware, its cable and the switch; on a virtual machine at its host.",
        ),
    };
    let times = match trouble.count() {
        0 | 1 => String::new(),
        count => format!(" ({count} reports)"),
    };
    Verdict {
        confidence: Confidence::Proven,
        scope: Scope::Node,
        blame: Blame::Node,
        summary: format!("{summary}{times}."),
        subjects: vec![],
        evidence: trouble.evidence("the kernel's own report"),
        not_found: vec![],
        actions: vec![action.into()],
        attribution: Attribution::None,
    }
}
