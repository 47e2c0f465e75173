//! Pods named by the kubelet's log directory, for when there is no API server to ask.
//!
//! Flows in: the directory `/var/log/pods`, whose entries are `<namespace>_<name>_<uid>/<container>/<attempt>.log`
//! (kubelet, pkg/kubelet/kuberuntime/helpers.go, `BuildPodLogsDirectory`). Flows out: one
//! [`PodUpdate::Directory`] for each pod that appears or whose attempts rise, and [`PodUpdate::DirectoryGone`] when it
//! has vanished. Reads names only, never logs.

use super::{Outlet, Stop, Stopped, Wake};
use crate::{
    model::PodUid,
    signal::{Body, PodUpdate, SourceName, SourceReport, SourceState},
};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, SystemTime},
};

/// Attempts rise inside a pod's own directory, which is not watched: they are looked for this often.
/// It is how late an end is noticed while the API server is away.
const RESCAN: Duration = Duration::from_secs(10);

/// Longer than any filesystem's tick.
const TICK: Duration = Duration::from_secs(2);

/// A directory that takes longer to read than this is not waited for.
const LISTING: Duration = Duration::from_secs(1);

/// A new pod's directory is made empty and filled a moment later.
const SETTLE: Duration = Duration::from_millis(500);

/// More pods than a node can hold; beyond it the directory is not what it seems.
const MAX_PODS: usize = 4096;

/// What a pod's directory says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PodDirectory {
    namespace: String,
    name: String,
    uid: PodUid,
    containers: Vec<(String, u32)>,
}

/// Starts the thread that follows the directory until the agent stops.
///
/// # Errors
/// The process may not start another thread.
pub fn spawn(dir: &Path, outlet: Outlet, stop: Stop) -> io::Result<(Listing, thread::JoinHandle<()>)> {
    let (listing, listed) = mpsc::channel();
    let mut follower = Follower {
        dir: dir.to_owned(),
        directories: Directories::default(),
        outlet,
        known: BTreeMap::new(),
        followed: false,
        told: None,
        listing: Some(listing),
    };
    let thread = thread::Builder::new().name("pod-logs".into()).stack_size(256 << 10).spawn(move || {
        // The only error is that nobody listens any more.
        let _ = follower.follow(&stop);
    })?;
    Ok((Listing(listed), thread))
}

/// The first reading of the directory.
#[derive(Debug)]
pub struct Listing(mpsc::Receiver<()>);

impl Listing {
    /// Waits until the pods that are there have been told, but no longer than a moment. What the kernel's log tells after
    /// that can be held against them: a pod that nobody names is another kubelet's on the same kernel.
    pub fn wait(&self) {
        // The other end is dropped when the directory has been read; nothing is ever sent.
        let _ = self.0.recv_timeout(LISTING);
    }
}

struct Follower {
    dir: PathBuf,
    directories: Directories,
    outlet: Outlet,
    known: BTreeMap<String, PodDirectory>,
    /// Whether the directory has been read before.
    followed: bool,
    told: Option<SourceState>,
    /// Dropped after the first reading.
    listing: Option<mpsc::Sender<()>>,
}

impl Follower {
    fn follow(&mut self, stop: &Stop) -> Result<(), Stopped> {
        loop {
            let watch = watch(&self.dir);
            self.scan()?;
            self.listing = None;
            let wake = match &watch {
                Ok(watch) => stop.wait_readable(watch.as_fd(), Some(RESCAN)).unwrap_or(Wake::TimedOut),
                Err(_) if stop.wait(RESCAN) => Wake::Stopped,
                Err(_) => Wake::TimedOut,
            };
            if wake == Wake::Stopped || (wake == Wake::Ready && stop.wait(SETTLE)) {
                return Ok(());
            }
        }
    }

