//! Cascades, crashes and noise, line by line.

use super::*;
use crate::parse::kubelet::KubeletReader;

const RUNTIME_GONE: &str = r#""Skipping pod synchronization" err="[container runtime is down, PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s]""#;
const REFUSED: &str =
    r#""Failed to update lease" err="Put \"https://10.0.0.1:6443/x\": dial tcp 10.0.0.1:6443: connect: connection refused""#;

#[derive(Default)]
struct Bench {
    troubles: NodeTroubles,
    told: Vec<News>,
}

fn moment(second: u64) -> Moment {
    let start = Moment { boot: BootTime(0), wall: "2026-11-23T10:00:00Z".parse().expect("time") };
    start.at_boot_time(BootTime(second * 1_000_000))
}

impl Bench {
    fn says(&mut self, second: u64, program: &str, text: &str) {
        let at = moment(second);
        for observation in KubeletReader::default().push(Some(program), text) {
            self.told.extend(self.troubles.take(&observation, at, at.boot));
        }
        // What is stored is what goes on.
        let stored = serde_json::to_string(&self.troubles).expect("json");
        self.troubles = serde_json::from_str(&stored).expect("json");
    }

    fn kubelet(&mut self, second: u64, text: &str) {
        self.says(second, "kubelet", &format!("E0307 04:05:06.1 1 a.go:1] {text}"));
    }

    fn systemd(&mut self, second: u64, text: &str) {
        self.says(second, "systemd", text);
    }

    fn passes(&mut self, second: u64) {
        let news = self.troubles.advance(moment(second).boot, Readable { kubelet_log: true, etcd_log: true });
        self.told.extend(news.into_iter().filter(|news| !matches!(news, News::Holds(_))));
    }

    fn opened(&mut self) -> Vec<News> {
        std::mem::take(&mut self.told).into_iter().filter(|news| !matches!(news, News::Holds(_))).collect()
    }

    fn what(&self, cause: Cause) -> &str {
        self.troubles.episode(cause).expect("an episode").what()
    }
}

