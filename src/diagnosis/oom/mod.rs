//! Explains one kill by the kernel's OOM killer.
//!
//! Flows in: an [`OomEvent`] and the inventory. Flows out: an [`OomExplanation`], which becomes a
//! finding. Decides by evidence on this node alone.

mod limit;
mod memory;
mod sentence;
mod victim;

pub use limit::{GaveWay, Holder, Whose};
pub use memory::{LastSeen, MemoryPicture, Resident};
pub use sentence::place_name;
pub use victim::{Role, Victim, follows};

use super::starvation::{WINDOW_SECONDS, is_shortage, waited};
use crate::{
    findings::{Evidence, EvidenceSource, Subject},
    inventory::Inventory,
    model::{Attribution, Blame, Cause, Confidence, Moment, Resource, Scope},
    parse::oom::OomEvent,
};

/// A kill, explained.
#[derive(Debug, Clone, PartialEq)]
pub struct OomExplanation {
    /// Why: the limit's cause, or [`Cause::OomChildProcess`] for a kill that the container survived.
    pub cause: Cause,
    /// Where it gave way.
    pub scope: Scope,
    /// Whose fault.
    pub blame: Blame,
    /// How sure.
    pub confidence: Confidence,
    /// Who was hit; `None` for a process outside of pods and containers.
    pub subject: Option<Subject>,
    /// The sentence.
    pub summary: String,
    /// The kernel's lines and the figures.
    pub evidence: Vec<Evidence>,
    /// What the dump does not say.
    pub not_found: Vec<String>,
    /// What to do.
    pub actions: Vec<String>,
    /// The memory.
    pub memory: MemoryPicture,
}

impl OomExplanation {
    /// Explains a kill that happened at `at`; `seen` is its container's state before it.
    pub fn of(event: &OomEvent, victim: &Victim, seen: &LastSeen, inventory: &Inventory, at: Moment) -> Self {
        let gave_way = GaveWay::decide(event, victim, inventory, at.boot);
        let memory = MemoryPicture::of(event, victim, seen, inventory, at.boot);
        let subject = inventory.subject(victim.pod.as_ref(), victim.container.as_ref());
        let in_container = victim.pod.is_some() || victim.container.is_some();
        Self {
            cause: cause(&gave_way, victim),
            scope: gave_way.scope,
            blame: gave_way.blame(),
            confidence: confidence(&gave_way, victim),
            summary: sentence::summary(event, victim, &gave_way, &memory, &subject, inventory),
            evidence: evidence(event, victim, &memory, at).into_iter().chain(pressure_evidence(&gave_way, inventory, at)).collect(),
            not_found: not_found(event, victim),
            actions: sentence::actions(&gave_way, &memory, &subject),
            subject: in_container.then_some(subject),
            memory,
        }
    }
}

fn cause(gave_way: &GaveWay, victim: &Victim) -> Cause {
    match (victim.role, gave_way.cause) {
        (Role::Child, Cause::OomContainerLimit | Cause::OomPodLimit) => Cause::OomChildProcess,
        (_, cause) => cause,
    }
}

/// What only a pid or a counter joins to a container is never more than likely.
fn confidence(gave_way: &GaveWay, victim: &Victim) -> Confidence {
    match victim.attribution {
        Attribution::Kernel => gave_way.confidence,
        Attribution::PidCache | Attribution::Counter | Attribution::Runtime => gave_way.confidence.min(Confidence::Likely),
        Attribution::None => Confidence::Possible,
    }
}

fn evidence(event: &OomEvent, victim: &Victim, memory: &MemoryPicture, at: Moment) -> Vec<Evidence> {
    let lines = event.evidence.iter().map(|line| Evidence {
        source: EvidenceSource::KernelLog,
        time: at.wall,
        what: line.to_string(),
        supports: true,
        how_matched: match victim.attribution {
            Attribution::Kernel => "the kernel names the cgroup".into(),
            Attribution::PidCache => "pid and name, seen in the container shortly before".into(),
            Attribution::Counter => "the kill counter of the pod's cgroup rose at this time".into(),
            Attribution::Runtime | Attribution::None => "not joined to a container".into(),
        },
    });
    lines.chain(growth_evidence(memory, at)).chain(resident_evidence(memory, at)).collect()
}

fn growth_evidence(memory: &MemoryPicture, at: Moment) -> Option<Evidence> {
    let growth = memory.growth?;
    Some(figure(EvidenceSource::Cgroup, format!("the container's memory charge {growth}"), at))
}

/// How long the node's tasks waited for memory before it ran out.
fn pressure_evidence(gave_way: &GaveWay, inventory: &Inventory, at: Moment) -> Option<Evidence> {
    let history = (gave_way.cause == Cause::OomNode).then(|| inventory.node_pressure())?;
    let stalled = history.stalled(Resource::Memory, at.boot, WINDOW_SECONDS)?;
    let what = if is_shortage(stalled) {
        format!("on the node, {} before", waited(stalled))
    } else {
        format!("on the node, {} before: memory ran out at once", waited(stalled))
    };
    Some(Evidence { source: EvidenceSource::Node, time: at.wall, what, supports: true, how_matched: "time".into() })
}

/// Names the gap between what the processes have resident and what the cgroup is charged for.
fn resident_evidence(memory: &MemoryPicture, at: Moment) -> Option<Evidence> {
    let Resident { rss, charge } = memory.resident?;
    let gap = charge.saturating_sub(rss);
    let rest = if gap.percent_of(charge)? >= 10 {
        format!("; the other {gap} are page cache, tmpfs or kernel memory that no process has mapped")
    } else if rss > charge {
        "; VmRSS also counts file pages, which are charged to whoever read them first".into()
    } else {
        String::new()
    };
    let what = format!("when last sampled, the container's processes had {rss} resident (VmRSS) of {charge} charged{rest}");
    Some(figure(EvidenceSource::Process, what, at))
}

fn figure(source: EvidenceSource, what: String, at: Moment) -> Evidence {
    Evidence { source, time: at.wall, what, supports: true, how_matched: "container id".into() }
}

fn not_found(event: &OomEvent, victim: &Victim) -> Vec<String> {
    let seen = event.completeness;
    let missing = [
        (
            !seen.summary,
            "the kernel's line that names the cgroups (`oom-kill:` or `Task in`); its dumps are rate-limited and can be overwritten",
        ),
        (!seen.table, "the dump's table of processes"),
        (seen.gap, "records that the kernel overwrote in the middle of this dump"),
        (victim.is_unplaced(), "a container in which the agent had seen this process"),
    ];
    missing.into_iter().filter(|(missing, _)| *missing).map(|(_, what)| what.to_owned()).collect()
}
