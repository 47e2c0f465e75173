//! The complete, valid configuration of an agent: what [`crate::args`] resolves to.
//!
//! Nothing in here is an `Option` that means "default", and nothing is read from the machine.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

/// Where the node's files are. Tests use a folder, the DaemonSet the host's mounts, the code is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// The host's `/proc`.
    pub proc: PathBuf,
    /// The `/sys` whose `class/block` lists the machine's disks; any container's does.
    pub sys: PathBuf,
    /// The host's `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
    /// The kernel log's device.
    pub kmsg: PathBuf,
    /// Directories of journal files, persistent and volatile.
    pub journal: Vec<PathBuf>,
    /// The kubelet's directory of container logs.
    pub pod_logs: PathBuf,
    /// Where the kubelet may have its files; the first that exists, unless the kubelet's own flags say.
    pub kubelet: Vec<PathBuf>,
    /// Where the runtime may have images and layers; the first that holds any.
    pub runtime: Vec<PathBuf>,
    /// Where the runtime has images alone, if somebody says so.
    pub images: Option<PathBuf>,
    /// Where CRI-O's directories may be configured; the first file that exists.
    pub container_storage: Vec<PathBuf>,
    /// Files that a kubelet may log to where it does not log to the journal; the first that exists is read.
    pub kubelet_logs: Vec<PathBuf>,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
            cgroup: "/sys/fs/cgroup".into(),
            kmsg: "/dev/kmsg".into(),
            journal: vec!["/var/log/journal".into(), "/run/log/journal".into()],
            pod_logs: "/var/log/pods".into(),
            // Most, k0s, MicroK8s.
            kubelet: ["/var/lib/kubelet", "/var/lib/k0s/kubelet", "/var/snap/microk8s/common/var/lib/kubelet"].map(Into::into).into(),
            // A distribution's own before the usual ones, which may be left from something else.
            runtime: [
                "/var/lib/rancher/k3s/agent/containerd",
                "/var/lib/rancher/rke2/agent/containerd",
                "/var/lib/k0s/containerd",
                "/var/snap/microk8s/common/var/lib/containerd",
                "/var/lib/containerd",
                "/var/lib/containers/storage",
                "/var/lib/docker",
            ]
            .map(Into::into)
            .into(),
            images: None,
            // The administrator's before the one that is shipped (containers-storage.conf(5)).
            container_storage: ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"].map(Into::into).into(),
            // Talos, RKE2, and k3s under OpenRC.
            kubelet_logs: ["/var/log/kubelet.log", "/var/lib/rancher/rke2/agent/logs/kubelet.log", "/var/log/k3s.log"]
                .map(Into::into)
                .into(),
        }
    }
}

/// Which transport of the kernel's log to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum KernelLogChoice {
    /// The first that works, in the order kmsg, journal, syslog.
    #[default]
    Auto,
    /// `/dev/kmsg`: exact loss, event-driven; needs the device.
    Kmsg,
    /// `syslog(2)`: needs CAP_SYSLOG and no mount; losses are not counted.
    Syslog,
    /// systemd's journal: needs its directories.
    Journal,
    /// None.
    None,
}

/// Where to read the kubelet's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KubeletLogChoice {
    /// The journal if the kubelet logs there, else the first of the files that exists.
    #[default]
    Auto,
    /// systemd's journal.
    Journal,
    /// This file.
    File(PathBuf),
    /// None.
    None,
}

impl FromStr for KubeletLogChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "journal" => Ok(Self::Journal),
            "none" => Ok(Self::None),
            path if path.starts_with('/') => Ok(Self::File(path.into())),
            _ => Err("give auto, journal, none, or a file's absolute path".into()),
        }
    }
}

impl fmt::Display for KubeletLogChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Journal => f.write_str("journal"),
            Self::File(path) => path.display().fmt(f),
            Self::None => f.write_str("none"),
        }
    }
}

/// Which systemd units run the kubelet and the container runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units {
    /// The kubelet's.
    pub kubelet: UnitChoice,
    /// The runtime's.
    pub runtime: UnitChoice,
}

/// The units of one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UnitChoice {
    /// Those that distributions have.
    #[default]
    Known,
    /// These and no others.
    Named(Vec<UnitName>),
}

