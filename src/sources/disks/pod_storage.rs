//! What each pod has on the node's disks.
//!
//! Flows in: the pods' log directory, the kubelet's directory, the writable layers. Flows out: a
//! [`PodStorageSample`]. Only sizes are read, never contents; bounded in entries and in time, so that
//! a pod with a million files costs no more than a pod with a hundred thousand.

use super::writable_layers;
use crate::{
    model::{Bytes, PodUid},
    signal::{DiskUse, PodStorage, PodStorageSample},
    sources::{Stop, pod_logs::split_name},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Files and directories that one measurement looks at: with a warm cache some 2 microseconds each,
/// so a second of a core, and no more than once in twenty times what it took.
const MOST_ENTRIES: u64 = 400_000;

/// Of these, for one pod: enough to see that it is the one that takes the inodes.
const MOST_ENTRIES_OF_A_POD: u64 = 100_000;

/// The longest measurement: a cold disk is slower than the entries suggest.
const LONGEST: Duration = Duration::from_secs(4);

/// Directories waiting to be read, of one pod: a path takes some 200 bytes.
const MOST_PENDING: usize = 20_000;

/// More pods than a node can hold.
const MOST_PODS: usize = 4096;

/// `stat` counts blocks of this many bytes, whatever the filesystem's are (stat(2)).
const BLOCK: u64 = 512;

/// Measures pods, going on with another one each time where there is no time for all.
#[derive(Debug)]
pub(super) struct Measurer {
    proc: PathBuf,
    pod_logs: PathBuf,
    /// The last pod measured when time ran out.
    after: Option<PodUid>,
}

/// The directories of one pod.
#[derive(Debug, Default)]
struct Places {
    logs: Vec<PathBuf>,
    empty_dirs: Vec<PathBuf>,
    layers: Vec<PathBuf>,
}

/// What may still be spent.
#[derive(Debug)]
struct Budget {
    entries: u64,
    until: Instant,
}

impl Measurer {
    /// With the host's `/proc` and the pods' log directory.
    pub fn new(proc: &Path, pod_logs: &Path) -> Self {
        Self { proc: proc.into(), pod_logs: pod_logs.into(), after: None }
    }

    /// Measures as many pods as the budget allows.
    pub fn measure(&mut self, kubelet: Option<&Path>, stop: &Stop) -> PodStorageSample {
        let places = self.places(kubelet);
        let mut budget = Budget { entries: MOST_ENTRIES, until: Instant::now() + LONGEST };
        let mut sample = PodStorageSample::default();
        let behind = |uid: &PodUid| self.after.as_ref().is_some_and(|after| uid <= after);
        let (later, first): (Vec<_>, Vec<_>) = places.iter().partition(|(uid, _)| behind(uid));
        let mut last = None;
        for (uid, places) in first.into_iter().chain(later) {
            if budget.is_spent() || stop.stopped() {
                sample.left_out += 1;
                continue;
            }
            sample.pods.push(measured(uid, places, &mut budget));
            last = Some(uid.clone());
        }
        self.after = last.filter(|_| sample.left_out > 0);
        sample
    }

    fn places(&self, kubelet: Option<&Path>) -> BTreeMap<PodUid, Places> {
        let mut places: BTreeMap<PodUid, Places> = BTreeMap::new();
        for (name, path) in directories(&self.pod_logs) {
            if let Some((_, _, uid)) = split_name(&name) {
                places.entry(uid).or_default().logs.push(path);
            }
        }
        for (name, path) in kubelet.map(|root| directories(&root.join("pods"))).unwrap_or_default() {
            if let Some(uid) = PodUid::parse(&name) {
                places.entry(uid).or_default().empty_dirs.push(path.join("volumes/kubernetes.io~empty-dir"));
            }
        }
        for (uid, layers) in writable_layers::by_pod(&self.proc) {
            places.entry(uid).or_default().layers = layers;
        }
        places
    }
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.entries == 0 || Instant::now() >= self.until
    }

    /// Takes one entry; the clock is asked seldom.
    fn take(&mut self) -> bool {
        const BETWEEN_LOOKS: u64 = 256;
        self.entries = self.entries.saturating_sub(1);
        if self.entries.is_multiple_of(BETWEEN_LOOKS) && Instant::now() >= self.until {
            self.entries = 0;
        }
        self.entries > 0
    }
}

fn measured(uid: &PodUid, places: &Places, whole: &mut Budget) -> PodStorage {
    let mut budget = Budget { entries: whole.entries.min(MOST_ENTRIES_OF_A_POD), until: whole.until };
    let given = budget.entries;
    let mut unreadable = 0;
    let mut sum = |paths: &[PathBuf]| {
        let sizes = paths.iter().map(|path| tree(path, &mut budget, &mut unreadable));
        sizes.fold(DiskUse::default(), DiskUse::plus)
    };
    let (logs, empty_dirs, layers) = (sum(&places.logs), sum(&places.empty_dirs), sum(&places.layers));
    whole.entries = whole.entries.saturating_sub(given.saturating_sub(budget.entries));
    PodStorage { uid: uid.clone(), logs, empty_dirs, layers, unreadable, cut: budget.entries == 0 }
}

/// What a directory and everything below it on the same filesystem occupies: a tmpfs below it, or
/// another volume, is on another one.
fn tree(root: &Path, budget: &mut Budget, unreadable: &mut u64) -> DiskUse {
    let mut sum = DiskUse::default();
    let Ok(top) = fs::symlink_metadata(root) else { return sum };
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            *unreadable += 1;
            continue;
        };
        for entry in entries.flatten() {
            if !budget.take() {
                return sum;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.dev() != top.dev() {
                continue;
            }
            sum = sum.plus(size(&metadata));
            if metadata.is_dir() && pending.len() < MOST_PENDING {
                pending.push(entry.path());
            }
        }
    }
    sum
}

