//! The figures of all followed cgroups, each at its own pace.
//!
//! Flows in: [`Change`]s of the tree, due times, word of a kill. Flows out: signals. Owned by one
//! thread (`thread`), which calls [`CgroupSampler::turn`] whenever something may be due.
//!
//! A sample that is sent is complete: what was not read at this look is carried over from
//! the last whole reading, at most two minutes old and less than a twentieth of the limit off. Times spent
//! waiting are not carried over: their rise is what is told of them. The kill counters are never carried over a kill: they are read when the kernel says that they changed
//! (v2: inotify on `memory.events`), or when the node's own kill counter rose, which every kill of
//! a cgroup does too (v1 notifies nobody).

use super::{
    discovery::{Change, Discovery, Kind, parent_of},
    layout::Layout,
    pace::{Bounds, Grid, Pace, QUIET, RESTING, SHORTEST, SLOTS, YOUTH},
    processes::Processes,
    reader::CgroupReader,
    watches::is_at_or_below,
};
use crate::{
    model::{Bytes, CgroupPlace, ProcessKey},
    signal::{Body, CgroupCounters, CgroupSample, ContainerMounts, CpuThrottling, ProcessSample, ProcessesSample, SourceState},
    sources::{Outlet, Stopped},
};
use std::{
    collections::BTreeMap,
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

/// The tree is compared with what is followed so often, in case an event was lost.
const RESCAN: Duration = Duration::from_secs(300);
/// The same where the kernel had no inotify to spare, or no pod was found yet.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(15);
/// A pass over all processes is made at least this often, where one is needed.
const PASS: Duration = Duration::from_secs(30);
/// And so long after a container appeared: its first process is moved in just after its cgroup is made.
const PASS_AFTER_START: Duration = Duration::from_secs(1);
/// Looks in one turn; the rest wait for the next, after events and requests had theirs.
const MOST_LOOKS: usize = 128;
/// Events are left to gather for so long between two readings of them ...
const EVENTS_APART: Duration = Duration::from_millis(10);
/// ... or for this multiple of what the last took: a hundred thrashing containers, each changing
/// its counters a hundred times a second, get a twentieth of a core and no more.
const EVENTS_SHARE: u32 = 20;
/// A container whose CPU limit held it back for more than this part of the time is looked at often:
/// one that waits for a twentieth of its time answers a probe a little later, more makes it fail.
const THROTTLED_SHARE: u32 = 20;

/// One followed cgroup.
#[derive(Debug)]
struct Followed {
    kind: Kind,
    pace: Pace,
    /// The longest time between looks while nothing happens.
    quiet: Duration,
    /// As last sent, or read; `None` before the first look.
    last: Option<Box<CgroupSample>>,
    /// When a look last read its CPU throttling, and how much it was.
    cpu: Option<(Instant, CpuThrottling)>,
    /// Whether its CPU limit held it back between the last two readings.
    held_back: bool,
    /// The first process whose mounts were told.
    mounts_of: Option<ProcessKey>,
}

impl Followed {
    /// The last sample with what was read just now.
    fn overlaid(&mut self, usage: Bytes, cpu: Option<CpuThrottling>) -> Option<Box<CgroupSample>> {
        let last = self.last.as_mut()?;
        last.usage = Some(usage);
        let mut sample = last.clone();
        sample.cpu = cpu;
        (sample.memory_pressure, sample.io_pressure, sample.cpu_pressure) = (None, None, None);
        Some(sample)
    }

    /// Takes a reading of its CPU throttling; says whether its CPU limit held it back since the last
    /// one by as much as matters. While it does, it is looked at as often as its pod.
    fn is_held_back(&mut self, cpu: Option<CpuThrottling>, now: Instant) -> bool {
        let Some(cpu) = cpu else { return false };
        let (then, before) = self.cpu.replace((now, cpu)).unwrap_or((now, cpu));
        let held = Duration::from_micros(cpu.throttled_us.saturating_sub(before.throttled_us));
        let was_held_back = std::mem::replace(&mut self.held_back, held * THROTTLED_SHARE > now.duration_since(then));
        if self.held_back != was_held_back {
            self.pace.look_at_least_every(if self.held_back { QUIET } else { self.quiet }, now);
        }
        self.held_back
    }

    fn limit(&self) -> Option<Bytes> {
        self.last.as_ref()?.limit?.bytes()
    }

    fn reclaimable(&self) -> Bytes {
        self.last.as_ref().and_then(|last| last.split?.inactive_file).unwrap_or_default()
    }
}

/// All followed cgroups of one layout.
#[derive(Debug)]
pub struct CgroupSampler {
    outlet: Outlet,
    origin: Instant,
    reader: CgroupReader,
    discovery: Discovery,
    processes: Processes,
    followed: BTreeMap<Arc<str>, Followed>,
    /// How many have been followed so far: spreads them over the slots of a period.
    arrivals: u8,
    rescan_due: Instant,
    pass_due: Instant,
    events_due: Instant,
    /// When the next look is due; `None` once that may have changed. Going over all of them at each wake, which on cgroup
    /// v1 are some each second, was a third of what an idle node costs.
    looks_due: Option<Instant>,
}

impl CgroupSampler {
    /// Nothing followed yet; the first [`CgroupSampler::turn`] walks the tree.
    pub fn new(layout: Layout, processes: Processes, outlet: Outlet, now: Instant) -> Self {
        let discovery = Discovery::new(layout.memory(), layout.version());
        Self {
            outlet,
            origin: now,
            reader: CgroupReader::new(layout),
            discovery,
            processes,
            followed: BTreeMap::new(),
            arrivals: 0,
            rescan_due: now,
            pass_due: now,
            events_due: now,
            looks_due: None,
        }
    }

    /// To wait on for events; `None` while they are left to gather.
    pub fn events(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        self.discovery.as_fd().filter(|_| now >= self.events_due)
    }

    /// When the next turn is due without any event.
    pub fn due(&self, now: Instant) -> Instant {
        let looks = self.looks_due.or_else(|| self.next_look());
        let passes = self.processes.needs_passes().then_some(self.pass_due);
        let events = Some(self.events_due).filter(|due| *due > now);
        looks.into_iter().chain(passes).chain(events).fold(self.rescan_due, Instant::min)
    }

    /// Does what is due.
    ///
    /// # Errors
    /// [`Stopped`] when the agent is ending.
    pub fn turn(&mut self, now: Instant) -> Result<(), Stopped> {
        self.take_events(now)?;
        if now >= self.rescan_due {
            let changes = self.discovery.rescan();
            self.take(changes, Duration::ZERO, now)?;
            let is_settled = self.discovery.is_event_driven() && self.discovery.count(Kind::Class) > 0;
            self.rescan_due = now + if is_settled { RESCAN } else { RESCAN_UNWATCHED };
        }
        if now >= self.pass_due && self.processes.needs_passes() {
            self.processes.pass(self.reader.layout());
            self.pass_due = now + PASS;
        }
        if self.looks_due.is_none_or(|due| due <= now) {
            let due = self.followed.iter().filter(|(_, followed)| followed.pace.due() <= now);
            let due: Vec<_> = due.map(|(path, _)| Arc::clone(path)).take(MOST_LOOKS).collect();
            due.iter().try_for_each(|path| self.look(path, now))?;
            self.looks_due = self.next_look();
        }
        Ok(())
    }

    fn next_look(&self) -> Option<Instant> {
        self.followed.values().map(|followed| followed.pace.due()).min()
    }

    /// The node's kill counter rose: finds the cgroups whose own counters did.
    ///
    /// # Errors
    /// [`Stopped`] when the agent is ending.
    pub fn check_all_counters(&mut self, now: Instant) -> Result<(), Stopped> {
        self.looks_due = None;
        let paths: Vec<_> =
            self.followed.iter().filter(|(_, followed)| followed.kind != Kind::Class).map(|(path, _)| Arc::clone(path)).collect();
        paths.iter().try_for_each(|path| self.check_counters(path, now))
    }

    /// Reads at once the cgroup that `path` means, with its pod and its processes. The path may be
    /// another's view of it, such as the kernel log's from outside of a nested node.
    ///
    /// # Errors
    /// [`Stopped`] when the agent is ending.
    pub fn sample_soon(&mut self, path: &str, now: Instant) -> Result<(), Stopped> {
        self.looks_due = None;
        let Some(path) = self.resolve(path) else { return Ok(()) };
        if let Some(pod) = self.pod_of(&path).filter(|pod| **pod != *path) {
            self.read_whole(&pod)?;
        }
        self.read_whole(&path)?;
        self.read_processes(&path, now)
    }

    /// Whether cgroups can be read, with what is followed, or why not.
    pub fn condition(&mut self) -> (SourceState, String) {
        if let Some(problem) = self.reader.take_problem() {
            let state = if problem.is_denied() { SourceState::Unreadable } else { SourceState::Failing };
            return (state, problem.to_string());
        }
        let count = |kind| self.discovery.count(kind);
        let mut detail = format!("{}: {} pods, {} containers", self.reader.layout(), count(Kind::Pod), count(Kind::Container));
        if count(Kind::Class) == 0 {
            detail.push_str("; no kubepods cgroup is below it, is this the host's /sys/fs/cgroup?");
        }
        if self.discovery.left_out() > 0 {
            detail.push_str(&format!("; {} more are left out", self.discovery.left_out()));
        }
        if !self.discovery.is_event_driven() {
            detail.push_str("; changes are seen late, raise fs.inotify.max_user_watches and max_user_instances");
        }
        (SourceState::Up, detail)
    }

    /// Whether processes can be read, and how, or why not.
    pub fn processes_condition(&mut self) -> (SourceState, String) {
        self.processes.condition()
    }

    fn take_events(&mut self, now: Instant) -> Result<(), Stopped> {
        if now < self.events_due {
            return Ok(());
        }
        let begun = Instant::now();
        let changes = self.discovery.changes();
        if changes.is_empty() {
            return Ok(());
        }
        self.take(changes, YOUTH, now)?;
        self.events_due = now + EVENTS_APART.max(begun.elapsed() * EVENTS_SHARE);
        Ok(())
    }

    /// `youth`: what appears in an event is new, what a walk finds may have run for months.
    fn take(&mut self, changes: Vec<Change>, youth: Duration, now: Instant) -> Result<(), Stopped> {
        if !changes.is_empty() {
            self.looks_due = None;
        }
        changes.into_iter().try_for_each(|change| match change {
            Change::Appeared(path, kind) => {
                self.follow(path, kind, youth, now);
                Ok(())
            }
            Change::Gone(path, kind) => self.let_go(&path, kind),
            Change::Counters(path) => self.check_counters(&path, now),
        })
    }

    fn follow(&mut self, path: Arc<str>, kind: Kind, youth: Duration, now: Instant) {
        self.arrivals = self.arrivals.wrapping_add(1);
        let has_pod = parent_of(&path).and_then(|parent| self.followed.get(parent)).is_some_and(|parent| parent.kind == Kind::Pod);
        let quiet = if has_pod { RESTING } else { QUIET };
        let pace = Pace::new(now, youth, quiet, Grid { origin: self.origin, slot: self.arrivals % SLOTS });
        self.followed.insert(path, Followed { kind, pace, quiet, last: None, cpu: None, held_back: false, mounts_of: None });
        if kind == Kind::Container {
            self.pass_due = self.pass_due.min(now + PASS_AFTER_START);
        }
    }

    /// The counters of a pod outlive its containers', so they are read before the end is told.
    fn let_go(&mut self, path: &Arc<str>, kind: Kind) -> Result<(), Stopped> {
        self.followed.remove(path);
        if let Some(parent) = parent_of(path).map(Arc::from).filter(|_| kind == Kind::Container) {
            self.read_whole(&parent)?;
        }
        self.outlet.send(Body::CgroupGone { path: path.to_string() })
    }

    /// Reads the counters alone, and the whole pod if someone was killed.
    fn check_counters(&mut self, path: &Arc<str>, now: Instant) -> Result<(), Stopped> {
        let Some(followed) = self.followed.get_mut(path) else { return Ok(()) };
        let counters = self.reader.counters(path);
        let before = followed.last.as_ref().map(|last| last.counters).unwrap_or_default();
        if kills(counters) == kills(before) {
            followed.pace.hurry(now + SHORTEST);
            return Ok(());
        }
        let pod = self.pod_of(path).unwrap_or_else(|| Arc::clone(path));
        let family: Vec<_> = self.inside(&pod).map(|(path, _)| Arc::clone(path)).collect();
        family.iter().try_for_each(|member| self.read_whole(member).and_then(|()| self.read_processes(member, now)))
    }

    fn look(&mut self, path: &Arc<str>, now: Instant) -> Result<(), Stopped> {
        let bounds = self.bounds(path);
        let seen = self.reader.usage(path);
        let Some(followed) = self.followed.get_mut(path) else { return Ok(()) };
        let verdict = followed.pace.look(now, seen.unwrap_or_default(), bounds);
        let (kind, is_pod) = (followed.kind, followed.kind == Kind::Pod);
        let Some(usage) = seen else { return Ok(()) };
        if verdict.whole {
            let sample = self.reader.complete(path, usage);
            let sample = self.with_pressure(kind, sample);
            if let Some(followed) = self.followed.get_mut(path) {
                followed.is_held_back(sample.cpu, now);
            }
            self.tell(path, sample)?;
        } else {
            self.glance(path, usage, verdict.tell, now)?;
        }
        if verdict.processes {
            self.read_processes(path, now)?;
        }
        if verdict.moved && is_pod {
            self.hurry_containers(path, now);
        }
        Ok(())
    }

    /// A look that reads little: of a container what its CPU limit did, too. Told if asked for or worth it.
    fn glance(&mut self, path: &Arc<str>, usage: Bytes, tell: bool, now: Instant) -> Result<(), Stopped> {
        let Some(followed) = self.followed.get_mut(path) else { return Ok(()) };
        let cpu = (followed.kind == Kind::Container).then(|| self.reader.throttling(path)).flatten();
        let worth_telling = followed.is_held_back(cpu, now) || tell;
        let sample = worth_telling.then(|| followed.overlaid(usage, cpu)).flatten();
        sample.map_or(Ok(()), |sample| self.outlet.offer(Body::Cgroup(sample)))
    }

    /// Of a pod, how long its tasks waited, too.
    fn with_pressure(&mut self, kind: Kind, sample: CgroupSample) -> CgroupSample {
        if kind == Kind::Pod { self.reader.pressure(sample) } else { sample }
    }

    /// Reads and tells everything at once, whatever the pace; nothing of a cgroup that is gone.
    fn read_whole(&mut self, path: &Arc<str>) -> Result<(), Stopped> {
        let Some(kind) = self.followed.get(path).map(|followed| followed.kind) else { return Ok(()) };
        let Some(sample) = self.reader.sample(path) else { return Ok(()) };
        let sample = self.with_pressure(kind, sample);
        self.tell(path, sample)
    }

    fn tell(&mut self, path: &Arc<str>, sample: CgroupSample) -> Result<(), Stopped> {
        let Some(followed) = self.followed.get_mut(path) else { return Ok(()) };
        let sample = Box::new(sample);
        followed.last = Some(sample.clone());
        self.outlet.offer(Body::Cgroup(sample))
    }

    fn read_processes(&mut self, path: &Arc<str>, now: Instant) -> Result<(), Stopped> {
        if self.followed.get(path).is_none_or(|followed| followed.kind != Kind::Container) {
            return Ok(());
        }
        let Some(sample) = self.processes.sample(self.reader.layout(), path) else {
            // Its cgroup is made before anything runs in it.
            self.followed.get_mut(path).into_iter().for_each(|followed| followed.pace.is_being_set_up(now));
            return Ok(());
        };
        self.tell_mounts(path, &sample, now)?;
        self.outlet.offer(Body::Processes(sample))
    }

    /// What a container has mounted is read once for each first process.
    fn tell_mounts(&mut self, path: &Arc<str>, sample: &ProcessesSample, now: Instant) -> Result<(), Stopped> {
        let Some(followed) = self.followed.get_mut(path) else { return Ok(()) };
        let Some(first) = first_process(sample).filter(|first| followed.mounts_of != Some(first.key)) else { return Ok(()) };
        let mounts = match self.processes.mounts(first.key.pid) {
            Ok(Some(mounts)) => mounts,
            Ok(None) => {
                followed.pace.is_being_set_up(now);
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        followed.mounts_of = Some(first.key);
        // Not offered: it is said once.
        self.outlet.send(Body::ContainerMounts(ContainerMounts { cgroup: path.to_string(), mounts }))
    }

    /// A pod moves when one of its containers does.
    fn hurry_containers(&mut self, pod: &Arc<str>, now: Instant) {
        let inside = self.followed.range_mut(Arc::clone(pod)..).take_while(|(path, _)| path.starts_with(&**pod));
        inside.filter(|(_, followed)| followed.kind == Kind::Container).for_each(|(_, followed)| followed.pace.hurry(now));
    }

    /// The limit that a cgroup hits first (a container without one of its own hits its pod's), and
    /// the smallest that something in a pod hits.
    fn bounds(&self, path: &Arc<str>) -> Bounds {
        let Some(followed) = self.followed.get(path) else { return Bounds::default() };
        let of_pod = || self.followed.get(parent_of(path)?).filter(|parent| parent.kind == Kind::Pod)?.limit();
        let inside = || self.inside(path).filter_map(|(_, followed)| followed.limit()).min();
        Bounds {
            limit: followed.limit().or_else(of_pod),
            smallest_inside: (followed.kind == Kind::Pod).then(inside).flatten(),
            reclaimable: followed.reclaimable(),
        }
    }

    /// A pod and its containers.
    fn inside(&self, pod: &Arc<str>) -> impl Iterator<Item = (&Arc<str>, &Followed)> {
        let named_alike = self.followed.range(Arc::clone(pod)..).take_while(|(path, _)| path.starts_with(&**pod));
        named_alike.filter(|(path, _)| is_at_or_below(path, pod))
    }

    /// The pod that a followed pod or container belongs to.
    fn pod_of(&self, path: &Arc<str>) -> Option<Arc<str>> {
        match self.followed.get(path)?.kind {
            Kind::Class => None,
            Kind::Pod => Some(Arc::clone(path)),
            Kind::Container => self.followed.get_key_value(parent_of(path)?).map(|(parent, _)| Arc::clone(parent)),
        }
    }

    /// The followed cgroup that a path means: itself, else the same container, else the same pod.
    fn resolve(&self, path: &str) -> Option<Arc<str>> {
        if let Some((followed, _)) = self.followed.get_key_value(path) {
            return Some(Arc::clone(followed));
        }
        let place = CgroupPlace::of(path);
        let find = |is_it: &dyn Fn(&CgroupPlace) -> bool| self.followed.keys().find(|path| is_it(&CgroupPlace::of(path))).cloned();
        let container = place.container().and_then(|id| find(&|other| other.container() == Some(id)));
        container.or_else(|| place.pod().and_then(|uid| find(&|other| other.pod() == Some(uid))))
    }
}

/// The part of the counters that rises with a kill or its attempt; the rest rises with mere pressure.
fn kills(counters: CgroupCounters) -> [Option<u64>; 6] {
    let (events, local) = (counters.events.unwrap_or_default(), counters.local.unwrap_or_default());
    [events.oom, events.oom_kill, events.oom_group_kill, local.oom, local.oom_kill, local.oom_group_kill]
}

/// A container's first process has pid 1 in its own namespace; where a pod shares its namespace, it is the oldest.
fn first_process(sample: &ProcessesSample) -> Option<&ProcessSample> {
    let one = sample.processes.iter().find(|process| process.inner_pid == Some(1));
    one.or_else(|| sample.processes.iter().min_by_key(|process| process.key.start_ticks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Limit,
        signal::Signal,
        sources::{
            cgroups::testing::{Tree, process},
            channel,
        },
    };
    use tokio::sync::mpsc::Receiver;

    const POD: &str = "/kubepods/burstable/pod1b4e28ba-2fa1-41d2-883f-0016d3cca427";

    fn container() -> String {
        format!("{POD}/{}", "c".repeat(64))
    }

    /// A node with one pod of one container, its process 31, and a sampler on it.
    struct Bench {
        tree: Tree,
        sampler: CgroupSampler,
        signals: Receiver<Signal>,
        start: Instant,
    }

    impl Bench {
        fn v2() -> Self {
            let tree = Tree::new();
            tree.write("proc/self/status", "NSpid:\t900\n");
            let layout = Layout::V2 { unified: tree.at("cgroup") };
            Self::over(tree, layout, "memory.current", "memory.max", "memory.events")
        }

        fn v1() -> Self {
            let tree = Tree::new();
            tree.write("proc/self/status", "NSpid:\t900\n");
            let layout = Layout::V1 { memory: tree.at("cgroup"), cpu: None, pids: None };
            Self::over(tree, layout, "memory.usage_in_bytes", "memory.limit_in_bytes", "memory.oom_control")
        }

        fn over(tree: Tree, layout: Layout, usage: &str, limit: &str, events: &str) -> Self {
            for path in ["/kubepods", POD, &container()] {
                tree.write(&format!("cgroup{path}/{usage}"), "1048576\n");
                tree.write(&format!("cgroup{path}/{limit}"), "104857600\n");
                tree.write(&format!("cgroup{path}/{events}"), "oom_kill 0\n");
            }
            tree.write(&format!("cgroup{}/cgroup.procs", container()), "31\n");
            let inside = Tree::new();
            process(&inside, 31, "worker", 5, "31\t1");
            for file in ["stat", "status", "oom_score_adj"] {
                tree.write(&format!("proc/31/{file}"), &std::fs::read_to_string(inside.at(&format!("31/{file}"))).expect("file"));
            }
            let (outlet, signals) = channel();
            let start = Instant::now();
            let sampler = CgroupSampler::new(layout, Processes::new(&tree.at("proc")), outlet, start);
            Self { tree, sampler, signals, start }
        }

        fn turn_at(&mut self, seconds: u64) -> Vec<Body> {
            self.sampler.turn(self.start + Duration::from_secs(seconds)).expect("running");
            self.told()
        }

        fn told(&mut self) -> Vec<Body> {
            std::iter::from_fn(|| self.signals.try_recv().ok().map(|signal| signal.body)).collect()
        }

        /// Turns until nothing is due any more, and forgets what was told.
        fn settle(&mut self) {
            (0..40).for_each(|second| drop(self.turn_at(second)));
        }
    }

    /// What a signal is about, for short.
    fn words(bodies: &[Body]) -> Vec<String> {
        let word = |body: &Body| match body {
            Body::Cgroup(sample) => format!("sample {}", sample.path),
            Body::Processes(sample) => format!("processes {}", sample.cgroup),
            Body::CgroupGone { path } => format!("gone {path}"),
            other => format!("{other:?}"),
        };
        bodies.iter().map(word).collect()
    }

    #[test]
    fn everything_is_told_at_the_first_turn() {
        let mut bench = Bench::v2();
        let told = words(&bench.turn_at(0));
        let expected = vec![
            "sample /kubepods".to_owned(),
            format!("sample {POD}"),
            format!("sample {}", container()),
            format!("processes {}", container()),
        ];
        assert_eq!(told, expected, "a class without memory files is followed and not told");
        let (state, detail) = bench.sampler.condition();
        assert!(state == SourceState::Up && detail.contains("1 pods, 1 containers"), "{detail}");
    }

    #[test]
    fn a_kill_is_told_with_the_whole_pod_and_its_processes() {
        let mut bench = Bench::v2();
        bench.settle();
        bench.tree.write(&format!("cgroup{POD}/memory.events"), "max 9\noom_kill 1\n");
        let told = words(&bench.turn_at(50));
        let kill = vec![format!("sample {POD}"), format!("sample {}", container()), format!("processes {}", container())];
        assert_eq!(told[..3], kill);
    }

    #[test]
    fn pressure_without_a_kill_only_brings_the_next_look_forward() {
        let mut bench = Bench::v2();
        bench.settle();
        bench.tree.write(&format!("cgroup{POD}/memory.events"), "max 9\noom_kill 0\n");
        let now = bench.start + Duration::from_secs(40);
        bench.sampler.turn(now).expect("running");
        assert!(bench.sampler.due(now) <= now + SHORTEST);
    }

    #[test]
    fn on_v1_the_nodes_counter_leads_to_the_cgroup_that_lost_a_process() {
        let mut bench = Bench::v1();
        bench.settle();
        bench.tree.write(&format!("cgroup{}/memory.oom_control", container()), "under_oom 0\noom_kill 1\n");
        bench.sampler.check_all_counters(bench.start).expect("running");
        let told = bench.told();
        let kills = |body: &Body| match body {
            Body::Cgroup(sample) => sample.counters.local.and_then(|local| local.oom_kill),
            _ => None,
        };
        assert_eq!(words(&told), [format!("sample {POD}"), format!("sample {}", container()), format!("processes {}", container())]);
        assert_eq!(told.iter().map(kills).collect::<Vec<_>>(), [Some(0), Some(1), None]);
        bench.sampler.check_all_counters(bench.start).expect("running");
        assert_eq!(words(&bench.told()), Vec::<String>::new(), "told once");
    }

    #[test]
    fn the_pod_is_read_once_more_before_a_containers_end_is_told() {
        let mut bench = Bench::v2();
        bench.settle();
        bench.tree.remove(&format!("cgroup{}", container()));
        assert_eq!(words(&bench.turn_at(50))[..2], [format!("sample {POD}"), format!("gone {}", container())]);
        bench.tree.remove(&format!("cgroup{POD}"));
        assert_eq!(words(&bench.turn_at(51)), [format!("gone {POD}")]);
    }

    #[test]
    fn a_small_change_is_told_with_the_rest_as_last_read() {
        let mut bench = Bench::v2();
        bench.settle();
        bench.tree.write(&format!("cgroup{}/memory.current", container()), &format!("{}\n", 3 << 20));
        bench.tree.write(&format!("cgroup{POD}/memory.current"), &format!("{}\n", 3 << 20));
        let told = (40..56).flat_map(|second| bench.turn_at(second)).find_map(|body| match body {
            Body::Cgroup(sample) if sample.path == container() => Some(sample),
            _ => None,
        });
        let sample = told.expect("told within a quiet period");
        assert_eq!((sample.usage, sample.limit), (Some(Bytes(3 << 20)), Some(Limit::Bytes(Bytes(100 << 20)))));
    }

    #[test]
    fn a_container_that_its_cpu_limit_holds_back_is_looked_at_as_often_as_its_pod() {
        let mut bench = Bench::v2();
        let throttle = |bench: &Bench, millis: u64| {
            let content = format!("nr_periods 900\nnr_throttled 9\nthrottled_usec {}\n", millis * 1000);
            bench.tree.write(&format!("cgroup{}/cpu.stat", container()), &content);
        };
        let told = |bodies: Vec<Body>| {
            let throttled = |body| match body {
                Body::Cgroup(sample) if sample.path == container() => sample.cpu.map(|cpu| cpu.throttled_us / 1000),
                _ => None,
            };
            bodies.into_iter().filter_map(throttled).collect::<Vec<_>>()
        };
        throttle(&bench, 0);
        (0..300).for_each(|second| drop(bench.turn_at(second)));
        throttle(&bench, 60_000);
        let found = (300..420).flat_map(|second| told(bench.turn_at(second))).collect::<Vec<_>>();
        assert!(found.contains(&60_000), "at the next slow look: {found:?}");
        let followed = (420..480).flat_map(|second| {
            throttle(&bench, 60_000 + second * 100);
            told(bench.turn_at(second))
        });
        assert!(followed.collect::<Vec<_>>().len() >= 3, "then every 15 s");
        let at_rest = (480..800).flat_map(|second| told(bench.turn_at(second))).collect::<Vec<_>>();
        assert!(at_rest.len() <= 5, "and seldom when that is over: {at_rest:?}");
    }

    #[test]
    fn of_a_pod_it_is_read_how_long_its_tasks_waited() {
        let mut bench = Bench::v2();
        bench.tree.write(&format!("cgroup{POD}/io.pressure"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=77\n");
        bench.tree.write(&format!("cgroup{}/io.pressure", container()), "some avg10=0.00 avg60=0.00 avg300=0.00 total=76\n");
        let waited = |body: Body| match body {
            Body::Cgroup(sample) => sample.io_pressure.map(|pressure| pressure.some_total_us),
            _ => None,
        };
        assert_eq!(bench.turn_at(0).into_iter().filter_map(waited).collect::<Vec<_>>(), [77], "not of its containers");
    }

    #[test]
    fn a_request_may_use_the_path_that_the_kernel_log_prints() {
        let mut bench = Bench::v2();
        bench.settle();
        for path in [container(), format!("/docker/{}{}", "d".repeat(64), container()), format!("{}/inner", container())] {
            bench.sampler.sample_soon(&path, bench.start).expect("running");
            let expected = [format!("sample {POD}"), format!("sample {}", container()), format!("processes {}", container())];
            assert_eq!(words(&bench.told()), expected, "{path}");
        }
        bench.sampler.sample_soon(&format!("{POD}/{}", "e".repeat(64)), bench.start).expect("running");
        assert_eq!(words(&bench.told()), [format!("sample {POD}")], "the container is gone, its pod is not");
        bench.sampler.sample_soon("/system.slice/sshd.service", bench.start).expect("running");
        assert_eq!(bench.told(), vec![]);
    }
}
