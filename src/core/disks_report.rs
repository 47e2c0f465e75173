//! What the source of the disks reports of itself, completed by what only the core can tell: whether the eviction
//! thresholds that it read mean anything.

use super::Core;
use crate::signal::{SourceName, SourceReport};

impl Core {
    /// Takes in a source's own report.
    pub(super) fn source_reported(&mut self, report: SourceReport) {
        if report.source == SourceName::Disks {
            self.disks_report = Some(report);
            self.complete_disks_report();
        } else {
            self.health.reported(&report);
        }
    }

    /// Says again what the disks' source has reported, with the thresholds that cannot be understood.
    pub(super) fn complete_disks_report(&mut self) {
        let Some(mut report) = self.disks_report.clone() else { return };
        // What could not be read at all, the source says itself.
        if let Some(why) = self.room.thresholds_unreadable().filter(|why| !report.detail.contains(why)) {
            report.detail = format!("{}; the thresholds are not known: {why}", report.detail);
        }
        self.health.reported(&report);
    }
}
