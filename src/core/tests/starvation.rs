//! Containers that were slow before they ended.

use super::*;
use crate::signal::{CpuThrottling, KubeletLine, KubeletOrigin, Pressure};

fn kubelet(second: u64, text: &str) -> Body {
    let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: second };
    Body::Kubelet(KubeletLine { origin, text: text.into() })
}

/// A container that its CPU limit holds back for this share of the time, in per cent, is killed
/// because of its liveness probe on a node whose tasks wait for CPU for that share of the time.
fn killed_by_probe(throttled: u64, node: u64) -> Bench {
    let mut bench = Bench::watching(1.0);
    bench.pod(5.0, pod(0, ContainerState::Running { started: Some(moment(5.0).wall) }, None));
    for second in (10..=70_u32).step_by(15) {
        let passed = u64::from(second);
        let cpu =
            CpuThrottling { periods: passed * 10, throttled_periods: passed * throttled / 10, throttled_us: passed * throttled * 10_000 };
        let sample = CgroupSample { path: path("a"), usage: Some(Bytes(1 << 20)), cpu: Some(cpu), ..CgroupSample::default() };
        bench.say(second.into(), Body::Cgroup(Box::new(sample)));
        let pressure = Pressure { some_total_us: passed * node * 10_000, ..Pressure::default() };
        bench.say(second.into(), Body::NodeMemory(NodeSample { cpu_pressure: Some(pressure), ..NodeSample::default() }));
    }
    bench.say(71.0, kubelet(1, &format!("I1123 10:01:11.000102    1717 prober.go:107] \"Probe failed\" probeType=\"Liveness\" pod=\"shop/web-1\" podUID=\"{UID}\" containerName=\"app\" probeResult=\"failure\" output=\"timeout\"")));
    bench.say(71.0, kubelet(2, "I1123 10:01:11.000200     230 kuberuntime_manager.go:1107] \"Message for Container of pod\" containerName=\"app\" containerStatusID={\"Type\":\"containerd\",\"ID\":\"eb41fd\"} pod=\"shop/web-1\" containerMessage=\"Container app failed liveness probe, will be restarted\""));
    bench.say(71.5, Body::Tick);
    bench.pod(80.5, pod(0, ContainerState::Terminated(ended(137, "Error", 80.0)), None));
    bench.say(95.0, Body::Tick);
    bench
}

#[test]
fn a_probe_that_fails_under_a_cpu_limit_is_blamed_on_the_limit() {
    let bench = killed_by_probe(80, 0);
    assert_eq!(bench.looks, [path("a"), path("a")], "figures are asked for when a probe fails and when that decides");
    let finding = bench.only();
    assert_eq!((finding.cause, finding.blame), (Cause::LivenessProbe, Blame::Workload));
    assert!(finding.summary.contains("before, its CPU limit held it back for 48 s of the last 60 s"), "{}", finding.summary);
    assert!(finding.actions[0].contains("CPU limit"), "{:?}", finding.actions);
    assert!(finding.evidence.iter().any(|evidence| evidence.what.contains("in 480 of 600 periods")), "{:?}", finding.evidence);
}

#[test]
fn a_node_that_is_short_of_cpu_does_not_tell_who_uses_it() {
    let finding = killed_by_probe(0, 90).only();
    assert_eq!((finding.cause, finding.blame), (Cause::LivenessProbe, Blame::Insufficient));
    assert!(finding.summary.contains("the node was short of CPU"), "{}", finding.summary);
    assert_eq!(killed_by_probe(80, 90).only().blame, Blame::Both);
}

#[test]
fn a_probe_that_fails_for_no_lack_of_anything_is_as_before() {
    let finding = killed_by_probe(0, 5).only();
    assert_eq!((finding.cause, finding.blame), (Cause::LivenessProbe, Blame::Workload));
    assert!(!finding.summary.contains("before,"), "{}", finding.summary);
}

#[test]
fn a_node_that_runs_out_of_memory_tells_how_long_it_struggled() {
    let mut bench = Bench::new();
    for (second, waited) in [(10_u32, 0), (70, 30_000_000)] {
        let pressure = Pressure { some_total_us: waited, full_total_us: Some(waited / 3), ..Pressure::default() };
        bench.say(second.into(), Body::NodeMemory(NodeSample { memory_pressure: Some(pressure), ..NodeSample::default() }));
    }
    bench.dump(71.0, "global_oom", &path("a"), "server", 4242);
    bench.say(90.0, Body::Tick);
    let finding = bench.only();
    let expected = "on the node, some task waited for memory for 30 s of 60 s, all at once for 10 s before";
    assert!(finding.evidence.iter().any(|evidence| evidence.what == expected), "{:?}", finding.evidence);
}
