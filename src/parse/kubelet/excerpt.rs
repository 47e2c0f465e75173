//! Text out of the kubelet's log that may be kept: short, and without what nobody should read.
//!
//! Kubelets before 1.34 print the whole container with its environment into the error of a failed
//! start (`pkg/kubelet/kuberuntime/kuberuntime_manager.go`, "container %+v start failed in pod"), and
//! registries sign the addresses of image layers.

use serde::Serialize;
use std::fmt;

/// Longest excerpt in bytes. Go errors name the place first and the reason last, so both ends stay.
pub const LONGEST: usize = 1024;
const LONGEST_TAIL: usize = 384;
/// A query longer than this is a signed address.
const LONGEST_QUERY: usize = 64;
pub(super) const LEFT_OUT: &str = "…";

/// A short text without dumps of container specs, credentials and signed addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Excerpt(String);

impl Excerpt {
    /// Takes from a log what may be kept of it.
    pub fn of(text: &str) -> Self {
        let text = without_container_dumps(text.trim());
        let text = without_credentials(&text);
        Self(cut(&text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This excerpt with another one behind it, as long as the sum is no longer than `most` bytes and
    /// the other one says something new.
    pub fn extended(&mut self, other: &Self, most: usize) {
        if !self.0.contains(&other.0) && self.0.len() + other.0.len() < most {
            self.0.push('\n');
            self.0.push_str(&other.0);
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn without_container_dumps(text: &str) -> String {
    without_dump(text).map_or_else(|| text.to_owned(), |(kept, _)| kept)
}

/// Replaces `&Container{Name:app,…}` by `app`, and tells whether the dump goes on behind this text. The values
/// inside are free text, so no bracket of theirs can be trusted: it ends where the sentence goes on, or never.
pub(super) fn without_dump(text: &str) -> Option<(String, bool)> {
    const DUMPS: [&str; 3] = ["&Container{", "&EphemeralContainer{", "&v1.Container{"];
    let (at, length) = DUMPS.iter().filter_map(|dump| Some((text.find(dump)?, dump.len()))).min()?;
    let (before, dump) = (text.get(..at)?, text.get(at + length..)?);
    let name = dump.strip_prefix("Name:").and_then(|rest| rest.split([',', ' ', '}']).next()).unwrap_or(LEFT_OUT);
    let after = behind_dump(dump);
    Some((format!("{before}{name}{}", after.unwrap_or("")), after.is_none()))
}

/// Where the sentence goes on behind a dump.
pub(super) fn behind_dump(text: &str) -> Option<&str> {
    text.rfind("} start failed in pod").and_then(|at| text.get(at + 1..))
}

/// Goes once over the text: it is as long as an attacker's probe output makes it.
pub(super) fn without_credentials(text: &str) -> String {
    const WORDS: [&str; 8] = ["://", "?", "password=", "passwd=", "token=", "secret=", "Bearer ", "Basic "];
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let credential = WORDS.iter().find_map(|word| Some((*word, rest.strip_prefix(word)?)));
        let Some((word, value)) = credential else {
            kept.push(char);
            rest = rest.get(char.len_utf8()..).unwrap_or("");
            continue;
        };
        let length = secret_length(word, value);
        kept.push_str(word);
        kept.push_str(if length > 0 { LEFT_OUT } else { "" });
        rest = value.get(length..).unwrap_or("");
    }
    kept
}

fn secret_length(word: &str, value: &str) -> usize {
    let until = |ends: &[char]| value.find(ends).unwrap_or(value.len());
    match word {
        "://" => value.get(..until(&['/', ' ', '"', '\'', '?', '\n'])).and_then(|host| host.rfind('@')).unwrap_or(0),
        "?" => Some(until(&[' ', '"', '\'', '\\', '\n'])).filter(|length| *length > LONGEST_QUERY).unwrap_or(0),
        _ => {
            // Already left out by whoever wrote it, or by us.
            if value.starts_with(LEFT_OUT) { 0 } else { until(&[' ', ',', ';', '&', '"', '\'', '\\', '\n', ')']) }
        }
    }
}

fn cut(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(LONGEST - LONGEST_TAIL - LEFT_OUT.len());
    let tail = text.ceil_char_boundary(text.len() - LONGEST_TAIL);
    format!("{}{LEFT_OUT}{}", text.get(..head).unwrap_or(""), text.get(tail..).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_container_dump_leaves_only_its_name() {
        let text = r#"container &Container{Name:app,Image:x,Env:[]EnvVar{EnvVar{Name:KEY,Value:hunter2}} start failed,ValueFrom:nil,},},} start failed in pod web_ns(u): CreateContainerConfigError: secret "db" not found"#;
        let kept = Excerpt::of(text);
        assert_eq!(kept.as_str(), r#"container app start failed in pod web_ns(u): CreateContainerConfigError: secret "db" not found"#);
        assert_eq!(Excerpt::of("container &Container{Name:app,Env:[]EnvVar{EnvVar{Name:K,Value:hunt").as_str(), "container app");
    }

    #[test]
    fn credentials_are_left_out_and_plain_addresses_are_not() {
        let signed = format!("Get \"https://bucket.example/l?X-Sig={}\": i/o timeout", "a".repeat(80));
        assert_eq!(Excerpt::of(&signed).as_str(), "Get \"https://bucket.example/l?…\": i/o timeout");
        assert_eq!(Excerpt::of("from https://me:pw@reg.example/v2/ failed").as_str(), "from https://…@reg.example/v2/ failed");
        assert_eq!(Excerpt::of("-o username=a,password=b,vers=3").as_str(), "-o username=a,password=…,vers=3");
        let plain = "Put \"https://api:6443/leases/n1?timeout=10s\": EOF";
        assert_eq!(Excerpt::of(plain).as_str(), plain);
    }

    #[test]
    fn a_long_text_keeps_both_ends() {
        let text = format!("begin {} the reason", "é".repeat(4000));
        let kept = Excerpt::of(&text);
        assert!(kept.as_str().starts_with("begin ") && kept.as_str().ends_with(" the reason") && kept.as_str().len() <= LONGEST);
    }

    #[test]
    fn texts_are_joined_once_and_up_to_a_bound() {
        let mut text = Excerpt::of("one");
        for other in ["two", "one", "two", "far too long to fit"] {
            text.extended(&Excerpt::of(other), 16);
        }
        assert_eq!(text.as_str(), "one\ntwo");
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_bounded(text in "(https?://|\\?|password=|&Container\\{|[ -~é…]){0,2000}") {
            prop_assert!(Excerpt::of(&text).as_str().len() <= LONGEST);
        }
    }
}
