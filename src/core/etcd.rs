//! etcd's log inside the core: a control plane that waits for its disk, before the kubelets of the
//! cluster notice.

use super::Core;
use crate::{
    diagnosis::node_trouble::{Witness, starved},
    findings::EvidenceSource,
    inventory::Stalled,
    model::{Moment, Resource},
    parse::etcd::{EtcdComplaint, time_of},
    signal::{EtcdLine, SourceName},
};

/// How far pressure is looked back for: the readings of a pod that is well are minutes apart.
const PRESSURE_SECONDS: u64 = 120;

/// Some task of the control plane waited for this share of the time, in per cent: worth telling.
const PRESSURE_PERCENT: u64 = 20;

/// The control plane's pods that are held back by a slow disk.
const NAMES: [&str; 2] = ["etcd-", "kube-apiserver-"];

impl Core {
    /// Reads a line of etcd's log.
    pub(super) fn etcd(&mut self, line: &EtcdLine, at: Moment) {
        self.health.record(SourceName::EtcdLog, at);
        if let Some(complaint) = EtcdComplaint::of(&line.text) {
            let happened = time_of(&line.text).map_or(at, |wall| at.at_wall_time(wall));
            self.etcd_complains(complaint, happened, at);
        }
    }

    /// Reads a line of the log of a kubelet that runs in one process with etcd, as k3s's does; whether it is etcd's.
    pub(super) fn embedded_etcd(&mut self, text: &str, happened: Moment) -> bool {
        // The first field of the logger that etcd uses (zap); klog's JSON begins with the time.
        let is_etcds = text.starts_with("{\"level\":");
        if let Some(complaint) = EtcdComplaint::of(text).filter(|_| is_etcds) {
            self.etcd_complains(complaint, happened, happened);
        }
        is_etcds
    }

    fn etcd_complains(&mut self, complaint: EtcdComplaint, happened: Moment, at: Moment) {
        let Some((sign, said)) = starved(complaint) else { return };
        let news = self.kubelet_log.durable.troubles.control_plane(sign, said, happened, at.boot);
        let waited = if news.is_empty() { vec![] } else { self.waited_for(happened) };
        for witness in waited {
            self.kubelet_log.durable.troubles.control_plane_waited(witness);
        }
        self.node_news(news, at);
    }

    /// How long the control plane's pods waited, or where the kernel does not account that, everything on the node.
    fn waited_for(&self, at: Moment) -> Vec<Witness> {
        let pods = self.inventory.pods().filter(|pod| {
            let of_system = pod.namespace.as_deref().is_some_and(|namespace| matches!(namespace, "kube-system" | "openshift-etcd"));
            of_system && pod.name.as_deref().is_some_and(|name| NAMES.iter().any(|begin| name.starts_with(begin)))
        });
        let mut pods: Vec<_> = pods.filter_map(|pod| Some((pod.name.as_deref()?, &pod.pressure))).collect();
        pods.sort_by_key(|(name, _)| *name);
        let stalled = |history: &crate::inventory::PressureHistory, resource| {
            history.stalled(resource, at.boot, PRESSURE_SECONDS).filter(|stalled| stalled.some_percent() >= PRESSURE_PERCENT)
        };
        let mut found = Vec::new();
        for resource in [Resource::Io, Resource::Cpu, Resource::Memory] {
            let of_pods = pods.iter().filter_map(|(name, history)| Some((*name, stalled(history, resource)?)));
            found.extend(of_pods.map(|(name, stalled)| witness(at, EvidenceSource::Cgroup, format!("pod {name}"), stalled)));
        }
        if found.is_empty() {
            let of_node = stalled(self.inventory.node_pressure(), Resource::Io);
            found.extend(of_node.map(|stalled| witness(at, EvidenceSource::Node, "the node".into(), stalled)));
        }
        found
    }
}

fn witness(at: Moment, source: EvidenceSource, whose: String, stalled: Stalled) -> Witness {
    let said =
        format!("tasks of {whose} waited for {} in {} % of {} s", stalled.resource, stalled.some_percent(), stalled.of_us / 1_000_000);
    Witness { at, kind: format!("waited:{whose}:{}", stalled.resource), said, source }
}
