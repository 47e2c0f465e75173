//! Ends of containers inside the core: noticed, held until their witnesses had time to speak, told, counted.

use super::{
    ContainerKey, Core, Effect, KubeletQuestion, death_words::DeathWords, kernel_problems::outlives_pods, oom_telling::subject_key,
};
use crate::{
    diagnosis::{
        death::{Correlation, Death, DeathExplanation, FaultNote, KillNote, Witnesses, log_command},
        exit::Exit,
        kernel_problem::weigh_witness,
        oom::place_name,
        probe_count::ProbeRules,
        termination::{Slot, Termination},
    },
    findings::{Change, EvidenceSource, Finding, FindingId, FindingState, Life, Occurrence, Subject, Topic},
    model::{BootTime, Bytes, Cause, ContainerId, Moment, PodUid},
    parse::kubelet,
    signal::{ContainerLogTail, ContainerRecord, ContainerState, PodRecord, SourceName},
};
use jiff::Timestamp;

/// A death is told when its witnesses had this long: syslog(2) is read each second where nothing tells of news, the
/// kubelet sends a status a moment later.
const WITNESS_MICROS: u64 = 3_000_000;

/// A SIGKILL whose sender is not known yet waits until a counter without a line of the log is told, too.
const KILL_WITNESS_MICROS: u64 = 8_000_000;

/// Deaths waiting for their witnesses at a time: a whole node's containers at once.
const MAX_WAITING: usize = 512;

/// A kill without a cgroup may be that of any container that ended this close to it.
const UNPLACED_WINDOW_MICROS: u64 = 3_000_000;

impl Core {
    /// Takes in what a container said last.
    pub(super) fn last_words(&mut self, tail: &ContainerLogTail, at: Moment) {
        let words = self.deaths.note_last_words(tail);
        if words.is_some_and(|words| words.no_space) {
            let subject = Subject { container: Some(tail.container.clone()), ..self.inventory.subject(Some(&tail.pod), None) };
            let what = format!("the last words of {}: no space was left on a device", place_name(&subject));
            self.note_no_space(at, EvidenceSource::ContainerLog, what);
        }
    }

    /// Looks at a pod for ends that are new.
    pub(super) fn watch_deaths(&mut self, pod: &PodRecord, uid: &PodUid, at: Moment) {
        let pod = self.deaths.with_first_deletion(pod);
        let seen = self.deaths.durable.terminations.look(&pod, self.deaths.durable.watching_since);
        for (slot, ends) in &seen.unobserved {
            self.count_unobserved(uid, &slot.container, *ends);
        }
        self.counters.restart_counter_resets += seen.resets;
        let booted = at.at_boot_time(BootTime(0)).wall;
        for termination in seen.terminations {
            self.notice(&pod, uid, termination, booted, at);
        }
        self.watch_back_off(&pod);
        self.ask_for_logs(&pod, uid);
    }

    /// The log of each end that waits for its witnesses is asked for once in a run of the agent.
    fn ask_for_logs(&mut self, pod: &PodRecord, uid: &PodUid) {
        for (_, death) in self.deaths.durable.waiting.iter_mut().filter(|(_, death)| death.pod == *uid && !death.log_asked) {
            death.log_asked = true;
            self.effects.extend(wanted_log(pod, uid, &death.termination, &death.exit));
        }
    }

    fn notice(&mut self, pod: &PodRecord, uid: &PodUid, termination: Termination, booted: Timestamp, at: Moment) {
        let Some(container) = pod.containers.iter().find(|container| container.name == termination.slot.container) else { return };
        let state = &termination.state;
        let ended = state.finished.map_or(at, |finished| at.at_wall_time(finished));
        let id = state.container_id.as_deref().or(container.container_id.as_deref()).and_then(ContainerId::parse_status);
        if let Some(id) = &id {
            self.inventory.container_ended(id, ended.boot);
            let news = self.oom_cases.container_changed(id, &self.inventory);
            self.tell(news);
        }
        let told_by_log = || self.evictions.told_by_log(uid, ended.boot).map(Exit::of_end);
        let exit = Exit::of_pod(pod).or_else(told_by_log).unwrap_or_else(|| Exit::of(pod, container, state, Some(booted)));
        if self.deaths.durable.waiting.len() >= MAX_WAITING {
            let (_, oldest) = self.deaths.durable.waiting.remove(0);
            self.tell_death(&oldest);
        }
        let probes = ProbeRules::of(container, pod.grace_seconds);
        let death = Death { termination, pod: uid.clone(), container: id, exit, ended, noticed: at, probes, log_asked: false };
        if death.probes.are_any() && death.came_from_outside() && !death.termination.earlier {
            self.effects.push(Effect::AskKubelet(KubeletQuestion::ProbeCounts));
        }
        let wait = if death.wants_a_kill() && !self.deaths.knows_kill(&death) { KILL_WITNESS_MICROS } else { WITNESS_MICROS };
        let due = BootTime(at.boot.0.saturating_add(wait)).max(self.deaths.earlier_due(&death).unwrap_or_default());
        self.deaths.durable.waiting.push((due, death));
    }

