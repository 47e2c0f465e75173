//! The reference of all metrics, for `docs/metrics.md`.

use super::{
    sheet::MAX_SERIES,
    table::{Row, TABLE},
};
use std::fmt::Write;

/// Every metric as a Markdown page.
pub fn reference() -> String {
    let mut page = format!(
        "# Metrics\n\n\
         Generated from the program's own table; do not edit. `UPDATE_DOCS=1 cargo test --lib metrics` writes it.\n\n\
         - `GET /metrics` answers in the Prometheus text format 0.0.4.\n\
         - No metric carries a `node` label: the scrape configuration attaches it. Scrape with `honorLabels: true`, \
         so that `namespace`, `pod` and `container` are the container's, not the agent's.\n\
         - Counters are those of this boot of the node; they survive a restart of the agent. What may happen is \
         there from the beginning with 0.\n\
         - Counters of kills and ends carry no pod's name, so that they outlive pods. Of a pod that nobody owns, the workload is the pod itself: its series end an hour after it. Series with a `pod` label end with the container.\n\
         - A scrape has at most {MAX_SERIES} series. Beyond that the metrics at the end of this table go first, and \
         `nodewhy_series_dropped` says how many.\n\n\
         | Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n"
    );
    for row in TABLE {
        let Row { name, kind, labels, meaning } = row;
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        // Writing to a string does not fail.
        let _ = writeln!(page, "| `{name}` | {} | {} | {meaning} |", kind.as_str(), labels.join(" "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_reference_is_the_programs_own() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, reference()).expect("docs/metrics.md is writable");
        }
        let printed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(printed, reference(), "run UPDATE_DOCS=1 cargo test --lib metrics");
    }
}
