//! The complete, valid configuration of an agent: what [`crate::args`] resolves to.
//!
//! Nothing in here is an `Option` that means "default", and nothing is read from the machine.

use std::path::PathBuf;

/// Where the node's files are. Tests use a folder, the DaemonSet the host's mounts, the code is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// The host's `/proc`.
    pub proc: PathBuf,
    /// The host's `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
    /// The kernel log's device.
    pub kmsg: PathBuf,
    /// Directories of journal files, persistent and volatile.
    pub journal: Vec<PathBuf>,
    /// The kubelet's directory of container logs.
    pub pod_logs: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            cgroup: "/sys/fs/cgroup".into(),
            kmsg: "/dev/kmsg".into(),
            journal: vec!["/var/log/journal".into(), "/run/log/journal".into()],
            pod_logs: "/var/log/pods".into(),
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
    /// `syslog(2)`: needs CAP_SYSLOG and no mount; polled.
    Syslog,
    /// systemd's journal: needs its directories.
    Journal,
    /// None.
    None,
}