    fn scan(&mut self) -> Result<(), Stopped> {
        let present = match self.directories.scan(&self.dir) {
            Ok(present) => present,
            Err(error) => return self.report(state_of(&error), format!("{}: {error}", self.dir.display())),
        };
        self.report(SourceState::Up, format!("{}: names pods and attempts", self.dir.display()))?;
        for (entry, pod) in &present {
            if self.known.get(entry) != Some(pod) {
                let PodDirectory { namespace, name, uid, containers } = pod.clone();
                self.outlet.send(Body::Pods(PodUpdate::Directory { namespace, name, uid, containers, followed: self.followed }))?;
            }
        }
        for (_, pod) in self.known.iter().filter(|(entry, _)| !present.contains_key(*entry)) {
            self.outlet.send(Body::Pods(PodUpdate::DirectoryGone { uid: pod.uid.clone() }))?;
        }
        self.known = present;
        self.followed = true;
        Ok(())
    }

    fn report(&mut self, state: SourceState, detail: String) -> Result<(), Stopped> {
        if self.told.replace(state) == Some(state) {
            return Ok(());
        }
        self.outlet.send(Body::Source(SourceReport { source: SourceName::PodLogs, state, detail }))
    }
}

fn state_of(error: &io::Error) -> SourceState {
    match error.kind() {
        io::ErrorKind::NotFound => SourceState::Absent,
        io::ErrorKind::PermissionDenied => SourceState::Unreadable,
        _ => SourceState::Failing,
    }
}

fn watch(dir: &Path) -> nix::Result<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(dir, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR)?;
    Ok(inotify)
}

/// What directories held when they were last read. A directory whose time of change is the same still holds it, so
/// that a scan asks the kernel once for each instead of reading them all.
#[derive(Debug, Default)]
struct Directories {
    held: HashMap<PathBuf, Held>,
    /// What the scan before held and this one has not come to yet.
    before: HashMap<PathBuf, Held>,
}

#[derive(Debug)]
struct Held {
    changed: SystemTime,
    /// Read so long after the change that another one would show: times of change are as coarse as the kernel's tick.
    settled: bool,
    entries: Vec<String>,
}

impl Held {
    fn read(dir: &Path, changed: SystemTime) -> Option<Self> {
        let entries = fs::read_dir(dir).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        Some(Self { changed, settled: changed.elapsed().is_ok_and(|age| age > TICK), entries })
    }
}

impl Directories {
    /// The names in a directory; none of one that vanishes meanwhile.
    fn entries(&mut self, dir: &Path) -> &[String] {
        let known = self.before.remove(dir);
        let Some(changed) = fs::metadata(dir).and_then(|dir| dir.modified()).ok() else { return &[] };
        let held = known.filter(|held| held.settled && held.changed == changed).or_else(|| Held::read(dir, changed));
        held.map_or(&[], |held| &self.held.entry(dir.to_owned()).insert_entry(held).into_mut().entries)
    }

    /// Every pod that has a directory.
    fn scan(&mut self, dir: &Path) -> io::Result<BTreeMap<String, PodDirectory>> {
        let names = fs::read_dir(dir)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let names: Vec<_> = names.filter(|name| split_name(name).is_some()).take(MAX_PODS).collect();
        self.before = std::mem::take(&mut self.held);
        let told = names.into_iter().filter_map(|name| {
            let (namespace, pod, uid) = split_name(&name)?;
            let containers = self.containers(&dir.join(&name));
            Some((name.clone(), PodDirectory { namespace: namespace.into(), name: pod.into(), uid, containers }))
        });
        let told = told.collect();
        self.before.clear();
        Ok(told)
    }

    /// Containers and the highest attempt whose log exists.
    fn containers(&mut self, pod: &Path) -> Vec<(String, u32)> {
        let names = self.entries(pod).to_vec();
        let attempts = names.into_iter().filter_map(|name| {
            let attempts = self.entries(&pod.join(&name)).iter().filter_map(|file| file.split_once(".log")?.0.parse().ok());
            attempts.max().map(|attempt| (name, attempt))
        });
        let mut containers: Vec<_> = attempts.collect();
        containers.sort();
        containers
    }
}

