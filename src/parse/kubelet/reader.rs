//! Reads the lines of a node's log in order and says what the kubelet, and PID 1 about it, told.
//!
//! Flows in: each line's text with the program that wrote it, as far as that is known. Flows out:
//! observations one by one ([`KubeletReader`]), or one report a problem ([`KubeletProblems`]).

use super::fold::ProblemFolder;
use super::observe::observe;
use super::report::Report;
use super::situation::Observation;
use super::subject::Subject;
use super::{excerpt::Excerpt, runtime, unit};
use crate::parse::klog::{KlogReader, KlogText, find_header};

/// How far into a line a program's name may stand when nobody took the prefix off.
const LONGEST_PREFIX: usize = 192;

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// A kubelet, or a program that runs one inside.
    Kubelet,
    /// PID 1.
    Systemd,
    /// Nobody says.
    Unknown,
    /// Another program.
    Other,
}

impl Writer {
    fn of(program: &str) -> Self {
        const KUBELETS: [&str; 14] = [
            "kubelet",
            "kubenswrapper",
            "hyperkube",
            "k3s",
            "k3s-agent",
            "rke2",
            "rke2-server",
            "rke2-agent",
            "k0s",
            "k0sworker",
            "k0scontroller",
            "microshift",
            "microk8s.daemon-kubelite",
            "microk8s.daemon-kubelet",
        ];
        let name = program.split('[').next().unwrap_or(program).trim_end_matches(':');
        let name = name.rsplit('/').next().unwrap_or(name);
        if KUBELETS.contains(&name) || name.starts_with("kubelet") || name.starts_with("kubelite") {
            return Self::Kubelet;
        }
        if name == "systemd" { Self::Systemd } else { Self::Other }
    }
}

/// Turns lines into observations.
#[derive(Debug, Default)]
pub struct KubeletReader {
    klog: KlogReader,
}

impl KubeletReader {
    /// Takes the next line. `program` is the syslog identifier or the like, with or without `[pid]`.
    ///
    /// A record may go on in the next line, so what is returned may come from earlier lines.
    pub fn push(&mut self, program: Option<&str>, text: &str) -> Vec<Observation> {
        let (writer, text) = match program {
            Some(program) => (Writer::of(program), text),
            None => tagged(text),
        };
        match writer {
            Writer::Systemd => unit::observe(text).into_iter().collect(),
            Writer::Other => Vec::new(),
            Writer::Kubelet | Writer::Unknown => self.line(writer, text),
        }
    }

    /// Gives what the last record tells, when no more lines will follow it.
    pub fn flush(&mut self) -> Vec<Observation> {
        self.klog.flush().map(|record| tell(&record)).unwrap_or_default()
    }

    fn line(&mut self, writer: Writer, text: &str) -> Vec<Observation> {
        let alone = if writer == Writer::Unknown { unit::observe(text) } else { None };
        if let Some(alone) = alone.or_else(|| embedded_runtime(text)) {
            let mut told = self.flush();
            told.push(alone);
            return told;
        }
        self.klog.push(text).map(|record| tell(&record)).unwrap_or_default()
    }
}

/// Reads `Mar  7 04:05:06 node-1 kubelet[812]: text` when it still has its prefix. The tag must stand
/// in front of a klog header, whose message may contain anything.
fn tagged(text: &str) -> (Writer, &str) {
    let prefix = find_header(text).map_or(text, |found| found.before);
    let prefix = prefix.get(..prefix.floor_char_boundary(LONGEST_PREFIX)).unwrap_or(prefix);
    let Some((head, _)) = prefix.split_once("]: ") else { return (Writer::Unknown, text) };
    let Some((name, pid)) = head.rsplit_once('[') else { return (Writer::Unknown, text) };
    let is_tag = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.rsplit([' ', '\t']).next().filter(|name| !name.is_empty() && is_tag);
    match name.map(Writer::of) {
        None => (Writer::Unknown, text),
        // The reader of blocks goes by the prefix of the first line, so it stays.
        Some(Writer::Kubelet) if find_header(text).is_some() => (Writer::Kubelet, text),
        Some(writer) => (writer, text.get(head.len() + "]: ".len()..).unwrap_or("")),
    }
}

fn tell(record: &KlogText) -> Vec<Observation> {
    observe(&record.record())
}

fn embedded_runtime(text: &str) -> Option<Observation> {
    let situation = runtime::embedded_runtime_ended(text.trim())?;
    Some(Observation { situation, subject: Subject::default(), said: Excerpt::of(text), stamp: None })
}

/// Turns lines into one report a problem.
#[derive(Debug, Default)]
pub struct KubeletProblems {
    reader: KubeletReader,
    folder: ProblemFolder,
}

impl KubeletProblems {
    /// Takes the next line; gives reports only when more problems are open than are kept.
    pub fn push(&mut self, program: Option<&str>, text: &str) -> Vec<Report> {
        let told = self.reader.push(program, text);
        told.into_iter().filter_map(|observation| self.folder.push(observation)).collect()
    }

    /// Gives the rest, in the order of the problems' first lines.
    pub fn finish(&mut self) -> Vec<Report> {
        let told = self.reader.flush();
        let mut reports: Vec<_> = told.into_iter().filter_map(|observation| self.folder.push(observation)).collect();
        reports.extend(self.folder.finish());
        reports
    }
}
