//! Statuses and log directories in every order, and what is told of them.

mod kubelet;

use super::*;
use crate::model::{BootTime, Moment};
use proptest::prelude::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("time")
}

fn ended(attempt: u32) -> TerminatedState {
    TerminatedState {
        exit_code: 1,
        container_id: Some(format!("id{attempt}")),
        finished: Some(time(i64::from(attempt) * 10 + 5)),
        ..TerminatedState::default()
    }
}

fn pod(container: ContainerRecord, created: i64) -> PodRecord {
    PodRecord { uid: "uid".into(), created: Some(time(created)), containers: vec![container], ..PodRecord::default() }
}

fn running(attempt: u32) -> ContainerRecord {
    ContainerRecord {
        name: "app".into(),
        restart_count: Some(attempt),
        container_id: Some(format!("id{attempt}")),
        state: Some(ContainerState::Running { started: Some(time(i64::from(attempt) * 10)) }),
        last: attempt.checked_sub(1).map(ended),
        ..ContainerRecord::default()
    }
}

fn backing_off(attempt: u32) -> ContainerRecord {
    let waiting = crate::signal::WaitingState { reason: Some("CrashLoopBackOff".into()), message: None };
    ContainerRecord { state: Some(ContainerState::Waiting(waiting)), last: Some(ended(attempt)), ..running(attempt) }
}

fn terminated(attempt: u32) -> ContainerRecord {
    ContainerRecord { state: Some(ContainerState::Terminated(ended(attempt))), ..running(attempt) }
}

fn attempts(seen: &Seen) -> Vec<u32> {
    seen.terminations.iter().map(|termination| termination.attempt).collect()
}

fn unobserved(seen: &Seen) -> u64 {
    seen.unobserved.iter().map(|(_, ends)| ends).sum()
}

#[test]
fn one_crash_is_told_once_however_it_is_shown() {
    let mut terminations = Terminations::default();
    let mut look = |container| terminations.look(&pod(container, 10), Some(time(0)));
    assert_eq!(look(running(0)), Seen::default());
    assert_eq!(attempts(&look(terminated(0))), [0]);
    assert_eq!(look(backing_off(0)), Seen::default());
    assert_eq!(look(running(1)), Seen::default());
    assert_eq!(attempts(&look(backing_off(1))), [1]);
    assert_eq!(look(running(2)), Seen::default());
}

#[test]
fn a_gap_loses_details_but_no_count() {
    let mut terminations = Terminations::default();
    terminations.look(&pod(running(0), 10), Some(time(0)));
    let seen = terminations.look(&pod(backing_off(5), 10), Some(time(0)));
    assert_eq!((attempts(&seen), unobserved(&seen)), (vec![5], 5));
}

#[test]
fn a_pod_that_was_said_to_be_gone_is_not_counted_anew() {
    let mut terminations = Terminations::default();
    terminations.look(&pod(backing_off(2), 10), Some(time(0)));
    terminations.close("uid");
    let at = |second: i64| Moment { boot: BootTime(second.unsigned_abs() * 1_000_000), wall: time(second) };
    terminations.sighted("uid", "app", 3, true, at(100));
    assert_eq!(terminations.silences(at(200).boot), [], "the attempt before is told");
    assert_eq!(terminations.look(&pod(backing_off(2), 10), Some(time(0))), Seen::default());
    assert_eq!(attempts(&terminations.look(&pod(backing_off(3), 10), Some(time(0)))), [3]);
}

#[test]
fn a_container_that_was_lost_with_its_evicted_pod_ended_once() {
    let lost = || TerminatedState { exit_code: 137, reason: Some("ContainerStatusUnknown".into()), ..TerminatedState::default() };
    let evicted = ContainerRecord {
        restart_count: Some(1),
        container_id: None,
        state: Some(ContainerState::Terminated(lost())),
        last: Some(lost()),
        ..running(0)
    };
    let mut terminations = Terminations::default();
    terminations.look(&pod(running(0), 10), Some(time(0)));
    let seen = terminations.look(&pod(evicted.clone(), 10), Some(time(0)));
    assert_eq!((attempts(&seen), unobserved(&seen)), (vec![0], 0));
    assert_eq!(terminations.look(&pod(evicted, 10), Some(time(0))), Seen::default());
}

