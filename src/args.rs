//! What was typed. [`crate::config`] is what it resolves to.

use crate::{
    cli,
    config::{
        AgentConfig, ConfigError, DisksChoice, KernelLogChoice, KubeletAddress, KubeletApi, KubeletLogChoice, Output, PodSourceChoice,
        Roots, Trust, UnitChoice, UnitName, Units,
    },
};
use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// Explains why containers die on this node: which limit, who held the memory, and whether the node or the workload is at fault.
#[derive(Debug, Parser)]
#[command(name = "nodewhy", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this node, explain what dies, and serve metrics and findings until stopped.
    Agent(AgentArgs),
    /// Let the real kernel kill a process in a pod-shaped cgroup, explain it, and exit.
    Demo(DemoArgs),
    /// Say for every source whether it can be read, what it lacks, and how to grant it.
    Doctor(SourceArgs),
    /// Read a saved log or a pipe and print one JSON object a line for every problem in it.
    Parse(cli::parse::Args),
    /// Record what the sources say, to be replayed elsewhere.
    Record(RecordArgs),
    /// Explain a recording, as the agent would have.
    Replay(ReplayArgs),
    /// Print what the agent of this node has found; exit status 1 if there is anything.
    Findings(FindingsArgs),
    /// Ask an agent whether it can do its work and which sources it can read; exit status 1 if it cannot.
    Ready(ReadyArgs),
    /// List every cause that a finding can have, and what it means.
    Causes(OutputArgs),
}

/// Where the node's files are and which sources to read.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// This node's name, as Kubernetes knows it; by default the host's name.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// The host's /proc.
    #[arg(long, env = "NODEWHY_PROC_ROOT", default_value_os_t = Roots::default().proc)]
    pub proc_root: PathBuf,
    /// The /sys that lists the machine's disks; the agent's own does, in a container too.
    #[arg(long, env = "NODEWHY_SYS_ROOT", default_value_os_t = Roots::default().sys)]
    pub sys_root: PathBuf,
    /// The host's /sys/fs/cgroup.
    #[arg(long, env = "NODEWHY_CGROUP_ROOT", default_value_os_t = Roots::default().cgroup)]
    pub cgroup_root: PathBuf,
    /// The kernel log's device.
    #[arg(long, env = "NODEWHY_KMSG", default_value_os_t = Roots::default().kmsg)]
    pub kmsg: PathBuf,
    /// A directory of journal files; may be given several times.
    #[arg(long = "journal-dir", env = "NODEWHY_JOURNAL_DIRS", value_delimiter = ':', default_values_os_t = Roots::default().journal)]
    pub journal_dirs: Vec<PathBuf>,
    /// The kubelet's directory of container logs: names pods without an API server.
    #[arg(long, env = "NODEWHY_POD_LOG_DIR", default_value_os_t = Roots::default().pod_logs)]
    pub pod_log_dir: PathBuf,
    /// The kubelet's directory, as the host names it; by default the kubelet's own --root-dir, or where distributions have it.
    #[arg(long, env = "NODEWHY_KUBELET_ROOT")]
    pub kubelet_root: Option<PathBuf>,
    /// The container runtime's directory of images and layers; by default where runtimes and distributions have it.
    #[arg(long, env = "NODEWHY_RUNTIME_ROOT")]
    pub runtime_root: Option<PathBuf>,
    /// The directory that CRI-O keeps images in, where that is not the one of the layers (`imagestore`); by default as its storage.conf says.
    #[arg(long, env = "NODEWHY_IMAGE_ROOT")]
    pub image_root: Option<PathBuf>,
    /// How to read the kernel's log; auto takes the first that works and says why not the others.
    #[arg(long, env = "NODEWHY_KERNEL_LOG", value_enum, default_value_t)]
    pub kernel_log: KernelLogChoice,
    /// Where to read the kubelet's log: auto, journal, none, or a file's absolute path.
    #[arg(long, env = "NODEWHY_KUBELET_LOG", value_name = "WHERE", default_value_t)]
    pub kubelet_log: KubeletLogChoice,
    /// The systemd unit that the kubelet runs in, instead of those that distributions have; may be given several times or with commas.
    #[arg(long = "kubelet-unit", env = "NODEWHY_KUBELET_UNIT", value_name = "UNIT", value_delimiter = ',')]
    pub kubelet_units: Vec<UnitName>,
    /// The systemd unit that the container runtime runs in, likewise.
    #[arg(long = "runtime-unit", env = "NODEWHY_RUNTIME_UNIT", value_name = "UNIT", value_delimiter = ',')]
    pub runtime_units: Vec<UnitName>,
    /// Where to learn of this node's pods; auto asks the API server when running in a cluster.
    #[arg(long, env = "NODEWHY_PODS", value_enum, default_value_t)]
    pub pods: PodSourceChoice,
    /// Whether to watch the disks that the kubelet evicts pods for.
    #[arg(long, env = "NODEWHY_DISKS", value_enum, default_value_t)]
    pub disks: DisksChoice,
    /// Ask the kubelet of this node for its thresholds and for counts of failed probes: https://HOST:PORT. Needs `get` on nodes/configz and nodes/metrics.
    #[arg(long, env = "NODEWHY_KUBELET_API", value_name = "URL")]
    pub kubelet_api: Option<KubeletAddress>,
    /// The authorities that may have signed the kubelet's serving certificate.
    #[arg(long, env = "NODEWHY_KUBELET_CA", value_name = "FILE", default_value = SERVICE_ACCOUNT_CA)]
    pub kubelet_ca: PathBuf,
    /// Do not check the kubelet's certificate: whoever answers at its address is given the token.
    #[arg(long, env = "NODEWHY_KUBELET_INSECURE_SKIP_VERIFY")]
    pub kubelet_insecure_skip_verify: bool,
    /// The token that the kubelet is shown.
    #[arg(long, env = "NODEWHY_KUBELET_TOKEN_FILE", value_name = "FILE", default_value = SERVICE_ACCOUNT_TOKEN)]
    pub kubelet_token_file: PathBuf,
}

