//! Who died: which container, how that is known, and what it was to its container.

use crate::{
    inventory::{ContainerInstance, Inventory},
    model::{Attribution, BootTime, CgroupPlace, ContainerId, PodUid, ServiceName},
    parse::oom::OomEvent,
};

/// The victim of an OOM kill, placed on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its pod.
    pub pod: Option<PodUid>,
    /// Its container.
    pub container: Option<ContainerId>,
    /// The service it belongs to, for a process outside of pods.
    pub service: Option<ServiceName>,
    /// How it was placed.
    pub attribution: Attribution,
    /// What it was to its container.
    pub role: Role,
}

/// A first process that ends this soon after its child was killed ended of it. Its status has whole
/// seconds, and an exit takes a moment under pressure.
const FOLLOWS_WITHIN_SECONDS: u64 = 4;

/// Whether a container that ended at `ended` followed a child of it that was killed at `killed`. One rule for what is
/// told of the kill, by the container's cgroup, and what is told of the end, by its status.
pub fn follows(killed: BootTime, ended: BootTime) -> bool {
    ended.seconds_since(killed) < FOLLOWS_WITHIN_SECONDS
}

/// What a killed process was to its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The first process: its death is the container's.
    First,
    /// The runtime's own process that was about to become the first one, as far as is known: the container never ran.
    Starting,
    /// The kernel killed every process of the container.
    Whole,
    /// Another process, while the first one lived.
    Child,
    /// Not known: the container had not been looked into before.
    Unknown,
}

impl Role {
    /// Whether the container ends with the victim; `None` where that is not known.
    pub const fn ends_container(self) -> Option<bool> {
        match self {
            Self::First | Self::Whole => Some(true),
            Self::Child => Some(false),
            // A process that is to join a container bears the runtime's name, too, and may be the first that is seen of it.
            Self::Starting | Self::Unknown => None,
        }
    }
}

impl Victim {
    /// Places the victim by the cgroup that the kernel names, else by the process seen before the kill.
    pub fn identify(event: &OomEvent, inventory: &Inventory, at: BootTime) -> Self {
        let place = event.task_memcg.as_ref().and_then(|_| event.victim_place());
        match place {
            Some(CgroupPlace::Service(service)) => Self::outside(Some(service)),
            Some(CgroupPlace::Root) => Self::outside(None),
            Some(place) if place.pod().is_some() || place.container().is_some() => {
                let container = place.container().cloned();
                let role = role(event, container.as_ref(), inventory, at);
                Self { pod: place.pod().cloned(), container, service: None, attribution: Attribution::Kernel, role }
            }
            _ => Self::by_pid(event, inventory, at),
        }
    }

    /// Places the victim in a pod whose kill counter rose when the kill was logged.
    pub fn by_counter(pod: Option<PodUid>, container: Option<ContainerId>) -> Self {
        Self { pod, container, service: None, attribution: Attribution::Counter, role: Role::Unknown }
    }

    /// Whether nothing says where the victim ran.
    pub fn is_unplaced(&self) -> bool {
        self.attribution == Attribution::None
    }

    fn outside(service: Option<ServiceName>) -> Self {
        Self { pod: None, container: None, service, attribution: Attribution::Kernel, role: Role::Unknown }
    }

    fn by_pid(event: &OomEvent, inventory: &Inventory, at: BootTime) -> Self {
        let known = event.victim.pid.and_then(|pid| inventory.process(pid, event.victim.comm.as_deref(), at));
        let Some(known) = known else {
            // A kill at a pod's limit whose summary lost the victim's path still names the pod.
            let pod = event.pod();
            let attribution = if pod.is_some() { Attribution::Kernel } else { Attribution::None };
            return Self { pod, container: None, service: None, attribution, role: Role::Unknown };
        };
        let pod = inventory.container(&known.container).and_then(|container| container.pod.clone());
        let role = role(event, Some(&known.container), inventory, at);
        Self { pod, container: Some(known.container), service: None, attribution: Attribution::PidCache, role }
    }
}

fn role(event: &OomEvent, container: Option<&ContainerId>, inventory: &Inventory, at: BootTime) -> Role {
    let instance = container.and_then(|id| inventory.container(id));
    let other_is_first = instance.and_then(|instance| instance.init).is_some_and(|init| Some(init.pid) != event.victim.pid);
    if is_runtimes_own(event) && !other_is_first {
        return Role::Starting;
    }
    if event.group.is_some() {
        return Role::Whole;
    }
    instance.map_or(Role::Unknown, |instance| role_in(instance, event, at))
}

/// runc's own process before it becomes the container's, or that of a command in it (an exec): newer versions name
/// it `runc:[2:INIT]` (libcontainer/nsenter), older ones run from a copy named `exe` with a score that no pod can have.
fn is_runtimes_own(event: &OomEvent) -> bool {
    match event.victim.comm.as_deref() {
        Some("exe") => event.victim.oom_score_adj.is_some_and(|adj| adj <= -998),
        Some(comm) => comm.starts_with("runc:["),
        None => false,
    }
}

fn role_in(instance: &ContainerInstance, event: &OomEvent, at: BootTime) -> Role {
    match (instance.init, event.victim.pid) {
        (Some(init), Some(pid)) if init.pid == pid => Role::First,
        // The first process followed at once: it ended because its child died.
        (Some(_), Some(_)) if instance.gone.is_some_and(|gone| follows(at, gone)) => Role::Unknown,
        (Some(_), Some(_)) => Role::Child,
        _ => Role::Unknown,
    }
}