impl UnitChoice {
    /// Of the names that were given; none is no decision.
    pub fn of(names: Vec<UnitName>) -> Self {
        if names.is_empty() { Self::Known } else { Self::Named(names) }
    }
}

/// The whole name of a systemd service, such as `kubelet.service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitName(String);

impl UnitName {
    /// The longest that systemd takes (src/basic/unit-name.h, `UNIT_NAME_MAX`).
    const LONGEST: usize = 256;
    /// Kinds of units in which no program runs (systemd.unit(5)), by the end of their names.
    const OF_NO_PROGRAM: [&str; 9] = [".socket", ".target", ".device", ".mount", ".automount", ".swap", ".timer", ".path", ".slice"];

    /// As systemd writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnitName {
    type Err = String;

    /// `kubelet` is `kubelet.service`, as for `systemctl`.
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "give the unit's name as `systemctl list-units --type=service` shows it, such as kubelet.service";
        let is_valid = |letter: char| letter.is_ascii_alphanumeric() || ":-_.\\@".contains(letter);
        if text.is_empty() {
            return Err(format!("the name is empty; {FORM}"));
        }
        if let Some(wrong) = text.chars().find(|letter| !is_valid(*letter)) {
            return Err(format!("no unit's name has {wrong:?} in it; {FORM}"));
        }
        if let Some(kind) = Self::OF_NO_PROGRAM.iter().find(|kind| text.ends_with(**kind)) {
            return Err(format!("no program runs in a unit that ends with {kind}; {FORM}"));
        }
        let is_whole = text.ends_with(".service") || text.ends_with(".scope");
        let name = if is_whole { text.to_owned() } else { format!("{text}.service") };
        if name.len() >= Self::LONGEST {
            return Err(format!("the name is longer than systemd's names are; {FORM}"));
        }
        Ok(Self(name))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where to learn of this node's pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PodSourceChoice {
    /// The API server in a cluster; the kubelet's log directory everywhere.
    #[default]
    Auto,
    /// Only the kubelet's log directory.
    Directory,
    /// Nowhere: pods are known by their uid.
    None,
}

/// Whether to watch the node's disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DisksChoice {
    /// The filesystems of the kubelet and the runtime, the kubelet's thresholds, what pods have on the disks.
    #[default]
    Auto,
    /// Not at all.
    None,
}

/// How to ask the kubelet of this node over HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletApi {
    /// Where it listens.
    pub address: KubeletAddress,
    /// The file with the token that says who asks.
    pub token_file: PathBuf,
    /// How its certificate is checked.
    pub trust: Trust,
}

/// How a server's certificate is checked before anything, a token least of all, is said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It has to be signed by an authority in this file, and for the address that is asked.
    Authority(PathBuf),
    /// It is not: whoever answers at the address is given the token.
    Anybody,
}

/// `https://HOST:PORT` of a kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletAddress(String);

impl KubeletAddress {
    /// The port of a kubelet's API (cmd/kubelet/app, `ports.KubeletPort`).
    const PORT: u16 = 10250;

    /// As a URL without a path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KubeletAddress {
    type Err = String;

    /// Also takes an IPv6 address without brackets, which is how a pod is told its node's address.
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "give https://HOST:PORT, such as https://10.0.0.7:10250";
        let rest = text.strip_prefix("https://").ok_or(format!("{FORM}; without TLS a token would be open to the network"))?;
        let rest = rest.trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !rest.ends_with(']') => (host, port.parse().map_err(|_| format!("`{port}` is no port; {FORM}"))?),
            _ => (rest, Self::PORT),
        };
        let host = match host.parse::<Ipv6Addr>() {
            Ok(bare) => format!("[{bare}]"),
            Err(_) => host.to_owned(),
        };
        if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) || (host.contains(':') && !host.starts_with('[')) {
            return Err(format!("`{text}` names no host; {FORM}"));
        }
        Ok(Self(format!("https://{host}:{port}")))
    }
}