#[test]
fn what_is_gone_makes_room_before_what_crashes() {
    let mut terminations = Terminations::default();
    let named = |uid: String, attempt| PodRecord { uid, ..pod(backing_off(attempt), 10) };
    terminations.look(&named("0-first-of-all".into(), 1), Some(time(0)));
    for number in 0..MAX_SLOTS {
        let churned = named(format!("{number:08}"), 0);
        terminations.look(&churned, Some(time(0)));
        terminations.close(pod_key(&churned));
    }
    assert_eq!(terminations.len(), MAX_SLOTS);
    let seen = terminations.look(&named("0-first-of-all".into(), 2), Some(time(0)));
    assert_eq!((attempts(&seen), unobserved(&seen)), (vec![2], 0), "it is still followed");
    terminations.retain(|key| key == "0-first-of-all");
    assert_eq!(terminations.len(), 1);
}

#[test]
fn a_pod_older_than_the_watch_is_followed_from_now_on() {
    let mut terminations = Terminations::default();
    assert_eq!(terminations.look(&pod(running(12), -100), Some(time(0))), Seen::default());
    let seen = terminations.look(&pod(backing_off(12), -100), Some(time(0)));
    assert_eq!((attempts(&seen), unobserved(&seen)), (vec![12], 0));
}

#[test]
fn a_container_that_is_down_at_first_sight_is_explained_and_not_counted() {
    let mut terminations = Terminations::default();
    let seen = terminations.look(&pod(backing_off(7), -100), None);
    assert_eq!((attempts(&seen), seen.terminations[0].earlier, unobserved(&seen)), (vec![7], true, 0));
}

#[test]
fn a_new_mirror_of_a_static_pod_repeats_nothing() {
    let mut terminations = Terminations::default();
    let mirror = |uid: &str, container| PodRecord { uid: uid.into(), static_hash: Some("hash".into()), ..pod(container, 10) };
    terminations.look(&mirror("first", backing_off(3)), Some(time(0)));
    assert_eq!(terminations.look(&mirror("second", backing_off(3)), Some(time(0))), Seen::default());
}

#[test]
fn a_counter_that_goes_backwards_is_a_new_beginning() {
    let mut terminations = Terminations::default();
    terminations.look(&pod(running(9), -100), Some(time(0)));
    let state = Some(ContainerState::Running { started: Some(time(500)) });
    let wiped = ContainerRecord { container_id: Some("other".into()), last: None, state, ..running(0) };
    let seen = terminations.look(&pod(wiped, -100), Some(time(0)));
    assert_eq!((seen.resets, unobserved(&seen), seen.terminations.len()), (1, 0, 0));
    let stale = terminations.look(&pod(running(3), -100), Some(time(0)));
    assert_eq!(stale, Seen::default(), "a late status of the old counting");
}

#[test]
fn marks_survive_being_stored() {
    let mut terminations = Terminations::default();
    terminations.look(&pod(backing_off(3), 10), Some(time(0)));
    let stored = serde_json::to_string(&terminations).expect("json");
    assert_eq!(serde_json::from_str::<Terminations>(&stored).expect("json"), terminations);
}

/// What a kubelet shows over some lives of a container, in order.
fn shown(lives: u32) -> Vec<ContainerRecord> {
    (0..lives).flat_map(|attempt| [running(attempt), terminated(attempt), backing_off(attempt)]).collect()
}

proptest! {
    /// Whatever of the kubelet's statuses arrives, however often, with restarts of the agent in
    /// between: told and unobserved ends add up to the ends that the last status proves, and no
    /// attempt is told twice.
    #[test]
    fn no_end_is_missed_or_told_twice(
        lives in 1u32..12,
        picks in prop::collection::vec((any::<bool>(), 1usize..3, any::<bool>()), 36),
    ) {
        let mut terminations = Terminations::default();
        let (mut told, mut missed, mut highest) = (Vec::new(), 0, -1i64);
        for (container, (arrives, times, restart)) in shown(lives).into_iter().zip(picks) {
            if !arrives { continue }
            for _ in 0..times {
                let seen = terminations.look(&pod(container.clone(), 10), Some(time(0)));
                told.extend(attempts(&seen));
                missed += unobserved(&seen);
            }
            let count = container.restart_count.expect("set");
            highest = highest.max(highest_ended(count, &records(&container, count)));
            if restart {
                let stored = serde_json::to_string(&terminations).expect("json");
                terminations = serde_json::from_str(&stored).expect("json");
            }
        }
        let mut unique = told.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(unique.len(), told.len());
        prop_assert_eq!(i64::try_from(told.len()).expect("small") + i64::try_from(missed).expect("small"), highest + 1);
    }

    /// Late and reordered statuses never tell an end again.
    #[test]
    fn reordering_tells_nothing_twice(order in prop::collection::vec(0usize..30, 1..60)) {
        let statuses = shown(10);
        let mut terminations = Terminations::default();
        let mut told = Vec::new();
        for index in order {
            told.extend(attempts(&terminations.look(&pod(statuses[index].clone(), 10), Some(time(0)))));
        }
        let mut unique = told.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(unique.len(), told.len());
    }
}

