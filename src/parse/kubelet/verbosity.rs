//! How verbose the kubelet is (`-v`): what it did not print, it cannot be expected to have told.

use super::situation::Observation;
use crate::{
    model::Pid,
    parse::klog::{Form, KlogRecord},
};

/// The highest level whose lines were seen of the process that writes now.
#[derive(Debug, Default)]
pub struct Verbosity {
    seen: u8,
    writer: Option<Pid>,
}

impl Verbosity {
    /// The level; 0 is a kubelet's default.
    pub fn seen(&self) -> u8 {
        self.seen
    }

    /// Takes a record and what it tells.
    pub fn take(&mut self, record: &KlogRecord<'_>, told: &[Observation]) {
        if record.pid.is_some() && record.pid != self.writer {
            *self = Self { seen: 0, writer: record.pid };
        }
        let told = told.iter().map(|observation| observation.situation.min_verbosity()).max();
        self.seen = self.seen.max(told.unwrap_or(0)).max(level(record).unwrap_or(0));
    }
}

/// The level that a record needs to be printed, where it shows: JSON says it (component-base
/// `logs/json`); the flags are listed from -v=1 (component-base `cli/flag`); the words of the main
/// loop are its most frequent ones (`pkg/kubelet/kubelet.go`).
fn level(record: &KlogRecord<'_>) -> Option<u8> {
    if record.form == Form::Json {
        return record.text_of("v")?.parse().ok();
    }
    let message = record.message.as_ref();
    if let Some(flag) = message.strip_prefix("FLAG: --v=") {
        return flag.trim_matches('"').parse().ok();
    }
    match message.strip_prefix("SyncLoop ")? {
        rest if rest.starts_with("(probe)") => Some(1),
        rest if rest.starts_with("(housekeeping") => Some(4),
        _ => Some(2),
    }
}

#[cfg(test)]
mod tests {
    use super::super::observe;
    use super::*;

    fn seen(lines: &[&str]) -> u8 {
        let mut verbosity = Verbosity::default();
        for line in lines {
            let record = KlogRecord::parse(line);
            verbosity.take(&record, &observe(&record));
        }
        verbosity.seen()
    }

    const QUIET: &str = r#"E0307 04:05:06.1    7 lease.go:1] "Failed to update lease" err="x""#;

    #[test]
    fn every_form_shows_its_level() {
        assert_eq!(seen(&[QUIET]), 0);
        assert_eq!(seen(&[r#"I0307 04:05:06.1    7 flags.go:64] FLAG: --v="4""#]), 4);
        assert_eq!(seen(&[r#"I0307 04:05:06.1    7 kubelet.go:1] "SyncLoop (probe)" probe="liveness" status="unhealthy" pod="a/b""#]), 1);
        assert_eq!(seen(&[r#"I0307 04:05:06.1    7 kubelet.go:1] "SyncLoop ADD" source="api" pods=["a/b"]"#]), 2);
        assert_eq!(seen(&[r#"I0307 04:05:06.1    7 kubelet.go:1] SyncLoop (ADD, "api"): "b_a(uid)""#]), 2);
        assert_eq!(seen(&[r#"{"ts":1.5,"caller":"kubelet/x.go:1","msg":"anything","v":3}"#]), 3);
    }

    #[test]
    fn another_process_is_as_verbose_as_its_own_lines() {
        let loud = r#"I0307 04:05:06.1    7 kubelet.go:1] "SyncLoop ADD" source="api" pods=["a/b"]"#;
        assert_eq!(seen(&[loud, QUIET]), 2);
        assert_eq!(seen(&[loud, &QUIET.replace("   7 ", "  19 ")]), 0);
    }
}
