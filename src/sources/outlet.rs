//! The one way out of every source: a bounded channel to the core.

use crate::{
    model::{BootTime, Moment},
    signal::{Body, Signal},
};
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::mpsc;

/// How many signals may wait for the core. A sweep over the figures of 250 containers and 110 pods,
/// or a whole OOM dump of a node with 500 processes, fits without the source having to wait.
pub const CAPACITY: usize = 1024;

/// The core no longer listens: the agent is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct Stopped;

/// The sending side, one clone for each source.
#[derive(Debug, Clone)]
pub struct Outlet {
    sender: mpsc::Sender<Signal>,
    dropped: Arc<AtomicU64>,
}

/// Makes the channel between the sources and the core.
pub fn channel() -> (Outlet, mpsc::Receiver<Signal>) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Outlet { sender, dropped: Arc::default() }, receiver)
}

impl Outlet {
    /// Sends a log record from a source's own thread, waiting while the channel is full: the
    /// kernel's ring and the journal are the buffer, and what they lose is counted.
    ///
    /// # Errors
    /// [`Stopped`] when the agent is ending; the source should return.
    pub fn send(&self, body: Body) -> Result<(), Stopped> {
        self.sender.blocking_send(Signal { at: now(), body }).map_err(|_| Stopped)
    }

    /// The same from an asynchronous task.
    ///
    /// # Errors
    /// [`Stopped`] when the agent is ending.
    pub async fn send_async(&self, body: Body) -> Result<(), Stopped> {
        self.sender.send(Signal { at: now(), body }).await.map_err(|_| Stopped)
    }

    /// Sends a sample if there is room; a sample that finds none is dropped and counted, the next
    /// one says the same and more.
    ///
    /// # Errors
    /// [`Stopped`] when the agent is ending.
    pub fn offer(&self, body: Body) -> Result<(), Stopped> {
        match self.sender.try_send(Signal { at: now(), body }) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Stopped),
        }
    }

    /// Samples dropped so far because the core was busy.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Both clocks, read together. `CLOCK_MONOTONIC` does not count suspend, like the kernel log's clock.
#[allow(clippy::disallowed_methods, reason = "the one place where sources read the clocks")]
pub fn now() -> Moment {
    let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from).unwrap_or_default();
    Moment { boot: BootTime(u64::try_from(monotonic.as_micros()).unwrap_or(u64::MAX)), wall: Timestamp::now() }
}
