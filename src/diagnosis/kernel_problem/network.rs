//! Faults of the network: tables that are full, interfaces that do not send.

use super::{Trouble, Verdict};
use crate::{
    model::{Attribution, Blame, Confidence, Scope},
    parse::kernel_problem::ProblemClass,
};

/// What a fault of the network comes to; `place` is the interface, or the network namespace whose table it is.
pub fn explain(trouble: &Trouble, class: ProblemClass, place: Option<&str>) -> Verdict {
    match place.filter(|_| class == ProblemClass::ConntrackFull) {
        Some(namespace) => of_namespace(trouble, namespace),
        None => of_node(trouble, class, place),
    }
}

/// Since 6.11 each network namespace counts its own connections, and the kernel names the one that is full by its
/// inode, except the host's (net/netfilter/nf_conntrack_core.c).
fn of_namespace(trouble: &Trouble, namespace: &str) -> Verdict {
    let summary = format!(
        "The connection tracking table of network namespace {namespace} is full: the kernel drops packets of new connections of the one pod, or whatever else lives in it, and of no other"
    );
    Verdict {
        scope: Scope::Pod,
        blame: Blame::Insufficient,
        not_found: vec!["whose namespace it is: the kernel shows that to privileged processes only".into()],
        actions: vec![format!(
            "Find whose it is on the node (`lsns -t net | grep {namespace}`), and why it opens so many connections; else raise net.netfilter.nf_conntrack_max."
        )],
        ..verdict(trouble, &summary)
    }
}

fn of_node(trouble: &Trouble, class: ProblemClass, device: Option<&str>) -> Verdict {
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
    Verdict { actions: vec![action.into()], ..verdict(trouble, &summary) }
}

fn verdict(trouble: &Trouble, summary: &str) -> Verdict {
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
        actions: vec![],
        attribution: Attribution::None,
    }
}