/// Where a pod finds the cluster's authority and its own token (Kubernetes mounts them there in every version).
const SERVICE_ACCOUNT_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How findings are printed.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// For people, or one JSON object a line.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Options of `agent`.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Where to serve /metrics, /healthz, /readyz and /api/v1/findings.
    #[arg(long, env = "NODEWHY_LISTEN", default_value = "127.0.0.1:9909")]
    listen: SocketAddr,
    /// A file with the token that readers of findings need when the address is not loopback.
    #[arg(long, env = "NODEWHY_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Where positions, counters and findings are kept over restarts; a directory that a reboot empties.
    #[arg(long, env = "NODEWHY_STATE_DIR", default_value = "/run/nodewhy")]
    state_dir: PathBuf,
    /// Tell the last lines of dead containers' logs as well, cut and without credentials: in the agent's own output, and to readers that present the token.
    #[arg(long, env = "NODEWHY_LOG_EXCERPTS")]
    log_excerpts: bool,
    /// Also write every signal to this recording.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Begin with a demonstration: a real kill by the kernel in a pod-shaped cgroup.
    #[arg(long)]
    demonstrate: bool,
}

/// Options of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Options of `findings`.
#[derive(Debug, Clone, Args)]
pub struct FindingsArgs {
    /// How findings are printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Where the agent serves.
    #[arg(long, env = "NODEWHY_ADDRESS", value_name = "HOST:PORT", default_value = "127.0.0.1:9909")]
    pub address: String,
    /// Also what has been resolved.
    #[arg(long)]
    pub all: bool,
}

/// Options of `ready`.
#[derive(Debug, Clone, Args)]
pub struct ReadyArgs {
    /// How the answer is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Where the agent serves.
    #[arg(long, env = "NODEWHY_ADDRESS", value_name = "HOST:PORT", default_value = "127.0.0.1:9909")]
    pub address: String,
}

