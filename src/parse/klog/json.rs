//! klog's JSON form, `{"ts":1716000000123.4,"caller":"a/b.go:7","msg":"…",…}`, one object a line.
//!
//! Source: k8s.io/component-base `logs/json` over zap. A line in, its top-level pairs out, undecoded
//! and as far as they go: a strict reader would give nothing of a line that was cut.

use super::pairs::Value;
use super::quoting::split_closing_quote;

/// Walks over the top-level pairs of an object.
#[derive(Debug, Clone)]
pub struct JsonPairs<'a> {
    rest: &'a str,
}

impl<'a> JsonPairs<'a> {
    /// Pairs of the object that `text` begins with; `None` if it begins with something else.
    pub fn new(text: &'a str) -> Option<Self> {
        text.trim_start().strip_prefix('{').map(|rest| Self { rest })
    }
}

impl<'a> Iterator for JsonPairs<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.rest.trim_start_matches([' ', '\t', ',']).strip_prefix('"')?;
        let (key, rest) = split_closing_quote(key)?;
        let (value, rest) = split_value(rest.trim_start().strip_prefix(':')?.trim_start());
        self.rest = rest;
        Some((key, value))
    }
}

fn split_value(text: &str) -> (Value<'_>, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        return match split_closing_quote(quoted) {
            Some((inner, rest)) => (Value::Quoted { inner, cut: false }, rest),
            None => (Value::Quoted { inner: quoted.trim_end(), cut: true }, ""),
        };
    }
    let (value, rest) = text.split_at_checked(nested_end(text)).unwrap_or((text, ""));
    (Value::Bare(value.trim_end()), rest)
}

/// Where a number, word, array or object ends: before the `,` or `}` that is not inside of it.
fn nested_end(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b',' | b'}' | b']' if depth == 0 => return at,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The value of a top-level key.
pub fn field<'a>(text: &'a str, key: &str) -> Option<Value<'a>> {
    JsonPairs::new(text)?.find(|(name, _)| *name == key).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_of_an_object() {
        let text = r#"{"ts":1.5,"msg":"a \"b\"","pod":{"name":"x","namespace":"y"},"pods":[{"a":"]"}],"v":1}"#;
        let pairs: Vec<_> = JsonPairs::new(text).expect("object").map(|(key, value)| (key, value.text().into_owned())).collect();
        let expected =
            [("ts", "1.5"), ("msg", "a \"b\""), ("pod", r#"{"name":"x","namespace":"y"}"#), ("pods", r#"[{"a":"]"}]"#), ("v", "1")];
        assert_eq!(pairs, expected.map(|(key, value)| (key, value.to_owned())));
    }

    #[test]
    fn a_cut_object_gives_what_it_has() {
        assert_eq!(field(r#"{"msg":"whole","err":"cut her"#, "err"), Some(Value::Quoted { inner: "cut her", cut: true }));
        assert_eq!(field(r#"{"pod":{"name":"x"#, "pod"), Some(Value::Bare(r#"{"name":"x"#)));
        assert_eq!(field("[1]", "msg"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in r#"\{["a-z:{}\[\],\\0-9 ]{0,200}"#) {
            prop_assert!(JsonPairs::new(&text).into_iter().flatten().count() <= text.len());
        }

        #[test]
        fn what_serde_writes_is_read(value in ".{0,40}") {
            let text = serde_json::json!({"a": [value], "msg": value}).to_string();
            prop_assert_eq!(field(&text, "msg").map(|found| found.text().into_owned()), Some(value));
        }
    }
}
