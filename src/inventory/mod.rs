//! Who is who on this node: pods, containers, cgroups and processes, joined to each other, and kept
//! after their end for long enough to explain it.
//!
//! Flows in: samples and pod updates. Flows out: look-ups by container id, pod uid, cgroup path and
//! pid. Knows nothing of causes. Everything is bounded; what ended is forgotten after
//! [`KEEP_SECONDS`].

mod container;
mod memory_history;
mod pod;
mod pressure;
mod probe_history;
mod recent;
mod remembered;
mod storage;
mod workload;

pub use container::{ContainerInstance, KnownProcess};
pub use memory_history::{Growth, MemoryHistory};
pub use pod::{Pod, PodContainer, Stage};
pub use pressure::{PressureHistory, Stalled, Throttled};
pub use probe_history::{ProbeHistory, Rise};
pub use remembered::Remembered;
pub use storage::{Held, Role, Storage, VolumeUse, is_remote};
pub use workload::Workload;

use crate::{
    findings::Subject,
    model::{BootTime, Bytes, CgroupPlace, ContainerId, Moment, Pid, PodUid, Resource},
    signal::{CgroupSample, Mount, MountTable, NodeFacts, NodeSample, PodRecord, ProbeCounts, ProcessesSample},
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How long a container instance that ended is remembered: the kubelet's longest back-off is 5 minutes,
/// log records and status updates may be late by another few.
pub const KEEP_SECONDS: u64 = 900;

/// How long a pod that ended is remembered: the window in which pods are counted by workload.
pub const KEEP_PODS_SECONDS: u64 = 3600;

/// The most container instances remembered, living and dead: eight lives for each of 250 containers.
pub const MAX_CONTAINERS: usize = 2048;

/// The most pods remembered: a node holds at most a few hundred; a Job's churn adds dead ones.
pub const MAX_PODS: usize = 2048;

/// The most names of container instances: two lives for each container remembered.
pub const MAX_NAMES: usize = 2 * MAX_CONTAINERS;

/// A process seen this long ago may have been replaced by another with its pid; longer than two of
/// the sampler's slow beats.
const PID_TRUSTED_SECONDS: u64 = 90;

/// All that is known of who is who.
#[derive(Debug, Default)]
pub struct Inventory {
    node: String,
    page_size: u64,
    memory_total: Option<Bytes>,
    pressure: PressureHistory,
    probes: ProbeHistory,
    pods: HashMap<PodUid, Pod>,
    containers: HashMap<ContainerId, ContainerInstance>,
    names: HashMap<ContainerId, ContainerName>,
    classes: HashMap<String, CgroupSample>,
    pods_named: bool,
    storage: Storage,
}

/// Which container and attempt a container id is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ContainerName {
    pod: PodUid,
    name: String,
    attempt: Option<u32>,
    at: BootTime,
}

/// Whether a pod is this node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belonging {
    /// It runs, or ran, on this node.
    Own,
    /// Nothing on this node knows it: another kubelet on the same kernel runs it, or it is too new.
    Unknown,
}

impl Inventory {
    /// Takes in the facts of this node.
    pub fn set_facts(&mut self, facts: &NodeFacts) {
        self.node = facts.node.clone();
        self.page_size = facts.page_size;
        self.memory_total = facts.memory_total;
    }

    /// Bytes in a memory page.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// Memory of the whole machine.
    pub fn memory_total(&self) -> Option<Bytes> {
        self.memory_total
    }

    /// Takes in figures of the whole node.
    pub fn node_sampled(&mut self, at: BootTime, sample: &NodeSample) {
        self.pressure.add(at, Resource::Cpu, sample.cpu_pressure);
        self.pressure.add(at, Resource::Io, sample.io_pressure);
        self.pressure.add(at, Resource::Memory, sample.memory_pressure);
    }

    /// How long tasks of the whole node waited lately.
    pub fn node_pressure(&self) -> &PressureHistory {
        &self.pressure
    }

    /// Takes in how often probes have failed.
    pub fn probes_counted(&mut self, at: BootTime, read: &ProbeCounts) {
        self.probes.add(at, read);
    }

