//! A log source as the agent runs it, with its signals on a channel that a test can wait on.

#![allow(dead_code, reason = "each test program uses a part of it")]

use nodewhy::{
    signal::{Body, Signal, SourceReport, SourceState},
    sources::{Outlet, Stop, Stopper, channel, stop},
};
use std::{io, sync::mpsc, thread, time::Duration};

/// So long that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running thread.
pub struct Running {
    signals: mpsc::Receiver<Signal>,
    stopper: Stopper,
    thread: thread::JoinHandle<()>,
}

impl Running {
    /// Starts it.
    pub fn start(spawn: impl FnOnce(Outlet, Stop) -> io::Result<thread::JoinHandle<()>>) -> Self {
        let (outlet, mut receiver) = channel();
        let (sender, signals) = mpsc::channel();
        thread::spawn(move || while receiver.blocking_recv().is_some_and(|signal| sender.send(signal).is_ok()) {});
        let (stopper, stop) = stop().expect("pipe");
        let thread = spawn(outlet, stop).expect("thread");
        Self { signals, stopper, thread }
    }

    /// The next signal.
    pub fn next(&self) -> Body {
        self.signals.recv_timeout(PATIENCE).expect("a signal").body
    }

    /// The next signal, which must be a report.
    pub fn report(&self) -> SourceReport {
        match self.next() {
            Body::Source(report) => report,
            other => panic!("not a report: {other:?}"),
        }
    }

    /// The next signal, which must say that the source works; gives back how.
    pub fn up(&self) -> String {
        let report = self.report();
        assert_eq!(report.state, SourceState::Up, "{report:?}");
        report.detail
    }

    /// Stops it, and gives back what it had still sent.
    pub fn stop(self) -> Vec<Body> {
        drop(self.stopper);
        self.thread.join().expect("thread");
        self.signals.iter().map(|signal| signal.body).collect()
    }
}
