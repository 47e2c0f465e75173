//! The one table of metrics: name, type, labels, meaning.
//!
//! Flows in: nothing. Flows out: constants that the collector fills and the reference prints, so
//! that neither can name a metric or a label the other does not know. The table's order is the
//! order of importance: when a scrape would have too many series, the last metrics go first.

/// What Prometheus may do with a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, except when what it counts starts anew.
    Counter,
    /// It may take any value.
    Gauge,
}

impl Kind {
    /// The word of the text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// One metric with `N` labels: a value with another number of labels does not compile.
#[derive(Debug, Clone, Copy)]
pub struct Metric<const N: usize> {
    /// Its name.
    pub name: &'static str,
}

/// One metric as a row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means: the HELP line.
    pub meaning: &'static str,
}

macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $meaning:literal;)+) => {
        $(
            #[doc = $meaning]
            pub const $id: Metric<{ how_many(&[$($label),*]) }> = Metric { name: $name };
        )+
        /// Every metric, the most important first.
        pub const TABLE: &[Row] = &[$(Row { name: $name, kind: Kind::$kind, labels: &[$($label),*], meaning: $meaning },)+];
    };
}

const fn how_many(labels: &[&str]) -> usize {
    labels.len()
}

metrics! {
    BUILD_INFO: Gauge "nodewhy_build_info" ["version"]
        "The agent's version; always 1.";
    NODE_INFO: Gauge "nodewhy_node_info" ["kernel", "cgroups"]
        "The node's kernel release and the cgroup hierarchy that accounts its memory; always 1.";
    SERIES_DROPPED: Gauge "nodewhy_series_dropped"  []
        "Series left out of this scrape because it would have had more than 4,000; the least important metrics go first.";
    LAST_SIGNAL: Gauge "nodewhy_last_signal_timestamp_seconds" []
        "When the agent last took in anything from any source.";

    NODE_PRESSURE: Counter "nodewhy_node_pressure_seconds_total" ["resource", "kind"]
        "Time in which some task of the node waited for a resource, or all that had work did at once (full), since it booted; absent where the kernel does not account it.";

    SOURCE_UP: Gauge "nodewhy_source_up" ["source"]
        "Whether the source can be read (1) or not (0).";
    SOURCE_STATE: Gauge "nodewhy_source_state" ["source", "state"]
        "The source's state: 1 for the one that holds, 0 for the others. Tells a source that does not exist here from one that may not be read.";
    SOURCE_RECORDS: Counter "nodewhy_source_records_total" ["source"]
        "Records or samples read from the source.";
    SOURCE_LOST: Counter "nodewhy_source_records_lost_total" ["source"]
        "Records that the source lost before they could be read, such as those overwritten in the kernel's ring.";
    SOURCE_LAST: Gauge "nodewhy_source_last_record_timestamp_seconds" ["source"]
        "When the latest record of the source was read; absent before the first.";

    OOM_KILLS: Counter "nodewhy_oom_kills_total" ["scope", "cause"]
        "OOM kills on this node since it booted, one for each event however many processes a group kill took.";
    WORKLOAD_OOM_KILLS: Counter "nodewhy_workload_oom_kills_total"
        ["namespace", "workload_kind", "workload", "container", "victim", "cause"]
        "OOM kills by workload and container since the node booted. victim is init where the container's first process was killed, child where the container lived on.";
    HOST_OOM_KILLS: Counter "nodewhy_host_oom_kills_total" ["unit"]
        "OOM kills of host services and other processes outside of pods since the node booted, by systemd unit.";
    VMSTAT_UNEXPLAINED: Gauge "nodewhy_vmstat_oom_kill_unexplained" []
        "OOM kills counted by the kernel (oom_kill of /proc/vmstat) that no finding explains; absent where the kernel does not count them.";
    OOM_UNATTRIBUTED: Counter "nodewhy_oom_kills_unattributed_total" ["reason"]
        "OOM kills that could not be joined to a container, by why.";
    OOM_FOREIGN: Counter "nodewhy_oom_kills_foreign_total" []
        "OOM kills in pods that another kubelet on this kernel runs.";
    OOM_WITNESSED: Counter "nodewhy_oom_kills_witnessed_total" ["witness"]
        "OOM kills by who told of them: the kernel's log and a cgroup's counter (both), or only one of the two.";
    OOM_DUMPS_SUPPRESSED: Counter "nodewhy_oom_dumps_suppressed_total" []
        "OOM reports that the kernel's rate limit cut short.";
    OOM_WITHOUT_KILL: Counter "nodewhy_oom_without_kill_total" []
        "Runs of the kernel's OOM killer that killed nothing since the node booted: no process could be killed (then the cgroup stays full), or the victim was about to exit.";
    SPOOFED_RECORDS: Counter "nodewhy_spoofed_records_total" []
        "Records in the kernel's log that looked like the kernel's but were written by a program.";
    MALFORMED_RECORDS: Counter "nodewhy_malformed_records_total" []
        "Records of the kernel's log that could not be decoded.";

    KERNEL_PROBLEMS: Counter "nodewhy_kernel_problems_total" ["class"]
        "Problems that the kernel reported since the node booted, by class: also those that are normal on healthy nodes and make no finding.";
    STORAGE_ERRORS: Counter "nodewhy_kernel_storage_errors_total" ["device"]
        "Problems that the kernel reported of a disk or the filesystem on it since the node booted, by the kernel's name of the device; other where there are more than 32.";

    FINDINGS: Gauge "nodewhy_findings" ["cause", "state"]
        "Findings that the agent holds, by cause and state; resolved ones are absent where there is none.";
    FINDINGS_OPENED: Counter "nodewhy_findings_opened_total" ["cause"]
        "Findings opened since the node booted, by cause.";

    TERMINATIONS: Counter "nodewhy_container_terminations_total" ["namespace", "workload_kind", "workload", "container", "cause"]
        "Ends of container instances since the node booted, by workload, container and cause.";
    TERMINATIONS_UNOBSERVED: Counter "nodewhy_container_terminations_unobserved_total" []
        "Of these ends, those that the restart count tells of and no status described; their cause is unknown.";
    CORRELATIONS: Counter "nodewhy_correlations_total" ["result"]
        "Crashes of containers since the node booted, by how well the evidence tells why: explained (a direct witness: the kernel, the kubelet, the runtime, or the exit itself), ambiguous (more than one reading fits), unexplained (killed by nobody known, or no status described the end). Ends that were asked for are not counted.";
    RESTART_COUNTER_RESETS: Counter "nodewhy_restart_count_resets_total" []
        "Times a container's restart count went backwards.";
    WORKLOAD_PODS: Gauge "nodewhy_workload_pods" ["namespace", "workload_kind", "workload"]
        "Pods of the workload on this node, now or in the last hour.";
    WORKLOAD_CRASHED_PODS: Gauge "nodewhy_workload_crashed_pods" ["namespace", "workload_kind", "workload"]
        "Pods of the workload on this node of which a container crashed in the last hour; absent when there is none.";
    WORKLOAD_CRASH_LOOPING: Gauge "nodewhy_workload_crash_looping_containers" ["namespace", "workload_kind", "workload"]
        "Containers of the workload on this node that are crash-looping now; absent when there is none.";
    WORKLOAD_OVERFLOW: Counter "nodewhy_workload_series_overflow_total" []
        "Ends and kills counted without their workload (workload_kind other) because the agent held 1,024 series of workloads, and containers left out of nodewhy_container_last_oom_kill_timestamp_seconds.";

    POD_EVICTIONS: Counter "nodewhy_pod_evictions_total" ["signal"]
        "Pods that the kubelet evicted since the node booted, by what was short: memory, disk, inodes, pids of the node, or ephemeral_storage, the pod's own limit.";
    FILESYSTEM_SIZE: Gauge "nodewhy_filesystem_size_bytes" ["filesystem"]
        "Size of the filesystem that the kubelet calls nodefs (its own), imagefs (the runtime's images) or containerfs (writable layers). One filesystem may be all three.";
    FILESYSTEM_AVAILABLE: Gauge "nodewhy_filesystem_available_bytes" ["filesystem"]
        "What is left on the filesystem for programs without privileges, by the agent's own look.";
    FILESYSTEM_INODES: Gauge "nodewhy_filesystem_inodes" ["filesystem"]
        "Inodes of the filesystem; absent where it has no fixed number.";
    FILESYSTEM_INODES_FREE: Gauge "nodewhy_filesystem_inodes_free" ["filesystem"]
        "Inodes left on the filesystem.";
    EVICTION_AVAILABLE_BYTES: Gauge "nodewhy_eviction_available_bytes" ["signal"]
        "What is left of the memory or the disk space that the kubelet watches, as it counts it.";
    EVICTION_THRESHOLD_BYTES: Gauge "nodewhy_eviction_threshold_bytes" ["signal"]
        "The kubelet evicts pods below this (the highest of its hard and soft thresholds); absent where none is configured or the kubelet's configuration is not known.";
    EVICTION_AVAILABLE_INODES: Gauge "nodewhy_eviction_available_inodes" ["signal"]
        "What is left of the inodes that the kubelet watches.";
    EVICTION_THRESHOLD_INODES: Gauge "nodewhy_eviction_threshold_inodes" ["signal"]
        "The kubelet evicts pods below this; absent where none is configured or the kubelet's configuration is not known.";
    EVICTION_AVAILABLE_PIDS: Gauge "nodewhy_eviction_available_pids" []
        "What is left of the node's process ids.";
    EVICTION_THRESHOLD_PIDS: Gauge "nodewhy_eviction_threshold_pids" []
        "The kubelet evicts pods below this; absent where none is configured or the kubelet's configuration is not known.";
    EVICTION_REACHED_IN: Gauge "nodewhy_eviction_reached_in_seconds" ["signal"]
        "Time until the threshold is reached at the rate of the last minutes; absent unless what is left shrinks.";
    POD_EPHEMERAL_STORAGE: Gauge "nodewhy_pod_ephemeral_storage_bytes" ["namespace", "pod"]
        "What the pod has on the node's disks (logs, emptyDir volumes, writable layers) when last measured: the ten largest pods. Measured at the start, each half hour, and when a filesystem shrinks.";
    KUBELET_RESTARTS: Counter "nodewhy_kubelet_restarts_total" []
        "Starts of the kubelet after another life of it had been seen in this boot, whoever asked for them.";
    KUBELET_INFO: Gauge "nodewhy_kubelet_info" ["version"]
        "The kubelet's version, as its log told at its last start; always 1, absent where its start was not seen.";
    KUBELET_VERBOSITY: Gauge "nodewhy_kubelet_log_verbosity" []
        "The highest -v level whose lines were seen of the running kubelet: at 0 it tells neither probes nor kills; absent before its first line.";

    STORE_ENTRIES: Gauge "nodewhy_store_entries" ["store"]
        "Entries in each of the agent's bounded stores.";
    STORE_CAPACITY: Gauge "nodewhy_store_capacity_entries" ["store"]
        "The most entries that each of the agent's bounded stores may have.";
    SAMPLES_DROPPED: Counter "nodewhy_samples_dropped_total" []
        "Samples given up because the agent was busy; a later sample says the same and more.";
    PROCESS_RESIDENT: Gauge "process_resident_memory_bytes" []
        "Resident memory of the agent.";
    PROCESS_VIRTUAL: Gauge "process_virtual_memory_bytes" []
        "Virtual memory of the agent.";
    PROCESS_CPU: Counter "process_cpu_seconds_total" []
        "CPU time that the agent has used.";
    PROCESS_STARTED: Gauge "process_start_time_seconds" []
        "When the agent started.";
    PROCESS_FDS: Gauge "process_open_fds" []
        "File descriptors that the agent has open.";
    PROCESS_MAX_FDS: Gauge "process_max_fds" []
        "The most file descriptors that the agent may open; absent where there is no limit.";
    PROCESS_THREADS: Gauge "process_threads" []
        "Threads of the agent.";

    CONTAINER_LAST_OOM_KILL: Gauge "nodewhy_container_last_oom_kill_timestamp_seconds" ["namespace", "pod", "container"]
        "When the kernel's OOM killer last killed in the container; only if that was in the last hour, and for at most 200 containers (the oldest go, and are counted in nodewhy_workload_series_overflow_total).";
    CONTAINER_USAGE: Gauge "nodewhy_container_memory_usage_bytes" ["namespace", "pod", "container"]
        "What the kernel charges to the container's cgroup and compares with its limit.";
    CONTAINER_LIMIT: Gauge "nodewhy_container_memory_limit_bytes" ["namespace", "pod", "container"]
        "The memory limit that holds the container: its own, else its pod's; absent where there is none.";
    CONTAINER_MEMORY: Gauge "nodewhy_container_memory_bytes" ["namespace", "pod", "container", "kind"]
        "What the charge consists of: anon (the programs' own memory), file (page cache, can be reclaimed), shmem (tmpfs and shared memory, cannot), kernel.";
    CONTAINER_RSS: Gauge "nodewhy_container_memory_rss_bytes" ["namespace", "pod", "container"]
        "Resident memory of the container's processes together (VmRSS), as the kernel's OOM report counts it.";
    CONTAINER_PEAK: Gauge "nodewhy_container_memory_peak_bytes" ["namespace", "pod", "container"]
        "The highest charge since the container started.";
    CONTAINER_PIDS: Gauge "nodewhy_container_pids" ["namespace", "pod", "container"]
        "Processes and threads of the container.";
    CONTAINER_THROTTLED: Counter "nodewhy_container_cpu_throttled_seconds_total" ["namespace", "pod", "container"]
        "Time for which the container's CPU limit held it back.";
    CONTAINER_PRESSURE: Counter "nodewhy_container_memory_pressure_seconds_total" ["namespace", "pod", "container"]
        "Time in which some task of the container waited for memory (memory.pressure, some).";
    CONTAINER_SWAP: Gauge "nodewhy_container_memory_swap_bytes" ["namespace", "pod", "container"]
        "Swap that the container uses; absent when it uses none, which is so on most nodes.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_keeps_to_the_naming_rules_of_prometheus() {
        let names: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len(), "a name stands twice");
        for row in TABLE {
            let of_ours = row.name.starts_with("nodewhy_") || row.name.starts_with("process_");
            assert!(of_ours && row.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", row.name);
            assert_eq!(row.kind == Kind::Counter, row.name.ends_with("_total"), "{}", row.name);
            assert!(row.meaning.ends_with('.'), "{}", row.name);
            for label in row.labels {
                assert!(!["node", "job", "instance", "type", "le", "quantile"].contains(label), "{}", row.name);
                assert!(row.kind == Kind::Gauge || row.name.starts_with("nodewhy_container_") || *label != "pod", "{}", row.name);
            }
        }
    }
}
