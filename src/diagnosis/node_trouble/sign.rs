//! Signs of trouble: what one line of the kubelet's log says about the node itself.
//!
//! Flows in: an [`Observation`]. Flows out: a [`Sign`], which names the deepest cause that the line
//! names; what follows from that cause is said beside it.

use super::api_failure::ApiFailure;
use crate::{
    model::Cause,
    parse::kubelet::{CertificateProblem, CriCall, NotReady, Observation, Situation},
};

/// One sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Sign {
    /// The trouble.
    pub cause: Cause,
    /// What is wrong, as a clause.
    pub what: String,
    /// How much that clause tells: of the signs of one trouble, the highest gives the words.
    pub rank: u8,
    /// The kind of line; the first of each kind becomes evidence.
    pub kind: &'static str,
    /// For so many seconds the signs must go on before the trouble is told: shorter than that is what
    /// every restart and every busy moment shows.
    pub hold_seconds: u64,
    /// The line is said once: the trouble is told after that time even if nothing follows.
    pub once: bool,
    /// Each such line is another happening of the trouble, not one more sign of the same.
    pub counts: bool,
    /// The trouble lasts until its service starts again, however silent the log is.
    pub until_started: bool,
    /// What the line names beside it that follows from it.
    pub brings: Vec<Cause>,
}

impl Sign {
    /// A line that repeats while the trouble lasts.
    pub fn lasting(cause: Cause, kind: &'static str, hold_seconds: u64, what: impl Into<String>) -> Self {
        Self { cause, what: what.into(), rank: 1, kind, hold_seconds, once: false, counts: false, until_started: false, brings: vec![] }
    }

    /// A service that is down until it says that it has started.
    pub fn down(cause: Cause, kind: &'static str, what: impl Into<String>) -> Self {
        Self { once: true, counts: true, until_started: true, ..Self::lasting(cause, kind, 0, what) }
    }

    /// Something that happened.
    pub fn event(cause: Cause, kind: &'static str, what: impl Into<String>) -> Self {
        Self { once: true, counts: true, ..Self::lasting(cause, kind, 0, what) }
    }

