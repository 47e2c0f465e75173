//! The health of the sources, as they report it and as their records show it.

use super::{Loss, SourceHealth};
use crate::{
    model::{BootTime, Moment},
    signal::{SourceName, SourceReport, SourceState},
};
use std::collections::BTreeMap;

/// Losses of a source are told in words once in so long, or a flood would fill the agent's own log.
const TOLD_APART_SECONDS: u64 = 60;

/// The health of every source that has ever reported or sent something.
#[derive(Debug, Default)]
pub struct Health {
    sources: BTreeMap<SourceName, SourceHealth>,
    /// When a loss of a source was last told.
    told_losses: BTreeMap<SourceName, BootTime>,
}

impl Health {
    /// Takes in a source's own report; whether it says something new.
    pub fn reported(&mut self, report: &SourceReport) -> bool {
        let health = self.entry(report.source);
        let new = health.state != report.state || health.detail != report.detail;
        health.state = report.state;
        health.detail.clone_from(&report.detail);
        new
    }

    /// Notes a record or sample.
    pub fn record(&mut self, source: SourceName, at: Moment) {
        let health = self.entry(source);
        health.records += 1;
        health.last_record = Some(at.wall);
    }

    /// Notes lost records, and gives them back where they should be told.
    pub fn lost(&mut self, source: SourceName, records: u64, why: String, at: Moment) -> Option<Loss> {
        let loss = Loss { at: at.wall, records, why };
        let health = self.entry(source);
        health.lost = health.lost.saturating_add(records);
        health.last_loss = Some(loss.clone());
        let told = self.told_losses.get(&source);
        if told.is_some_and(|told| at.boot.seconds_since(*told) < TOLD_APART_SECONDS) {
            return None;
        }
        self.told_losses.insert(source, at.boot);
        Some(loss)
    }

    /// Whether a source can be read now.
    pub fn is_up(&self, source: SourceName) -> bool {
        self.state(source) == Some(SourceState::Up)
    }

    /// The state of a source; `None` before its first word.
    pub fn state(&self, source: SourceName) -> Option<SourceState> {
        self.sources.get(&source).map(|health| health.state)
    }

    /// Whether a source has said nothing for longer than is normal.
    pub fn is_stale(&self, source: SourceName) -> bool {
        self.sources.get(&source).is_some_and(|health| health.state == SourceState::Stale)
    }

    /// The sources that could not be read, in words.
    pub fn blind(&self) -> Vec<String> {
        let down = self.sources.values().filter(|health| health.state != SourceState::Up);
        down.map(|health| format!("{}: {} ({})", health.source, health.state.as_str(), health.detail)).collect()
    }

    /// The health of every source.
    pub fn list(&self) -> Vec<SourceHealth> {
        self.sources.values().cloned().collect()
    }

    fn entry(&mut self, source: SourceName) -> &mut SourceHealth {
        self.sources.entry(source).or_insert_with(|| SourceHealth {
            source,
            state: SourceState::Up,
            detail: String::new(),
            records: 0,
            lost: 0,
            last_loss: None,
            last_record: None,
        })
    }
}
