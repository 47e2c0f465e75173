//! Words that the page and the log share.

use crate::{
    findings::{CrashLoop, EvidenceSource, Life, Subject},
    model::{Blame, Scope, in_words},
};

/// A source of evidence as a person calls it.
pub(super) const fn source(source: EvidenceSource) -> &'static str {
    match source {
        EvidenceSource::KernelLog => "kernel log",
        EvidenceSource::Cgroup => "cgroup",
        EvidenceSource::Process => "process",
        EvidenceSource::Node => "node",
        EvidenceSource::PodStatus => "pod status",
        EvidenceSource::KubeletLog => "kubelet log",
        EvidenceSource::ContainerLog => "container log",
        EvidenceSource::Disk => "disk",
        EvidenceSource::Journal => "journal",
        EvidenceSource::KubeletApi => "kubelet API",
        EvidenceSource::EtcdLog => "etcd log",
    }
}

/// Whose fault it is, as a clause.
pub(super) const fn blame(blame: Blame) -> &'static str {
    match blame {
        Blame::Workload => "the workload’s own doing",
        Blame::Node => "the node’s doing",
        Blame::Neighbour => "a neighbour’s doing",
        Blame::Both => "the node’s and the workload’s doing",
        Blame::Insufficient => "whose doing is not known",
    }
}

/// What gave way, as a clause.
pub(super) const fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Container => "in one container",
        Scope::Pod => "in one pod",
        Scope::QosClass => "in one QoS class",
        Scope::NodeAllocatable => "among all pods",
        Scope::Node => "on the whole node",
        Scope::HostService => "in a host service",
    }
}

/// Who a finding is about: `shop/cart-7d9f8c-x2x7p · container api`; `None` where nothing is known.
pub(super) fn subject(subject: &Subject) -> Option<String> {
    let pod = match (&subject.namespace, &subject.pod, &subject.pod_uid) {
        (Some(namespace), Some(pod), _) => Some(format!("{namespace}/{pod}")),
        (None, Some(pod), _) => Some(pod.clone()),
        (_, None, Some(uid)) => Some(format!("pod {uid}")),
        (_, None, None) => None,
    };
    let container = match (&subject.container, &subject.container_id) {
        (Some(name), _) => Some(format!("container {name}")),
        (None, Some(id)) => Some(format!("container {}", id.short())),
        (None, None) => None,
    };
    let parts: Vec<_> = [pod, container].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// The first sentence of a summary, and what follows it.
pub(super) fn headline(summary: &str) -> (&str, &str) {
    let end = summary.match_indices(". ").map(|(at, _)| at + 1).find(|end| {
        let next = summary.get(*end..).and_then(|rest| rest.trim_start().chars().next());
        next.is_some_and(char::is_uppercase)
    });
    end.and_then(|end| summary.split_at_checked(end)).map_or((summary, ""), |(first, rest)| (first, rest.trim_start()))
}

/// A crash loop in a sentence: how often, how regularly, and when the next start is.
pub(super) fn crash_loop(crash_loop: &CrashLoop) -> String {
    let mut parts = vec![format!("{} seen", count(crash_loop.deaths, "death"))];
    parts.extend(crash_loop.interval_seconds.map(|seconds| format!("one every {}", in_words(seconds))));
    parts.push(if crash_loop.same_cause { "all for the same cause".into() } else { "not all for the same cause".into() });
    parts.extend(crash_loop.attempt.map(|attempt| format!("Kubernetes counts {}", count(attempt.into(), "restart"))));
    parts.extend(crash_loop.back_off_seconds.map(|seconds| format!("the kubelet now waits {} before the next start", in_words(seconds))));
    parts.join(", ") + "."
}

/// One life of it: `attempt 3 ended with exit code 137 after 5 min 4 s, charged 255 MiB`.
pub(super) fn life(life: &Life) -> String {
    let which = life.attempt.map_or_else(|| "an attempt".into(), |attempt| format!("attempt {attempt}"));
    let how = life.exit_code.map_or_else(|| "ended".into(), |code| format!("ended with exit code {code}"));
    let after = life.uptime_seconds.map(|seconds| format!(" after {}", in_words(seconds)));
    let memory = life.memory_at_death_bytes.map(|bytes| format!(", charged {bytes}"));
    format!("{which} {how}{}{}", after.unwrap_or_default(), memory.unwrap_or_default())
}

/// `1 time`, `3 times`.
pub(super) fn count(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {one}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bytes, ContainerId};

    #[test]
    fn a_subject_is_told_as_far_as_it_is_known() {
        let mut who = Subject::default();
        assert_eq!(subject(&who), None);
        who.container_id = ContainerId::parse(&"c0ffee00".repeat(8));
        assert_eq!(subject(&who).as_deref(), Some("container c0ffee00c0ff"));
        who.pod = Some("cart-0".into());
        who.container = Some("api".into());
        assert_eq!(subject(&who).as_deref(), Some("cart-0 · container api"));
        who.namespace = Some("shop".into());
        assert_eq!(subject(&who).as_deref(), Some("shop/cart-0 · container api"));
    }

    #[test]
    fn a_headline_is_a_whole_sentence() {
        assert_eq!(headline("It died. The node is fine. Really."), ("It died.", "The node is fine. Really."));
        assert_eq!(headline("It used 1.5 GiB, i.e. all of it."), ("It used 1.5 GiB, i.e. all of it.", ""));
        assert_eq!(headline(""), ("", ""));
    }

    #[test]
    fn a_life_is_told_as_far_as_it_is_known() {
        let mut one =
            Life { attempt: Some(3), exit_code: Some(137), uptime_seconds: Some(304), memory_at_death_bytes: Some(Bytes(255 << 20)) };
        assert_eq!(life(&one), "attempt 3 ended with exit code 137 after 5 min 4 s, charged 255 MiB");
        (one.exit_code, one.uptime_seconds, one.memory_at_death_bytes) = (None, None, None);
        assert_eq!(life(&one), "attempt 3 ended");
    }
}