impl fmt::Display for KubeletAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Everything that an agent needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// The node's name; `None` for the host's.
    pub node_name: Option<String>,
    /// Where the node's files are.
    pub roots: Roots,
    /// How to read the kernel's log.
    pub kernel_log: KernelLogChoice,
    /// Where to read the kubelet's log.
    pub kubelet_log: KubeletLogChoice,
    /// Whose units the journal's lines are about.
    pub units: Units,
    /// Where to learn of pods.
    pub pods: PodSourceChoice,
    /// Whether to watch the disks.
    pub disks: DisksChoice,
    /// How to ask the kubelet itself; `None` not to.
    pub kubelet_api: Option<KubeletApi>,
    /// Whether to tell the last lines of dead containers' logs themselves, not only their class.
    pub log_excerpts: bool,
    /// Whether to explain what the kernel's log still holds from before the start.
    pub history: bool,
    /// How findings are printed.
    pub output: Output,
    /// Where to serve; `None` to serve nothing.
    pub listen: Option<SocketAddr>,
    /// The file whose token readers of findings have to present when they are not on this machine;
    /// without one, only readers on this machine may.
    pub token_file: Option<PathBuf>,
    /// Where to keep state; `None` to keep none.
    pub state_dir: Option<PathBuf>,
    /// Where to record signals; `None` not to.
    pub record: Option<PathBuf>,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The token file cannot be read.
    #[error("--token-file {path}: {source}; give a file that this process may read")]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token file is empty.
    #[error("--token-file {0}: the file holds no token; write one into it")]
    EmptyToken(PathBuf),
    /// Units are named, and the journal, which tells of units, is not read.
    #[error(
        "--kubelet-unit and --runtime-unit name units of the journal, and --kubelet-log {0} does not read it; leave them out, or choose --kubelet-log auto"
    )]
    UnitsWithoutJournal(KubeletLogChoice),
}

impl AgentConfig {
    /// Holds what was configured against the machine, before anything is started.
    ///
    /// # Errors
    /// The token file cannot be read or is empty; options contradict each other.
    pub fn check(self) -> Result<Self, ConfigError> {
        let reads_journal = matches!(self.kubelet_log, KubeletLogChoice::Auto | KubeletLogChoice::Journal);
        if self.units != Units::default() && !reads_journal {
            return Err(ConfigError::UnitsWithoutJournal(self.kubelet_log));
        }
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Token { path: path.clone(), source })?;
            if text.trim().is_empty() {
                return Err(ConfigError::EmptyToken(path.clone()));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_named_as_systemctl_takes_it() {
        let read = |text: &str| text.parse::<UnitName>().map(|name| name.to_string());
        for (text, expected) in [
            ("node-agent", "node-agent.service"),
            ("node-agent.service", "node-agent.service"),
            ("snap.microk8s.daemon-kubelite", "snap.microk8s.daemon-kubelite.service"),
            ("kubelet@blue", "kubelet@blue.service"),
            ("run-1.scope", "run-1.scope"),
            ("a\\x2db", "a\\x2db.service"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        let long = "x".repeat(250);
        for wrong in ["", " ", "a b", "a/b", "kubelet,k3s", "k\u{fc}bel", "multi-user.target", "kubepods.slice", &long] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.contains("systemctl list-units"), "{error}");
        }
    }

    #[test]
    fn a_kubelets_address_is_https_and_nothing_more() {
        let read = |text: &str| text.parse::<KubeletAddress>().map(|address| address.as_str().to_owned());
        for (text, expected) in [
            ("https://10.0.0.7:10250", "https://10.0.0.7:10250"),
            ("https://10.0.0.7:10250/", "https://10.0.0.7:10250"),
            ("https://node-1", "https://node-1:10250"),
            ("https://[fd00::7]", "https://[fd00::7]:10250"),
            ("https://[fd00::7]:1", "https://[fd00::7]:1"),
            ("https://fd00::7:10250", "https://[fd00::7]:10250"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "10.0.0.7:10250",
            "http://10.0.0.7:10255",
            "https://",
            "https://:10250",
            "https://a:b",
            "https://a:1/pods",
            "https://a@b:1",
        ] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.contains("https://HOST:PORT"), "{error}");
        }
        assert!(read("http://10.0.0.7:10255").expect_err("no TLS").contains("token"));
    }
}