    /// How often probes have failed, over the last minutes.
    pub fn probes(&self) -> &ProbeHistory {
        &self.probes
    }

    /// How long tasks of a pod waited lately: nothing on v1, where the kernel does not account it.
    pub fn pod_pressure(&self, uid: &PodUid) -> Option<&PressureHistory> {
        self.pods.get(uid).map(|pod| &pod.pressure)
    }

    /// Takes in figures of a cgroup.
    pub fn sampled(&mut self, at: BootTime, place: &CgroupPlace, sample: &CgroupSample) {
        if let Some((id, pod)) = container::own_cgroup(place) {
            self.container_entry(id, pod, at).sampled(at, sample);
        } else if let CgroupPlace::Pod { pod } = place {
            self.pod_entry(pod).sampled(at, sample);
        } else if let CgroupPlace::Class(_) = place {
            self.classes.insert(sample.path.clone(), sample.clone());
        }
    }

    /// What lies on which disk.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Takes in the disks and the host's mounts.
    pub fn mounts_read(&mut self, table: MountTable) {
        self.storage.told(table);
    }

    /// Takes in what a container has mounted.
    pub fn container_mounts_read(&mut self, at: BootTime, place: &CgroupPlace, mounts: &[Mount]) {
        if let Some((id, pod)) = container::own_cgroup(place) {
            self.container_entry(id, pod, at);
            self.storage.container_told(id.clone(), mounts.to_vec());
        }
    }

    /// Takes in the processes of a container.
    pub fn processes_read(&mut self, at: BootTime, place: &CgroupPlace, read: &ProcessesSample) {
        if let Some((id, pod)) = container::own_cgroup(place) {
            self.container_entry(id, pod, at).processes_read(at, read);
        }
    }

    /// Notes the end of a cgroup.
    pub fn cgroup_gone(&mut self, at: BootTime, place: &CgroupPlace, path: &str) {
        if let Some((id, _)) = container::own_cgroup(place) {
            if let Some(container) = self.containers.get_mut(id) {
                container.gone = Some(at);
            }
        } else if let CgroupPlace::Pod { pod } = place {
            if let Some(pod) = self.pods.get_mut(pod) {
                pod.gone = Some(at);
            }
        } else {
            self.classes.remove(path);
        }
    }

    /// Takes in one pod as the API server knows it.
    pub fn pod_told(&mut self, at: Moment, record: &PodRecord) -> Option<PodUid> {
        let uid = Pod::kubelet_uid(record)?;
        let node = std::mem::take(&mut self.node);
        self.pod_entry(&uid).told(record, &node, at);
        self.node = node;
        self.pods_named = true;
        for container in &record.containers {
            let attempt = container.restart_count;
            self.name_container(at.boot, &uid, &container.name, container.container_id.as_deref(), attempt);
            let last = container.last.as_ref().and_then(|last| last.container_id.as_deref());
            if last != container.container_id.as_deref() {
                self.name_container(at.boot, &uid, &container.name, last, attempt.and_then(|attempt| attempt.checked_sub(1)));
            }
        }
        Some(uid)
    }

    /// Whether the pod and every instance that a record names are known, so that it says nothing new of who is who.
    pub fn knows(&self, record: &PodRecord) -> bool {
        let pod = Pod::kubelet_uid(record).and_then(|uid| self.pods.get(&uid));
        let mut instances = record.containers.iter().filter_map(|container| container.container_id.as_deref());
        pod.is_some_and(|pod| pod.listed) && instances.all(|id| ContainerId::parse_status(id).is_none_or(|id| self.names.contains_key(&id)))
    }

    /// Notes when a container instance ended, as its status says: surer than when its cgroup was missed.
    pub fn container_ended(&mut self, id: &ContainerId, at: BootTime) {
        if let Some(container) = self.containers.get_mut(id) {
            container.gone = Some(container.gone.map_or(at, |gone| gone.min(at)));
        }
    }

