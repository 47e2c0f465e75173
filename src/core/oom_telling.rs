//! Makes findings of explained OOM kills, and counts them once.

use super::{Core, Effect, REMEMBERED_KILLS};
use crate::{
    diagnosis::{
        death::{Correlation, KillNote},
        kill_ledger::CountedKill,
        oom::{OomExplanation, place_name},
        oom_cases::{News, Told},
    },
    findings::{Change, Evidence, EvidenceSource, Finding, FindingId, FindingState, Occurrence, OccurrenceId, Subject, Topic},
    inventory::Belonging,
    model::{Attribution, Blame, BootId, Cause, Confidence, Moment, Scope},
};

impl Core {
    /// Carries out what the kills being looked after ask for.
    pub(super) fn tell(&mut self, news: Vec<News>) {
        for news in news {
            match news {
                News::Tell(told) => self.tell_kill(&told, None),
                News::Retell { was, now } => self.tell_kill(&now, Some(&was)),
                News::Complete(told) => self.count_kill(&told),
                News::Logged { position, pod, at, lines } => {
                    let matched = self.ledger.logged(&pod, at, lines);
                    self.counters.kills_both_saw += matched.both;
                    matched.late.iter().for_each(|counted| self.replace_counted(&position, counted));
                }
                News::Foreign => self.counters.foreign_oom_kills += 1,
                News::Look(cgroup) => self.effects.push(Effect::Look { cgroup }),
            }
        }
    }

    fn tell_kill(&mut self, told: &Told, was: Option<&Told>) {
        let topic = topic(&told.explanation, told);
        let id = OccurrenceId(told.position.clone());
        if was.is_none() {
            self.inherit(&id, told);
        }
        if self.inherited.get(&told.position).is_some_and(|earlier| !self.says_more(told, &topic, earlier)) {
            return;
        }
        if let Some(old) = was.map(|was| self::topic(&was.explanation, was)).filter(|old| *old != topic) {
            self.findings.retract(&old, &id);
        }
        let note = self.remember_kill(told, &topic);
        if told.victim.is_unplaced() {
            self.deaths.note_unplaced_kill(told.at.boot);
        }
        let finding = self.finding_of(told);
        self.record(Occurrence { topic, id, at: told.at.boot, weight: 1, finding });
        note.iter().for_each(|note| self.reopen_end_of(note));
    }

    /// The container's end, when its status tells it, is held against the kill.
    fn remember_kill(&mut self, told: &Told, topic: &Topic) -> Option<KillNote> {
        let (container, pod) = (told.victim.container.clone(), told.victim.pod.clone());
        if container.is_none() && pod.is_none() {
            return None;
        }
        Some(self.deaths.note_kill(KillNote {
            container,
            pod,
            at: told.at.boot,
            after: None,
            cause: told.explanation.cause,
            ends_container: told.victim.role.ends_container(),
            topic: topic.clone(),
            charged: told.explanation.memory.figures.usage_bytes.filter(|_| told.explanation.scope == Scope::Container),
            accounted: false,
        }))
    }

    /// Takes over how the run before a restart told this kill, if it did.
    fn inherit(&mut self, id: &OccurrenceId, told: &Told) {
        let Some((topic, finding)) = self.findings.telling_of(id) else { return };
        let earlier = Inherited {
            topic: topic.clone(),
            cause: finding.cause,
            scope: finding.scope,
            subject: finding.subjects.first().cloned(),
            kernel_lines: kernel_lines(&finding.evidence),
        };
        self.inherited.insert(told.position.clone(), earlier);
    }

    /// Whether the kernel has said more of a kill since the run before told it. Else that telling
    /// stands: it knew what the container was like before, and whether it ended.
    fn says_more(&self, told: &Told, topic: &Topic, earlier: &Inherited) -> bool {
        *topic == earlier.topic && kernel_lines(&told.explanation.evidence) > earlier.kernel_lines
    }

    /// Records an occurrence and says what it changed.
    pub(super) fn record(&mut self, mut occurrence: Occurrence) {
        self.add_pod_word(&mut occurrence.finding);
        let (topic, cause) = (occurrence.topic.clone(), occurrence.finding.cause);
        let change = self.findings.record(occurrence);
        if change == Change::Opened {
            *self.counters.findings_opened.entry(cause).or_default() += 1;
        }
        if let Some(finding) = self.findings.get(&topic) {
            self.effects.push(Effect::Finding { change, finding: Box::new(finding.clone()) });
        }
        self.effects.push(Effect::Save);
    }

    /// Counts a kill whose story is complete, once in this boot.
    fn count_kill(&mut self, told: &Told) {
        let inherited = self.inherited.remove(&told.position);
        if self.counted.contains(&told.position) {
            return;
        }
        self.remember_counted(&told.position);
        self.vmstat.explain(told.at.boot, told.lines);
        let explanation = &told.explanation;
        let (cause, scope, subject) = match &inherited {
            Some(earlier) => (earlier.cause, earlier.scope, &earlier.subject),
            None => (explanation.cause, explanation.scope, &explanation.subject),
        };
        self.counters.count_oom_kill(cause, scope);
        match (subject, &told.victim.service) {
            (Some(subject), _) => {
                self.counters.count_workload_kill(subject, cause);
                self.counters.series_overflow += self.recent_kills.add(subject, told.at);
            }
            (None, _) if told.victim.is_unplaced() => *self.counters.unattributed.entry("no_cgroup".into()).or_default() += 1,
            (None, service) => self.counters.count_host_kill(service.as_ref().map(|service| service.0.as_ref())),
        }
        self.effects.push(Effect::Save);
    }

