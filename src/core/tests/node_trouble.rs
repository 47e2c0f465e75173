//! Troubles of the node, from lines to findings, metrics and their end.

use super::*;
use crate::{
    findings::FindingState,
    model::UnitRole,
    signal::{KubeletLine, KubeletOrigin},
};

const RUNTIME_GONE: &str = r#"E1123 10:00:00.1     812 kubelet.go:1] "Skipping pod synchronization" err="[container runtime is down, PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s]""#;
const REFUSED: &str = r#"E1123 10:00:00.1     812 controller.go:1] "Failed to update lease" err="Put \"https://10.0.0.1:6443/x\": dial tcp 10.0.0.1:6443: connect: connection refused""#;

impl Bench {
    /// A line of the kubelet's unit in the journal; `life` is systemd's id of this start.
    fn journal(&mut self, second: f64, life: &str, text: &str) {
        self.entry(second, "kubelet.service", life, false, text);
    }

    fn systemd(&mut self, second: f64, unit: &str, life: &str, text: &str) {
        self.entry(second, unit, life, true, text);
    }

    fn entry(&mut self, second: f64, unit: &str, life: &str, is_pid1: bool, text: &str) {
        self.entry_of(None, second, unit, life, is_pid1, text);
    }

    /// A line of a unit, or about one, whose role the agent was told.
    fn entry_of(&mut self, role: Option<UnitRole>, second: f64, unit: &str, life: &str, is_pid1: bool, text: &str) {
        let origin = KubeletOrigin::Journal {
            unit: unit.into(),
            role,
            identifier: None,
            pid: None,
            stream: Some(life.into()),
            invocation: Some(life.into()),
            cursor: format!("{second}"),
            boot_time: Some(moment(second).boot),
            wall: Some(moment(second).wall),
            is_pid1,
        };
        self.say(second, Body::Kubelet(KubeletLine { origin, text: text.into() }));
    }

    fn about(&self, cause: Cause) -> Finding {
        let found: Vec<_> = self.core.snapshot().findings.into_iter().filter(|finding| finding.cause == cause).collect();
        assert_eq!(found.len(), 1, "{cause}");
        found.into_iter().next().expect("a finding")
    }

    fn log_is(&mut self, second: f64, state: crate::signal::SourceState) {
        let report = crate::signal::SourceReport { source: SourceName::KubeletLog, state, detail: "the journal".into() };
        self.say(second, Body::Source(report));
    }

    fn restarted(&mut self, second: f64) {
        let stored = serde_json::to_string(&self.core.checkpoint().expect("a checkpoint")).expect("json");
        self.core = Core::restore(serde_json::from_str(&stored).expect("json"));
        self.start(second);
        self.log_is(second, crate::signal::SourceState::Up);
    }
}

#[test]
fn a_runtime_that_is_down_is_one_finding_with_its_consequences_and_its_end() {
    let mut bench = Bench::new();
    for second in (100..130).step_by(5) {
        bench.journal(f64::from(second), "a", RUNTIME_GONE);
        bench.ticks(second, second + 4);
    }
    let finding = bench.only();
    assert_eq!((finding.cause, finding.scope, finding.blame, finding.count), (Cause::RuntimeDown, Scope::HostService, Blame::Node, 1));
    assert_eq!(
        finding.summary,
        "The container runtime does not answer the kubelet; so the kubelet's round over the containers (PLEG) does not finish. Containers run on, but none is started, stopped or restarted."
    );
    assert_eq!((finding.subjects.len(), finding.last_seen), (0, moment(125.0).wall));
    bench.restarted(130.0);
    bench.ticks(131, 186);
    assert_eq!(bench.about(Cause::RuntimeDown).state, FindingState::Resolved, "after a restart of the agent as well");
    let opened = bench.told.iter().filter(|(change, _)| *change == Change::Opened).count();
    assert_eq!(opened, 1);
}

