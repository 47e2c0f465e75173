//! Kills by memory watchers in user space: systemd-oomd and earlyoom.
//!
//! The kernel logs nothing of them and counts no OOM kill: to it they are signals like any other. The
//! killer's own unit says whom it killed, and PID 1 says it about the unit of the killed cgroup. Both
//! lines may come for one kill.

use super::{Core, Effect, condition::Condition, oom_telling::subject_key};
use crate::{
    diagnosis::{death::KillNote, oom::place_name},
    findings::{Evidence, EvidenceSource, Subject, Topic},
    model::{Attribution, Blame, BootTime, Cause, CgroupPlace, Confidence, ContainerId, Moment, Scope, ServiceName},
    parse::kernel_problem::{KernelProblem, OtherKind, OtherProblem, recognise_program},
    signal::{KubeletLine, KubeletOrigin},
};
use std::collections::VecDeque;

/// The two lines about one kill are no further apart; oomd's next kill is at least 15 s later
/// (`DURATION_SEC` between two, src/oom/oomd-manager.h).
const SAME_KILL_SECONDS: u64 = 5;

/// Kills remembered, to know the second line: more than fit into that time.
const MAX_REMEMBERED: usize = 64;

/// Kills told lately: the topic, when, and the happening.
#[derive(Debug, Default)]
pub struct UserspaceKills {
    told: VecDeque<(Topic, BootTime, String)>,
}

/// Whom a watcher killed.
struct Victim {
    subject: Option<Subject>,
    container: Option<ContainerId>,
    service: Option<ServiceName>,
    /// Whether its container ends with it; `None` where that is not known.
    ends_container: Option<bool>,
    scope: Scope,
    attribution: Attribution,
    how_matched: &'static str,
}

impl Core {
    /// Reads a line of a memory watcher; whether it was one.
    pub(super) fn userspace_oom(&mut self, line: &KubeletLine, at: Moment) -> bool {
        // What the writer calls itself proves nothing: the unit, which journald tells, decides.
        let KubeletOrigin::Journal { unit, is_pid1, .. } = &line.origin else { return false };
        let (program, is_watchers) = match (&**unit, is_pid1) {
            (_, true) => ("systemd", false),
            ("systemd-oomd.service", _) => ("systemd-oomd", true),
            ("earlyoom.service", _) => ("earlyoom", true),
            _ => return false,
        };
        match recognise_program(program, &line.text) {
            Some(KernelProblem::Other(kill)) if kill.kind == OtherKind::UserspaceOomKill => {
                self.tell_userspace_kill(&kill, &line.text, at);
                true
            }
            _ => is_watchers,
        }
    }

    fn tell_userspace_kill(&mut self, kill: &OtherProblem, text: &str, at: Moment) {
        let victim = self.victim_of(kill, at);
        let who = match (&victim.subject, &kill.comm, &kill.cgroup) {
            (Some(subject), ..) => place_name(subject),
            (None, Some(comm), _) => format!("process {comm} outside of pods"),
            (None, None, Some(cgroup)) => cgroup.clone(),
            (None, None, None) => "a process".into(),
        };
        let about = victim.subject.as_ref().map_or_else(|| who.clone(), subject_key);
        let topic = Topic(format!("{}|{about}", Cause::OomUserspace));
        let (happening, is_new) = self.userspace_kills.happening(&topic, at.boot);
        let condition = Condition {
            topic: topic.clone(),
            happening,
            weight: 1,
            cause: Cause::OomUserspace,
            confidence: Confidence::Proven,
            scope: victim.scope,
            blame: Blame::Insufficient,
            summary: format!("In {who}, a memory watcher in user space killed processes, before the kernel would have had to."),
            subjects: victim.subject.iter().cloned().collect(),
            evidence: vec![Evidence {
                source: EvidenceSource::Journal,
                time: at.wall,
                what: text.to_owned(),
                supports: true,
                how_matched: victim.how_matched.into(),
            }],
            not_found: vec!["whose memory it was: the watcher chooses by its own rules, among all cgroups that it watches".into()],
            actions: vec![
                "Compare the watcher's thresholds (oomctl; earlyoom -m) with what the kubelet reserves: Kubernetes expects the kubelet to evict first."
                    .into(),
            ],
            attribution: victim.attribution,
        };
        self.tell_condition(condition, at);
        if let Some(container) = &victim.container {
            let note = KillNote {
                container: Some(container.clone()),
                pod: victim.subject.as_ref().and_then(|subject| subject.pod_uid.clone()),
                at: at.boot,
                after: None,
                cause: Cause::OomUserspace,
                ends_container: victim.ends_container,
                topic,
                charged: None,
                accounted: false,
            };
            let note = self.deaths.note_kill(note);
            self.reopen_end_of(&note);
        }
        if is_new {
            self.count_userspace_kill(&victim);
        }
        self.effects.push(Effect::Save);
    }

    fn count_userspace_kill(&mut self, victim: &Victim) {
        self.counters.count_oom_kill(Cause::OomUserspace, victim.scope);
        match &victim.subject {
            Some(subject) => self.counters.count_workload_kill(subject, Cause::OomUserspace),
            None => self.counters.count_host_kill(victim.service.as_ref().map(|service| service.0.as_ref())),
        }
    }

    fn victim_of(&self, kill: &OtherProblem, at: Moment) -> Victim {
        let place = kill.cgroup.as_deref().map(CgroupPlace::of);
        let process = kill.pid.and_then(|pid| self.inventory.process(pid, kill.comm.as_deref(), at.boot));
        let is_first = process.as_ref().is_some_and(|known| known.process.inner_pid == Some(1));
        let in_cgroup = place.as_ref().and_then(CgroupPlace::container).cloned();
        let is_by_cgroup = place.is_some();
        let container = in_cgroup.or(process.map(|known| known.container));
        let pod = place.as_ref().and_then(CgroupPlace::pod).cloned();
        let pod = pod.or_else(|| self.inventory.container(container.as_ref()?)?.pod.clone());
        let service = match place {
            Some(CgroupPlace::Service(service)) => Some(service),
            _ => None,
        };
        let is_known = pod.is_some() || container.is_some();
        Victim {
            subject: is_known.then(|| self.inventory.subject(pod.as_ref(), container.as_ref())),
            scope: match (&container, &pod) {
                (Some(_), _) => Scope::Container,
                (None, Some(_)) => Scope::Pod,
                (None, None) => Scope::HostService,
            },
            attribution: match (is_known, is_by_cgroup) {
                (false, _) => Attribution::None,
                (true, true) => Attribution::Runtime,
                (true, false) => Attribution::PidCache,
            },
            how_matched: if is_by_cgroup { "the cgroup that it names" } else { "the pid that it names" },
            // oomd kills a cgroup whole.
            ends_container: (is_by_cgroup || is_first).then_some(true),
            container,
            service,
        }
    }
}

impl UserspaceKills {
    /// Which happening a line is about, and whether it is a new one.
    fn happening(&mut self, topic: &Topic, at: BootTime) -> (String, bool) {
        let same = |(known, when, _): &&(Topic, BootTime, String)| known == topic && at.seconds_since(*when) < SAME_KILL_SECONDS;
        if let Some((.., happening)) = self.told.iter().rev().find(same) {
            return (happening.clone(), false);
        }
        if self.told.len() == MAX_REMEMBERED {
            self.told.pop_front();
        }
        let happening = format!("userspace:{}:{}", topic.0, at.0);
        self.told.push_back((topic.clone(), at, happening.clone()));
        (happening, true)
    }
}