    fn ranked(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    fn bringing(self, brings: Vec<Cause>) -> Self {
        Self { brings, ..self }
    }
}

/// The runtime answers again within seconds of its restart.
const RUNTIME_HOLD_SECONDS: u64 = 15;
/// A runtime that is slow under load fails single calls.
const SLOW_HOLD_SECONDS: u64 = 60;
/// A network plugin needs some time after each start of the node.
const NETWORK_HOLD_SECONDS: u64 = 30;
/// Two renewals of the lease (every 10 s); the node counts as lost after 40 s.
const API_HOLD_SECONDS: u64 = 20;
/// Descriptors come and go.
const DESCRIPTORS_HOLD_SECONDS: u64 = 10;
/// What is said once waits so long for the line that says why.
const WHY_HOLD_SECONDS: u64 = 10;

/// The sign that a line gives, if it is about the node. Lines about units are not read here.
pub fn sign_of(observation: &Observation) -> Option<Sign> {
    let said = observation.said.as_str();
    match &observation.situation {
        Situation::FatalStart if is_without_runtime(said) => {
            let what = "the container runtime does not answer, so that the kubelet cannot start";
            let sign = Sign::lasting(Cause::RuntimeDown, "fatal", RUNTIME_HOLD_SECONDS, what);
            Some(sign.ranked(3).bringing(vec![Cause::KubeletDown]))
        }
        Situation::FatalStart => {
            let what = format!("the kubelet cannot start: {}", reason(said));
            Some(Sign::down(Cause::KubeletDown, "fatal", what).ranked(3))
        }
        Situation::WatchdogWithheld => {
            let what = "the kubelet is alive and finds itself unhealthy, so that systemd will kill it";
            Some(Sign::lasting(Cause::KubeletDown, "watchdog", 0, what))
        }
        Situation::OutOfDescriptors { inotify } => Some(descriptors(*inotify)),
        Situation::EmbeddedRuntimeEnded => {
            Some(Sign::lasting(Cause::RuntimeDown, "embedded", 0, "the container runtime inside of the kubelet's process ended").ranked(3))
        }
        Situation::RelistFailed if !is_slow(said) => None,
        Situation::RelistFailed => {
            Some(Sign::lasting(Cause::PlegUnhealthy, "relist", SLOW_HOLD_SECONDS, "the runtime lists its containers too slowly"))
        }
        Situation::CriCallFailed { unreachable: true, .. } => {
            Some(Sign::lasting(Cause::RuntimeDown, "call", RUNTIME_HOLD_SECONDS, "the container runtime does not answer the kubelet"))
        }
        Situation::CriCallFailed { call: CriCall::Survey, .. } if is_slow(said) => {
            Some(Sign::lasting(Cause::RuntimeDown, "survey", SLOW_HOLD_SECONDS, "the container runtime does not answer in time"))
        }
        Situation::NetworkNotReady => Some(network()),
        Situation::SyncBlocked { causes, pleg_age } => not_ready(*causes, pleg_age.map(|age| age.as_secs()), "blocked", said),
        Situation::NodeNotReady { causes } => not_ready(*causes, None, "not_ready", said),
        Situation::LeaseFailed { .. } => api(said, "lease"),
        Situation::NodeStatusFailed { .. } => api(said, "status"),
        Situation::RegistrationFailed => api(said, "registration"),
        Situation::Certificate { problem } => certificate(*problem),
        _ => None,
    }
}

fn descriptors(inotify: bool) -> Sign {
    let what = if inotify {
        "the kubelet cannot watch files: no inotify instance is left for its user"
    } else {
        "the kubelet runs and can open neither files nor connections: it has no file descriptor left"
    };
    Sign::lasting(Cause::KubeletDown, "descriptors", DESCRIPTORS_HOLD_SECONDS, what)
}

fn network() -> Sign {
    Sign::lasting(Cause::NetworkNotReady, "network", NETWORK_HOLD_SECONDS, "the node's network plugin is not ready")
}

/// The deepest of the causes: without a runtime the PLEG and the network fail as well.
fn not_ready(causes: NotReady, pleg_age: Option<u64>, kind: &'static str, said: &str) -> Option<Sign> {
    let NotReady { runtime_down, pleg, network: no_network, starting } = causes;
    let declared = (kind == "not_ready").then_some(Cause::NodeNotReady);
    let brings =
        |others: &[(bool, Cause)]| others.iter().filter(|(holds, _)| *holds).map(|(_, cause)| *cause).chain(declared).collect::<Vec<_>>();
    if runtime_down {
        let sign = Sign::lasting(Cause::RuntimeDown, kind, 0, "the container runtime does not answer the kubelet");
        return Some(sign.ranked(2).bringing(brings(&[(pleg, Cause::PlegUnhealthy), (no_network, Cause::NetworkNotReady)])));
    }
    if pleg {
        let age = pleg_age.map_or(String::new(), |age| format!(", the last time {age} s before"));
        let what = format!("the kubelet's round over its containers (PLEG) does not finish{age}");
        let sign = Sign::lasting(Cause::PlegUnhealthy, kind, WHY_HOLD_SECONDS, what);
        return Some(sign.ranked(if pleg_age.is_some() { 2 } else { 1 }).bringing(brings(&[(no_network, Cause::NetworkNotReady)])));
    }
    if no_network {
        return Some(Sign { kind, brings: brings(&[]), ..network() });
    }
    let ordinary = starting || said.contains("node is shutting down");
    (declared.is_some() && !ordinary).then(|| Sign {
        once: true,
        ..Sign::lasting(Cause::NodeNotReady, kind, WHY_HOLD_SECONDS, "the kubelet declares its node not ready")
    })
}

fn api(said: &str, kind: &'static str) -> Option<Sign> {
    let failure = ApiFailure::of(said)?;
    let cause = match failure {
        ApiFailure::Certificate | ApiFailure::Identity => Cause::KubeletCertificate,
        _ => Cause::ApiServerUnreachable,
    };
    let what = match cause {
        Cause::KubeletCertificate => format!("the kubelet and the API server do not accept each other: {}", failure.words()),
        _ => format!("the kubelet does not get through to the API server: {}", failure.words()),
    };
    Some(Sign::lasting(cause, kind, API_HOLD_SECONDS, what))
}

fn certificate(problem: CertificateProblem) -> Option<Sign> {
    let (kind, hold, rank, what) = match problem {
        CertificateProblem::ClientExpired => {
            ("client_expired", 0, 3, "the kubelet's client certificate has expired: it cannot speak to the API server")
        }
        CertificateProblem::ClientMissing => {
            ("client_missing", 0, 3, "the kubelet has no valid client certificate: it cannot speak to the API server")
        }
        CertificateProblem::RotationFailed => ("rotation", API_HOLD_SECONDS, 2, "the kubelet cannot renew its certificate"),
        CertificateProblem::NoServing => {
            ("serving", API_HOLD_SECONDS, 1, "the kubelet has no serving certificate: logs, exec and metrics of this node fail")
        }
        CertificateProblem::NotAccepted => {
            ("not_accepted", API_HOLD_SECONDS, 1, "a certificate between the kubelet and the API server is not accepted")
        }
        CertificateProblem::OfOthers => return None,
    };
    Some(Sign { once: hold == 0, ..Sign::lasting(Cause::KubeletCertificate, kind, hold, what).ranked(rank) })
}

fn is_slow(said: &str) -> bool {
    said.contains("DeadlineExceeded") || said.contains("deadline exceeded")
}

/// `validate service connection: … containerd.sock: connect: connection refused` (cmd/kubelet/app/server.go).
fn is_without_runtime(said: &str) -> bool {
    said.contains("validate service connection")
        || said.contains(".sock") && ["refused", "no such file"].iter().any(|word| said.contains(word))
}

/// The end of the fatal sentence, which is the reason.
fn reason(said: &str) -> &str {
    const BEGINNINGS: [&str; 3] = ["command failed: ", "Failed to run kubelet: ", "failed to run Kubelet: "];
    let rest = BEGINNINGS.iter().fold(said, |rest, begin| rest.strip_prefix(begin).unwrap_or(rest));
    rest.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::kubelet::KubeletReader;

    fn sign(text: &str) -> Option<Sign> {
        let mut reader = KubeletReader::default();
        let told = reader.push(Some("kubelet"), &format!("E0307 04:05:06.1 1 a.go:1] {text}"));
        sign_of(told.first().expect("an observation"))
    }

    #[test]
    fn the_deepest_cause_gives_the_name() {
        let down = sign(r#""Skipping pod synchronization" err="[container runtime is down, PLEG is not healthy: pleg was last seen active 3m5.1s ago; threshold is 3m0s]""#).expect("sign");
        assert_eq!((down.cause, down.brings, down.hold_seconds), (Cause::RuntimeDown, vec![Cause::PlegUnhealthy], 0));
        let pleg =
            sign(r#""Skipping pod synchronization" err="PLEG is not healthy: pleg was last seen active 3m5.1s ago; threshold is 3m0s""#)
                .expect("sign");
        assert_eq!((pleg.cause, pleg.brings), (Cause::PlegUnhealthy, vec![]));
        assert!(pleg.what.ends_with("185 s before"), "{}", pleg.what);
        let node = sign(r#""Node became not ready" node="n" condition={"type":"Ready","status":"False","reason":"KubeletNotReady","message":"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"}"#).expect("sign");
        assert_eq!((node.cause, node.brings, node.hold_seconds), (Cause::NetworkNotReady, vec![Cause::NodeNotReady], 30));
    }

    #[test]
    fn what_every_start_shows_is_no_sign() {
        for text in [
            r#""Skipping pod synchronization" err="[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]""#,
            r#""Node became not ready" node="n" condition={"type":"Ready","status":"False","reason":"KubeletNotReady","message":"CSINode is not yet initialized"}"#,
            r#""Node became not ready" node="n" condition={"type":"Ready","status":"False","reason":"KubeletNotReady","message":"node is shutting down"}"#,
            r#""Unable to authenticate the request due to an error" err="verifying certificate SN=12 failed: x509: certificate signed by unknown authority""#,
            r#""Failed to update lease" err="Operation cannot be fulfilled on leases.coordination.k8s.io \"n\": the object has been modified""#,
        ] {
            assert_eq!(sign(text), None, "{text}");
        }
    }

    #[test]
    fn a_refused_identity_is_no_unreachable_api_server() {
        let cause = |text: &str| sign(text).expect("sign").cause;
        assert_eq!(cause(r#""Unable to register node with API server" err="Unauthorized" node="n""#), Cause::KubeletCertificate);
        assert_eq!(
            cause(r#""Failed to update lease" err="dial tcp 10.0.0.1:6443: connect: connection refused""#),
            Cause::ApiServerUnreachable
        );
    }

    #[test]
    fn a_fatal_start_says_why() {
        let told = sign(r#""command failed" err="failed to run Kubelet: running with swap on is not supported""#).expect("sign");
        assert_eq!(
            (told.cause, told.what.as_str()),
            (Cause::KubeletDown, "the kubelet cannot start: running with swap on is not supported")
        );
    }
}
