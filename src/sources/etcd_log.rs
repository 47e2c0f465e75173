//! etcd's log, where it runs as a static pod of this node: a node of the control plane.
//!
//! Flows in: the newest `/var/log/pods/<namespace>_etcd-<node>_<hash>/etcd/<attempt>.log`. Flows out: its
//! lines as the runtime wrote them, from now on, without those that etcd itself marks as information.
//! An etcd in trouble says so many times a second: what is beyond the budget is passed over and counted.

use super::{Outlet, Stop, Stopped, pod_logs::split_name};
use crate::{
    model::PodUid,
    signal::{Body, EtcdLine, Gap, SourceName, SourceReport, SourceState},
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How often the file is looked at.
const BEAT: Duration = Duration::from_secs(2);

/// How often such a pod is looked for where there is none: hardly any node has one.
const LOOK_FOR_POD: Duration = Duration::from_secs(60);

/// Where kubeadm and its kin, and OpenShift, run it.
const NAMESPACES: [&str; 2] = ["kube-system", "openshift-etcd"];
const POD: &str = "etcd-";
const CONTAINER: &str = "etcd";

/// Read at most in a beat; more than etcd writes in its worst hour. What is beyond it is skipped.
const PIECE: usize = 256 << 10;

/// Lines told at most in a beat.
const LINES: usize = 64;

/// What is kept of a line: the message and its time come first, and a request's text may be long.
const LONGEST: usize = 4 << 10;

/// What etcd calls information: in JSON, and in the text of etcd 3.4 and before.
const INFORMATION: [&str; 6] = ["\"level\":\"info\"", "\"level\":\"debug\"", " I | ", " N | ", " D | ", " INFO: "];

/// Starts the thread that follows the log until the agent stops.
///
/// # Errors
/// The process may not start another thread.
pub fn spawn(pod_logs: &Path, outlet: Outlet, stop: Stop) -> io::Result<thread::JoinHandle<()>> {
    let follower = Follower { pod_logs: pod_logs.to_owned(), outlet, file: None, began: false, told: None };
    thread::Builder::new().name("etcd-log".into()).stack_size(256 << 10).spawn(move || {
        // The only error is that nobody listens any more.
        let _ = follower.follow(&stop);
    })
}

struct Follower {
    pod_logs: PathBuf,
    outlet: Outlet,
    file: Option<Followed>,
    /// Whether it has looked before: a file that appears later is read from its beginning.
    began: bool,
    told: Option<(SourceState, String)>,
}

struct Followed {
    pod: PodUid,
    path: PathBuf,
    file: File,
    inode: u64,
    /// Where the next line begins.
    at: u64,
}

impl Follower {
    fn follow(mut self, stop: &Stop) -> Result<(), Stopped> {
        loop {
            let newest = newest_log(&self.pod_logs);
            match newest {
                Some((pod, path)) => self.beat(pod, path)?,
                None => self.nothing()?,
            }
            self.began = true;
            if stop.wait(if self.file.is_some() { BEAT } else { LOOK_FOR_POD }) {
                return Ok(());
            }
        }
    }

    /// A node without etcd is no loss and not told; one that had it has it no more.
    fn nothing(&mut self) -> Result<(), Stopped> {
        self.file = None;
        match &self.told {
            Some(_) => self.report(SourceState::Absent, format!("{}: no etcd runs as a static pod any more", self.pod_logs.display())),
            None => Ok(()),
        }
    }

    fn beat(&mut self, pod: PodUid, path: PathBuf) -> Result<(), Stopped> {
        match self.read(pod, &path) {
            Ok(lines) => {
                self.report(SourceState::Up, format!("{}: etcd's complaints", path.display()))?;
                let lost = lines.len().saturating_sub(LINES);
                for line in lines.into_iter().take(LINES) {
                    self.outlet.send(Body::Etcd(line))?;
                }
                if lost > 0 {
                    let detail = format!("{}: more than {LINES} lines in {} s", path.display(), BEAT.as_secs());
                    let gap = Gap { source: SourceName::EtcdLog, lost: u64::try_from(lost).ok(), detail };
                    self.outlet.send(Body::Gap(gap))?;
                }
                Ok(())
            }
            Err(error) => {
                self.file = None;
                let (state, remedy) = match error.kind() {
                    io::ErrorKind::PermissionDenied => (SourceState::Unreadable, "the agent has to run as root"),
                    _ => (SourceState::Failing, "it is tried again"),
                };
                self.report(state, format!("{}: {error}; {remedy}", path.display()))
            }
        }
    }

    /// The new whole lines that are no information.
    fn read(&mut self, pod: PodUid, path: &Path) -> io::Result<Vec<EtcdLine>> {
        let inode = fs::metadata(path)?.ino();
        // Rotation and the next attempt give another file; the old one's last lines are a beat old.
        let mut file = match self.file.take().filter(|file| file.path == path && file.inode == inode) {
            Some(file) => file,
            None => Followed::open(pod, path, self.began)?,
        };
        let lines = file.new_lines()?;
        self.file = Some(file);
        Ok(lines)
    }

    fn report(&mut self, state: SourceState, detail: String) -> Result<(), Stopped> {
        if self.told.as_ref().is_some_and(|told| *told == (state, detail.clone())) {
            return Ok(());
        }
        self.told = Some((state, detail.clone()));
        self.outlet.send(Body::Source(SourceReport { source: SourceName::EtcdLog, state, detail }))
    }
}

impl Followed {
    fn open(pod: PodUid, path: &Path, from_beginning: bool) -> io::Result<Self> {
        // A FIFO in its place would block, or take lines away from somebody.
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let at = if from_beginning { 0 } else { metadata.len() };
        Ok(Self { pod, path: path.to_owned(), file, inode: metadata.ino(), at })
    }

    fn new_lines(&mut self) -> io::Result<Vec<EtcdLine>> {
        let length = self.file.metadata()?.len();
        if length < self.at {
            self.at = 0;
        }
        // Behind by more than a beat's worth: what is newest matters.
        let piece = PIECE as u64;
        let skipped = length.saturating_sub(self.at) > piece;
        if skipped {
            self.at = length.saturating_sub(piece);
        }
        let mut bytes = vec![0; PIECE];
        let read = self.file.read_at(&mut bytes, self.at)?;
        let read = bytes.get(..read).unwrap_or_default();
        // A line that is not whole yet is read again, unless it fills the piece.
        let whole = read
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(if read.len() == PIECE { read.len() } else { 0 }, |end| end.saturating_add(1));
        self.at = self.at.saturating_add(whole as u64);
        let lines = read.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').skip(usize::from(skipped));
        let told = lines.filter(|line| !line.is_empty()).map(|line| line.get(..LONGEST).unwrap_or(line)).map(String::from_utf8_lossy);
        let told = told.filter(|line| !INFORMATION.iter().any(|word| line.contains(word)));
        Ok(told.map(|line| EtcdLine { pod: self.pod.clone(), text: line.into_owned() }).collect())
    }
}

/// The newest attempt's log of this node's etcd.
fn newest_log(pod_logs: &Path) -> Option<(PodUid, PathBuf)> {
    let entries = fs::read_dir(pod_logs).ok()?.flatten();
    let pods = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let (namespace, pod, uid) = split_name(&name)?;
        (NAMESPACES.contains(&namespace) && pod.starts_with(POD) && uid.is_static()).then(|| (uid, entry.path().join(CONTAINER)))
    });
    // A new manifest has another hash; the folder of the old one stays for a while.
    let logs = pods.filter_map(|(uid, dir)| newest_attempt(&dir).map(|(changed, path)| (changed, uid, path)));
    logs.max_by_key(|(changed, ..)| *changed).map(|(_, uid, path)| (uid, path))
}

