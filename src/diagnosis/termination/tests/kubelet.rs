//! A model of what a kubelet does to attempt numbers, and of what reaches the agent of it.
//!
//! The model knows how many instances of each container have ended. Whatever of its statuses arrives, how often
//! and in which order: what is told and what is counted without details add up to the ends that the best status
//! proves, and no end is told twice.

use super::*;
use crate::{
    diagnosis::exit::Exit,
    signal::{RestartPolicy, WaitingState},
};
use std::collections::{BTreeMap, BTreeSet};

/// Whose pod it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PodKind {
    /// Containers are restarted.
    Service,
    /// The same, from a manifest on the node's disk; its mirror may be made anew.
    Static,
    /// Containers are not restarted; a failed pod is followed by another.
    Job,
}

/// What the kubelet does, or what happens to it. What is impossible at the moment does nothing.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// The container begins, for the first time or again; a finished init container, too, in a new sandbox.
    Start(usize),
    /// Its process ends with this status.
    End(usize, i32),
    /// The kubelet waits before the next start.
    BackOff(usize),
    /// The runtime has lost it: the kubelet makes up a status and starts another.
    Lose(usize),
    /// Runtime and log directory were wiped: the next instance is number 0 again.
    Wipe(usize),
    /// The mirror of a static pod is made anew; a job makes another pod.
    Remake,
}

/// What reaches the agent.
#[derive(Debug, Clone, Copy)]
enum News {
    /// Nothing, of what the kubelet did: it is coalesced away, or the watch was broken.
    Lost(Deed),
    /// The status after this, as often as it says: duplicates, resyncs and relists are alike.
    Told(Deed, usize),
    /// A status from before, out of a stale cache.
    Late(usize),
    /// The pod is said to be gone, which a list out of a stale cache may say wrongly, and a mirror's deletion does.
    Gone,
    /// The agent starts again with what it has stored.
    Restart,
}

const CONTAINERS: [(&str, ContainerKind); 3] =
    [("migrate", ContainerKind::Init), ("proxy", ContainerKind::Sidecar), ("app", ContainerKind::App)];

/// A container as the kubelet shows it, and how often it has really ended.
#[derive(Debug, Clone)]
struct Modelled {
    record: ContainerRecord,
    ends: i64,
    /// The kubelet has counted the next start before it happened.
    counted_ahead: bool,
}

struct Kubelet {
    kind: PodKind,
    created: i64,
    pods: u32,
    mirrors: u32,
    instances: u32,
    now: i64,
    containers: Vec<Modelled>,
    wipes: u64,
    /// Ends of everything, however hard to prove.
    all_ends: i64,
}

impl Kubelet {
    fn new(kind: PodKind, created: i64) -> Self {
        let (pods, mirrors, instances, now) = (0, 0, 0, 1);
        let mut kubelet = Self { kind, created, pods, mirrors, instances, now, containers: vec![], wipes: 0, all_ends: 0 };
        kubelet.make_containers();
        kubelet
    }

    fn make_containers(&mut self) {
        let waiting = WaitingState { reason: Some("ContainerCreating".into()), message: None };
        let record = |(name, kind): (&str, ContainerKind)| ContainerRecord {
            name: name.into(),
            kind,
            restart_count: Some(0),
            state: Some(ContainerState::Waiting(waiting.clone())),
            ..ContainerRecord::default()
        };
        self.containers = CONTAINERS.map(|each| Modelled { record: record(each), ends: 0, counted_ahead: false }).into();
    }

    fn does(&mut self, deed: Deed) {
        self.now += 1;
        match deed {
            Deed::Start(at) => self.start(at),
            Deed::End(at, exit_code) => self.end(at, exit_code),
            Deed::BackOff(at) => self.back_off(at),
            Deed::Lose(at) => self.lose(at),
            Deed::Wipe(at) => self.wipe(at),
            Deed::Remake => self.remake(),
        }
    }

    fn start(&mut self, at: usize) {
        let once = self.kind == PodKind::Job;
        let (id, started) = (self.new_id(), time(self.now));
        let container = &mut self.containers[at];
        let record = &mut container.record;
        match &record.state {
            Some(ContainerState::Running { .. }) => return,
            Some(ContainerState::Terminated(_)) if once => return,
            Some(ContainerState::Terminated(ended)) => record.last = Some(ended.clone()),
            _ => {}
        }
        if record.container_id.is_some() && !container.counted_ahead {
            record.restart_count = record.restart_count.map(|count| count + 1);
        }
        container.counted_ahead = false;
        (record.container_id, record.state) = (Some(id), Some(ContainerState::Running { started: Some(started) }));
    }

    fn new_id(&mut self) -> String {
        self.instances += 1;
        format!("id{}", self.instances)
    }

    fn end(&mut self, at: usize, exit_code: i32) {
        let finished = Some(time(self.now));
        let container = &mut self.containers[at];
        let Some(ContainerState::Running { started }) = container.record.state else { return };
        let container_id = container.record.container_id.clone();
        let state = TerminatedState { exit_code, reason: Some("Error".into()), message: None, started, finished, container_id };
        container.record.state = Some(ContainerState::Terminated(state));
        container.ends += 1;
        self.all_ends += 1;
    }

