//! The closed catalogues: why something happened, where it gave way, whose fault it is, how sure we are.
//!
//! The snake_case form of each word is its name everywhere: JSON, metric labels, documentation.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares a closed set of words with one place for the spelling and the meaning of each.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal : $meaning:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $(#[doc = $meaning] $(#[$word_doc])* #[serde(rename = $text)] $word,)+ }
        impl $name {
            /// Every word, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$word,)+];
            /// The word as it is spelled in JSON, labels and documentation.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$word => $text,)+ } }
            /// What the word means, in one sentence.
            pub const fn meaning(self) -> &'static str { match self { $(Self::$word => $meaning,)+ } }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }
    };
}

words! {
    /// Why a container died, did not start, or why the node is in trouble.
    Cause {
        OomContainerLimit = "oom_container_limit": "The kernel killed a process because its container reached its own memory limit.",
        OomPodLimit = "oom_pod_limit": "The kernel killed a process because the pod as a whole reached its memory limit.",
        OomNodeAllocatable = "oom_node_allocatable": "The kernel killed a process because all pods together (or a QoS class) reached what the node allows pods.",
        OomNode = "oom_node": "The kernel killed a process because the whole node ran out of memory.",
        OomHostService = "oom_host_service": "The kernel killed a process of a service outside of pods at that service's own limit.",
        OomChildProcess = "oom_child_process": "The kernel killed a process of a container whose first process lived on: nothing restarted, Kubernetes shows nothing.",
        OomUserspace = "oom_userspace": "A memory watcher in user space (systemd-oomd, earlyoom and their kind) killed a process.",
        OomManual = "oom_manual": "Someone asked the kernel for an OOM kill by hand (SysRq-f); not memory pressure.",
        OomUnattributed = "oom_unattributed": "The kernel killed a process for lack of memory; nothing that is left says whose memory ran out.",
        LivenessProbe = "liveness_probe": "The kubelet killed the container because its liveness probe failed.",
        StartupProbe = "startup_probe": "The kubelet killed the container because its startup probe never succeeded.",
        EvictedMemory = "evicted_memory": "The kubelet evicted the pod because the node ran short of memory.",
        EvictedDisk = "evicted_disk": "The kubelet evicted the pod because the node ran short of disk space.",
        EvictedInodes = "evicted_inodes": "The kubelet evicted the pod because the node ran short of inodes.",
        EvictedPids = "evicted_pids": "The kubelet evicted the pod because the node ran short of process ids.",
        EvictedEphemeralStorage = "evicted_ephemeral_storage": "The kubelet evicted the pod because it used more local storage than it may.",
        Preempted = "preempted": "The pod had to make room for one of higher priority.",
        AdmissionRejected = "admission_rejected": "The kubelet refused to admit the pod to this node.",
        SlowShutdown = "slow_shutdown": "The container was asked to stop and was killed at the end of its grace period.",
        Stopped = "stopped": "The container was asked to stop; not a crash.",
        ImagePull = "image_pull": "The image could not be pulled.",
        ConfigError = "config_error": "The container could not be configured: a missing ConfigMap, Secret or key, or a forbidden user.",
        VolumeMount = "volume_mount": "A volume could not be mounted.",
        SandboxNetwork = "sandbox_network": "The pod's sandbox or its network could not be set up.",
        StartError = "start_error": "The runtime could not start the container's command.",
        ExecFormat = "exec_format": "The container's program is built for another architecture, or its script names no interpreter that exists.",
        AppError = "app_error": "The program ended itself with an error status.",
        AppPanic = "app_panic": "The program ended in a panic or an uncaught exception.",
        Segfault = "segfault": "The program accessed memory it may not (SIGSEGV).",
        IllegalInstruction = "illegal_instruction": "The program ran an instruction this CPU does not have (SIGILL).",
        BusError = "bus_error": "The program's memory access could not be served (SIGBUS).",
        Aborted = "aborted": "The program aborted itself (SIGABRT, a failed assertion).",
        CommandNotFound = "command_not_found": "The command does not exist in the image (exit status 127).",
        NotExecutable = "not_executable": "The command may not be executed (exit status 126).",
        Completed = "completed": "The program ended with status 0 although it should have kept running.",
        Killed = "killed": "Something sent SIGKILL; the kernel's OOM killer did not, and nothing says who did.",
        PidsLimit = "pids_limit": "A pids limit stopped the program from starting processes or threads.",
        DiskFull = "disk_full": "A filesystem is full.",
        ReadOnlyFilesystem = "read_only_filesystem": "A filesystem turned read-only, or shut itself down, after errors.",
        StorageError = "storage_error": "A disk or its driver reports errors.",
        NodeRebooted = "node_rebooted": "The node restarted under its containers.",
        RuntimeRestarted = "runtime_restarted": "The container runtime restarted or lost the container.",
        KubeletRestarted = "kubelet_restarted": "The kubelet restarted, or restarts again and again.",
        EvictionImminent = "eviction_imminent": "The node is about to evict pods: what is left of a resource is close to the kubelet's threshold.",
        ImageGcFailed = "image_gc_failed": "The kubelet cannot free the space of unused images.",
        NodeNotReady = "node_not_ready": "The kubelet declares its node not ready, for a reason that has no cause of its own.",
        RuntimeDown = "runtime_down": "The container runtime does not answer the kubelet.",
        PlegUnhealthy = "pleg_unhealthy": "The kubelet's round over all containers (PLEG) does not finish: it starts nothing and sees no death.",
        NetworkNotReady = "network_not_ready": "The node's network plugin is not ready: pods with a network of their own do not start.",
        ApiServerUnreachable = "api_server_unreachable": "The kubelet cannot reach the API server; the node itself may be well.",
        KubeletCertificate = "kubelet_certificate": "A certificate of the kubelet expired, is missing or is refused.",
        KubeletDown = "kubelet_down": "The kubelet does not run, or cannot start.",
        ControlPlaneStarved = "control_plane_starved": "etcd or the API server on this node is starved by the disk, the memory or the CPU.",
        NetworkFault = "network_fault": "The kernel reports that the network loses connections: full tables, a stalled interface.",
        KernelFault = "kernel_fault": "The kernel or the hardware reports a fault: oops, lockup, hung task, memory error.",
        Unknown = "unknown": "None of the evidence explains it; the finding says what was looked for and not found.",
    }
}

