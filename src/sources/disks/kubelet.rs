//! The kubelet's own process: which one it is, and the few flags that say where its files are and
//! when it evicts.
//!
//! Flows in: the host's `/proc`. Flows out: a [`Kubelet`]. Command lines may hold secrets: only the
//! flags of [`FLAGS`] are ever kept.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// The flags that matter (cmd/kubelet/app/options/options.go).
const FLAGS: [&str; 8] = [
    "root-dir",
    "config",
    "config-dir",
    "eviction-hard",
    "eviction-soft",
    "eviction-soft-grace-period",
    "container-runtime-endpoint",
    "hostname-override",
];

/// Names (`comm`) of programs that are a kubelet or hold one: the kubelet itself (also RKE2's, k0s's
/// and OpenShift's), k3s, MicroK8s.
const PROGRAMS: [&str; 5] = ["kubelet", "k3s-server", "k3s-agent", "k3s", "kubelite"];

/// The longest command line that is read: the kernel allows more, a kubelet's has some 2 KiB.
const LONGEST: u64 = 64 << 10;

/// MicroK8s's kubelet has its flags in a file, one a line, with the snap's variables in them.
const MICROK8S_FLAGS: &str = "/var/snap/microk8s/current/args/kubelet";
const SNAP_VARIABLES: [(&str, &str); 2] = [("${SNAP_COMMON}", "/var/snap/microk8s/common"), ("${SNAP_DATA}", "/var/snap/microk8s/current")];

/// k3s writes its kubelet's defaults there (from 1.32 on) and lets people add theirs.
const K3S_DROP_INS: &str = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d";

/// A running kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kubelet {
    /// Its process id.
    pub pid: u32,
    /// Its start in clock ticks since boot: another kubelet is another configuration.
    pub start_ticks: u64,
    /// The program's name.
    pub program: String,
    flags: BTreeMap<String, String>,
}

impl Kubelet {
    /// The kubelet of this node. Where several run on one kernel, it is the one that calls itself by
    /// the node's name, else one that has no other name, else the first.
    pub fn find(proc: &Path, node: &str) -> Option<Self> {
        let mut found = all(proc);
        found.sort_by_key(|kubelet| match kubelet.flag("hostname-override") {
            Some(name) if name == node => (0, kubelet.pid),
            None => (1, kubelet.pid),
            Some(_) => (2, kubelet.pid),
        });
        found.into_iter().next()
    }

    /// Whether it still runs.
    pub fn lives(&self, proc: &Path) -> bool {
        start_ticks(proc, self.pid) == Some(self.start_ticks)
    }

    /// The value of one of the flags.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.get(name).map(String::as_str)
    }

    /// `--root-dir`.
    pub fn root_dir(&self) -> Option<PathBuf> {
        self.flag("root-dir").map(PathBuf::from)
    }

    #[cfg(test)]
    pub fn with_flags(arguments: &[&str]) -> Self {
        let flags = flags(arguments.iter().map(ToString::to_string));
        Self { pid: 1, start_ticks: 1, program: "kubelet".into(), flags }
    }
}

fn all(proc: &Path) -> Vec<Kubelet> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| of_process(proc, pid)).collect()
}

fn of_process(proc: &Path, pid: u32) -> Option<Kubelet> {
    let entry = proc.join(pid.to_string());
    let program = text(&entry.join("comm"))?.trim_end().to_owned();
    if !PROGRAMS.contains(&program.as_str()) {
        return None;
    }
    let line = text(&entry.join("cmdline"))?;
    let mut flags = flags(line.split('\0').skip(1).map(str::to_owned));
    match program.as_str() {
        "kubelite" => flags.extend(flags_of_microk8s(&text(Path::new(MICROK8S_FLAGS)).unwrap_or_default())),
        "kubelet" => {}
        _ => drop(flags.entry("config-dir".into()).or_insert_with(|| K3S_DROP_INS.into())),
    }
    Some(Kubelet { pid, start_ticks: start_ticks(proc, pid)?, program, flags })
}

/// `--flag=value` and `--flag value`; k3s hands its kubelet's flags on as `--kubelet-arg=flag=value`.
fn flags(arguments: impl Iterator<Item = String>) -> BTreeMap<String, String> {
    let mut flags = BTreeMap::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.strip_prefix("--") else { continue };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag.to_owned(), arguments.next_if(|next| !next.starts_with('-'))),
        };
        let (name, value) = match value {
            Some(value) if name == "kubelet-arg" => match value.split_once('=') {
                Some((name, value)) => (name.to_owned(), value.to_owned()),
                None => continue,
            },
            Some(value) => (name, value),
            None => continue,
        };
        if FLAGS.contains(&name.as_str()) {
            flags.insert(name, value);
        }
    }
    flags
}

