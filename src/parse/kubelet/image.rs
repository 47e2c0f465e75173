//! Images: why one cannot be pulled, and the collection of those that nobody uses.
//!
//! Sources: `pkg/kubelet/images/image_manager.go`, `image_gc_manager.go`, `pkg/kubelet/kubelet.go`.

use super::said::{Said, between};
use super::situation::{Observation, PullFailure, Situation};

/// A pull that failed with this reason and text.
pub fn pull_failed(reason: &str, text: &str) -> Situation {
    let backing_off = reason == "ImagePullBackOff";
    let image = between(text, "Back-off pulling image \"", "\"")
        .or_else(|| between(text, "reference \"", "\""))
        .or_else(|| between(text, "image \"", "\""));
    let failure = if reason == "ErrImageNeverPull" { PullFailure::NotFound } else { PullFailure::of(text) };
    Situation::ImagePullFailed { failure, backing_off, image: image.map(str::to_owned) }
}

impl PullFailure {
    /// Reads the words of containerd, CRI-O, Docker and the registries. The order matters: an error
    /// names the place first and its reason last, and the words of places are reasons elsewhere.
    pub fn of(text: &str) -> Self {
        const WORDS: [(PullFailure, &[&str]); 9] = [
            (PullFailure::NoSpace, &["no space left on device", "disk quota exceeded"]),
            (PullFailure::RateLimit, &["toomanyrequests", "too many requests", "pull rate limit", "429"]),
            (PullFailure::WrongPlatform, &["no match for platform", "no matching manifest", "does not match the specified platform"]),
            (PullFailure::NameResolution, &["no such host", "server misbehaving", "name resolution", "dial tcp: lookup"]),
            (
                PullFailure::Timeout,
                &["i/o timeout", "deadline exceeded", "handshake timeout", "client.timeout", "timed out", "request canceled"],
            ),
            (PullFailure::Tls, &["x509", "tls:", "http response to https client", "certificate"]),
            (PullFailure::ConnectionRefused, &["connection refused", "no route to host", "network is unreachable", "connection reset"]),
            (
                PullFailure::Unauthorised,
                &[
                    "unauthorized",
                    "pull access denied",
                    "insufficient_scope",
                    "authorization failed",
                    "authentication required",
                    "no basic auth",
                    "forbidden",
                    "denied",
                    "401",
                ],
            ),
            (PullFailure::NotFound, &["not found", "manifest unknown", "name unknown", "does not exist", "404"]),
        ];
        let text = text.to_ascii_lowercase();
        WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word))).map_or(Self::Other, |(failure, _)| *failure)
    }

    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Unauthorised => "unauthorised",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::RateLimit => "rate_limit",
            Self::NoSpace => "no_space",
            Self::WrongPlatform => "wrong_platform",
            Self::NameResolution => "name_resolution",
            Self::ConnectionRefused => "connection_refused",
            Self::Other => "other",
        }
    }
}

/// Reads a line about images.
pub fn observe(said: &Said<'_, '_>) -> Option<Observation> {
    pull(said).or_else(|| collection(said))
}

/// The image manager's own line; it names no pod. (`PullImage from image service failed` is a call.)
fn pull(said: &Said<'_, '_>) -> Option<Observation> {
    let backing_off = said.begins(&["Back-off pulling image"]);
    let failed = said.begins(&["Failed to pull image"]) || said.after("Pull image ").is_some_and(|rest| rest.contains("failed"));
    if !failed && !backing_off {
        return None;
    }
    Some(pulled(said, backing_off))
}

/// The call to the runtime that failed, `PullImage from image service failed`.
pub fn pull_call(said: &Said<'_, '_>) -> Observation {
    pulled(said, false)
}

fn pulled(said: &Said<'_, '_>, backing_off: bool) -> Observation {
    let image = said.record().text_of("image").map(|image| image.into_owned());
    let image = image.or_else(|| between(said.message(), "mage \"", "\"").map(str::to_owned));
    said.observation(Situation::ImagePullFailed { failure: PullFailure::of(said.error()), backing_off, image })
}

