//! What the kubelet's words about a death, its counts of failed probes and its silence make of it.

use super::{Death, DeathExplanation, DeathWord, DeathWordKind, Witnesses};
use crate::{
    diagnosis::probe_count::ProbeCountRise,
    findings::{Evidence, EvidenceSource},
    model::{Blame, Cause, Confidence},
};

impl Death {
    /// The kubelet's own reasons to end a container explain only ends that came from outside.
    pub(super) fn weigh_words(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let from_outside = self.came_from_outside();
        for word in &witnesses.words {
            let clause = match word.kind {
                DeathWordKind::DefinitionChanged => Some((Cause::Stopped, "was restarted by the kubelet because its definition changed")),
                DeathWordKind::HookFailed if word.said.contains("PostStart") => {
                    Some((Cause::StartError, "was killed by the kubelet because its postStart hook failed"))
                }
                _ => None,
            };
            if let Some((cause, what)) = clause.filter(|_| from_outside) {
                (told.cause, told.what, told.confidence, told.blame) = (cause, what.to_owned(), Confidence::Proven, Blame::Workload);
            }
            told.evidence.push(Evidence {
                source: EvidenceSource::KubeletLog,
                time: word.at.wall,
                what: word.said.clone(),
                supports: true,
                how_matched: "pod uid and container".into(),
            });
        }
    }

    /// As many failures as end it, right before an end from outside, are near to a proof; that no probe
    /// failed is one that none ended it.
    pub(super) fn weigh_probe_counts(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let guessed = matches!(told.cause, Cause::LivenessProbe | Cause::StartupProbe);
        let completed = told.cause == Cause::Completed;
        if !self.came_from_outside() || !(guessed || completed || told.cause == Cause::Killed) {
            return;
        }
        let counts = &witnesses.probe_counts;
        if let Some(count) = counts.iter().find(|count| count.reaches_threshold()) {
            let (cause, what) = count.verdict();
            (told.cause, told.what) = (cause, what.to_owned());
            (told.confidence, told.blame) = (Confidence::Likely, Blame::Workload);
            told.evidence.push(count.evidence(self.ended, true));
        } else if guessed && !counts.is_empty() && counts.iter().all(ProbeCountRise::never_failed) {
            let what = "was ended by a signal from outside, and not by a probe: the kubelet counts no failed try";
            (told.cause, told.what) = (Cause::Killed, what.to_owned());
            told.evidence.extend(counts.iter().map(|count| count.evidence(self.ended, true)));
        } else if guessed {
            told.evidence.extend(counts.iter().map(|count| count.evidence(self.ended, false)));
        }
    }

    pub(super) fn weigh_probe(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let Some(probe) = witnesses.probe else { return };
        let (cause, what) = probe.verdict();
        (told.cause, told.what) = (cause, what.to_owned());
        (told.confidence, told.blame) = (Confidence::Proven, Blame::Workload);
        told.evidence.push(probe.evidence());
    }

    /// The kubelet says before each kill of its own that it kills: nothing else was the outside then.
    pub(super) fn weigh_kubelets_kill(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        if !self.came_from_outside() || !matches!(told.cause, Cause::Killed | Cause::Completed) {
            return;
        }
        let of_this_life = |word: &&DeathWord| self.termination.state.started.is_none_or(|started| word.at.wall >= started);
        let words = || witnesses.words.iter().filter(of_this_life);
        let killing = words().find_map(|word| match word.kind {
            DeathWordKind::Killing { grace_seconds } => Some((word.at, grace_seconds)),
            _ => None,
        });
        let Some((at, grace_seconds)) = killing else { return };
        let reason = words().find_map(|word| match word.kind {
            DeathWordKind::KillReason => word.said.split_once("containerMessage=").map(|(_, reason)| reason.trim_matches('"')),
            DeathWordKind::SandboxChanged => Some("its pod's sandbox was gone or had changed"),
            _ => None,
        });
        let grace = grace_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let used_up = grace.is_some_and(|grace| grace > 1 && self.ended.boot.seconds_since(at.boot).saturating_add(1) >= grace);
        let (cause, how) = match (self.termination.state.exit_code, grace) {
            (137, Some(grace)) if used_up => {
                (Cause::SlowShutdown, format!("was killed by the kubelet when it had not ended {grace} s after it was asked to"))
            }
            _ => (Cause::Stopped, "was stopped by the kubelet".to_owned()),
        };
        told.cause = cause;
        (told.confidence, told.blame) =
            if reason.is_some() { (Confidence::Proven, Blame::Workload) } else { (Confidence::Likely, Blame::Insufficient) };
        told.what = reason.map_or_else(|| how.clone(), |reason| format!("{how}; its reason: {}", reason.trim_end_matches('.')));
        if reason.is_none() {
            told.not_found.push("the kubelet's reason for it".into());
            told.actions.push("Read what the kubelet logged right before it killed the container.".into());
        }
    }

    /// A kubelet that names each of its kills and named none did not kill: the end came from within, or from somebody else.
    pub(super) fn weigh_kubelets_silence(&self, witnesses: &Witnesses<'_>, told: &mut DeathExplanation) {
        let said = witnesses.words.iter().any(|word| matches!(word.kind, DeathWordKind::Killing { .. }));
        if !witnesses.kubelet_heard || said || witnesses.probe.is_some() || !self.came_from_outside() {
            return;
        }
        const NOT_FOUND: &str = "a kill by the kubelet: its log names each one, and none of this container";
        match (told.cause, self.termination.state.exit_code) {
            (Cause::Completed, _) if told.blame == Blame::Insufficient => {
                (told.confidence, told.blame) = (Confidence::Proven, Blame::Workload);
                told.what = "ended with status 0 although it should have kept running, and not because the kubelet stopped it".into();
            }
            (Cause::LivenessProbe | Cause::StartupProbe, code) if told.blame == Blame::Insufficient => {
                told.cause = Cause::Killed;
                let signal = if code == 137 { "SIGKILL" } else { "SIGTERM" };
                told.what = format!("was ended by {signal} from outside, and not by the kubelet for a probe that failed");
            }
            (Cause::Killed, _) => {}
            _ => return,
        }
        told.not_found.push(NOT_FOUND.into());
    }
}
