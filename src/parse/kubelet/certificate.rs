//! Certificates: the kubelet's own two, and what others show it.
//!
//! Sources: `k8s.io/client-go/util/certificate`, `pkg/kubelet/certificate`, `net/http`'s server.

use super::said::Said;
use super::situation::{CertificateProblem, Observation, Situation};
use super::subject::Subject;

/// Reads a line about certificates.
pub fn observe(said: &Said<'_, '_>) -> Option<Observation> {
    problem(said).map(|problem| said.about(Subject::default(), Situation::Certificate { problem }))
}

fn problem(said: &Said<'_, '_>) -> Option<CertificateProblem> {
    const ROTATION: [&str; 5] = [
        "Failed while requesting a signed certificate from the",
        "ertificate request was not signed",
        "Unable to store the new cert/key pair",
        "ertificate request was denied",
        "cannot create certificate signing request",
    ];
    if said.tells("no serving certificate available for the kubelet") {
        return Some(CertificateProblem::NoServing);
    }
    let expired = said.tells("bootstrap client certificate") && said.tells("expired");
    if said.begins(&["The currently active client certificate has expired"]) || expired {
        return Some(CertificateProblem::ClientExpired);
    }
    if said.begins(&["No valid client certificate is found"]) || said.tells("since a valid client cert was found") {
        return Some(CertificateProblem::ClientMissing);
    }
    if ROTATION.iter().any(|words| said.tells(words)) {
        return Some(CertificateProblem::RotationFailed);
    }
    None
}

/// Any other line with a certificate that someone does not accept: the kubelet's own where its own request to
/// the API server failed so.
pub fn not_accepted(said: &Said<'_, '_>) -> Option<Observation> {
    if !said.tells(UNTRUSTED[0]) && !said.tells(UNTRUSTED[1]) {
        return None;
    }
    let own = is_reflector(said) || is_request(said.error()) || is_request(said.message());
    let problem = if own { CertificateProblem::NotAccepted } else { CertificateProblem::OfOthers };
    Some(said.about(Subject::default(), Situation::Certificate { problem }))
}

/// How `crypto/x509` begins to say why it does not accept a certificate.
const UNTRUSTED: [&str; 2] = ["x509: certificate", "x509: cannot validate certificate"];

/// `Failed to watch *v1.Node: failed to list *v1.Node: …` (`k8s.io/client-go/tools/cache/reflector.go`).
fn is_reflector(said: &Said<'_, '_>) -> bool {
    ["ailed to list *", "ailed to watch *"].iter().any(|words| said.tells(words))
}

/// `Post "https://10.0.0.1:6443/apis/…": tls: failed to verify certificate: x509: …` of `net/http`. An API server in the same
/// process asks webhooks and other API servers, which is none of the kubelet's.
fn is_request(error: &str) -> bool {
    const OF_AN_API_SERVER: [&str; 4] = ["webhook", "OpenAPI", "failing or missing response", "error trying to reach service"];
    let asks = |rest: &str| {
        let Some((url, reason)) = rest.split_once(": ") else { return false };
        let reason = reason.strip_prefix("tls: failed to verify certificate: ").unwrap_or(reason);
        (url.contains("/api/v1/") || url.contains("/apis/")) && UNTRUSTED.iter().any(|words| reason.starts_with(words))
    };
    !OF_AN_API_SERVER.iter().any(|words| error.contains(words)) && error.split("https://").skip(1).any(asks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::klog::KlogRecord;

    fn problem_of(text: &str) -> Option<CertificateProblem> {
        let line = format!("E0307 04:05:06.1 1 a.go:1] {text}");
        let record = KlogRecord::parse(&line);
        let said = Said::of(&record).expect("klog");
        match observe(&said).or_else(|| not_accepted(&said))?.situation {
            Situation::Certificate { problem } => Some(problem),
            _ => None,
        }
    }

    #[test]
    fn every_problem() {
        let expected = [
            ("http: TLS handshake error from 10.0.0.9:5: no serving certificate available for the kubelet", CertificateProblem::NoServing),
            (
                "\"The currently active client certificate has expired and the server is responsive, exiting.\"",
                CertificateProblem::ClientExpired,
            ),
            (
                "part of the existing bootstrap client certificate is expired: 2026-01-01 00:00:00 +0000 UTC",
                CertificateProblem::ClientExpired,
            ),
            (
                "\"Unhandled Error\" err=\"kubernetes.io/kube-apiserver-client-kubelet: Failed while requesting a signed certificate from the control plane: cannot create\"",
                CertificateProblem::RotationFailed,
            ),
            ("\"Certificate request was not signed\" err=\"timed out\"", CertificateProblem::RotationFailed),
            (
                "Failed to list *v1.Node: Get https://api: x509: certificate has expired or is not yet valid",
                CertificateProblem::NotAccepted,
            ),
            (
                "\"Unable to write event\" err=\"Post \\\"https://10.0.0.1:6443/api/v1/namespaces/a/events\\\": tls: failed to verify certificate: x509: certificate signed by unknown authority\"",
                CertificateProblem::NotAccepted,
            ),
        ];
        for (text, problem) in expected {
            assert_eq!(problem_of(text), Some(problem), "{text}");
        }
    }

    #[test]
    fn what_others_show_and_ask_is_not_the_kubelets() {
        for text in [
            "\"Unable to authenticate the request due to an error\" err=\"verifying certificate SN=12, SKID=, AKID= failed: x509: certificate signed by unknown authority\"",
            "\"Unable to authenticate the request due to an error\" err=\"[x509: certificate has expired or is not yet valid, Post \\\"https://10.0.0.1:6443/apis/authentication.k8s.io/v1/tokenreviews\\\": context canceled]\"",
            "Failed calling webhook, failing open a.b.c: failed calling webhook \"a.b.c\": Post \"https://a.b.svc:443/apis/x?timeout=10s\": x509: certificate signed by unknown authority",
            "\"Unhandled Error\" err=\"v1beta1.metrics.k8s.io failed with: failing or missing response from https://10.43.0.9:443/apis/metrics.k8s.io/v1beta1: Get \\\"https://10.43.0.9:443/apis/metrics.k8s.io/v1beta1\\\": x509: certificate signed by unknown authority\"",
            "\"Failed to fetch\" err=\"Get \\\"https://10.1.2.3:8443/metrics\\\": x509: cannot validate certificate for 10.1.2.3\"",
        ] {
            assert_eq!(problem_of(text), Some(CertificateProblem::OfOthers), "{text}");
        }
    }

    #[test]
    fn plans_and_strangers_are_no_problem() {
        for text in [
            "\"Certificate expiration and rotation deadline\" expiration=\"2027\"",
            "Rotating certificates",
            "http: TLS handshake error from 10.0.0.9:5: EOF",
        ] {
            assert_eq!(problem_of(text), None, "{text}");
        }
    }
}
