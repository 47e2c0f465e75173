//! Prometheus's own linter reads what `/metrics` says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test ends where it is surprised"
)]

use nodewhy::{
    core::{
        ContainerFigures, ContainerKey, Counters, FilesystemFigures, Fill, PodStorageFigures, RecentKill, RoomFigures, SignalFigures,
        Snapshot, SourceHealth, WorkloadFigures,
    },
    diagnosis::death::Correlation,
    exporters::{agent_figures::AgentFigures, metrics},
    model::{BootId, BootTime, Bytes, Cause, EvictionSignal, FilesystemRole, Limit, Moment, Resource, Scope},
    parse::kernel_problem::ProblemClass,
    signal::{CgroupVersion, CpuThrottling, MemorySplit, NodeFacts, PidsUse, Pressure, SourceName, SourceState},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    io::Write,
    process::{Command, Stdio},
};

const TEXTS_THAT_BREAK_THINGS: &str = "back\\slash \"quote\" new\nline {brace} 本 \u{1b} \r";

/// A snapshot in which every metric has a series, some with label values that need escaping.
fn snapshot() -> Result<Snapshot, Box<dyn Error>> {
    let wall = "2026-05-01T10:00:00Z".parse()?;
    let key = ContainerKey {
        namespace: "billing".into(),
        workload_kind: "StatefulSet".into(),
        workload: TEXTS_THAT_BREAK_THINGS.into(),
        container: "db".into(),
    };
    let amount = Some(Bytes(1 << 30));
    Ok(Snapshot {
        facts: Some(NodeFacts {
            node: "n1".into(),
            boot_id: BootId("b".into()),
            kernel: "6.12.0".into(),
            cgroups: CgroupVersion::V1,
            page_size: 4096,
            ticks_per_second: 100,
            memory_total: amount,
            agent: "0.1.0".into(),
        }),
        at: Some(Moment { boot: BootTime(1), wall }),
        sources: SourceName::ALL
            .iter()
            .map(|source| SourceHealth {
                source: *source,
                state: SourceState::Up,
                detail: String::new(),
                records: 10,
                lost: 1,
                last_loss: None,
                last_record: Some(wall),
            })
            .collect(),
        counters: Counters {
            oom_kills: vec![(Cause::OomNode, Scope::Node, 2)],
            workload_oom_kills: BTreeMap::from([(key.clone(), BTreeMap::from([(Cause::OomNode, 2)]))]),
            terminations: BTreeMap::from([(key, BTreeMap::from([(Cause::OomNode, 2)]))]),
            host_oom_kills: BTreeMap::from([("sshd.service".into(), 1)]),
            unattributed: BTreeMap::from([("process_gone".into(), 1)]),
            correlations: Correlation::ALL.iter().map(|result| (*result, 1)).collect(),
            kernel_problems: ProblemClass::ALL.iter().map(|class| (*class, 1)).collect(),
            storage_errors: BTreeMap::from([("sda".into(), 1)]),
            ..Counters::default()
        },
        pressure: vec![(Resource::Io, Pressure { some_avg10: 0.0, some_total_us: 5, full_total_us: Some(1) })],
        containers: vec![ContainerFigures {
            namespace: "billing".into(),
            pod: TEXTS_THAT_BREAK_THINGS.into(),
            container: "db".into(),
            limit: Some(Limit::Bytes(Bytes(2 << 30))),
            usage: amount,
            peak: amount,
            split: Some(MemorySplit { anon: amount, file: amount, shmem: amount, kernel: amount, ..MemorySplit::default() }),
            swap: amount,
            rss: amount,
            memory_pressure: Some(Pressure { some_avg10: 0.0, some_total_us: 5, full_total_us: None }),
            cpu: Some(CpuThrottling { periods: 3, throttled_periods: 2, throttled_us: 1 }),
            pids: Some(PidsUse { current: 5, max: None, refused: None }),
        }],
        workloads: vec![WorkloadFigures {
            namespace: "billing".into(),
            kind: "StatefulSet".into(),
            name: "db".into(),
            pods: 1,
            crashed_pods: 1,
            crash_looping: 1,
        }],
        room: RoomFigures {
            filesystems: vec![FilesystemFigures {
                role: FilesystemRole::Nodefs,
                size: Bytes(2 << 30),
                available: Bytes(1 << 30),
                inodes: Some(9),
                inodes_free: Some(3),
            }],
            signals: EvictionSignal::ALL
                .iter()
                .map(|signal| SignalFigures { signal: *signal, available: 9, threshold: Some(3), reached_in_seconds: Some(60) })
                .collect(),
            pods: vec![PodStorageFigures { namespace: "billing".into(), pod: TEXTS_THAT_BREAK_THINGS.into(), bytes: Bytes(1) }],
        },
        kubelet_version: Some("v1.36.3".into()),
        kubelet_verbosity: Some(2),
        recent_kills: vec![RecentKill { namespace: "billing".into(), pod: "db-0".into(), container: "db".into(), at: wall }],
        unexplained_oom_kills: Some(0),
        fill: vec![Fill { store: "findings", used: 1, capacity: 2 }],
        ..Snapshot::default()
    })
}

#[test]
fn promtool_finds_nothing_to_complain_about() -> Result<(), Box<dyn Error>> {
    let text = metrics::render(&snapshot()?, &AgentFigures::read(0))?;
    let told: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let all: BTreeSet<_> = metrics::TABLE.iter().map(|row| row.name).collect();
    assert_eq!(told, all, "the linter must see every metric");

    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(error) if std::env::var("CI").as_deref() == Ok("true") => return Err(format!("promtool is needed in CI: {error}").into()),
        Err(error) => {
            eprintln!("not checked, no promtool: {error}");
            return Ok(());
        }
    };
    promtool.stdin.take().ok_or("a pipe")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let complaints = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && complaints.is_empty(), "{}", String::from_utf8_lossy(&complaints));
    Ok(())
}
