//! A scrape of `/metrics`, without the network.

use crate::node::core;
use criterion::Criterion;
use nodewhy::exporters::{agent_figures::AgentFigures, metrics};
use std::hint::black_box;

pub fn benches(criterion: &mut Criterion) {
    let core = core();
    let own = AgentFigures::read(0);
    let text = metrics::render(&core.snapshot(), &own).expect("metrics");
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    eprintln!("scrape: {series} series, {} bytes", text.len());
    let mut group = criterion.benchmark_group("scrape");
    group.bench_function("snapshot of 250 containers", |bencher| bencher.iter(|| black_box(core.snapshot())));
    group.bench_function("snapshot and metrics of 250 containers", |bencher| {
        bencher.iter(|| metrics::render(&core.snapshot(), &own).map(|text| text.len()));
    });
    group.finish();
}