    fn back_off(&mut self, at: usize) {
        let record = &mut self.containers[at].record;
        let Some(ContainerState::Terminated(ended)) = &record.state else { return };
        if self.kind != PodKind::Job {
            record.last = Some(ended.clone());
            record.state = Some(ContainerState::Waiting(WaitingState { reason: Some("CrashLoopBackOff".into()), message: None }));
        }
    }

    fn lose(&mut self, at: usize) {
        let container = &mut self.containers[at];
        let record = &mut container.record;
        if self.kind == PodKind::Job || !matches!(record.state, Some(ContainerState::Running { .. })) {
            return;
        }
        record.last = Some(TerminatedState { exit_code: 137, reason: Some("ContainerStatusUnknown".into()), ..TerminatedState::default() });
        record.state = Some(ContainerState::Waiting(WaitingState { reason: Some("ContainerCreating".into()), message: None }));
        (record.container_id, record.restart_count) = (None, record.restart_count.map(|count| count + 1));
        container.counted_ahead = true;
        container.ends += 1;
        self.all_ends += 1;
    }

    fn wipe(&mut self, at: usize) {
        let (id, started) = (self.new_id(), time(self.now));
        let container = &mut self.containers[at];
        if self.kind == PodKind::Job || !matches!(container.record.state, Some(ContainerState::Running { .. })) {
            return;
        }
        let record = &mut container.record;
        (record.container_id, record.restart_count, record.last) = (Some(id), Some(0), None);
        record.state = Some(ContainerState::Running { started: Some(started) });
        container.ends = 0;
        self.all_ends += 1;
        self.wipes += 1;
    }

    fn remake(&mut self) {
        match self.kind {
            PodKind::Service => return,
            PodKind::Static => self.mirrors += 1,
            PodKind::Job => {
                self.pods += 1;
                self.make_containers();
            }
        }
        self.created = self.now;
    }

    /// The pod as it is shown now, with the ends of each container that this proves.
    fn shown(&self) -> (PodRecord, Vec<i64>) {
        let pod = PodRecord {
            uid: format!("pod{}-{}", self.pods, self.mirrors),
            static_hash: (self.kind == PodKind::Static).then(|| "hash".into()),
            created: Some(time(self.created)),
            restart_policy: if self.kind == PodKind::Job { RestartPolicy::Never } else { RestartPolicy::Always },
            containers: self.containers.iter().map(|container| container.record.clone()).collect(),
            ..PodRecord::default()
        };
        (pod, self.containers.iter().map(|container| container.ends).collect())
    }
}

/// What the agent makes of it, held against what was proven to it.
#[derive(Default)]
struct Observer {
    terminations: Terminations,
    /// Of each container: where counting began, and the most ends that a status has proven.
    proven: BTreeMap<Slot, (i64, i64)>,
    counted: BTreeMap<Slot, i64>,
    /// Which life of which counting; a made-up status has no id.
    told: BTreeSet<(Slot, Option<String>, u32, u64)>,
    twice: Vec<Termination>,
    wrongly_judged: Vec<Termination>,
    resets: u64,
}

impl Observer {
    fn hears(&mut self, (pod, ends): &(PodRecord, Vec<i64>)) {
        let is_new = pod.created >= Some(time(0));
        for (container, ends) in pod.containers.iter().zip(ends) {
            let from_the_first = is_new && (pod.static_hash.is_none() || container.restart_count == Some(0));
            let begin = if from_the_first { 0 } else { *ends };
            let (_, most) = self.proven.entry(Slot::of(pod, container)).or_insert((begin, begin));
            *most = (*most).max(*ends);
        }
        let seen = self.terminations.look(pod, Some(time(0)));
        self.resets += seen.resets;
        for (slot, ends) in seen.unobserved {
            *self.counted.entry(slot).or_default() += i64::try_from(ends).expect("small");
        }
        for termination in seen.terminations {
            self.is_told(pod, termination);
        }
    }

    fn is_told(&mut self, pod: &PodRecord, termination: Termination) {
        let container = pod.containers.iter().find(|container| container.name == termination.slot.container).expect("its own");
        if Exit::of(pod, container, &termination.state, None).crash != is_crash(pod, &termination) {
            self.wrongly_judged.push(termination.clone());
        }
        let which = (termination.slot.clone(), termination.state.container_id.clone(), termination.attempt, self.resets);
        if !self.told.insert(which) {
            self.twice.push(termination.clone());
        }
        if !termination.earlier {
            *self.counted.entry(termination.slot).or_default() += 1;
        }
    }

    fn restarts(&mut self) {
        let stored = serde_json::to_string(&self.terminations).expect("json");
        self.terminations = serde_json::from_str(&stored).expect("json");
    }

    fn all_counted(&self) -> i64 {
        self.counted.values().sum()
    }
}

