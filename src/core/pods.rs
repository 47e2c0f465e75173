//! Pods inside the core: who is there, and who has left.

use super::{Core, Effect};
use crate::{
    diagnosis::termination::pod_key,
    inventory::KEEP_PODS_SECONDS,
    model::{BootTime, ContainerId, Moment, PodUid},
    signal::{PodRecord, PodUpdate, SourceName},
};
use std::collections::BTreeSet;

impl Core {
    /// Takes in what has changed about pods.
    pub(super) fn pods(&mut self, update: &PodUpdate, at: Moment) {
        match update {
            PodUpdate::Listed(list) => {
                self.health.record(SourceName::Pods, at);
                let present: Vec<_> = list.pods.iter().filter_map(|pod| self.pod(pod, at)).collect();
                for (uid, key) in self.inventory.pods_listed(at.boot, &present) {
                    self.pod_gone(&uid, &key, at.boot);
                }
                self.settle_pods_that_left(&present, at.boot);
                self.deaths.durable.watching_since.get_or_insert(at.wall);
            }
            PodUpdate::Changed { pod, deleted } => {
                self.health.record(SourceName::Pods, at);
                if let Some(uid) = self.pod(pod, at).filter(|_| *deleted) {
                    self.inventory.pod_deleted(at.boot, &uid);
                    self.pod_gone(&uid, pod_key(pod), at.boot);
                }
            }
            PodUpdate::Directory { namespace, name, uid, containers, followed } => {
                self.health.record(SourceName::PodLogs, at);
                self.inventory.directory_seen(namespace, name, uid, containers);
                for (container, attempt) in containers {
                    self.deaths.durable.terminations.sighted(&uid.to_string(), container, *attempt, *followed, at);
                }
            }
            PodUpdate::DirectoryGone { uid } => {
                self.health.record(SourceName::PodLogs, at);
                self.inventory.directory_gone(at.boot, uid);
            }
        }
    }

    fn pod(&mut self, pod: &PodRecord, at: Moment) -> Option<PodUid> {
        if !self.inventory.knows(pod) {
            self.effects.push(Effect::Save);
        }
        let uid = self.inventory.pod_told(at, pod)?;
        self.name_kills(pod);
        self.watch_deaths(pod, &uid, at);
        self.watch_eviction(pod, &uid, at);
        self.watch_waiting(pod, &uid, at);
        self.watch_losses(pod, &uid, at);
        self.resolve_not_starting(&uid, at.boot);
        self.open_series(pod, &uid, at.boot);
        Some(uid)
    }

    /// Kills told before their container had a name are told again with it.
    fn name_kills(&mut self, pod: &PodRecord) {
        if self.oom_cases.is_empty() {
            return;
        }
        let ids = pod.containers.iter().filter_map(|container| container.container_id.as_deref());
        for id in ids.filter_map(ContainerId::parse_status) {
            let news = self.oom_cases.container_changed(&id, &self.inventory);
            self.tell(news);
        }
    }

    /// Pods with findings of an earlier run of the agent, which were deleted while none ran.
    fn settle_pods_that_left(&mut self, present: &[PodUid], now: BootTime) {
        let subjects = self.findings.topics().flat_map(|(_, finding)| &finding.subjects).filter_map(|subject| subject.pod_uid.clone());
        let left = |uid: &PodUid| !present.contains(uid) && self.inventory.pod(uid).is_none_or(|pod| pod.gone.is_some());
        for uid in subjects.filter(left).collect::<BTreeSet<_>>() {
            self.pod_gone(&uid, &uid.to_string(), now);
        }
    }

    /// Forgets what only pods that nobody knows any more were followed for. What an earlier run of the agent knew waits
    /// until all sources have surely told theirs.
    pub(super) fn forget_pods(&mut self, now: BootTime) {
        if now.seconds_since(self.started) <= KEEP_PODS_SECONDS {
            return;
        }
        let inventory = &self.inventory;
        let known = |key: &str| PodUid::parse(key).is_some_and(|uid| inventory.pod(&uid).is_some());
        self.deaths.retain(known);
        self.waiting.retain(|slot, _| known(&slot.pod));
    }
}
