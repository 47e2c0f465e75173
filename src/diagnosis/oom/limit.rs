//! Whose limit gave way, and who held the memory.

use super::Victim;
use crate::{
    inventory::{ContainerInstance, Inventory},
    model::{Blame, BootTime, Bytes, Cause, CgroupPlace, Confidence, ContainerId, PodUid, QosClass, Scope, ServiceName},
    parse::oom::{Domain, OomEvent, TaskRow},
};
use std::collections::HashMap;

/// A container at or above this share, in per cent, of its own limit has reached it: the kernel
/// charges in batches, so the counter of its pod may trip a little earlier.
const AT_LIMIT_SHARE: u64 = 90;

/// A pod whose request is not known is a suspect when it holds this share, in per cent, of the domain.
const SUSPECT_SHARE: u64 = 50;

/// Whose memory ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaveWay {
    /// The cause that follows.
    pub cause: Cause,
    /// Where.
    pub scope: Scope,
    /// How sure.
    pub confidence: Confidence,
    /// The place whose limit was hit, in words.
    pub whose: Whose,
    /// The largest holder of memory in that place, where it is not the victim itself.
    pub holder: Option<Holder>,
}

/// The place whose limit was hit, for the sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The container's own.
    Container,
    /// The container's own, noticed at the pod's counter, which also carries the sandbox.
    ContainerAtPod,
    /// The pod's.
    Pod,
    /// All pods together.
    AllPods,
    /// One class of pods.
    Class(QosClass),
    /// The machine's.
    Node,
    /// The container in which this node itself runs.
    NodeContainer,
    /// A service's.
    Service(ServiceName),
    /// Nobody's: it was asked for.
    ByHand,
    /// A cgroup's that the log does not name.
    Unnamed,
    /// Not known at all.
    Unknown,
}

/// Who held the most memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its pod.
    pub pod: Option<PodUid>,
    /// Its container.
    pub container: Option<ContainerId>,
    /// The process, where no container is known.
    pub comm: Option<String>,
    /// How much.
    pub held: Bytes,
    /// What it asked for.
    pub request: Option<Bytes>,
}

impl GaveWay {
    /// Decides whose limit was hit, from the cgroups that the dump names and never from the constraint word.
    pub fn decide(event: &OomEvent, victim: &Victim, inventory: &Inventory, at: BootTime) -> Self {
        if event.is_manual() {
            return Self::plain(Cause::OomManual, Scope::Node, Confidence::Proven, Whose::ByHand);
        }
        match event.domain() {
            Domain::Global => Self::of_many(Cause::OomNode, Scope::Node, Whose::Node, event, victim, inventory),
            Domain::Memcg(path) => Self::of_cgroup(&path, event, victim, inventory, at),
            Domain::UnnamedMemcg => Self::of_unnamed(victim, inventory, at),
            Domain::Unknown => Self::plain(Cause::OomUnattributed, Scope::Node, Confidence::Possible, Whose::Unknown),
        }
    }

    /// Whose fault it is, as far as this node can tell.
    pub fn blame(&self) -> Blame {
        match self.cause {
            Cause::OomManual | Cause::OomUnattributed => Blame::Insufficient,
            Cause::OomNode | Cause::OomNodeAllocatable => match &self.holder {
                Some(Holder { pod: Some(_), .. }) => Blame::Neighbour,
                _ => Blame::Node,
            },
            Cause::OomHostService => Blame::Node,
            _ => Blame::Workload,
        }
    }

    fn plain(cause: Cause, scope: Scope, confidence: Confidence, whose: Whose) -> Self {
        Self { cause, scope, confidence, whose, holder: None }
    }

    fn of_cgroup(path: &str, event: &OomEvent, victim: &Victim, inventory: &Inventory, at: BootTime) -> Self {
        match CgroupPlace::of(path) {
            CgroupPlace::Container { .. } => Self::own_limit(Whose::Container),
            CgroupPlace::Pod { pod } => Self::of_pod(&pod, event, victim, inventory, at),
            CgroupPlace::Class(QosClass::All) => {
                Self::of_many(Cause::OomNodeAllocatable, Scope::NodeAllocatable, Whose::AllPods, event, victim, inventory)
            }
            CgroupPlace::Class(class) => {
                Self::of_many(Cause::OomNodeAllocatable, Scope::QosClass, Whose::Class(class), event, victim, inventory)
            }
            CgroupPlace::LooseContainer { .. } if victim.pod.is_some() => {
                Self::of_many(Cause::OomNode, Scope::Node, Whose::NodeContainer, event, victim, inventory)
            }
            CgroupPlace::LooseContainer { .. } => Self::own_limit(Whose::Container),
            CgroupPlace::Service(service) => {
                Self::plain(Cause::OomHostService, Scope::HostService, Confidence::Proven, Whose::Service(service))
            }
            CgroupPlace::Root => Self::of_many(Cause::OomNode, Scope::Node, Whose::Node, event, victim, inventory),
            CgroupPlace::UnreadablePod => Self::plain(Cause::OomPodLimit, Scope::Pod, Confidence::Likely, Whose::Pod),
        }
    }