    /// Takes in a pod known by its log directory.
    pub fn directory_seen(&mut self, namespace: &str, name: &str, uid: &PodUid, containers: &[(String, u32)]) {
        let pod = self.pod_entry(uid);
        pod.named = true;
        pod.namespace.get_or_insert_with(|| namespace.to_owned());
        pod.name.get_or_insert_with(|| name.to_owned());
        for (container, attempt) in containers {
            let known = pod.containers.entry(container.clone()).or_default();
            known.attempt = known.attempt.max(Some(*attempt));
        }
        self.pods_named = true;
    }

    /// Notes that the API server has told all pods of this node.
    ///
    /// Returns those that are newly gone, each with the key under which its containers are followed.
    pub fn pods_listed(&mut self, at: BootTime, present: &[PodUid]) -> Vec<(PodUid, String)> {
        let present: std::collections::HashSet<_> = present.iter().collect();
        let lost = self.pods.values_mut().filter(|pod| pod.listed && !present.contains(&pod.uid));
        lost.map(|pod| {
            pod.deleted(at);
            (pod.uid.clone(), pod.uid.to_string())
        })
        .collect()
    }

    /// Notes that the log directory of a pod is gone, with which one that the API server does not know ends.
    pub fn directory_gone(&mut self, at: BootTime, uid: &PodUid) {
        if let Some(pod) = self.pods.get_mut(uid).filter(|pod| !pod.listed) {
            pod.gone.get_or_insert(at);
        }
    }