#[test]
fn a_cascade_is_one_story() {
    let mut bench = Bench::default();
    bench.kubelet(100, r#""Status from runtime service failed" err="rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused\"""#);
    assert_eq!(bench.opened(), []);
    bench.kubelet(130, RUNTIME_GONE);
    bench.kubelet(131, r#""Node became not ready" node="n" condition={"type":"Ready","message":"container runtime is down"}"#);
    bench.kubelet(135, r#""Container runtime network not ready" networkReady="NetworkReady=false reason:NetworkPluginNotReady message:x""#);
    assert_eq!(bench.opened(), [News::Tell(Cause::RuntimeDown); 3]);
    let episode = bench.troubles.episode(Cause::RuntimeDown).expect("an episode");
    assert_eq!(episode.consequences().collect::<Vec<_>>(), [Cause::NodeNotReady, Cause::PlegUnhealthy, Cause::NetworkNotReady]);
    assert_eq!((episode.since(), episode.witnesses().len(), episode.happenings()), (moment(100), 4, 1));
    bench.kubelet(140, RUNTIME_GONE);
    bench.passes(199);
    assert_eq!(bench.opened(), []);
    bench.passes(200);
    assert_eq!(bench.opened(), [News::Over(Cause::RuntimeDown)]);
}

#[test]
fn a_consequence_that_comes_first_waits_for_its_cause() {
    let mut bench = Bench::default();
    bench
        .kubelet(100, r#""Skipping pod synchronization" err="PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s""#);
    bench.kubelet(105, RUNTIME_GONE);
    assert_eq!(bench.opened(), [News::Tell(Cause::RuntimeDown)]);
    bench.passes(400);
    assert_eq!(bench.opened(), [News::Over(Cause::RuntimeDown)]);
}

#[test]
fn a_runtime_that_only_restarts_is_nothing() {
    let mut bench = Bench::default();
    bench.systemd(100, "Stopping containerd.service - containerd container runtime...");
    bench.kubelet(100, r#""ListPodSandbox with filter from runtime service failed" err="rpc error: code = Unavailable desc = dial unix /run/containerd/containerd.sock: connect: connection refused""#);
    bench.systemd(101, "Stopped containerd.service - containerd container runtime.");
    bench.systemd(102, "Started containerd.service - containerd container runtime.");
    (103..400).for_each(|second| bench.passes(second));
    assert_eq!(bench.opened(), []);
}

#[test]
fn a_runtime_that_was_killed_is_told_when_it_is_back() {
    let mut bench = Bench::default();
    bench.systemd(100, "containerd.service: Main process exited, code=killed, status=9/KILL");
    bench.systemd(100, "containerd.service: Failed with result 'signal'.");
    bench.systemd(105, "containerd.service: Scheduled restart job, restart counter is at 1.");
    bench.systemd(106, "Started containerd.service - containerd container runtime.");
    assert_eq!(bench.opened(), [News::Tell(Cause::RuntimeRestarted)]);
    assert_eq!(
        bench.what(Cause::RuntimeRestarted),
        "the container runtime was killed (9/KILL) and was started again (systemd's restart counter is at 1)"
    );
}

#[test]
fn a_service_that_stays_away_is_down_until_it_is_back() {
    for (unit, cause, after) in [("containerd", Cause::RuntimeDown, 20), ("kubelet", Cause::KubeletDown, 30)] {
        let mut bench = Bench::default();
        bench.systemd(100, &format!("Stopped {unit}.service - a service."));
        bench.passes(100 + after - 1);
        assert_eq!(bench.opened(), []);
        bench.passes(100 + after);
        assert_eq!(bench.opened(), [News::Tell(cause)]);
        assert!(bench.what(cause).contains("was stopped, as someone had asked systemd, and has not come back"));
        bench.passes(5000);
        assert_eq!(bench.opened(), [], "silence is no recovery");
        bench.systemd(5001, &format!("Started {unit}.service - a service."));
        bench.passes(5062);
        assert_eq!(bench.opened(), [News::Over(cause)]);
    }
}

#[test]
fn a_kubelet_that_crashes_counts_and_one_that_cannot_start_is_down() {
    let mut bench = Bench::default();
    let crash = |bench: &mut Bench, second: u64, status: &str, counter: u64| {
        bench.systemd(second, &format!("kubelet.service: Main process exited, code=exited, status={status}"));
        bench.systemd(second, "kubelet.service: Failed with result 'exit-code'.");
        bench.systemd(second + 10, &format!("kubelet.service: Scheduled restart job, restart counter is at {counter}."));
        bench.systemd(second + 10, "Stopped kubelet.service - kubelet: The Kubernetes Node Agent.");
        bench.systemd(second + 10, "Started kubelet.service - kubelet: The Kubernetes Node Agent.");
    };
    crash(&mut bench, 100, "2/INVALIDARGUMENT", 1);
    assert_eq!(bench.opened(), [News::Tell(Cause::KubeletRestarted)]);
    crash(&mut bench, 111, "1/FAILURE", 2);
    assert_eq!(bench.opened(), []);
    crash(&mut bench, 122, "1/FAILURE", 3);
    assert_eq!(bench.opened(), [News::Tell(Cause::KubeletDown)]);
    assert_eq!(
        bench.what(Cause::KubeletDown),
        "the kubelet cannot start: it ended itself with status 1/FAILURE, for the 2nd time in a row"
    );
    bench.kubelet(133, r#""command failed" err="failed to run Kubelet: open /var/lib/kubelet/config.yaml: too many open files""#);
    assert_eq!(bench.what(Cause::KubeletDown), "the kubelet cannot start: open /var/lib/kubelet/config.yaml: too many open files");
    crash(&mut bench, 134, "1/FAILURE", 4);
    assert_eq!(bench.troubles.episode(Cause::KubeletDown).map(Episode::happenings), Some(2));
    bench.opened();
    bench.kubelet(145, r#""Started kubelet""#);
    assert_eq!(bench.opened(), [News::Over(Cause::KubeletDown)]);
}

#[test]
fn a_kubelet_that_was_killed_for_lack_of_memory_says_so() {
    let mut bench = Bench::default();
    bench.systemd(100, "kubelet.service: A process of this unit has been killed by the OOM killer.");
    bench.systemd(100, "kubelet.service: Main process exited, code=killed, status=9/KILL");
    bench.systemd(100, "kubelet.service: Failed with result 'oom-kill'.");
    bench.systemd(110, "Started kubelet.service - kubelet: The Kubernetes Node Agent.");
    assert_eq!(bench.what(Cause::KubeletRestarted), "the kubelet was killed by the kernel's OOM killer and was started again");
}

#[test]
fn an_unreachable_api_server_is_told_when_it_lasts_and_over_when_it_is_back() {
    let mut bench = Bench::default();
    bench.kubelet(100, REFUSED);
    bench.kubelet(107, REFUSED);
    assert_eq!(bench.opened(), []);
    bench.kubelet(121, REFUSED);
    assert_eq!(bench.opened(), [News::Tell(Cause::ApiServerUnreachable)]);
    bench.passes(210);
    assert_eq!(bench.opened(), []);
    bench.passes(211);
    assert_eq!(bench.opened(), [News::Over(Cause::ApiServerUnreachable)]);
}

#[test]
fn an_expired_certificate_is_the_root_of_what_follows() {
    let mut bench = Bench::default();
    bench.kubelet(100, r#""The currently active client certificate has expired and the server is responsive, exiting.""#);
    assert_eq!(bench.opened(), [News::Tell(Cause::KubeletCertificate)]);
    bench.kubelet(101, REFUSED);
    (0..3).for_each(|n| bench.systemd(102 + n * 11, "kubelet.service: Main process exited, code=exited, status=1/FAILURE"));
    assert_eq!(bench.opened(), [News::Tell(Cause::KubeletCertificate); 2]);
    let episode = bench.troubles.episode(Cause::KubeletCertificate).expect("an episode");
    assert_eq!(episode.consequences().collect::<Vec<_>>(), [Cause::ApiServerUnreachable, Cause::KubeletDown]);
}

#[test]
fn the_first_seconds_of_a_kubelet_are_noise() {
    let mut bench = Bench::default();
    bench.kubelet(100, r#""Kubelet version" kubeletVersion="v1.36.3""#);
    bench.kubelet(101, r#""Started kubelet""#);
    for second in (101..129).step_by(5) {
        bench.kubelet(
            second,
            r#""Container runtime network not ready" networkReady="NetworkReady=false reason:NetworkPluginNotReady message:x""#,
        );
        bench.kubelet(second, r#""Skipping pod synchronization" err="[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]""#);
        bench.kubelet(second, r#""Node became not ready" node="n" condition={"type":"Ready","message":"[container runtime is down]"}"#);
    }
    (129..900).for_each(|second| bench.passes(second));
    assert_eq!(bench.opened(), []);
}

#[test]
fn a_node_that_is_not_ready_for_an_own_reason_is_told_after_a_moment() {
    let mut bench = Bench::default();
    bench.kubelet(100, r#""Node became not ready" node="n" condition={"type":"Ready","reason":"KubeletNotReady","message":"failed to initialize top level QOS containers"}"#);
    bench.passes(109);
    assert_eq!(bench.opened(), []);
    bench.passes(110);
    assert_eq!(bench.opened(), [News::Tell(Cause::NodeNotReady)]);
    bench.kubelet(130, r#""Recording event message for node" node="n" event="NodeReady""#);
    assert_eq!(bench.opened(), [News::Over(Cause::NodeNotReady)]);
}

#[test]
fn a_service_that_was_told_to_be_away_comes_back_without_a_second_story() {
    let mut bench = Bench::default();
    bench.systemd(100, "containerd.service: Main process exited, code=killed, status=9/KILL");
    bench.passes(120);
    assert_eq!(bench.opened(), [News::Tell(Cause::RuntimeDown)]);
    bench.systemd(130, "Started containerd.service - containerd container runtime.");
    bench.passes(131);
    assert_eq!(bench.opened(), [News::Over(Cause::RuntimeDown)]);
}
