//! What the kubelet's counts of failed probes say about an end.
//!
//! A container's status never says that a probe ended it, and the kubelet's log does only from
//! verbosity 1 on. The kubelet counts every failed try at any verbosity: as many as end the
//! container, right before an end that came from outside, are hardly a coincidence.

use crate::{
    findings::{Evidence, EvidenceSource},
    inventory::{ProbeHistory, Rise},
    model::{BootTime, Cause, Moment, PodUid},
    signal::{ContainerRecord, CountedProbe, ProbeRule},
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Statuses have whole seconds, and the kubelet looks at a container once a second.
const SLACK_SECONDS: u64 = 3;

/// The probes of a container that may end it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeRules {
    /// Of its liveness probe.
    pub liveness: Option<ProbeRule>,
    /// Of its startup probe.
    pub startup: Option<ProbeRule>,
    /// How long it may take to stop, in seconds.
    pub grace_seconds: u64,
}

/// How often one probe failed before an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeCountRise {
    /// Which probe.
    pub probe: CountedProbe,
    rule: ProbeRule,
    rise: Rise,
    /// Whether every failure that could have brought the end is in it.
    whole: bool,
}

impl ProbeRules {
    /// The rules of a container.
    pub fn of(container: &ContainerRecord, grace_seconds: Option<u64>) -> Self {
        // The API server's default (core/v1, `terminationGracePeriodSeconds`).
        const GRACE_SECONDS: u64 = 30;
        Self { liveness: container.liveness_rule, startup: container.startup_rule, grace_seconds: grace_seconds.unwrap_or(GRACE_SECONDS) }
    }

    /// Whether there are any.
    pub const fn are_any(&self) -> bool {
        self.liveness.is_some() || self.startup.is_some()
    }

    /// Whether the startup probe can have ended a life of this length: one that was longer than its failures and the stop
    /// take was past its start. `status.started` does not tell, the kubelet takes it back at the end.
    pub fn may_end_a_start_of(&self, lived: Option<SignedDuration>) -> bool {
        let (Some(lived), Some(rule)) = (lived, self.startup) else { return true };
        let seconds = [rule.delay_seconds, rule.takes_seconds(), self.grace_seconds, SLACK_SECONDS];
        let longest = seconds.into_iter().fold(0, u64::saturating_add);
        u64::try_from(lived.as_secs()).is_ok_and(|lived| lived <= longest)
    }

    /// How often each probe failed before an end, as far as the kubelet's counts tell.
    pub fn rises(&self, history: &ProbeHistory, pod: &PodUid, container: &str, ended: BootTime) -> Vec<ProbeCountRise> {
        let probes = [(CountedProbe::Startup, self.startup), (CountedProbe::Liveness, self.liveness)];
        let of = |(probe, rule): (CountedProbe, Option<ProbeRule>)| {
            let rule = rule?;
            let seconds = rule.takes_seconds().saturating_add(self.grace_seconds).saturating_add(SLACK_SECONDS);
            let after = BootTime(ended.0.saturating_sub(seconds.saturating_mul(1_000_000)));
            let rise = history.rise(pod, container, probe, after, ended)?;
            Some(ProbeCountRise { probe, rule, rise, whole: rise.from <= after })
        };
        probes.into_iter().filter_map(of).collect()
    }
}

impl ProbeCountRise {
    /// Whether it failed as often as ends the container.
    pub const fn reaches_threshold(&self) -> bool {
        self.rise.failed >= self.rule.failure_threshold
    }

    /// Whether it surely did not fail.
    pub const fn never_failed(&self) -> bool {
        self.whole && self.rise.failed == 0
    }

    /// The cause that it points to, and what happened, as a clause.
    pub const fn verdict(&self) -> (Cause, &'static str) {
        match self.probe {
            CountedProbe::Liveness => (
                Cause::LivenessProbe,
                "was killed by the kubelet because its liveness probe failed: as often as ends it, by the kubelet's own count",
            ),
            CountedProbe::Startup => (
                Cause::StartupProbe,
                "was killed by the kubelet because its startup probe never succeeded: it failed as often as ends it, by the kubelet's own count",
            ),
        }
    }

    /// The figures.
    pub fn evidence(&self, ended: Moment, supports: bool) -> Evidence {
        let probe = match self.probe {
            CountedProbe::Liveness => "liveness",
            CountedProbe::Startup => "startup",
        };
        let tries = if self.rise.failed == 1 { "try" } else { "tries" };
        let (failed, threshold, seconds) = (self.rise.failed, self.rule.failure_threshold, ended.boot.seconds_since(self.rise.from));
        let what =
            format!("in the {seconds} s before, {failed} failed {tries} of its {probe} probe; {threshold} in a row end the container");
        Evidence { source: EvidenceSource::KubeletApi, time: ended.wall, what, supports, how_matched: "pod uid and container".into() }
    }
}
