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

/// From a dump's first line to what is told of it, containers in turn, as in a storm. The killed
/// processes are children, the dearer case: each is looked after for a second before it is told.
fn kills(criterion: &mut Criterion) {
    let mut storm = Storm::default();
    let mut core = core();
    let told = |effects: Vec<Effect>| effects.iter().filter(|effect| matches!(effect, Effect::Finding { .. })).count();
    let before: usize = (0..CONTAINERS).map(|_| storm.kill().into_iter().map(|signal| told(core.apply(signal))).sum::<usize>()).sum();
    assert!(before > 0, "kills must be told");
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a kill, from its dump to its finding", |bencher| {
        bencher.iter_batched(
            || storm.kill(),
            |signals| signals.into_iter().map(|signal| told(core.apply(signal))).sum::<usize>(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// 4,500 kills a minute.
#[derive(Default)]
struct Storm {
    seq: u64,
    kills: u32,
}

impl Storm {
    const APART: u64 = 13_333;

    fn kill(&mut self) -> Vec<Signal> {
        self.kills += 1;
        let lines = dump(Container(self.kills % CONTAINERS), 20_000 + self.kills);
        let (first, begin) = (self.seq, 2000 + u64::from(self.kills) * Self::APART);
        self.seq += lines.len() as u64;
        (first..).zip(begin..).zip(lines).map(|((seq, micros), text)| kernel(seq, micros, &text)).collect()
    }
}
