//! Why a request of the kubelet to the API server failed: client-go's and Go's `net` words.

/// A class of failures, each with another place to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiFailure {
    /// Nothing listens at the address.
    Refused,
    /// No answer in time, or the connection broke off.
    Silent,
    /// No way to the address.
    NoRoute,
    /// Its name could not be resolved.
    NameResolution,
    /// It answers that it, or the etcd behind it, cannot keep up.
    Overloaded,
    /// One side does not accept the other's certificate.
    Certificate,
    /// It answers that this kubelet may not do that.
    Identity,
}

impl ApiFailure {
    /// Reads an error; `None` for one that has nothing to do with reaching the API server, such as a
    /// conflict of two writers or a Node object that someone deleted.
    pub fn of(text: &str) -> Option<Self> {
        // The order matters: an error names the request first and its reason last.
        const WORDS: [(ApiFailure, &[&str]); 7] = [
            (ApiFailure::Certificate, &["x509", "tls: bad certificate", "expired certificate", "unknown certificate"]),
            (ApiFailure::Identity, &["unauthorized", "forbidden"]),
            (ApiFailure::Refused, &["connection refused"]),
            (ApiFailure::NameResolution, &["no such host", "server misbehaving", "name resolution"]),
            (ApiFailure::NoRoute, &["no route to host", "network is unreachable", "cannot assign requested address"]),
            (
                ApiFailure::Overloaded,
                &[
                    "etcdserver",
                    "too many requests",
                    "service unavailable",
                    "currently unable to handle",
                    "internal error occurred",
                    "internalerror",
                ],
            ),
            (
                ApiFailure::Silent,
                &[
                    "deadline exceeded",
                    "timeout",
                    "timed out",
                    "request canceled",
                    "connection reset",
                    "connection lost",
                    "broken pipe",
                    "unexpected eof",
                    ": eof",
                    "no connection established",
                ],
            ),
        ];
        let text = text.to_ascii_lowercase();
        WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word))).map(|(failure, _)| *failure)
    }

    /// It, as the end of a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Refused => "the connection is refused, so nothing listens at its address",
            Self::Silent => "no answer comes in time",
            Self::NoRoute => "there is no route to its address",
            Self::NameResolution => "its name cannot be resolved",
            Self::Overloaded => "it answers that it cannot keep up",
            Self::Certificate => "a certificate is not accepted",
            Self::Identity => "it refuses this kubelet's identity",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_to_look() {
        let expected = [
            ("Put \"https://10.0.0.1:6443/apis/x\": dial tcp 10.0.0.1:6443: connect: connection refused", Some(ApiFailure::Refused)),
            ("Get \"https://api/x?timeout=10s\": dial tcp: lookup api on 10.0.0.2:53: no such host", Some(ApiFailure::NameResolution)),
            ("dial tcp 10.0.0.1:6443: connect: no route to host", Some(ApiFailure::NoRoute)),
            (
                "Get \"https://api/x?timeout=10s\": net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
                Some(ApiFailure::Silent),
            ),
            ("Put \"https://api/x\": context deadline exceeded", Some(ApiFailure::Silent)),
            ("http2: client connection lost", Some(ApiFailure::Silent)),
            ("etcdserver: request timed out", Some(ApiFailure::Overloaded)),
            ("tls: failed to verify certificate: x509: certificate has expired or is not yet valid", Some(ApiFailure::Certificate)),
            ("Unauthorized", Some(ApiFailure::Identity)),
            ("leases.coordination.k8s.io \"n1\" is forbidden: User \"system:node:n2\" cannot get resource", Some(ApiFailure::Identity)),
            ("nodes \"n1\" not found", None),
            ("Operation cannot be fulfilled on leases.coordination.k8s.io \"n1\": the object has been modified", None),
            ("update node status exceeds retry count", None),
        ];
        for (text, failure) in expected {
            assert_eq!(ApiFailure::of(text), failure, "{text}");
        }
    }
}
