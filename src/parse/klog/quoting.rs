//! Escapes of Go's `strconv.Quote` and of JSON strings. Text between quotes in, plain text out.

use std::borrow::Cow;

/// Splits `text`, which begins just after an opening quote, at the closing quote: what is between
/// (still escaped) and what follows. `None` when no closing quote follows, as in a line that was cut.
pub fn split_closing_quote(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// Resolves the escapes of Go strings (`strconv.Unquote`) and of JSON strings, which differ only in
/// `\/` and in surrogate pairs. An escape that is neither, or that was cut, stays as it is written.
pub fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.extend_from_slice(before.as_bytes());
        rest = match escape(after) {
            Some((Escape::Char(char), left)) => {
                plain.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                left
            }
            Some((Escape::Byte(byte), left)) => {
                plain.push(byte);
                left
            }
            None => {
                plain.push(b'\\');
                after
            }
        };
    }
    plain.extend_from_slice(rest.as_bytes());
    Cow::Owned(String::from_utf8(plain).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

enum Escape {
    Char(char),
    /// `\xff` and `\377` are single bytes, which together may make a character.
    Byte(u8),
}

/// Reads one escape, whose backslash is already gone; also gives what follows it.
fn escape(text: &str) -> Option<(Escape, &str)> {
    let first = text.chars().next()?;
    let rest = text.get(first.len_utf8()..)?;
    let plain = |char| Some((Escape::Char(char), rest));
    match first {
        'a' => plain('\x07'),
        'b' => plain('\x08'),
        'f' => plain('\x0c'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\x0b'),
        '\\' | '\'' | '"' | '/' => plain(first),
        'x' => digits(rest, 2, 16).and_then(|(value, rest)| Some((Escape::Byte(u8::try_from(value).ok()?), rest))),
        'u' => unicode(rest),
        'U' => digits(rest, 8, 16).and_then(|(value, rest)| Some((Escape::Char(char::from_u32(value)?), rest))),
        '0'..='3' => digits(text, 3, 8).and_then(|(value, rest)| Some((Escape::Byte(u8::try_from(value).ok()?), rest))),
        _ => None,
    }
}

fn unicode(text: &str) -> Option<(Escape, &str)> {
    let (high, rest) = digits(text, 4, 16)?;
    if let Some(char) = char::from_u32(high) {
        return Some((Escape::Char(char), rest));
    }
    let (low, rest) = digits(rest.strip_prefix("\\u")?, 4, 16)?;
    let paired = (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low);
    let code = paired.then(|| 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?;
    Some((Escape::Char(char::from_u32(code)?), rest))
}

fn digits(text: &str, count: usize, radix: u32) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    let all_digits = digits.chars().all(|char| char.is_digit(radix));
    let value = all_digits.then(|| u32::from_str_radix(digits, radix).ok())??;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Go's `strconv.Quote` without the quotes.
    fn quote(text: &str) -> String {
        let mut quoted = String::new();
        for char in text.chars() {
            match char {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                control if control < ' ' => quoted.push_str(&format!("\\x{:02x}", u32::from(control))),
                odd if odd.is_control() && u32::from(odd) < 0x10000 => quoted.push_str(&format!("\\u{:04x}", u32::from(odd))),
                plain => quoted.push(plain),
            }
        }
        quoted
    }

    #[test]
    fn escapes_of_go_and_json() {
        assert_eq!(unescape(r#"a\tb\n\"c\" \\ \x41\101é\U0001F600\ud83d\ude00\/"#), "a\tb\n\"c\" \\ AAé😀😀/");
        assert_eq!(unescape(r"\xc3\xa9"), "é");
        assert!(matches!(unescape("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescape(r"a\q \x4 \ud83d \"), r"a\q \x4 \ud83d \");
    }

    #[test]
    fn the_closing_quote_is_the_first_that_is_not_escaped() {
        assert_eq!(split_closing_quote(r#"a\"b\\" rest"#), Some((r#"a\"b\\"#, " rest")));
        assert_eq!(split_closing_quote(r#"cut \""#), None);
    }

    proptest! {
        #[test]
        fn quoting_and_unescaping_is_the_identity(text in "\\PC*|[\\x00-\\x7f]*") {
            let quoted = quote(&text);
            let closed = format!("{quoted}\"");
            prop_assert_eq!(split_closing_quote(&closed), Some((quoted.as_str(), "")));
            prop_assert_eq!(unescape(&quoted), text);
        }

        #[test]
        fn any_text_is_survived(text in ".*") {
            let _ = unescape(&text);
            let _ = split_closing_quote(&text);
        }
    }
}
