//! Probes, the decision to kill, the kill and the end of a container.
//!
//! Sources: `pkg/kubelet/prober/prober.go`, `pkg/kubelet/kubelet.go`, `pkg/kubelet/kuberuntime`,
//! `pkg/kubelet/pleg/generic.go`.

use super::said::{Said, between};
use super::situation::{KillReason, Observation, Probe, Situation};
use super::subject::{Subject, container_id};

/// Reads a line about a probe or a container's end.
pub fn observe(said: &Said<'_, '_>) -> Option<Observation> {
    probed(said)
        .or_else(|| probed_old(said))
        .or_else(|| decision(said))
        .or_else(|| kill_reason(said))
        .or_else(|| kill(said))
        .or_else(|| finished(said))
}

/// `"Probe failed" probeType="Liveness" …`
fn probed(said: &Said<'_, '_>) -> Option<Observation> {
    let errored = said.begins(&["Probe errored", "Error when probing"]);
    if !errored && !said.begins(&["Probe failed"]) {
        return None;
    }
    let probe = said.record().text_of("probeType").as_deref().and_then(Probe::parse)?;
    Some(said.observation(Situation::ProbeFailed { probe, errored }))
}

/// A probe that never left the kubelet: the dialer of its own process (Go, net/dial.go) was given no socket. The output of
/// a command in the container looks otherwise.
pub fn not_sent(said: &Said<'_, '_>) -> Option<Observation> {
    if !said.begins(&["Probe failed", "Probe errored"]) {
        return None;
    }
    let output = said.record().text_of("output")?;
    let dialled = output.starts_with("Get \"http") || output.starts_with("dial tcp ");
    (dialled && output.ends_with(": socket: too many open files"))
        .then(|| said.about(Subject::default(), Situation::OutOfDescriptors { inotify: false }))
}

/// `Liveness probe for "web-0_default(uid):app" failed (failure): …` (until 1.20).
fn probed_old(said: &Said<'_, '_>) -> Option<Observation> {
    let (word, rest) = said.message().split_once(" probe for \"")?;
    let probe = Probe::parse(word)?;
    let (target, rest) = rest.split_once('"')?;
    let errored = rest.trim_start().starts_with("errored");
    if !errored && !rest.trim_start().starts_with("failed") {
        return None;
    }
    let (pod, container) = target.rsplit_once(':').unwrap_or((target, ""));
    let subject = Subject::of_old(pod).unwrap_or_default().with_container(container);
    Some(said.about(subject, Situation::ProbeFailed { probe, errored }))
}

/// `"SyncLoop (probe)"` tells of each turn; only unhealthy liveness and startup probes kill.
fn decision(said: &Said<'_, '_>) -> Option<Observation> {
    if said.begins(&["SyncLoop (container unhealthy)"]) {
        return Some(said.observation(Situation::ProbeDecision { probe: None }));
    }
    said.after("SyncLoop (probe)")?;
    let probe = said.record().text_of("probe").as_deref().and_then(Probe::parse)?;
    let unhealthy = said.record().text_of("status").as_deref() == Some("unhealthy");
    let kills = unhealthy && probe != Probe::Readiness;
    kills.then(|| said.observation(Situation::ProbeDecision { probe: Some(probe) }))
}

/// `"Message for Container of pod" … containerMessage="…"`; until 1.20 `Container "app" ({…}) of pod
/// name_ns(uid): …`.
fn kill_reason(said: &Said<'_, '_>) -> Option<Observation> {
    let (text, mut subject) = match said.after("Message for Container of pod") {
        Some(_) => (said.record().text_of("containerMessage").unwrap_or_default(), said.subject()),
        None => {
            let rest = said.after("Container \"")?;
            let (name, rest) = rest.split_once('"')?;
            let (_, rest) = rest.split_once(" of pod ")?;
            (rest.into(), said.subject().with_container(name))
        }
    };
    let id = said.record().text_of("containerStatusID").and_then(|id| container_id(&id));
    subject.container_id = subject.container_id.or(id);
    Some(said.about(subject, Situation::KillReason { reason: reason(&text) }))
}

fn reason(text: &str) -> KillReason {
    let lower = text.to_ascii_lowercase();
    let has = |words: &str| lower.contains(words);
    if has("failed liveness probe") || has("is unhealthy, it will be killed and re-created") {
        KillReason::Probe(Probe::Liveness)
    } else if has("failed startup probe") {
        KillReason::Probe(Probe::Startup)
    } else if has("definition changed") {
        KillReason::DefinitionChanged
    } else {
        KillReason::Other
    }
}

/// `"Killing container with a grace period"`; until 1.20 `Killing container "docker://…" with a 30
/// second grace period`, 1.21 `"Killing container with a grace period override"`.
fn kill(said: &Said<'_, '_>) -> Option<Observation> {
    const FAILED: [&str; 3] = ["Container termination failed with gracePeriod", "Kill container failed", "Failed to kill container"];
    const HOOKS: [&str; 4] =
        ["PreStop hook failed", "PreStop hook not completed in grace period", "Failed to execute PostStartHook", "PostStart hook failed"];
    if said.begins(&FAILED) {
        return Some(said.observation(Situation::KillFailed));
    }
    if said.begins(&HOOKS) {
        return Some(said.observation(Situation::HookFailed));
    }
    let rest = said.after("Killing container ")?;
    let seconds = said.record().text_of("gracePeriod").and_then(|text| text.parse().ok());
    let seconds = seconds.or_else(|| between(rest, "with ", " second")?.trim_start_matches("a ").trim().parse().ok());
    let mut subject = said.subject();
    subject.container_id = subject.container_id.or_else(|| container_id(said.message()));
    Some(said.about(subject, Situation::Killing { grace_seconds: seconds }))
}

