//! A node with troubles, for the tests of this layer.

use crate::{
    core::{
        ContainerFigures, ContainerKey, Counters, FilesystemFigures, Fill, PodStorageFigures, RoomFigures, SignalFigures, Snapshot,
        SourceHealth, WorkloadFigures,
    },
    findings::{CrashLoop, Evidence, EvidenceSource, Finding, FindingId, FindingState, Life, Memory, Subject},
    model::{
        Attribution, Blame, BootId, BootTime, Bytes, Cause, Confidence, ContainerId, EvictionSignal, FilesystemRole, Limit, Moment, PodUid,
        Resource, Scope,
    },
    signal::{CgroupVersion, CpuThrottling, MemorySplit, NodeFacts, PidsUse, Pressure, SourceName, SourceState},
};
use jiff::Timestamp;
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;

pub(super) fn time(clock: &str) -> Timestamp {
    format!("2026-03-14T{clock}Z").parse().expect("a time of the day")
}

fn evidence(source: EvidenceSource, clock: &str, what: &str, how_matched: &str) -> Evidence {
    Evidence { source, time: time(clock), what: what.into(), supports: true, how_matched: how_matched.into() }
}

fn cart() -> Subject {
    Subject {
        namespace: Some("shop".into()),
        pod: Some("cart-6c8f7b9d5-x2x7p".into()),
        pod_uid: PodUid::parse("3b1f0c52-8d41-4c1e-9a77-52f1c0d9e6aa"),
        container: Some("api".into()),
        container_id: ContainerId::parse(&"5e1f".repeat(16)),
        workload_kind: Some("Deployment".into()),
        workload: Some("cart".into()),
        attempt: Some(4),
    }
}

/// A container that was killed at its own limit, four times.
pub(super) fn oom_kill() -> Finding {
    Finding {
        id: FindingId("9f2c41d07be63a15".into()),
        cause: Cause::OomContainerLimit,
        confidence: Confidence::Proven,
        scope: Scope::Container,
        blame: Blame::Workload,
        state: FindingState::Open,
        count: 4,
        first_seen: time("09:12:03.5"),
        last_seen: time("09:41:27.318"),
        summary: "Container api of shop/cart-6c8f7b9d5-x2x7p was killed by the kernel because it reached its own memory limit of \
                  256 MiB; java alone held 241 MiB. The node had 11.2 GiB available: more memory on the node would not have helped."
            .into(),
        subjects: vec![cart()],
        evidence: vec![
            evidence(
                EvidenceSource::KernelLog,
                "09:41:27.318",
                "Memory cgroup out of memory: Killed process 48213 (java) total-vm:2893412kB, anon-rss:243104kB, file-rss:3712kB, \
                 shmem-rss:0kB, UID:1000 pgtables:812kB oom_score_adj:968",
                "the kernel names the container's cgroup",
            ),
            evidence(EvidenceSource::Cgroup, "09:41:27.402", "memory.events oom_kill rose from 3 to 4", "the container's own counter"),
            evidence(
                EvidenceSource::PodStatus,
                "09:41:28",
                "exit code 137, reason OOMKilled, restart count 4",
                "container id and attempt agree",
            ),
            Evidence {
                supports: false,
                ..evidence(EvidenceSource::Node, "09:41:25", "memory.pressure of the node was 0.3 %", "read 2 s before the kill")
            },
        ],
        not_found: vec!["an OOM kill of the whole node in the minute before".into()],
        blind: vec!["the kubelet's log: no permission to read /var/log/journal".into()],
        actions: vec![
            "Raise the memory limit of container api above 256 MiB, or lower the heap: its working set grew by 38 MiB a minute.".into(),
            "kubectl -n shop top pod cart-6c8f7b9d5-x2x7p --containers".into(),
        ],
        related: vec![FindingId("71c7202e7e905ed2".into())],
        attribution: Attribution::Kernel,
        memory: Some(Memory {
            limit_bytes: Some(Bytes(256 * MIB)),
            usage_bytes: Some(Bytes(256 * MIB)),
            anon_bytes: Some(Bytes(238 * MIB)),
            file_bytes: Some(Bytes(9 * MIB)),
            shmem_bytes: Some(Bytes(MIB)),
            kernel_bytes: Some(Bytes(8 * MIB)),
            victim_rss_bytes: Some(Bytes(241 * MIB)),
            growth: Some("grew 644 KiB/s for 310 s, from 61 MiB".into()),
            restart_helps: Some(true),
        }),
        crash_loop: Some(CrashLoop {
            deaths: 4,
            attempt: Some(4),
            interval_seconds: Some(588),
            back_off_seconds: Some(80),
            same_cause: true,
            lives: vec![
                Life { attempt: Some(2), exit_code: Some(137), uptime_seconds: Some(311), memory_at_death_bytes: Some(Bytes(255 * MIB)) },
                Life { attempt: Some(3), exit_code: Some(137), uptime_seconds: Some(304), memory_at_death_bytes: None },
            ],
        }),
        log_excerpt: vec![],
    }
}

