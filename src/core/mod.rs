//! The core: signals in, effects out.
//!
//! One task owns a [`Core`] and feeds it every [`Signal`] in order. It is pure and synchronous: no
//! I/O, no clock, no global state. Time comes with the signals, so that a recording gives the same
//! findings each time.
//!
//! ```text
//! Signal ─▶ kernel_log ─▶ oom_cases ─┐
//!        ─▶ inventory ───────────────┼─▶ diagnosis ─▶ findings ─▶ Effect, Snapshot
//!        ─▶ kill_ledger, vmstat ─────┘
//! ```

mod checkpoint;
mod condition;
mod culprit;
mod death_notes;
mod death_words;
mod deaths;
mod disks_report;
mod effect;
mod etcd;
mod evictions;
mod figures;
mod full_disk;
mod health;
mod kernel_log;
mod kernel_problems;
mod kubelet;
mod kubelet_api;
mod kubelet_life;
mod kubelet_process;
mod lost;
mod node_pids;
mod node_start;
mod node_trouble;
mod oom_telling;
mod pod_words;
mod pods;
mod recent_kills;
mod room;
mod room_figures;
mod series;
mod silent_ends;
mod snapshot;
mod starvation;
mod stuck_kubelet;
mod userspace_oom;
mod waiting;
mod watch;

pub use checkpoint::{Checkpoint, VERSION as CHECKPOINT_VERSION};
pub use effect::{Effect, KubeletQuestion};
pub use kernel_log::Resume;
pub use recent_kills::RecentKill;
pub use snapshot::{
    ContainerFigures, ContainerKey, Counters, FilesystemFigures, Fill, Loss, PodStorageFigures, RoomFigures, SignalFigures, Snapshot,
    SourceHealth, WorkloadFigures,
};

use crate::{
    diagnosis::{kill_ledger::KillLedger, oom_cases::OomCases, termination::Slot, vmstat::VmstatCheck},
    findings::FindingStore,
    inventory::Inventory,
    model::{BootTime, CgroupPlace, Moment},
    parse::oom::OomNews,
    signal::{Body, CgroupSample, KernelLine, NodeFacts, NodeSample, ProcessesSample, Signal, SourceName, SourceReport, SourceState},
};
use death_notes::Deaths;
use evictions::Evictions;
use health::Health;
use kernel_log::KernelLog;
use kernel_problems::KernelProblems;
use kubelet::KubeletLog;
use kubelet_process::KubeletProcess;
use lost::Lost;
use node_pids::NodePids;
use oom_telling::Inherited;
use pod_words::PodWords;
use recent_kills::RecentKills;
use room::Room;
use std::collections::{BTreeMap, VecDeque};
use stuck_kubelet::StuckKubelet;
use userspace_oom::UserspaceKills;
use waiting::WaitNote;

/// What has no deadline of its own is looked after once in this many microseconds.
const HOUSEKEEPING_MICROS: u64 = 1_000_000;

/// Kills remembered as counted: more than can lie between two checkpoints.
const REMEMBERED_KILLS: usize = 1024;

/// The core.
#[derive(Debug, Default)]
pub struct Core {
    facts: Option<NodeFacts>,
    started: BootTime,
    now: Option<Moment>,
    health: Health,
    kernel_log: KernelLog,
    inventory: Inventory,
    oom_cases: OomCases,
    ledger: KillLedger,
    vmstat: VmstatCheck,
    deaths: Deaths,
    evictions: Evictions,
    room: Room,
    node_pids: NodePids,
    kubelet_process: KubeletProcess,
    stuck_kubelet: StuckKubelet,
    /// What the source of the disks said of itself last.
    disks_report: Option<SourceReport>,
    recent_kills: RecentKills,
    kernel_problems: KernelProblems,
    kubelet_log: KubeletLog,
    lost: Lost,
    pod_words: PodWords,
    userspace_kills: UserspaceKills,
    waiting: BTreeMap<Slot, WaitNote>,
    findings: FindingStore,
    counters: Counters,
    counted: VecDeque<String>,
    /// Kills that the run before a restart has told, until they are complete: at most as many as cases.
    inherited: BTreeMap<String, Inherited>,
    restored: Option<Checkpoint>,
    housekeeping: BootTime,
    effects: Vec<Effect>,
}

impl Core {
    /// A core that knows nothing yet.
    pub fn new() -> Self {
        let mut core = Self::default();
        core.counters.create_zeros();
        core
    }

    /// A core that goes on where an earlier run of the agent stopped, if the node has not been
    /// restarted since: that is known when the first signal tells the boot.
    pub fn restore(checkpoint: Checkpoint) -> Self {
        Self { restored: Some(checkpoint), ..Self::new() }
    }

    /// A core that also tells the last lines of dead containers' logs themselves.
    #[must_use]
    pub fn with_log_excerpts(mut self) -> Self {
        self.deaths.tells_excerpts = true;
        self
    }

