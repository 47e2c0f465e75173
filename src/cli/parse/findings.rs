//! What was found, in the order of the log, each event once.

use super::Style;
use super::sentence;
use crate::parse::kernel_problem::{KernelProblem, Reported};
use crate::parse::kubelet::Report;
use crate::parse::oom::{OomEvent, OomReport};
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};

/// How many events stay open for repetitions. A hung task comes back every two minutes, so the tasks
/// and disks of a whole incident fit; beyond it the oldest is printed as it is.
const MOST_OPEN: usize = 1024;

/// Collects events and prints them.
#[derive(Debug)]
pub(super) struct Findings {
    style: Style,
    open: VecDeque<Finding>,
    printed: u64,
}

/// One event with the line that began it; the kubelet's reader does not tell the line.
#[derive(Debug)]
struct Finding {
    line: Option<u64>,
    repeated: u64,
    what: What,
}

/// The kinds of events.
#[derive(Debug)]
enum What {
    Kernel(KernelProblem),
    Oom(Box<OomEvent>),
    Kubelet(Box<Report>),
}

/// The object of an event.
#[derive(Serialize)]
#[serde(untagged)]
enum Object<'a> {
    Kernel(&'a KernelProblem),
    Oom(Box<OomReport>),
    Kubelet(&'a Report),
}

/// The printed form.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    object: Object<'a>,
    /// The line of the log that began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// How many more messages told the same event.
    repeated: u64,
}

impl Findings {
    pub(super) fn new(style: Style) -> Self {
        Self { style, open: VecDeque::new(), printed: 0 }
    }

    /// Adds a kernel problem, or lets the event that it tells again absorb it.
    pub(super) fn add_problem(&mut self, reported: Reported) {
        let Reported { at, problem } = reported;
        if problem.is_notice() && !self.style.notices {
            return;
        }
        let same = self.open.iter_mut().rev().find_map(|finding| match &mut finding.what {
            What::Kernel(own) if own.is_same_event(&problem) => Some((own, &mut finding.repeated)),
            _ => None,
        });
        match same {
            Some((own, repeated)) => {
                *repeated += 1;
                own.absorb(problem);
            }
            None => self.insert(at.record, What::Kernel(problem)),
        }
    }

    /// Adds an OOM kill, or replaces what was known about it before.
    pub(super) fn put_oom(&mut self, event: OomEvent) {
        let known = self.open.iter_mut().rev().find_map(|finding| match &mut finding.what {
            What::Oom(own) if own.id == event.id => Some(own),
            _ => None,
        });
        match known {
            Some(own) => **own = event,
            None => self.insert(event.first.record, What::Oom(Box::new(event))),
        }
    }

    /// Adds what the kubelet told. Its reader has put repetitions together.
    pub(super) fn add_kubelet(&mut self, report: Report) {
        self.open.push_back(Finding { line: None, repeated: 0, what: What::Kubelet(Box::new(report)) });
    }

    /// Dumps end after the lines of others began, so events do not arrive in order.
    fn insert(&mut self, line: u64, what: What) {
        let at = self.open.iter().rposition(|finding| finding.line.is_some_and(|before| before <= line)).map_or(0, |before| before + 1);
        self.open.insert(at, Finding { line: Some(line), repeated: 0, what });
    }

    /// How many events were printed.
    pub(super) fn printed(&self) -> u64 {
        self.printed
    }

    /// Prints the oldest events beyond the limit.
    pub(super) fn print_excess(&mut self, out: &mut impl Write) -> io::Result<()> {
        while self.open.len() > MOST_OPEN {
            self.print_oldest(out)?;
        }
        Ok(())
    }

    /// Prints everything.
    pub(super) fn print_all(&mut self, out: &mut impl Write) -> io::Result<()> {
        while !self.open.is_empty() {
            self.print_oldest(out)?;
        }
        Ok(())
    }

    fn print_oldest(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Some(finding) = self.open.pop_front() else { return Ok(()) };
        self.printed += 1;
        if self.style.human {
            return writeln!(out, "{finding}");
        }
        let object = match &finding.what {
            What::Kernel(problem) => Object::Kernel(problem),
            What::Oom(event) => Object::Oom(Box::new(event.to_report())),
            What::Kubelet(report) => Object::Kubelet(report),
        };
        serde_json::to_writer(&mut *out, &Printed { object, line: finding.line, repeated: finding.repeated })?;
        writeln!(out)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match &self.what {
            What::Kernel(problem) => write!(f, "{problem}")?,
            What::Oom(event) => sentence::write_oom(f, event)?,
            What::Kubelet(report) => sentence::write_kubelet(f, report)?,
        }
        match self.repeated {
            0 => Ok(()),
            times => write!(f, " (told {} times)", times + 1),
        }
    }
}
