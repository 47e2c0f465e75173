//! What was found, in the order of the log, each event once.

use super::Style;
use crate::parse::kernel_problem::{KernelProblem, Reported};
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

/// One event with the line that began it.
#[derive(Debug)]
struct Finding {
    line: u64,
    repeated: u64,
    what: What,
}

/// The kinds of events.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    Kernel(KernelProblem),
}

/// The printed form.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    what: &'a What,
    /// The line of the log that began it.
    line: u64,
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
            What::Kernel(_) => None,
        });
        match same {
            Some((own, repeated)) => {
                *repeated += 1;
                own.absorb(problem);
            }
            None => self.insert(at.record, What::Kernel(problem)),
        }
    }

    /// Dumps end after the lines of others began, so events do not arrive in order.
    fn insert(&mut self, line: u64, what: What) {
        let at = self.open.iter().rposition(|finding| finding.line <= line).map_or(0, |before| before + 1);
        self.open.insert(at, Finding { line, repeated: 0, what });
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
        serde_json::to_writer(&mut *out, &Printed { what: &finding.what, line: finding.line, repeated: finding.repeated })?;
        writeln!(out)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.what {
            What::Kernel(problem) => write!(f, "{problem}")?,
        }
        match self.repeated {
            0 => Ok(()),
            times => write!(f, " (told {} times)", times + 1),
        }
    }
}
