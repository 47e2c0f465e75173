//! When to look at a cgroup again, and how closely.
//!
//! Flows in: the memory usage seen at each look. Flows out: what else is worth reading now, and the
//! time of the next look. Pure: the clock comes in as an argument.
//!
//! A look costs one small file; reading everything costs ten times that, and reading processes ten
//! times that again. So all of it is read when the usage has moved by a twentieth of the limit or two
//! minutes have passed, and the looks follow one rule: **look again before a thirtieth of the time to
//! the limit has passed**, at the present rate of growth. That time is at most doubled from one look
//! to the next, so that what just moved stays under watch, and it is capped by how near the limit is.

use crate::model::Bytes;
use std::time::{Duration, Instant};

/// Shortest time between two looks.
pub const SHORTEST: Duration = Duration::from_millis(250);
/// Longest time between two looks, far from the limit.
pub const QUIET: Duration = Duration::from_secs(15);
/// The same for a cgroup that its pod speaks for: the pod's charge holds the container's, so while
/// the pod does not move nothing in it does.
pub const RESTING: Duration = Duration::from_secs(120);
/// The same with 70 % of the limit in use.
const NEAR: Duration = Duration::from_secs(4);
/// The same with 90 % of the limit in use.
const VERY_NEAR: Duration = Duration::from_secs(1);
/// Everything is read at least this often: at the eighth quiet look. Most of what an idle node costs
/// is this.
const WHOLE: Duration = Duration::from_secs(119);
/// For this long after its birth a container's processes are read at every look: it is starting.
pub const YOUTH: Duration = Duration::from_secs(5);
/// A runtime that sets a container up for longer than this is no usual one: its processes see the host's files for good.
const SETTING_UP: Duration = Duration::from_secs(60);

/// What a look should be followed by, beyond the usage itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Read every figure.
    pub whole: bool,
    /// Read the processes.
    pub processes: bool,
    /// The usage moved enough to be told although not everything is read.
    pub tell: bool,
    /// The usage moved by as much as matters to what is inside: look there, too.
    pub moved: bool,
}

/// What is known of a cgroup's surroundings at a look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The limit that it would hit first, if there is one.
    pub limit: Option<Bytes>,
    /// The smallest limit inside: a sidecar's is a fraction of its pod's.
    pub smallest_inside: Option<Bytes>,
    /// The part of the usage that reclaim drops before anything is killed: page cache not in use.
    pub reclaimable: Bytes,
}

/// Quiet cgroups are looked at in groups: a wake of the thread, and of the core that takes what it read, costs more than
/// a look.
const SLOT: Duration = Duration::from_secs(5);
/// The slots of the longest period.
pub const SLOTS: u8 = 24;

/// Times that looks are rounded to, so that many share one wake of the thread and yet not all fall
/// on the same one.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Where the grid begins, the same for all cgroups.
    pub origin: Instant,
    /// The slot of its period in which this cgroup is looked at while it is quiet, below [`SLOTS`].
    pub slot: u8,
}

/// The memory of past looks at one cgroup.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Until when a runtime may still be setting it up.
    set_up_by: Instant,
    young_until: Instant,
    quiet: Duration,
    grid: Grid,
    beat: Duration,
    due: Instant,
    seen: Option<(Instant, Bytes)>,
    told: Bytes,
    /// The usage when it last moved for what is inside.
    passed_on: Bytes,
    whole: Option<(Instant, Bytes)>,
}

impl Pace {
    /// For a cgroup that is followed from now on and due at once. `youth` is what is left of its;
    /// `quiet` is the longest time between looks, [`QUIET`] or [`RESTING`].
    pub fn new(now: Instant, youth: Duration, quiet: Duration, grid: Grid) -> Self {
        Self {
            set_up_by: if youth.is_zero() { now } else { now + SETTING_UP },
            young_until: now + youth,
            quiet,
            grid,
            beat: SHORTEST / 2,
            due: now,
            seen: None,
            told: Bytes(0),
            passed_on: Bytes(0),
            whole: None,
        }
    }

    /// Changes the longest time between looks. A shorter one holds from now on, a longer one from the next look.
    pub fn look_at_least_every(&mut self, quiet: Duration, now: Instant) {
        self.quiet = quiet;
        self.hurry(now + quiet);
    }

    /// When to look again.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Asks for a look not later than `when`.
    pub fn hurry(&mut self, when: Instant) {
        self.due = self.due.min(when);
    }

    /// What runs in the container is still the runtime, which a busy node lets take long: it stays young.
    pub fn is_being_set_up(&mut self, now: Instant) {
        if now < self.set_up_by {
            self.young_until = now + 2 * YOUTH;
            self.hurry(now + YOUTH);
        }
    }