const POD: &str = "uid";

fn moment(second: u64) -> crate::model::Moment {
    crate::model::Moment { boot: crate::model::BootTime(second * 1_000_000), wall: time(i64::try_from(second).expect("small")) }
}

fn silent(silences: &[Silence]) -> Vec<(u32, u64)> {
    let ended = silences.iter().filter_map(|silence| match silence {
        Silence::Ended(end) => Some((end.attempt, end.unobserved_before)),
        Silence::Suspected { .. } => None,
    });
    ended.collect()
}

#[test]
fn the_directory_tells_what_no_status_does_and_a_late_status_describes_it() {
    let mut terminations = Terminations::default();
    terminations.look(&pod(running(0), 10), Some(time(0)));
    terminations.sighted(POD, "app", 1, true, moment(20));
    assert_eq!(terminations.silences(moment(31).boot), [], "a status may still come");
    let suspected = terminations.silences(moment(32).boot);
    assert!(matches!(suspected.as_slice(), [Silence::Suspected { attempt: 0, .. }]), "{suspected:?}");
    assert_eq!(silent(&terminations.silences(moment(34).boot)), [(0, 0)]);
    assert_eq!(terminations.silences(moment(99).boot), [], "once");
    let seen = terminations.look(&pod(running(1), 10), Some(time(0)));
    assert_eq!((attempts(&seen), unobserved(&seen), seen.terminations[0].told_before), (vec![0], 0, true));
    assert_eq!(terminations.look(&pod(running(1), 10), Some(time(0))), Seen::default());
}

#[test]
fn a_status_in_time_leaves_the_directory_nothing_to_tell() {
    let mut terminations = Terminations::default();
    terminations.look(&pod(running(0), 10), Some(time(0)));
    terminations.sighted(POD, "app", 1, true, moment(20));
    let seen = terminations.look(&pod(running(1), 10), Some(time(0)));
    assert_eq!((attempts(&seen), seen.terminations[0].told_before), (vec![0], false));
    terminations.sighted(POD, "app", 1, true, moment(30));
    assert_eq!(terminations.silences(moment(99).boot), []);
}

#[test]
fn a_directory_found_at_the_start_is_where_counting_begins() {
    let mut terminations = Terminations::default();
    terminations.sighted(POD, "app", 7, false, moment(20));
    terminations.sighted(POD, "app", 10, true, moment(60));
    assert_eq!(silent(&terminations.silences(moment(99).boot)), [(8, 1), (9, 0)]);
    let seen = terminations.look(&pod(backing_off(10), -100), None);
    assert_eq!(attempts(&seen), [9, 10].into_iter().filter(|attempt| *attempt == 10).collect::<Vec<_>>());
}

#[test]
fn a_container_that_was_down_before_the_agent_looked_is_not_news() {
    let mut terminations = Terminations::default();
    terminations.sighted(POD, "app", 7, false, moment(200));
    let seen = terminations.look(&pod(backing_off(7), -100), None);
    assert_eq!((attempts(&seen), seen.terminations[0].earlier, unobserved(&seen)), (vec![7], true, 0));
}

#[test]
fn a_new_pod_counts_from_its_first_end_though_its_directory_was_seen_later() {
    let mut terminations = Terminations::default();
    terminations.sighted(POD, "app", 3, false, moment(50));
    let seen = terminations.look(&pod(running(3), 10), Some(time(0)));
    assert_eq!((attempts(&seen), unobserved(&seen)), (vec![2], 2));
}

