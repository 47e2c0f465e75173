//! What the engine costs: a line, a kill, a sample, a scrape. `make bench`; figures and budgets in
//! `docs/performance.md`.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::expect_used, reason = "a benchmark with a broken premise has to stop")]

mod core;
mod node;
mod parse;
mod scrape;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, parse::benches, core::benches, scrape::benches);
criterion_main!(benches);
