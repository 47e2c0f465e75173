//! One klog line, or several that belong together, as a record. Text in, borrowed parts out.

use super::header::{self, Header, Severity, Stamp};
use super::json::{self, JsonPairs};
use super::pairs::{self, OpenEnd, TextPairs, Value};
use super::quoting::{split_closing_quote, unescape};
use crate::model::Pid;
use std::borrow::Cow;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `"message" key=value…` (kubelet 1.21 and later).
    Structured,
    /// A sentence (kubelet 1.20 and earlier, and some places up to today).
    Printf,
    /// One JSON object (`logging.format: json`).
    Json,
    /// None of klog's forms: a flag warning, a panic, another program.
    Raw,
}

/// A decoded klog line. Values are decoded only when they are asked for.
#[derive(Debug, Clone)]
pub struct KlogRecord<'a> {
    /// How it is written.
    pub form: Form,
    /// Not stable between versions; JSON tells only errors from the rest.
    pub severity: Option<Severity>,
    /// When, as the line itself says.
    pub stamp: Option<Stamp>,
    /// The process that wrote it.
    pub pid: Option<Pid>,
    /// The source file, a hint only.
    pub file: Option<&'a str>,
    /// The line in that file.
    pub line: Option<u32>,
    /// The message without quotes; for a printf line the whole sentence.
    pub message: Cow<'a, str>,
    /// The message has no closing quote.
    cut_message: bool,
    fields: Fields<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Fields<'a> {
    None,
    Text(&'a str),
    Json(&'a str),
}

impl<'a> KlogRecord<'a> {
    /// Reads a record; what is none of klog's forms becomes [`Form::Raw`].
    pub fn parse(text: &'a str) -> Self {
        let text = text.trim_end_matches(['\r', '\n', ' ', '\t']);
        Self::json(text)
            .or_else(|| header::find(text).map(|found| Self::text(found.header, found.message)))
            .or_else(|| Self::structured(Header::default(), text.trim_start()).filter(|record| record.pairs().next().is_some()))
            .unwrap_or_else(|| Self::sentence(Form::Raw, Header::default(), text.trim()))
    }

    fn text(header: Header<'a>, message: &'a str) -> Self {
        Self::structured(header, message).unwrap_or_else(|| Self::sentence(Form::Printf, header, message))
    }

    /// `"message"` at the end of the text or followed by pairs. A message without its closing quote
    /// was cut.
    fn structured(header: Header<'a>, text: &'a str) -> Option<Self> {
        let quoted = text.strip_prefix('"')?;
        let whole = split_closing_quote(quoted);
        let (message, rest) = whole.unwrap_or((quoted, ""));
        let nothing_more = rest.trim_matches([' ', '\t', '\n', '.', '…']).is_empty();
        let shaped = nothing_more || rest.starts_with([' ', '\t', '\n']) && TextPairs::new(rest).next().is_some();
        shaped.then(|| Self {
            message: unescape(message),
            fields: Fields::Text(rest),
            cut_message: whole.is_none(),
            ..Self::sentence(Form::Structured, header, "")
        })
    }

    fn sentence(form: Form, header: Header<'a>, message: &'a str) -> Self {
        let Header { severity, stamp, pid, file, line } = header;
        Self { form, severity, stamp, pid, file, line, message: Cow::Borrowed(message), cut_message: false, fields: Fields::None }
    }

    fn json(text: &'a str) -> Option<Self> {
        let object = text.get(json_begin(text)?..)?;
        let message = json::field(object, "msg")?.text();
        let (file, line) = json::field(object, "caller").map_or((None, None), caller);
        let millis = json::field(object, "ts").and_then(|ts| ts.text().split('.').next()?.parse().ok());
        // zap writes `v` for every line but errors (component-base `logs/json`).
        let severity = if json::field(object, "v").is_some() { Severity::Info } else { Severity::Error };
        let stamp = millis.map(|millis| Stamp::Unix { millis });
        Some(Self {
            form: Form::Json,
            severity: Some(severity),
            stamp,
            pid: None,
            file,
            line,
            message,
            cut_message: false,
            fields: Fields::Json(object),
        })
    }

    /// Whether the record was begun and not ended, so that the next line without a header belongs to it.
    pub(super) fn open_end(&self) -> OpenEnd {
        let quotes = |text: &str| text.bytes().filter(|byte| *byte == b'"').count() % 2;
        match (self.form, self.fields) {
            (Form::Printf, _) if self.file.is_none() || self.message.is_empty() => OpenEnd::Header,
            (Form::Structured, _) if self.cut_message => OpenEnd::Value,
            (Form::Structured, Fields::Text(rest)) => pairs::open_end(rest),
            (Form::Json, Fields::Json(object)) if !object.ends_with('}') => OpenEnd::Value,
            (Form::Printf, _) if quotes(&self.message) == 1 => OpenEnd::Value,
            (Form::Printf, _) => OpenEnd::Sentence,
            _ => OpenEnd::Closed,
        }
    }

    /// The pairs behind the message, in order, doubled keys included.
    pub fn pairs(&self) -> Pairs<'a> {
        match self.fields {
            Fields::None => Pairs::None,
            Fields::Text(rest) => Pairs::Text(TextPairs::new(rest)),
            Fields::Json(object) => JsonPairs::new(object).map_or(Pairs::None, Pairs::Json),
        }
    }

    /// The value of a key; of doubled keys the last, which the call itself gave.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.pairs().filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// The plain text of a key's value.
    pub fn text_of(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).map(Value::text)
    }

    /// The error that the line reports.
    pub fn err(&self) -> Option<Cow<'a, str>> {
        self.text_of("err")
    }
}