#[test]
fn an_init_container_keeps_its_mark_when_its_list_is_known() {
    let mut terminations = Terminations::default();
    terminations.sighted(POD, "app", 0, true, moment(20));
    terminations.sighted(POD, "app", 1, true, moment(30));
    assert_eq!(silent(&terminations.silences(moment(99).boot)), [(0, 0)]);
    let init = |container: ContainerRecord| ContainerRecord { kind: ContainerKind::Init, ..container };
    let seen = terminations.look(&pod(init(running(1)), 10), Some(time(0)));
    assert!(seen.terminations[0].told_before);
    assert_eq!(terminations.len(), 1);
}

/// One thing that reaches the agent about a container, in whatever order.
#[derive(Debug, Clone, Copy)]
enum News {
    /// The status at this step of its life.
    Status(usize),
    /// Its log directory at this attempt.
    Directory(u32),
    /// Time passes: what is overdue is told.
    Wait,
    /// The agent crashes and starts again.
    Restart,
}

fn any_news(lives: u32) -> impl Strategy<Value = News> {
    let steps = 3 * lives as usize;
    prop_oneof![
        4 => (0..steps).prop_map(News::Status),
        4 => (0..lives).prop_map(News::Directory),
        3 => Just(News::Wait),
        1 => Just(News::Restart),
    ]
}

/// What has been told of one container.
#[derive(Debug, Default)]
struct Ledger {
    counted: Vec<u32>,
    described: Vec<u32>,
    unobserved: u64,
}

impl Ledger {
    fn status(&mut self, seen: &Seen) {
        self.unobserved += unobserved(seen);
        self.described.extend(attempts(seen));
        self.counted.extend(seen.terminations.iter().filter(|termination| !termination.told_before).map(|termination| termination.attempt));
    }

    fn silence(&mut self, silences: &[Silence]) {
        for (attempt, before) in silent(silences) {
            self.counted.push(attempt);
            self.unobserved += before;
        }
    }

    fn total(&self) -> i64 {
        i64::try_from(self.counted.len()).expect("small") + i64::try_from(self.unobserved).expect("small")
    }
}

fn all_different(attempts: &[u32]) -> bool {
    attempts.iter().collect::<std::collections::BTreeSet<_>>().len() == attempts.len()
}

proptest! {
    /// Statuses and sightings of the log directory, lost, doubled and in any order, with waits and
    /// restarts between them: every end that anything proves is counted once, and described at most once.
    #[test]
    fn status_and_directory_together_count_each_end_once(news in (2u32..10).prop_flat_map(|lives| {
        (Just(lives), prop::collection::vec(any_news(lives), 1..60))
    })) {
        let (lives, news) = news;
        let statuses = shown(lives);
        let mut terminations = Terminations::default();
        let (mut ledger, mut proven, mut now) = (Ledger::default(), -1i64, 1000);
        for item in news {
            now += 1;
            match item {
                News::Status(step) => {
                    ledger.status(&terminations.look(&pod(statuses[step].clone(), 10), Some(time(0))));
                    let count = statuses[step].restart_count.expect("set");
                    proven = proven.max(highest_ended(count, &records(&statuses[step], count)));
                }
                News::Directory(attempt) => {
                    terminations.sighted(POD, "app", attempt, true, moment(now));
                    proven = proven.max(i64::from(attempt) - 1);
                }
                News::Wait => {
                    for _ in 0..2 {
                        now += 20;
                        ledger.silence(&terminations.silences(moment(now).boot));
                    }
                }
                News::Restart => {
                    let stored = serde_json::to_string(&terminations).expect("json");
                    terminations = serde_json::from_str(&stored).expect("json");
                    // The directory is read anew, and says what it said.
                    if proven >= 0 {
                        terminations.sighted(POD, "app", u32::try_from(proven).expect("small"), false, moment(now));
                    }
                }
            }
        }
        terminations.sighted(POD, "app", u32::try_from(proven + 1).expect("small"), true, moment(now));
        for _ in 0..2 {
            now += 20;
            ledger.silence(&terminations.silences(moment(now).boot));
        }
        prop_assert!(all_different(&ledger.counted), "{:?}", ledger);
        prop_assert!(all_different(&ledger.described), "{:?}", ledger);
        prop_assert_eq!(ledger.total(), proven + 1);
    }
}