/// A file with several names counts in parts, so that it counts once.
fn size(metadata: &fs::Metadata) -> DiskUse {
    let names = if metadata.is_dir() { 1 } else { metadata.nlink().max(1) };
    DiskUse { bytes: Bytes(metadata.blocks().saturating_mul(BLOCK) / names), inodes: 1 }
}

fn directories(root: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let named = entries.flatten().take(MOST_PODS).filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    let unique: BTreeSet<_> = named.collect();
    unique.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::stop;

    const POD: &str = "7145627f-44a7-433c-a896-a8c81a4df533";
    const OTHER: &str = "8145627f-44a7-433c-a896-a8c81a4df533";

    fn write(path: &Path, bytes: usize) {
        fs::create_dir_all(path.parent().expect("parent")).expect("dir");
        fs::write(path, vec![1; bytes]).expect("file");
    }

    fn tree_of_a_node() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        write(&root.join(format!("logs/shop_web_{POD}/app/0.log")), 300 << 10);
        write(&root.join(format!("kubelet/pods/{POD}/volumes/kubernetes.io~empty-dir/scratch/a/b")), 200 << 10);
        write(&root.join(format!("kubelet/pods/{POD}/volumes/kubernetes.io~secret/token/token")), 500 << 10);
        write(&root.join(format!("kubelet/pods/{OTHER}/volumes/kubernetes.io~empty-dir/scratch/a")), 4 << 10);
        write(&root.join("kubelet/pods/not-a-uid/x"), 1);
        fs::create_dir_all(root.join("proc")).expect("dir");
        dir
    }

    #[test]
    fn logs_and_empty_dirs_are_measured_and_nothing_else() {
        let dir = tree_of_a_node();
        let (_stopper, stop) = stop().expect("pipe");
        let mut measurer = Measurer::new(&dir.path().join("proc"), &dir.path().join("logs"));
        let sample = measurer.measure(Some(&dir.path().join("kubelet")), &stop);
        assert_eq!((sample.pods.len(), sample.left_out), (2, 0));
        let pod = sample.pods.iter().find(|pod| pod.uid.as_str() == POD).expect("measured");
        let kib = |use_: DiskUse| use_.bytes.kib();
        assert!((300..340).contains(&kib(pod.logs)), "{pod:?}");
        assert!((200..240).contains(&kib(pod.empty_dirs)), "{pod:?}");
        assert_eq!((pod.logs.inodes, pod.empty_dirs.inodes, pod.layers, pod.cut), (2, 3, DiskUse::default(), false));
    }

    #[test]
    fn what_there_was_no_time_for_comes_first_the_next_time() {
        let dir = tree_of_a_node();
        let (stopper, stop) = stop().expect("pipe");
        let mut measurer = Measurer::new(&dir.path().join("proc"), &dir.path().join("logs"));
        measurer.after = PodUid::parse(POD);
        let sample = measurer.measure(Some(&dir.path().join("kubelet")), &stop);
        assert_eq!(sample.pods.iter().map(|pod| pod.uid.as_str()).collect::<Vec<_>>(), [OTHER, POD]);
        drop(stopper);
        let stopped = measurer.measure(Some(&dir.path().join("kubelet")), &stop);
        assert_eq!((stopped.pods.len(), stopped.left_out), (0, 2), "a stopping agent does not go on");
    }

    #[test]
    fn a_pod_with_too_many_files_is_cut_and_says_so() {
        let dir = tree_of_a_node();
        let mut whole = Budget { entries: 2, until: Instant::now() + LONGEST };
        let places = Places { logs: vec![dir.path().to_owned()], ..Places::default() };
        let pod = measured(&PodUid::parse(POD).expect("uid"), &places, &mut whole);
        assert!(pod.cut && whole.is_spent());
    }

    #[test]
    fn a_fifo_a_socket_and_a_link_to_elsewhere_are_passed_over() {
        let dir = tree_of_a_node();
        let scratch = dir.path().join(format!("kubelet/pods/{POD}/volumes/kubernetes.io~empty-dir/scratch"));
        nix::unistd::mkfifo(&scratch.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        // Its address may be no longer than 107 bytes.
        let aside = dir.path().join("s");
        let _socket = std::os::unix::net::UnixListener::bind(&aside).expect("socket");
        fs::rename(aside, scratch.join("socket")).expect("move");
        std::os::unix::fs::symlink("/proc", scratch.join("link")).expect("link");
        std::os::unix::fs::symlink(&scratch, scratch.join("loop")).expect("link");
        let (_stopper, stop) = stop().expect("pipe");
        let mut measurer = Measurer::new(&dir.path().join("proc"), &dir.path().join("logs"));
        let sample = measurer.measure(Some(&dir.path().join("kubelet")), &stop);
        let pod = sample.pods.iter().find(|pod| pod.uid.as_str() == POD).expect("measured");
        assert!((200..240).contains(&pod.empty_dirs.bytes.kib()), "{pod:?}");
        assert_eq!((pod.empty_dirs.inodes, pod.unreadable, pod.cut), (7, 0, false));
    }

    #[test]
    fn two_names_of_a_file_count_once() {
        let dir = tempfile::tempdir().expect("dir");
        write(&dir.path().join("a"), 64 << 10);
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).expect("link");
        let mut budget = Budget { entries: 100, until: Instant::now() + LONGEST };
        let sum = tree(dir.path(), &mut budget, &mut 0);
        assert_eq!(sum.bytes, Bytes(64 << 10));
    }
}