/// A finding about the node itself, by a program that calls itself something nasty.
pub(super) fn hostile() -> Finding {
    let nasty = "<script>alert(1)</script>\u{1b}[31m\"'&\u{202e}";
    Finding {
        id: FindingId("71c7202e7e905ed2".into()),
        cause: Cause::OomNode,
        confidence: Confidence::Likely,
        scope: Scope::Node,
        blame: Blame::Insufficient,
        count: 1,
        first_seen: time("09:02:11"),
        last_seen: time("09:02:11"),
        summary: format!("The node ran out of memory and the kernel killed {nasty}."),
        subjects: vec![],
        evidence: vec![evidence(EvidenceSource::KernelLog, "09:02:11", &format!("Out of memory: Killed process 9 ({nasty})"), nasty)],
        not_found: vec![nasty.into()],
        blind: vec![nasty.into()],
        actions: vec![nasty.into()],
        related: vec![],
        memory: None,
        crash_loop: None,
        log_excerpt: vec![],
        ..oom_kill()
    }
}

/// A finding that has passed.
pub(super) fn resolved() -> Finding {
    Finding {
        id: FindingId("0b5d8e7720aa91fc".into()),
        cause: Cause::AppError,
        confidence: Confidence::Likely,
        state: FindingState::Resolved,
        count: 2,
        first_seen: time("06:30:00"),
        last_seen: time("06:31:40"),
        summary: "Container worker of shop/mail-0 ended itself with status 3.".into(),
        subjects: vec![Subject { pod: Some("mail-0".into()), container: Some("worker".into()), workload: Some("mail".into()), ..cart() }],
        evidence: vec![evidence(EvidenceSource::PodStatus, "06:31:40", "exit code 3, reason Error", "the pod's own status")],
        not_found: vec![],
        blind: vec![],
        actions: vec!["kubectl -n shop logs mail-0 -c worker --previous".into()],
        related: vec![],
        memory: None,
        crash_loop: None,
        log_excerpt: vec![],
        ..oom_kill()
    }
}

fn source(source: SourceName, state: SourceState, detail: &str, records: u64) -> SourceHealth {
    let last_record = (records > 0).then(|| time("09:41:30"));
    let last_loss = None;
    SourceHealth { source, state, detail: detail.into(), records, lost: 0, last_loss, last_record }
}

fn key(workload: &str, container: &str) -> ContainerKey {
    ContainerKey { namespace: "shop".into(), workload_kind: "Deployment".into(), workload: workload.into(), container: container.into() }
}

/// The living container `container` of a pod, with every figure there is.
pub(super) fn container(pod: &str, container: &str) -> ContainerFigures {
    ContainerFigures {
        namespace: "shop".into(),
        pod: pod.into(),
        container: container.into(),
        limit: Some(Limit::Bytes(Bytes(256 * MIB))),
        usage: Some(Bytes(100 * MIB)),
        peak: Some(Bytes(120 * MIB)),
        split: Some(MemorySplit {
            anon: Some(Bytes(80 * MIB)),
            file: Some(Bytes(15 * MIB)),
            shmem: Some(Bytes(5 * MIB)),
            kernel: Some(Bytes(5 * MIB)),
            ..MemorySplit::default()
        }),
        swap: Some(Bytes(0)),
        rss: Some(Bytes(91 * MIB)),
        memory_pressure: Some(Pressure { some_avg10: 0.5, some_total_us: 1_250_000, full_total_us: Some(10) }),
        cpu: Some(CpuThrottling { periods: 100, throttled_periods: 20, throttled_us: 500_000 }),
        pids: Some(PidsUse { current: 31, max: None, refused: Some(0) }),
    }
}