    fn own_limit(whose: Whose) -> Self {
        Self::plain(Cause::OomContainerLimit, Scope::Container, Confidence::Proven, whose)
    }

    /// The pod's counter trips first even for a pod with one container, because it also carries the
    /// sandbox: the container's own limit gave way unless another container holds the memory.
    fn of_pod(pod: &PodUid, event: &OomEvent, victim: &Victim, inventory: &Inventory, at: BootTime) -> Self {
        let members = members(pod, inventory, at);
        // The pod's own list of containers is surer than the cgroups in it, one of which is the sandbox's.
        let named = inventory.pod(pod).map(|pod| pod.containers.len()).filter(|count| *count > 0);
        if named.unwrap_or(members.len()) == 1 {
            return Self::own_limit(Whose::ContainerAtPod);
        }
        let own = victim.container.as_ref().and_then(|id| members.iter().find(|member| member.id == *id));
        if own.is_some_and(|own| at_own_limit(own)) {
            return Self::own_limit(Whose::ContainerAtPod);
        }
        let holder = largest_container(event, &members, inventory)
            .filter(|holder| holder.container != victim.container && holder.held > own_of_victim(event));
        let known = holder.is_some() || own.is_some();
        let confidence = if known { Confidence::Proven } else { Confidence::Likely };
        Self { cause: Cause::OomPodLimit, scope: Scope::Pod, confidence, whose: Whose::Pod, holder }
    }

    fn of_many(cause: Cause, scope: Scope, whose: Whose, event: &OomEvent, victim: &Victim, inventory: &Inventory) -> Self {
        let whole = match event.memory.and_then(|memory| memory.limit()).and_then(|limit| limit.bytes()) {
            Some(limit) => Some(limit),
            None => inventory.memory_total(),
        };
        let holder = largest_suspect(event, victim, inventory, whole);
        Self { cause, scope, confidence: Confidence::Proven, whose, holder }
    }

    fn of_unnamed(victim: &Victim, inventory: &Inventory, at: BootTime) -> Self {
        let instance = victim.container.as_ref().and_then(|id| inventory.container(id));
        match instance {
            Some(instance) if at_own_limit(instance) || alone(instance, inventory, at) => {
                Self::plain(Cause::OomContainerLimit, Scope::Container, Confidence::Likely, Whose::Container)
            }
            Some(_) => Self::plain(Cause::OomPodLimit, Scope::Pod, Confidence::Possible, Whose::Unnamed),
            None if victim.pod.is_some() => Self::plain(Cause::OomPodLimit, Scope::Pod, Confidence::Possible, Whose::Unnamed),
            None => Self::plain(Cause::OomUnattributed, Scope::Node, Confidence::Possible, Whose::Unnamed),
        }
    }
}

/// The containers of a pod that lived at `at`, without the sandbox, which holds next to nothing.
fn members<'a>(pod: &'a PodUid, inventory: &'a Inventory, at: BootTime) -> Vec<&'a ContainerInstance> {
    const SANDBOX_AT_MOST: Bytes = Bytes(2 << 20);
    let lived = |instance: &&ContainerInstance| instance.gone.is_none_or(|gone| gone >= at);
    let sandbox = |instance: &ContainerInstance| {
        let unnamed = inventory.container_name(&instance.id).is_none();
        let peak = instance.sample.as_ref().and_then(|sample| sample.peak.max(sample.usage));
        let unlimited = instance.sample.as_ref().and_then(|sample| sample.limit).and_then(|limit| limit.bytes()).is_none();
        unnamed && unlimited && peak.is_some_and(|peak| peak <= SANDBOX_AT_MOST)
    };
    inventory.containers_of(pod).filter(lived).filter(|instance| !sandbox(instance)).collect()
}

fn alone(instance: &ContainerInstance, inventory: &Inventory, at: BootTime) -> bool {
    instance.pod.as_ref().is_none_or(|pod| members(pod, inventory, at).len() <= 1)
}

fn at_own_limit(instance: &ContainerInstance) -> bool {
    let Some(sample) = &instance.sample else { return false };
    let (Some(usage), Some(limit)) = (sample.peak.max(sample.usage), sample.limit.and_then(|limit| limit.bytes())) else { return false };
    usage.percent_of(limit).is_some_and(|share| share >= AT_LIMIT_SHARE)
}

