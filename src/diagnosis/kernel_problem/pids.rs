//! A pids limit that refused a process. The kernel names the cgroup that wanted one, not the one whose
//! limit gave way (`pids_event`, kernel/cgroup/pids.c): the figures of both tell.

use super::{Trouble, Verdict};
use crate::{
    diagnosis::oom::place_name,
    findings::{Evidence, EvidenceSource},
    inventory::Inventory,
    model::{Attribution, Blame, CgroupPlace, Confidence, Scope},
    signal::PidsUse,
};
use serde::{Deserialize, Serialize};

/// The figures are read a moment after the refusal, when some processes may have ended: in tenths.
const FULL_TENTHS: u64 = 9;

/// The level whose pids limit gave way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PidsLevel {
    /// The container's own.
    Container(u64),
    /// The pod's (`podPidsLimit`).
    Pod(u64),
    /// That of all pods, or of a class.
    Pods {
        /// The limit.
        max: u64,
        /// Whether this pod has most of it itself.
        own: bool,
    },
}

/// Finds the lowest level that is at its limit.
pub fn level(cgroup: &str, inventory: &Inventory) -> Option<PidsLevel> {
    let place = CgroupPlace::of(cgroup);
    let container = place.container().and_then(|id| inventory.container(id));
    let container = container.and_then(|container| container.sample.as_ref()?.pids);
    if let Some(max) = container.and_then(full) {
        return Some(PidsLevel::Container(max));
    }
    let pod = place.pod().and_then(|uid| inventory.pod(uid)).and_then(|pod| pod.sample.as_ref()?.pids);
    if let Some(max) = pod.and_then(full) {
        return Some(PidsLevel::Pod(max));
    }
    let own = pod.or(container).map_or(0, |used| used.current);
    let above = cgroup.char_indices().filter(|(_, letter)| *letter == '/').filter_map(|(end, _)| cgroup.get(..end));
    let mut above = above.filter_map(|path| inventory.class(path)?.pids).filter_map(|used| Some((full(used)?, used.current)));
    above.next_back().map(|(max, current)| PidsLevel::Pods { max, own: own.saturating_mul(2) >= current })
}

/// How often the cgroup was refused one: the kernel's log tells of the first time only. Until 6.10 the cgroup that asked
/// counts, since then the one whose limit gave way.
fn counted(trouble: &Trouble, place: &CgroupPlace, inventory: &Inventory) -> Option<Evidence> {
    let container = place.container().and_then(|id| inventory.container(id)?.sample.as_ref()?.pids?.refused);
    let pod = || place.pod().and_then(|uid| inventory.pod(uid)?.sample.as_ref()?.pids?.refused);
    let (whose, times) = container.filter(|times| *times > 0).map(|times| ("container", times)).or_else(|| Some(("pod", pod()?)))?;
    (times > 0).then(|| Evidence {
        source: EvidenceSource::Cgroup,
        time: trouble.latest.wall,
        what: format!("pids.events of the {whose} counts {times} refused processes and threads"),
        supports: true,
        how_matched: "the cgroup that the kernel names".into(),
    })
}

fn full(used: PidsUse) -> Option<u64> {
    used.max.filter(|max| used.current.saturating_mul(10) >= max.saturating_mul(FULL_TENTHS))
}

/// What the refusal comes to.
pub fn explain(trouble: &Trouble, cgroup: &str, inventory: &Inventory) -> Verdict {
    let place = CgroupPlace::of(cgroup);
    let of_pod = place.pod().is_some() || place.container().is_some();
    let subject = of_pod.then(|| inventory.subject(place.pod(), place.container()));
    let who = subject.as_ref().map_or_else(|| format!("service {cgroup}"), place_name);
    let refused = format!("In {who}, the kernel refused a new process or thread");
    let (scope, blame, why) = match trouble.pids {
        _ if !of_pod => (Scope::HostService, Blame::Node, "a pids limit is reached".to_owned()),
        Some(PidsLevel::Container(max)) => (Scope::Container, Blame::Workload, format!("the container has all {max} that it may have")),
        Some(PidsLevel::Pod(max)) => (Scope::Pod, Blame::Workload, format!("its pod has all {max} that it may have (podPidsLimit)")),
        Some(PidsLevel::Pods { max, own: true }) => {
            (Scope::NodeAllocatable, Blame::Workload, format!("all pods together have the {max} that they may have, most of them this pod"))
        }
        Some(PidsLevel::Pods { max, own: false }) => {
            (Scope::NodeAllocatable, Blame::Neighbour, format!("all pods together have the {max} that they may have, most of them others"))
        }
        None => (Scope::Container, Blame::Insufficient, "a pids limit is reached".to_owned()),
    };
    let action = match scope {
        Scope::HostService => "Raise TasksMax of the unit, or find out why it starts so many.",
        Scope::NodeAllocatable => "Find the pod with the most processes (nodewhy_container_pids); reserve fewer pids for the system.",
        _ => {
            "Find out why the program starts so many processes or threads: a fork bomb, or a pool without a bound; else raise podPidsLimit."
        }
    };
    let mut evidence = trouble.evidence("the cgroup that the kernel names");
    evidence.extend(counted(trouble, &place, inventory));
    Verdict {
        confidence: Confidence::Proven,
        scope,
        blame,
        summary: format!("{refused}: {why}."),
        subjects: subject.into_iter().collect(),
        evidence,
        not_found: if trouble.pids.is_none() && of_pod { vec!["a cgroup at its limit when the figures were read".into()] } else { vec![] },
        actions: vec![action.into()],
        attribution: if of_pod { Attribution::Kernel } else { Attribution::None },
    }
}
