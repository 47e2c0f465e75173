//! The running agent: wiring only. Starts the sources, owns the core, hands its effects to the exporters.
//!
//! ```text
//! source threads ─▶ Outlet ─▶ core task ─▶ FindingLog, checkpoint, sampler requests
//!                                 ▲   └──▶ recording
//!                    HTTP task ───┘ asks for snapshots
//! ```

use crate::{
    checkpoint_file::CheckpointFile,
    config::{AgentConfig, DisksChoice, KubeletLogChoice, Output, PodSourceChoice},
    core::{Checkpoint, Core, Effect, KubeletQuestion, Resume, Snapshot},
    exporters::{
        http::{self, Guard, SnapshotReader},
        log::{FindingLog, Form},
    },
    findings::{Change, Finding},
    record::Recorder,
    signal::{Body, KubeletPosition, NodeFacts, Signal},
    sources::{
        self, Bell, Outlet, Stop, Stopper,
        cgroups::SamplerHandle,
        container_log,
        disks::{self, DisksHandle},
        etcd_log, kernel_log,
        kubelet_api::{self, KubeletApiHandle},
        kubelet_log, mounts, node_facts, pod_logs, pods,
    },
    telemetry,
};
use anyhow::Context;
use std::{
    fs::File,
    io::{self, Stdout},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// Signals taken at a time, so that a flood of records does not starve the exporters.
const BATCH: usize = 128;

/// Requests for a snapshot that may wait: scrapers and people, a handful.
const WAITING_READERS: usize = 16;

/// A checkpoint is written at most this often. What a crash loses in between is read again.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// How long the sources may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// A started agent: its sources run.
pub struct Agent {
    core: Core,
    facts: NodeFacts,
    signals: mpsc::Receiver<Signal>,
    requests: mpsc::Receiver<oneshot::Sender<Arc<Snapshot>>>,
    reader: CoreReader,
    sampler: SamplerHandle,
    kernel_log: Bell,
    disks: Option<DisksHandle>,
    kubelet: Option<KubeletApiHandle>,
    stopper: Stopper,
    threads: Vec<std::thread::JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
    log: FindingLog<Stdout>,
    saver: Option<Saver>,
    recorder: Option<Recorder<File>>,
    pod_logs: PathBuf,
}

/// Where each log is read on.
#[derive(Debug, Default)]
struct Positions {
    kernel_log: Resume,
    kubelet_log: KubeletPosition,
}

impl Positions {
    /// Behind the checkpoint; without one, at the beginning of what the logs hold, or at now if
    /// history is not wanted.
    fn after(checkpoint: Option<&Checkpoint>, history: bool) -> Self {
        match checkpoint {
            Some(checkpoint) => Self { kernel_log: checkpoint.kernel_log, kubelet_log: checkpoint.kubelet_log.clone() },
            None if history => Self::default(),
            None => Self { kernel_log: Resume { record: None, boot: Some(sources::now().boot) }, ..Self::default() },
        }
    }
}

struct Saver {
    file: CheckpointFile,
    dirty: bool,
    saved: Instant,
}

/// Asks the core's task for snapshots.
#[derive(Debug, Clone)]
pub struct CoreReader {
    ask: mpsc::Sender<oneshot::Sender<Arc<Snapshot>>>,
    outlet: Outlet,
}

impl SnapshotReader for CoreReader {
    async fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let (answer, asked) = oneshot::channel();
        self.ask.send(answer).await.ok()?;
        asked.await.ok()
    }

    fn samples_dropped(&self) -> u64 {
        self.outlet.dropped()
    }
}

/// The log of findings on standard output.
pub fn finding_log(output: Output) -> FindingLog<Stdout> {
    let stdout = io::stdout();
    let form = match output {
        Output::Human => Form::human_for(&stdout),
        Output::Json => Form::Json,
    };
    FindingLog::new(stdout, form)
}

/// Says a change. A reader that went away is no reason to stop explaining.
pub fn say(log: &mut FindingLog<Stdout>, change: Change, finding: &Finding) {
    let said = match change {
        Change::Opened => log.opened(finding),
        Change::Counted => log.counted(finding),
        Change::Amended => log.amended(finding),
        Change::Resolved => log.resolved(finding),
    };
    if let Err(error) = said {
        tracing::debug!(%error, "standard output is closed");
    }
}

