//! Text of the node made safe to show: whoever names a process writes into these texts.
//!
//! Flows in: any text. Flows out: the same text with nothing in it that moves a cursor, colours a
//! terminal, breaks a line or turns the direction of writing.

use std::{borrow::Cow, fmt::Write};

/// The text with its control and direction characters spelled out, such as `\u{1b}`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hidden(character) {
            // Writing to a string does not fail.
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Control characters (C0, DEL, C1), and the invisible characters that reorder or break a line
/// (Unicode's bidirectional controls, zero-width characters, line and paragraph separators).
const fn is_hidden(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_escape_sequence_is_shown_not_obeyed() {
        assert_eq!(visible("a\u{1b}[2Jb\nc\u{202e}d\u{9b}1m"), "a\\u{1b}[2Jb\\nc\\u{202e}d\\u{9b}1m");
        assert!(matches!(visible("Grüße, 本"), Cow::Borrowed("Grüße, 本")));
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(|character| character.is_control() || is_hidden(character)));
        }
    }
}
