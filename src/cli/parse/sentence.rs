//! One sentence for an OOM kill and for a problem of the kubelet. Kernel problems bring their own.

use crate::parse::kubelet::Report;
use crate::parse::oom::{OomEvent, OomOutcome, OomScope};
use std::fmt;

pub(super) fn write_oom(f: &mut fmt::Formatter<'_>, event: &OomEvent) -> fmt::Result {
    let did = match event.outcome {
        OomOutcome::Killed => "killed",
        OomOutcome::Chosen => "chose",
        OomOutcome::Unseen => "ran; the log does not say that it killed",
    };
    write!(f, "the kernel's OOM killer {did} {}", event.victim.comm.as_deref().unwrap_or("a process"))?;
    if let Some(pid) = event.victim.pid {
        write!(f, " (pid {pid})")?;
    }
    let place = match event.scope() {
        OomScope::Container => "its container reached its memory limit",
        OomScope::Pod => "its pod reached its memory limit",
        OomScope::System => "the machine ran out of memory",
        OomScope::Other => "a memory limit was reached",
    };
    write!(f, ": {place}")?;
    if let (OomScope::Other, Some(cgroup)) = (event.scope(), &event.oom_memcg) {
        write!(f, " ({cgroup})")?;
    }
    match event.memory.and_then(|memory| memory.limit()).and_then(|limit| limit.bytes()) {
        Some(limit) if event.scope() != OomScope::System => write!(f, " of {limit}"),
        _ => Ok(()),
    }
}

pub(super) fn write_kubelet(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let class = serde_json::to_value(report.class).ok();
    let class = class.as_ref().and_then(|class| class.as_str()).unwrap_or("other").replace('_', " ");
    write!(f, "the kubelet tells of a problem ({class})")?;
    if let Some(pod) = &report.pod {
        write!(f, " of pod {pod}")?;
    }
    if let Some(container) = &report.container {
        write!(f, ", container {container}")?;
    }
    write!(f, ": {}", report.message)
}
