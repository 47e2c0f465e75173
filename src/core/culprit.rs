//! Who took what ran out on the node: the pod that grew on the disk, that is over its request of memory, or that has
//! half of the tasks.

use super::{Core, evictions::DECISION_SECONDS};
use crate::{
    diagnosis::eviction::{Margin, Measure, Part, PodEnd},
    findings::EvidenceSource,
    inventory::{ContainerInstance, Pod},
    model::{BootTime, Bytes, Cause, ContainerId, EvictionSignal, PodUid},
    signal::CgroupSample,
};
use std::collections::BTreeMap;

/// The pod that is to blame for what ran out.
pub(super) struct Culprit {
    /// Which pod.
    pub(super) pod: PodUid,
    /// A sentence without its full stop.
    pub(super) said: String,
    /// Where that is from.
    pub(super) source: EvidenceSource,
    /// How it was found.
    pub(super) how_matched: &'static str,
    /// Whether it is known to have grown or to be over what it asked for, not only to be large.
    pub(super) sure: bool,
}

impl Core {
    /// What ran out: of the signals that this cause can mean, the one that is furthest below its threshold.
    pub(super) fn margin_of(&self, cause: Cause, at: BootTime) -> Option<Margin> {
        let now = self.now.map_or(at, |now| now.boot);
        let means = |margin: &Margin| {
            matches!(
                (cause, margin.signal),
                (Cause::EvictedMemory, EvictionSignal::Memory)
                    | (Cause::EvictedDisk, EvictionSignal::Space(_))
                    | (Cause::EvictedInodes, EvictionSignal::Inodes(_))
                    | (Cause::EvictedPids, EvictionSignal::Pids)
            )
        };
        let share = |margin: &Margin| match margin.threshold {
            Some((threshold, _)) => u128::from(margin.available) * 1000 / u128::from(threshold.max(1)),
            None => u128::MAX,
        };
        self.room.margins(now).into_iter().filter(means).min_by_key(|margin| (share(margin), margin.signal))
    }

    /// Which pod took what ran out, where that can be told.
    pub(super) fn culprit_of(&self, end: &PodEnd, at: BootTime, margin: Option<&Margin>) -> Option<Culprit> {
        match end.cause {
            Cause::EvictedDisk => self.culprit_of_disk(Measure::Bytes, margin),
            Cause::EvictedInodes => self.culprit_of_disk(Measure::Inodes, margin),
            Cause::EvictedMemory => self.culprit_of_memory(at),
            Cause::EvictedPids => self.culprit_of_pids(at, margin),
            _ => None,
        }
    }

    fn culprit_of_disk(&self, measure: Measure, margin: Option<&Margin>) -> Option<Culprit> {
        let grower = match margin {
            Some(margin) => self.room.grower(margin),
            None => self.room.storage.grower(measure, Part::Both, None),
        }?;
        Some(Culprit {
            said: self.grower_said(&grower),
            sure: grower.within_seconds.is_some(),
            pod: grower.pod,
            source: EvidenceSource::Disk,
            how_matched: "sizes of the pod's logs, emptyDir volumes and writable layers",
        })
    }

    /// The pod that uses the most memory over what it asked for: the kubelet's own measure.
    fn culprit_of_memory(&self, at: BootTime) -> Option<Culprit> {
        let over = self.inventory.pods().filter_map(|pod| {
            let working_set = |sample: &CgroupSample| Some(sample.usage?.saturating_sub(sample.split?.inactive_file.unwrap_or_default()).0);
            let used = self.sum_of(pod, at, working_set)?;
            let asked = pod.containers.values().filter_map(|container| container.memory_request).fold(0, |sum, asked| sum + asked.0);
            Some((used.saturating_sub(asked), used, asked, pod))
        });
        let (excess, used, asked, pod) = over.max_by_key(|(excess, .., pod)| (*excess, pod.uid.clone()))?;
        (excess > 0).then(|| Culprit {
            pod: pod.uid.clone(),
            said: format!("Pod {} used {}, {} more than it asked for ({})", pod.label(), Bytes(used), Bytes(excess), Bytes(asked)),
            source: EvidenceSource::Cgroup,
            how_matched: "usage of its containers' cgroups against their requests",
            sure: true,
        })
    }

    /// The pod that has at least half of the node's tasks.
    pub(super) fn culprit_of_pids(&self, at: BootTime, margin: Option<&Margin>) -> Option<Culprit> {
        let all = margin.map(|margin| margin.capacity.saturating_sub(margin.available));
        let tasks = self.inventory.pods().filter_map(|pod| Some((self.sum_of(pod, at, |sample| Some(sample.pids?.current))?, pod)));
        let (most, pod) = tasks.max_by_key(|(tasks, pod)| (*tasks, pod.uid.clone()))?;
        (all.is_some_and(|all| most >= all / 2)).then(|| Culprit {
            pod: pod.uid.clone(),
            said: format!("Pod {} had {most} processes and threads, half of the node's or more", pod.label()),
            source: EvidenceSource::Cgroup,
            how_matched: "pids.current of its containers' cgroups",
            sure: true,
        })
    }

    /// The sum of a figure over the containers that a pod had when one was put out: of each its latest life, as
    /// the earlier ones of a container that loops hold nothing any more.
    fn sum_of(&self, pod: &Pod, at: BootTime, figure: impl Fn(&CgroupSample) -> Option<u64>) -> Option<u64> {
        let had = |instance: &&ContainerInstance| instance.gone.is_none_or(|gone| at.seconds_since(gone) <= DECISION_SECONDS);
        let age = |instance: &ContainerInstance| (instance.gone.is_none(), instance.gone, instance.sampled);
        let mut latest: BTreeMap<Result<&str, &ContainerId>, &ContainerInstance> = BTreeMap::new();
        for instance in self.inventory.containers_of(&pod.uid).filter(had) {
            let known = latest.entry(self.inventory.container_name(&instance.id).ok_or(&instance.id)).or_insert(instance);
            if age(instance) > age(known) {
                *known = instance;
            }
        }
        latest.values().filter_map(|instance| figure(instance.sample.as_deref()?)).reduce(u64::saturating_add)
    }
}
