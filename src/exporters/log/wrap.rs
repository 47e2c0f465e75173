//! Lines of a readable length.

/// The width of the text: most terminals have 80 columns or more, and longer lines read badly.
pub(super) const WIDTH: usize = 96;

/// The text in lines of at most `width` characters, broken between words; a longer word stands alone.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_stay_whole() {
        assert_eq!(wrap("one two  three", 8), ["one two", "three"]);
        assert_eq!(wrap("incomprehensibilities of", 8), ["incomprehensibilities", "of"]);
        assert_eq!(wrap("", 8), [""]);
    }

    proptest! {
        #[test]
        fn no_word_is_lost_and_no_line_too_long(text in "[a-zß ]{0,300}", width in 1usize..120) {
            let lines = wrap(&text, width);
            let wrapped = lines.join(" ");
            prop_assert!(wrapped.split_whitespace().eq(text.split_whitespace()));
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width || !line.contains(' ')));
        }
    }
}
