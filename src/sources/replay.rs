//! Plays a recording in the place of the machine.
//!
//! Flows in: the items of a recording. Flows out: the same items, at once or at the pace at which
//! they were recorded. How the wait is done is the caller's, so that it can be interrupted or left out.

use crate::{model::BootTime, signal::Signal};
use std::time::Duration;

/// How fast to play.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Speed {
    /// As fast as the signals are taken.
    #[default]
    Max,
    /// With the pauses of the recording.
    Real,
}

/// The items of a recording at their pace.
#[derive(Debug)]
pub struct Replay<I, W> {
    items: I,
    speed: Speed,
    wait: W,
    last: Option<BootTime>,
}

impl<I, W, E> Replay<I, W>
where
    I: Iterator<Item = Result<Signal, E>>,
    W: FnMut(Duration) -> bool,
{
    /// Plays `items`. `wait` waits for a pause and says whether the play is to stop, as
    /// [`Stop::wait`](super::Stop::wait) does; it is called only with [`Speed::Real`].
    pub fn new(items: I, speed: Speed, wait: W) -> Self {
        Self { items, speed, wait, last: None }
    }

    /// The pause before a signal: none before the first, and none where another boot begins.
    fn pause(&mut self, next: BootTime) -> Duration {
        let last = self.last.replace(next).unwrap_or(next);
        Duration::from_micros(next.micros_since(last))
    }
}

impl<I, W, E> Iterator for Replay<I, W>
where
    I: Iterator<Item = Result<Signal, E>>,
    W: FnMut(Duration) -> bool,
{
    type Item = Result<Signal, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.items.next()?;
        let (Speed::Real, Ok(signal)) = (self.speed, &item) else { return Some(item) };
        let pause = self.pause(signal.at.boot);
        let stop = !pause.is_zero() && (self.wait)(pause);
        (!stop).then_some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Moment, signal::Body};

    fn at(micros: u64) -> Result<Signal, String> {
        let wall = "2026-05-04T10:00:00Z".parse().expect("time");
        Ok(Signal { at: Moment { boot: BootTime(micros), wall }, body: Body::Tick })
    }

    #[test]
    fn real_speed_keeps_the_pauses() {
        let items = vec![at(5_000_000), at(5_000_000), Err("bad line".into()), at(7_500_000), at(100), at(300)];
        let mut pauses = Vec::new();
        let replay = Replay::new(items.clone().into_iter(), Speed::Real, |pause| {
            pauses.push(pause.as_micros());
            false
        });
        assert_eq!(replay.collect::<Vec<_>>(), items);
        assert_eq!(pauses, [2_500_000, 200], "another boot begins without a pause");
    }

    #[test]
    fn full_speed_never_waits() {
        let items = vec![at(0), at(u64::MAX)];
        assert_eq!(Replay::new(items.into_iter(), Speed::Max, |_| panic!("waited")).count(), 2);
    }

    #[test]
    fn a_wait_can_stop_the_play() {
        let items = vec![at(0), at(1), at(2)];
        assert_eq!(Replay::new(items.into_iter(), Speed::Real, |_| true).count(), 1);
    }
}