impl Agent {
    /// Reads the node's facts, takes up the checkpoint, and starts every source.
    ///
    /// # Errors
    /// The node's facts cannot be read, the recording cannot be written, or no thread can be started.
    /// A source that cannot be read is no error: it says so and tries again.
    pub fn start(config: &AgentConfig) -> anyhow::Result<Self> {
        let facts = node_facts::read(&config.roots, config.node_name.as_deref())?;
        let saver = config.state_dir.as_deref().map(|dir| Saver::new(CheckpointFile::new(dir)));
        let checkpoint = saver.as_ref().and_then(|saver| saver.file.load(&facts.boot_id));
        let positions = Positions::after(checkpoint.as_ref(), config.history);
        let core = checkpoint.map_or_else(Core::new, Core::restore);
        let core = if config.log_excerpts { core.with_log_excerpts() } else { core };
        let recorder = config.record.as_deref().map(|path| Recorder::create(path, &facts.agent)).transpose()?;
        let (outlet, signals) = sources::channel();
        let (stopper, stop) = sources::stop().context("cannot make a pipe")?;
        let (ask, requests) = mpsc::channel(WAITING_READERS);
        let sampler = sources::cgroups::spawn(&config.roots, outlet.clone()).context("cannot start the sampler's thread")?;
        let (kernel_log, mut threads) = start_threads(config, &facts, positions, &outlet, &stop)?;
        let disks = start_disks(config, &facts, &outlet, &stop, &mut threads)?;
        let mut tasks = start_tasks(config, &facts, &outlet);
        let kubelet = config.kubelet_api.clone().map(|api| {
            let (handle, task) = kubelet_api::spawn(api, outlet.clone());
            tasks.push(task);
            handle
        });
        let log = finding_log(config.output);
        Ok(Self {
            core,
            facts,
            signals,
            requests,
            reader: CoreReader { ask, outlet },
            sampler,
            kernel_log,
            disks,
            kubelet,
            stopper,
            threads,
            tasks,
            log,
            saver,
            recorder,
            pod_logs: config.roots.pod_logs.clone(),
        })
    }

    /// What the HTTP task asks.
    pub fn reader(&self) -> CoreReader {
        self.reader.clone()
    }

