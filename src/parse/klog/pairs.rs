//! The `key=value` pairs behind the message of a structured klog line, borrowed and undecoded.
//!
//! Source: k8s.io/klog/v2 `internal/serialize/keyvalues.go` (2.0 to 2.130). Text in, pairs out; what
//! a damaged line no longer shows is passed over.

use super::quoting::{split_closing_quote, unescape};
use std::borrow::Cow;

/// Longest key that is believed to be one.
const LONGEST_KEY: usize = 64;

/// A value as it stands in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Between double quotes, still escaped.
    Quoted {
        /// Between the quotes.
        inner: &'a str,
        /// No closing quote: the line was cut, so the value is a begin only.
        cut: bool,
    },
    /// Anything without quotes: a number, a bool, a Go struct, a slice, JSON.
    Bare(&'a str),
    /// The lines of a `=<` block, each with its TAB.
    Block(&'a str),
}

impl<'a> Value<'a> {
    /// The plain text of the value.
    pub fn text(self) -> Cow<'a, str> {
        match self {
            Self::Quoted { inner, .. } => unescape(inner),
            Self::Bare(text) => Cow::Borrowed(text),
            Self::Block(lines) if lines.contains('\n') => {
                Cow::Owned(lines.lines().map(|line| line.strip_prefix('\t').unwrap_or(line)).collect::<Vec<_>>().join("\n"))
            }
            Self::Block(line) => Cow::Borrowed(line.strip_prefix('\t').unwrap_or(line)),
        }
    }

    /// Whether only the begin of the value is there.
    pub fn is_cut(self) -> bool {
        matches!(self, Self::Quoted { cut: true, .. })
    }
}

/// Walks over the pairs of `text`, which begins behind the message.
#[derive(Debug, Clone)]
pub struct TextPairs<'a> {
    rest: &'a str,
}

impl<'a> TextPairs<'a> {
    /// Pairs of the text behind a message.
    pub fn new(rest: &'a str) -> Self {
        Self { rest }
    }
}

impl<'a> Iterator for TextPairs<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, after) = next_key(self.rest)?;
        let (value, rest) = split_value(after);
        self.rest = rest;
        Some((key, value))
    }
}

/// How a record goes on in lines without a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenEnd {
    /// It is complete.
    Closed,
    /// The header itself was broken off.
    Header,
    /// A `=<` block waits for its ` >`.
    Block,
    /// A quoted value has no closing quote: the line was wrapped or cut.
    Value,
    /// A sentence may have line breaks in it, as the output of a mount command has.
    Sentence,
}

/// How the pairs of `text` end.
pub fn open_end(text: &str) -> OpenEnd {
    let mut rest = text;
    while let Some((_, after)) = next_key(rest) {
        if after.trim_end() == "<" || after.starts_with("<\n") && split_block(after).is_none() {
            return OpenEnd::Block;
        }
        let (value, behind) = split_value(after);
        if value.is_cut() {
            return OpenEnd::Value;
        }
        rest = behind;
    }
    OpenEnd::Closed
}

/// The next key and what stands behind its `=`. Words without `=` are passed over.
fn next_key(text: &str) -> Option<(&str, &str)> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', ',']);
        let (key, end) = split_word(rest);
        if let Some(value) = end.strip_prefix('=')
            && is_key(key)
        {
            return Some((key, value));
        }
        rest = rest.get(rest.find([' ', '\t', '\n'])?..)?;
    }
}

fn is_key(word: &str) -> bool {
    !word.is_empty() && word.len() <= LONGEST_KEY && word.starts_with(|first: char| first.is_ascii_alphabetic())
}

fn split_word(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/')));
    text.split_at_checked(end.unwrap_or(text.len())).unwrap_or((text, ""))
}

fn split_value(text: &str) -> (Value<'_>, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        return match split_closing_quote(quoted) {
            Some((inner, rest)) => (Value::Quoted { inner, cut: false }, rest),
            None => (Value::Quoted { inner: quoted.trim_end(), cut: true }, ""),
        };
    }
    if text.starts_with("<\n") {
        return split_block(text).unwrap_or((Value::Block(text.get(2..).unwrap_or("").trim_end_matches('\n')), ""));
    }
    let end = bare_end(text, true).or_else(|| bare_end(text, false)).unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (Value::Bare(value.trim_end()), rest)
}

