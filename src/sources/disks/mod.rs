//! The disks: what is left of what the kubelet evicts pods for, at which thresholds it does, and what
//! each pod has on them.
//!
//! Flows in: the directories of the kubelet, the runtime and the pods' logs, `/proc`, the root cgroup.
//! Flows out: [`RoomSample`]s at the kubelet's own beat, its [`EvictionSettings`] whenever another
//! kubelet runs, and [`PodStorageSample`]s seldom or when asked. A filesystem that hangs holds up this
//! thread and nothing else.
//!
//! Directories are named as the host names them: a container mounts them at the same path.

mod container_storage;
mod filesystems;
mod kubelet;
mod node_limits;
mod pod_storage;
mod settings;
mod writable_layers;

use super::{Outlet, Stop, Stopped, Wake};
use crate::{
    config::Roots,
    signal::{Body, EvictionSettings, RoomSample, SourceName, SourceReport, SourceState},
};
use filesystems::{Filesystems, Images};
use kubelet::Kubelet;
use node_limits::NodeLimits;
use pod_storage::Measurer;
use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    thread,
    time::{Duration, Instant},
};

#[cfg(doc)]
use crate::signal::PodStorageSample;

/// How often room is looked at: the kubelet's own period (pkg/kubelet/kubelet.go, `evictionMonitoringPeriod`).
const BEAT: Duration = Duration::from_secs(10);

/// How often pods are measured when nothing happens: what growth is held against.
const BASELINE: Duration = Duration::from_secs(1800);

/// Two measurements are at least so far apart ...
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
/// ... and this many times what the first one took: a twentieth of a core at the most.
const PAUSE_FACTOR: u32 = 20;

/// A kubelet that is not there is looked for so often; the look goes over every process.
const LOOK_FOR_KUBELET: Duration = Duration::from_secs(30);

/// Asks the thread for a measurement.
#[derive(Debug)]
pub struct DisksHandle {
    wake: UnixStream,
}

impl DisksHandle {
    /// Asks for what pods have on the disks, as soon as the last measurement is long enough ago.
    pub fn measure_soon(&self) {
        // A full socket holds a request already.
        let _ = (&self.wake).write(&[0]);
    }
}

/// Starts the thread.
///
/// # Errors
/// When the system gives no thread or socket.
pub fn spawn(roots: &Roots, node: &str, outlet: Outlet, stop: Stop) -> io::Result<(DisksHandle, thread::JoinHandle<()>)> {
    let (wake, woken) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    let disks = Disks::new(roots, node, outlet);
    let thread = thread::Builder::new().name("disks".into()).stack_size(256 << 10).spawn(move || {
        // The only error is that nobody listens any more.
        let _ = disks.run(&stop, &woken);
    })?;
    Ok((DisksHandle { wake }, thread))
}

/// Looks once, for the doctor: whether the disks can be read, and what is missing.
pub fn probe(roots: &Roots, node: &str) -> (SourceState, String, EvictionSettings) {
    let kubelet = Kubelet::find(&roots.proc, node);
    let settings = settings_of(kubelet.as_ref());
    let filesystems = Filesystems::find(kubelet.as_ref(), roots);
    let (samples, failures) = filesystems.sample();
    let (state, detail) = condition(&filesystems, samples.len(), &failures, &settings);
    (state, detail, settings)
}

struct Disks {
    roots: Roots,
    node: String,
    outlet: Outlet,
    limits: NodeLimits,
    measurer: Measurer,
    kubelet: Option<Kubelet>,
    kubelet_due: Instant,
    /// Whether one has been seen: where /proc shows none, its absence says nothing.
    kubelet_seen: bool,
    settings: Option<EvictionSettings>,
    filesystems: Filesystems,
    measure_due: Instant,
    measure_not_before: Instant,
    asked: bool,
    told: Option<(SourceState, String)>,
}

impl Disks {
    fn new(roots: &Roots, node: &str, outlet: Outlet) -> Self {
        let now = Instant::now();
        Self {
            limits: NodeLimits::new(&roots.proc, &roots.cgroup),
            measurer: Measurer::new(&roots.proc, &roots.pod_logs),
            roots: roots.clone(),
            node: node.to_owned(),
            outlet,
            kubelet: None,
            kubelet_due: now,
            kubelet_seen: false,
            settings: None,
            filesystems: Filesystems::default(),
            measure_due: now,
            measure_not_before: now,
            asked: false,
            told: None,
        }
    }

