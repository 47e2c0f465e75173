//! Reads the lines of a node's log in order and says what the kubelet, and PID 1 about it, told.
//!
//! Flows in: each line's text with the program that wrote it, as far as that is known. Flows out:
//! observations one by one ([`KubeletReader`]), or one report a problem ([`KubeletProblems`]).

use super::fold::ProblemFolder;
use super::observe::observe;
use super::report::Report;
use super::situation::Observation;
use super::subject::Subject;
use super::{excerpt::Excerpt, runtime, unit, verbosity::Verbosity};
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
    /// A program that nobody knows; its klog lines may be the kubelet's all the same.
    Stranger,
    /// Another program.
    Other,
}

impl Writer {
    fn of(program: &str) -> Self {
        const KUBELETS: [&str; 16] = [
            "kubelet",
            "kubenswrapper",
            "origin-node",
            "atomic-openshift-node",
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
        const OTHERS: [&str; 8] =
            ["kernel", "etcd", "containerd", "dockerd", "crio", "coredns", "cloud-controller-manager", "node-problem-detector"];
        let name = program.split('[').next().unwrap_or(program).trim_end_matches(':');
        let name = name.rsplit('/').next().unwrap_or(name);
        if KUBELETS.contains(&name) || name.starts_with("kubelet") || name.starts_with("kubelite") {
            return Self::Kubelet;
        }
        match name {
            "systemd" => Self::Systemd,
            _ if name.starts_with("kube-") || OTHERS.contains(&name) => Self::Other,
            _ => Self::Stranger,
        }
    }
}

/// Turns the lines of a stream into observations.
#[derive(Debug, Default)]
pub struct KubeletReader {
    klog: KlogReader,
    verbosity: Verbosity,
}

impl KubeletReader {
    /// A reader for text that people copied: lines may be wrapped.
    pub fn for_pasted_text() -> Self {
        Self { klog: KlogReader::for_pasted_text(), ..Self::default() }
    }

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
            Writer::Stranger if find_header(text).is_none_or(|found| found.header.severity.is_none()) => Vec::new(),
            Writer::Other => Vec::new(),
            Writer::Kubelet | Writer::Unknown | Writer::Stranger => self.line(writer, text),
        }
    }

    /// Gives what the last record tells, when no more lines will follow it.
    pub fn flush(&mut self) -> Vec<Observation> {
        let record = self.klog.flush();
        self.tell(record)
    }

    /// Whether a record waits for more lines.
    pub fn is_open(&self) -> bool {
        self.klog.is_open()
    }

    /// The highest `-v` whose lines the newest process of this stream has written.
    pub fn verbosity(&self) -> u8 {
        self.verbosity.seen()
    }

    fn line(&mut self, writer: Writer, text: &str) -> Vec<Observation> {
        let alone = if writer == Writer::Unknown { unit::observe(text) } else { None };
        if let Some(alone) = alone.or_else(|| embedded_runtime(text)) {
            let mut told = self.flush();
            told.push(alone);
            return told;
        }
        let record = self.klog.push(text);
        self.tell(record)
    }

    fn tell(&mut self, record: Option<KlogText>) -> Vec<Observation> {
        let Some(text) = record else { return Vec::new() };
        let record = text.record();
        let told = observe(&record);
        self.verbosity.take(&record, &told);
        told
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
        Some(writer @ (Writer::Kubelet | Writer::Stranger)) if find_header(text).is_some() => (writer, text),
        Some(writer) => (writer, text.get(head.len() + "]: ".len()..).unwrap_or("")),
    }
}

fn embedded_runtime(text: &str) -> Option<Observation> {
    let situation = runtime::embedded_runtime_ended(text.trim())?;
    Some(Observation { situation, subject: Subject::default(), said: Excerpt::of(text), stamp: None })
}

/// Turns the lines of a pasted text or a file into one report a problem.
#[derive(Debug)]
pub struct KubeletProblems {
    reader: KubeletReader,
    folder: ProblemFolder,
}

impl Default for KubeletProblems {
    fn default() -> Self {
        Self { reader: KubeletReader::for_pasted_text(), folder: ProblemFolder::default() }
    }
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

#[cfg(test)]
mod tests {
    use super::super::Situation;
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const UID: &str = "0a1b2c3d-0000-1111-2222-333344445555";
    const BACK_OFF: Situation = Situation::BackOff { delay: Some(Duration::from_secs(160)) };

    fn read(mut reader: KubeletReader, lines: &[(Option<&str>, &str)]) -> Vec<Observation> {
        let mut told: Vec<_> = lines.iter().flat_map(|(program, text)| reader.push(*program, text)).collect();
        told.extend(reader.flush());
        told
    }

    fn back_off() -> String {
        let inner = format!(
            r#"failed to \"StartContainer\" for \"app\" with CrashLoopBackOff: \"back-off 2m40s restarting failed container=app pod=web-0_ns({UID})\""#
        );
        format!(
            "E0307 04:05:06.070809    1234 pod_workers.go:1301] \"Error syncing pod, skipping\" err=\"{inner}\" pod=\"ns/web-0\" podUID=\"{UID}\""
        )
    }

