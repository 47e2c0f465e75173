//! Prometheus metrics, made anew from a snapshot for every scrape.
//!
//! Flows in: a [`Snapshot`] and the agent's own figures. Flows out: the text format 0.0.4. There is
//! no registry and no metric object that lives on: what is gone from the snapshot is gone from the
//! scrape, so a series cannot go stale.

mod collect;
mod reference;
mod sheet;
mod table;

pub use reference::reference;
pub use sheet::MAX_SERIES;
pub use table::{Kind, Row, TABLE};

use super::agent_figures::AgentFigures;
use crate::core::Snapshot;
use prometheus::TextEncoder;
use std::slice;

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The exposition of one scrape, at most [`MAX_SERIES`] series.
///
/// # Errors
/// When the encoder refuses a family, which a test over every metric rules out.
pub fn render(snapshot: &Snapshot, own: &AgentFigures) -> prometheus::Result<String> {
    let (encoder, mut text) = (TextEncoder::new(), String::new());
    let mut families = collect::collect(snapshot, own).into_families();
    while let Some(family) = families.make_next() {
        encoder.encode_utf8(slice::from_ref(family), &mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
