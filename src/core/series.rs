//! Ends and kills counted by workload and container: a bounded number of series.
//!
//! A series is created at zero when its first pod comes, because a counter that is born at one shows no
//! increase. What is counted stays, also when the workload has left. The rest goes: zeros of workloads that
//! no known pod belongs to, and all that is counted of a pod that nobody owns, whose own name would stay
//! for ever; it goes an hour after the pod, and its findings tell the rest.

use super::{ContainerKey, Core, Counters};
use crate::{
    findings::Subject,
    inventory::KEEP_PODS_SECONDS,
    model::{BootTime, Cause, PodUid},
    signal::PodRecord,
};
use std::collections::{BTreeMap, BTreeSet};

/// The most workload series of each counter. A node has some 60 workloads, and churn adds a few a day. Beyond it those
/// without a count make room; where there is none, ends and kills are counted without their workload.
pub(super) const MAX_SERIES: usize = 1024;

/// What a container is most likely to be counted under.
const LIKELY: [Cause; 2] = [Cause::AppError, Cause::OomContainerLimit];

/// The kind of a workload that is a pod which nobody owns.
const BARE_POD: &str = "Pod";

type Series = BTreeMap<ContainerKey, BTreeMap<Cause, u64>>;

impl Core {
    /// Creates the series of a pod's containers. Those of pods that nobody knows any more go then: where no pod comes,
    /// none is added.
    pub(super) fn open_series(&mut self, pod: &PodRecord, uid: &PodUid, now: BootTime) {
        let new = self.counters.create_container_zeros(pod, &self.inventory.subject(Some(uid), None));
        // Until then, what an earlier run of the agent knew may not have been told again.
        if new && now.seconds_since(self.started) > KEEP_PODS_SECONDS {
            let known = self.known_workloads();
            self.counters.retain_series(&known);
        }
    }

    /// The workloads of all pods that are known, as labels without a container.
    fn known_workloads(&self) -> BTreeSet<ContainerKey> {
        self.inventory.pods().map(|pod| ContainerKey::of(&self.inventory.subject(Some(&pod.uid), None))).collect()
    }
}

impl Counters {
    /// Creates what a pod's containers are most likely to be counted under, at zero; whether there was anything to create.
    fn create_container_zeros(&mut self, pod: &PodRecord, subject: &Subject) -> bool {
        let before = self.terminations.len();
        for container in &pod.containers {
            let key = ContainerKey { container: container.name.clone(), ..ContainerKey::of(subject) };
            if self.terminations.contains_key(&key) {
                continue;
            }
            let key = if self.terminations.len() < MAX_SERIES { key } else { ContainerKey::other() };
            self.terminations.entry(key).or_insert_with(|| LIKELY.map(|cause| (cause, 0)).into());
        }
        self.terminations.len() > before
    }

    /// Counts ends of instances of a container.
    pub(super) fn count_termination(&mut self, key: ContainerKey, cause: Cause, ends: u64) {
        let by_cause = series(&mut self.terminations, key, &mut self.series_overflow);
        *by_cause.entry(cause).or_default() += ends;
    }

    /// Counts an OOM kill in a container.
    pub(super) fn count_workload_kill(&mut self, subject: &Subject, cause: Cause) {
        let by_cause = series(&mut self.workload_oom_kills, ContainerKey::of(subject), &mut self.series_overflow);
        *by_cause.entry(cause).or_default() += 1;
    }

    fn retain_series(&mut self, known: &BTreeSet<ContainerKey>) {
        let keeps = |key: &ContainerKey, by_cause: &mut BTreeMap<Cause, u64>| {
            let workload = ContainerKey { container: String::new(), ..key.clone() };
            known.contains(&workload) || (key.workload_kind != BARE_POD && (key.is_other() || is_counted(by_cause)))
        };
        self.terminations.retain(keeps);
        self.workload_oom_kills.retain(keeps);
    }
}

impl ContainerKey {
    /// The labels of a subject.
    pub fn of(subject: &Subject) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default().replace('/', "_");
        Self {
            namespace: text(&subject.namespace),
            workload_kind: text(&subject.workload_kind),
            workload: text(&subject.workload),
            container: text(&subject.container),
        }
    }

    /// The labels of what finds no series of its own. No kind of Kubernetes begins with a small letter.
    fn other() -> Self {
        Self { namespace: String::new(), workload_kind: "other".into(), workload: String::new(), container: String::new() }
    }

    fn is_other(&self) -> bool {
        *self == Self::other()
    }
}

/// The series under which something of `key` is counted.
fn series<'a>(all: &'a mut Series, key: ContainerKey, overflow: &mut u64) -> &'a mut BTreeMap<Cause, u64> {
    let has_place = all.contains_key(&key) || all.len() < MAX_SERIES || make_room(all);
    *overflow += u64::from(!has_place);
    all.entry(if has_place { key } else { ContainerKey::other() }).or_default()
}

/// Gives up a series without a count; whether there was one.
fn make_room(all: &mut Series) -> bool {
    let empty = all.iter().find(|(key, by_cause)| !key.is_other() && !is_counted(by_cause)).map(|(key, _)| key.clone());
    empty.is_some_and(|key| all.remove(&key).is_some())
}

fn is_counted(by_cause: &BTreeMap<Cause, u64>) -> bool {
    by_cause.values().any(|count| *count > 0)
}
