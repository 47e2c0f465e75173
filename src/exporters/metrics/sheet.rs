//! The values of one scrape, and their way into the text format.
//!
//! Flows in: values for the table's metrics. Flows out: the text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>), metrics sorted by name, each
//! series once, never more than [`MAX_SERIES`]. Knows nothing of what the values mean.
//!
//! A full node has thousands of series and is scraped four times a minute, so a series is written as
//! text at once, into one text for each metric, and never becomes an object of its own.

use super::table::{Metric, Row, SERIES_DROPPED, TABLE};
use crate::exporters::agent_figures::number;
use std::{collections::BTreeMap, fmt::Write, ops::Range};

/// The most series of one scrape: some 430 of the node itself, 12 for each of 250 containers, and
/// two for each of 250 workload containers, with room for what has died.
pub const MAX_SERIES: usize = 4000;

/// Bytes of a scrape of a full node, to reserve its text at once.
const USUAL_BYTES: usize = 512 << 10;

/// The values of one scrape.
#[derive(Debug, Default)]
pub struct Sheet {
    metrics: BTreeMap<&'static str, Statements>,
}

/// Everything stated about one metric, in the order in which it was stated.
#[derive(Debug, Default)]
struct Statements {
    /// The labels of all series as the text format writes them, one after the other.
    labels: String,
    statements: Vec<Statement>,
}

#[derive(Debug)]
struct Statement {
    labels: Range<usize>,
    value: f64,
    adds: bool,
}

impl Sheet {
    /// States a value; the last statement about a series holds.
    pub fn set<const N: usize>(&mut self, metric: &Metric<N>, labels: [&str; N], value: f64) {
        self.state(metric, labels, value, false);
    }

    /// Adds to a value that begins with zero. Adding zero makes the series exist, which a counter
    /// must before it first rises: Prometheus sees no increase in a series born with 1.
    pub fn add<const N: usize>(&mut self, metric: &Metric<N>, labels: [&str; N], value: f64) {
        self.state(metric, labels, value, true);
    }

    fn state<const N: usize>(&mut self, metric: &Metric<N>, labels: [&str; N], value: f64, adds: bool) {
        self.metrics.entry(metric.name).or_default().state(metric.labels, labels, value, adds);
    }

    /// The text of this scrape, the least important series left out and counted if there are too many.
    pub fn into_text(mut self) -> String {
        self.set(&SERIES_DROPPED, [], 0.0);
        self.metrics.values_mut().for_each(Statements::settle);
        let all: usize = self.metrics.values().map(|metric| metric.statements.len()).sum();
        let dropped = all.saturating_sub(MAX_SERIES).try_into().unwrap_or(u64::MAX);
        if let Some(series) = self.metrics.get_mut(SERIES_DROPPED.name).and_then(|metric| metric.statements.first_mut()) {
            series.value = number(dropped);
        }
        let mut room = MAX_SERIES;
        for row in TABLE {
            let Some(metric) = self.metrics.get_mut(row.name) else { continue };
            metric.statements.truncate(room);
            room = room.saturating_sub(metric.statements.len());
        }
        self.write()
    }

    fn write(&self) -> String {
        let mut rows: Vec<_> = TABLE.iter().filter_map(|row| Some((row, self.metrics.get(row.name)?))).collect();
        rows.retain(|(_, metric)| !metric.statements.is_empty());
        rows.sort_unstable_by_key(|(row, _)| row.name);
        let mut text = String::with_capacity(USUAL_BYTES);
        rows.iter().for_each(|(row, metric)| metric.write(row, &mut text));
        text
    }
}