    /// Takes in one signal.
    pub fn apply(&mut self, signal: Signal) -> Vec<Effect> {
        let Signal { at, body } = signal;
        let now = self.now.map_or(at, |now| now.max(at));
        self.now = Some(now);
        match body {
            Body::Node(facts) => self.node(facts, at),
            Body::Source(report) => {
                if report.source == SourceName::KubeletLog {
                    self.kubelet_log.heard(report.state == SourceState::Up, at.boot);
                }
                self.source_reported(report);
            }
            Body::Gap(gap) => {
                self.lost(gap.source, gap.lost.unwrap_or(1), gap.detail, at);
                match gap.source {
                    SourceName::KernelLog => self.kernel_log.gap(at.boot),
                    SourceName::KubeletLog => {
                        self.kubelet_log.heard(false, at.boot);
                        self.kubelet_log.heard(self.health.is_up(SourceName::KubeletLog), at.boot);
                    }
                    _ => {}
                }
            }
            Body::Kernel(line) => self.kernel(&line, at),
            Body::Cgroup(sample) => self.cgroup(&sample, at),
            Body::CgroupGone { path } => self.cgroup_gone(&path, at),
            Body::Processes(read) => self.processes(&read, at),
            Body::NodeMemory(sample) => self.node_memory(&sample, at),
            Body::Mounts(table) => self.mounts(&table, at),
            Body::ContainerMounts(read) => self.container_mounts(&read, at),
            Body::Pods(update) => self.pods(&update, at),
            Body::ContainerLog(tail) => self.last_words(&tail, at),
            Body::Kubelet(line) => {
                self.health.record(SourceName::KubeletLog, at);
                self.kubelet(&line, at);
            }
            Body::Room(sample) => {
                self.room(&sample, at);
                self.node_pids(&sample, at);
                self.kubelet_process(&sample, at);
            }
            Body::EvictionSettings(settings) => {
                self.eviction_settings(&settings);
                self.complete_disks_report();
            }
            Body::PodStorage(sample) => self.pod_storage(&sample, at),
            Body::KubeletConfiguration(answer) => self.kubelet_configuration(answer, at),
            Body::ProbeCounts(read) => self.probe_counts(&read, at),
            Body::Etcd(line) => self.etcd(&line, at),
            Body::Tick => {}
        }
        if self.due().is_none_or(|due| now.boot >= due) {
            self.advance(now);
        }
        std::mem::take(&mut self.effects)
    }

    /// When the core next wants a [`Body::Tick`] if nothing else happens.
    pub fn due(&self) -> Option<BootTime> {
        [Some(self.housekeeping), self.oom_cases.due(), self.deaths.due(), self.kernel_problems.due()].into_iter().flatten().min()
    }

    /// Ends a recording or a run: what is still waiting is told as far as it is known.
    pub fn finish(&mut self) -> Vec<Effect> {
        let Some(now) = self.now else { return Vec::new() };
        for news in self.kernel_log.flush() {
            self.oom_news(news, now);
        }
        /// Longer than anything waits.
        const EVERYTHING_IS_DUE_SECONDS: u64 = 60;
        let end = now.at_boot_time(now.boot.plus_seconds(EVERYTHING_IS_DUE_SECONDS));
        self.advance(end);
        std::mem::take(&mut self.effects)
    }