/// `"Generic (PLEG): container finished" podID=… containerID=… exitCode=137`, also for sandboxes.
fn finished(said: &Said<'_, '_>) -> Option<Observation> {
    said.after("Generic (PLEG): container finished")?;
    let exit_code = said.record().text_of("exitCode")?.parse().ok()?;
    Some(said.observation(Situation::Finished { exit_code }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PodUid;
    use crate::parse::klog::KlogRecord;

    const UID: &str = "0a1b2c3d-0000-1111-2222-333344445555";

    fn observed(text: &str) -> Option<Observation> {
        let line = format!("I0307 04:05:06.1 1 a.go:1] {text}");
        observe(&Said::of(&KlogRecord::parse(&line)).expect("klog"))
    }

    #[test]
    fn a_failed_probe_of_every_generation() {
        let keys = format!("pod=\"ns/web-0\" podUID={UID} containerName=\"app\"");
        for (text, errored) in [
            (format!("Liveness probe for \"web-0_ns({UID}):app\" failed (failure): HTTP probe failed with statuscode: 500"), false),
            (format!("Liveness probe for \"web-0_ns({UID}):app\" errored: rpc error"), true),
            (
                format!(
                    "\"Probe failed\" probeType=\"Liveness\" {keys} probeResult=failure output=\"HTTP probe failed with statuscode: 500\""
                ),
                false,
            ),
            (format!("\"Probe failed\" probeType=\"Liveness\" {keys} probeResult=\"failure\" output=<\n\tcat: no\n >"), false),
            (format!("\"Probe errored\" err=\"rpc error\" probeType=\"Liveness\" {keys}"), true),
        ] {
            let found = observed(&text).expect("probe");
            assert_eq!(found.situation, Situation::ProbeFailed { probe: Probe::Liveness, errored }, "{text}");
            assert_eq!((found.subject.path().as_deref(), found.subject.container.as_deref()), (Some("ns/web-0"), Some("app")), "{text}");
            assert_eq!(found.subject.uid.as_ref().map(PodUid::as_str), Some(UID));
        }
    }

    #[test]
    fn the_reason_of_a_kill_of_every_generation() {
        for reason in [
            "Container app failed liveness probe, will be restarted",
            "pod \"web-0_ns(x)\" container \"app\" is unhealthy, it will be killed and re-created.",
        ] {
            let found = observed(&format!("Container \"app\" ({{\"docker\" \"x\"}}) of pod web-0_ns({UID}): {reason}")).expect("reason");
            assert_eq!(found.situation, Situation::KillReason { reason: KillReason::Probe(Probe::Liveness) }, "{reason}");
        }
    }

    #[test]
    fn only_unhealthy_probes_that_kill_are_decisions() {
        let decision = |probe: &str, status: &str| {
            observed(&format!("\"SyncLoop (probe)\" probe=\"{probe}\" status=\"{status}\" pod=\"ns/a\"")).map(|found| found.situation)
        };
        assert_eq!(decision("liveness", "unhealthy"), Some(Situation::ProbeDecision { probe: Some(Probe::Liveness) }));
        assert_eq!(decision("startup", "unhealthy"), Some(Situation::ProbeDecision { probe: Some(Probe::Startup) }));
        for (probe, status) in
            [("readiness", ""), ("readiness", "not ready"), ("readiness", "ready"), ("startup", "started"), ("liveness", "healthy")]
        {
            assert_eq!(decision(probe, status), None, "{probe} {status}");
        }
    }

    #[test]
    fn why_and_how_a_container_is_killed() {
        let id = "cd".repeat(32);
        let why = observed(&format!("\"Message for Container of pod\" containerName=\"app\" containerStatusID={{\"Type\":\"containerd\",\"ID\":\"{id}\"}} pod=\"ns/a\" containerMessage=\"Container app failed startup probe, will be restarted\"")).expect("reason");
        assert_eq!(why.situation, Situation::KillReason { reason: KillReason::Probe(Probe::Startup) });
        assert!(why.subject.container_id.is_some());
        let old = observed(&format!(
            "Container \"app\" ({{\"docker\" \"{id}\"}}) of pod web-0_ns({UID}): Container app definition changed, will be restarted"
        ))
        .expect("reason");
        assert_eq!(
            (old.situation, old.subject.container.as_deref()),
            (Situation::KillReason { reason: KillReason::DefinitionChanged }, Some("app"))
        );
        for text in [
            format!(
                "\"Killing container with a grace period\" pod=\"ns/a\" containerName=\"app\" containerID=\"containerd://{id}\" gracePeriod=30"
            ),
            format!("Killing container \"docker://{id}\" with a 30 second grace period"),
            format!("Killing container \"docker://{id}\" with 30 second grace period"),
        ] {
            let found = observed(&text).expect("kill");
            assert_eq!(found.situation, Situation::Killing { grace_seconds: Some(30) }, "{text}");
            assert!(found.subject.container_id.is_some());
        }
    }

    #[test]
    fn the_end_of_a_container() {
        let found =
            observed(&format!("\"Generic (PLEG): container finished\" podID={UID} containerID=\"{}\" exitCode=137", "ab".repeat(32)))
                .expect("end");
        assert_eq!((found.situation, found.subject.uid.is_some()), (Situation::Finished { exit_code: 137 }, true));
    }
}
