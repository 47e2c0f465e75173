//! The values of one scrape, and their way into the text format.
//!
//! Flows in: values for the table's metrics. Flows out: metric families, sorted, each series once,
//! never more than [`MAX_SERIES`]. Knows nothing of what the values mean.

use super::table::{Kind, Metric, Row, SERIES_DROPPED, TABLE};
use crate::exporters::agent_figures::number;
use prometheus::proto::{Counter, Gauge, LabelPair, MetricFamily, MetricType};
use std::collections::BTreeMap;

/// The most series of one scrape: some 430 of the node itself, 12 for each of 250 containers, and
/// two for each of 250 workload containers, with room for what has died.
pub const MAX_SERIES: usize = 4000;

/// The series of one metric by their label values, which the snapshot owns.
type Series<'a> = BTreeMap<Vec<&'a str>, f64>;

/// The values of one scrape.
#[derive(Debug, Default)]
pub struct Sheet<'a> {
    metrics: BTreeMap<&'static str, Series<'a>>,
}

impl<'a> Sheet<'a> {
    /// States a value; the last statement about a series holds.
    pub fn set<const N: usize>(&mut self, metric: &Metric<N>, labels: [&'a str; N], value: f64) {
        *self.series(metric, labels) = value;
    }

    /// Adds to a value that begins with zero. Adding zero makes the series exist, which a counter
    /// must before it first rises: Prometheus sees no increase in a series born with 1.
    pub fn add<const N: usize>(&mut self, metric: &Metric<N>, labels: [&'a str; N], value: f64) {
        *self.series(metric, labels) += value;
    }

    fn series<const N: usize>(&mut self, metric: &Metric<N>, labels: [&'a str; N]) -> &mut f64 {
        let series = self.metrics.entry(metric.name).or_default();
        series.entry(labels.to_vec()).or_default()
    }

    /// The families of this scrape in the order of their names, the least important series left out
    /// and counted if there are too many. Each is made when it is asked for: all together they are megabytes of small pieces.
    pub fn into_families(mut self) -> impl Iterator<Item = MetricFamily> {
        self.set(&SERIES_DROPPED, [], 0.0);
        let all: usize = self.metrics.values().map(BTreeMap::len).sum();
        self.set(&SERIES_DROPPED, [], number(all.saturating_sub(MAX_SERIES).try_into().unwrap_or(u64::MAX)));
        let mut room = MAX_SERIES;
        let mut kept = BTreeMap::new();
        for row in TABLE {
            let series = self.metrics.remove(row.name).unwrap_or_default();
            let fitting = series.len().min(room);
            room -= fitting;
            if fitting > 0 {
                kept.insert(row.name, (row, series.into_iter().take(fitting)));
            }
        }
        kept.into_values().map(|(row, series)| family(row, series))
    }
}

fn family<'a>(row: &Row, series: impl Iterator<Item = (Vec<&'a str>, f64)>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(row.name.into());
    family.set_help(row.meaning.into());
    family.set_field_type(match row.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
    });
    family.set_metric(series.map(|(labels, value)| metric(row, labels, value)).collect());
    family
}

fn metric(row: &Row, labels: Vec<&str>, value: f64) -> prometheus::proto::Metric {
    let pairs = row.labels.iter().zip(labels).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value(value.into());
        pair
    });
    let mut metric = prometheus::proto::Metric::from_label(pairs.collect());
    match row.kind {
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    metric
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporters::metrics::table::{BUILD_INFO, CONTAINER_PIDS, CONTAINER_SWAP, OOM_FOREIGN};

    fn series_of(families: &[MetricFamily], name: &str) -> usize {
        families.iter().filter(|family| family.name() == name).map(|family| family.get_metric().len()).sum()
    }

    #[test]
    fn what_is_over_the_cap_is_the_least_important_and_is_counted() {
        let containers: Vec<_> = (0..3000).map(|n| format!("c{n}")).collect();
        let mut sheet = Sheet::default();
        for container in &containers {
            sheet.set(&CONTAINER_PIDS, ["a", "b", container], 1.0);
            sheet.set(&CONTAINER_SWAP, ["a", "b", container], 1.0);
        }
        sheet.set(&BUILD_INFO, ["1"], 1.0);
        let families: Vec<_> = sheet.into_families().collect();
        let all: usize = families.iter().map(|family| family.get_metric().len()).sum();
        assert_eq!(all, MAX_SERIES);
        assert_eq!(series_of(&families, CONTAINER_PIDS.name), 3000);
        assert_eq!(series_of(&families, BUILD_INFO.name), 1);
        let dropped = families.iter().find(|family| family.name() == SERIES_DROPPED.name).expect("always there");
        assert_eq!(dropped.get_metric()[0].get_gauge().get_value(), 2002.0);
    }

    #[test]
    fn a_series_stands_once() {
        let mut sheet = Sheet::default();
        sheet.set(&CONTAINER_PIDS, ["a", "b", "c"], 1.0);
        sheet.set(&CONTAINER_PIDS, ["a", "b", "c"], 2.0);
        sheet.add(&OOM_FOREIGN, [], 0.0);
        sheet.add(&OOM_FOREIGN, [], 3.0);
        let families: Vec<_> = sheet.into_families().collect();
        let values: Vec<_> = families.iter().map(|family| (family.name(), family.get_metric().len())).collect();
        assert_eq!(values, [(CONTAINER_PIDS.name, 1), (OOM_FOREIGN.name, 1), (SERIES_DROPPED.name, 1)]);
        assert_eq!(families[0].get_metric()[0].get_gauge().get_value(), 2.0);
        assert_eq!(families[1].get_metric()[0].get_counter().get_value(), 3.0);
    }
}
