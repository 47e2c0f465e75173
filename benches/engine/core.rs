//! The core that knows a full node: a flood, a sample, a kill.

use crate::node::{CONTAINERS, Container, QUIET, at, core, dump, kernel, sample};
use criterion::{BatchSize, Criterion, Throughput};
use nodewhy::{
    core::Effect,
    signal::{Body, Signal},
};

/// Microseconds between two records.
const APART: u64 = 150;

pub fn benches(criterion: &mut Criterion) {
    flood(criterion);
    samples(criterion);
    kills(criterion);
}

/// Signals that a source has read, not counting the reading.
fn flood(criterion: &mut Criterion) {
    const LINES: u64 = 1000;
    let mut core = core();
    let mut seq = 0;
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(LINES));
    group.bench_function("kernel lines that match nothing", |bencher| {
        bencher.iter_batched(
            || {
                let first = seq;
                seq += LINES;
                (first..seq).zip(QUIET.iter().cycle()).map(|(seq, text)| kernel(seq, 2000 + seq * APART, text)).collect::<Vec<_>>()
            },
            |signals| signals.into_iter().map(|signal| core.apply(signal).len()).sum::<usize>(),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn samples(criterion: &mut Criterion) {
    let mut core = core();
    let mut step = 0;
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(u64::from(CONTAINERS)));
    group.bench_function("samples of every container", |bencher| {
        bencher.iter_batched(
            || {
                step += 1;
                let body = |container| Body::Cgroup(Box::new(sample(Container(container), step)));
                (0..CONTAINERS).map(|container| Signal { at: at(2000 + step * 1_000_000), body: body(container) }).collect::<Vec<_>>()
            },
            |signals| signals.into_iter().map(|signal| core.apply(signal).len()).sum::<usize>(),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// From a dump's first line to the finding, containers in turn, as in a storm.
fn kills(criterion: &mut Criterion) {
    let mut core = core();
    let (mut seq, mut kill) = (0, 0);
    let mut told = 0;
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a kill, from its dump to its finding", |bencher| {
        bencher.iter_batched(
            || {
                kill += 1;
                let lines = dump(Container(kill % CONTAINERS), 20_000 + kill);
                let first = seq;
                seq += lines.len() as u64;
                (first..).zip(lines).map(|(seq, text)| kernel(seq, 2000 + u64::from(kill) * 13_000 + seq, &text)).collect::<Vec<_>>()
            },
            |signals| {
                let effects = signals.into_iter().flat_map(|signal| core.apply(signal));
                told += effects.filter(|effect| matches!(effect, Effect::Finding { .. })).count();
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
    assert!(kill == 0 || told > 0, "kills must be told");
}
