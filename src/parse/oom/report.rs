//! An event as one flat object: the words of `nodewhy parse`.

use super::{Completeness, Constraint, Domain, OomEvent, OomOutcome, OomScope, Process, ReaperWord, TaskRow};
use crate::model::{Bytes, CgroupPlace, ContainerId, PodUid};
use serde::Serialize;
use std::sync::Arc;

/// One OOM as a flat object. Amounts are KiB, as the kernel prints them; `null` is what the log does not say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OomReport {
    /// Always `oom`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The allocation constraint.
    pub constraint: Constraint,
    /// Where the limit was hit.
    pub scope: OomScope,
    /// Whether the kill itself is in the log.
    pub outcome: OomOutcome,
    /// The killed process.
    pub victim_pid: Option<u32>,
    /// Its name.
    pub victim_comm: Option<Arc<str>>,
    /// Its address space.
    pub victim_total_vm_kb: Option<u64>,
    /// Its anonymous memory.
    pub victim_anon_rss_kb: Option<u64>,
    /// Its file pages.
    pub victim_file_rss_kb: Option<u64>,
    /// Its shared memory.
    pub victim_shmem_rss_kb: Option<u64>,
    /// Its page tables.
    pub victim_page_tables_kb: Option<u64>,
    /// Its user id.
    pub victim_uid: Option<u32>,
    /// Its `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Who allocated.
    pub trigger_comm: Option<Arc<str>>,
    /// Who allocated, by pid.
    pub trigger_pid: Option<u32>,
    /// The allocating process' cpuset.
    pub trigger_cpuset: Option<Arc<str>>,
    /// The allocation's flags.
    pub gfp_mask: Option<Arc<str>>,
    /// The allocation's order.
    pub order: Option<i32>,
    /// Asked for by hand.
    pub manual: bool,
    /// The cgroup whose limit was hit.
    pub oom_memcg: Option<Arc<str>>,
    /// The victim's cgroup.
    pub task_memcg: Option<Arc<str>>,
    /// The victim's pod.
    pub pod_uid: Option<PodUid>,
    /// The victim's container.
    pub container_id: Option<ContainerId>,
    /// The node of this pod is itself a container of the machine (kind, LXC): another node's log may tell of it, too.
    pub nested_node: bool,
    /// Charged to the cgroup whose limit was hit.
    pub usage_kb: Option<u64>,
    /// The limit.
    pub limit_kb: Option<u64>,
    /// How often it was reached.
    pub failcnt: Option<u64>,
    /// The same with swap (cgroup v1), or of swap alone (v2).
    pub swap_usage_kb: Option<u64>,
    /// Its limit.
    pub swap_limit_kb: Option<u64>,
    /// Charged anonymous memory.
    pub anon_kb: Option<u64>,
    /// Charged page cache of files.
    pub file_kb: Option<u64>,
    /// Charged shared memory and tmpfs.
    pub shmem_kb: Option<u64>,
    /// Charged kernel memory.
    pub kernel_kb: Option<u64>,
    /// Charged kernel objects.
    pub slab_kb: Option<u64>,
    /// A whole cgroup was killed.
    pub oom_group: bool,
    /// All its processes.
    pub group_victims: Vec<Process>,
    /// The processes with the most resident memory, at most five.
    pub largest: Vec<Consumer>,
    /// What the reaper said.
    pub reaper: Option<ReaperWord>,
    /// Which parts of the dump the log holds.
    pub completeness: Completeness,
}

/// A process that held memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Consumer {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub comm: Option<Arc<str>>,
    /// Its resident memory in pages.
    pub rss_pages: Option<u64>,
    /// The same in KiB, where the log betrays the page size.
    pub rss_kb: Option<u64>,
}

impl OomEvent {
    /// The event as one flat object.
    pub fn to_report(&self) -> OomReport {
        let split = self.split.unwrap_or_default();
        let swap = self.memory_and_swap.or(self.swap);
        let page_size = self.page_size();
        OomReport {
            kind: "oom",
            constraint: self.constraint(),
            scope: self.scope(),
            outcome: self.outcome,
            victim_pid: self.victim.pid.map(|pid| pid.0),
            victim_comm: self.victim.comm.clone(),
            victim_total_vm_kb: self.victim.total_vm.map(Bytes::kib),
            victim_anon_rss_kb: self.victim.anon_rss.map(Bytes::kib),
            victim_file_rss_kb: self.victim.file_rss.map(Bytes::kib),
            victim_shmem_rss_kb: self.victim.shmem_rss.map(Bytes::kib),
            victim_page_tables_kb: self.victim.page_tables.map(Bytes::kib),
            victim_uid: self.victim.uid,
            oom_score_adj: self.victim.oom_score_adj,
            trigger_comm: self.trigger.comm.clone(),
            trigger_pid: self.trigger.pid.map(|pid| pid.0),
            trigger_cpuset: self.trigger.cpuset.clone(),
            gfp_mask: self.trigger.gfp_mask.clone(),
            order: self.trigger.order,
            manual: self.is_manual(),
            oom_memcg: match self.domain() {
                Domain::Memcg(path) => Some(path),
                _ => None,
            },
            task_memcg: self.task_memcg.clone(),
            pod_uid: self.pod(),
            container_id: self.container(),
            nested_node: self.task_memcg.as_deref().or(self.oom_memcg.as_deref()).is_some_and(CgroupPlace::is_on_nested_node),
            usage_kb: self.memory.and_then(|memory| memory.usage_kib),
            limit_kb: self.memory.and_then(|memory| memory.limit_kib),
            failcnt: self.memory.and_then(|memory| memory.failcnt),
            swap_usage_kb: swap.and_then(|swap| swap.usage_kib),
            swap_limit_kb: swap.and_then(|swap| swap.limit_kib),
            anon_kb: split.anon.map(Bytes::kib),
            file_kb: split.file().map(Bytes::kib),
            shmem_kb: split.shmem.map(Bytes::kib),
            kernel_kb: split.kernel.or(self.kmem.and_then(|kmem| kmem.usage())).map(Bytes::kib),
            slab_kb: split.slab().map(Bytes::kib),
            oom_group: self.group.is_some(),
            group_victims: self.group.as_ref().map(|group| group.members.clone()).unwrap_or_default(),
            largest: self.tasks.largest.iter().take(5).map(|row| consumer(row, page_size)).collect(),
            reaper: self.reaper,
            completeness: self.completeness,
        }
    }
}

fn consumer(row: &TaskRow, page_size: Option<u64>) -> Consumer {
    let rss = row.rss_pages.zip(page_size).map(|(pages, size)| Bytes::from_pages(pages, size).kib());
    Consumer { pid: row.pid.0, comm: row.comm.clone(), rss_pages: row.rss_pages, rss_kb: rss }
}