/// Neither a namespace nor a pod's name nor a uid can hold an underscore.
pub(super) fn split_name(name: &str) -> Option<(&str, &str, PodUid)> {
    let (namespace, rest) = name.split_once('_')?;
    let (pod, uid) = rest.rsplit_once('_')?;
    (!namespace.is_empty() && !pod.is_empty()).then_some((namespace, pod, PodUid::parse(uid)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources;

    const UID: &str = "7145627f-44a7-433c-a896-a8c81a4df533";

    #[test]
    fn a_directory_name_is_namespace_pod_and_uid() {
        let hash = "3e61c214bc3ed9ff81e21474dd6cba17";
        let told = |name: &str| split_name(name).map(|(namespace, pod, uid)| format!("{namespace} {pod} {uid}"));
        assert_eq!(told(&format!("shop_web-1_{UID}")), Some(format!("shop web-1 {UID}")));
        assert_eq!(told(&format!("kube-system_etcd-n1_{hash}")), Some(format!("kube-system etcd-n1 {hash}")));
        for wrong in ["", "lost+found", "a_b", "_web_7145627f-44a7-433c-a896-a8c81a4df533", "shop_web_uid"] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_new_pod_is_told_when_its_directory_appears() {
        let dir = tempfile::tempdir().expect("dir");
        let attempt = |name: &str, attempt: u32| {
            let container = dir.path().join(name).join("app");
            fs::create_dir_all(&container).expect("mkdir");
            fs::write(container.join(format!("{attempt}.log")), "").expect("write");
        };
        attempt(&format!("shop_web-1_{UID}"), 3);
        fs::write(dir.path().join("stray"), "").expect("write");
        let (outlet, mut signals) = sources::channel();
        let (stopper, stop) = sources::stop().expect("pipe");
        let (listing, thread) = spawn(dir.path(), outlet, stop).expect("thread");
        listing.wait();
        assert!(matches!(signals.try_recv().expect("told by now").body, Body::Source(SourceReport { state: SourceState::Up, .. })));
        let Body::Pods(PodUpdate::Directory { name, containers, .. }) = signals.try_recv().expect("told by now").body else {
            panic!("a pod")
        };
        let mut next = || signals.blocking_recv().expect("signal").body;
        assert_eq!((name.as_str(), containers), ("web-1", vec![("app".to_owned(), 3)]));
        attempt("shop_web-2_3e61c214bc3ed9ff81e21474dd6cba17", 0);
        let Body::Pods(PodUpdate::Directory { name, .. }) = next() else { panic!("a pod") };
        assert_eq!(name, "web-2");
        fs::remove_dir_all(dir.path().join(format!("shop_web-1_{UID}"))).expect("remove");
        assert_eq!(next(), Body::Pods(PodUpdate::DirectoryGone { uid: PodUid::parse(UID).expect("uid") }));
        drop(stopper);
        thread.join().expect("no panic");
    }

    #[test]
    fn a_missing_directory_is_absent() {
        let (outlet, mut signals) = sources::channel();
        let (stopper, stop) = sources::stop().expect("pipe");
        let (listing, thread) = spawn(Path::new("/nonexistent/pods"), outlet, stop).expect("thread");
        listing.wait();
        let Some(Body::Source(report)) = signals.blocking_recv().map(|signal| signal.body) else { panic!("a report") };
        assert_eq!(report.state, SourceState::Absent);
        drop(stopper);
        thread.join().expect("no panic");
    }

    #[test]
    fn an_attempt_is_seen_whenever_its_log_was_made() {
        let dir = tempfile::tempdir().expect("dir");
        let pod = format!("shop_web-1_{UID}");
        let container = dir.path().join(&pod).join("app");
        fs::create_dir_all(&container).expect("mkdir");
        let mut directories = Directories::default();
        let mut attempts = || directories.scan(dir.path()).expect("a directory")[&pod].containers.clone();
        assert_eq!(attempts(), []);
        fs::write(container.join("0.log"), "").expect("write");
        assert_eq!(attempts(), [("app".to_owned(), 0)], "right after the last look");
        // As if everything had happened long ago.
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let age = |path: &Path| fs::File::open(path).expect("dir").set_modified(old).expect("time");
        [&container, container.parent().expect("pod")].into_iter().for_each(age);
        assert_eq!([attempts(), attempts()], [[("app".to_owned(), 0)], [("app".to_owned(), 0)]]);
        fs::write(container.join("1.log"), "").expect("write");
        assert_eq!(attempts(), [("app".to_owned(), 1)], "long after the last look");
        fs::remove_dir_all(&container).expect("remove");
        assert_eq!(attempts(), []);
    }
}