/// A block up to its ` >`. Lines of the value begin with a TAB, so a `>` in front is the end.
fn split_block(text: &str) -> Option<(Value<'_>, &str)> {
    let lines = text.strip_prefix("<\n")?;
    let mut begin = 0;
    for line in lines.split_inclusive('\n') {
        if let Some(rest) = line.trim_start_matches(' ').strip_prefix('>') {
            let behind = begin + (line.len() - rest.len());
            return Some((Value::Block(lines.get(..begin)?.trim_end_matches('\n')), lines.get(behind..)?));
        }
        begin += line.len();
    }
    None
}

/// Where a bare value ends: before the next ` key=`, outside of brackets and quotes when `nested`.
/// Go structs of kubelets before 1.27 contain blanks and write their fields with `:`.
fn bare_end(text: &str, nested: bool) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if nested => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' if nested => depth += 1,
            b'}' | b']' if nested => depth = depth.saturating_sub(1),
            b' ' | b'\n' if depth == 0 && begins_key(text, at + 1) => return Some(at),
            _ => {}
        }
    }
    (depth == 0 && !quoted).then_some(text.len())
}

fn begins_key(text: &str, at: usize) -> bool {
    let (word, rest) = split_word(text.get(at..).unwrap_or("").trim_start_matches(' '));
    is_key(word) && rest.starts_with('=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(&str, String)> {
        TextPairs::new(text).map(|(key, value)| (key, value.text().into_owned())).collect()
    }

    #[test]
    fn values_of_every_generation() {
        let text = r#" err="a \"b\" c" podUID=11111111-2222-3333-4444-555555555555 event=&{ID:x Type:ContainerDied Data:y} pods=[a/b c/d] status={"Type":"containerd","ID":"k=v w=x"} n=-1"#;
        let expected = [
            ("err", r#"a "b" c"#),
            ("podUID", "11111111-2222-3333-4444-555555555555"),
            ("event", "&{ID:x Type:ContainerDied Data:y}"),
            ("pods", "[a/b c/d]"),
            ("status", r#"{"Type":"containerd","ID":"k=v w=x"}"#),
            ("n", "-1"),
        ];
        assert_eq!(pairs(text), expected.map(|(key, value)| (key, value.to_owned())));
    }

    #[test]
    fn blocks_may_be_followed_by_pairs() {
        let text = " err=<\n\tone\n\t\ttwo\n\t> x=y\n > pod=\"ns/a\"";
        assert_eq!(pairs(text), [("err", "one\n\ttwo\n> x=y".to_owned()), ("pod", "ns/a".to_owned())]);
        assert_eq!(open_end(text), OpenEnd::Closed);
        assert_eq!(pairs(" output=<\n\tonly begun"), [("output", "only begun".to_owned())]);
    }

    #[test]
    fn what_is_begun_and_not_ended_is_open() {
        let expected = [
            (OpenEnd::Value, [r#" err="cut"#, r#" a=1 b="\""#, " a=<\n\tx\n > b=\"c"]),
            (OpenEnd::Block, [" output=<", " output=<\n\tx", " a=<\n\tx\n > b=<"]),
            (OpenEnd::Closed, ["", r#" a="b""#, " a=<\n\tx\n >"]),
        ];
        for (end, texts) in expected {
            assert_eq!(texts.map(open_end), [end; 3], "{texts:?}");
        }
    }

    #[test]
    fn damage_is_passed_over() {
        assert_eq!(
            pairs(r#" … garbage "x" pod="ns/a" (MISSING) b={unclosed c=d"#),
            [("pod", "ns/a".to_owned()), ("b", "{unclosed".to_owned()), ("c", "d".to_owned()),]
        );
        let cut = TextPairs::new(r#" pod="ns/na"#).next().map(|(_, value)| value.is_cut());
        assert_eq!(cut, Some(true));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[ -~\\n\\t…é]{0,300}") {
            let _ = pairs(&text);
            let _ = open_end(&text);
        }

        #[test]
        fn quoted_values_come_back(value in "[a-z \"\\\\=<>]{0,40}") {
            let text = format!(" a=1 k={value:?} z=2");
            prop_assert_eq!(pairs(&text), [("a", "1".to_owned()), ("k", value), ("z", "2".to_owned())]);
        }
    }
}