fn flags_of_microk8s(file: &str) -> BTreeMap<String, String> {
    let expanded = |line: &str| SNAP_VARIABLES.iter().fold(line.trim().to_owned(), |line, (name, value)| line.replace(name, value));
    flags(file.lines().map(expanded).map(|line| line.replace('"', "")))
}

/// Field 22 of `/proc/<pid>/stat`, counted behind the name, which may hold anything.
fn start_ticks(proc: &Path, pid: u32) -> Option<u64> {
    const BEHIND_NAME: usize = 19;
    let stat = text(&proc.join(pid.to_string()).join("stat"))?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(BEHIND_NAME)?.parse().ok()
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn process(proc: &Path, pid: u32, comm: &str, arguments: &[&str]) {
        let entry = proc.join(pid.to_string());
        fs::create_dir_all(&entry).expect("dir");
        fs::write(entry.join("comm"), format!("{comm}\n")).expect("comm");
        fs::write(entry.join("cmdline"), format!("{comm}\0{}\0", arguments.join("\0"))).expect("cmdline");
        let fields = (4..=52).map(|n| if n == 22 { "777".to_owned() } else { n.to_string() }).collect::<Vec<_>>();
        fs::write(entry.join("stat"), format!("{pid} (odd ) name) S {}", fields.join(" "))).expect("stat");
    }

    #[test]
    fn the_kubelet_with_this_nodes_name_is_ours() {
        let proc = tempfile::tempdir().expect("dir");
        process(proc.path(), 7, "bash", &["--config=/elsewhere"]);
        process(proc.path(), 10, "kubelet", &["--hostname-override=host1", "--root-dir=/one"]);
        process(proc.path(), 20, "kubelet", &["--hostname-override", "host2", "--root-dir", "/two", "--v=2"]);
        let root = |node| Kubelet::find(proc.path(), node).expect("found").root_dir().expect("given");
        assert_eq!(root("host2"), PathBuf::from("/two"));
        assert_eq!(root("host1"), PathBuf::from("/one"));
        process(proc.path(), 30, "kubelet", &["--root-dir=/three"]);
        assert_eq!(root("host3"), PathBuf::from("/three"), "the one without another name");
    }

    #[test]
    fn a_restart_is_another_kubelet() {
        let proc = tempfile::tempdir().expect("dir");
        process(proc.path(), 10, "kubelet", &[]);
        let kubelet = Kubelet::find(proc.path(), "").expect("found");
        assert_eq!(kubelet.start_ticks, 777);
        assert!(kubelet.lives(proc.path()));
        assert!(!Kubelet { start_ticks: 1, ..kubelet.clone() }.lives(proc.path()));
        fs::remove_dir_all(proc.path().join("10")).expect("end");
        assert!(!kubelet.lives(proc.path()));
    }

    #[test]
    fn only_the_flags_that_matter_are_kept_and_k3s_hands_its_own_on() {
        let kept = flags(
            ["--token=secret", "--kubelet-arg=eviction-hard=memory.available<1Gi", "--kubelet-arg", "root-dir=/k", "--config"]
                .into_iter()
                .map(str::to_owned),
        );
        assert_eq!(
            kept.into_iter().collect::<Vec<_>>(),
            [("eviction-hard".to_owned(), "memory.available<1Gi".to_owned()), ("root-dir".to_owned(), "/k".to_owned())]
        );
    }

    #[test]
    fn microk8s_names_its_folders_by_variables() {
        let flags = flags_of_microk8s("--root-dir=${SNAP_COMMON}/var/lib/kubelet\n--eviction-hard=\"memory.available<100Mi\"\n");
        assert_eq!(flags["root-dir"], "/var/snap/microk8s/common/var/lib/kubelet");
        assert_eq!(flags["eviction-hard"], "memory.available<100Mi");
    }

    proptest! {
        #[test]
        fn any_command_line_is_taken(arguments in proptest::collection::vec("(--)?(config|kubelet-arg|root-dir)?[= a-z-]{0,8}", 0..6)) {
            let kept = flags(arguments.into_iter());
            prop_assert!(kept.keys().all(|name| FLAGS.contains(&name.as_str())));
        }
    }
}
