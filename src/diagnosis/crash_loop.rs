//! The story of a container that dies again and again.

use crate::{
    findings::{CrashLoop, Life},
    model::{BootTime, Cause},
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Lives told: enough to see a pattern.
const LIVES: usize = 8;

/// How exactly it is known when a container ended: statuses have whole seconds, and an end without one is noticed when
/// the log directory is next looked at, up to ten seconds later.
const TIMELY_MICROS: u64 = 12_000_000;

/// A container that ran for this long has no back-off any more: the kubelet takes it for healthy again.
const HEALTHY_SECONDS: u64 = 600;

/// The kubelet's longest back-off, which lies between two deaths beside the life.
const LONGEST_BACK_OFF_SECONDS: u64 = 300;

/// The deaths of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Story {
    deaths: u64,
    lives: VecDeque<(BootTime, Cause, Life)>,
    back_off_seconds: Option<u64>,
    same_cause: bool,
}

impl Story {
    /// Adds a death.
    pub fn died(&mut self, at: BootTime, cause: Cause, life: Life) {
        self.same_cause = self.deaths == 0 || (self.same_cause && self.lives.iter().all(|(_, known, _)| *known == cause));
        self.deaths += 1;
        if self.lives.len() == LIVES {
            self.lives.pop_front();
        }
        // Some ends wait longer for their witnesses than those after them; statuses have whole seconds.
        let before = |(ended, _, known): &(BootTime, Cause, Life)| {
            at.micros_since(*ended) > TIMELY_MICROS || (ended.micros_since(at) <= TIMELY_MICROS && known.attempt < life.attempt)
        };
        let place = self.lives.iter().rposition(before).map_or(0, |earlier| earlier + 1);
        self.lives.insert(place, (at, cause, life));
    }

    /// A death that was already added is described: its cause and its life are known now.
    pub fn described(&mut self, cause: Cause, life: Life) {
        let known = self.lives.iter_mut().rev().find(|(.., known)| known.attempt == life.attempt);
        if let Some((_, was, known)) = known {
            (*was, *known) = (cause, life);
        }
        self.same_cause = self.lives.iter().all(|(_, known, _)| *known == cause);
    }

    /// Notes how long the kubelet now waits before the next start.
    pub fn backs_off(&mut self, seconds: u64) {
        self.back_off_seconds = Some(seconds);
    }

    /// When it died last.
    pub fn last_death(&self) -> Option<BootTime> {
        self.lives.back().map(|(at, ..)| *at)
    }

    /// Whether it loops now: it died lately, and soon after it had been started again.
    pub fn is_looping(&self, now: BootTime) -> bool {
        self.last_death().is_some_and(|at| now.seconds_since(at) < HEALTHY_SECONDS) && self.died_soon_again()
    }

    /// Whether its latest life was one of those that the kubelet's back-off is for. The attempt number alone shows
    /// that there was a death before, not how long ago.
    fn died_soon_again(&self) -> bool {
        let mut latest = self.lives.iter().rev();
        let Some((at, _, life)) = latest.next() else { return false };
        let before = latest.next().map(|(before, ..)| *before);
        match life.uptime_seconds {
            Some(uptime) => uptime < HEALTHY_SECONDS && (before.is_some() || life.attempt.is_some_and(|attempt| attempt > 0)),
            None => before.is_some_and(|before| at.seconds_since(before) < HEALTHY_SECONDS + LONGEST_BACK_OFF_SECONDS),
        }
    }

    /// The loop, from the second death on, or from the first if it came soon and its attempt number shows earlier ones.
    pub fn told(&self) -> Option<CrashLoop> {
        let attempt = self.lives.iter().filter_map(|(.., life)| life.attempt).max();
        (self.deaths > 1 || self.died_soon_again()).then(|| CrashLoop {
            deaths: self.deaths,
            attempt,
            interval_seconds: self.interval(),
            back_off_seconds: self.back_off_seconds,
            same_cause: self.same_cause,
            lives: self.lives.iter().map(|(.., life)| life.clone()).collect(),
        })
    }