/// What a person would call a crash of this container.
fn is_crash(pod: &PodRecord, termination: &Termination) -> bool {
    let made_up = termination.state.reason.as_deref() == Some("ContainerStatusUnknown");
    let may_leave = termination.kind == ContainerKind::Init || pod.restart_policy == RestartPolicy::Never;
    let left = termination.state.exit_code == 0 && may_leave && termination.kind != ContainerKind::Sidecar;
    !made_up && !left
}

fn any_deed(wipes: bool) -> impl Strategy<Value = Deed> {
    let which = || 0..CONTAINERS.len();
    let exit_code = prop::sample::select(vec![0, 1, 137, 143]);
    prop_oneof![
        6 => which().prop_map(Deed::Start),
        6 => (which(), exit_code).prop_map(|(at, exit_code)| Deed::End(at, exit_code)),
        3 => which().prop_map(Deed::BackOff),
        1 => which().prop_map(Deed::Lose),
        1 => which().prop_map(move |at| if wipes { Deed::Wipe(at) } else { Deed::Start(at) }),
        1 => Just(Deed::Remake),
    ]
}

fn any_news(wipes: bool) -> impl Strategy<Value = News> {
    prop_oneof![
        4 => any_deed(wipes).prop_map(News::Lost),
        6 => (any_deed(wipes), 1usize..4).prop_map(|(deed, times)| News::Told(deed, times)),
        // A cache that is behind and a counter that begins anew cannot be told apart in every case.
        2 => (0usize..200).prop_map(move |at| if wipes { News::Restart } else { News::Late(at) }),
        1 => Just(News::Gone),
        1 => Just(News::Restart),
    ]
}

fn any_kind() -> impl Strategy<Value = PodKind> {
    prop::sample::select(vec![PodKind::Service, PodKind::Static, PodKind::Job])
}

/// Plays the news; what the kubelet did beside what the agent made of it.
fn play(kind: PodKind, created: i64, news: &[News]) -> (Kubelet, Observer) {
    let (mut kubelet, mut observer) = (Kubelet::new(kind, created), Observer::default());
    let mut history = vec![kubelet.shown()];
    for item in news {
        match *item {
            News::Lost(deed) => {
                kubelet.does(deed);
                history.push(kubelet.shown());
            }
            News::Told(deed, times) => {
                kubelet.does(deed);
                history.push(kubelet.shown());
                (0..times).for_each(|_| observer.hears(&kubelet.shown()));
            }
            News::Late(at) => observer.hears(&history[at % history.len()]),
            News::Gone => observer.terminations.close(pod_key(&kubelet.shown().0)),
            News::Restart => observer.restarts(),
        }
    }
    (kubelet, observer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_proven_end_is_counted_once(
        kind in any_kind(),
        created in prop::sample::select(vec![-100i64, 0]),
        news in prop::collection::vec(any_news(false), 1..120),
    ) {
        let (_, observer) = play(kind, created, &news);
        prop_assert!(observer.twice.is_empty(), "told twice: {:?}", observer.twice);
        prop_assert!(observer.wrongly_judged.is_empty(), "not a crash, or one: {:?}", observer.wrongly_judged);
        prop_assert_eq!(observer.resets, 0);
        for (slot, (begin, most)) in &observer.proven {
            prop_assert_eq!(observer.counted.get(slot).copied().unwrap_or_default(), most - begin, "{:?}", slot);
        }
    }

    #[test]
    fn a_counter_that_begins_anew_is_never_counted_beyond_what_ended(
        kind in any_kind(),
        news in prop::collection::vec(any_news(true), 1..120),
    ) {
        let (kubelet, observer) = play(kind, 0, &news);
        prop_assert!(observer.twice.is_empty(), "told twice: {:?}", observer.twice);
        prop_assert!(observer.resets <= kubelet.wipes, "{} resets of {}", observer.resets, kubelet.wipes);
        prop_assert!(observer.all_counted() <= kubelet.all_ends, "{} of {}", observer.all_counted(), kubelet.all_ends);
    }
}

#[test]
fn a_mirror_that_is_made_anew_brings_no_history() {
    let mut terminations = Terminations::default();
    let mirror = PodRecord { static_hash: Some("hash".into()), ..super::pod(super::backing_off(12), 50) };
    let seen = terminations.look(&mirror, Some(time(0)));
    assert_eq!((attempts(&seen), seen.terminations[0].earlier, unobserved(&seen)), (vec![12], true, 0));
}

#[test]
fn a_status_from_before_a_made_up_one_is_no_counter_that_begins_anew() {
    let news = [
        News::Lost(Deed::Start(0)),
        News::Lost(Deed::End(0, 0)),
        News::Lost(Deed::Start(0)),
        News::Told(Deed::Lose(0), 1),
        News::Late(1),
        News::Told(Deed::Start(0), 1),
    ];
    let (_, observer) = play(PodKind::Service, -100, &news);
    assert_eq!((observer.resets, observer.all_counted()), (0, 0));
}
