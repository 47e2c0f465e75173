//! A control plane that waits for its disk, from etcd's own lines to the end.

use super::*;
use crate::{
    findings::{EvidenceSource, FindingState},
    signal::{EtcdLine, KubeletLine, KubeletOrigin, Pressure, SourceReport, SourceState},
};

const ETCD: &str = "3e61c214bc3ed9ff81e21474dd6cba17";
const REFUSED: &str = r#"E1123 10:00:00.1     812 controller.go:1] "Failed to update lease" err="Put \"https://10.0.0.1:6443/x\": context deadline exceeded""#;

/// Printed by etcd 3.4.23 on a disk that was held to one write a second.
const SYNCS: [&str; 4] = [
    r#"{"level":"warn","ts":"2026-11-29T19:47:20.865Z","caller":"wal/wal.go:808","msg":"slow fdatasync","took":"5.010781084s","expected-duration":"1s"}"#,
    r#"{"level":"warn","ts":"2026-11-29T19:47:27.931Z","caller":"wal/wal.go:808","msg":"slow fdatasync","took":"7.066539026s","expected-duration":"1s"}"#,
    "2026-11-29 19:48:39.366883 W | wal: sync duration of 7.071329098s, expected less than 1s",
    "2026-11-29 19:48:47.414876 W | wal: sync duration of 8.047710382s, expected less than 1s",
];
const REQUEST: &str = r#"{"level":"warn","ts":"2026-11-29T19:47:26.927Z","caller":"etcdserver/util.go:167","msg":"apply request took too long","took":"6.05729729s","expected-duration":"100ms","prefix":"","request":"header:<ID:18265371010051868424 > put:<key:\"foo1000\" value_size:600 >","response":"size:4"}"#;

impl Bench {
    fn etcd(&mut self, second: f64, text: &str) {
        let line = format!("{} stderr F {text}", moment(second).wall);
        self.say(second, Body::Etcd(EtcdLine { pod: PodUid::parse(ETCD).expect("uid"), text: line }));
    }

    fn is_up(&mut self, second: f64, source: SourceName) {
        self.say(second, Body::Source(SourceReport { source, state: SourceState::Up, detail: "read".into() }));
    }

    fn on_control_plane() -> Self {
        let mut bench = Self::new();
        bench.is_up(0.0, SourceName::EtcdLog);
        bench.is_up(0.0, SourceName::KubeletLog);
        bench
    }

    fn starved(&self) -> Option<Finding> {
        self.core.snapshot().findings.into_iter().find(|finding| finding.cause == Cause::ControlPlaneStarved)
    }
}

#[test]
fn a_slow_disk_is_the_start_of_the_cascade_and_clears_itself() {
    let mut bench = Bench::on_control_plane();
    let directory = PodUpdate::Directory {
        namespace: "kube-system".into(),
        name: "etcd-n1".into(),
        uid: PodUid::parse(ETCD).expect("uid"),
        containers: vec![("etcd".into(), 0)],
        followed: false,
    };
    bench.say(1.0, Body::Pods(directory));
    for second in [5_u32, 65, 100] {
        let io_pressure = Some(Pressure { some_total_us: u64::from(second) * 800_000, ..Pressure::default() });
        let sample = CgroupSample { path: format!("/kubepods/burstable/pod{ETCD}"), io_pressure, ..CgroupSample::default() };
        bench.say(second.into(), Body::Cgroup(Box::new(sample)));
    }
    bench.etcd(101.0, REQUEST);
    bench.etcd(102.0, SYNCS[0]);
    assert_eq!(bench.starved(), None, "one slow write is what a backup brings");
    bench.etcd(109.0, SYNCS[1]);
    bench.etcd(110.0, REQUEST);
    bench.etcd(113.0, SYNCS[0]);
    let finding = bench.starved().expect("told");
    assert_eq!((finding.scope, finding.blame, finding.confidence), (Scope::HostService, Blame::Node, Confidence::Proven));
    assert!(finding.summary.starts_with("Etcd waits for its disk: a write that everything waits for took 5.0 s"), "{}", finding.summary);
    let said: Vec<_> = finding.evidence.iter().map(|evidence| (evidence.source, evidence.what.as_str())).collect();
    assert!(said.contains(&(EvidenceSource::EtcdLog, "a write to its log took 5.0 s, expected less than 1 s")), "{said:?}");
    assert!(said.contains(&(EvidenceSource::Cgroup, "tasks of pod etcd-n1 waited for disk I/O in 80 % of 95 s")), "{said:?}");
    assert!(said.iter().all(|(_, what)| !what.contains("foo1000")), "what is stored in etcd is nobody's business: {said:?}");

    for second in (115..150).step_by(5) {
        let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: second };
        bench.say(second as f64, Body::Kubelet(KubeletLine { origin, text: REFUSED.into() }));
        bench.etcd(second as f64 + 1.0, SYNCS[2]);
    }
    let finding = bench.starved().expect("told");
    assert!(finding.summary.contains("so the kubelet does not get through to the API server"), "{}", finding.summary);
    let causes: Vec<_> = bench.core.snapshot().findings.iter().map(|finding| finding.cause).collect();
    assert_eq!(causes, [Cause::ControlPlaneStarved], "one story");

    bench.ticks(150, 230);
    assert_eq!(bench.starved().expect("kept").state, FindingState::Resolved);
}