#[test]
fn a_trouble_that_lasts_longer_than_a_quiet_finding_stays_open() {
    let mut bench = Bench::new();
    for second in (100..7_000).step_by(10) {
        bench.journal(f64::from(second), "a", REFUSED);
    }
    let finding = bench.about(Cause::ApiServerUnreachable);
    assert_eq!((finding.state, finding.count, finding.blame), (FindingState::Open, 1, Blame::Insufficient));
    assert_eq!(finding.last_seen, moment(6_990.0).wall);
    assert!(finding.not_found[0].contains("own runtime"), "{:?}", finding.not_found);
    assert!(finding.summary.contains("nothing listens"), "{}", finding.summary);
}

#[test]
fn a_log_that_cannot_be_read_is_no_recovery() {
    let mut bench = Bench::new();
    [100.0, 105.0].into_iter().for_each(|second| bench.journal(second, "a", RUNTIME_GONE));
    bench.log_is(110.0, crate::signal::SourceState::Failing);
    bench.ticks(111, 600);
    assert_eq!(bench.about(Cause::RuntimeDown).state, FindingState::Open);
}

#[test]
fn a_unit_of_any_name_is_the_kubelets_where_somebody_says_so() {
    let mut bench = Bench::new();
    let role = Some(UnitRole::Kubelet);
    let version = r#"I1123 10:00:00.1     812 server.go:1] "Kubelet version" kubeletVersion="v1.36.3""#;
    let own = |bench: &mut Bench, second, life, text| bench.entry_of(role, second, "node-agent.service", life, false, text);
    let pid1 = |bench: &mut Bench, second, life, text| bench.entry_of(role, second, "node-agent.service", life, true, text);
    own(&mut bench, 100.0, "a", version);
    own(&mut bench, 100.1, "a", r#"I1123 10:00:00.1     812 server.go:1] "Started kubelet""#);
    assert_eq!(bench.core.snapshot().kubelet_version.as_deref(), Some("v1.36.3"));
    pid1(&mut bench, 300.0, "a", "node-agent.service: Main process exited, code=killed, status=9/KILL");
    pid1(&mut bench, 310.0, "a", "node-agent.service: Scheduled restart job, restart counter is at 4.");
    pid1(&mut bench, 310.0, "b", "Started Our Node Agent.");
    let finding = bench.about(Cause::KubeletRestarted);
    assert_eq!(finding.summary, "The kubelet was killed (9/KILL) and was started again (systemd's restart counter is at 4).");
    assert_eq!(bench.core.snapshot().counters.kubelet_restarts, 1);
    own(&mut bench, 311.0, "b", r#"I1123 10:00:00.1     900 server.go:1] "Started kubelet""#);
    pid1(&mut bench, 400.0, "b", "Stopping Our Node Agent...");
    pid1(&mut bench, 401.0, "b", "Stopped Our Node Agent.");
    bench.log_is(402.0, crate::signal::SourceState::Up);
    bench.ticks(403, 440);
    let down = bench.about(Cause::KubeletDown);
    assert!(down.summary.starts_with("The kubelet was stopped") && down.state == FindingState::Open, "{}", down.summary);
}

#[test]
fn a_unit_that_nobody_knows_is_nobodys() {
    let mut bench = Bench::new();
    bench.systemd(300.0, "node-agent.service", "a", "node-agent.service: Main process exited, code=killed, status=9/KILL");
    bench.systemd(310.0, "node-agent.service", "b", "Started Our Node Agent.");
    bench.ticks(311, 400);
    assert_eq!(bench.core.snapshot().findings, []);
}

#[test]
fn restarts_are_counted_whoever_asked_and_told_only_when_nobody_did() {
    let mut bench = Bench::new();
    let version = r#"I1123 10:00:00.1     812 server.go:1] "Kubelet version" kubeletVersion="v1.36.3""#;
    let verbose = r#"I1123 10:00:00.1     812 kubelet.go:1] "SyncLoop ADD" source="api" pods=["a/b"]"#;
    bench.journal(100.0, "a", version);
    bench.journal(100.0, "a", verbose);
    let snapshot = bench.core.snapshot();
    assert_eq!(
        (snapshot.counters.kubelet_restarts, snapshot.kubelet_version.as_deref(), snapshot.kubelet_verbosity),
        (0, Some("v1.36.3"), Some(2))
    );
    bench.systemd(200.0, "kubelet.service", "a", "Stopping kubelet.service - kubelet...");
    bench.systemd(201.0, "kubelet.service", "a", "Stopped kubelet.service - kubelet.");
    bench.systemd(201.0, "kubelet.service", "b", "Started kubelet.service - kubelet.");
    bench.journal(201.1, "a", "the last words of the one before");
    bench.journal(201.2, "b", version);
    assert_eq!(bench.core.snapshot().kubelet_verbosity, Some(0));
    bench.journal(201.3, "b", r#"I1123 10:00:00.1     900 server.go:1] "Started kubelet""#);
    assert_eq!((bench.core.snapshot().counters.kubelet_restarts, bench.core.snapshot().findings.len()), (1, 0));
    bench.systemd(300.0, "kubelet.service", "b", "kubelet.service: Main process exited, code=killed, status=9/KILL");
    bench.systemd(310.0, "kubelet.service", "b", "kubelet.service: Scheduled restart job, restart counter is at 1.");
    bench.restarted(310.0);
    bench.systemd(310.0, "kubelet.service", "c", "Started kubelet.service - kubelet.");
    assert_eq!(bench.core.snapshot().counters.kubelet_restarts, 2);
    let finding = bench.about(Cause::KubeletRestarted);
    assert_eq!(finding.summary, "The kubelet was killed (9/KILL) and was started again (systemd's restart counter is at 1).");
    bench.ticks(311, 911);
    assert_eq!(bench.about(Cause::KubeletRestarted).state, FindingState::Resolved);
}

#[test]
fn starts_in_a_file_are_counted_by_the_version() {
    let mut bench = Bench::new();
    for (second, pid) in [(100.0, 812), (200.0, 900)] {
        let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: 1 };
        let text = format!(r#"I1123 10:00:00.1     {pid} server.go:1] "Kubelet version" kubeletVersion="v1.36.3""#);
        bench.say(second, Body::Kubelet(KubeletLine { origin, text }));
    }
    assert_eq!(bench.core.snapshot().counters.kubelet_restarts, 1);
}

fn lost(started: f64, finished: f64) -> TerminatedState {
    TerminatedState { started: Some(moment(started).wall), ..ended(255, "Unknown", finished) }
}

#[test]
fn containers_that_ended_with_the_node_are_one_finding() {
    let mut bench = Bench::new();
    let before_boot =
        TerminatedState { started: moment(0.0).wall.checked_sub(jiff::SignedDuration::from_secs(60)).ok(), ..lost(0.0, 30.0) };
    let state = TerminatedState { container_id: Some(format!("containerd://{}", id("c"))), ..before_boot };
    bench.pod(40.0, pod(3, ContainerState::Running { started: Some(moment(35.0).wall) }, Some(state.clone())));
    bench.pod(40.5, pod(3, ContainerState::Running { started: Some(moment(35.0).wall) }, Some(state)));
    bench.ticks(41, 50);
    let finding = bench.about(Cause::NodeRebooted);
    assert_eq!((finding.count, finding.subjects.len(), finding.blame, finding.confidence), (1, 1, Blame::Node, Confidence::Proven));
    assert_eq!(
        finding.summary,
        "The node was restarted at 2026-11-23T10:00:00Z, and one container ended with it, whatever their status says."
    );
    assert_eq!(bench.core.snapshot().findings.len(), 1);
}

#[test]
fn a_reboot_long_ago_is_no_news() {
    let mut bench = Bench::new();
    let state = TerminatedState { started: moment(0.0).wall.checked_sub(jiff::SignedDuration::from_secs(60)).ok(), ..lost(0.0, 30.0) };
    let state = TerminatedState { container_id: Some(format!("containerd://{}", id("c"))), ..state };
    bench.pod(4_000.0, pod(3, ContainerState::Running { started: Some(moment(35.0).wall) }, Some(state)));
    bench.ticks(4_001, 4_010);
    assert_eq!(bench.core.snapshot().findings, []);
}

#[test]
fn containers_lost_by_the_runtime_join_its_restart() {
    let mut bench = Bench::watching(1.0);
    bench.systemd(100.0, "containerd.service", "x", "containerd.service: Main process exited, code=killed, status=9/KILL");
    bench.systemd(105.0, "containerd.service", "y", "Started containerd.service - containerd container runtime.");
    let id = bench.about(Cause::RuntimeRestarted).id;
    let state = TerminatedState { container_id: Some(format!("containerd://{}", super::id("c"))), ..lost(50.0, 106.0) };
    bench.pod(107.0, pod(1, ContainerState::Running { started: Some(moment(107.0).wall) }, Some(state)));
    bench.ticks(108, 112);
    let finding = bench.about(Cause::RuntimeRestarted);
    assert_eq!((finding.id, finding.count, finding.subjects.len()), (id, 1, 1));
    assert!(finding.summary.ends_with("and was started again; one container was lost."), "{}", finding.summary);
    assert_eq!(bench.core.snapshot().findings.len(), 1);
}

const PLEG_STUCK: &str = r#"E1123 10:00:00.1     812 kubelet.go:1] "Skipping pod synchronization" err="PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s""#;

impl Bench {
    /// The PLEG hangs from a second on, for long enough to be told.
    fn pleg_hangs(&mut self, from: u32) {
        for second in (from..from + 60).step_by(5) {
            self.journal(f64::from(second), "a", PLEG_STUCK);
            self.ticks(second, second + 4);
        }
    }
}

#[test]
fn a_trouble_that_begins_while_the_nodes_disk_fails_names_the_disk() {
    let mut bench = Bench::new();
    bench.record(50.0, 3, "I/O error, dev sda, sector 4096 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2");
    bench.record(80.0, 3, "INFO: task containerd:17 blocked for more than 120 seconds.");
    bench.ticks(51, 99);
    bench.pleg_hangs(100);
    let (pleg, disk) = (bench.about(Cause::PlegUnhealthy), bench.about(Cause::StorageError));
    assert!(pleg.summary.contains(". It probably began with this: disk sda reports I/O errors. Nothing is started"), "{}", pleg.summary);
    assert!(pleg.related.contains(&disk.id) && disk.related.contains(&pleg.id));
    let start = pleg.evidence.last().expect("evidence");
    assert_eq!((start.source, start.time), (crate::findings::EvidenceSource::KernelLog, disk.first_seen));
    assert!(pleg.actions[0].contains("disk sda"), "{:?}", pleg.actions);
    bench.restarted(161.0);
    bench.journal(162.0, "a", PLEG_STUCK);
    assert_eq!(bench.about(Cause::PlegUnhealthy).summary, pleg.summary, "after a restart of the agent as well");
}

#[test]
fn what_comes_later_or_concerns_one_volume_alone_began_nothing() {
    let mut bench = Bench::new();
    bench.pleg_hangs(100);
    bench.record(170.0, 3, "I/O error, dev sda, sector 4096 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2");
    bench.pleg_hangs(175);
    let pleg = bench.about(Cause::PlegUnhealthy);
    assert!(!pleg.summary.contains("began") && pleg.related.is_empty(), "{}", pleg.summary);

    let mut bench = Bench::new();
    bench.say(2.0, Body::Mounts(super::kernel_problems::table()));
    bench.record(50.0, 3, "I/O error, dev sdb, sector 4096 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2");
    bench.ticks(51, 99);
    bench.pleg_hangs(100);
    assert!(!bench.about(Cause::PlegUnhealthy).summary.contains("began"), "a pod's volume on a disk of its own");
}

#[test]
fn a_full_connection_table_probably_cuts_the_kubelet_off() {
    let mut bench = Bench::new();
    bench.record(90.0, 4, "nf_conntrack: nf_conntrack: table full, dropping packet");
    for second in (100..200).step_by(10) {
        bench.journal(f64::from(second), "a", REFUSED);
    }
    let (api, table) = (bench.about(Cause::ApiServerUnreachable), bench.about(Cause::NetworkFault));
    assert!(api.summary.contains("began with this: the connection tracking table is full"), "{}", api.summary);
    assert!(api.related.contains(&table.id), "{:?}", api.related);
}

#[test]
fn a_node_that_waited_for_its_disk_probably_hung_the_round_over_its_containers() {
    let mut bench = Bench::new();
    for second in (10..110_u32).step_by(10) {
        let io_pressure = Some(crate::signal::Pressure { some_total_us: u64::from(second) * 800_000, ..Default::default() });
        bench.say(second.into(), Body::NodeMemory(NodeSample { io_pressure, ..NodeSample::default() }));
    }
    bench.pleg_hangs(110);
    let pleg = bench.about(Cause::PlegUnhealthy);
    assert!(pleg.summary.contains("It probably began with this: the node was short of disk I/O"), "{}", pleg.summary);
    assert!(pleg.evidence.iter().any(|evidence| evidence.what.contains("some task waited for disk I/O")), "{:?}", pleg.evidence);
}

impl Bench {
    fn kubelet_runs(&mut self, second: f64, runs: Option<bool>) {
        self.say(second, Body::Room(crate::signal::RoomSample { kubelet_runs: runs, ..Default::default() }));
    }
}

#[test]
fn a_kubelet_that_vanished_without_a_word_is_down_until_one_runs_again() {
    let mut bench = Bench::new();
    let version = r#"I1123 10:00:00.1     812 server.go:1] "Kubelet version" kubeletVersion="v1.36.3""#;
    let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: 1 };
    bench.say(5.0, Body::Kubelet(KubeletLine { origin, text: version.into() }));
    bench.log_is(5.0, crate::signal::SourceState::Up);
    bench.kubelet_runs(100.0, Some(true));
    for second in (110..200).step_by(10) {
        bench.kubelet_runs(f64::from(second), Some(false));
        bench.ticks(second, second + 9);
    }
    assert_eq!(bench.core.snapshot().findings, [], "not yet");
    for second in (200..5_000).step_by(10) {
        bench.kubelet_runs(f64::from(second), Some(false));
        bench.say(f64::from(second), Body::Tick);
    }
    let finding = bench.only();
    assert_eq!((finding.cause, finding.state, finding.count), (Cause::KubeletDown, FindingState::Open, 1));
    assert!(finding.summary.starts_with("The kubelet's process is gone, and no other has come."), "{}", finding.summary);
    assert_eq!((finding.evidence[0].source, finding.first_seen), (crate::findings::EvidenceSource::Node, moment(110.0).wall));
    bench.restarted(5_000.0);
    bench.kubelet_runs(5_010.0, None);
    bench.kubelet_runs(5_020.0, Some(true));
    bench.kubelet_runs(5_030.0, Some(true));
    assert_eq!(bench.only().state, FindingState::Open);
    bench.kubelet_runs(5_040.0, Some(true));
    assert_eq!(bench.only().state, FindingState::Resolved);
}

#[test]
fn a_kubelet_that_systemd_tells_of_is_not_told_twice_and_one_that_restarts_not_at_all() {
    let mut bench = Bench::new();
    bench.log_is(5.0, crate::signal::SourceState::Up);
    bench.kubelet_runs(90.0, Some(true));
    bench.systemd(100.0, "kubelet.service", "a", "kubelet.service: Main process exited, code=killed, status=9/KILL");
    for second in (100..400).step_by(10) {
        bench.kubelet_runs(f64::from(second), Some(false));
        bench.ticks(second, second + 9);
    }
    let finding = bench.only();
    assert_eq!((finding.cause, finding.count), (Cause::KubeletDown, 1));
    assert!(finding.summary.contains("was killed (9/KILL) and has not come back"), "{}", finding.summary);
    let mut bench = Bench::new();
    for second in (100..1_000).step_by(10) {
        bench.kubelet_runs(f64::from(second), Some(second % 90 == 0));
    }
    assert_eq!(bench.core.snapshot().findings, []);
}
