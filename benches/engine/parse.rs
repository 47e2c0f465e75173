//! The readers by themselves.

use crate::node::{Container, QUIET, dump, record};
use criterion::{Criterion, Throughput};
use nodewhy::{
    model::CgroupPlace,
    parse::{
        kernel_problem::KernelProblemReader,
        kmsg,
        kubelet::KubeletReader,
        oom::{OomAssembler, OomNews, Position},
    },
};
use std::hint::black_box;

/// Every reader that looks at a kernel line.
#[derive(Default)]
struct Readers {
    oom: OomAssembler,
    problems: KernelProblemReader,
}

impl Readers {
    fn read(&mut self, record: &str) -> usize {
        let Ok(record) = kmsg::decode(record.as_bytes()) else { return 0 };
        let at = Position { record: record.seq.unwrap_or_default(), boot: record.at };
        self.oom.push(at, &record.text).len() + self.problems.push(at, &record.text).len()
    }
}

pub fn benches(criterion: &mut Criterion) {
    quiet_lines(criterion);
    oom_dump(criterion);
    kubelet_lines(criterion);
    cgroup_paths(criterion);
}

fn quiet_lines(criterion: &mut Criterion) {
    let records: Vec<_> = (0..).zip(QUIET).map(|(seq, text)| record(seq, seq * 1000, text)).collect();
    let mut readers = Readers::default();
    let found: usize = records.iter().map(|record| readers.read(record)).sum();
    assert_eq!(found, 0, "the lines must mean nothing");
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("kernel lines that match nothing", |bencher| {
        bencher.iter(|| records.iter().map(|record| readers.read(black_box(record))).sum::<usize>());
    });
    group.finish();
}

fn oom_dump(criterion: &mut Criterion) {
    let records: Vec<_> = (0..).zip(dump(Container(7), 4242)).map(|(seq, text)| record(seq, 1000 + seq, &text)).collect();
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    group.bench_function("an OOM dump of 34 lines", |bencher| {
        bencher.iter(|| {
            let mut readers = Readers::default();
            records.iter().map(|record| readers.read(black_box(record))).sum::<usize>()
        });
    });
    group.finish();
    let mut assembler = OomAssembler::default();
    let lines = (0..).zip(dump(Container(7), 4242));
    let told: Vec<_> = lines.flat_map(|(record, text)| assembler.push(Position { record, boot: None }, &text)).collect();
    assert!(matches!(told.as_slice(), [OomNews::Event(_)]), "the dump must be one kill: {told:?}");
}

fn kubelet_lines(criterion: &mut Criterion) {
    const LINES: [(&str, &str); 2] = [
        (
            "a kubelet line that matches nothing",
            "I0301 08:00:01.000102    1717 reconciler_common.go:251] \"operationExecutor.VerifyControllerAttachedVolume started for volume \\\"config\\\" (UniqueName: \\\"kubernetes.io/configmap/00000007-1f2e-4d3c-8b5a-69788796a5b4-config\\\") pod \\\"service-7-7c9d8f6b5-00007\\\" (UID: \\\"00000007-1f2e-4d3c-8b5a-69788796a5b4\\\") \" pod=\"team-7/service-7-7c9d8f6b5-00007\"",
        ),
        (
            "a kubelet line of a failed probe",
            "I0301 08:00:01.000102    1717 prober.go:107] \"Probe failed\" probeType=\"Liveness\" pod=\"team-7/service-7-7c9d8f6b5-00007\" podUID=\"00000007-1f2e-4d3c-8b5a-69788796a5b4\" containerName=\"c0\" probeResult=\"failure\" output=\"HTTP probe failed with statuscode: 503\"",
        ),
    ];
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    for (name, line) in LINES {
        let mut reader = KubeletReader::default();
        group.bench_function(name, |bencher| bencher.iter(|| reader.push(Some("kubelet"), black_box(line)).len()));
    }
    group.finish();
}

fn cgroup_paths(criterion: &mut Criterion) {
    let uid = Container(7).uid();
    let paths = [
        Container(7).path(),
        format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{}.scope",
            uid.replace('-', "_"),
            Container(7).id()
        ),
    ];
    assert!(paths.iter().all(|path| CgroupPlace::of(path).container().is_some()));
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    for (name, path) in ["a cgroup path (cgroupfs driver)", "a cgroup path (systemd driver)"].into_iter().zip(&paths) {
        group.bench_function(name, |bencher| bencher.iter(|| CgroupPlace::of(black_box(path))));
    }
    group.finish();
}