/// A disk that fills up.
fn room() -> RoomFigures {
    let filesystem = |role| FilesystemFigures {
        role,
        size: Bytes(40 << 30),
        available: Bytes(5 << 30),
        inodes: Some(2_621_440),
        inodes_free: Some(2_000_000),
    };
    let signal = |signal, available, threshold, reached_in_seconds| SignalFigures { signal, available, threshold, reached_in_seconds };
    RoomFigures {
        filesystems: [FilesystemRole::Nodefs, FilesystemRole::Imagefs].map(filesystem).into(),
        signals: vec![
            signal(EvictionSignal::Memory, 9 << 30, Some(100 << 20), None),
            signal(EvictionSignal::Space(FilesystemRole::Nodefs), 5 << 30, Some(4 << 30), Some(1260)),
            signal(EvictionSignal::Inodes(FilesystemRole::Nodefs), 2_000_000, Some(131_072), None),
            signal(EvictionSignal::Pids, 62_000, None, None),
        ],
        pods: vec![PodStorageFigures { namespace: "shop".into(), pod: "mail-0".into(), bytes: Bytes(17 << 30) }],
    }
}

/// A node with three findings and a source that may not be read.
pub(super) fn snapshot() -> Snapshot {
    let at = Moment { boot: BootTime(93_000_000_000), wall: time("09:41:31") };
    Snapshot {
        facts: Some(NodeFacts {
            node: "worker-3".into(),
            boot_id: BootId("6f1c2a4e-0a4b-4c57-9f0d-7d1a3f0e5b21".into()),
            kernel: "6.1.0-28-amd64".into(),
            cgroups: CgroupVersion::V2,
            page_size: 4096,
            ticks_per_second: 100,
            memory_total: Some(Bytes(16 << 30)),
            agent: "0.1.0".into(),
        }),
        at: Some(at),
        findings: vec![oom_kill(), hostile(), resolved()],
        sources: vec![
            source(SourceName::KernelLog, SourceState::Up, "/dev/kmsg", 1204),
            source(SourceName::Cgroups, SourceState::Up, "cgroup v2 at /sys/fs/cgroup, 6 containers", 5311),
            source(SourceName::Processes, SourceState::Up, "/proc", 5311),
            source(SourceName::NodeMemory, SourceState::Up, "/proc/meminfo, /proc/vmstat, /proc/pressure", 880),
            source(SourceName::Pods, SourceState::Unreadable, "the API server answers 403: grant list and watch of pods", 0),
            source(
                SourceName::Disks,
                SourceState::Up,
                "nodefs at /var/lib/kubelet; eviction thresholds read from /var/lib/kubelet/config.yaml",
                9300,
            ),
            source(SourceName::PodLogs, SourceState::Absent, "/var/log/pods does not exist", 0),
        ],
        counters: Counters {
            oom_kills: vec![(Cause::OomContainerLimit, Scope::Container, 4), (Cause::OomNode, Scope::Node, 1)],
            workload_oom_kills: BTreeMap::from([(key("cart", "api"), BTreeMap::from([(Cause::OomContainerLimit, 4)]))]),
            host_oom_kills: BTreeMap::from([("kubelet.service".into(), 0), ("other".into(), 1)]),
            terminations: BTreeMap::from([
                (key("cart", "api"), BTreeMap::from([(Cause::OomContainerLimit, 4)])),
                (key("mail", "worker"), BTreeMap::from([(Cause::AppError, 2)])),
            ]),
            findings_opened: BTreeMap::from([(Cause::OomContainerLimit, 1), (Cause::OomNode, 1), (Cause::AppError, 1)]),
            storage_errors: BTreeMap::from([("sdb".into(), 3)]),
            unattributed: BTreeMap::from([("process_gone".into(), 0)]),
            evictions: BTreeMap::from([(Cause::EvictedDisk, 2)]),
            kills_both_saw: 4,
            kills_only_log: 1,
            ..Counters::default()
        },
        pressure: vec![
            (Resource::Cpu, Pressure { some_avg10: 3.0, some_total_us: 81_500_000, full_total_us: Some(0) }),
            (Resource::Memory, Pressure { some_avg10: 0.0, some_total_us: 2_250_000, full_total_us: None }),
        ],
        containers: vec![container("cart-6c8f7b9d5-x2x7p", "api"), container("mail-0", "worker")],
        workloads: vec![WorkloadFigures {
            namespace: "shop".into(),
            kind: "Deployment".into(),
            name: "cart".into(),
            pods: 2,
            crashed_pods: 1,
            crash_looping: 1,
        }],
        room: room(),
        unexplained_oom_kills: Some(0),
        kubelet_version: Some("v1.36.3".into()),
        kubelet_verbosity: Some(2),
        recent_kills: vec![crate::core::RecentKill {
            namespace: "shop".into(),
            pod: "web-7d4b9".into(),
            container: "app".into(),
            at: at.wall,
        }],
        fill: vec![Fill { store: "findings", used: 3, capacity: 512 }],
    }
}
