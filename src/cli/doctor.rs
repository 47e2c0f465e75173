//! `nodewhy doctor`: for every source, whether it can be read, what it lacks, how to grant it.

use super::NO;
use crate::{
    args::SourceArgs,
    config::{Output, PodSourceChoice, Roots},
    diagnosis::eviction::effective,
    signal::SourceState,
    sources::{cgroups, disks, kernel_log, kubelet_api, kubelet_log, mounts, node_facts, pods},
};
use std::{io::Write, path::Path, process::ExitCode};

/// One line of the answer.
struct Line {
    source: String,
    state: SourceState,
    detail: String,
    remedy: Option<String>,
}

pub fn run(args: &SourceArgs) -> anyhow::Result<ExitCode> {
    args.resolve(Output::Human).check()?;
    let roots = args.roots();
    let facts = node_facts::read(&roots, args.node_name.as_deref())?;
    let log: Vec<_> = kernel_log::probe(args.kernel_log, &roots, &facts.boot_id).into_iter().map(Line::from).collect();
    let cgroups = cgroups_line(&roots.cgroup);
    let explains_kills = log.iter().chain([&cgroups]).any(Line::is_up);
    let kubelet = Line::from(kubelet_log::probe(&args.kubelet_log, &args.units(), &roots, &facts.boot_id));
    let disks = disks_line(&roots, &facts.node);
    let others = [kubelet, processes_line(&roots.proc), mounts_line(&roots), pod_logs_line(&roots.pod_logs), disks, pods_line(args.pods)];
    let mut out = std::io::stdout().lock();
    writeln!(out, "node {}, kernel {}, boot {}", facts.node, facts.kernel, facts.boot_id)?;
    let api = kubelet_api_line(args)?;
    for line in log.iter().chain([&cgroups]).chain(&others).chain(&api) {
        line.write(&mut out)?;
    }
    let answer = if explains_kills {
        "the agent would be useful here"
    } else {
        "the agent could not explain kills here: it needs the kernel's log or the cgroups' counters"
    };
    writeln!(out, "\n{answer}")?;
    Ok(if explains_kills { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn disks_line(roots: &Roots, node: &str) -> Line {
    let (state, detail, settings) = disks::probe(roots, node);
    let misread = effective(&settings).err().filter(|why| !detail.contains(why.as_str()));
    let remedy = misread.map(|why| format!("the thresholds are not known: {why}; a kubelet does not start with that"));
    Line { source: "disks".into(), state, detail, remedy }
}

impl Line {
    fn is_up(&self) -> bool {
        self.state == SourceState::Up
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "{:<20} {:<10} {}", self.source, self.state.as_str(), self.detail)?;
        match &self.remedy {
            Some(remedy) => writeln!(out, "{:<31} -> {remedy}", ""),
            None => Ok(()),
        }
    }

    fn of_path(source: &str, path: &Path, read: std::io::Result<String>, remedy: &str) -> Self {
        match read {
            Ok(detail) => Self { source: source.into(), state: SourceState::Up, detail, remedy: None },
            Err(error) => {
                let state = match error.kind() {
                    std::io::ErrorKind::NotFound => SourceState::Absent,
                    std::io::ErrorKind::PermissionDenied => SourceState::Unreadable,
                    _ => SourceState::Failing,
                };
                Self { source: source.into(), state, detail: format!("{}: {error}", path.display()), remedy: Some(remedy.into()) }
            }
        }
    }
}

impl From<kernel_log::Probe> for Line {
    fn from(probe: kernel_log::Probe) -> Self {
        Self { source: format!("kernel_log/{}", probe.transport), state: probe.state, detail: probe.detail, remedy: probe.remedy }
    }
}

impl From<kubelet_log::Probe> for Line {
    fn from(probe: kubelet_log::Probe) -> Self {
        Self { source: "kubelet_log".into(), state: probe.state, detail: probe.detail, remedy: probe.remedy }
    }
}

fn cgroups_line(root: &Path) -> Line {
    match cgroups::Layout::find(root) {
        Ok(layout) => Line {
            source: "cgroups".into(),
            state: SourceState::Up,
            detail: format!("{:?} memory hierarchy at {}", layout.version(), layout.memory().display()).to_lowercase(),
            remedy: None,
        },
        Err(error) => Line {
            source: "cgroups".into(),
            state: error.state(),
            detail: error.to_string(),
            remedy: Some("mount the host's /sys/fs/cgroup read-only and name it with --cgroup-root".into()),
        },
    }
}

fn processes_line(proc: &Path) -> Line {
    let read = std::fs::read_to_string(proc.join("1/status")).map(|_| format!("{}: processes can be read", proc.display()));
    Line::of_path("processes", proc, read, "mount the host's /proc read-only (without hidepid) and name it with --proc-root")
}

fn mounts_line(roots: &Roots) -> Line {
    let (state, detail, remedy) = mounts::probe(roots);
    Line { source: "mounts".into(), state, detail, remedy }
}

fn pod_logs_line(dir: &Path) -> Line {
    let read = std::fs::read_dir(dir).map(|entries| format!("{}: {} pods named", dir.display(), entries.count()));
    Line::of_path("pod_logs", dir, read, "only needed without an API server: mount the host's /var/log/pods and name it with --pod-log-dir")
}

/// Nothing where it is not to be asked.
fn kubelet_api_line(args: &SourceArgs) -> anyhow::Result<Option<Line>> {
    let Some(api) = args.kubelet_api() else { return Ok(None) };
    let (state, detail, remedy) = kubelet_api::probe(&api)?;
    Ok(Some(Line { source: "kubelet_api".into(), state, detail, remedy }))
}

fn pods_line(choice: PodSourceChoice) -> Line {
    let (state, detail, remedy) = match choice {
        PodSourceChoice::Auto if pods::is_configured() => (SourceState::Up, "API server: in a cluster, with a service account", None),
        PodSourceChoice::Auto => {
            (SourceState::Absent, "not in a cluster", Some("pods are named by the log directory, else by their uid".to_owned()))
        }
        _ => (SourceState::Absent, "not asked for", Some("choose --pods auto".to_owned())),
    };
    Line { source: "pods".into(), state, detail: detail.into(), remedy }
}
