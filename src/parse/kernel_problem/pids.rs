//! A pids limit that refused a new process or thread (`pids_can_fork`, kernel/cgroup/pids.c, 4.6 to
//! 6.18). The kernel prints it once for each cgroup and boot; `pids.events` counts on.

use super::fields::said;
use crate::model::{CgroupPlace, ContainerId, PodUid};
use serde::Serialize;
use std::fmt;

/// A cgroup that reached its pids limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PidsLimit {
    /// The cgroup's path.
    pub cgroup: Option<String>,
    /// The pod that it belongs to.
    pub pod_uid: Option<PodUid>,
    /// The container that it belongs to.
    pub container_id: Option<ContainerId>,
}

impl PidsLimit {
    pub(super) fn read(statement: &str) -> Option<Self> {
        let path = statement.strip_prefix("fork rejected by pids controller in")?;
        let cgroup = path.split_whitespace().next().and_then(said);
        let place = cgroup.as_deref().map(CgroupPlace::of);
        let pod_uid = place.as_ref().and_then(CgroupPlace::pod).cloned();
        let container_id = place.as_ref().and_then(CgroupPlace::container).cloned();
        Some(Self { cgroup, pod_uid, container_id })
    }
}

impl fmt::Display for PidsLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the pids limit of {} refused a new process or thread", self.cgroup.as_deref().unwrap_or("a cgroup"))
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::kernel_problem::testing::report;

    #[test]
    fn the_cgroup_is_named() {
        let found = report("cgroup: fork rejected by pids controller in /system.slice/shop.service");
        assert_eq!((found["type"].as_str(), found["cgroup"].as_str()), (Some("pids"), Some("/system.slice/shop.service")));
    }
}