fn collection(said: &Said<'_, '_>) -> Option<Observation> {
    if said.message().contains("isk usage on image filesystem is") && said.tells("over the high threshold") {
        let number = |key: &str, open: &str, close: &str| {
            let sentence = || between(said.message(), open, close)?.trim().parse().ok();
            said.record().text_of(key).and_then(|value| value.parse().ok()).or_else(sentence)
        };
        let usage = number("usage", "filesystem is at ", "%");
        let to_free = number("amountToFree", "rying to free ", " bytes");
        return Some(said.observation(Situation::ImageGcNeeded { usage, to_free }));
    }
    if said.begins(&["Image garbage collection failed"]) {
        let repeatedly = !said.begins(&["Image garbage collection failed once"]);
        return Some(said.observation(Situation::ImageGcFailed { repeatedly }));
    }
    if said.begins(&["Failed to garbage collect required amount of images"]) {
        return Some(said.observation(Situation::ImageGcFailed { repeatedly: true }));
    }
    said.begins(&["Container garbage collection failed"]).then(|| said.observation(Situation::ContainerGcFailed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::klog::KlogRecord;

    fn observed(text: &str) -> Option<Situation> {
        let line = format!("I0307 04:05:06.1 1 a.go:1] {text}");
        observe(&Said::of(&KlogRecord::parse(&line)).expect("klog")).map(|found| found.situation)
    }

    #[test]
    fn why_a_pull_failed() {
        let expected = [
            ("failed to resolve reference \"r.example/a:1\": r.example/a:1: not found", PullFailure::NotFound),
            (
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope",
                PullFailure::Unauthorised,
            ),
            ("unexpected status from HEAD request to https://r.example/v2/a: 401 Unauthorized", PullFailure::Unauthorised),
            ("tls: failed to verify certificate: x509: certificate signed by unknown authority", PullFailure::Tls),
            ("http: server gave HTTP response to HTTPS client", PullFailure::Tls),
            ("net/http: TLS handshake timeout", PullFailure::Timeout),
            ("dial tcp: lookup r.example on 10.0.0.2:53: no such host", PullFailure::NameResolution),
            ("dial tcp 10.1.1.1:443: connect: connection refused", PullFailure::ConnectionRefused),
            ("429 Too Many Requests - toomanyrequests: You have reached your pull rate limit", PullFailure::RateLimit),
            ("no match for platform in manifest: not found", PullFailure::WrongPlatform),
            ("write /var/lib/x: no space left on device", PullFailure::NoSpace),
            ("reading signatures: unrecognised format", PullFailure::Other),
        ];
        for (text, failure) in expected {
            assert_eq!(PullFailure::of(text), failure, "{text}");
        }
    }

    #[test]
    fn the_image_is_named() {
        let expected = Situation::ImagePullFailed { failure: PullFailure::Other, backing_off: true, image: Some("r.example/a:1".into()) };
        assert_eq!(pull_failed("ImagePullBackOff", "Back-off pulling image \"r.example/a:1\""), expected);
        assert_eq!(
            observed("\"Failed to pull image\" err=\"manifest unknown\" image=\"a:1\""),
            Some(Situation::ImagePullFailed { failure: PullFailure::NotFound, backing_off: false, image: Some("a:1".into()) })
        );
    }

    #[test]
    fn collection_in_both_generations() {
        let needed = Some(Situation::ImageGcNeeded { usage: Some(91), to_free: Some(1000) });
        assert_eq!(
            observed(
                "\"Disk usage on image filesystem is over the high threshold, trying to free bytes down to the low threshold\" usage=91 highThreshold=85 amountToFree=1000 lowThreshold=80"
            ),
            needed
        );
        assert_eq!(
            observed(
                "[imageGCManager]: Disk usage on image filesystem is at 91% which is over the high threshold (85%). Trying to free 1000 bytes down to the low threshold (80%)."
            ),
            needed
        );
        assert_eq!(
            observed("\"Image garbage collection failed once. Stats initialization may not have completed yet\" err=\"x\""),
            Some(Situation::ImageGcFailed { repeatedly: false })
        );
        assert_eq!(
            observed("Image garbage collection failed multiple times in a row: x"),
            Some(Situation::ImageGcFailed { repeatedly: true })
        );
        assert_eq!(observed("Container garbage collection failed: x"), Some(Situation::ContainerGcFailed));
        assert_eq!(observed("\"Removing image to free bytes\" imageID=\"x\" size=1"), None);
    }
}