    /// Takes a look's result; what it says to read is taken as read.
    pub fn look(&mut self, now: Instant, usage: Bytes, bounds: Bounds) -> Verdict {
        let step = step(bounds.limit.unwrap_or(usage));
        let moved = |since: Bytes| Bytes(since.0.abs_diff(usage.0));
        let jumped = self.whole.is_none_or(|(_, then)| moved(then) >= step) && self.may_read_all(now);
        let whole = jumped || self.whole.is_none_or(|(at, _)| now.duration_since(at) >= WHOLE);
        let tell = moved(self.told) >= Bytes(step.0 / 5);
        let passes_on = moved(self.passed_on) >= bounds.smallest_inside.map_or(step, |limit| Bytes(self::step(limit).0 / 5));
        let to_limit = self.time_to_limit(now, usage, bounds);
        self.beat = self.next_beat(to_limit, usage, bounds);
        self.due = self.grid.next(now, self.beat);
        self.seen = Some((now, usage));
        if whole {
            self.whole = Some((now, usage));
        }
        if whole || tell {
            self.told = usage;
        }
        if passes_on {
            self.passed_on = usage;
        }
        Verdict { whole, processes: whole || now < self.young_until, tell: whole || tell, moved: passes_on }
    }

    /// Not more than once a second, unless the limit is near enough for the shortest beat.
    fn may_read_all(&self, now: Instant) -> bool {
        self.beat == SHORTEST || self.whole.is_none_or(|(at, _)| now.duration_since(at) >= 4 * SHORTEST)
    }

    fn next_beat(&self, to_limit: Option<Duration>, usage: Bytes, bounds: Bounds) -> Duration {
        let in_use = bounds.limit.and_then(|limit| usage.saturating_sub(bounds.reclaimable).percent_of(limit));
        let longest = match in_use {
            Some(90..) => VERY_NEAR,
            Some(70..) => NEAR,
            _ => self.quiet,
        };
        let by_growth = to_limit.map_or(longest, |time| time / 30);
        by_growth.min(self.beat * 2).clamp(SHORTEST, longest)
    }