    fn watch_back_off(&mut self, pod: &PodRecord) {
        for container in &pod.containers {
            let Some(seconds) = back_off(container) else { continue };
            let slot = Slot::of(pod, container);
            if let Some(story) = self.deaths.durable.stories.get_mut(&slot) {
                story.backs_off(seconds);
            }
        }
    }

    /// Tells the deaths whose witnesses had their time.
    pub(super) fn advance_deaths(&mut self, now: BootTime) {
        let (due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.deaths.durable.waiting).into_iter().partition(|(due, _)| *due <= now);
        self.deaths.durable.waiting = waiting;
        for (_, death) in due {
            // A kill that is still being completed would be told again without the status' words.
            if self.oom_cases.tells_of(death.container.as_ref(), &death.pod) {
                self.deaths.durable.waiting.push((BootTime(now.0.saturating_add(1_000_000)), death));
            } else {
                self.tell_death(&death);
            }
        }
        self.deaths.advance(now);
    }

    fn tell_death(&mut self, death: &Death) {
        let told = match self.deaths.kill_that_ended(death).cloned() {
            Some(kill) => (self.complete_kill(death, &kill), Correlation::Explained),
            None => self.tell_own_death(death),
        };
        self.count_death(death, told);
        self.effects.push(Effect::Save);
    }

    /// A kill is told after the end that it brought, because its source was read late: that telling is taken back, and
    /// the end waits once more, to be told with the kill. What is counted of it stays under the cause that was known
    /// then: a counter never goes back, and counting it again would make two ends of one.
    pub(super) fn reopen_end_of(&mut self, kill: &KillNote) {
        if self.deaths.waiting_end_of(kill).is_some() {
            return;
        }
        let Some(mut death) = self.deaths.take_told(kill) else { return };
        self.retract_end(&death);
        death.termination.told_before = true;
        let now = self.now.map_or(kill.at, |now| now.boot);
        self.deaths.durable.waiting.push((now, death));
    }

    /// The kernel's kill is already told: the status completes it, or is contradicted by it.
    fn complete_kill(&mut self, death: &Death, kill: &KillNote) -> Cause {
        self.retract_silent(death);
        if kill.after.is_some() {
            self.deaths.note_told(death, true);
        }
        self.deaths.account_for_kill(kill);
        let story = self.add_to_story(death, kill.cause, kill.charged);
        let subject = self.subject_of(death);
        let is_latest = self.deaths.is_latest(kill);
        let Some(finding) = self.findings.get_mut(&kill.topic) else { return kill.cause };
        // Evidence is that of the latest occurrence.
        if is_latest {
            finding.evidence.push(death.status_beside(kill, finding.attribution));
        }
        let is_it = |known: &&mut Subject| match kill.container {
            Some(_) => known.container_id == death.container,
            None => known.pod_uid == subject.pod_uid && (known.container.is_none() || known.container == subject.container),
        };
        if let Some(known) = finding.subjects.iter_mut().find(is_it) {
            if known.container.is_none() {
                finding.summary.push_str(&death.joins_by_pod());
            }
            *known = subject;
        }
        finding.crash_loop = story;
        self.effects.push(Effect::Finding { change: Change::Amended, finding: Box::new(finding.clone()) });
        kill.cause
    }

