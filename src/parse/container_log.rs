//! What the last lines of a dead container's log say about its end.
//!
//! Flows in: lines as the runtime wrote them (`<time> <stdout|stderr> <P|F> <text>`, CRI logging
//! format; or Docker's JSON lines). Flows out: a [`LastWords`]: a class and the pattern that
//! matched, never the text, which is the program's own and may hold secrets.

use super::kubelet::Excerpt;
use crate::model::Cause;
use std::borrow::Cow;

/// What a program said last, as a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastWords {
    /// The cause that it points to; `None` where it only says what went wrong.
    pub cause: Option<Cause>,
    /// What it says, as a clause.
    pub what: &'static str,
    /// What it says went wrong besides, as a clause: an exception often names its reason.
    pub besides: Option<&'static str>,
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

const INTERPRETER: &str =
    "its script names an interpreter that does not exist (a carriage return at the end of its first line does that, too)";
const NO_FILE: &str = "a file was missing";
const NO_VARIABLE: &str = "a variable or setting was missing";
const PORT: &str = "it may not listen on its port (one below 1024 needs a right)";
const NAME: &str = "a host name could not be resolved";
const IN_USE: &str = "an address was already in use";
const REFUSED: &str = "a connection was refused";
const FILES: &str = "it had too many open files";
const READ_ONLY: &str = "a file system was read-only";
const DENIED: &str = "a permission was denied";

/// Ordered: what names a cause best comes first.
const PATTERNS: &[Pattern] = &[
    pattern(&["exec ", "exec format error"], Some(Cause::ExecFormat), "its program is built for another kind of machine"),
    pattern(
        &["annot execute binary file", "xec format error"],
        Some(Cause::ExecFormat),
        "its program is built for another kind of machine",
    ),
    pattern(&["bad interpreter"], Some(Cause::StartError), INTERPRETER),
    pattern(&["env: ", "\\r", "o such file or directory"], Some(Cause::StartError), INTERPRETER),
    pattern(&["env: ", "\r", "o such file or directory"], Some(Cause::StartError), INTERPRETER),
    pattern(
        &["exec /", "no such file or directory"],
        Some(Cause::StartError),
        "its program's interpreter or loader does not exist in the image",
    ),
    pattern(
        &["exec user process caused", "no such file or directory"],
        Some(Cause::StartError),
        "its program's interpreter or loader does not exist in the image",
    ),
    pattern(&["exec: \"", "no such file or directory"], Some(Cause::StartError), "its program does not exist in the image"),
    pattern(
        &["error while loading shared libraries"],
        Some(Cause::StartError),
        "a shared library that its program needs does not exist in the image",
    ),
    pattern(&["java.lang.OutOfMemoryError"], Some(Cause::AppError), "the Java heap was exhausted, inside the container's limit"),
    pattern(&["JavaScript heap out of memory"], Some(Cause::AppError), "the JavaScript heap was exhausted, inside the container's limit"),
    pattern(&["fatal error: runtime: out of memory"], Some(Cause::AppError), "the Go runtime got no more memory"),
    pattern(&["System.OutOfMemoryException"], Some(Cause::AppPanic), "the .NET heap was exhausted, inside the container's limit"),
    pattern(&["NoMemoryError"], Some(Cause::AppPanic), "Ruby got no more memory"),
    pattern(&["std::bad_alloc"], Some(Cause::Aborted), "a C++ program got no more memory"),
    pattern(&["thread '", "panicked at"], Some(Cause::AppPanic), "a Rust panic"),
    pattern(&["panic: "], Some(Cause::AppPanic), "a Go panic"),
    pattern(&["fatal error: ", "goroutine"], Some(Cause::AppPanic), "a fatal error of the Go runtime"),
    pattern(&["fatal error: all goroutines are asleep"], Some(Cause::AppPanic), "a fatal error of the Go runtime"),
    pattern(&["fatal error: concurrent map"], Some(Cause::AppPanic), "a fatal error of the Go runtime"),
    pattern(&["goroutine ", "[running]:"], Some(Cause::AppPanic), "a Go panic"),
    pattern(&["Traceback (most recent call last)"], Some(Cause::AppPanic), "an uncaught Python exception"),
    pattern(&["Exception in thread \""], Some(Cause::AppPanic), "an uncaught Java exception"),
    pattern(&["Unhandled exception"], Some(Cause::AppPanic), "an unhandled exception"),
    pattern(&["Uncaught "], Some(Cause::AppPanic), "an uncaught exception"),
    pattern(&["UnhandledPromiseRejection"], Some(Cause::AppPanic), "an unhandled promise rejection"),
    pattern(&["    throw err;"], Some(Cause::AppPanic), "an uncaught JavaScript exception"),
    pattern(&["terminate called"], Some(Cause::Aborted), "an uncaught C++ exception"),
    pattern(&["Assertion ", "failed"], Some(Cause::Aborted), "a failed assertion"),
    pattern(&["assertion failed"], Some(Cause::Aborted), "a failed assertion"),
    pattern(&["No space left on device"], None, "no space was left on a device"),
    pattern(&["no space left on device"], None, "no space was left on a device"),
    pattern(&["ead-only file system"], None, READ_ONLY),
    pattern(&["EROFS"], None, READ_ONLY),
    pattern(&["oo many open files"], None, FILES),
    pattern(&["EMFILE"], None, FILES),
    pattern(&["ddress already in use"], None, IN_USE),
    pattern(&["EADDRINUSE"], None, IN_USE),
    pattern(&["ort is already allocated"], None, IN_USE),
    pattern(&["annot bind", "ermission denied"], None, PORT),
    pattern(&["bind", "ermission denied"], None, PORT),
    pattern(&["BindException", "ermission denied"], None, PORT),
    pattern(&["listen EACCES"], None, PORT),
    pattern(&["onnection refused"], None, REFUSED),
    pattern(&["ECONNREFUSED"], None, REFUSED),
    pattern(&["no such host"], None, NAME),
    pattern(&["ame or service not known"], None, NAME),
    pattern(&["emporary failure in name resolution"], None, NAME),
    pattern(&["ame does not resolve"], None, NAME),
    pattern(&["UnknownHostException"], None, NAME),
    pattern(&["ENOTFOUND"], None, NAME),
    pattern(&["EAI_AGAIN"], None, NAME),
    pattern(&["ould not resolve host"], None, NAME),
    pattern(&["ould not translate host name"], None, NAME),
    pattern(&["ermission denied"], None, DENIED),
    pattern(&["EACCES"], None, DENIED),
    pattern(&["peration not permitted"], None, DENIED),
    pattern(&["o such file or directory"], None, NO_FILE),
    pattern(&["FileNotFoundException"], None, NO_FILE),
    pattern(&["Cannot find module"], None, NO_FILE),
    pattern(&["No module named"], None, NO_FILE),
    pattern(&["environment variable", "not set"], None, NO_VARIABLE),
    pattern(&["environment variable", "missing"], None, NO_VARIABLE),
    pattern(&["environment variable", "required"], None, NO_VARIABLE),
    pattern(&["environment variable", "not defined"], None, NO_VARIABLE),
    pattern(&["environment variable", "must be"], None, NO_VARIABLE),
    pattern(&["environment variable", "not found"], None, NO_VARIABLE),
    pattern(&["unbound variable"], None, NO_VARIABLE),
    pattern(&["parameter not set"], None, NO_VARIABLE),
    pattern(&["parameter null or not set"], None, NO_VARIABLE),
    pattern(&["KeyError: '"], None, NO_VARIABLE),
    pattern(&["missing required"], None, NO_VARIABLE),
];

