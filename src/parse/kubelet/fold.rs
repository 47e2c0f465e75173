//! Folds the lines that tell of one problem into one report.
//!
//! A failed start is told by three lines, a back-off repeats its line for minutes, a kill by a probe
//! is a decision, a reason and a kill. Lines are one problem when their class, their subject and what
//! they are about (probe, volume, resource) agree, and no more than [`EPISODE`] lies between them.
//! Lines of the runtime interface name no pod: they join a pod's problem by the reason they share.

use super::class::{Class, problem};
use super::report::{Details, Report};
use super::situation::{KillReason, Observation, Probe, Situation};
use super::subject::Subject;
use crate::parse::klog::Stamp;
use std::collections::VecDeque;

/// Seconds of silence after which the same trouble is a new problem.
const EPISODE: i64 = 3600;
/// Problems kept open at once, oldest out first: a node has at most some hundred containers.
const MOST_OPEN: usize = 512;
/// Longest message of a report in bytes.
const LONGEST_MESSAGE: usize = 4096;
/// Two errors share their reason when this many bytes of their ends or begins are equal.
const SHARED: usize = 40;

/// Takes observations in order and gives one report a problem.
#[derive(Debug, Default)]
pub struct ProblemFolder {
    open: VecDeque<OpenProblem>,
}

#[derive(Debug)]
struct OpenProblem {
    topic: (Class, &'static str),
    subject: Subject,
    probe: Option<Probe>,
    volumes: Vec<String>,
    /// A probe led to a kill, so the next kill of this container belongs here.
    kills: bool,
    /// k3s lost its embedded runtime, so the end of its own unit belongs here.
    embedded: bool,
    last: Option<Stamp>,
    report: Report,
}

impl ProblemFolder {
    /// Takes the next observation; gives a problem only when too many are open.
    pub fn push(&mut self, observation: Observation) -> Option<Report> {
        let Some(topic) = problem(&observation) else {
            self.attach(&observation);
            return None;
        };
        if let Some(open) = self.open.iter_mut().rev().find(|open| open.is_told_by(topic, &observation)) {
            open.take(observation);
            return None;
        }
        self.open.push_back(OpenProblem::new(topic, observation));
        if self.open.len() <= MOST_OPEN { None } else { self.open.pop_front().map(OpenProblem::close) }
    }

    /// Gives all problems that are still open, in the order of their first lines.
    pub fn finish(&mut self) -> Vec<Report> {
        self.open.drain(..).map(OpenProblem::close).collect()
    }