/// The container that holds most of a pod's memory: by the dump's own table where its processes are
/// known, else by the latest samples.
fn largest_container(event: &OomEvent, members: &[&ContainerInstance], inventory: &Inventory) -> Option<Holder> {
    let page = event.page_size().unwrap_or(inventory.page_size());
    let mut held: HashMap<&ContainerId, Bytes> = HashMap::new();
    for row in &event.tasks.largest {
        let member = members.iter().find(|member| member.process(row.pid).is_some());
        if let (Some(member), Some(rss)) = (member, own_pages(row)) {
            let sum = held.entry(&member.id).or_default();
            *sum = sum.saturating_add(Bytes::from_pages(rss, page));
        }
    }
    for member in members {
        let usage = member.sample.as_ref().and_then(|sample| sample.usage).unwrap_or_default();
        let sum = held.entry(&member.id).or_default();
        *sum = (*sum).max(usage);
    }
    let (id, held) = held.into_iter().max_by_key(|(id, held)| (*held, *id))?;
    let pod = members.iter().find(|member| member.id == *id).and_then(|member| member.pod.clone());
    let request = inventory.spec_of(id).and_then(|spec| spec.memory_request);
    Some(Holder { pod, container: Some(id.clone()), comm: None, held, request })
}

/// What the killed process held: one that grew faster than anybody looked is known from its own kill only.
fn own_of_victim(event: &OomEvent) -> Bytes {
    [event.victim.anon_rss, event.victim.shmem_rss].into_iter().flatten().fold(Bytes(0), Bytes::saturating_add)
}

/// What a process holds of its cgroup's memory. Its file pages are most often charged to whoever read
/// them first, and counted again in every process that maps them.
fn own_pages(row: &TaskRow) -> Option<u64> {
    match (row.rss_anon_pages, row.rss_shmem_pages) {
        (None, None) => row.rss_pages,
        (anon, shmem) => Some(anon.unwrap_or(0).saturating_add(shmem.unwrap_or(0))),
    }
}

/// The pod that holds most memory over what it asked for, if it is not the victim's; else the
/// largest process that no pod owns.
fn largest_suspect(event: &OomEvent, victim: &Victim, inventory: &Inventory, whole: Option<Bytes>) -> Option<Holder> {
    let pods = inventory.pods().filter(|pod| pod.gone.is_none());
    let holders = pods.filter_map(|pod| {
        let held = pod.sample.as_ref()?.usage?;
        let requests: Vec<_> = pod.containers.values().filter_map(|container| container.memory_request).collect();
        let request = (pod.workload.is_some()).then(|| requests.into_iter().fold(Bytes(0), Bytes::saturating_add));
        Some(Holder { pod: Some(pod.uid.clone()), container: None, comm: None, held, request })
    });
    let largest = holders.max_by(|a, b| (a.held, &a.pod).cmp(&(b.held, &b.pod)));
    let process = largest_process(event, inventory);
    match (largest, process) {
        (Some(pod), Some(process)) if process.held > pod.held && process.pod.is_none() => Some(process),
        // The kernel's lines are of that very moment; a pod that grows fast has more than its latest sample says.
        (Some(pod), _) if pod.pod == victim.pod || own_memory(event) > pod.held => None,
        (Some(pod), Some(process)) if process.held > pod.held && process.pod != pod.pod => {
            Some(process).filter(|process| is_suspect(process, whole))
        }
        (Some(pod), _) if is_suspect(&pod, whole) => Some(pod),
        (None, Some(process)) if process.pod != victim.pod || process.pod.is_none() => {
            Some(process).filter(|process| process.pod.is_none() || is_suspect(process, whole))
        }
        _ => None,
    }
    .filter(|holder| holder.comm.is_none() || holder.comm.as_deref() != event.victim.comm.as_deref() || holder.pod.is_some())
}

/// What the kernel freed by killing the victim.
fn own_memory(event: &OomEvent) -> Bytes {
    let of_its_own = [event.victim.anon_rss, event.victim.shmem_rss];
    of_its_own.into_iter().flatten().fold(Bytes(0), Bytes::saturating_add)
}

fn is_suspect(holder: &Holder, whole: Option<Bytes>) -> bool {
    match holder.request {
        Some(request) => holder.held > request,
        None => whole.and_then(|whole| holder.held.percent_of(whole)).is_some_and(|share| share >= SUSPECT_SHARE),
    }
}

fn largest_process(event: &OomEvent, inventory: &Inventory) -> Option<Holder> {
    let page = event.page_size().unwrap_or(inventory.page_size());
    let row = event.tasks.largest.iter().max_by_key(|row| row.rss_pages)?;
    let held = Bytes::from_pages(row.rss_pages?, page);
    let container = inventory.containers().find(|container| container.process(row.pid).is_some());
    let request = container.and_then(|container| inventory.spec_of(&container.id)).and_then(|spec| spec.memory_request);
    Some(Holder {
        pod: container.and_then(|container| container.pod.clone()),
        container: container.map(|container| container.id.clone()),
        comm: row.comm.as_deref().map(String::from),
        held,
        request,
    })
}