words! {
    /// Where it happened: the limit or thing that gave way.
    Scope {
        Container = "container": "The container alone.",
        Pod = "pod": "The pod's containers together.",
        QosClass = "qos_class": "All pods of one QoS class.",
        NodeAllocatable = "node_allocatable": "All pods together.",
        Node = "node": "The whole machine.",
        HostService = "host_service": "A service outside of pods.",
    }
}

words! {
    /// Whose fault it is.
    Blame {
        Workload = "workload": "The workload itself: it would fail the same way elsewhere.",
        Node = "node": "The node: the same workload would live elsewhere.",
        Neighbour = "neighbour": "Another pod or service on this node.",
        Both = "both": "The node and the workload, each with evidence of its own.",
        Insufficient = "insufficient": "The evidence on this node does not tell.",
    }
}

words! {
    /// How sure the cause is.
    Confidence {
        Possible = "possible": "It fits, and so would something else.",
        Likely = "likely": "The evidence points here without naming it directly.",
        Proven = "proven": "A direct witness names it.",
    }
}

words! {
    /// How a kill was joined to its container.
    Attribution {
        Kernel = "kernel": "The kernel's own lines name the cgroup.",
        PidCache = "pid_cache": "The agent had seen this process, by pid and start time, in the container.",
        Counter = "counter": "The kill counter of the pod's cgroup rose at that time.",
        Runtime = "runtime": "Only the container runtime says so.",
        None = "none": "It could not be joined to any container.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_spelled_alike_everywhere() {
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_value(cause).expect("json"), cause.as_str());
            assert!(cause.meaning().ends_with('.'));
            assert!(cause.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
    }
}
