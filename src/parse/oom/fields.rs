//! Reading `key:value` fields out of a kernel line that may be cut anywhere.
//!
//! A number counts only if the line shows where it ends: `anon-rss:47` at the end of a cut line may
//! have been 4776416.

use crate::model::Bytes;
use std::str::FromStr;

/// The text behind the first `key`.
pub fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.find(key).and_then(|at| text.get(at + key.len()..))
}

/// Splits leading digits (with a minus sign before them, if any) from the rest.
pub fn leading_number<T: FromStr>(text: &str) -> Option<(T, &str)> {
    let digits_from = usize::from(text.starts_with('-'));
    let digits = text.bytes().skip(digits_from).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(digits_from + digits)?;
    Some((number.parse().ok()?, rest))
}

/// The number behind `key`, if more text follows it.
pub fn closed_number<T: FromStr>(text: &str, key: &str) -> Option<T> {
    let (number, rest) = leading_number(after(text, key)?)?;
    (!rest.is_empty()).then_some(number)
}

/// The number behind `key`, even as the last thing in the line.
pub fn number<T: FromStr>(text: &str, key: &str) -> Option<T> {
    leading_number(after(text, key)?).map(|(number, _)| number)
}

/// The number of KiB behind `key`, in the kernel's `kB` or `KB`.
pub fn kib(text: &str, key: &str) -> Option<u64> {
    let (number, rest) = leading_number(after(text, key)?)?;
    (rest.starts_with("kB") || rest.starts_with("KB")).then_some(number)
}

/// The amount behind `key`.
pub fn amount(text: &str, key: &str) -> Option<Bytes> {
    kib(text, key).map(Bytes::from_kib)
}

/// The length of a process name as the kernel holds it: `\x0a` in a log is one byte of it.
pub fn comm_length(text: &str) -> usize {
    text.len().saturating_sub(3 * text.matches("\\x").count())
}

/// The longest name of a process: `TASK_COMM_LEN` (16) with its closing zero.
pub const LONGEST_COMM: usize = 15;

/// How much longer a name may look after its undecodable bytes were replaced (U+FFFD has 3 bytes).
pub const LONGEST_DECODED_COMM: usize = 3 * LONGEST_COMM;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_may_be_cut_is_none() {
        assert_eq!(kib("anon-rss:128kB, file", "anon-rss:"), Some(128));
        assert_eq!(kib("anon-rss:128", "anon-rss:"), None);
        assert_eq!(kib("anon-rss:128k", "anon-rss:"), None);
        assert_eq!(closed_number::<u32>("UID:10 pgtables", "UID:"), Some(10));
        assert_eq!(closed_number::<u32>("UID:10", "UID:"), None);
        assert_eq!(number::<i32>("oom_score_adj:-997", "oom_score_adj:"), Some(-997));
        assert_eq!(number::<u32>("pid=99999999999", "pid="), None);
    }
}
