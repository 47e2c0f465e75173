use super::*;
use crate::{
    core::{ContainerKey, Counters, WorkloadFigures},
    exporters::examples,
    model::Cause,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// One sample line: name, labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads the text format 0.0.4 strictly, by its description: a second opinion on what was written.
fn parse(text: &str) -> Option<Vec<Sample>> {
    assert!(text.is_empty() || text.ends_with('\n'));
    text.split_terminator('\n').filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.to_owned(), value);
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => break rest = after.strip_prefix('}')?,
            }
        }
    }
    Some((name.to_owned(), labels, rest.strip_prefix(' ')?.parse().ok()?))
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                plain @ ('\\' | '"') => plain,
                _ => return None,
            }),
            plain => value.push(plain),
        }
    }
    None
}

fn rendered(snapshot: &Snapshot) -> String {
    render(snapshot, &AgentFigures::default()).expect("every family encodes")
}

#[test]
fn a_node_with_troubles() {
    let text = rendered(&examples::snapshot());
    let interesting: Vec<_> = text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0")).collect();
    insta::assert_snapshot!(interesting.join("\n"));
}

#[test]
fn an_empty_snapshot_has_its_zeros_and_says_nothing_it_does_not_know() {
    let samples = parse(&rendered(&Snapshot::default())).expect("valid");
    let named = |wanted: &str| samples.iter().filter(|(name, ..)| name == wanted).count();
    assert_eq!(named("nodewhy_findings_opened_total"), Cause::ALL.len());
    assert_eq!(named("nodewhy_findings"), Cause::ALL.len());
    assert!(named("nodewhy_oom_kills_total") > 8);
    for unknown in
        ["nodewhy_node_info", "nodewhy_source_up", "nodewhy_vmstat_oom_kill_unexplained", "nodewhy_last_signal_timestamp_seconds"]
    {
        assert_eq!(named(unknown), 0, "{unknown}");
    }
    let not_zero: Vec<_> = samples.iter().filter(|(_, _, value)| *value != 0.0).map(|(name, ..)| name.as_str()).collect();
    assert_eq!(not_zero, ["nodewhy_build_info"]);
}

#[test]
fn an_oom_killer_that_finds_nobody_to_kill_is_counted() {
    let counters = Counters { oom_without_kill: 3, ..Counters::default() };
    let samples = parse(&rendered(&Snapshot { counters, ..Snapshot::default() })).expect("valid");
    assert!(samples.contains(&("nodewhy_oom_without_kill_total".into(), BTreeMap::new(), 3.0)));
}

#[test]
fn the_exposition_is_sorted_and_every_series_stands_once() {
    let samples = parse(&rendered(&examples::snapshot())).expect("valid");
    let names: Vec<_> = samples.iter().map(|(name, ..)| name).collect();
    assert!(names.is_sorted());
    let series: BTreeSet<_> = samples.iter().map(|(name, labels, _)| (name, labels)).collect();
    assert_eq!(series.len(), samples.len());
    assert!(samples.iter().all(|(_, labels, _)| !labels.contains_key("node")));
}

/// A full node: 110 pods with 250 containers, each its own workload container, a fifth of them dying.
fn full_node() -> Snapshot {
    let mut snapshot = examples::snapshot();
    let key = |n: usize| ContainerKey {
        namespace: "shop".into(),
        workload_kind: "Deployment".into(),
        workload: format!("workload-{}", n % 110),
        container: format!("container-{n}"),
    };
    snapshot.containers = (0..250).map(|n| examples::container(&format!("pod-{}", n % 110), &format!("container-{n}"))).collect();
    snapshot.counters.workload_oom_kills = (0..250).map(|n| (key(n), BTreeMap::from([(Cause::OomContainerLimit, 1)]))).collect();
    snapshot.counters.terminations = (0..50).map(|n| (key(n), BTreeMap::from([(Cause::AppError, 1)]))).collect();
    snapshot.workloads = (0..110)
        .map(|n| WorkloadFigures {
            namespace: "shop".into(),
            kind: "Deployment".into(),
            name: format!("workload-{n}"),
            pods: 1,
            crashed_pods: u64::from(n % 5 == 0),
            crash_looping: 0,
        })
        .collect();
    snapshot
}

#[test]
fn a_full_node_fits_into_a_scrape_whole() {
    let samples = parse(&rendered(&full_node())).expect("valid");
    let dropped = samples.iter().find(|(name, ..)| name == "nodewhy_series_dropped").expect("always there");
    assert_eq!(dropped.2, 0.0, "{} series", samples.len());
    assert!(samples.len() < MAX_SERIES, "{} series", samples.len());
}

#[test]
fn ten_thousand_workloads_still_make_one_bounded_scrape() {
    let mut snapshot = full_node();
    let keys = (0..10_000).map(|n| ContainerKey {
        namespace: "churn".into(),
        workload_kind: "Job".into(),
        workload: format!("job-{n}"),
        container: "main".into(),
    });
    snapshot.counters.terminations = keys.map(|key| (key, BTreeMap::from([(Cause::AppError, 1)]))).collect();
    let samples = parse(&rendered(&snapshot)).expect("valid");
    assert_eq!(samples.len(), MAX_SERIES);
    assert!(samples.iter().any(|(name, _, value)| name == "nodewhy_series_dropped" && *value > 10_000.0));
    assert!(samples.iter().any(|(name, ..)| name == "nodewhy_source_up"), "what matters most stays");
}

proptest! {
    #[test]
    fn any_text_in_a_label_can_be_read_back(namespace in any::<String>(), pod in ".*", container in "[\\\\\"\n\r{},= ]*") {
        let mut figures = examples::container(&pod, &container);
        figures.namespace = namespace.clone();
        let key = ContainerKey { namespace: namespace.clone(), workload_kind: pod.clone(), workload: container.clone(), container: pod.clone() };
        let counters = Counters { terminations: BTreeMap::from([(key, BTreeMap::from([(Cause::Unknown, 7)]))]), ..Counters::default() };
        let snapshot = Snapshot { containers: vec![figures], counters, ..Snapshot::default() };
        let samples = parse(&rendered(&snapshot)).expect("valid");
        let (_, labels, value) = samples.iter().find(|(name, ..)| name == "nodewhy_container_terminations_total").expect("there");
        prop_assert_eq!(*value, 7.0);
        prop_assert_eq!((&labels["namespace"], &labels["workload_kind"], &labels["workload"]), (&namespace, &pod, &container));
        prop_assert!(samples.iter().any(|(name, labels, _)| name == "nodewhy_container_pids" && labels["pod"] == pod));
    }
}
