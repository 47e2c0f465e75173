//! The values of one scrape, and their way into the text format.
//!
//! Flows in: values for the table's metrics. Flows out: metric families, sorted, each series once,
//! never more than [`MAX_SERIES`]. Knows nothing of what the values mean.

use super::table::{Kind, Metric, Row, SERIES_DROPPED, TABLE};
use crate::exporters::agent_figures::number;
use prometheus::proto::{self, Counter, Gauge, LabelPair, MetricFamily, MetricType};
use std::{cmp::Ordering, collections::BTreeMap, vec};

/// The most series of one scrape: some 430 of the node itself, 12 for each of 250 containers, and
/// two for each of 250 workload containers, with room for what has died.
pub const MAX_SERIES: usize = 4000;

/// The most labels that a metric of the table has.
const MOST_LABELS: usize = 6;

/// The label values of one series, which the snapshot owns; what the metric has no label for is empty.
type Labels<'a> = [&'a str; MOST_LABELS];

/// The series of one metric.
type Series<'a> = BTreeMap<Labels<'a>, f64>;

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
        const { assert!(N <= MOST_LABELS) };
        let mut values = [""; MOST_LABELS];
        values.iter_mut().zip(labels).for_each(|(value, label)| *value = label);
        self.metrics.entry(metric.name).or_default().entry(values).or_default()
    }

    /// The families of this scrape in the order of their names, the least important series left out
    /// and counted if there are too many.
    pub fn into_families(mut self) -> Families<'a> {
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
                kept.insert(row.name, (row, series.into_iter().take(fitting).collect()));
            }
        }
        Families { rows: kept.into_values().collect::<Vec<_>>().into_iter(), labels: &[], latest: MetricFamily::default() }
    }
}

/// The families of one scrape, made one after the other: all together they are megabytes of small pieces. Each is made from
/// the one before, because most of those pieces are labels, and a dozen metrics are about the same containers.
#[derive(Debug)]
pub struct Families<'a> {
    rows: vec::IntoIter<(&'static Row, Vec<(Labels<'a>, f64)>)>,
    /// The names of the labels of the latest one.
    labels: &'static [&'static str],
    latest: MetricFamily,
}

impl Families<'_> {
    /// The next one.
    pub fn make_next(&mut self) -> Option<&MetricFamily> {
        let (row, series) = self.rows.next()?;
        let mut former = self.latest.take_metric();
        if self.labels != row.labels {
            former.clear();
        }
        let mut former = former.into_iter().peekable();
        let metrics = series.into_iter().map(|(labels, value)| {
            while former.next_if(|metric| compare(metric, row, &labels) == Ordering::Less).is_some() {}
            let same = former.next_if(|metric| compare(metric, row, &labels) == Ordering::Equal);
            valued(same.unwrap_or_else(|| labelled(row, &labels)), row.kind, value)
        });
        self.latest = family(row, metrics.collect());
        self.labels = row.labels;
        Some(&self.latest)
    }
}

fn family(row: &Row, metrics: Vec<proto::Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(row.name.into());
    family.set_help(row.meaning.into());
    family.set_field_type(match row.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
    });
    family.set_metric(metrics);
    family
}

/// Compares the label values of a metric that has this row's labels.
fn compare(metric: &proto::Metric, row: &Row, labels: &Labels<'_>) -> Ordering {
    metric.get_label().iter().map(LabelPair::value).cmp(labels.iter().copied().take(row.labels.len()))
}

fn labelled(row: &Row, labels: &Labels<'_>) -> proto::Metric {
    let pairs = row.labels.iter().zip(labels).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    });
    proto::Metric::from_label(pairs.collect())
}

fn valued(mut metric: proto::Metric, kind: Kind, value: f64) -> proto::Metric {
    match kind {
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
    use crate::exporters::metrics::table::{
        BUILD_INFO, CONTAINER_LAST_OOM_KILL, CONTAINER_PIDS, CONTAINER_SWAP, CONTAINER_THROTTLED, OOM_FOREIGN,
    };
    use prometheus::TextEncoder;
    use std::slice;

    fn text(family: &MetricFamily) -> String {
        TextEncoder::new().encode_to_string(slice::from_ref(family)).expect("a family")
    }

    fn made(sheet: Sheet<'_>) -> Vec<MetricFamily> {
        let mut families = sheet.into_families();
        std::iter::from_fn(|| families.make_next().cloned()).collect()
    }

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
        let families = made(sheet);
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
        let families = made(sheet);
        let values: Vec<_> = families.iter().map(|family| (family.name(), family.get_metric().len())).collect();
        assert_eq!(values, [(CONTAINER_PIDS.name, 1), (OOM_FOREIGN.name, 1), (SERIES_DROPPED.name, 1)]);
        assert_eq!(families[0].get_metric()[0].get_gauge().get_value(), 2.0);
        assert_eq!(families[1].get_metric()[0].get_counter().get_value(), 3.0);
    }

    #[test]
    fn a_family_is_the_same_whatever_came_before_it() {
        let containers: Vec<_> = (0..20).map(|n| format!("c{n:02}")).collect();
        let (mut together, mut alone): (Sheet<'_>, [Sheet<'_>; 3]) = Default::default();
        for (n, container) in (0_u8..).zip(&containers) {
            // Each of these metrics lacks other containers than the one before it.
            for (metric, lacks) in [(0, 2), (1, 3), (2, 5)] {
                for sheet in [&mut together, &mut alone[metric]].into_iter().filter(|_| n % lacks != 0) {
                    match metric {
                        0 => sheet.set(&CONTAINER_THROTTLED, ["a", "b", container], f64::from(n)),
                        1 => sheet.set(&CONTAINER_LAST_OOM_KILL, ["a", "b", container], f64::from(n) + 100.0),
                        _ => sheet.set(&CONTAINER_PIDS, ["a", "b", container], f64::from(n) + 200.0),
                    }
                }
            }
        }
        let together: Vec<_> = made(together).iter().map(text).collect();
        let alone: Vec<_> = alone.into_iter().flat_map(made).filter(|family| family.name() != SERIES_DROPPED.name).collect();
        assert_eq!(alone.len(), 3);
        for family in alone.iter().map(text) {
            assert!(together.contains(&family), "{family}");
        }
    }
}