    /// Explains what happens until `shutdown` is done. `observe` sees each effect before it is carried out.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>, mut observe: impl FnMut(&Effect)) -> anyhow::Result<()> {
        tokio::pin!(shutdown);
        self.feed(Signal { at: sources::now(), body: Body::Node(self.facts.clone()) }, &mut observe)?;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let tick = wait_until(self.core.due());
            tokio::select! {
                () = &mut shutdown => break,
                Some(answer) = self.requests.recv() => { let _ = answer.send(Arc::new(self.core.snapshot())); }
                taken = self.signals.recv_many(&mut batch, BATCH) => {
                    if taken == 0 { break }
                    for signal in batch.drain(..) {
                        self.feed(signal, &mut observe)?;
                    }
                }
                () = tick => self.feed(Signal { at: sources::now(), body: Body::Tick }, &mut observe)?,
            }
            self.save(false);
        }
        self.stop().await
    }

    fn feed(&mut self, signal: Signal, observe: &mut impl FnMut(&Effect)) -> anyhow::Result<()> {
        if let Some(recorder) = &mut self.recorder {
            recorder.append(&signal).context("cannot write the recording")?;
        }
        telemetry::source_changed(&signal);
        for effect in self.core.apply(signal) {
            observe(&effect);
            self.carry_out(effect);
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Finding { change, finding } => say(&mut self.log, change, &finding),
            Effect::Loss { source, loss } => telemetry::lost(source, &loss),
            Effect::Look { cgroup } => self.sampler.sample_soon(&cgroup),
            Effect::ReadKernelLog => self.kernel_log.ring(),
            Effect::MeasureStorage => self.disks.iter().for_each(DisksHandle::measure_soon),
            Effect::AskKubelet(question) => {
                let question = match question {
                    KubeletQuestion::Configuration => kubelet_api::Question::Configuration,
                    KubeletQuestion::ProbeCounts => kubelet_api::Question::ProbeCounts,
                };
                self.kubelet.iter().for_each(|kubelet| kubelet.ask(question));
            }
            Effect::ReadLog { namespace, pod, uid, container, attempt } => {
                self.read_log(container_log::Wanted { namespace, pod, uid, container, attempt });
            }
            Effect::Save => {
                if let Some(saver) = &mut self.saver {
                    saver.dirty = true;
                }
            }
        }
    }

    /// One small file, off the core's task: a slow disk must not hold the core up.
    fn read_log(&self, wanted: container_log::Wanted) {
        let (dir, outlet) = (self.pod_logs.clone(), self.reader.outlet.clone());
        tokio::task::spawn_blocking(move || container_log::read_tail(&dir, &wanted).map(|tail| outlet.send(tail)));
    }

    fn save(&mut self, last: bool) {
        let Some(saver) = self.saver.as_mut().filter(|saver| last || saver.is_due()) else { return };
        if let Some(checkpoint) = self.core.checkpoint() {
            saver.save(&checkpoint);
        }
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.save(true);
        if let Some(recorder) = &mut self.recorder {
            recorder.flush().context("cannot write the recording")?;
        }
        self.tasks.iter().for_each(JoinHandle::abort);
        let Self { signals, sampler, stopper, threads, .. } = self;
        drop((signals, stopper));
        let stopped = tokio::task::spawn_blocking(move || {
            sampler.stop();
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        let _ = tokio::time::timeout(STOP_WITHIN, stopped).await;
        Ok(())
    }
}

impl Saver {
    fn new(file: CheckpointFile) -> Self {
        Self { file, dirty: false, saved: Instant::now() }
    }

    fn is_due(&self) -> bool {
        self.dirty && self.saved.elapsed() >= SAVE_EVERY
    }

    fn save(&mut self, checkpoint: &Checkpoint) {
        self.file.save(checkpoint);
        self.dirty = false;
        self.saved = Instant::now();
    }
}

fn start_threads(
    config: &AgentConfig,
    facts: &NodeFacts,
    positions: Positions,
    outlet: &Outlet,
    stop: &Stop,
) -> anyhow::Result<(Bell, Vec<std::thread::JoinHandle<()>>)> {
    let mut threads = Vec::new();
    if config.pods != PodSourceChoice::None {
        let started = pod_logs::spawn(&config.roots.pod_logs, outlet.clone(), stop.clone());
        let (listing, thread) = started.context("cannot start the pod directory's thread")?;
        threads.push(thread);
        listing.wait();
    }
    let resume = kernel_log::Resume { seq: positions.kernel_log.sequence(), cursor: None, boot_time: positions.kernel_log.boot };
    let (roots, boot) = (config.roots.clone(), facts.boot_id.clone());
    let log = kernel_log::spawn(config.kernel_log, roots, boot, resume, outlet.clone(), stop.clone());
    let (kernel_log, thread) = log.context("cannot start the kernel log's thread")?;
    threads.push(thread);
    let mounts = mounts::spawn(&config.roots, outlet.clone(), stop.clone());
    threads.push(mounts.context("cannot start the mounts' thread")?);
    // What was switched off is not missed: findings name only sources that were wanted.
    if config.kubelet_log != KubeletLogChoice::None {
        let (choice, roots, boot) = (config.kubelet_log.clone(), config.roots.clone(), facts.boot_id.clone());
        let log = kubelet_log::spawn(choice, &config.units, roots, boot, positions.kubelet_log, outlet.clone(), stop.clone());
        threads.push(log.context("cannot start the kubelet log's thread")?);
    }
    if config.pods != PodSourceChoice::None {
        let etcd = etcd_log::spawn(&config.roots.pod_logs, outlet.clone(), stop.clone());
        threads.push(etcd.context("cannot start the thread of etcd's log")?);
    }
    Ok((kernel_log, threads))
}

fn start_disks(
    config: &AgentConfig,
    facts: &NodeFacts,
    outlet: &Outlet,
    stop: &Stop,
    threads: &mut Vec<std::thread::JoinHandle<()>>,
) -> anyhow::Result<Option<DisksHandle>> {
    if config.disks == DisksChoice::None {
        return Ok(None);
    }
    let started = disks::spawn(&config.roots, &facts.node, outlet.clone(), stop.clone());
    let (handle, thread) = started.context("cannot start the disks' thread")?;
    threads.push(thread);
    Ok(Some(handle))
}

fn start_tasks(config: &AgentConfig, facts: &NodeFacts, outlet: &Outlet) -> Vec<JoinHandle<()>> {
    match config.pods {
        PodSourceChoice::Auto if pods::is_configured() => vec![tokio::spawn(pods::watch(facts.node.clone(), outlet.clone()))],
        PodSourceChoice::Auto => {
            tracing::info!(
                "not in a cluster: no service account and no KUBECONFIG; pods are named by the kubelet's log directory, and their statuses are not known"
            );
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// Sleeps until a moment of the boot clock.
async fn wait_until(due: Option<crate::model::BootTime>) {
    match due {
        None => std::future::pending().await,
        Some(due) => tokio::time::sleep(Duration::from_micros(due.micros_since(sources::now().boot).max(1000))).await,
    }
}

/// Serves metrics and findings until `shutdown` is done.
///
/// # Errors
/// The address cannot be bound: it is in use, or needs a right.
pub async fn serve(config: &AgentConfig, reader: CoreReader, shutdown: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
    let Some(address) = config.listen else { return Ok(()) };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--listen {address}: cannot listen there; choose a free port, or stop what uses it"))?;
    tracing::info!(address = %listener.local_addr()?, "serving /metrics, /healthz, /readyz and /api/v1/findings");
    let guard = config.token_file.clone().map_or(Guard::LoopbackOnly, Guard::Token);
    http::serve(listener, reader, guard, shutdown).await.context("the HTTP server ended")
}