    fn run(mut self, stop: &Stop, woken: &UnixStream) -> Result<(), Stopped> {
        let mut room_due = Instant::now();
        while !stop.stopped() {
            if Instant::now() >= room_due {
                self.look_for_kubelet()?;
                self.tell_room()?;
                room_due = Instant::now() + BEAT;
            }
            if Instant::now() >= self.next_measurement() {
                self.measure(stop)?;
            }
            let next = room_due.min(self.next_measurement());
            match stop.wait_readable(woken.as_fd(), Some(next.saturating_duration_since(Instant::now()))) {
                Ok(Wake::Ready) => self.asked |= was_asked(woken),
                Ok(Wake::TimedOut) => {}
                Ok(Wake::Stopped) | Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// The kubelet reads its configuration when it starts, so it is read when another one runs.
    fn look_for_kubelet(&mut self) -> Result<(), Stopped> {
        let now = Instant::now();
        let lives = self.kubelet.as_ref().is_some_and(|kubelet| kubelet.lives(&self.roots.proc));
        if lives || now < self.kubelet_due {
            return Ok(());
        }
        self.kubelet_due = now + LOOK_FOR_KUBELET;
        self.kubelet = Kubelet::find(&self.roots.proc, &self.node);
        self.kubelet_seen |= self.kubelet.is_some();
        // A kubelet that is about to come back keeps the thresholds of before.
        if self.kubelet.is_some() || self.settings.is_none() {
            let settings = settings_of(self.kubelet.as_ref());
            if self.settings.as_ref() != Some(&settings) {
                self.outlet.send(Body::EvictionSettings(settings.clone()))?;
                self.settings = Some(settings);
            }
        }
        Ok(())
    }

    fn tell_room(&mut self) -> Result<(), Stopped> {
        self.filesystems = Filesystems::find(self.kubelet.as_ref(), &self.roots);
        let (filesystems, failures) = self.filesystems.sample();
        let settings = self.settings.clone().unwrap_or_default();
        self.report(condition(&self.filesystems, filesystems.len(), &failures, &settings))?;
        let (pids, memory, kubelet_runs) = (self.limits.pids(), self.limits.memory(), self.kubelet_runs());
        let images_apart = self.filesystems.images != Images::WithLayers;
        let sample = RoomSample { filesystems, images_apart, pids, memory, kubelet_runs };
        self.outlet.offer(Body::Room(sample))
    }

    fn kubelet_runs(&self) -> Option<bool> {
        let lives = self.kubelet.as_ref().is_some_and(|kubelet| kubelet.lives(&self.roots.proc));
        self.kubelet_seen.then_some(lives)
    }

    fn next_measurement(&self) -> Instant {
        if self.asked { self.measure_not_before } else { self.measure_due.max(self.measure_not_before) }
    }

    fn measure(&mut self, stop: &Stop) -> Result<(), Stopped> {
        let began = Instant::now();
        let sample = self.measurer.measure(self.filesystems.kubelet.as_deref(), stop);
        let ended = Instant::now();
        self.asked = false;
        self.measure_due = ended + BASELINE;
        self.measure_not_before = ended + SHORTEST_PAUSE.max((ended - began).saturating_mul(PAUSE_FACTOR));
        self.outlet.offer(Body::PodStorage(sample))
    }

    fn report(&mut self, condition: (SourceState, String)) -> Result<(), Stopped> {
        if self.told.as_ref() == Some(&condition) {
            return Ok(());
        }
        let (state, detail) = condition.clone();
        self.told = Some(condition);
        self.outlet.send(Body::Source(SourceReport { source: SourceName::Disks, state, detail }))
    }
}

/// Empties the socket; whether anything was in it.
fn was_asked(mut woken: &UnixStream) -> bool {
    let mut requests = [0; 64];
    let mut any = false;
    while woken.read(&mut requests).is_ok_and(|read| read > 0) {
        any = true;
    }
    any
}

fn settings_of(kubelet: Option<&Kubelet>) -> EvictionSettings {
    match kubelet {
        Some(kubelet) => settings::read(kubelet),
        None => EvictionSettings { unread: Some("no kubelet is visible in the host's /proc".into()), ..EvictionSettings::default() },
    }
}

/// What works, what does not, and what to do about it.
fn condition(filesystems: &Filesystems, sampled: usize, failures: &[String], settings: &EvictionSettings) -> (SourceState, String) {
    let mut parts = Vec::new();
    match &filesystems.kubelet {
        Some(path) => parts.push(format!("nodefs at {}", path.display())),
        None => parts.push("no kubelet directory; mount it at the same path, read-only, or name it with --kubelet-root".into()),
    }
    match (&filesystems.runtime, &filesystems.images) {
        (Some(path), Images::WithLayers) => parts.push(format!("imagefs at {}", path.display())),
        (Some(path), Images::Apart(images)) => {
            parts.push(format!("imagefs at {}; containerfs at {}", images.display(), path.display()));
        }
        (Some(path), Images::Elsewhere) => parts.push(format!(
            "containerfs at {}; its images are elsewhere and no such directory is visible; mount CRI-O's imagestore at the same path, read-only, or name it with --image-root",
            path.display()
        )),
        (None, _) => parts.push("no runtime directory; mount it at the same path, read-only, or name it with --runtime-root".into()),
    }
    match &settings.unread {
        Some(why) => parts.push(format!("eviction thresholds not known: {why}")),
        // Whether its amounts can be understood is not for the reader to say.
        None => parts.push(format!("eviction thresholds read from {}", sources_of(settings))),
    }
    parts.extend(failures.iter().cloned());
    let state = match sampled {
        0 if failures.is_empty() => SourceState::Absent,
        0 => SourceState::Failing,
        _ => SourceState::Up,
    };
    (state, parts.join("; "))
}

fn sources_of(settings: &EvictionSettings) -> String {
    let sources: Vec<_> = settings.layers.iter().map(|layer| layer.from.as_str()).filter(|from| !from.is_empty()).collect();
    if sources.is_empty() { "the kubelet's defaults".into() } else { sources.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::FilesystemRole, sources};
    use std::fs;

    #[test]
    fn a_kubelet_is_missed_only_where_one_was_seen() {
        let proc = tempfile::tempdir().expect("dir");
        let process = |pid: u32| {
            let entry = proc.path().join(pid.to_string());
            fs::create_dir_all(&entry).expect("dir");
            fs::write(entry.join("comm"), "kubelet\n").expect("comm");
            fs::write(entry.join("cmdline"), "kubelet\0").expect("cmdline");
            fs::write(entry.join("stat"), format!("{pid} (kubelet) S {}", "1 ".repeat(50))).expect("stat");
            entry
        };
        let (outlet, _signals) = sources::channel();
        let mut disks = Disks::new(&Roots { proc: proc.path().into(), ..Roots::default() }, "node", outlet);
        let mut look = || {
            disks.kubelet_due = Instant::now();
            disks.look_for_kubelet().expect("somebody listens");
            disks.kubelet_runs()
        };
        assert_eq!(look(), None, "none was ever seen");
        let first = process(10);
        assert_eq!(look(), Some(true));
        fs::remove_dir_all(first).expect("end");
        assert_eq!((look(), look()), (Some(false), Some(false)));
        process(11);
        assert_eq!(look(), Some(true), "another one");
    }

    #[test]
    fn a_node_is_told_and_measured_when_asked() {
        let dir = tempfile::tempdir().expect("dir");
        let root = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(&path).expect("dir");
            path
        };
        let roots = Roots {
            proc: root("proc"),
            cgroup: root("cgroup"),
            pod_logs: root("logs"),
            kubelet: vec![root("kubelet")],
            runtime: vec![],
            container_storage: vec![],
            ..Roots::default()
        };
        let (outlet, mut signals) = sources::channel();
        let (stopper, stop) = sources::stop().expect("pipe");
        let (handle, thread) = spawn(&roots, "node", outlet, stop).expect("thread");
        let mut take = || signals.blocking_recv().expect("running").body;
        let Body::EvictionSettings(settings) = take() else { panic!("settings come first") };
        assert!(settings.unread.expect("said").contains("no kubelet"));
        let Body::Source(report) = take() else { panic!("then the condition") };
        assert_eq!((report.source, report.state), (SourceName::Disks, SourceState::Up));
        assert!(report.detail.contains("--runtime-root"), "{}", report.detail);
        let Body::Room(room) = take() else { panic!("then the room") };
        assert_eq!(room.filesystems[0].roles, [FilesystemRole::Nodefs]);
        assert!(matches!(take(), Body::PodStorage(_)), "then what growth is held against");
        handle.measure_soon();
        drop(stopper);
        thread.join().expect("ended");
    }
}
