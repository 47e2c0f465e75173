//! The agent's own log: what it says of itself, on standard error.

use crate::{
    core::Loss,
    signal::{Body, Signal, SourceName, SourceState},
};
use std::{env, io, io::IsTerminal};
use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What chooses the level of each part, such as `debug` or `warn,nodewhy=debug`.
const LEVELS: &str = "NODEWHY_LOG";

/// Starts logging. Levels are chosen by targets alone: filters of spans and fields would bring an engine of regular
/// expressions for something that nothing here has.
pub fn start(json: bool) {
    let chosen = env::var(LEVELS).ok().map(|text| text.parse::<Targets>().map_err(|error| format!("{LEVELS}={text}: {error}")));
    let usual = || Targets::new().with_default(Level::WARN).with_target("nodewhy", Level::INFO);
    let (levels, refused) = match chosen {
        Some(Ok(levels)) => (levels, None),
        Some(Err(refused)) => (usual(), Some(refused)),
        None => (usual(), None),
    };
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = if json { lines.json().boxed() } else { lines.with_ansi(io::stderr().is_terminal()).boxed() };
    tracing_subscriber::registry().with(lines.with_filter(levels)).init();
    if let Some(refused) = refused {
        tracing::warn!("{refused}; the usual levels hold. Write `debug`, or `warn,nodewhy=debug`");
    }
}

/// Tells that a source lost records.
pub fn lost(source: SourceName, loss: &Loss) {
    tracing::warn!(source = %source, records = loss.records, "records were lost: {}", loss.why);
}

/// Tells that a source's condition changed.
pub fn source_changed(signal: &Signal) {
    let Body::Source(report) = &signal.body else { return };
    match report.state {
        SourceState::Up => tracing::info!(source = %report.source, "{}", report.detail),
        state => tracing::warn!(source = %report.source, state = state.as_str(), "{}", report.detail),
    }
}
