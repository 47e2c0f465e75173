//! The kernel log's source as the agent runs it, with its signals on a channel that a test can wait on.

use nodewhy::{
    config::{KernelLogChoice, Roots},
    model::BootId,
    signal::{Body, Signal, SourceReport},
    sources::{Stopper, channel, kernel_log, stop},
};
use std::{sync::mpsc, thread, time::Duration};

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
    pub fn start(choice: KernelLogChoice, roots: Roots, boot_id: BootId, resume: kernel_log::Resume) -> Self {
        let (outlet, mut receiver) = channel();
        let (sender, signals) = mpsc::channel();
        thread::spawn(move || while receiver.blocking_recv().is_some_and(|signal| sender.send(signal).is_ok()) {});
        let (stopper, stop) = stop().expect("pipe");
        let thread = kernel_log::spawn(choice, roots, boot_id, resume, outlet, stop).expect("thread");
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

    /// Stops it, and gives back what it had still sent.
    pub fn stop(self) -> Vec<Body> {
        drop(self.stopper);
        self.thread.join().expect("thread");
        self.signals.iter().map(|signal| signal.body).collect()
    }
}
