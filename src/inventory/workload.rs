//! Which workload a pod belongs to, told without asking the API server.

use crate::{
    model::PodUid,
    signal::{Owner, PodRecord},
};
use serde::{Deserialize, Serialize};

/// The thing that people deploy and name: a Deployment rather than its ReplicaSet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// Such as `Deployment`; `StaticPod` for a manifest on the node's disk, `Pod` for a bare pod.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A Job made by a CronJob is named after it plus its scheduled minute since 1970: 8 digits from
/// 1989 to 2160 (pkg/controller/cronjob/utils.go, `getJobName`).
const SCHEDULED_MINUTE_DIGITS: usize = 8;

impl Workload {
    /// The workload of a pod of the node `node`.
    pub fn of(pod: &PodRecord, node: &str) -> Self {
        if pod.static_hash.is_some() {
            return Self::of_manifest(&pod.name, node);
        }
        match &pod.owner {
            None => Self { kind: "Pod".into(), name: pod.name.clone() },
            Some(owner) => Self::of_owner(owner, pod.template_hash.as_deref()),
        }
    }

    /// The workload of a pod that only its uid and name tell of: a static pod's uid is a hash.
    pub fn of_static(uid: &PodUid, pod: &str, node: &str) -> Option<Self> {
        uid.is_static().then(|| Self::of_manifest(pod, node))
    }

    /// The kubelet appends the node's name to that of the manifest.
    fn of_manifest(pod: &str, node: &str) -> Self {
        let name = pod.strip_suffix(node).and_then(|name| name.strip_suffix('-')).unwrap_or(pod);
        Self { kind: "StaticPod".into(), name: name.into() }
    }

    fn of_owner(owner: &Owner, template_hash: Option<&str>) -> Self {
        let stripped = match owner.kind.as_str() {
            "ReplicaSet" => {
                let name = template_hash.and_then(|hash| owner.name.strip_suffix(hash)).and_then(|name| name.strip_suffix('-'));
                name.map(|name| ("Deployment", name))
            }
            "Job" => {
                let scheduled = owner.name.rsplit_once('-').filter(|(_, minute)| is_scheduled_minute(minute));
                scheduled.map(|(name, _)| ("CronJob", name))
            }
            _ => None,
        };
        let (kind, name) = stripped.unwrap_or((&owner.kind, &owner.name));
        Self { kind: kind.into(), name: name.into() }
    }
}

fn is_scheduled_minute(text: &str) -> bool {
    text.len() == SCHEDULED_MINUTE_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: &str, name: &str, hash: Option<&str>) -> (String, String) {
        let owner = Some(Owner { kind: kind.into(), name: name.into() });
        let pod = PodRecord { name: "p".into(), owner, template_hash: hash.map(String::from), ..PodRecord::default() };
        let workload = Workload::of(&pod, "n1");
        (workload.kind, workload.name)
    }

    #[test]
    fn a_replica_set_is_told_as_its_deployment() {
        assert_eq!(workload("ReplicaSet", "web-7d9f8c", Some("7d9f8c")), ("Deployment".into(), "web".into()));
        assert_eq!(workload("ReplicaSet", "bare", None), ("ReplicaSet".into(), "bare".into()));
    }

    #[test]
    fn a_scheduled_job_is_told_as_its_cron_job() {
        assert_eq!(workload("Job", "backup-29371820", None), ("CronJob".into(), "backup".into()));
        assert_eq!(workload("Job", "migrate-v2", None), ("Job".into(), "migrate-v2".into()));
        assert_eq!(workload("DaemonSet", "agent-12345678", None), ("DaemonSet".into(), "agent-12345678".into()));
    }

    #[test]
    fn static_and_bare_pods_are_their_own_workload() {
        let mut pod = PodRecord { name: "etcd-n1".into(), static_hash: Some("ab".repeat(16)), ..PodRecord::default() };
        assert_eq!(Workload::of(&pod, "n1"), Workload { kind: "StaticPod".into(), name: "etcd".into() });
        pod.static_hash = None;
        assert_eq!(Workload::of(&pod, "n1"), Workload { kind: "Pod".into(), name: "etcd-n1".into() });
    }
}