    /// The median time between two deaths.
    fn interval(&self) -> Option<u64> {
        let times = self.lives.iter().map(|(at, ..)| *at);
        let mut gaps: Vec<_> = times.clone().zip(times.skip(1)).map(|(earlier, later)| later.seconds_since(earlier)).collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(attempt: u32) -> Life {
        Life { attempt: Some(attempt), exit_code: Some(1), uptime_seconds: Some(2), memory_at_death_bytes: None }
    }

    fn at(second: u64) -> BootTime {
        BootTime(second * 1_000_000)
    }

    #[test]
    fn a_loop_is_told_with_its_pace() {
        let mut story = Story::default();
        story.died(at(0), Cause::AppError, life(0));
        assert_eq!(story.told(), None, "one death is no loop");
        for (attempt, second) in [(1, 12), (2, 34), (3, 76)] {
            story.died(at(second), Cause::AppError, life(attempt));
        }
        story.backs_off(40);
        let told = story.told().expect("a loop");
        assert_eq!((told.deaths, told.attempt, told.interval_seconds, told.back_off_seconds), (4, Some(3), Some(22), Some(40)));
        assert!(told.same_cause && told.lives.len() == 4);
    }

    #[test]
    fn it_loops_while_it_dies_soon_after_it_was_started_again() {
        let lived = |attempt, uptime_seconds| Life { uptime_seconds, ..life(attempt) };
        let loops = |deaths: &[(u64, u32, Option<u64>)]| {
            let mut story = Story::default();
            deaths.iter().for_each(|(second, attempt, uptime)| story.died(at(*second), Cause::AppError, lived(*attempt, *uptime)));
            story.is_looping(at(10_100))
        };
        assert!(!loops(&[(10_000, 0, Some(2))]), "one death");
        assert!(loops(&[(10_000, 7, Some(2))]), "the agent came later");
        assert!(!loops(&[(10_000, 7, Some(9_000))]), "the deaths before are old");
        assert!(!loops(&[(100, 6, Some(2)), (10_000, 7, Some(9_890))]));
        assert!(loops(&[(9_800, 6, Some(2)), (10_000, 7, Some(190))]));
        assert!(loops(&[(9_800, 6, None), (10_000, 7, None)]), "nobody tells how long it lived");
        assert!(!loops(&[(100, 6, None), (10_000, 7, None)]));
        assert!(!loops(&[(9_000, 6, Some(2)), (9_400, 7, Some(2))]), "it is quiet now");
    }

    #[test]
    fn an_end_that_is_told_late_stands_where_it_happened() {
        let mut story = Story::default();
        for (attempt, second) in [(1, 12), (0, 2), (2, 34)] {
            story.died(at(second), Cause::AppError, life(attempt));
        }
        let told = story.told().expect("a loop");
        assert_eq!(told.lives.iter().filter_map(|life| life.attempt).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(told.interval_seconds, Some(22));
    }

    #[test]
    fn an_end_without_a_status_stands_before_the_next_life_though_it_is_noticed_later() {
        let mut story = Story::default();
        story.died(at(50), Cause::AppError, life(4));
        story.died(at(56), Cause::Unknown, life(3));
        let told = story.told().expect("a loop");
        assert_eq!(told.lives.iter().filter_map(|life| life.attempt).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn different_causes_are_said_and_the_list_is_bounded() {
        let mut story = Story::default();
        for attempt in 0..20 {
            let cause = if attempt == 3 { Cause::Segfault } else { Cause::AppError };
            story.died(at(u64::from(attempt) * 10), cause, life(attempt));
        }
        let told = story.told().expect("a loop");
        assert_eq!((told.same_cause, told.lives.len(), told.deaths), (false, LIVES, 20));
    }
}