fn newest_attempt(dir: &Path) -> Option<(i64, PathBuf)> {
    let attempt = |path: &Path| path.extension().filter(|end| *end == "log").and_then(|_| path.file_stem()?.to_str()?.parse::<u32>().ok());
    let logs = fs::read_dir(dir).ok()?.flatten().filter_map(|entry| Some((attempt(&entry.path())?, entry.path())));
    let (_, path) = logs.max()?;
    Some((fs::metadata(&path).ok()?.mtime(), path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources;
    use std::io::Write;

    const POD_DIR: &str = "kube-system_etcd-n1_3e61c214bc3ed9ff81e21474dd6cba17/etcd";
    const SLOW: &str = r#"2026-11-29T19:47:20.865Z stderr F {"level":"warn","ts":"2026-11-29T19:47:20.865Z","caller":"wal/wal.go:808","msg":"slow fdatasync","took":"5.010781084s","expected-duration":"1s"}"#;
    const INFO: &str = r#"2026-11-29T19:47:10.5Z stderr F {"level":"info","ts":"2026-11-29T19:47:10.482Z","caller":"raft/raft.go:765","msg":"took too long"}"#;

    struct Bench {
        dir: tempfile::TempDir,
        follower: Follower,
        signals: tokio::sync::mpsc::Receiver<crate::signal::Signal>,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("dir");
            fs::create_dir_all(dir.path().join(POD_DIR)).expect("mkdir");
            let (outlet, signals) = sources::channel();
            let follower = Follower { pod_logs: dir.path().to_owned(), outlet, file: None, began: false, told: None };
            Self { dir, follower, signals }
        }

        fn log(&self, attempt: u32) -> PathBuf {
            self.dir.path().join(POD_DIR).join(format!("{attempt}.log"))
        }

        fn write(&self, attempt: u32, text: &str) {
            let mut file = OpenOptions::new().create(true).append(true).open(self.log(attempt)).expect("file");
            file.write_all(text.as_bytes()).expect("write");
        }

        fn beat(&mut self) -> Vec<Body> {
            match newest_log(&self.follower.pod_logs) {
                Some((pod, path)) => self.follower.beat(pod, path).expect("running"),
                None => self.follower.nothing().expect("running"),
            }
            self.follower.began = true;
            std::iter::from_fn(|| self.signals.try_recv().ok()).map(|signal| signal.body).collect()
        }

        fn lines(&mut self) -> Vec<String> {
            let line = |body| if let Body::Etcd(line) = body { Some(line.text) } else { None };
            self.beat().into_iter().filter_map(line).collect()
        }
    }

    #[test]
    fn complaints_are_told_from_now_on_once_and_whole() {
        let mut bench = Bench::new();
        bench.write(0, &format!("{SLOW} of before\n"));
        assert!(matches!(bench.beat().as_slice(), [Body::Source(SourceReport { state: SourceState::Up, .. })]));
        bench.write(0, &format!("{INFO}\n{SLOW}\n{}", &SLOW[..40]));
        assert_eq!(bench.lines(), [SLOW]);
        bench.write(0, &format!("{}\n", &SLOW[40..]));
        assert_eq!(bench.lines(), [SLOW], "the rest of a line that was not whole");
        assert_eq!(bench.lines(), Vec::<String>::new());
    }

    #[test]
    fn the_next_attempt_and_a_rotated_file_are_read_from_their_beginning() {
        let mut bench = Bench::new();
        bench.write(0, "x\n");
        bench.beat();
        bench.write(1, &format!("{SLOW}\n"));
        assert_eq!(bench.lines(), [SLOW]);
        fs::rename(bench.log(1), bench.dir.path().join("1.log.20261129-200000")).expect("rotate");
        bench.write(1, &format!("{SLOW}\n"));
        assert_eq!(bench.lines(), [SLOW]);
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut bench = Bench::new();
        bench.write(0, "");
        bench.beat();
        bench.write(0, &format!("{SLOW}\n").repeat(LINES + 9));
        let told = bench.beat();
        assert_eq!(told.iter().filter(|body| matches!(body, Body::Etcd(_))).count(), LINES);
        assert!(told.iter().any(|body| matches!(body, Body::Gap(Gap { lost: Some(9), .. }))));
        bench.write(0, &"y".repeat(PIECE * 4));
        bench.write(0, &format!("\n{SLOW}\n"));
        assert_eq!(bench.lines(), [SLOW], "a line of 1 MiB is passed over");
    }

    #[test]
    fn a_node_without_etcd_is_not_told_and_one_that_loses_it_is() {
        let mut bench = Bench::new();
        assert_eq!(bench.beat(), vec![]);
        bench.write(0, "");
        bench.beat();
        fs::remove_dir_all(bench.dir.path().join("kube-system_etcd-n1_3e61c214bc3ed9ff81e21474dd6cba17")).expect("gone");
        assert!(matches!(bench.beat().as_slice(), [Body::Source(SourceReport { state: SourceState::Absent, .. })]));
    }

    #[test]
    fn what_is_no_file_does_not_block() {
        let mut bench = Bench::new();
        nix::unistd::mkfifo(&bench.log(0), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        let told = bench.beat();
        let [Body::Source(report)] = told.as_slice() else { panic!("a report, not {told:?}") };
        assert_eq!((report.state, report.detail.contains("not a regular file")), (SourceState::Failing, true), "{}", report.detail);
    }

    #[test]
    fn only_a_static_pod_of_the_control_plane_counts() {
        let dir = tempfile::tempdir().expect("dir");
        for name in ["shop_etcd-n1_3e61c214bc3ed9ff81e21474dd6cba17", "kube-system_etcd-backup_7145627f-44a7-433c-a896-a8c81a4df533"] {
            fs::create_dir_all(dir.path().join(name).join("etcd")).expect("mkdir");
            fs::write(dir.path().join(name).join("etcd/0.log"), "").expect("write");
        }
        assert_eq!(newest_log(dir.path()), None);
    }
}
