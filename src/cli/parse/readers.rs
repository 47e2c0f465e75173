//! The seam between a log's lines and the readers: who may read which line.
//!
//! | line | read by |
//! | --- | --- |
//! | signed by the kernel | kernel problems, OOM |
//! | signed by a program | kubelet, user space's own killers |
//! | unsigned | kernel problems and OOM, unless it has the shape of a program's log; kubelet |
//! | written into the kernel's log by a process | nobody |

use super::findings::Findings;
use super::wrapped::Wrapped;
use crate::parse::frame::{Frame, Origin, Stamp};
use crate::parse::kernel_problem::{KernelProblem, KernelProblemReader, OtherKind, Reported, recognise_program};
use crate::parse::klog::find_header;
use crate::parse::kubelet::KubeletProblems;
use crate::parse::oom::{OomAssembler, OomNews, Position};

/// All readers of one log.
#[derive(Debug, Default)]
pub(super) struct Readers {
    wrapped: Wrapped,
    problems: KernelProblemReader,
    oom: OomAssembler,
    kubelet: KubeletProblems,
    forged: u64,
    lost: u64,
}

impl Readers {
    /// Shows a line to those who may read it. `raw` is the line before anything was taken off.
    pub(super) fn push(&mut self, line: u64, raw: &str, frame: &Frame<'_>, findings: &mut Findings) {
        let boot = match frame.time {
            Some(Stamp::Boot(at)) => Some(at),
            _ => None,
        };
        let at = Position { record: line, boot };
        if frame.is_forged() {
            self.forged += 1;
            return;
        }
        match &frame.origin {
            Origin::Program { name, .. } => {
                self.end_message(findings);
                self.program_line(at, name, raw, &frame.text, findings);
            }
            Origin::Kernel => self.kernel_line(at, raw, frame, findings),
            Origin::Unknown => self.unsigned_line(at, raw, frame, findings),
        }
    }

    /// The log is at its end.
    pub(super) fn finish(&mut self, findings: &mut Findings) {
        self.end_message(findings);
        let problems = self.problems.flush();
        self.take_problems(problems, findings);
        let news = self.oom.flush();
        self.take_oom(news, findings);
        self.kubelet.finish().into_iter().for_each(|report| findings.add_kubelet(report));
    }

    /// How many lines a process had written into the kernel's log.
    pub(super) fn forged(&self) -> u64 {
        self.forged
    }

    /// How many records the log says it lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    fn program_line(&mut self, at: Position, program: &str, raw: &str, text: &str, findings: &mut Findings) {
        // The kubelet's reader goes by the width and the prefix of the line that bears a header.
        let headed = find_header(text).is_some() && !raw.starts_with('{');
        self.kubelet_line(Some(program), if headed { raw } else { text }, findings);
        if let Some(problem) = recognise_program(program, text) {
            findings.add_problem(Reported { at, problem });
        }
    }

    fn unsigned_line(&mut self, at: Position, raw: &str, frame: &Frame<'_>, findings: &mut Findings) {
        if frame.may_be_kernel() {
            self.kernel_line(at, raw, frame, findings);
        }
        // Indentation and quote marks say where a block of the kubelet's log goes on.
        self.kubelet_line(None, raw, findings);
    }

    fn kubelet_line(&mut self, program: Option<&str>, text: &str, findings: &mut Findings) {
        self.kubelet.push(program, text).into_iter().for_each(|report| findings.add_kubelet(report));
    }

    fn kernel_line(&mut self, at: Position, raw: &str, frame: &Frame<'_>, findings: &mut Findings) {
        if is_dictionary(raw, frame) {
            return;
        }
        // rsyslog writes a line break inside a message as `#012`.
        for text in frame.text.split('\n').flat_map(|text| text.split("#012")) {
            if let Some((at, text)) = self.wrapped.push(at, frame, text, raw) {
                self.message(at, &text, findings);
            }
        }
    }

    /// Shows a message that is known to be whole.
    fn message(&mut self, at: Position, text: &str, findings: &mut Findings) {
        let news = self.oom.push(at, text);
        self.take_oom(news, findings);
        let known = self.problems.push(at, text);
        self.take_problems(known, findings);
    }

    /// A line of somebody else follows: the kernel's last message is whole.
    fn end_message(&mut self, findings: &mut Findings) {
        if let Some((at, text)) = self.wrapped.flush() {
            self.message(at, &text, findings);
        }
    }

    fn take_problems(&mut self, known: Vec<Reported>, findings: &mut Findings) {
        for reported in known {
            if let KernelProblem::Other(other) = &reported.problem
                && other.kind == OtherKind::LogLoss
            {
                self.lost += other.count.unwrap_or(1);
            }
            findings.add_problem(reported);
        }
    }

    fn take_oom(&mut self, news: Vec<OomNews>, findings: &mut Findings) {
        for news in news {
            match news {
                OomNews::Event(event) | OomNews::Amended(event) => findings.put_oom(*event),
                OomNews::DumpsSuppressed { dumps, .. } => self.lost += dumps,
                OomNews::NothingKilled(_) => {}
            }
        }
    }
}

/// A line of a saved record's dictionary: ` SUBSYSTEM=block`, ` DEVICE=b8:0`.
fn is_dictionary(raw: &str, frame: &Frame<'_>) -> bool {
    let is_key = |key: &str| key.len() > 1 && key.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    !frame.framed && raw.strip_prefix(' ').and_then(|line| line.split_once('=')).is_some_and(|(key, _)| is_key(key))
}
