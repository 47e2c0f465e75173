//! CPU limits of real cgroups, against the real kernel.
//!
//! Needs the right to make cgroups. Without it each test says why it was left out, and fails where
//! `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test ends where it is surprised"
)]

use nodewhy::{
    config::Roots,
    demonstration::{DemoPod, PodPlan},
    inventory::Inventory,
    model::{BootTime, CgroupPlace},
    signal::{Body, CgroupSample, Signal},
    sources::{
        cgroups::{Layout, SamplerHandle, spawn},
        channel,
    },
};
use std::{
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::sync::mpsc::Receiver;

const CGROUPS: &str = "/sys/fs/cgroup";

/// Only there to end a broken test; every wait ends by the signal that it waits for.
const PATIENCE: Duration = Duration::from_secs(90);

/// A made-up pod with one container that has a limit of some controller, and a shell in it.
struct Limited {
    shell: Child,
    /// Folders made in the controller's own hierarchy, the outermost first; none on v2.
    made: Vec<PathBuf>,
    pod: DemoPod,
}

impl Limited {
    /// `None` (with the reason said) where this machine does not give the right to make one.
    fn start(controller: &str, set_limit: impl FnOnce(&Path, &Layout) -> io::Result<()>, script: &str) -> Option<Self> {
        let pod = DemoPod::create(Path::new(CGROUPS), &PodPlan { containers: 1, container_limit: None, pod_limit: None });
        let pod = pod.map_err(left_out).ok()?;
        let layout = Layout::find(Path::new(CGROUPS)).expect("a pod was made in it");
        let path = pod.container(0).expect("container").path.clone();
        let (folder, made) = in_hierarchy(&layout, controller, &path).map_err(left_out).ok()?;
        set_limit(&folder, &layout).map_err(left_out).ok()?;
        // The shell waits for a line, so that it is in its cgroup before it begins.
        let script = format!("read go; {script}");
        let shell = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh");
        fs::write(folder.join("cgroup.procs"), shell.id().to_string()).expect("the shell enters its cgroup");
        Some(Self { shell, made, pod })
    }

    fn go(&mut self) {
        use io::Write;
        writeln!(self.shell.stdin.as_mut().expect("stdin"), "go").expect("the shell reads");
    }

    fn container(&self) -> &str {
        &self.pod.container(0).expect("container").path
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        self.made.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

/// The folder of a cgroup where this controller has its limits.
fn in_hierarchy(layout: &Layout, controller: &str, path: &str) -> io::Result<(PathBuf, Vec<PathBuf>)> {
    let parts = || path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]).filter_map(|end| path.get(1..end));
    match layout {
        Layout::V2 { unified } => {
            let above: Vec<_> = [""].into_iter().chain(parts()).filter(|part| path.get(1..) != Some(*part)).collect();
            above.iter().try_for_each(|part| fs::write(unified.join(part).join("cgroup.subtree_control"), format!("+{controller}")))?;
            Ok((unified.join(&path[1..]), vec![]))
        }
        Layout::V1 { cpu, pids, .. } => {
            let mount = if controller == "cpu" { cpu } else { pids };
            let mount = mount.clone().ok_or_else(|| io::Error::other(format!("no hierarchy has the controller {controller}")))?;
            let made: Vec<_> = parts().map(|part| mount.join(part)).collect();
            made.iter().try_for_each(fs::create_dir)?;
            Ok((mount.join(&path[1..]), made))
        }
    }
}

fn left_out(error: impl Display) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must be able to do this: {error}");
    eprintln!("left out: {error}");
}

/// A running sampler and what it says.
struct Watcher {
    signals: Receiver<Signal>,
    _handle: SamplerHandle,
    runtime: tokio::runtime::Runtime,
}

impl Watcher {
    fn start() -> Self {
        let (outlet, signals) = channel();
        let handle = spawn(&Roots::default(), outlet).expect("thread");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
        Self { signals, _handle: handle, runtime }
    }

    /// The next sample of this cgroup, and when it was read.
    fn sample(&mut self, path: &str) -> (BootTime, CgroupSample) {
        loop {
            let signals = &mut self.signals;
            let signal = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, signals.recv()).await });
            let signal = signal.expect("nothing was said in time").expect("the sampler ended");
            match signal.body {
                Body::Cgroup(sample) if sample.path == path => return (signal.at.boot, *sample),
                _ => {}
            }
        }
    }
}

#[test]
fn a_container_held_back_by_its_cpu_limit_is_known_within_seconds() {
    /// Ten milliseconds in each hundred.
    fn a_tenth_of_a_cpu(folder: &Path, layout: &Layout) -> io::Result<()> {
        match layout {
            Layout::V1 { .. } => fs::write(folder.join("cpu.cfs_quota_us"), "10000"),
            Layout::V2 { .. } => fs::write(folder.join("cpu.max"), "10000 100000"),
        }
    }
    let mut watcher = Watcher::start();
    let Some(mut limited) = Limited::start("cpu", a_tenth_of_a_cpu, "while :; do :; done") else { return };
    limited.go();
    let place = CgroupPlace::of(limited.container());
    let id = place.container().expect("container");
    let mut inventory = Inventory::default();
    let throttled = loop {
        let (at, sample) = watcher.sample(limited.container());
        inventory.sampled(at, &place, &sample);
        let throttled = inventory.container(id).and_then(|container| container.throttled(at, 60));
        if let Some(throttled) = throttled.filter(|throttled| throttled.of_us > 2_000_000) {
            break throttled;
        }
    };
    // On a busy machine the thread does not get its tenth in every period, and is then not held back in it.
    assert!((1..=100).contains(&throttled.periods_percent()), "{throttled:?}");
    assert!((1..=100).contains(&throttled.time_percent()), "{throttled:?}");
}
