//! A bell: who learns that a log has news rings, and the source that waits for them looks at once.
//!
//! Flows in: rings of one [`Bell`]. Flows out: one readable descriptor, and waits that are short for a moment after a
//! ring, because the kernel counts a kill before it has written the last line about it.

use std::{
    cell::Cell,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

/// The waits after a ring, one after the other. What it was rung for is there at the first look, or at one of these.
const ECHO: [Duration; 4] = [Duration::from_millis(20), Duration::from_millis(30), Duration::from_millis(50), Duration::from_millis(100)];

/// Rings that follow each other faster are one. A storm of kills costs one reading of the log in this time, and one of
/// the echo.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// What is rung.
#[derive(Debug)]
pub struct Bell {
    wire: UnixStream,
    rung: Option<Instant>,
}

/// What hears it.
#[derive(Debug)]
pub struct Hearing {
    wire: UnixStream,
    /// How many of the echo's waits are still to come.
    echo: Cell<usize>,
    /// The bell is gone: nobody will ring.
    gone: Cell<bool>,
}

/// Makes a bell and what hears it.
///
/// # Errors
/// The process has no descriptor left.
pub fn bell() -> io::Result<(Bell, Hearing)> {
    let (wire, heard) = UnixStream::pair()?;
    wire.set_nonblocking(true)?;
    heard.set_nonblocking(true)?;
    Ok((Bell { wire, rung: None }, Hearing { wire: heard, echo: Cell::new(0), gone: Cell::new(false) }))
}

impl Bell {
    /// Rings. Does not wait.
    pub fn ring(&mut self) {
        let now = Instant::now();
        if self.rung.is_some_and(|rung| now.duration_since(rung) < SHORTEST_PAUSE) {
            return;
        }
        self.rung = Some(now);
        // A full socket holds a ring already.
        let _ = (&self.wire).write(&[0]);
    }
}

impl Hearing {
    /// Can be read once it was rung; `None` when nobody will ring any more.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        (!self.gone.get()).then(|| self.wire.as_fd())
    }

    /// How long to wait at most instead of `longest`.
    pub fn wait(&self, longest: Duration) -> Duration {
        let Some(left) = self.echo.get().checked_sub(1) else { return longest };
        self.echo.set(left);
        ECHO.iter().rev().nth(left).map_or(longest, |wait| longest.min(*wait))
    }

    /// Takes the rings that came.
    pub fn take(&self) {
        match (&self.wire).read(&mut [0; 64]) {
            Ok(0) => self.gone.set(true),
            Ok(_) => self.echo.set(ECHO.len()),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(1);

    #[test]
    fn a_ring_is_followed_by_short_waits_and_then_by_the_usual_ones() {
        let (mut bell, hearing) = bell().expect("sockets");
        hearing.take();
        assert_eq!(hearing.wait(LONGEST), LONGEST, "nobody rang");
        bell.ring();
        hearing.take();
        let waits: Vec<_> = (0..6).map(|_| hearing.wait(LONGEST)).collect();
        assert_eq!(waits[..4], ECHO);
        assert_eq!(waits[4..], [LONGEST; 2]);
    }

    #[test]
    fn rings_in_a_storm_are_one() {
        let (mut bell, hearing) = bell().expect("sockets");
        (0..1000).for_each(|_| bell.ring());
        let mut rings = [0; 64];
        let taken = (&hearing.wire).read(&mut rings).expect("rung");
        assert!(taken <= 2, "{taken} rings arrived of a thousand at once");
    }

    #[test]
    fn a_bell_that_is_gone_keeps_nobody_awake() {
        let (bell, hearing) = bell().expect("sockets");
        drop(bell);
        hearing.take();
        assert!(hearing.fd().is_none());
        assert_eq!(hearing.wait(LONGEST), LONGEST);
    }
}
