//! What every log source's thread shares: its voice, its position, and trying again after a failure.
//!
//! Flows in: what one attempt to read came to. Flows out: signals, a report whenever the source's
//! condition changes, and the next attempt after a wait. What is read is not known here.

use super::{Outlet, Stop, Stopped, bell::Hearing, stop::Wake};
use crate::signal::{Body, Gap, SourceName, SourceReport, SourceState};
use std::{io, os::fd::BorrowedFd, time::Duration};

/// Waits between attempts: the first follows soon, a node without a readable log costs nothing.
const BACK_OFF: [Duration; 4] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)];

/// The least time between two openings that brought no line.
const RENEWAL: Duration = Duration::from_secs(1);

/// Why something cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// Which of the ways not to work.
    pub(super) state: SourceState,
    /// The path or call and what it answered, in a clause.
    pub(super) why: String,
    /// What a person can do, in a clause.
    pub(super) remedy: String,
}

impl Failure {
    /// One that tells of all: what each says, and the remedy of the one that is nearest to working.
    pub(super) fn of_all(mut failures: Vec<Self>) -> Option<Self> {
        const NEAREST: [SourceState; 4] = [SourceState::Failing, SourceState::Stale, SourceState::Unreadable, SourceState::Absent];
        let why: Vec<String> = failures.iter().map(|failure| failure.why.clone()).collect();
        failures.sort_by_key(|failure| NEAREST.iter().position(|state| *state == failure.state));
        let nearest = failures.into_iter().next()?;
        Some(Self { why: why.join("; "), ..nearest })
    }

    /// The journal in a build without libsystemd.
    #[cfg(not(feature = "journal"))]
    pub(super) fn without_journal() -> Self {
        Self {
            state: SourceState::Absent,
            why: "this build of nodewhy reads no journal".into(),
            remedy: "use a build with the feature `journal`, or choose another transport".into(),
        }
    }
}

/// An error and what it follows from, each said once.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Why the reading ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The agent is stopping.
    Stopped,
    /// A file in the device's place has no more to say, and why that is known.
    End(String),
    /// It works and should be opened anew: its files changed.
    #[cfg_attr(not(feature = "journal"), allow(dead_code, reason = "only the journal has files that change"))]
    Renew,
    /// It is to be tried again later.
    Failed(Failure),
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Where a source's lines go, and how far they have come.
pub(super) struct Feed<P> {
    source: SourceName,
    outlet: Outlet,
    /// The order to stop, to wait with.
    pub(super) stop: Stop,
    /// What is rung when the log has news that it does not tell of by itself.
    bell: Option<Hearing>,
    /// The last line that was sent, or is covered by an earlier run.
    pub(super) position: P,
    /// The last report, which is not repeated.
    told: Option<SourceReport>,
    /// The last loss that shows again whenever the source is opened, and is not told again.
    #[cfg_attr(not(feature = "journal"), allow(dead_code, reason = "only the journal has lasting losses"))]
    told_loss: Option<Gap>,
}

impl<P: Clone + PartialEq> Feed<P> {
    pub(super) fn new(source: SourceName, position: P, outlet: Outlet, stop: Stop) -> Self {
        Self { source, outlet, stop, bell: None, position, told: None, told_loss: None }
    }

    /// Also wakes when it is rung.
    pub(super) fn with_bell(self, bell: Hearing) -> Self {
        Self { bell: Some(bell), ..self }
    }

    /// Waits until the log's own descriptor can be read, somebody rings, or the time is over.
    ///
    /// # Errors
    /// Those of poll(2).
    pub(super) fn wait(&self, fd: Option<BorrowedFd<'_>>, longest: Duration) -> io::Result<Wake> {
        let time = self.bell.as_ref().map_or(longest, |bell| bell.wait(longest));
        let fds: Vec<_> = fd.into_iter().chain(self.bell.as_ref().and_then(Hearing::fd)).collect();
        let wake = self.stop.wait_readable_any(&fds, Some(time))?;
        self.bell.iter().for_each(Hearing::take);
        Ok(wake)
    }

    /// Sends, waiting for room.
    pub(super) fn send(&self, body: Body) -> Result<(), Ended> {
        if self.stop.stopped() { Err(Ended::Stopped) } else { Ok(self.outlet.send(body)?) }
    }

    /// Reports the source's condition if it has changed.
    pub(super) fn report(&mut self, state: SourceState, detail: String) -> Result<(), Ended> {
        let report = SourceReport { source: self.source, state, detail };
        if self.told.as_ref() == Some(&report) {
            return Ok(());
        }
        self.told = Some(report.clone());
        self.send(Body::Source(report))
    }

    /// Tells of a loss.
    pub(super) fn lost(&self, lost: Option<u64>, detail: String) -> Result<(), Ended> {
        self.send(Body::Gap(Gap { source: self.source, lost, detail }))
    }

    /// Tells of a loss that shows again whenever the source is opened.
    #[cfg_attr(not(feature = "journal"), allow(dead_code, reason = "only the journal has lasting losses"))]
    pub(super) fn lost_once(&mut self, detail: String) -> Result<(), Ended> {
        let gap = Gap { source: self.source, lost: None, detail };
        if self.told_loss.as_ref() == Some(&gap) {
            return Ok(());
        }
        self.told_loss = Some(gap.clone());
        self.send(Body::Gap(gap))
    }

    /// Reads, and after a failure waits and tries again. `attempt` answers `Ok` at the end for good.
    pub(super) fn keep_trying(mut self, mut attempt: impl FnMut(&mut Self) -> Result<(), Ended>) {
        let mut failures = 0_usize;
        loop {
            let before = self.position.clone();
            let ended = attempt(&mut self);
            let moved = self.position != before;
            let wait = match ended {
                Err(Ended::Renew) if moved => Duration::ZERO,
                // Files that change again and again without a line in between must not keep a processor busy.
                Err(Ended::Renew) => RENEWAL,
                Err(Ended::Failed(failure)) => {
                    if self.report(failure.state, format!("{}; {}", failure.why, failure.remedy)).is_err() {
                        return;
                    }
                    failures = if moved { 0 } else { failures.saturating_add(1) };
                    BACK_OFF.get(failures.saturating_sub(1)).or(BACK_OFF.last()).copied().unwrap_or_default()
                }
                Ok(()) | Err(Ended::Stopped | Ended::End(_)) => return,
            };
            if self.stop.wait(wait) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{self, bell::bell};

    #[test]
    fn a_ring_ends_a_wait() {
        let (outlet, _signals) = sources::channel();
        let (_stopper, stop) = sources::stop().expect("pipe");
        let (mut bell, hearing) = bell().expect("sockets");
        let feed = Feed::new(SourceName::KernelLog, (), outlet, stop).with_bell(hearing);
        let waiting = std::thread::spawn(move || {
            let first = feed.wait(None, Duration::from_secs(600)).expect("poll");
            (first, feed.wait(None, Duration::from_secs(600)).expect("poll"))
        });
        bell.ring();
        assert_eq!(waiting.join().expect("thread"), (Wake::Ready, Wake::TimedOut), "and the next one is short");
    }
}
