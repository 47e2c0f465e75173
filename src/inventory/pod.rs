//! One pod of this node, as far as its sources have told.

use super::{PressureHistory, Workload, container::complete};
use crate::{
    model::{BootTime, Bytes, ContainerId, Moment, PodUid, Resource},
    signal::{CgroupSample, ContainerKind, ContainerRecord, ContainerState, PodRecord},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Its uid in the kubelet's form.
    pub uid: PodUid,
    /// Namespace, once known.
    pub namespace: Option<String>,
    /// Name, once known.
    pub name: Option<String>,
    /// The workload that owns it, once the API server has told.
    pub workload: Option<Workload>,
    /// `Guaranteed`, `Burstable` or `BestEffort`.
    pub qos: Option<String>,
    /// Its containers by name.
    pub containers: BTreeMap<String, PodContainer>,
    /// The pod's own memory limit.
    pub memory_limit: Option<Bytes>,
    /// The path of its cgroup.
    pub cgroup: Option<String>,
    /// The latest figures of its cgroup.
    #[serde(skip)]
    pub sample: Option<Box<CgroupSample>>,
    /// How long its tasks waited lately.
    #[serde(skip)]
    pub pressure: PressureHistory,
    /// Whether the API server or the kubelet's log directory has named it: it is this node's own.
    pub named: bool,
    /// How far it is, as the API server says.
    pub stage: Stage,
    /// Whether the API server has it. It may long have ended: a Job's pods stay until somebody deletes them.
    pub listed: bool,
    /// When it ended.
    pub gone: Option<BootTime>,
}

/// How far a pod is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing of it runs, or nobody has told.
    #[default]
    Starting,
    /// A container runs: it has its sandbox and its volumes.
    Running,
    /// It is to be deleted.
    Ending,
}

impl Stage {
    fn of(record: &PodRecord) -> Self {
        let runs = |container: &ContainerRecord| matches!(container.state, Some(ContainerState::Running { .. }));
        match record.deletion {
            Some(_) => Self::Ending,
            None if record.containers.iter().any(runs) => Self::Running,
            None => Self::Starting,
        }
    }
}

/// What is known of a container across its lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodContainer {
    /// Which list of the spec.
    pub kind: ContainerKind,
    /// `resources.limits.memory`.
    pub memory_limit: Option<Bytes>,
    /// `resources.requests.memory`.
    pub memory_request: Option<Bytes>,
    /// The newest instance.
    pub id: Option<ContainerId>,
    /// The newest instance's attempt number.
    pub attempt: Option<u32>,
}

impl Pod {
    /// A pod of which only its uid is known.
    pub fn new(uid: PodUid) -> Self {
        Self {
            uid,
            namespace: None,
            name: None,
            workload: None,
            qos: None,
            containers: BTreeMap::new(),
            memory_limit: None,
            cgroup: None,
            sample: None,
            pressure: PressureHistory::default(),
            named: false,
            stage: Stage::default(),
            listed: false,
            gone: None,
        }
    }

    /// The pod without its figures.
    pub(super) fn names(&self) -> Self {
        Self {
            uid: self.uid.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            workload: self.workload.clone(),
            qos: self.qos.clone(),
            containers: self.containers.clone(),
            memory_limit: self.memory_limit,
            cgroup: self.cgroup.clone(),
            sample: None,
            pressure: PressureHistory::default(),
            named: self.named,
            stage: self.stage,
            listed: self.listed,
            gone: self.gone,
        }
    }

    /// The uid that the kubelet, the cgroups and the log directory use for this pod.
    pub fn kubelet_uid(record: &PodRecord) -> Option<PodUid> {
        PodUid::parse(record.static_hash.as_deref().unwrap_or(&record.uid))
    }

    /// Takes in what the API server says.
    pub fn told(&mut self, record: &PodRecord, node: &str, at: Moment) {
        self.namespace = Some(record.namespace.clone());
        self.name = Some(record.name.clone());
        self.workload = Some(Workload::of(record, node));
        self.qos.clone_from(&record.qos);
        self.memory_limit = record.memory_limit;
        self.named = true;
        self.listed = true;
        self.stage = Stage::of(record);
        match record.phase.as_deref() {
            Some("Succeeded" | "Failed") => self.gone = self.gone.or(Some(ended(record, at))),
            // A pod that a list has missed, or whose mirror was made anew, is back.
            _ if self.stage != Stage::Ending => self.gone = None,
            _ => {}
        }
        for container in &record.containers {
            let known = self.containers.entry(container.name.clone()).or_default();
            known.kind = container.kind;
            known.memory_limit = container.memory_limit;
            known.memory_request = container.memory_request;
            known.attempt = container.restart_count.or(known.attempt);
            known.id = container.container_id.as_deref().and_then(ContainerId::parse_status).or(known.id.take());
        }
    }

    /// Takes in figures of the pod's cgroup.
    pub fn sampled(&mut self, at: BootTime, sample: &CgroupSample) {
        self.gone = None;
        self.pressure.add(at, Resource::Cpu, sample.cpu_pressure);
        self.pressure.add(at, Resource::Io, sample.io_pressure);
        self.pressure.add(at, Resource::Memory, sample.memory_pressure);
        self.cgroup.get_or_insert_with(|| sample.path.clone());
        match &mut self.sample {
            Some(known) => complete(known, sample),
            None => self.sample = Some(Box::new(sample.clone())),
        }
    }

    /// The API server does not have it any more.
    pub fn deleted(&mut self, at: BootTime) {
        self.listed = false;
        self.gone.get_or_insert(at);
    }

    /// `namespace/name`, or the uid of a pod without a known name.
    pub fn label(&self) -> String {
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            _ => self.uid.to_string(),
        }
    }
}

/// When the last container of a pod that has ended did so.
fn ended(record: &PodRecord, at: Moment) -> BootTime {
    let finished = |container: &ContainerRecord| match &container.state {
        Some(ContainerState::Terminated(state)) => state.finished,
        _ => None,
    };
    let last = record.containers.iter().filter_map(finished).max();
    last.map_or(at.boot, |last| at.at_wall_time(last).boot.min(at.boot))
}