impl Statements {
    fn state<const N: usize>(&mut self, names: [&'static str; N], values: [&str; N], value: f64, adds: bool) {
        let start = self.labels.len();
        let mut before = '{';
        for (name, value) in names.into_iter().zip(values) {
            self.labels.push(before);
            self.labels.push_str(name);
            self.labels.push_str("=\"");
            push_escaped(&mut self.labels, value);
            self.labels.push('"');
            before = ',';
        }
        if N > 0 {
            self.labels.push('}');
        }
        self.statements.push(Statement { labels: start..self.labels.len(), value, adds });
    }

    /// Sorts the series, and makes one statement of all about the same.
    fn settle(&mut self) {
        let Self { labels, statements } = self;
        let text = |statement: &Statement| labels.get(statement.labels.clone()).unwrap_or_default();
        // Stable: statements about one series stay in their order.
        statements.sort_by(|a, b| text(a).cmp(text(b)));
        statements.dedup_by(|later, earlier| {
            let is_same = text(later) == text(earlier);
            if is_same {
                earlier.value = if later.adds { earlier.value + later.value } else { later.value };
            }
            is_same
        });
    }

    fn write(&self, row: &Row, text: &mut String) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {}", row.name, row.meaning, row.name, row.kind.as_str());
        for Statement { labels, value, .. } in &self.statements {
            text.push_str(row.name);
            text.push_str(self.labels.get(labels.clone()).unwrap_or_default());
            text.push(' ');
            push_value(text, *value);
            text.push('\n');
        }
    }
}

/// A label's value, with what would end it or its line escaped.
fn push_escaped(text: &mut String, value: &str) {
    if !value.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        return text.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            plain => text.push(plain),
        }
    }
}

/// Nearly every value is whole, and whole numbers are written ten times faster than fractions.
fn push_value(text: &mut String, value: f64) {
    /// Up to 2^53 every whole number is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    // Writing to a string does not fail.
    let _ = if value.fract() == 0.0 && (0.0..=EXACT).contains(&value) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, not negative and exact")]
        let whole = value as u64;
        write!(text, "{whole}")
    } else {
        write!(text, "{value}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporters::metrics::table::{BUILD_INFO, CONTAINER_PIDS, CONTAINER_SWAP, OOM_FOREIGN};

    fn series_of(text: &str, name: &str) -> usize {
        text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))).count()
    }

    #[test]
    fn what_is_over_the_cap_is_the_least_important_and_is_counted() {
        let mut sheet = Sheet::default();
        for n in 0..3000 {
            let container = format!("c{n}");
            sheet.set(&CONTAINER_PIDS, ["a", "b", &container], 1.0);
            sheet.set(&CONTAINER_SWAP, ["a", "b", &container], 1.0);
        }
        sheet.set(&BUILD_INFO, ["1"], 1.0);
        let text = sheet.into_text();
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), MAX_SERIES);
        assert_eq!(series_of(&text, CONTAINER_PIDS.name), 3000);
        assert_eq!(series_of(&text, BUILD_INFO.name), 1);
        assert!(text.contains(&format!("{} 2002\n", SERIES_DROPPED.name)));
    }

    #[test]
    fn a_series_stands_once() {
        let mut sheet = Sheet::default();
        sheet.set(&CONTAINER_PIDS, ["a", "b", "d"], 7.0);
        sheet.set(&CONTAINER_PIDS, ["a", "b", "c"], 1.0);
        sheet.set(&CONTAINER_PIDS, ["a", "b", "c"], 2.5);
        sheet.add(&OOM_FOREIGN, [], 0.0);
        sheet.add(&OOM_FOREIGN, [], 3.0);
        let text = sheet.into_text();
        let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "nodewhy_container_pids{namespace=\"a\",pod=\"b\",container=\"c\"} 2.5",
            "nodewhy_container_pids{namespace=\"a\",pod=\"b\",container=\"d\"} 7",
            "nodewhy_oom_kills_foreign_total 3",
            "nodewhy_series_dropped 0",
        ];
        assert_eq!(series, expected);
    }

    #[test]
    fn values_are_written_as_go_reads_them() {
        let written = |value| {
            let mut text = String::new();
            push_value(&mut text, value);
            text
        };
        assert_eq!(
            [0.0, 1.0, 0.25, 1.7e18, 9_007_199_254_740_992.0].map(written),
            ["0", "1", "0.25", "1700000000000000000", "9007199254740992"]
        );
        assert_eq!(written(1_773_481_287.318), "1773481287.318");
    }
}
