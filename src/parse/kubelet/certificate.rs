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

/// Any other line with a certificate that someone does not accept, such as a failed list or watch.
pub fn not_accepted(said: &Said<'_, '_>) -> Option<Observation> {
    let told = said.tells("x509: certificate") || said.tells("x509: cannot validate certificate");
    told.then(|| said.about(Subject::default(), Situation::Certificate { problem: CertificateProblem::NotAccepted }))
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
        ];
        for (text, problem) in expected {
            assert_eq!(problem_of(text), Some(problem), "{text}");
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