    /// At the rate since the last look; `None` when it does not grow or there is no limit.
    fn time_to_limit(&self, now: Instant, usage: Bytes, bounds: Bounds) -> Option<Duration> {
        let (then, before) = self.seen?;
        let growth = usage.saturating_sub(before).0;
        let left = bounds.limit?.saturating_sub(usage.saturating_sub(bounds.reclaimable)).0;
        let elapsed = now.duration_since(then).as_millis();
        let millis = u128::from(left) * elapsed / u128::from((growth > 0).then_some(growth)?);
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

/// The change of usage that makes a whole reading worth while: a twentieth of the limit, or without
/// a limit of the usage, but no less than a few pages' noise.
fn step(of: Bytes) -> Bytes {
    const LEAST: u64 = 1 << 20;
    Bytes((of.0 / 20).max(LEAST))
}

impl Grid {
    /// The point of the grid that follows `now` after about one beat.
    fn next(self, now: Instant, beat: Duration) -> Instant {
        let now = millis(now.duration_since(self.origin));
        let point = if beat >= QUIET {
            let period = millis(beat);
            let slot = u64::from(self.slot) * millis(SLOT) % period;
            // Half a second's grace, or a thread that wakes early would look twice.
            (now + period + 500 - slot) / period * period + slot
        } else {
            let width = millis(if beat < VERY_NEAR { SHORTEST } else { VERY_NEAR });
            (now + millis(beat) + width / 2) / width * width
        };
        self.origin + Duration::from_millis(point)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn bounds(limit: u64) -> Bounds {
        Bounds { limit: Some(Bytes(limit * MIB)), ..Bounds::default() }
    }

    /// Looks whenever due, with the usage that `usage` gives for the seconds since the start; returns
    /// the looks as (seconds, verdict) up to `end`.
    fn looks(limit: Bounds, end: u64, usage: impl Fn(f64) -> f64) -> Vec<(f64, Verdict)> {
        let start = Instant::now();
        let mut pace = Pace::new(start, YOUTH, QUIET, Grid { origin: start, slot: 0 });
        let mut looks = Vec::new();
        while pace.due() < start + Duration::from_secs(end) {
            let now = pace.due();
            let at = now.duration_since(start).as_secs_f64();
            let amount = Bytes((usage(at) * MIB as f64) as u64);
            looks.push((at, pace.look(now, amount, limit)));
        }
        looks
    }

    #[test]
    fn a_quiet_cgroup_costs_a_look_in_15_seconds() {
        let seen = looks(bounds(100), 600, |_| 10.0);
        assert!((40..50).contains(&seen.len()), "{} looks", seen.len());
        assert!(seen[0].1.whole && seen[0].1.processes && seen[0].1.tell);
        let whole = seen.iter().filter(|(_, verdict)| verdict.whole).count();
        assert!((5..=7).contains(&whole), "{whole} whole readings in ten minutes");
        assert_eq!(seen.iter().filter(|(_, verdict)| verdict.tell).count(), whole, "nothing moved, nothing more to tell");
    }

    #[test]
    fn a_container_that_is_being_set_up_stays_young_for_a_minute() {
        let start = Instant::now();
        let mut pace = Pace::new(start, YOUTH, RESTING, Grid { origin: start, slot: 0 });
        let mut looks = Vec::new();
        while pace.due() < start + Duration::from_secs(150) {
            let now = pace.due();
            looks.push((now.duration_since(start).as_secs(), pace.look(now, Bytes(MIB), bounds(100)).processes));
            pace.is_being_set_up(now);
        }
        let with_processes = looks.iter().filter(|(_, processes)| *processes).map(|(second, _)| *second);
        let (young, old): (Vec<_>, Vec<_>) = with_processes.partition(|second| *second <= 66);
        assert!(young.windows(2).all(|pair| pair[1] - pair[0] <= 5), "{young:?}");
        assert!(young.last() >= Some(&60) && old.len() <= 1, "{looks:?}");
    }

    #[test]
    fn growth_is_followed_ever_closer() {
        let seen = looks(bounds(100), 120, |at| 10.0 + at * 0.7);
        let (last, _) = seen[seen.len() - 1];
        assert!(last > 119.0, "the last look is less than a second before the end: {last}");
        let told = seen.iter().filter(|(_, verdict)| verdict.whole).count();
        assert!((14..30).contains(&told), "a reading each 5 %: {told}");
        assert!(seen.iter().filter(|(_, verdict)| verdict.moved).count() >= 14);
    }

    #[test]
    fn standing_still_near_the_limit_is_watched_each_second_without_reading_everything() {
        let seen = looks(bounds(100), 120, |_| 95.0);
        assert!(seen.len() > 100);
        assert!(seen.iter().filter(|(_, verdict)| verdict.whole).count() <= 3);
    }

    #[test]
    fn page_cache_is_not_nearness() {
        let cached = Bounds { reclaimable: Bytes(80 * MIB), ..bounds(100) };
        assert!(looks(cached, 600, |_| 99.0).len() < 50);
    }

    #[test]
    fn a_burst_just_after_the_start_is_seen_on_its_way() {
        let seen = looks(bounds(32), 1, |at| at * 80.0);
        assert!(seen.len() >= 3, "{seen:?}");
        assert!(seen[1].1.whole && seen[1].1.processes);
    }

    #[test]
    fn without_a_limit_only_its_own_size_counts() {
        let seen = looks(Bounds::default(), 60, |at| 100.0 + at);
        assert!(seen.iter().filter(|(_, verdict)| verdict.whole).count() < 12);
    }

    #[test]
    fn quiet_looks_keep_their_slot_and_are_a_period_apart() {
        let origin = Instant::now();
        for slot in 0..SLOTS {
            let grid = Grid { origin, slot };
            let mut at = origin + Duration::from_millis(7_300);
            for _ in 0..3 {
                let next = grid.next(at, QUIET);
                let millis = next.duration_since(origin).as_millis();
                assert_eq!(millis % 15_000, u128::from(slot % 3) * 5000);
                assert!(next > at && next <= at + QUIET, "slot {slot}");
                at = next;
            }
            assert_eq!(grid.next(at, QUIET), at + QUIET);
            assert_eq!(grid.next(at + Duration::from_micros(80), SHORTEST), at + SHORTEST);
        }
    }

    #[test]
    fn at_rest_a_look_in_two_minutes_is_a_whole_one() {
        let start = Instant::now();
        let mut pace = Pace::new(start, YOUTH, RESTING, Grid { origin: start, slot: 17 });
        let mut looks = Vec::new();
        while pace.due() < start + Duration::from_secs(1200) {
            let now = pace.due();
            looks.push((now, pace.look(now, Bytes(10 * MIB), bounds(100))));
        }
        let late: Vec<_> = looks.iter().filter(|(at, _)| *at >= start + Duration::from_secs(400)).collect();
        assert!(late.len() <= 7 && late.iter().all(|(_, verdict)| verdict.whole && !verdict.moved), "{late:?}");
    }

    #[test]
    fn a_large_pod_speaks_for_its_small_sidecar() {
        let start = Instant::now();
        let mut pace = Pace::new(start, YOUTH, QUIET, Grid { origin: start, slot: 0 });
        let sidecar = Bounds { smallest_inside: Some(Bytes(128 * MIB)), ..bounds(10_240) };
        let mut look = |second, usage| pace.look(start + Duration::from_secs(second), Bytes(usage * MIB), sidecar);
        look(0, 5000);
        let verdict = look(15, 5003);
        assert!(verdict.moved && !verdict.tell && !verdict.whole, "{verdict:?}");
        assert!(!look(30, 5004).moved);
    }

    #[test]
    fn hurrying_only_brings_forward() {
        let start = Instant::now();
        let mut pace = Pace::new(start, YOUTH, QUIET, Grid { origin: start, slot: 0 });
        pace.look(start, Bytes(0), bounds(100));
        let due = pace.due();
        pace.hurry(due + QUIET);
        assert_eq!(pace.due(), due);
        pace.hurry(start);
        assert_eq!(pace.due(), start);
    }
}