/// Options of `record`.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// The recording to write.
    pub out: PathBuf,
    /// Stop after this many seconds; without it, on Ctrl-C.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
}

/// Options of `replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// How findings are printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// The recording to read.
    pub recording: PathBuf,
    /// As fast as possible, or with the pauses of the recording.
    #[arg(long, value_enum, default_value_t)]
    pub speed: SpeedArg,
    /// Print the findings at the end as the JSON of /api/v1/findings, instead of each change.
    #[arg(long)]
    pub summary: bool,
}

/// `--speed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SpeedArg {
    /// As fast as possible.
    #[default]
    Max,
    /// With the pauses of the recording.
    Real,
}

impl SourceArgs {
    /// The roots.
    pub fn roots(&self) -> Roots {
        Roots {
            proc: self.proc_root.clone(),
            sys: self.sys_root.clone(),
            cgroup: self.cgroup_root.clone(),
            kmsg: self.kmsg.clone(),
            journal: self.journal_dirs.clone(),
            pod_logs: self.pod_log_dir.clone(),
            kubelet: self.kubelet_root.clone().map_or_else(|| Roots::default().kubelet, |path| vec![path]),
            runtime: self.runtime_root.clone().map_or_else(|| Roots::default().runtime, |path| vec![path]),
            images: self.image_root.clone(),
            container_storage: Roots::default().container_storage,
            kubelet_logs: Roots::default().kubelet_logs,
        }
    }

    /// The units of kubelet and runtime.
    pub fn units(&self) -> Units {
        Units { kubelet: UnitChoice::of(self.kubelet_units.clone()), runtime: UnitChoice::of(self.runtime_units.clone()) }
    }

    /// How to ask the kubelet, if it is to be asked.
    pub fn kubelet_api(&self) -> Option<KubeletApi> {
        let address = self.kubelet_api.clone()?;
        let trust = if self.kubelet_insecure_skip_verify { Trust::Anybody } else { Trust::Authority(self.kubelet_ca.clone()) };
        Some(KubeletApi { address, token_file: self.kubelet_token_file.clone(), trust })
    }

    /// The configuration of an agent that serves nothing and keeps nothing.
    pub fn resolve(&self, output: Output) -> AgentConfig {
        AgentConfig {
            node_name: self.node_name.clone().filter(|name| !name.is_empty()),
            roots: self.roots(),
            kernel_log: self.kernel_log,
            kubelet_log: self.kubelet_log.clone(),
            units: self.units(),
            pods: self.pods,
            disks: self.disks,
            kubelet_api: self.kubelet_api(),
            log_excerpts: false,
            history: true,
            output,
            listen: None,
            token_file: None,
            state_dir: None,
            record: None,
        }
    }
}

impl AgentArgs {
    /// The complete configuration.
    ///
    /// # Errors
    /// Everything that is wrong, told at once.
    pub fn resolve(&self) -> Result<AgentConfig, ConfigError> {
        let config = AgentConfig {
            listen: Some(self.listen),
            token_file: self.token_file.clone(),
            state_dir: Some(self.state_dir.clone()),
            record: self.record.clone(),
            log_excerpts: self.log_excerpts,
            ..self.sources.resolve(self.output.output)
        };
        config.check()
    }

    /// Whether to begin with a demonstration.
    pub const fn demonstrate(&self) -> bool {
        self.demonstrate
    }
}

impl DemoArgs {
    /// The complete configuration.
    pub fn resolve(&self) -> AgentConfig {
        AgentConfig {
            pods: PodSourceChoice::None,
            disks: DisksChoice::None,
            kubelet_log: KubeletLogChoice::None,
            units: Units::default(),
            kubelet_api: None,
            history: false,
            ..self.sources.resolve(self.output.output)
        }
    }
}

impl RecordArgs {
    /// The complete configuration.
    ///
    /// # Errors
    /// Options contradict each other.
    pub fn resolve(&self) -> Result<AgentConfig, ConfigError> {
        AgentConfig { record: Some(self.out.clone()), ..self.sources.resolve(Output::Human) }.check()
    }
}
