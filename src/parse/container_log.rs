//! What the last lines of a dead container's log say about its end.
//!
//! Flows in: lines as the runtime wrote them (`<time> <stdout|stderr> <P|F> <text>`, CRI logging
//! format; or Docker's JSON lines). Flows out: a [`LastWords`]: a class and the pattern that
//! matched, never the text, which is the program's own and may hold secrets.

use crate::model::Cause;
use std::borrow::Cow;

/// What a program said last, as a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastWords {
    /// The cause that it points to; `None` where it only says what went wrong.
    pub cause: Option<Cause>,
    /// What it says, as a clause.
    pub what: &'static str,
    /// Whether it found no space left on a device, whatever else it says.
    pub no_space: bool,
}

/// One thing that programs say: every one of the needles has to be in the line.
struct Pattern {
    needles: &'static [&'static str],
    cause: Option<Cause>,
    what: &'static str,
}

const fn pattern(needles: &'static [&'static str], cause: Option<Cause>, what: &'static str) -> Pattern {
    Pattern { needles, cause, what }
}

/// Ordered: what names a cause best comes first.
const PATTERNS: &[Pattern] = &[
    pattern(&["exec ", "exec format error"], Some(Cause::ExecFormat), "its program is built for another kind of machine"),
    pattern(
        &["exec /", "no such file or directory"],
        Some(Cause::StartError),
        "its program's interpreter or loader does not exist in the image",
    ),
    pattern(&["exec: \"", "no such file or directory"], Some(Cause::StartError), "its program does not exist in the image"),
    pattern(
        &["bad interpreter"],
        Some(Cause::StartError),
        "its script names an interpreter that does not exist (a carriage return at the end of its first line does that, too)",
    ),
    pattern(&["java.lang.OutOfMemoryError"], Some(Cause::AppError), "the Java heap was exhausted, inside the container's limit"),
    pattern(&["JavaScript heap out of memory"], Some(Cause::AppError), "the JavaScript heap was exhausted, inside the container's limit"),
    pattern(&["fatal error: runtime: out of memory"], Some(Cause::AppError), "the Go runtime got no more memory"),
    pattern(&["thread '", "panicked at"], Some(Cause::AppPanic), "a Rust panic"),
    pattern(&["panic: "], Some(Cause::AppPanic), "a Go panic"),
    pattern(&["fatal error: ", "goroutine"], Some(Cause::AppPanic), "a fatal error of the Go runtime"),
    pattern(&["goroutine ", "[running]:"], Some(Cause::AppPanic), "a Go panic"),
    pattern(&["Traceback (most recent call last)"], Some(Cause::AppPanic), "an uncaught Python exception"),
    pattern(&["Exception in thread \""], Some(Cause::AppPanic), "an uncaught Java exception"),
    pattern(&["Unhandled exception"], Some(Cause::AppPanic), "an unhandled exception"),
    pattern(&["Uncaught "], Some(Cause::AppPanic), "an uncaught exception"),
    pattern(&["UnhandledPromiseRejection"], Some(Cause::AppPanic), "an unhandled promise rejection"),
    pattern(&["terminate called"], Some(Cause::Aborted), "an uncaught C++ exception"),
    pattern(&["Assertion ", "failed"], Some(Cause::Aborted), "a failed assertion"),
    pattern(&["assertion failed"], Some(Cause::Aborted), "a failed assertion"),
    pattern(&["No space left on device"], None, "no space was left on a device"),
    pattern(&["no space left on device"], None, "no space was left on a device"),
    pattern(&["ead-only file system"], None, "a file system was read-only"),
    pattern(&["oo many open files"], None, "it had too many open files"),
    pattern(&["ddress already in use"], None, "an address was already in use"),
    pattern(&["annot bind", "ermission denied"], None, "it may not listen on its port (one below 1024 needs a right)"),
    pattern(&["bind", "ermission denied"], None, "it may not listen on its port (one below 1024 needs a right)"),
    pattern(&["onnection refused"], None, "a connection was refused"),
    pattern(&["no such host"], None, "a host name could not be resolved"),
    pattern(&["ame or service not known"], None, "a host name could not be resolved"),
    pattern(&["emporary failure in name resolution"], None, "a host name could not be resolved"),
    pattern(&["ermission denied"], None, "a permission was denied"),
    pattern(&["o such file or directory"], None, "a file was missing"),
    pattern(&["environment variable", "not set"], None, "an environment variable was missing"),
    pattern(&["unbound variable"], None, "a variable was missing"),
    pattern(&["missing required"], None, "a required setting was missing"),
];

impl LastWords {
    /// The best that the lines say: the pattern that comes first in the order of telling power, in
    /// whichever line.
    pub fn of(lines: &[String]) -> Option<Self> {
        let texts: Vec<_> = lines.iter().map(|line| text_of(line)).collect();
        let said = |pattern: &&Pattern| texts.iter().any(|text| pattern.needles.iter().all(|needle| text.contains(needle)));
        let no_space = texts.iter().any(|text| text.contains("o space left on device"));
        PATTERNS.iter().find(said).map(|pattern| Self { cause: pattern.cause, what: pattern.what, no_space })
    }
}

/// The program's text behind the runtime's prefix; a line without one is all text.
pub(super) fn text_of(line: &str) -> Cow<'_, str> {
    if let Some(text) = docker_text(line) {
        return Cow::Owned(text);
    }
    let mut parts = line.splitn(4, ' ');
    let (Some(_time), Some("stdout" | "stderr"), Some(_tag), Some(text)) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Cow::Borrowed(line);
    };
    Cow::Borrowed(text)
}

fn docker_text(line: &str) -> Option<String> {
    let object: serde_json::Value = line.starts_with('{').then(|| serde_json::from_str(line).ok())??;
    Some(object.get("log")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<LastWords> {
        LastWords::of(&["2026-11-23T10:00:00.1Z stdout F starting".into(), format!("2026-11-23T10:00:01.5+02:00 stderr P {text}")])
    }

    #[test]
    fn last_words_are_classed() {
        let cause = |text: &str| of(text).and_then(|words| words.cause);
        assert_eq!(cause("exec /bin/app: exec format error"), Some(Cause::ExecFormat));
        assert_eq!(cause("exec /app/run.sh: no such file or directory"), Some(Cause::StartError));
        assert_eq!(cause("panic: runtime error: index out of range"), Some(Cause::AppPanic));
        assert_eq!(cause("thread 'main' panicked at src/main.rs:3:5:"), Some(Cause::AppPanic));
        assert_eq!(cause("Assertion `x > 0' failed."), Some(Cause::Aborted));
        assert_eq!(
            of("dial tcp 10.0.0.1:5432: connect: connection refused").map(|words| (words.cause, words.what)),
            Some((None, "a connection was refused"))
        );
        assert_eq!(of("bye"), None);
    }

    #[test]
    fn what_names_a_cause_outweighs_what_does_not() {
        let lines = ["Traceback (most recent call last):".to_owned(), "FileNotFoundError: [Errno 2] No such file or directory: 'x'".into()];
        assert_eq!(LastWords::of(&lines).and_then(|words| words.cause), Some(Cause::AppPanic));
    }

    #[test]
    fn dockers_json_lines_are_read() {
        let line = r#"{"log":"panic: boom\n","stream":"stderr","time":"2026-11-23T10:00:00Z"}"#.to_owned();
        assert_eq!(LastWords::of(&[line]).and_then(|words| words.cause), Some(Cause::AppPanic));
    }
}