#[test]
fn an_unreachable_api_server_that_was_told_first_is_chained() {
    let mut bench = Bench::on_control_plane();
    for second in (100..150).step_by(5) {
        let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: second };
        bench.say(second as f64, Body::Kubelet(KubeletLine { origin, text: REFUSED.into() }));
        bench.ticks(u32::try_from(second).expect("small") + 1, u32::try_from(second).expect("small") + 2);
    }
    for (second, line) in [(151.0, SYNCS[2]), (163.0, SYNCS[3])] {
        bench.etcd(second, line);
    }
    let starved = bench.starved().expect("told");
    let findings = bench.core.snapshot().findings;
    let unreachable = findings.iter().find(|finding| finding.cause == Cause::ApiServerUnreachable).expect("told");
    assert_eq!((&starved.related, &unreachable.related), (&vec![unreachable.id.clone()], &vec![starved.id.clone()]));
}

#[test]
fn large_requests_alone_are_no_trouble_and_a_log_that_is_lost_ends_none() {
    let mut bench = Bench::on_control_plane();
    (100..300_u32).step_by(3).for_each(|second| bench.etcd(second.into(), REQUEST));
    assert_eq!(bench.starved(), None);
    bench.etcd(300.0, SYNCS[0]);
    bench.etcd(311.0, SYNCS[1]);
    let report = SourceReport { source: SourceName::EtcdLog, state: SourceState::Unreadable, detail: "no right".into() };
    bench.say(312.0, Body::Source(report));
    bench.ticks(313, 420);
    assert_eq!(bench.starved().expect("told").state, FindingState::Open, "nobody could have said that it goes on");
}

#[test]
fn late_heartbeats_alone_are_told_when_they_go_on() {
    let mut bench = Bench::on_control_plane();
    let late = "2026-11-29 20:04:38.999139 W | etcdserver: failed to send out heartbeat on time (exceeded the 100ms timeout for 18.252274775s, to 9e737febb6b99eee)";
    for second in [100.0, 110.0, 120.0] {
        bench.etcd(second, late);
    }
    assert_eq!(bench.starved(), None);
    bench.etcd(131.0, late);
    let finding = bench.starved().expect("told");
    assert!(finding.summary.contains("does not tell its followers in time"), "{}", finding.summary);
}

#[test]
fn an_etcd_inside_of_the_kubelets_process_complains_in_the_kubelets_log() {
    let mut bench = Bench::new();
    bench.is_up(0.0, SourceName::KubeletLog);
    let said = |bench: &mut Bench, second: f64, text: &str| {
        let origin = KubeletOrigin::Journal {
            cursor: format!("s={second}"),
            boot_time: Some(moment(second).boot),
            wall: None,
            unit: "k3s.service".into(),
            role: None,
            identifier: Some("k3s".into()),
            invocation: Some("a1".into()),
            is_pid1: false,
            stream: None,
            pid: None,
        };
        bench.say(second, Body::Kubelet(KubeletLine { origin, text: text.into() }));
    };
    said(&mut bench, 102.0, SYNCS[0]);
    said(&mut bench, 109.0, SYNCS[1]);
    said(&mut bench, 113.0, SYNCS[0]);
    said(&mut bench, 114.0, "time=\"2026-11-23T10:01:50Z\" level=info msg=\"Slow SQL (started: 1)\"");
    let finding = bench.starved().expect("told");
    assert!(finding.summary.starts_with("Etcd waits for its disk"), "{}", finding.summary);
    bench.ticks(114, 230);
    assert_eq!(bench.starved().expect("kept").state, FindingState::Resolved);
}