    fn tell_own_death(&mut self, death: &Death) -> (Cause, Correlation) {
        let kill = self.deaths.kill_in(death).cloned();
        let witnesses = Witnesses {
            kill: kill.as_ref(),
            fault: self.deaths.fault_of(death),
            probe: self.deaths.probe_of(death),
            probe_counts: self.probe_counts_of(death),
            words: self.deaths.durable.words.of(death),
            kubelet_heard: self.kubelet_heard(death),
            last_words: self.deaths.last_words_of(death),
            starvation: self.starvation_of(death),
            log_doubt: self.log_doubt(death.ended.boot),
        };
        let mut explanation = death.explain(&witnesses);
        let node = self.node_witness(death).filter(|witness| weigh_witness(&mut explanation, witness));
        let told = (explanation.cause, Correlation::of(&explanation));
        let cause = explanation.cause;
        // What the kubelet was made to restart is no crash.
        let crash = death.exit.crash && cause != Cause::Stopped;
        if !crash {
            self.retract_silent(death);
        } else {
            self.deaths.note_told(death, false);
            let story = self.add_to_story(death, cause, None);
            let related = kill.and_then(|kill| self.findings.get(&kill.topic)).map(|finding| finding.id.clone());
            let related = related.into_iter().chain(node.map(|witness| witness.finding)).collect();
            let finding = self.finding_of_death(death, explanation, story, related);
            let topic = death_topic(cause, finding.subjects.first());
            let id = self.take_over(death, &topic);
            let weight = 1 + death.termination.unobserved_before;
            self.record(Occurrence { topic, id, at: death.ended.boot, weight, finding: Finding { count: weight, ..finding } });
        }
        told
    }

    /// `charged` is what the kernel said; else the last sample before the end tells.
    fn add_to_story(&mut self, death: &Death, cause: Cause, charged: Option<Bytes>) -> Option<crate::findings::CrashLoop> {
        let instance = death.container.as_ref().and_then(|id| self.inventory.container(id));
        let life = Life {
            attempt: Some(death.termination.attempt),
            exit_code: Some(death.termination.state.exit_code),
            uptime_seconds: death.uptime(),
            // A cgroup that is just being left holds nothing: that is no container's memory.
            memory_at_death_bytes: charged.or_else(|| instance?.history.latest(death.ended.boot).filter(|charge| charge.0 > 0)),
        };
        let story = self.deaths.durable.stories.entry(death.termination.slot.clone()).or_default();
        if death.termination.told_before {
            story.described(cause, life);
        } else {
            story.died(death.ended.boot, cause, life);
        }
        story.told()
    }

    fn count_death(&mut self, death: &Death, (cause, correlation): (Cause, Correlation)) {
        if death.termination.earlier || death.termination.told_before {
            return;
        }
        let crash = death.exit.crash && cause != Cause::Stopped;
        let key = ContainerKey::of(&self.subject_of(death));
        self.counters.count_termination(key, cause, 1);
        if crash {
            self.counters.count_correlation(correlation, 1);
            self.deaths.durable.crashed.insert(death.pod.clone(), death.ended.boot);
        }
    }

    pub(super) fn subject_of(&self, death: &Death) -> Subject {
        Subject {
            container: Some(death.termination.slot.container.clone()),
            attempt: Some(death.termination.attempt),
            ..self.inventory.subject(Some(&death.pod), death.container.as_ref())
        }
    }

    fn finding_of_death(
        &self,
        death: &Death,
        explanation: DeathExplanation,
        crash_loop: Option<crate::findings::CrashLoop>,
        related: Vec<FindingId>,
    ) -> Finding {
        let log_excerpt = self.deaths.excerpt_of(death);
        Finding {
            related,
            log_excerpt,
            ..self.finding_of_end(&position(death), self.subject_of(death), death.ended.wall, explanation, crash_loop)
        }
    }

    /// The finding about one end, however it was learnt.
    pub(super) fn finding_of_end(
        &self,
        position: &str,
        subject: Subject,
        ended: Timestamp,
        explanation: DeathExplanation,
        crash_loop: Option<crate::findings::CrashLoop>,
    ) -> Finding {
        let log_command = log_command(explanation.cause, &subject);
        let name = place_name(&subject);
        let mut name = name.chars();
        let name: String = name.next().into_iter().flat_map(char::to_uppercase).chain(name).collect();
        Finding {
            id: FindingId::derive(&self.boot(), position, explanation.cause),
            cause: explanation.cause,
            confidence: explanation.confidence,
            scope: explanation.scope,
            blame: explanation.blame,
            state: FindingState::Open,
            count: 1,
            first_seen: ended,
            last_seen: ended,
            summary: format!("{name} {}.", explanation.what.trim_end_matches('.')),
            subjects: vec![subject],
            evidence: explanation.evidence,
            not_found: explanation.not_found,
            blind: self.health.blind(),
            actions: log_command.into_iter().chain(explanation.actions).collect(),
            related: vec![],
            attribution: explanation.attribution,
            memory: None,
            crash_loop,
            log_excerpt: vec![],
        }
    }