    fn finding_of(&self, told: &Told) -> Finding {
        let explanation = &told.explanation;
        Finding {
            id: FindingId::derive(&self.boot(), &told.position, explanation.cause),
            cause: explanation.cause,
            confidence: explanation.confidence,
            scope: explanation.scope,
            blame: explanation.blame,
            state: FindingState::Open,
            count: 1,
            first_seen: told.at.wall,
            last_seen: told.at.wall,
            summary: explanation.summary.clone(),
            subjects: explanation.subject.clone().into_iter().collect(),
            evidence: explanation.evidence.clone(),
            not_found: explanation.not_found.clone(),
            blind: self.health.blind(),
            actions: explanation.actions.clone(),
            related: vec![],
            attribution: told.victim.attribution,
            memory: Some(explanation.memory.figures.clone()),
            crash_loop: None,
            log_excerpt: vec![],
        }
    }

    /// Tells kills that only the counter of a cgroup saw: the kernel's lines were lost, suppressed or unreadable.
    pub(super) fn tell_counted(&mut self, kill: &CountedKill, now: Moment) {
        if self.inventory.belonging(&kill.pod) == Belonging::Unknown {
            self.counters.foreign_oom_kills += 1;
            return;
        }
        self.counters.kills_only_counter += kill.kills;
        let at = now.at_boot_time(kill.at);
        let (cause, scope, _) = counted_limit(kill);
        let mut note = KillNote {
            container: kill.container.clone(),
            pod: Some(kill.pod.clone()),
            at: kill.at,
            after: Some(kill.after),
            cause,
            ends_container: None,
            topic: Topic(String::new()),
            charged: None,
            accounted: false,
        };
        let ended = self.deaths.waiting_end_of(&note).or_else(|| self.deaths.told_end_of(&note));
        let subject = ended.map_or_else(|| self.counter_owner(kill), |death| self.subject_of(death));
        let topic = Topic(format!("{cause}|{}", subject_key(&subject)));
        note.topic = topic.clone();
        self.counters.count_oom_kill(cause, scope);
        self.counters.count_workload_kill(&subject, cause);
        self.counters.series_overflow += self.recent_kills.add(&subject, at);
        self.vmstat.explain(kill.at, kill.kills);
        let finding = self.finding_of_counted(kill, subject, at);
        let note = self.deaths.note_kill(note);
        self.record(Occurrence { topic, id: OccurrenceId(kill.position.clone()), at: kill.at, weight: 1, finding });
        self.reopen_end_of(&note);
    }

    /// The line of a kill that was told for its counter alone is read after all: the line's telling takes its place. The
    /// kill is counted already, and stays counted as it was known then.
    fn replace_counted(&mut self, position: &str, counted: &CountedKill) {
        self.deaths.forget_counted_kill(&counted.pod, counted.at);
        let id = OccurrenceId(counted.position.clone());
        if let Some(topic) = self.findings.telling_of(&id).map(|(topic, _)| topic.clone()) {
            self.findings.retract(&topic, &id);
            self.remember_counted(position);
        }
    }

    fn remember_counted(&mut self, position: &str) {
        if self.counted.len() == REMEMBERED_KILLS {
            self.counted.pop_front();
        }
        self.counted.push_back(position.to_owned());
    }

    fn counter_owner(&self, kill: &CountedKill) -> Subject {
        self.inventory.subject(Some(&kill.pod), kill.container.as_ref())
    }

    fn finding_of_counted(&self, kill: &CountedKill, subject: Subject, at: Moment) -> Finding {
        let (cause, scope, whose) = counted_limit(kill);
        Finding {
            id: FindingId::derive(&self.boot(), &kill.position, cause),
            cause,
            confidence: Confidence::Likely,
            scope,
            blame: Blame::Insufficient,
            state: FindingState::Open,
            count: 1,
            first_seen: at.wall,
            last_seen: at.wall,
            summary: format!(
                "In {}, the kernel's OOM killer took {}, because {whose}. Only the cgroup's counter tells: the kernel log has no line of it.",
                place_name(&subject),
                processes(kill.kills)
            ),
            subjects: vec![subject],
            evidence: vec![Evidence {
                source: EvidenceSource::Cgroup,
                time: at.wall,
                what: format!("the kill counter of {} rose by {}", place_name(&self.counter_owner(kill)), kill.kills),
                supports: true,
                how_matched: "cgroup path".into(),
            }],
            not_found: vec!["a line of the kernel log about this kill".into()],
            blind: self.health.blind(),
            actions: vec![
                "Look at whether the kernel log could be read at this time: lines may have been overwritten or suppressed.".into(),
            ],
            related: vec![],
            attribution: Attribution::Counter,
            memory: None,
            crash_loop: None,
            log_excerpt: vec![],
        }
    }

