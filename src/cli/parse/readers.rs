//! The seam between a log's lines and the readers: who may read which line.

use super::findings::Findings;
use super::wrapped::Wrapped;
use crate::parse::frame::{Frame, Stamp};
use crate::parse::kernel_problem::{KernelProblem, KernelProblemReader, OtherKind, Position, Reported, recognise_program};

/// All readers of one log.
#[derive(Debug, Default)]
pub(super) struct Readers {
    wrapped: Wrapped,
    problems: KernelProblemReader,
    forged: u64,
    lost: u64,
}

impl Readers {
    /// Shows a line, which was `width` characters wide, to those who may read it.
    pub(super) fn push(&mut self, line: u64, width: usize, frame: &Frame<'_>, findings: &mut Findings) {
        let boot = match frame.time {
            Some(Stamp::Boot(at)) => Some(at),
            _ => None,
        };
        let at = Position { record: line, boot };
        if let Some(program) = frame.program_name() {
            self.program_line(at, program, &frame.text, findings);
        } else if frame.may_be_kernel() {
            // rsyslog writes a line break inside a message as `#012`.
            let messages = frame.text.lines().flat_map(|text| text.split("#012"));
            messages.for_each(|text| self.kernel_line(at, frame, text, width, findings));
        } else if frame.is_forged() {
            self.forged += 1;
        }
    }

    /// The log is at its end.
    pub(super) fn finish(&mut self, findings: &mut Findings) {
        if let Some((at, text)) = self.wrapped.flush() {
            self.kernel_message(at, &text, findings);
        }
        let rest = self.problems.flush();
        self.take(rest, findings);
    }

    /// How many lines a process had written into the kernel's log.
    pub(super) fn forged(&self) -> u64 {
        self.forged
    }

    /// How many records the log says it lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    fn program_line(&mut self, at: Position, program: &str, text: &str, findings: &mut Findings) {
        if let Some(problem) = recognise_program(program, text) {
            findings.add_problem(Reported { at, problem });
        }
    }

    fn kernel_line(&mut self, at: Position, frame: &Frame<'_>, text: &str, width: usize, findings: &mut Findings) {
        if let Some((at, text)) = self.wrapped.push(at, frame, text, width) {
            self.kernel_message(at, &text, findings);
        }
    }

    fn kernel_message(&mut self, at: Position, text: &str, findings: &mut Findings) {
        let known = self.problems.push(at, text);
        self.take(known, findings);
    }

    fn take(&mut self, known: Vec<Reported>, findings: &mut Findings) {
        for reported in known {
            if let KernelProblem::Other(other) = &reported.problem
                && other.kind == OtherKind::LogLoss
            {
                self.lost += other.count.unwrap_or(1);
            }
            findings.add_problem(reported);
        }
    }
}
