//! The order to stop, which wakes a source that is waiting for its file.
//!
//! Flows in: the drop of the one [`Stopper`]. Flows out: every [`Stop`] says so at once. A pipe
//! carries it: its reading end hangs up when the writing end is gone, and poll(2) waits for that and
//! for a source's own descriptor together.

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Dropping it stops every source that holds a [`Stop`] of it.
#[derive(Debug)]
pub struct Stopper {
    order: Arc<Order>,
    /// Closed after the order is given, because fields are dropped after [`Drop::drop`].
    _open: PipeWriter,
}

/// What a source looks at between two records and waits on when there are none.
#[derive(Debug, Clone)]
pub struct Stop(Arc<Order>);

#[derive(Debug)]
struct Order {
    /// Given; cheaper to ask for than the pipe.
    given: AtomicBool,
    /// Hangs up when it is given.
    pipe: PipeReader,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The descriptor has something to read, or an error to tell.
    Ready,
    /// The time is over.
    TimedOut,
    /// The agent is stopping.
    Stopped,
}

/// Makes the order and what gives it.
///
/// # Errors
/// The process has no descriptor left.
pub fn stop() -> io::Result<(Stopper, Stop)> {
    let (pipe, writer) = io::pipe()?;
    let order = Arc::new(Order { given: AtomicBool::new(false), pipe });
    Ok((Stopper { order: order.clone(), _open: writer }, Stop(order)))
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.order.given.store(true, Ordering::Release);
    }
}

impl Stop {
    /// Whether the source should return.
    pub fn stopped(&self) -> bool {
        self.0.given.load(Ordering::Acquire)
    }

    /// Waits for `timeout`, or less when the agent stops; says whether it does.
    pub fn wait(&self, timeout: Duration) -> bool {
        let mut fds = [PollFd::new(self.0.pipe.as_fd(), PollFlags::POLLIN)];
        // An error of poll(2) here is an interruption, after which the caller only does its round early.
        let _ = poll(&mut fds, timeout_of(timeout));
        self.stopped()
    }

    /// Waits until `fd` can be read, the agent stops, or, where given, the time is over.
    ///
    /// # Errors
    /// Those of poll(2), interruption aside.
    pub fn wait_readable(&self, fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<Wake> {
        self.wait_for(&[fd], PollFlags::POLLIN, timeout)
    }

    /// The same for several descriptors, of which one is enough.
    ///
    /// # Errors
    /// Those of poll(2), interruption aside.
    pub fn wait_readable_any(&self, fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Wake> {
        self.wait_for(fds, PollFlags::POLLIN, timeout)
    }

    /// The same for what a file announces apart from its content, such as a change of the mounts that it lists.
    ///
    /// # Errors
    /// Those of poll(2), interruption aside.
    pub fn wait_priority(&self, fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<Wake> {
        self.wait_for(&[fd], PollFlags::POLLPRI, timeout)
    }

    fn wait_for(&self, fds: &[BorrowedFd<'_>], what: PollFlags, timeout: Option<Duration>) -> io::Result<Wake> {
        let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, what)).collect();
        fds.push(PollFd::new(self.0.pipe.as_fd(), PollFlags::POLLIN));
        let ready = match poll(&mut fds, timeout.map_or(PollTimeout::NONE, timeout_of)) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(if self.stopped() {
            Wake::Stopped
        } else if ready > 0 {
            Wake::Ready
        } else {
            Wake::TimedOut
        })
    }
}

fn timeout_of(timeout: Duration) -> PollTimeout {
    PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn dropping_the_stopper_wakes_a_waiting_thread() {
        let (stopper, stop) = stop().expect("pipe");
        let waiting = std::thread::spawn({
            let stop = stop.clone();
            move || stop.wait(LONG)
        });
        assert!(!stop.stopped());
        drop(stopper);
        assert!(waiting.join().expect("thread"));
        assert!(stop.stopped());
    }

    #[test]
    fn a_wait_tells_why_it_ended() {
        let (stopper, stop) = stop().expect("pipe");
        let (reader, mut writer) = io::pipe().expect("pipe");
        assert_eq!(stop.wait_readable(reader.as_fd(), Some(Duration::ZERO)).expect("poll"), Wake::TimedOut);
        io::Write::write_all(&mut writer, b"x").expect("write");
        assert_eq!(stop.wait_readable(reader.as_fd(), Some(LONG)).expect("poll"), Wake::Ready);
        drop(stopper);
        assert_eq!(stop.wait_readable(reader.as_fd(), None).expect("poll"), Wake::Stopped);
    }
}