    /// A kill is no problem by itself; behind a probe's decision it completes that.
    fn attach(&mut self, observation: &Observation) {
        let Situation::Killing { .. } = observation.situation else { return };
        let killed = self.open.iter_mut().rev().find(|open| {
            let same_id = observation.subject.container_id.is_some() && open.subject.container_id == observation.subject.container_id;
            open.kills && (same_id || open.subject.agrees(&observation.subject))
        });
        if let Some(open) = killed {
            open.take(observation.clone());
        }
    }
}

impl OpenProblem {
    fn new(topic: (Class, &'static str), first: Observation) -> Self {
        Self {
            topic,
            probe: first.situation.probe(),
            volumes: first.situation.volumes().to_vec(),
            kills: is_kill(&first.situation),
            embedded: first.situation == Situation::EmbeddedRuntimeEnded,
            last: first.stamp,
            report: Report::new(topic.0, &first),
            subject: first.subject,
        }
    }

    fn is_told_by(&self, topic: (Class, &'static str), other: &Observation) -> bool {
        if self.embedded && matches!(other.situation, Situation::Unit { .. }) {
            return true;
        }
        self.topic == topic && self.is_recent(other.stamp) && self.is_about(other) && self.is_of(other)
    }

    fn is_recent(&self, now: Option<Stamp>) -> bool {
        let gap = now.zip(self.last).and_then(|(now, last)| now.seconds_since(last));
        gap.is_none_or(|gap| gap.abs() <= EPISODE)
    }

    /// The probe, the volumes, the resource agree.
    fn is_about(&self, other: &Observation) -> bool {
        let (probe, volumes) = (other.situation.probe(), other.situation.volumes());
        let probe_agrees = probe.is_none() || self.probe.is_none() || probe == self.probe;
        let volume_agrees = volumes.is_empty() || self.volumes.is_empty() || volumes.iter().any(|name| self.volumes.contains(name));
        let resource_agrees = match &other.situation {
            Situation::Eviction { resource, .. } => {
                resource.is_none() || self.report.details.resource.is_none() || *resource == self.report.details.resource
            }
            _ => true,
        };
        probe_agrees && volume_agrees && resource_agrees
    }

    /// The subject agrees; a line without a pod belongs to the pod whose error it shares.
    fn is_of(&self, other: &Observation) -> bool {
        if self.subject.agrees(&other.subject) && (self.subject.has_pod() || !is_call(other) || self.shares_reason(other)) {
            return true;
        }
        self.subject.has_pod() != other.subject.has_pod() && (self.is_podless_call() || is_call(other)) && self.shares_reason(other)
    }

    fn is_podless_call(&self) -> bool {
        !self.subject.has_pod()
            && matches!(
                self.topic,
                (Class::SandboxCni, "sandbox") | (Class::ImagePull, _) | (Class::Other, "start") | (Class::ProbeFailed, _)
            )
    }

    fn shares_reason(&self, other: &Observation) -> bool {
        let (mine, others) = (self.report.message.as_str(), other.said.as_str());
        let image = Details::of(&other.situation).image;
        let by_image = image.is_some() && image == self.report.details.image;
        by_image || shares_an_end(mine, others) || shares_an_end(others, mine)
    }

    fn take(&mut self, other: Observation) {
        self.kills |= is_kill(&other.situation);
        self.last = other.stamp.or(self.last);
        self.probe = self.probe.or(other.situation.probe());
        for volume in other.situation.volumes() {
            if !self.volumes.contains(volume) {
                self.volumes.push(volume.clone());
            }
        }
        self.report.count = self.report.count.saturating_add(1);
        self.report.message.extended(&other.said, LONGEST_MESSAGE);
        self.report.details.complete(Details::of(&other.situation));
        let known = std::mem::take(&mut self.subject);
        self.subject = if known.has_pod() { known.or(other.subject) } else { other.subject.or(known) };
    }

    fn close(self) -> Report {
        let Subject { uid, container, container_id, .. } = self.subject.clone();
        let volume = self.report.volume.clone().or_else(|| self.volumes.first().cloned());
        Report {
            pod: self.subject.path(),
            pod_uid: uid,
            container,
            container_id,
            probe: self.probe.map(Probe::as_str),
            volume,
            ..self.report
        }
    }
}

fn is_kill(situation: &Situation) -> bool {
    matches!(situation, Situation::ProbeDecision { .. } | Situation::KillReason { reason: KillReason::Probe(_) })
}

fn is_call(observation: &Observation) -> bool {
    let pull = matches!(observation.situation, Situation::ImagePullFailed { .. }) && !observation.subject.has_pod();
    pull || matches!(observation.situation, Situation::CriCallFailed { unreachable: false, .. })
}

/// Whether `whole` contains the begin or the end of the error in `part`.
fn shares_an_end(part: &str, whole: &str) -> bool {
    let error = part.rsplit_once(" desc = ").map_or(part, |(_, error)| error);
    let error = error.split(" image=").next().unwrap_or(error).trim_end_matches(['"', '\'', ' ', ']']);
    let begin = error.get(..error.floor_char_boundary(SHARED)).unwrap_or("");
    let end = error.get(error.ceil_char_boundary(error.len().saturating_sub(SHARED))..).unwrap_or("");
    !error.is_empty() && (whole.contains(begin) || whole.contains(end))
}

#[cfg(test)]
mod tests {
    use super::super::KubeletProblems;
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "0a1b2c3d-0000-1111-2222-333344445555";

    fn reports(lines: &[String]) -> Vec<Report> {
        let mut problems = KubeletProblems::default();
        let mut reports: Vec<_> = lines.iter().flat_map(|line| problems.push(Some("kubelet"), line)).collect();
        reports.extend(problems.finish());
        reports
    }

    fn at(clock: &str, text: &str) -> String {
        format!("E0307 {clock}.000001    1234 a.go:9] {text}")
    }

    fn classes(reports: &[Report]) -> Vec<Class> {
        reports.iter().map(|report| report.class).collect()
    }

    #[test]
    fn three_lines_of_one_failed_start_are_one_problem() {
        let reason = "rpc error: code = NotFound desc = failed to pull and unpack image \\\"r.example/a:1\\\": r.example/a:1: not found";
        let inner = reason.replace("\\\"", "\\\\\\\"");
        let reports = reports(&[
            at("04:05:06", &format!("\"PullImage from image service failed\" err=\"{reason}\" image=\"r.example/a:1\"")),
            at("04:05:06", &format!("\"Failed to pull image\" err=\"{reason}\" image=\"r.example/a:1\"")),
            at(
                "04:05:06",
                &format!(
                    "\"Unhandled Error\" err=\"container app start failed in pod web-0_ns({UID}): ErrImagePull: {reason}\" logger=\"UnhandledError\""
                ),
            ),
            at(
                "04:05:06",
                &format!(
                    "\"Error syncing pod, skipping\" err=\"failed to \\\"StartContainer\\\" for \\\"app\\\" with ErrImagePull: \\\"{inner}\\\"\" pod=\"ns/web-0\" podUID=\"{UID}\""
                ),
            ),
            at(
                "04:05:17",
                &format!(
                    "\"Error syncing pod, skipping\" err=\"failed to \\\"StartContainer\\\" for \\\"app\\\" with ImagePullBackOff: \\\"Back-off pulling image \\\\\\\"r.example/a:1\\\\\\\"\\\"\" pod=\"ns/web-0\" podUID=\"{UID}\""
                ),
            ),
        ]);
        assert_eq!(classes(&reports), [Class::ImagePull], "{reports:#?}");
        assert_eq!((reports[0].pod.as_deref(), reports[0].container.as_deref(), reports[0].count), (Some("ns/web-0"), Some("app"), 5));
        assert_eq!(reports[0].details.reason.as_deref(), Some("not_found"));
    }

    #[test]
    fn a_back_off_that_repeats_is_one_problem_with_its_newest_delay() {
        let line = |clock, delay| {
            at(
                clock,
                &format!(
                    "\"Error syncing pod, skipping\" err=\"failed to \\\"StartContainer\\\" for \\\"app\\\" with CrashLoopBackOff: \\\"back-off {delay} restarting failed container=app pod=web-0_ns({UID})\\\"\" pod=\"ns/web-0\" podUID=\"{UID}\""
                ),
            )
        };
        let found = reports(&[line("04:05:06", "10s"), line("04:05:18", "10s"), line("04:05:40", "20s")]);
        assert_eq!(classes(&found), [Class::CrashloopBackoff]);
        assert_eq!((found[0].count, found[0].details.delay_seconds), (3, Some(20.0)));
        assert!(found[0].message.as_str().contains("back-off 10s") && found[0].message.as_str().contains("back-off 20s"));
        assert_eq!(reports(&[line("04:05:06", "10s"), line("09:05:06", "10s")]).len(), 2, "hours later");
    }

    #[test]
    fn a_kill_by_a_probe_is_one_problem() {
        let id = "ab".repeat(32);
        let reports = reports(&[
            at(
                "04:05:06",
                &format!(
                    "\"Probe failed\" probeType=\"Liveness\" pod=\"ns/a\" podUID=\"{UID}\" containerName=\"app\" probeResult=\"failure\" output=<"
                ),
            ),
            "\tno such file".to_owned(),
            " >".to_owned(),
            at("04:05:06", "\"SyncLoop (probe)\" probe=\"liveness\" status=\"unhealthy\" pod=\"ns/a\""),
            at(
                "04:05:06",
                &format!(
                    "\"Message for Container of pod\" containerName=\"app\" containerStatusID={{\"Type\":\"containerd\",\"ID\":\"{id}\"}} pod=\"ns/a\" containerMessage=\"Container app failed liveness probe, will be restarted\""
                ),
            ),
            at(
                "04:05:06",
                &format!(
                    "\"Killing container with a grace period\" pod=\"ns/a\" podUID=\"{UID}\" containerName=\"app\" containerID=\"containerd://{id}\" gracePeriod=30"
                ),
            ),
        ]);
        assert_eq!(classes(&reports), [Class::ProbeFailed], "{reports:#?}");
        let report = &reports[0];
        assert_eq!(
            (report.probe, report.container.as_deref(), report.pod_uid.is_some(), report.count),
            (Some("Liveness"), Some("app"), true, 4)
        );
        assert!(
            ["no such file", "will be restarted", "gracePeriod=30"].iter().all(|fact| report.message.as_str().contains(fact)),
            "{}",
            report.message
        );
    }

    #[test]
    fn a_kill_alone_and_good_news_are_no_problems() {
        let reports = reports(&[
            at("04:05:06", "\"Killing container with a grace period\" pod=\"ns/a\" containerName=\"app\" gracePeriod=30"),
            at("04:05:06", "\"SyncLoop (probe)\" probe=\"readiness\" status=\"ready\" pod=\"ns/a\""),
            at("04:05:06", "eviction manager: able to reduce memory pressure without evicting pods."),
            at(
                "04:05:06",
                "\"Skipping pod synchronization\" err=\"[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]\"",
            ),
            at("04:05:06", "\"Image garbage collection failed once. Stats initialization may not have completed yet\" err=\"x\""),
        ]);
        assert_eq!(reports, []);
    }

    #[test]
    fn what_differs_in_its_subject_stays_apart() {
        let probe = |kind: &str, container: &str| {
            at("04:05:06", &format!("\"Probe failed\" probeType=\"{kind}\" pod=\"ns/a\" containerName=\"{container}\" output=\"x\""))
        };
        assert_eq!(reports(&[probe("Liveness", "a"), probe("Readiness", "a"), probe("Liveness", "b"), probe("Liveness", "a")]).len(), 3);
        let volume = |name: &str| {
            at(
                "04:05:06",
                &format!(
                    "MountVolume.SetUp failed for volume \"{name}\" (UniqueName: \"x\") pod \"a\" (UID: \"{UID}\") : secret \"s\" not found"
                ),
            )
        };
        assert_eq!(reports(&[volume("one"), volume("two"), volume("one")]).len(), 2);
    }

    #[test]
    fn a_sandbox_call_joins_its_pod_by_the_reason() {
        let reason = "rpc error: code = Unknown desc = failed to setup network for sandbox: plugin type=x failed (add): no address left in the range";
        let reports = reports(&[
            at("04:05:06", &format!("\"RunPodSandbox from runtime service failed\" err={reason:?}")),
            at("04:05:06", &format!("\"Failed to create sandbox for pod\" err={reason:?} pod=\"ns/a\"")),
            at(
                "04:05:06",
                &format!(
                    "\"Error syncing pod, skipping\" err=\"failed to \\\"CreatePodSandbox\\\" for \\\"a_ns({UID})\\\" with CreatePodSandboxError: \\\"{reason}\\\"\" pod=\"ns/a\" podUID=\"{UID}\""
                ),
            ),
        ]);
        assert_eq!(
            (classes(&reports), reports[0].pod.as_deref(), reports[0].container.as_deref()),
            (vec![Class::SandboxCni], Some("ns/a"), None),
            "{reports:#?}"
        );
    }

    #[test]
    fn the_end_of_an_embedded_runtime_explains_the_end_of_its_unit() {
        let mut problems = KubeletProblems::default();
        problems.push(Some("k3s[7]"), "containerd: signal: killed");
        problems.push(Some("systemd[1]"), "k3s.service: Main process exited, code=exited, status=1/FAILURE");
        problems.push(Some("systemd[1]"), "k3s.service: Scheduled restart job, restart counter is at 3.");
        let reports = problems.finish();
        assert_eq!((classes(&reports), reports[0].details.restarts), (vec![Class::RuntimeDown], Some(3)));
    }

    #[test]
    fn a_kubelet_that_cannot_start_is_one_problem_with_its_unit() {
        let mut problems = KubeletProblems::default();
        for round in 1..4 {
            problems.push(
                Some("kubelet"),
                &at("04:05:06", "\"command failed\" err=\"failed to run Kubelet: running with swap on is not supported\"")
                    .replace("a.go", "run.go"),
            );
            problems.push(Some("systemd"), "kubelet.service: Main process exited, code=exited, status=1/FAILURE");
            problems.push(Some("systemd"), &format!("kubelet.service: Scheduled restart job, restart counter is at {round}."));
        }
        let reports = problems.finish();
        assert_eq!((classes(&reports), reports[0].details.restarts, reports[0].count), (vec![Class::Restart], Some(3), 9));
    }

    #[test]
    fn open_problems_are_bounded() {
        let mut folder = ProblemFolder::default();
        let observed = |at: usize| Observation {
            situation: Situation::ConfigError,
            subject: Subject::of_path(&format!("ns/pod-{at}")).expect("path"),
            said: super::super::Excerpt::of("x"),
            stamp: None,
        };
        let given = (0..MOST_OPEN + 3).filter_map(|at| folder.push(observed(at))).count();
        assert_eq!((given, folder.finish().len()), (3, MOST_OPEN));
    }

    proptest! {
        #[test]
        fn any_lines_are_survived_and_messages_are_bounded(texts in proptest::collection::vec("(\"Probe failed\" probeType=\"Liveness\" |Error syncing pod x, skipping: failed to \"StartContainer\" for \"a\" with |eviction manager: must evict |)[ -~é]{0,60}", 0..40)) {
            let lines: Vec<_> = texts.iter().map(|text| at("04:05:06", text)).collect();
            for report in reports(&lines) {
                prop_assert!(report.message.as_str().len() <= LONGEST_MESSAGE);
                prop_assert!(serde_json::to_value(&report).is_ok_and(|json| json["type"] == "kubelet"));
            }
        }
    }
}
