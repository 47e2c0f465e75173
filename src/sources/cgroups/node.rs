//! Memory figures of the whole node.
//!
//! Flows in: the host's `/proc`. Flows out: [`NodeSample`]s, and word that some process was killed.

use super::{figures, files::KernelFiles};
use crate::{
    model::Bytes,
    signal::{Body, NodeSample, Pressure, SourceState},
    sources::{Outlet, Stopped},
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Everything is read so often ...
const BEAT: Duration = Duration::from_secs(5);
/// ... and told so often, or at once when processes were killed or a fiftieth of the memory moved.
const REGULAR: Duration = Duration::from_secs(15);
/// How often the kill counter alone is read where no cgroup tells of a kill. The kernel's log mostly tells sooner, and
/// the counters are then read at its word; this is for a log that cannot be read or has lost the line.
const KILLS_BEAT: Duration = Duration::from_secs(1);

/// When to read the node's figures, and what was told last.
#[derive(Debug)]
pub struct NodeSampler {
    node: Node,
    kills_beat: Duration,
    kills_due: Instant,
    beat_due: Instant,
    kills: Option<u64>,
    told: Option<(Instant, Bytes)>,
}

impl NodeSampler {
    /// Below `proc`, the host's `/proc`.
    pub fn new(proc: &Path, now: Instant) -> Self {
        let node = Node::new(proc);
        Self { node, kills_beat: BEAT, kills_due: now, beat_due: now, kills: None, told: None }
    }

    /// Whether the kill counter is the first to tell of a kill.
    pub fn watch_kills_closely(&mut self, closely: bool) {
        self.kills_beat = if closely { KILLS_BEAT } else { BEAT };
    }

    /// When the next turn is due.
    pub fn due(&self) -> Instant {
        self.kills_due.min(self.beat_due)
    }

    /// Reads and tells what is due; says whether processes were killed since the last time.
    ///
    /// # Errors
    /// [`Stopped`] when the agent is ending.
    pub fn turn(&mut self, now: Instant, outlet: &Outlet) -> Result<bool, Stopped> {
        if now < self.due() {
            return Ok(false);
        }
        self.kills_due = after(self.kills_due, self.kills_beat, now);
        let kills = self.node.oom_kills();
        let rose = self.kills.zip(kills).is_some_and(|(before, after)| after != before);
        self.kills = kills;
        if rose || now >= self.beat_due {
            self.beat_due = after(self.beat_due, BEAT, now);
            self.tell(now, rose, outlet)?;
        }
        Ok(rose)
    }

    /// Whether the figures can be read, or why not.
    pub fn condition(&mut self) -> (SourceState, String) {
        self.node.condition()
    }

    fn tell(&mut self, now: Instant, rose: bool, outlet: &Outlet) -> Result<(), Stopped> {
        let sample = NodeSample { oom_kill: self.kills, ..self.node.sample() };
        let available = sample.memory_available.unwrap_or_default();
        let step = sample.memory_total.unwrap_or_default().0 / 50;
        let is_news = self.told.is_none_or(|(at, told)| now.duration_since(at) >= REGULAR || told.0.abs_diff(available.0) > step);
        if !(rose || is_news) || sample == NodeSample::default() {
            return Ok(());
        }
        self.told = Some((now, available));
        outlet.offer(Body::NodeMemory(sample))
    }
}

/// A beat after `due`, so that what began together stays together and shares its wakes; one that was missed is left out.
fn after(due: Instant, beat: Duration, now: Instant) -> Instant {
    let next = due + beat;
    if next > now { next } else { now + beat }
}

/// Reads the node-wide files of one `/proc`.
#[derive(Debug)]
pub struct Node {
    proc: PathBuf,
    files: KernelFiles,
}

impl Node {
    /// Below `proc`, the host's `/proc`.
    pub fn new(proc: &Path) -> Self {
        Self { proc: proc.into(), files: KernelFiles::default() }
    }

    /// Processes killed by the kernel since boot, whichever limit they hit; every kill that a cgroup
    /// counts is in here too. `None` before kernel 4.13.
    pub fn oom_kills(&mut self) -> Option<u64> {
        let content = self.files.read(&self.proc, "", "vmstat").ok()??;
        figures::value(content, "oom_kill")
    }

    /// Every figure but the kill counter, which has a beat of its own.
    pub fn sample(&mut self) -> NodeSample {
        let (total, available) = self.memory();
        NodeSample {
            oom_kill: None,
            memory_available: available,
            memory_total: total,
            memory_pressure: self.pressure("memory"),
            io_pressure: self.pressure("io"),
            cpu_pressure: self.pressure("cpu"),
        }
    }

    /// Whether the figures can be read, or why not.
    pub fn condition(&mut self) -> (SourceState, String) {
        let proc = self.proc.display().to_string();
        match self.files.read(&self.proc, "", "meminfo") {
            Ok(Some(_)) => (SourceState::Up, proc),
            Ok(None) => (SourceState::Absent, format!("{proc}/meminfo does not exist; mount the host's /proc here")),
            Err(error) => (SourceState::Unreadable, error.to_string()),
        }
    }

    fn memory(&mut self) -> (Option<Bytes>, Option<Bytes>) {
        let content = self.files.read(&self.proc, "", "meminfo").ok().flatten().unwrap_or_default();
        let amount = |key| figures::value(content, key).map(Bytes::from_kib);
        (amount("MemTotal"), amount("MemAvailable"))
    }

    /// The files are missing when the kernel was started with `psi=0`.
    fn pressure(&mut self, what: &str) -> Option<Pressure> {
        self.files.read(&self.proc, "/pressure", what).ok()?.and_then(figures::pressure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::cgroups::testing::Tree;

    #[test]
    fn every_figure_and_those_this_kernel_lacks() {
        let tree = Tree::new();
        tree.write("vmstat", "nr_free_pages 5\noom_kill 12\noom_kill_late 3\n");
        tree.write("meminfo", "MemTotal:  2048 kB\nMemFree:  1 kB\nMemAvailable:  1024 kB\n");
        tree.write("pressure/io", "some avg10=2.50 avg60=0.00 avg300=0.00 total=9\n");
        let mut node = Node::new(tree.root());
        let expected = NodeSample {
            memory_available: Some(Bytes::from_kib(1024)),
            memory_total: Some(Bytes::from_kib(2048)),
            io_pressure: Some(Pressure { some_avg10: 2.5, some_total_us: 9, full_total_us: None }),
            ..NodeSample::default()
        };
        assert_eq!((node.sample(), node.oom_kills()), (expected, Some(12)));
        assert_eq!(node.condition().0, SourceState::Up);
    }

    #[test]
    fn a_kill_is_told_at_once_and_quiet_figures_at_their_beat() {
        let tree = Tree::new();
        tree.write("meminfo", "MemTotal:  1000 kB\nMemAvailable:  500 kB\n");
        tree.write("vmstat", "oom_kill 1\n");
        let start = Instant::now();
        let (outlet, mut signals) = crate::sources::channel();
        let mut node = NodeSampler::new(tree.root(), start);
        node.watch_kills_closely(true);
        let mut told = |node: &mut NodeSampler, millis| {
            let rose = node.turn(start + Duration::from_millis(millis), &outlet).expect("running");
            (rose, signals.try_recv().ok().map(|signal| signal.body))
        };
        assert!(matches!(told(&mut node, 0), (false, Some(Body::NodeMemory(_)))), "the first");
        assert_eq!(told(&mut node, 500), (false, None));
        tree.write("vmstat", "oom_kill 3\n");
        assert_eq!(told(&mut node, 800), (false, None), "not due");
        let (rose, body) = told(&mut node, 1000);
        let Some(Body::NodeMemory(sample)) = body else { panic!("{body:?}") };
        assert_eq!((rose, sample.oom_kill), (true, Some(3)));
        assert_eq!(told(&mut node, 6_100), (false, None), "read, and nothing moved");
        tree.write("meminfo", "MemTotal:  1000 kB\nMemAvailable:  400 kB\n");
        assert!(matches!(told(&mut node, 11_200), (false, Some(_))));
        assert!(matches!(told(&mut node, 26_300), (false, Some(_))), "regular");
    }

    #[test]
    fn an_empty_folder_is_absent() {
        let tree = Tree::new();
        let mut node = Node::new(tree.root());
        assert_eq!((node.sample(), node.condition().0), (NodeSample::default(), SourceState::Absent));
    }
}