    /// Notes the deletion of a pod.
    pub fn pod_deleted(&mut self, at: BootTime, uid: &PodUid) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.deleted(at);
        }
    }

    /// Whether a pod is this node's. Without any list of pods, whatever has a cgroup here is.
    pub fn belonging(&self, uid: &PodUid) -> Belonging {
        match self.pods.get(uid) {
            Some(pod) if pod.named || !self.pods_named => Belonging::Own,
            None if !self.pods_named => Belonging::Own,
            _ => Belonging::Unknown,
        }
    }

    /// A pod by its uid.
    pub fn pod(&self, uid: &PodUid) -> Option<&Pod> {
        self.pods.get(uid)
    }

    /// The uid of the pod with this name: the living one, else the one that ended last. What a log says of a pod may be
    /// read after its status has told its end.
    pub fn pod_named(&self, namespace: &str, name: &str) -> Option<PodUid> {
        let named = |pod: &&Pod| pod.namespace.as_deref() == Some(namespace) && pod.name.as_deref() == Some(name);
        let latest = self.pods.values().filter(named).max_by_key(|pod| (pod.gone.is_none(), pod.gone));
        latest.map(|pod| pod.uid.clone())
    }

    /// Every pod.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// A container instance by its id.
    pub fn container(&self, id: &ContainerId) -> Option<&ContainerInstance> {
        self.containers.get(id)
    }

    /// Every container instance.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerInstance> {
        self.containers.values()
    }

    /// The container instances of a pod, the living and those that are gone and still remembered.
    pub fn containers_of<'a>(&'a self, pod: &'a PodUid) -> impl Iterator<Item = &'a ContainerInstance> {
        self.containers.values().filter(move |container| container.pod.as_ref() == Some(pod))
    }

    /// The latest figures of a cgroup that holds many pods.
    pub fn class(&self, path: &str) -> Option<&CgroupSample> {
        self.classes.get(path)
    }

    /// The container whose process had this pid and name when last seen shortly before `at`.
    ///
    /// The kernel's line has no start time, so the name has to agree, and the look must be fresh: a
    /// reused pid belongs to nobody.
    pub fn process(&self, pid: Pid, comm: Option<&str>, at: BootTime) -> Option<KnownProcess> {
        let candidates = self.containers.values().filter_map(|container| {
            let process = container.process(pid)?;
            let seen = container.processes_read?;
            let fresh = at.seconds_since(seen) <= PID_TRUSTED_SECONDS;
            let same = comm.is_none_or(|comm| comm == process.comm);
            (fresh && same).then(|| KnownProcess { process: process.clone(), container: container.id.clone(), seen })
        });
        candidates.max_by_key(|known| (known.seen, known.process.key.start_ticks))
    }

    /// The name of a container instance, where the pod's status or its log directory told it.
    pub fn container_name(&self, id: &ContainerId) -> Option<&str> {
        self.names.get(id).map(|known| known.name.as_str())
    }

    /// What is known of the container that an instance is a life of.
    pub fn spec_of(&self, id: &ContainerId) -> Option<&PodContainer> {
        let known = self.names.get(id)?;
        self.pods.get(&known.pod)?.containers.get(&known.name)
    }

    /// Everything known of who a pod and container are.
    pub fn subject(&self, pod: Option<&PodUid>, container: Option<&ContainerId>) -> Subject {
        let named = container.and_then(|id| self.names.get(id));
        let pod_uid = pod.or(named.map(|named| &named.pod));
        let known = pod_uid.and_then(|uid| self.pods.get(uid));
        let only = known.filter(|pod| pod.containers.len() == 1).and_then(|pod| pod.containers.keys().next());
        let workload =
            known.and_then(|pod| pod.workload.clone().or_else(|| Workload::of_static(&pod.uid, pod.name.as_deref()?, &self.node)));
        let name = named.map(|named| named.name.clone()).or_else(|| container.and(only).cloned());
        Subject {
            namespace: known.and_then(|pod| pod.namespace.clone()),
            pod: known.and_then(|pod| pod.name.clone()),
            pod_uid: pod_uid.cloned(),
            container_id: container.cloned(),
            workload_kind: workload.as_ref().map(|workload| workload.kind.clone()),
            workload: workload.map(|workload| workload.name),
            attempt: named.and_then(|named| named.attempt),
            container: name,
        }
    }

    /// Forgets what ended long ago, and the oldest when there is too much.
    pub fn advance(&mut self, now: BootTime) {
        let old = |gone: Option<BootTime>, keep| gone.is_some_and(|gone| now.seconds_since(gone) > keep);
        self.containers.retain(|_, container| !old(container.gone, KEEP_SECONDS));
        self.pods.retain(|_, pod| pod.listed || !old(pod.gone, KEEP_PODS_SECONDS));
        let (containers, pods) = (&self.containers, &self.pods);
        self.storage.retain(|id| containers.contains_key(id));
        self.names.retain(|id, named| {
            containers.contains_key(id) || (pods.contains_key(&named.pod) && now.seconds_since(named.at) <= KEEP_SECONDS)
        });
    }

    fn container_entry(&mut self, id: &ContainerId, pod: Option<&PodUid>, at: BootTime) -> &mut ContainerInstance {
        if !self.containers.contains_key(id) && self.containers.len() >= MAX_CONTAINERS {
            let oldest = self.containers.values().min_by_key(|c| (c.gone.is_none(), c.sampled)).map(|c| c.id.clone());
            oldest.and_then(|id| self.containers.remove(&id));
        }
        if let Some(pod) = pod {
            self.pod_entry(pod);
        }
        self.containers.entry(id.clone()).or_insert_with(|| ContainerInstance::new(id.clone(), pod.cloned(), at))
    }

    fn pod_entry(&mut self, uid: &PodUid) -> &mut Pod {
        if !self.pods.contains_key(uid) && self.pods.len() >= MAX_PODS {
            let oldest = self.pods.values().min_by_key(|pod| (pod.gone.is_none(), pod.gone)).map(|pod| pod.uid.clone());
            oldest.and_then(|uid| self.pods.remove(&uid));
        }
        self.pods.entry(uid.clone()).or_insert_with(|| Pod::new(uid.clone()))
    }

    fn name_container(&mut self, at: BootTime, pod: &PodUid, name: &str, id: Option<&str>, attempt: Option<u32>) {
        let Some(id) = id.and_then(ContainerId::parse_status) else { return };
        if self.names.len() >= MAX_NAMES && !self.names.contains_key(&id) {
            let oldest = self.names.iter().min_by_key(|(_, named)| named.at).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.names.remove(&id));
        }
        self.names.insert(id, ContainerName { pod: pod.clone(), name: name.to_owned(), attempt, at });
    }
}
