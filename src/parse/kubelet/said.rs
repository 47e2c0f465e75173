//! One record as the recognisers see it: message, error and keys of every generation alike.
//!
//! A structured `"Failed to x" err="y"` and a printf `Failed to x: y` are asked the same questions.

use super::excerpt::Excerpt;
use super::situation::{Observation, Situation};
use super::subject::Subject;
use crate::parse::klog::{Form, KlogRecord};
use std::borrow::Cow;

/// Keys whose values may be kept in an excerpt. Everything else may hold what nobody should read,
/// or is kept as a field of its own.
const KEPT_KEYS: [&str; 35] = [
    "networkReady",
    "reason",
    "message",
    "resourceName",
    "usage",
    "highThreshold",
    "lowThreshold",
    "amountToFree",
    "gracePeriod",
    "exitCode",
    "event",
    "nodeCondition",
    "probe",
    "probeType",
    "probeResult",
    "status",
    "output",
    "image",
    "kubeletVersion",
    "numErrs",
    "pods",
    "interval",
    "condition",
    "expected",
    "actual",
    "containerMessage",
    "node",
    "containerRuntime",
    "version",
    "runtimeName",
    "threshold",
    "observed",
    "path",
    "signal",
    "remainingBytes",
];

/// A record with its error decoded.
pub struct Said<'r, 'a> {
    record: &'r KlogRecord<'a>,
    err: Option<Cow<'a, str>>,
}

impl<'r, 'a> Said<'r, 'a> {
    /// What a record says; `None` for text that is not klog's.
    pub fn of(record: &'r KlogRecord<'a>) -> Option<Self> {
        (record.form != Form::Raw).then(|| Self { record, err: record.err().or_else(|| record.text_of("error")) })
    }

    /// The record.
    pub fn record(&self) -> &'r KlogRecord<'a> {
        self.record
    }

    /// The message; for a printf line the whole sentence.
    pub fn message(&self) -> &'r str {
        &self.record.message
    }

    /// What follows when the message begins with these words, in any case of letters.
    pub fn after(&self, words: &str) -> Option<&'r str> {
        after(self.message(), words)
    }

    /// Whether the message begins with one of these.
    pub fn begins(&self, beginnings: &[&str]) -> bool {
        beginnings.iter().any(|words| self.after(words).is_some())
    }

    /// The reported error: the value of `err`, or else the sentence.
    pub fn error(&self) -> &str {
        self.err.as_deref().unwrap_or(&self.record.message)
    }

    /// Whether the message or the error contains these words.
    pub fn tells(&self, words: &str) -> bool {
        self.message().contains(words) || self.err.as_deref().is_some_and(|err| err.contains(words))
    }

    /// Message, error and the keys that may be kept, in one line of text.
    pub fn whole(&self) -> String {
        let mut whole = self.record.message.clone().into_owned();
        if let Some(err) = &self.err {
            whole.push_str(": ");
            whole.push_str(err);
        }
        for (key, value) in self.record.pairs().filter(|(key, _)| KEPT_KEYS.contains(key)) {
            let value = value.text();
            let quote = if value.contains(' ') { "\"" } else { "" };
            whole.extend([" ", key, "=", quote, &value, quote]);
        }
        whole
    }

    /// The subject that the keys name, completed by the first `name_ns(uid)` of the sentence.
    pub fn subject(&self) -> Subject {
        let keys = Subject::of(self.record);
        if keys.has_pod() || self.record.form != Form::Printf {
            return keys;
        }
        keys.or(Subject::find_old(self.message()).unwrap_or_default())
    }

    /// An observation about the line's own subject, with all of its words.
    pub fn observation(&self, situation: Situation) -> Observation {
        self.about(self.subject(), situation)
    }

    /// An observation about another subject than the keys name.
    pub fn about(&self, subject: Subject, situation: Situation) -> Observation {
        self.quoting(&self.whole(), subject, situation)
    }

    /// An observation with chosen words.
    pub fn quoting(&self, words: &str, subject: Subject, situation: Situation) -> Observation {
        Observation { situation, subject, said: Excerpt::of(words), stamp: self.record.stamp }
    }
}

/// What follows `words` at the begin of `text`, in any case of ASCII letters.
pub fn after<'t>(text: &'t str, words: &str) -> Option<&'t str> {
    let (begin, rest) = text.split_at_checked(words.len())?;
    begin.eq_ignore_ascii_case(words).then_some(rest)
}

/// What stands between two marks.
pub fn between<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_answer_alike() {
        let new = KlogRecord::parse(r#"E0307 04:05:06.1 1 a.go:9] "Failed to pull it" err="no \"luck\"" env="SECRET" image="x""#);
        let new = Said::of(&new).expect("klog");
        assert_eq!(new.after("failed to PULL"), Some(" it"));
        assert_eq!((new.error(), new.tells("luck")), ("no \"luck\"", true));
        assert_eq!(new.whole(), "Failed to pull it: no \"luck\" image=x");
        let old = KlogRecord::parse("E0307 04:05:06.1 1 a.go:9] Failed to pull it: no luck");
        let old = Said::of(&old).expect("klog");
        assert!(old.tells("luck") && old.begins(&["x", "failed to pull"]));
        assert_eq!(old.error(), "Failed to pull it: no luck");
    }

    #[test]
    fn text_that_is_not_klog_says_nothing() {
        assert!(Said::of(&KlogRecord::parse("Failed to pull image")).is_none());
    }
}