    pub(super) fn boot(&self) -> BootId {
        self.facts.as_ref().map_or_else(|| BootId(String::new()), |facts| facts.boot_id.clone())
    }
}

/// How an earlier run of this boot told a kill whose record is read again.
#[derive(Debug)]
pub(super) struct Inherited {
    topic: Topic,
    cause: Cause,
    scope: Scope,
    subject: Option<Subject>,
    kernel_lines: usize,
}

fn kernel_lines(evidence: &[Evidence]) -> usize {
    evidence.iter().filter(|evidence| evidence.source == EvidenceSource::KernelLog).count()
}

/// Whose limit a kill that only a counter told was at, as far as the counters tell.
fn counted_limit(kill: &CountedKill) -> (Cause, Scope, &'static str) {
    match (&kill.container, kill.own_limit) {
        (None, Some(true)) => (Cause::OomPodLimit, Scope::Pod, "the pod's cgroup reached its memory limit"),
        (None, Some(false)) => (Cause::OomContainerLimit, Scope::Container, "a memory limit inside the pod, or the node's memory, ran out"),
        _ => (Cause::OomContainerLimit, Scope::Container, "its memory limit or the node's memory ran out"),
    }
}

fn processes(count: u64) -> String {
    if count == 1 { "a process".into() } else { format!("{count} processes") }
}

/// One condition: the same cause for the same container, or for the node.
fn topic(explanation: &OomExplanation, told: &Told) -> Topic {
    let cause = explanation.cause;
    let about_node = matches!(cause, Cause::OomNode | Cause::OomNodeAllocatable | Cause::OomManual);
    Topic(match (&explanation.subject, &told.victim.service) {
        _ if about_node => format!("{cause}|{}", explanation.scope),
        (Some(subject), _) => format!("{cause}|{}", subject_key(subject)),
        (None, Some(service)) => format!("{cause}|{service}"),
        (None, None) => format!("{cause}|"),
    })
}

/// A container across its lives where its name is known, else this one life.
pub(super) fn subject_key(subject: &Subject) -> String {
    let pod = subject.pod_uid.as_ref().map(ToString::to_string).unwrap_or_default();
    let container = subject.container.clone().or_else(|| subject.container_id.as_ref().map(ToString::to_string)).unwrap_or_default();
    format!("{pod}|{container}")
}

impl super::Counters {
    /// Creates what may be counted, at zero: a counter that is born at one shows no increase.
    pub(super) fn create_zeros(&mut self) {
        const PAIRS: &[(Cause, Scope)] = &[
            (Cause::OomContainerLimit, Scope::Container),
            (Cause::OomPodLimit, Scope::Pod),
            (Cause::OomNodeAllocatable, Scope::NodeAllocatable),
            (Cause::OomNodeAllocatable, Scope::QosClass),
            (Cause::OomNode, Scope::Node),
            (Cause::OomHostService, Scope::HostService),
            (Cause::OomChildProcess, Scope::Container),
            (Cause::OomChildProcess, Scope::Pod),
            (Cause::OomUserspace, Scope::Container),
            (Cause::OomUserspace, Scope::HostService),
            (Cause::OomManual, Scope::Node),
            (Cause::OomUnattributed, Scope::Node),
        ];
        for (cause, scope) in PAIRS {
            if !self.oom_kills.iter().any(|(known, at, _)| known == cause && at == scope) {
                self.oom_kills.push((*cause, *scope, 0));
            }
        }
        for correlation in Correlation::ALL {
            self.correlations.entry(correlation).or_default();
        }
        for cause in Cause::ALL {
            self.findings_opened.entry(*cause).or_default();
        }
        for class in crate::parse::kernel_problem::ProblemClass::ALL {
            self.kernel_problems.entry(*class).or_default();
        }
    }

    pub(super) fn count_oom_kill(&mut self, cause: Cause, scope: Scope) {
        match self.oom_kills.iter_mut().find(|(known, at, _)| *known == cause && *at == scope) {
            Some((_, _, count)) => *count += 1,
            None => self.oom_kills.push((cause, scope, 1)),
        }
    }

    /// Counts crashes by how well their witnesses agree.
    pub(super) fn count_correlation(&mut self, correlation: Correlation, crashes: u64) {
        *self.correlations.entry(correlation).or_default() += crashes;
    }

    /// Units are a closed set, so that a label cannot grow with what people name their services.
    pub(super) fn count_host_kill(&mut self, service: Option<&str>) {
        const UNITS: [&str; 8] = ["kubelet", "containerd", "crio", "docker", "sshd", "systemd-journald", "etcd", "k3s"];
        let name = service.map(|service| service.trim_end_matches(".service").trim_end_matches(".scope"));
        let unit = UNITS.into_iter().find(|unit| Some(*unit) == name).unwrap_or("other");
        *self.host_oom_kills.entry(unit.into()).or_default() += 1;
    }
}