impl LastWords {
    /// The best that the lines say: the pattern that comes first in the order of telling power, in
    /// whichever line.
    pub fn of(lines: &[String]) -> Option<Self> {
        let texts: Vec<_> = lines.iter().map(|line| text_of(line)).collect();
        let said = |pattern: &&Pattern| texts.iter().any(|text| pattern.needles.iter().all(|needle| text.contains(needle)));
        let no_space = texts.iter().any(|text| text.contains("o space left on device"));
        let best = PATTERNS.iter().find(said)?;
        let besides = best.cause.and_then(|_| PATTERNS.iter().filter(|pattern| pattern.cause.is_none()).find(said));
        // That a loader or an interpreter is missing says already that a file is.
        let besides = besides.filter(|besides| best.cause != Some(Cause::StartError) || besides.what != NO_FILE);
        Some(Self { cause: best.cause, what: best.what, besides: besides.map(|pattern| pattern.what), no_space })
    }

    /// The best that a termination message says.
    pub fn of_message(message: &str) -> Option<Self> {
        Self::of(&message.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    /// It, as a clause.
    pub fn clause(&self) -> String {
        match self.besides {
            Some(besides) => format!("{}, and {besides}", self.what),
            None => self.what.to_owned(),
        }
    }
}

/// Lines and bytes of a line that are told of a log's end, where its text may be told at all.
const EXCERPT_LINES: usize = 10;
const EXCERPT_BYTES: usize = 256;

/// The last lines themselves, without credentials and cut. They are the program's own and may still
/// hold what nobody should read.
pub fn excerpt(lines: &[String]) -> Vec<String> {
    let texts = lines.iter().map(|line| Excerpt::of(&text_of(line))).filter(|text| !text.as_str().is_empty());
    let mut cut: Vec<String> = texts
        .map(|text| {
            let text = text.as_str();
            text.get(..text.floor_char_boundary(EXCERPT_BYTES)).unwrap_or_default().to_owned()
        })
        .collect();
    cut.split_off(cut.len().saturating_sub(EXCERPT_LINES))
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

    /// One of each class of an end, as languages and shells write it.
    #[test]
    fn every_class() {
        for (text, cause, what) in [
            ("panic: runtime error: invalid memory address or nil pointer dereference", Some(Cause::AppPanic), "a Go panic"),
            ("fatal error: all goroutines are asleep - deadlock!", Some(Cause::AppPanic), "a fatal error of the Go runtime"),
            ("Exception in thread \"main\" java.lang.NullPointerException", Some(Cause::AppPanic), "an uncaught Java exception"),
            ("Unhandled exception. System.InvalidOperationException: x", Some(Cause::AppPanic), "an unhandled exception"),
            ("PHP Fatal error:  Uncaught Error: Call to undefined function", Some(Cause::AppPanic), "an uncaught exception"),
            (
                "java.lang.OutOfMemoryError: Java heap space",
                Some(Cause::AppError),
                "the Java heap was exhausted, inside the container's limit",
            ),
            (
                "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
                Some(Cause::AppError),
                "the JavaScript heap was exhausted, inside the container's limit",
            ),
            ("/run.sh: line 3: DB_URL: unbound variable", None, NO_VARIABLE),
            ("sh: DB_URL: parameter not set", None, NO_VARIABLE),
            ("required environment variable DB_URL is not set", None, NO_VARIABLE),
            ("open /etc/app/config.yaml: no such file or directory", None, NO_FILE),
            ("Error: Cannot find module '/app/server.js'", None, NO_FILE),
            ("cat: /data: Permission denied", None, DENIED),
            ("Error: listen EADDRINUSE: address already in use :::8080", None, IN_USE),
            ("dial tcp 10.0.0.1:5432: connect: connection refused", None, REFUSED),
            ("Error: connect ECONNREFUSED 127.0.0.1:6379", None, REFUSED),
            ("dial tcp: lookup db on 10.96.0.10:53: no such host", None, NAME),
            ("Error: getaddrinfo ENOTFOUND db", None, NAME),
            ("java.net.UnknownHostException: db", None, NAME),
            ("psql: error: could not translate host name \"db\" to address: Name does not resolve", None, NAME),
            ("write /data/x: no space left on device", None, "no space was left on a device"),
            ("OSError: [Errno 24] Too many open files", None, FILES),
            ("Error: EMFILE: too many open files, open '/x'", None, FILES),
            ("exec /usr/local/bin/app: exec format error", Some(Cause::ExecFormat), "its program is built for another kind of machine"),
            (
                "sh: /app: cannot execute binary file: Exec format error",
                Some(Cause::ExecFormat),
                "its program is built for another kind of machine",
            ),
            (
                "standard_init_linux.go:228: exec user process caused: exec format error",
                Some(Cause::ExecFormat),
                "its program is built for another kind of machine",
            ),
            ("/run.sh: /bin/bash^M: bad interpreter: No such file or directory", Some(Cause::StartError), INTERPRETER),
            ("/usr/bin/env: 'bash\\r': No such file or directory", Some(Cause::StartError), INTERPRETER),
            ("env: can't execute 'python3\r': No such file or directory", Some(Cause::StartError), INTERPRETER),
            ("listen tcp 0.0.0.0:80: bind: permission denied", None, PORT),
            ("nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)", None, PORT),
            ("Error: listen EACCES: permission denied 0.0.0.0:80", None, PORT),
            ("java.net.BindException: Permission denied", None, PORT),
            ("touch: /x: Read-only file system", None, READ_ONLY),
            ("Error: EROFS: read-only file system, open '/x'", None, READ_ONLY),
        ] {
            assert_eq!(of(text).map(|words| (words.cause, words.what)), Some((cause, what)), "{text}");
            assert_eq!(LastWords::of_message(&format!("starting\n{text}\n")).map(|words| words.what), Some(what), "{text}");
        }
    }

    #[test]
    fn an_excerpt_is_short_and_without_credentials() {
        let mut lines: Vec<_> = (0..30).map(|n| format!("2026-11-23T10:00:00Z stdout F line {n}")).collect();
        lines.push(format!("2026-11-23T10:00:00Z stderr F dial postgres://me:pw@db/ password=hunter2 {}", "é".repeat(400)));
        let told = excerpt(&lines);
        assert_eq!((told.len(), told[0].as_str()), (EXCERPT_LINES, "line 21"));
        assert!(told[9].len() <= EXCERPT_BYTES && told[9].contains("postgres://…@db/ password=…"), "{}", told[9]);
        assert_eq!(excerpt(&[]), Vec::<String>::new());
    }

    #[test]
    fn an_exception_tells_its_reason_besides() {
        let lines = ["Traceback (most recent call last):".to_owned(), "ConnectionRefusedError: [Errno 111] Connection refused".into()];
        assert_eq!(
            LastWords::of(&lines).map(|words| words.clause()).as_deref(),
            Some("an uncaught Python exception, and a connection was refused")
        );
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