/// Where the object begins: at once, or behind `talosctl`'s `10.5.0.2: `.
fn json_begin(text: &str) -> Option<usize> {
    const LONGEST_PREFIX: usize = 160;
    let begin = text.find("{\"").filter(|begin| *begin <= LONGEST_PREFIX)?;
    let prefix = text.get(..begin)?.trim_end();
    (prefix.is_empty() || prefix.ends_with([':', '>', 'F', '`'])).then_some(begin)
}

fn caller(value: Value<'_>) -> (Option<&str>, Option<u32>) {
    let (Value::Quoted { inner: text, .. } | Value::Bare(text) | Value::Block(text)) = value;
    let (path, line) = text.rsplit_once(':').unwrap_or((text, ""));
    (path.rsplit('/').next(), line.parse().ok())
}

/// Walks over a record's pairs.
#[derive(Debug, Clone)]
pub enum Pairs<'a> {
    /// No pairs.
    None,
    /// Of a text line.
    Text(TextPairs<'a>),
    /// Of a JSON line.
    Json(JsonPairs<'a>),
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::None => None,
            Self::Text(pairs) => pairs.next(),
            Self::Json(pairs) => pairs.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_structured_line() {
        let record = KlogRecord::parse(r#"E0307 04:05:06.070809    1234 a.go:9] "Error \"x\" said" err="bad" pod="ns/a" pod="ns/b""#);
        assert_eq!((record.form, record.severity, record.pid), (Form::Structured, Some(Severity::Error), Some(Pid(1234))));
        assert_eq!(record.message, "Error \"x\" said");
        assert_eq!(record.err().as_deref(), Some("bad"));
        assert_eq!(record.text_of("pod").as_deref(), Some("ns/b"));
        assert_eq!(record.pairs().count(), 3);
    }

    #[test]
    fn a_sentence_that_begins_with_a_quote_is_no_structured_line() {
        let record = KlogRecord::parse(r#"I0307 04:05:06.070809 1 a.go:9] "x" is not y=z"#);
        assert_eq!(record.form, Form::Structured);
        let record = KlogRecord::parse(r#"I0307 04:05:06.070809 1 a.go:9] "x" is plain"#);
        assert_eq!((record.form, &*record.message), (Form::Printf, r#""x" is plain"#));
    }

    #[test]
    fn a_json_line_tells_errors_by_the_missing_v() {
        let text = r#"10.0.0.1: {"ts":1716000000123.4567,"caller":"prober/prober.go:107","msg":"Probe failed","v":1,"pod":{"name":"a","namespace":"ns"}}"#;
        let record = KlogRecord::parse(text);
        assert_eq!(
            (record.form, record.severity, record.file, record.line),
            (Form::Json, Some(Severity::Info), Some("prober.go"), Some(107))
        );
        assert_eq!(record.stamp, Some(Stamp::Unix { millis: 1_716_000_000_123 }));
        assert_eq!(KlogRecord::parse(r#"{"ts":1,"msg":"x"}"#).severity, Some(Severity::Error));
    }

    #[test]
    fn damaged_lines() {
        let cut = KlogRecord::parse(r#"E0307 04:05:06.070809 1 a.go:9] "Error syncing pod, ski"#);
        assert_eq!((cut.form, &*cut.message), (Form::Structured, "Error syncing pod, ski"));
        let headless = KlogRecord::parse(r#""Probe failed" probeType="Liveness""#);
        assert_eq!((headless.form, headless.severity), (Form::Structured, None));
        assert_eq!(KlogRecord::parse("Flag --x has been deprecated").form, Form::Raw);
        assert_eq!(KlogRecord::parse("").form, Form::Raw);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,300}", head in proptest::bool::ANY) {
            let line = if head { format!("E0307 04:05:06.070809 1 a.go:9] {text}") } else { text };
            let record = KlogRecord::parse(&line);
            prop_assert!(record.pairs().count() <= line.len());
        }
    }
}