    /// What a restart must not lose; `None` before the boot is known.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        Some(Checkpoint {
            version: checkpoint::VERSION,
            boot_id: self.facts.as_ref()?.boot_id.clone(),
            kernel_log: self.kernel_log.position(self.oom_cases.oldest_record()),
            kubelet_log: self.kubelet_log.position(),
            kubelet: self.kubelet_log.durable.clone(),
            lost: self.lost.clone(),
            inventory: self.inventory.remembered(),
            findings: self.findings.clone(),
            counters: self.counters.clone(),
            counted: self.counted.clone(),
            baselines: self.ledger.baselines().clone(),
            vmstat: self.vmstat.clone(),
            deaths: self.deaths.durable.clone(),
            evictions: self.evictions.durable.clone(),
            recent_kills: self.recent_kills.clone(),
            waiting: self.waiting.clone(),
            kernel_problems: self.kernel_problems.durable.clone(),
        })
    }

    fn node(&mut self, facts: NodeFacts, at: Moment) {
        self.started = at.boot;
        self.inventory.set_facts(&facts);
        if let Some(checkpoint) = self.restored.take().filter(|checkpoint| checkpoint.fits(&facts.boot_id)) {
            self.kernel_log.resume(checkpoint.kernel_log);
            self.kubelet_log.resume(checkpoint.kubelet_log, checkpoint.kubelet);
            self.lost = checkpoint.lost;
            self.inventory.recall(checkpoint.inventory);
            self.findings = checkpoint.findings;
            self.counters = checkpoint.counters;
            self.counters.create_zeros();
            self.counted = checkpoint.counted;
            self.ledger = KillLedger::restore(checkpoint.baselines);
            self.vmstat = checkpoint.vmstat;
            let tells_excerpts = self.deaths.tells_excerpts;
            self.deaths = Deaths::restore(checkpoint.deaths, at.boot);
            self.deaths.tells_excerpts = tells_excerpts;
            self.evictions.durable = checkpoint.evictions;
            self.recent_kills = checkpoint.recent_kills;
            self.waiting = checkpoint.waiting;
            self.kernel_problems.resume(checkpoint.kernel_problems);
        }
        self.facts = Some(facts);
    }

    fn kernel(&mut self, line: &KernelLine, at: Moment) {
        self.health.record(SourceName::KernelLog, at);
        let read = self.kernel_log.read(line, at);
        if read.lost > 0 {
            self.lost(SourceName::KernelLog, read.lost, "the kernel's ring was overwritten before it was read".into(), at);
        }
        self.counters.spoofed_records += u64::from(read.spoofed);
        self.counters.malformed_records += u64::from(read.malformed);
        for news in read.news {
            self.oom_news(news, at);
        }
        for (reported, text) in read.problems {
            let happened = reported.at.boot.map_or(at, |boot| at.at_boot_time(boot));
            self.problem(&reported, &text, happened, read.at.unwrap_or(happened.boot));
        }
        if let Some(device) = read.unmounted {
            self.unmounted(device, read.at.unwrap_or(at.boot));
        }
    }

    fn lost(&mut self, source: SourceName, records: u64, why: String, at: Moment) {
        let told = self.health.lost(source, records, why, at);
        self.effects.extend(told.map(|loss| Effect::Loss { source, loss }));
    }

    fn oom_news(&mut self, news: OomNews, at: Moment) {
        match news {
            OomNews::Event(event) => {
                let news = self.oom_cases.open(*event, at, &self.inventory);
                self.tell(news);
            }
            OomNews::Amended(event) => {
                let news = self.oom_cases.amend(*event, &self.inventory);
                self.tell(news);
            }
            OomNews::DumpsSuppressed { dumps, .. } => self.counters.dumps_suppressed += dumps,
            OomNews::NothingKilled(_) => self.counters.oom_without_kill += 1,
        }
    }

    fn cgroup(&mut self, sample: &CgroupSample, at: Moment) {
        self.health.record(SourceName::Cgroups, at);
        let place = CgroupPlace::of(&sample.path);
        self.inventory.sampled(at.boot, &place, sample);
        self.counters.kills_both_saw += self.ledger.counted(&place, sample, at.boot, self.started);
        if self.ledger.awaits_log() {
            self.effects.push(Effect::ReadKernelLog);
        }
        self.container_changed(&place);
    }

    fn cgroup_gone(&mut self, path: &str, at: Moment) {
        let place = CgroupPlace::of(path);
        self.inventory.cgroup_gone(at.boot, &place, path);
        self.ledger.gone(path);
        self.container_changed(&place);
    }

    fn processes(&mut self, read: &ProcessesSample, at: Moment) {
        self.health.record(SourceName::Processes, at);
        let place = CgroupPlace::of(&read.cgroup);
        self.inventory.processes_read(at.boot, &place, read);
        self.container_changed(&place);
    }

    fn container_changed(&mut self, place: &CgroupPlace) {
        if let Some(id) = place.container().filter(|_| !self.oom_cases.is_empty()) {
            let news = self.oom_cases.container_changed(id, &self.inventory);
            self.tell(news);
        }
    }

    fn node_memory(&mut self, sample: &NodeSample, at: Moment) {
        self.health.record(SourceName::NodeMemory, at);
        self.inventory.node_sampled(at.boot, sample);
        if let Some(kills) = sample.oom_kill {
            self.vmstat.counted(at.boot, kills);
        }
    }

    fn advance(&mut self, now: Moment) {
        for news in self.kernel_log.advance(now.boot) {
            self.oom_news(news, now);
        }
        let news = self.oom_cases.advance(now.boot, &self.inventory, &self.ledger);
        self.tell(news);
        self.advance_kubelet(now.boot);
        self.advance_kernel_problems(now);
        self.advance_deaths(now.boot);
        if now.boot < self.housekeeping {
            return;
        }
        self.housekeeping = BootTime(now.boot.0.saturating_add(HOUSEKEEPING_MICROS));
        self.break_silences(now);
        self.recent_kills.advance(now.boot);
        let settled = self.ledger.settle(now.boot);
        self.counters.kills_only_log += settled.only_log;
        for kill in settled.only_counter {
            self.tell_counted(&kill, now);
        }
        self.vmstat.settle(now.boot, self.kernel_log.is_whole());
        self.inventory.advance(now.boot);
        self.forget_pods(now.boot);
        self.advance_evictions(now.boot);
        self.advance_room(now);
        self.advance_stuck(now.boot);
        self.advance_node(now);
        self.advance_losses(now);
        self.look_after_troubles(now.boot);
        for finding in self.findings.advance(now.boot) {
            self.effects.push(Effect::Finding { change: crate::findings::Change::Resolved, finding: Box::new(finding) });
        }
    }
}

#[cfg(test)]
mod eviction_tests;
#[cfg(test)]
mod tests;
