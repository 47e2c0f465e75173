//! `/metrics/probes`: how often probes have failed (pkg/kubelet/prober/prober_manager.go,
//! `prober_probe_total`, the same since 1.18), in the text format of Prometheus.

use crate::{
    model::PodUid,
    signal::{CountedProbe, ProbeCount, ProbeCounts},
};

pub(super) const PATH: &str = "/metrics/probes";

/// Counts kept: two probes for each of 2,048 containers.
const MOST: usize = 4096;

/// Reads an answer; a line that is none of the counts is passed over.
pub(super) fn read(text: &str) -> ProbeCounts {
    ProbeCounts { counts: text.lines().filter_map(count).take(MOST).collect() }
}

/// `prober_probe_total{container="app",namespace="shop",pod="web-0",pod_uid="…",probe_type="Liveness",result="failed"} 3`
fn count(line: &str) -> Option<ProbeCount> {
    let (labels, value) = line.strip_prefix("prober_probe_total{")?.split_once('}')?;
    if label(labels, "result")? != "failed" {
        return None;
    }
    let probe = match label(labels, "probe_type")? {
        "Liveness" => CountedProbe::Liveness,
        "Startup" => CountedProbe::Startup,
        _ => return None,
    };
    // A timestamp may follow the value.
    let value: f64 = value.split_whitespace().next()?.parse().ok()?;
    Some(ProbeCount {
        pod: PodUid::parse(label(labels, "pod_uid")?)?,
        container: label(labels, "container")?.to_owned(),
        probe,
        failed: whole(value)?,
    })
}

/// Kubernetes' names hold nothing that would have to be escaped.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

/// A counter is written as a float (`3`, `1.2e+06`).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range by the test before it")]
fn whole(value: f64) -> Option<u64> {
    /// Up to here every whole number is exact.
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    (0.0..=LARGEST).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As a kubelet 1.36 answers.
    const ANSWER: &str = r#"# HELP prober_probe_duration_seconds [ALPHA] Duration in seconds for a probe response.
# TYPE prober_probe_duration_seconds histogram
prober_probe_duration_seconds_bucket{container="app",namespace="shop",pod="web-0",probe_type="Liveness",le="0.005"} 1
# HELP prober_probe_total [BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.
# TYPE prober_probe_total counter
prober_probe_total{container="app",namespace="shop",pod="web-0",pod_uid="7145627f-44a7-433c-a896-a8c81a4df533",probe_type="Liveness",result="failed"} 3
prober_probe_total{container="app",namespace="shop",pod="web-0",pod_uid="7145627f-44a7-433c-a896-a8c81a4df533",probe_type="Liveness",result="successful"} 12
prober_probe_total{container="app",namespace="shop",pod="web-0",pod_uid="7145627f-44a7-433c-a896-a8c81a4df533",probe_type="Readiness",result="failed"} 7
prober_probe_total{container="slow",namespace="shop",pod="web-0",pod_uid="7145627f-44a7-433c-a896-a8c81a4df533",probe_type="Startup",result="failed"} 1.2e+06
prober_probe_total{container="etcd",namespace="kube-system",pod="etcd-n1",pod_uid="3e61c214bc3ed9ff81e21474dd6cba17",probe_type="Liveness",result="failed"} 1 1716000000000
"#;

    #[test]
    fn failures_of_probes_that_end_containers_are_kept() {
        let kept: Vec<_> = read(ANSWER).counts.into_iter().map(|count| (count.container, count.probe, count.failed)).collect();
        assert_eq!(
            kept,
            [
                ("app".to_owned(), CountedProbe::Liveness, 3),
                ("slow".to_owned(), CountedProbe::Startup, 1_200_000),
                ("etcd".to_owned(), CountedProbe::Liveness, 1),
            ]
        );
    }

    proptest! {
        #[test]
        fn any_answer_is_taken(text in "(prober_probe_total\\{)?[a-z_=\",{} 0-9.e+\\n-]{0,80}\\}? ?(NaN|-1|1e300|3)?") {
            prop_assert!(read(&text).counts.len() <= 1);
        }
    }
}
