//! Kills by systemd-oomd and earlyoom.

use super::*;
use crate::signal::{KubeletLine, KubeletOrigin};

impl Bench {
    fn unit_says(&mut self, second: f64, unit: &str, is_pid1: bool, text: &str) {
        let origin = KubeletOrigin::Journal {
            unit: unit.into(),
            role: None,
            identifier: Some("anything".into()),
            pid: None,
            stream: None,
            invocation: None,
            cursor: format!("c{second}"),
            boot_time: Some(moment(second).boot),
            wall: None,
            is_pid1,
        };
        self.say(second, Body::Kubelet(KubeletLine { origin, text: text.into() }));
    }
}

fn scope() -> String {
    format!("cri-containerd-{}.scope", id("a"))
}

#[test]
fn oomds_kill_is_one_finding_with_both_lines_and_the_end_of_the_container() {
    let mut bench = Bench::watching(1.0);
    bench.sample(1.0, &path("a"), 1, None, 0);
    bench.pod(2.0, pod(0, ContainerState::Running { started: None }, None));
    let path = format!("/kubepods.slice/kubepods-pod{}.slice/{}", UID.replace('-', "_"), scope());
    bench.unit_says(
        10.0,
        "systemd-oomd.service",
        false,
        &format!("Killed {path} due to memory pressure for /kubepods.slice being 81.39% > 60.00% for > 30s with reclaim activity"),
    );
    bench.unit_says(10.1, &scope(), true, &format!("{}: systemd-oomd killed 3 process(es) in this unit.", scope()));
    bench.pod(11.0, pod(0, ContainerState::Terminated(ended(137, "Error", 10.0)), None));
    bench.say(30.0, Body::Tick);
    let finding = bench.only();
    assert_eq!(
        (finding.cause, finding.count, finding.scope, finding.blame),
        (Cause::OomUserspace, 1, Scope::Container, Blame::Insufficient)
    );
    assert_eq!((finding.subjects[0].pod.as_deref(), finding.subjects[0].container.as_deref()), (Some("web-1"), Some("app")));
    assert!(finding.evidence.iter().all(|evidence| evidence.supports), "{:?}", finding.evidence);
    assert_eq!((bench.kills(Cause::OomUserspace), bench.terminations(Cause::OomUserspace)), (1, 1));
}

#[test]
fn earlyooms_victim_is_known_by_its_pid() {
    let mut bench = Bench::watching(1.0);
    bench.pod(2.0, pod(0, ContainerState::Running { started: None }, None));
    bench.processes(9.0, &path("a"), &[(17, 1, "app")]);
    bench.unit_says(10.0, "earlyoom.service", false, "sending SIGTERM to process 17 uid 0 \"app\": badness 1310, VmRSS 900 MiB");
    bench.pod(11.0, pod(0, ContainerState::Terminated(ended(143, "Error", 10.0)), None));
    bench.say(30.0, Body::Tick);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.attribution), (Cause::OomUserspace, Attribution::PidCache));
    assert_eq!(bench.terminations(Cause::OomUserspace), 1);
}

#[test]
fn a_service_of_the_host_is_a_victim_too_and_others_words_are_nobodys() {
    let mut bench = Bench::watching(1.0);
    bench.unit_says(5.0, "kubelet.service", false, "Killed /kubepods.slice/x due to memory pressure for / being 81% > 60%");
    assert!(bench.told.is_empty(), "not oomd's unit");
    bench.unit_says(
        10.0,
        "systemd-oomd.service",
        false,
        "Killed /system.slice/builder.service due to memory used (1) / total (2) being more than 90.00%",
    );
    let finding = bench.only();
    assert_eq!((finding.scope, finding.subjects.len(), bench.kills(Cause::OomUserspace)), (Scope::HostService, 0, 1));
    assert!(finding.summary.contains("builder.service"), "{}", finding.summary);
}
