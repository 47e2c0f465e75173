//! What distributions and pages wrap around a klog line. A line in, the inner text out.

use super::json;
use super::quoting::{split_closing_quote, unescape};
use std::borrow::Cow;

/// How far into a line a wrapper may begin.
const FARTHEST: usize = 200;

/// A line without its wrapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwrapped<'a> {
    /// As it came, or out of a container's log entry.
    Line(Cow<'a, str>),
    /// From a logrus line that k0s made of the kubelet's output; long lines come in several of these.
    Piece(Cow<'a, str>),
    /// A logrus line of another program, such as k3s itself or a k0s component that is not the kubelet.
    Foreign(Cow<'a, str>),
}

/// Takes the wrapper off.
pub fn unwrap(line: &str) -> Unwrapped<'_> {
    if let Some(found) = logrus(line) {
        return found;
    }
    let entry = container_entry(line).unwrap_or(Cow::Borrowed(line));
    Unwrapped::Line(if entry.contains("&quot;") || entry.contains("&#34;") { Cow::Owned(without_entities(&entry)) } else { entry })
}

/// `time="…" level=info msg="…" component=kubelet stream=stderr`
fn logrus(line: &str) -> Option<Unwrapped<'_>> {
    let (before, rest) = line.split_once("time=\"")?;
    let (_, rest) = rest.split_once(" level=").filter(|_| before.len() <= FARTHEST && !before.contains('"'))?;
    let (_, rest) = rest.split_once(" msg=")?;
    let (message, rest) = match rest.strip_prefix('"') {
        Some(quoted) => split_closing_quote(quoted).unwrap_or((quoted, "")),
        None => rest.split_once(' ').unwrap_or((rest, "")),
    };
    let message = unescape(message);
    match rest.split_once("component=").map(|(_, name)| name.split_whitespace().next().unwrap_or("")) {
        Some(name) if name.trim_matches('"') == "kubelet" => Some(Unwrapped::Piece(message)),
        _ => Some(Unwrapped::Foreign(message)),
    }
}

/// The text of Docker's json-file (`{"log":"…\n","stream":…}`) or of `journalctl -o json`.
fn container_entry(line: &str) -> Option<Cow<'_, str>> {
    let object = line.trim_start().starts_with("{\"").then_some(line)?;
    let text = json::field(object, "log").or_else(|| json::field(object, "MESSAGE"))?.text();
    Some(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches('\n')),
        Cow::Owned(text) => Cow::Owned(text.trim_end_matches('\n').to_owned()),
    })
}

/// Pages save quotes as HTML entities; `&amp;` is last, so that nothing is resolved twice.
fn without_entities(text: &str) -> String {
    const ENTITIES: [(&str, &str); 6] = [("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    ENTITIES.iter().fold(text.to_owned(), |text, (entity, char)| text.replace(entity, char))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn k0s_wraps_every_component_and_only_the_kubelet_is_taken() {
        let line = |component| {
            format!(
                r#"time="2026-03-07 04:05:06" level=info msg="E0307 04:05:06.1 7 a.go:1] \"x\" err=\"\\\"y\\\"\"" component={component} stream=stderr"#
            )
        };
        let inner = r#"E0307 04:05:06.1 7 a.go:1] "x" err="\"y\"""#;
        assert_eq!(unwrap(&line("kubelet")), Unwrapped::Piece(inner.into()));
        assert_eq!(unwrap(&line("kube-apiserver")), Unwrapped::Foreign(inner.into()));
    }

    #[test]
    fn container_log_entries_and_saved_pages() {
        assert_eq!(unwrap(r#"{"log":"E0307 \"x\"\n","stream":"stderr"}"#), Unwrapped::Line("E0307 \"x\"".into()));
        assert_eq!(unwrap("&quot;a&quot; &lt;b&gt; &amp;quot;"), Unwrapped::Line("\"a\" <b> &quot;".into()));
        assert_eq!(unwrap("plain &amp;"), Unwrapped::Line("plain &amp;".into()));
        assert_eq!(unwrap(r#"{"ts":1,"msg":"klog's own"}"#), Unwrapped::Line(r#"{"ts":1,"msg":"klog's own"}"#.into()));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(time=\"|\\{\"log\":)?.{0,200}") {
            let _ = unwrap(&text);
        }
    }
}
