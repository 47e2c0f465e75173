//! The kernel's log, by whichever transport works: `/dev/kmsg`, systemd's journal or syslog(2).
//!
//! Flows in: the choice of a transport, the node's roots, the position that an earlier run reached.
//! Flows out: every line of the current boot after that position, as its transport gave it
//! ([`KernelLine`](crate::signal::KernelLine)), the losses that a transport tells, and a report
//! whenever the source's condition changes. What a line means is not known here; only its position is read.

mod alarm;
mod flood;
#[cfg(feature = "journal")]
mod journal;
#[cfg(not(feature = "journal"))]
#[path = "journal_absent.rs"]
mod journal;
mod kmsg;
mod position;
mod rights;
mod syslog;

pub use position::Resume;

use super::{
    Bell, Outlet, Stop,
    bell::bell,
    feed::{Ended, Failure},
};
use crate::{
    config::{KernelLogChoice, Roots},
    model::BootId,
    signal::{SourceName, SourceState},
};
use rights::Rights;
use std::{fmt, io, thread};

/// Reading needs little stack; the C library of the journal keeps its buffers on the heap.
const STACK: usize = 256 << 10;
/// Where the lines go, and how far they have come.
type Feed = super::feed::Feed<Resume>;

/// A way to read the kernel's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `/dev/kmsg`.
    Kmsg,
    /// systemd's journal.
    Journal,
    /// syslog(2).
    Syslog,
}

impl Transport {
    /// Every transport, the best first.
    pub const ALL: &'static [Self] = &[Self::Kmsg, Self::Journal, Self::Syslog];

    /// The word of `--kernel-log`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kmsg => "kmsg",
            Self::Journal => "journal",
            Self::Syslog => "syslog",
        }
    }

    /// Those that a choice allows, in the order in which they are tried.
    const fn of(choice: KernelLogChoice) -> &'static [Self] {
        match choice {
            KernelLogChoice::Auto => Self::ALL,
            KernelLogChoice::Kmsg => &[Self::Kmsg],
            KernelLogChoice::Journal => &[Self::Journal],
            KernelLogChoice::Syslog => &[Self::Syslog],
            KernelLogChoice::None => &[],
        }
    }

    fn open(self, machine: &Machine, rights: Rights) -> Result<Box<dyn Follow>, Failure> {
        Ok(match self {
            Self::Kmsg => Box::new(kmsg::open(&machine.roots.kmsg, rights)?),
            Self::Journal => Box::new(journal::open(&machine.roots.journal, &machine.boot_id)?),
            Self::Syslog => Box::new(syslog::open(&machine.roots.proc, rights)?),
        })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What `nodewhy doctor` tells of one transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Which transport.
    pub transport: Transport,
    /// Whether it can be read.
    pub state: SourceState,
    /// What it would read, or why it cannot: the path or the right that is missing.
    pub detail: String,
    /// What makes it work, where it does not.
    pub remedy: Option<String>,
}

/// Tries every transport that the choice allows, without taking a line away from anybody.
pub fn probe(choice: KernelLogChoice, roots: &Roots, boot_id: &BootId) -> Vec<Probe> {
    let rights = Rights::read(roots);
    let probe = |transport: &Transport| {
        let found = match transport {
            Transport::Kmsg => kmsg::probe(&roots.kmsg, rights),
            Transport::Journal => journal::open(&roots.journal, boot_id).map(|journal| journal.describe()),
            Transport::Syslog => syslog::probe(rights),
        };
        match found {
            Ok(detail) => Probe { transport: *transport, state: SourceState::Up, detail, remedy: None },
            Err(failure) => Probe { transport: *transport, state: failure.state, detail: failure.why, remedy: Some(failure.remedy) },
        }
    };
    Transport::of(choice).iter().map(probe).collect()
}

/// Starts the thread that reads the log until the agent stops. Whoever learns of a kill elsewhere rings the bell.
///
/// # Errors
/// The process may not start another thread, or has no descriptor left.
pub fn spawn(
    choice: KernelLogChoice,
    roots: Roots,
    boot_id: BootId,
    resume: Resume,
    outlet: Outlet,
    stop: Stop,
) -> io::Result<(Bell, thread::JoinHandle<()>)> {
    let (bell, hearing) = bell()?;
    let feed = Feed::new(SourceName::KernelLog, resume, outlet, stop).with_bell(hearing);
    let machine = Machine { roots, boot_id };
    let thread = thread::Builder::new()
        .name("kernel-log".into())
        .stack_size(STACK)
        .spawn(move || feed.keep_trying(|feed| read_once(choice, &machine, feed)))?;
    Ok((bell, thread))
}

/// What is read, and of which boot.
struct Machine {
    roots: Roots,
    boot_id: BootId,
}

/// An open transport.
trait Follow {
    /// What is read and how exact that is, in a clause.
    fn describe(&self) -> String;
    /// Sends every line after the position, and then every new one.
    fn follow(&mut self, feed: &mut Feed) -> Ended;
}

/// Opens the first transport that works and reads it as long as it does. `Ok` is the end for good:
/// of a choice without transports, and of a file in the device's place.
fn read_once(choice: KernelLogChoice, machine: &Machine, feed: &mut Feed) -> Result<(), Ended> {
    let transports = Transport::of(choice);
    if transports.is_empty() {
        return feed.report(SourceState::Absent, "switched off by --kernel-log none".into());
    }
    let (mut transport, detail) = open_first(transports, machine).map_err(Ended::Failed)?;
    feed.report(SourceState::Up, detail)?;
    match transport.follow(feed) {
        Ended::End(why) => feed.report(SourceState::Stale, why),
        ended => Err(ended),
    }
}

/// The first transport that opens, and what to say of it: how it is read and why not by a better one.
fn open_first(transports: &[Transport], machine: &Machine) -> Result<(Box<dyn Follow>, String), Failure> {
    let rights = Rights::read(&machine.roots);
    let mut failures: Vec<(Transport, Failure)> = Vec::new();
    for transport in transports {
        match transport.open(machine, rights) {
            Ok(open) => {
                let others: String = failures.iter().map(|(other, failure)| format!("; not {other}: {}", failure.why)).collect();
                let detail = format!("{transport}: {}{others}", open.describe());
                return Ok((open, detail));
            }
            Err(failure) => failures.push((*transport, failure)),
        }
    }
    let told = failures.into_iter().map(|(transport, failure)| Failure { why: format!("{transport}: {}", failure.why), ..failure });
    Err(Failure::of_all(told.collect()).unwrap_or_else(|| Failure {
        state: SourceState::Absent,
        why: "no transport is chosen".into(),
        remedy: "choose one with --kernel-log".into(),
    }))
}

#[cfg(test)]
mod tests;