    /// Why the kernel's silence about a container that ended at `ended` proves nothing.
    pub(super) fn log_doubt(&self, ended: BootTime) -> Option<String> {
        if !self.health.is_up(SourceName::KernelLog) {
            return Some("it cannot be read".into());
        }
        // The kernel prints at most ten dumps in five seconds; beyond it a kill is logged without its cgroup.
        let near = |at: &BootTime| at.0.abs_diff(ended.0) <= UNPLACED_WINDOW_MICROS;
        if self.deaths.durable.unplaced_kills.iter().any(near) {
            return Some("it has a kill of that time that names no cgroup".into());
        }
        self.kernel_log.lost_lately(self.now?.boot).then(|| "records of it were lost at that time".into())
    }

    /// Whether what the kubelet said before this end would have been read.
    fn kubelet_heard(&self, death: &Death) -> bool {
        let before = BootTime(death.ended.boot.0.saturating_sub(DeathWords::REACH_SECONDS * 1_000_000));
        let began = death.termination.state.started.map(|started| death.ended.at_wall_time(started).boot);
        !death.termination.earlier && self.kubelet_log.heard_kills_since(began.map_or(before, |began| began.max(before)))
    }

    /// Notes what the kernel says about the faults of processes.
    pub(super) fn note_fault(&mut self, comm: Option<&str>, pid: Option<crate::model::Pid>, segfault: bool, line: &str, at: Moment) {
        let known = pid.and_then(|pid| self.inventory.process(pid, comm, at.boot));
        let general_protection = !segfault && line.contains("general protection");
        self.deaths.note_fault(FaultNote {
            at,
            container: known.map(|known| known.container),
            line: line.to_owned(),
            general_protection,
            segfault,
        });
    }

    /// Forgets a pod that is gone, and resolves what was about it.
    pub(super) fn pod_gone(&mut self, uid: &PodUid, key: &str, now: BootTime) {
        self.tell_evictions_of(uid);
        let due: Vec<_> = self.deaths.durable.waiting.extract_if(.., |(_, death)| death.pod == *uid).collect();
        for (_, death) in due {
            self.tell_death(&death);
        }
        self.deaths.close(key);
        self.waiting.retain(|slot, _| slot.pod != key);
        let only_it = |finding: &Finding| {
            !outlives_pods(finding.cause)
                && !finding.subjects.is_empty()
                && finding.subjects.iter().all(|subject| subject.pod_uid.as_ref() == Some(uid))
        };
        let topics: Vec<_> = self.findings.topics().filter(|(_, finding)| only_it(finding)).map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            if let Some(finding) = self.findings.resolve(&topic, now) {
                self.effects.push(Effect::Finding { change: Change::Resolved, finding: Box::new(finding.clone()) });
            }
        }
    }
}

/// Which happening it is: one life of one container.
pub(super) fn position(death: &Death) -> String {
    let slot = String::from(death.termination.slot.clone());
    let id = death.container.as_ref().map(|id| id.short().to_owned()).unwrap_or_default();
    format!("end:{slot}:{}:{id}", death.termination.attempt)
}

/// The failures of a Job's pods are one condition; every other container is its own.
pub(super) fn death_topic(cause: Cause, subject: Option<&Subject>) -> Topic {
    let Some(subject) = subject else { return Topic(format!("{cause}|")) };
    match (&subject.workload_kind, &subject.workload, &subject.namespace) {
        (Some(kind), Some(workload), Some(namespace)) if matches!(kind.as_str(), "Job" | "CronJob") => {
            Topic(format!("{cause}|{kind}/{namespace}/{workload}|{}", subject.container.as_deref().unwrap_or_default()))
        }
        _ => Topic(format!("{cause}|{}", subject_key(subject))),
    }
}

/// The log whose end is worth reading: of a container that ran and ended by itself.
fn wanted_log(pod: &PodRecord, uid: &PodUid, termination: &Termination, exit: &Exit) -> Option<Effect> {
    let ran = exit.crash && termination.state.exit_code != 0 && exit.cause != Cause::StartError;
    ran.then(|| Effect::ReadLog {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        uid: uid.clone(),
        container: termination.slot.container.clone(),
        attempt: termination.attempt,
    })
}

/// How long the kubelet waits before the next start.
fn back_off(container: &ContainerRecord) -> Option<u64> {
    let Some(ContainerState::Waiting(waiting)) = &container.state else { return None };
    waiting.reason.as_deref().filter(|reason| *reason == "CrashLoopBackOff")?;
    kubelet::back_off_delay(waiting.message.as_deref()?).map(|delay| delay.as_secs())
}
