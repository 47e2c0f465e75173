//! Builds the [`Snapshot`] that exporters read.

use super::{ContainerFigures, Core, Fill, Snapshot, WorkloadFigures, series::MAX_SERIES};
use crate::{
    diagnosis::{
        eviction::MAX_STORAGE_PODS,
        oom_cases::MAX_CASES,
        termination::{MAX_SLOTS, Slot, SlotList},
    },
    findings::MAX_FINDINGS,
    inventory::{Belonging, ContainerInstance, KEEP_PODS_SECONDS, MAX_CONTAINERS, MAX_PODS},
    model::{BootTime, Limit, Resource},
};
use std::collections::BTreeMap;

impl Core {
    /// The state of everything now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            facts: self.facts.clone(),
            at: self.now,
            findings: self.findings.list().into_iter().cloned().collect(),
            sources: self.health.list(),
            counters: self.counters.clone(),
            containers: self.container_figures(),
            pressure: Resource::ALL.into_iter().filter_map(|of| Some((of, self.inventory.node_pressure().latest(of)?))).collect(),
            workloads: self.workload_figures(),
            room: self.room_figures(),
            unexplained_oom_kills: self.vmstat.unexplained(),
            kubelet_version: self.kubelet_log.durable.life.version.clone(),
            kubelet_verbosity: self.kubelet_log.durable.life.configured_verbosity.or(self.kubelet_log.durable.life.verbosity),
            recent_kills: self.recent_kills.list(),
            fill: self.fill(),
        }
    }

    fn container_figures(&self) -> Vec<ContainerFigures> {
        let own = |instance: &&ContainerInstance| {
            instance.gone.is_none() && instance.pod.as_ref().is_some_and(|pod| self.inventory.belonging(pod) == Belonging::Own)
        };
        let mut figures: Vec<_> = self.inventory.containers().filter(own).map(|instance| self.figures_of(instance)).collect();
        figures.sort_by(|a, b| (&a.namespace, &a.pod, &a.container).cmp(&(&b.namespace, &b.pod, &b.container)));
        figures
    }

    fn figures_of(&self, instance: &ContainerInstance) -> ContainerFigures {
        let subject = self.inventory.subject(instance.pod.as_ref(), Some(&instance.id));
        let pod = instance.pod.as_ref();
        let sample = instance.sample.as_deref();
        let own_limit = sample.and_then(|sample| sample.limit);
        let pod_limit = || pod.and_then(|pod| self.inventory.pod(pod))?.sample.as_ref()?.limit;
        ContainerFigures {
            namespace: subject.namespace.unwrap_or_default(),
            pod: subject.pod.or(pod.map(ToString::to_string)).unwrap_or_default(),
            container: subject.container.unwrap_or_else(|| instance.id.short().to_owned()),
            limit: own_limit.filter(|limit| *limit != Limit::Unlimited).or_else(pod_limit).or(own_limit),
            usage: sample.and_then(|sample| sample.usage),
            peak: sample.and_then(|sample| sample.peak),
            split: sample.and_then(|sample| sample.split),
            swap: sample.and_then(|sample| sample.swap),
            rss: instance.rss(),
            memory_pressure: sample.and_then(|sample| sample.memory_pressure),
            cpu: sample.and_then(|sample| sample.cpu),
            pids: sample.and_then(|sample| sample.pids),
        }
    }

    fn workload_figures(&self) -> Vec<WorkloadFigures> {
        let now = self.now.map_or(BootTime(0), |now| now.boot);
        let mut figures: BTreeMap<(String, String, String), WorkloadFigures> = BTreeMap::new();
        for pod in self.inventory.pods() {
            let (Some(namespace), Some(workload)) = (&pod.namespace, &pod.workload) else { continue };
            let crashed = self.deaths.has_crashed(&pod.uid, now);
            let lately = pod.gone.is_none_or(|gone| now.seconds_since(gone) <= KEEP_PODS_SECONDS);
            if !lately && !crashed {
                continue;
            }
            let looping = pod.containers.iter().filter(|(name, container)| {
                let slot = Slot { pod: pod.uid.to_string(), list: SlotList::of(container.kind), container: (*name).clone() };
                pod.gone.is_none() && self.deaths.is_looping(&slot, now)
            });
            let key = (namespace.clone(), workload.kind.clone(), workload.name.clone());
            let sum = figures.entry(key.clone()).or_insert(WorkloadFigures {
                namespace: key.0,
                kind: key.1,
                name: key.2,
                pods: 0,
                crashed_pods: 0,
                crash_looping: 0,
            });
            sum.pods += 1;
            sum.crashed_pods += u64::from(crashed);
            sum.crash_looping += u64::try_from(looping.count()).unwrap_or(0);
        }
        figures.into_values().collect()
    }

    fn fill(&self) -> Vec<Fill> {
        vec![
            Fill { store: "findings", used: self.findings.len(), capacity: MAX_FINDINGS },
            Fill { store: "pods", used: self.inventory.pods().count(), capacity: MAX_PODS },
            Fill { store: "containers", used: self.inventory.containers().count(), capacity: MAX_CONTAINERS },
            Fill { store: "terminations", used: self.deaths.durable.terminations.len(), capacity: MAX_SLOTS },
            Fill { store: "workload_series", used: self.counters.terminations.len().min(MAX_SERIES), capacity: MAX_SERIES },
            Fill { store: "oom_cases", used: self.oom_cases.len(), capacity: MAX_CASES },
            Fill { store: "pod_storage", used: self.room.storage.len(), capacity: MAX_STORAGE_PODS },
        ]
    }
}
