//! The agent's own log: what it says of itself, on standard error.

use crate::signal::{Body, Signal, SourceState};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging. `NODEWHY_LOG` chooses the level, such as `debug` or `nodewhy=debug`.
pub fn start(json: bool) {
    let filter = EnvFilter::try_from_env("NODEWHY_LOG").unwrap_or_else(|_| EnvFilter::new("warn,nodewhy=info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

/// Tells that a source's condition changed.
pub fn source_changed(signal: &Signal) {
    let Body::Source(report) = &signal.body else { return };
    match report.state {
        SourceState::Up => tracing::info!(source = %report.source, "{}", report.detail),
        state => tracing::warn!(source = %report.source, state = state.as_str(), "{}", report.detail),
    }
}