    #[test]
    fn every_distribution_and_every_prefix() {
        let line = back_off();
        let wrapped = format!("time=\"2026-03-07 04:05:06\" level=info msg={line:?} component=kubelet stream=stderr");
        let cases: Vec<(Option<&str>, String)> = vec![
            (Some("kubelet"), line.clone()),
            (Some("kubelet[1234]"), line.clone()),
            (Some("kubenswrapper[1234]:"), line.clone()),
            (Some("/usr/bin/kubelet"), line.clone()),
            (Some("k3s"), line.clone()),
            (Some("microk8s.daemon-kubelite[9]"), line.clone()),
            (Some("microshift"), format!("kubelet {line}")),
            (Some("k0s"), wrapped.clone()),
            (Some("start-node.sh"), line.clone()),
            (None, line.clone()),
            (None, wrapped),
            (None, format!("> {line}")),
            (None, format!("Mar  7 04:05:06 node-1 kubelet[1234]: {line}")),
            (None, format!("Mar 07 04:05:06.070809 node-1 hyperkube[1234]: {line}")),
            (None, format!("  12 Mar  7 04:05:06 node-1 k3s[1234]: {line}")),
            (None, line.replace("E0307 04:05:06.070809    1234 ", "")),
        ];
        for (program, text) in &cases {
            for reader in [KubeletReader::default(), KubeletReader::for_pasted_text()] {
                let told = read(reader, &[(*program, text)]);
                assert_eq!(told.len(), 1, "{program:?} {text}");
                assert_eq!(
                    (told[0].situation.clone(), told[0].subject.path().as_deref()),
                    (BACK_OFF, Some("ns/web-0")),
                    "{program:?} {text}"
                );
            }
        }
    }

    #[test]
    fn other_programs_tell_nothing_of_the_kubelet() {
        let line = back_off();
        for (program, text) in [
            (Some("kernel"), line.clone()),
            (Some("kube-apiserver"), line.clone()),
            (Some("some-app"), "no space left on device".to_owned()),
            (Some("systemd"), line.clone()),
            (None, format!("Mar  7 04:05:06 node-1 kube-scheduler[1]: {line}")),
            (None, format!("time=\"t\" level=info msg={line:?} component=kube-apiserver stream=stderr").replace("Error syncing pod", "x")),
            (None, "kubelet said: Back-off restarting failed container".to_owned()),
        ] {
            assert_eq!(read(KubeletReader::for_pasted_text(), &[(program, &text)]), [], "{program:?} {text}");
        }
    }

    #[test]
    fn forged_lines_keep_their_subject_to_themselves() {
        let text = "I0307 04:05:06.070809 1 prober.go:1] \"Probe failed\" probeType=\"Liveness\" pod=\"ns/a\" containerName=\"app\" output=\"\\\" pod=\\\"kube-system/victim\\\" containerName=\\\"x\"";
        let told = read(KubeletReader::default(), &[(Some("kubelet"), text)]);
        assert_eq!((told[0].subject.path().as_deref(), told[0].subject.container.as_deref()), (Some("ns/a"), Some("app")));
    }

    #[test]
    fn the_words_of_a_unit_with_and_without_its_tag() {
        let text = "kubelet.service: Scheduled restart job, restart counter is at 5.";
        for (program, text) in
            [(Some("systemd[1]"), text.to_owned()), (None, text.to_owned()), (None, format!("Mar  7 04:05:06 node-1 systemd[1]: {text}"))]
        {
            assert_eq!(read(KubeletReader::default(), &[(program, &text)]).len(), 1, "{program:?} {text}");
        }
    }

    #[test]
    fn verbosity_shows_in_what_is_told() {
        let finished = format!(
            "I0307 04:05:06.070809 1 generic.go:1] \"Generic (PLEG): container finished\" podID=\"{UID}\" containerID=\"{}\" exitCode=1",
            "ab".repeat(32)
        );
        let told = read(KubeletReader::default(), &[(Some("kubelet"), &finished), (Some("kubelet"), &back_off())]);
        assert_eq!(told.iter().map(|told| told.situation.min_verbosity()).collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn every_begin_of_a_line_is_survived_and_tells_no_wrong_name() {
        let line = back_off();
        for end in 0..line.len() {
            for told in read(KubeletReader::for_pasted_text(), &[(None, &line[..end])]) {
                assert!(told.subject.path().is_none_or(|path| path == "ns/web-0"), "{end}: {told:?}");
                assert!(told.subject.container.is_none_or(|name| name == "app"), "{end}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_lines_are_survived(lines in proptest::collection::vec(("(kubelet|systemd|k3s\\[1\\]|)", "(E0307 04:05:06.1 1 a.go:1\\] )?[ -~\\té]{0,100}"), 0..40)) {
            let lines: Vec<_> = lines.iter().map(|(program, text)| (Some(program.as_str()).filter(|name| !name.is_empty()), text.as_str())).collect();
            let _ = read(KubeletReader::default(), &lines);
            let _ = read(KubeletReader::for_pasted_text(), &lines);
        }
    }
}
