//! The sampler's thread: what it waits for, and in which order it does things.
//!
//! Flows in: roots, an outlet, requests. Flows out: signals and reports of three sources: cgroups,
//! processes, node memory. It blocks in `poll(2)` until the kernel has an event, someone asks, or
//! the next look is due.

use super::{layout::Layout, node::NodeSampler, processes::Processes, sampler::CgroupSampler};
use crate::{
    config::Roots,
    signal::{Body, CgroupVersion, SourceName, SourceReport, SourceState},
    sources::{Outlet, Stopped},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Enough for the deepest walk; the default of 2 MiB would be address space for nothing.
const STACK: usize = 256 << 10;

/// Requests that may wait. More at once come from a storm of kills, where one sample answers many.
const MOST_REQUESTS: usize = 256;

/// How often the conditions of the sources are looked at, and a missing hierarchy is sought again.
const CONDITIONS: Duration = Duration::from_secs(15);

/// Every source reports so often even if nothing changed.
const REGULAR_REPORT: Duration = Duration::from_secs(300);

/// The running sampler. Dropping it stops the thread without waiting for it.
#[derive(Debug)]
pub struct SamplerHandle {
    requests: mpsc::SyncSender<String>,
    wake: UnixStream,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SamplerHandle {
    /// Asks for the figures of one cgroup at once, of its pod and its processes too. Does not wait;
    /// a request too many is dropped.
    pub fn sample_soon(&self, path: &str) {
        let _ = self.requests.try_send(path.to_owned());
        self.wake();
    }

    /// Stops the thread and waits for its end. The receiver of the signals must be read or dropped,
    /// or the thread may wait for room in the channel for ever.
    pub fn stop(mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn tell_to_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // A full socket holds a wake already.
        let _ = (&self.wake).write(&[0]);
    }
}

impl Drop for SamplerHandle {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

/// Starts the sampler.
///
/// # Errors
/// When the system gives no thread or socket.
pub fn spawn(roots: &Roots, outlet: Outlet) -> io::Result<SamplerHandle> {
    let (wake, woken) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    let (requests, asked) = mpsc::sync_channel(MOST_REQUESTS);
    let stopping = Arc::new(AtomicBool::new(false));
    let sampler = Sampler {
        roots: roots.clone(),
        cgroups: None,
        node: NodeSampler::new(&roots.proc, Instant::now()),
        conditions: Conditions { outlet: outlet.clone(), told: BTreeMap::new() },
        outlet,
        conditions_due: Instant::now(),
        asked,
        woken,
        stopping: Arc::clone(&stopping),
    };
    let thread = thread::Builder::new().name("sampler".into()).stack_size(STACK).spawn(move || {
        // The only end is that the agent ends.
        let _ = sampler.run();
    })?;
    Ok(SamplerHandle { requests, wake, stopping, thread: Some(thread) })
}

struct Sampler {
    roots: Roots,
    /// `None` while no memory hierarchy was found.
    cgroups: Option<CgroupSampler>,
    node: NodeSampler,
    conditions: Conditions,
    conditions_due: Instant,
    outlet: Outlet,
    asked: mpsc::Receiver<String>,
    woken: UnixStream,
    stopping: Arc<AtomicBool>,
}

impl Sampler {
    fn run(mut self) -> Result<(), Stopped> {
        while !self.stopping.load(Ordering::Acquire) {
            let now = Instant::now();
            if self.cgroups.is_none() && now >= self.conditions_due {
                self.find_hierarchy(now)?;
            }
            let kills_rose = self.node.turn(now, &self.outlet)?;
            if let Some(cgroups) = &mut self.cgroups {
                while let Ok(path) = self.asked.try_recv() {
                    cgroups.sample_soon(&path, now)?;
                }
                if kills_rose {
                    cgroups.check_all_counters(now)?;
                }
                cgroups.turn(now)?;
            }
            if now >= self.conditions_due {
                self.conditions_due = now + CONDITIONS;
                self.report(now)?;
            }
            self.wait();
        }
        Ok(())
    }

    fn find_hierarchy(&mut self, now: Instant) -> Result<(), Stopped> {
        match Layout::find(&self.roots.cgroup) {
            Ok(layout) => {
                // v1 tells nobody of a kill, so the node's counter is what says when to look.
                self.node.watch_kills_closely(layout.version() == CgroupVersion::V1);
                let processes = Processes::new(&self.roots.proc);
                self.cgroups = Some(CgroupSampler::new(layout, processes, self.outlet.clone(), now));
                Ok(())
            }
            Err(error) => {
                self.conditions.tell(SourceName::Cgroups, (error.state(), error.to_string()), now)?;
                self.conditions.tell(SourceName::Processes, (SourceState::Absent, "no cgroups to find the processes of".into()), now)
            }
        }
    }

    fn report(&mut self, now: Instant) -> Result<(), Stopped> {
        self.conditions.tell(SourceName::NodeMemory, self.node.condition(), now)?;
        let Some(cgroups) = &mut self.cgroups else { return Ok(()) };
        self.conditions.tell(SourceName::Cgroups, cgroups.condition(), now)?;
        self.conditions.tell(SourceName::Processes, cgroups.processes_condition(), now)
    }

    /// Blocks until something is due, asked or happened.
    fn wait(&mut self) {
        let now = Instant::now();
        let due = self.node.due().min(self.conditions_due);
        let due = self.cgroups.as_ref().map_or(due, |cgroups| due.min(cgroups.due(now)));
        // Rounded up: waking a moment early would find nothing to do.
        let millis = due.saturating_duration_since(now).as_micros().div_ceil(1000);
        let timeout = i32::try_from(millis).ok().and_then(|millis| PollTimeout::try_from(millis).ok()).unwrap_or(PollTimeout::MAX);
        let events = self.cgroups.as_ref().and_then(|cgroups| cgroups.events(now));
        let fds = [Some(self.woken.as_fd()), events];
        let mut fds: Vec<_> = fds.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // An interrupted wait is a short one; nothing is lost by looking again.
        let _ = poll(&mut fds, timeout);
        let _ = self.woken.read(&mut [0; 64]);
    }
}

/// What was last said of each source, so that only news and the regular report are said.
struct Conditions {
    outlet: Outlet,
    told: BTreeMap<SourceName, (Instant, SourceState)>,
}

impl Conditions {
    fn tell(&mut self, source: SourceName, (state, detail): (SourceState, String), now: Instant) -> Result<(), Stopped> {
        let is_news = self.told.get(&source).is_none_or(|(at, told)| *told != state || now.duration_since(*at) >= REGULAR_REPORT);
        if is_news {
            self.told.insert(source, (now, state));
            self.outlet.send(Body::Source(SourceReport { source, state, detail }))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{cgroups::testing::Tree, channel};

    #[test]
    fn a_machine_without_any_of_it_is_told_and_harms_nobody() {
        let tree = Tree::new();
        let roots = Roots { proc: tree.at("proc"), cgroup: tree.at("cgroup"), ..Roots::default() };
        let (outlet, mut signals) = channel();
        let handle = spawn(&roots, outlet).expect("thread");
        handle.sample_soon("/kubepods/x");
        let mut told = BTreeMap::new();
        while told.len() < 3 {
            match signals.blocking_recv().expect("the thread runs").body {
                Body::Source(report) => told.insert(report.source, report.state),
                other => panic!("{other:?}"),
            };
        }
        assert!(told.values().all(|state| *state == SourceState::Absent), "{told:?}");
        handle.stop();
        assert!(signals.blocking_recv().is_none(), "the thread is gone");
    }

    #[test]
    fn an_ending_agent_ends_the_thread() {
        let tree = Tree::new();
        let roots = Roots { proc: tree.at("proc"), cgroup: tree.at("cgroup"), ..Roots::default() };
        let (outlet, signals) = channel();
        drop(signals);
        spawn(&roots, outlet).expect("thread").stop();
    }
}
