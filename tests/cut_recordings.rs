//! Cuts what the agents of a test cluster have recorded into `tests/streams/kubernetes`: one small recording for each
//! scenario and node, which holds only what belongs to the scenario's own pods. `tests/streams/kubernetes/record` does
//! all of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test ends where it is surprised"
)]

use nodewhy::{
    core::Core,
    model::{BootId, BootTime},
    record::{Header, Recording},
    signal::{
        BlockDevice, Body, CgroupSample, ContainerState, KernelLine, Mount, MountTable, NodeFacts, PodRecord, PodSnapshot,
        PodStorageSample, PodUpdate, ProbeCounts, Signal, SourceName, SourceReport, VERSION,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// The boot in every recording.
const BOOT: &str = "6f1c2a4e-0d53-4a86-9b1e-2f7f60c1d0aa";

/// Namespaces of scenarios begin so.
const SCENARIO: &str = "e2e-";

/// A scenario is followed for this long: the third death of a loop comes after 10 and 20 s of back-off, later on the
/// emulated node and with probes.
const FOLLOWED_SECONDS: u64 = 150;

/// An outage of the API server takes longer: a minute, and another until the agents ask again.
const UPHEAVAL: (&str, u64) = ("e2e-upheaval", 330);

/// A charge that moved by less than this share tells nothing new.
const MOVED: u64 = 8;

#[test]
#[ignore = "writes tests/streams/kubernetes; run tests/streams/kubernetes/record"]
fn cut() {
    let folder = PathBuf::from(std::env::var_os("NODEWHY_RECORDINGS").expect("NODEWHY_RECORDINGS names the recordings of the nodes"));
    let into = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams/kubernetes");
    let mut nodes: Vec<_> = std::fs::read_dir(&folder).expect("folder").map(|entry| entry.expect("entry").path()).collect();
    nodes.sort();
    assert!(!nodes.is_empty(), "no recording in {}", folder.display());
    for path in nodes {
        let node = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('.').next()).expect("a name").to_owned();
        // The agent was writing when it was fetched: the last line may be half.
        let signals: Vec<_> = Recording::open(&path).expect("a recording").map_while(Result::ok).collect();
        for scenario in scenarios(&signals) {
            let cut = Scenario::of(&scenario, &signals).cut(&signals);
            let name = format!("{}-{node}", &scenario[SCENARIO.len()..]);
            let bytes = write(&into.join(format!("{name}.jsonl.zst")), &cut);
            println!("{name}: {} of {} signals, {bytes} bytes", cut.len(), signals.len());
        }
    }
}

fn scenarios(signals: &[Signal]) -> BTreeSet<String> {
    pods(signals).map(|(_, pod)| pod.namespace.clone()).filter(|namespace| namespace.starts_with(SCENARIO)).collect()
}

fn pods(signals: &[Signal]) -> impl Iterator<Item = (BootTime, &PodRecord)> {
    signals.iter().flat_map(|signal| {
        let pods: Vec<_> = match &signal.body {
            Body::Pods(PodUpdate::Changed { pod, .. }) => vec![&**pod],
            Body::Pods(PodUpdate::Listed(list)) => list.pods.iter().collect(),
            _ => Vec::new(),
        };
        pods.into_iter().map(|pod| (signal.at.boot, pod))
    })
}

/// One frame, well compressed: nobody waits for it.
fn write(path: &Path, signals: &[Signal]) -> u64 {
    let header = Header { version: VERSION, agent: env!("CARGO_PKG_VERSION").into() };
    let mut lines = vec![serde_json::to_string(&header).expect("json")];
    lines.extend(signals.iter().map(|signal| serde_json::to_string(signal).expect("json")));
    let compressed = zstd::bulk::compress((lines.join("\n") + "\n").as_bytes(), 19).expect("compress");
    std::fs::write(path, compressed).expect("write");
    std::fs::metadata(path).expect("file").len()
}

/// What is known of a scenario on one node.
struct Scenario {
    namespace: String,
    /// Uids of its pods, in every form in which a path or a line may hold them.
    uids: BTreeSet<String>,
    /// When the first of its pods was seen.
    begins: BootTime,
    /// Whether a program of it ended of a fault, which the kernel logs without a cgroup.
    faults: bool,
    /// Disks that it brings along: files that are mounted.
    disks: Vec<BlockDevice>,
}

impl Scenario {
    fn of(namespace: &str, signals: &[Signal]) -> Self {
        let own = || pods(signals).filter(|(_, pod)| pod.namespace == namespace);
        let uids = own().flat_map(|(_, pod)| [Some(pod.uid.clone()), pod.static_hash.clone()]).flatten();
        let forms = |uid: String| [uid.replace('-', "_"), uid];
        let ended_of_a_fault = |pod: &PodRecord| {
            pod.containers.iter().any(|container| match &container.state {
                Some(ContainerState::Terminated(state)) => matches!(state.exit_code, 132 | 134..=136 | 139),
                _ => false,
            })
        };
        let mut scenario = Self {
            namespace: namespace.to_owned(),
            uids: uids.flat_map(forms).collect(),
            begins: own().map(|(at, _)| at).min().expect("a pod"),
            faults: own().any(|(_, pod)| ended_of_a_fault(pod)),
            disks: Vec::new(),
        };
        scenario.disks = scenario.mounted_files(signals);
        scenario
    }

    fn mounted_files(&self, signals: &[Signal]) -> Vec<BlockDevice> {
        let mounted = |signal: &Signal| match &signal.body {
            Body::ContainerMounts(mounts) if self.is_named_in(&mounts.cgroup) => mounts.mounts.iter().map(|mount| mount.device).collect(),
            _ => Vec::new(),
        };
        let mounted: BTreeSet<_> = signals.iter().flat_map(mounted).collect();
        let files = signals.iter().filter_map(|signal| if let Body::Mounts(table) = &signal.body { Some(&table.devices) } else { None });
        let mut found: Vec<BlockDevice> = Vec::new();
        for device in files.flatten().filter(|device| device.backing_file.is_some() && mounted.contains(&device.number)) {
            if !found.iter().any(|known| known.number == device.number) {
                found.push(device.clone());
            }
        }
        found
    }

    /// Of the node's disks and mounts, those of its own.
    fn own_mounts(&self, table: &MountTable) -> Option<Body> {
        let devices: Vec<_> = table.devices.iter().filter(|device| self.disks.contains(device)).cloned().collect();
        let is_own = |mount: &&Mount| devices.iter().any(|device| device.number == mount.device);
        let mounts = table.mounts.iter().filter(is_own).cloned().collect();
        (!devices.is_empty()).then(|| Body::Mounts(MountTable { devices: devices.clone(), mounts }))
    }

    fn own_counts(&self, counts: &ProbeCounts) -> Body {
        let counts: Vec<_> = counts.counts.iter().filter(|count| self.uids.contains(&count.pod.to_string())).cloned().collect();
        // That none has failed is news, too.
        Body::ProbeCounts(ProbeCounts { counts })
    }

    fn own_storage(&self, sample: &PodStorageSample) -> Option<Body> {
        let pods: Vec<_> = sample.pods.iter().filter(|pod| self.uids.contains(&pod.uid.to_string())).cloned().collect();
        (!pods.is_empty()).then_some(Body::PodStorage(PodStorageSample { pods, left_out: 0 }))
    }

    /// Its own signals. Where others kept the agent's clock going, it now ticks.
    fn cut(&self, signals: &[Signal]) -> Vec<Signal> {
        let mut records = self.own_records(signals).into_iter();
        let (mut core, mut cut, mut samples) = (Core::new(), Vec::new(), BTreeMap::new());
        for signal in signals {
            let record = matches!(signal.body, Body::Kernel(_)).then(|| records.next().expect("one for each"));
            if signal.at.boot.seconds_since(self.begins) > self.followed_seconds() {
                break;
            }
            let own = match (&signal.body, record) {
                (Body::Kernel(line), Some(true)) => Some(Body::Kernel(line.clone())),
                (Body::Kernel(_), _) => None,
                (Body::Cgroup(sample), _) if !tells_more(&mut samples, sample, signal.at.boot) => None,
                (body, _) => self.own(body),
            };
            let due = core.due().is_some_and(|due| signal.at.boot >= due) && signal.at.boot >= self.begins;
            let Some(body) = own.or(due.then_some(Body::Tick)) else { continue };
            let signal = Signal { at: signal.at, body };
            core.apply(signal.clone());
            cut.push(signal);
        }
        cut
    }

    fn followed_seconds(&self) -> u64 {
        let (upheaval, seconds) = UPHEAVAL;
        if self.namespace == upheaval { seconds } else { FOLLOWED_SECONDS }
    }

    fn own(&self, body: &Body) -> Option<Body> {
        match body {
            Body::Node(facts) => {
                Some(Body::Node(NodeFacts { boot_id: BootId(BOOT.into()), kernel: release(&facts.kernel), ..facts.clone() }))
            }
            Body::Source(report) => Some(Body::Source(without_counts(report))),
            Body::Kubelet(line) => self.is_named_in(&line.text).then(|| body.clone()),
            Body::Cgroup(sample) => self.is_named_in(&sample.path).then(|| body.clone()),
            Body::CgroupGone { path } => self.is_named_in(path).then(|| body.clone()),
            Body::Processes(read) => self.is_named_in(&read.cgroup).then(|| body.clone()),
            Body::ContainerLog(tail) => self.uids.contains(&tail.pod.to_string()).then(|| body.clone()),
            Body::Pods(PodUpdate::Listed(list)) => {
                let pods = list.pods.iter().filter(|pod| pod.namespace == self.namespace).cloned().collect();
                Some(Body::Pods(PodUpdate::Listed(PodSnapshot { pods })))
            }
            Body::Pods(PodUpdate::Changed { pod, .. }) => (pod.namespace == self.namespace).then(|| body.clone()),
            Body::Pods(PodUpdate::Directory { namespace, .. }) => (*namespace == self.namespace).then(|| body.clone()),
            Body::Pods(PodUpdate::DirectoryGone { uid }) => self.uids.contains(&uid.to_string()).then(|| body.clone()),
            Body::Mounts(table) => self.own_mounts(table),
            Body::ContainerMounts(mounts) => (!self.disks.is_empty() && self.is_named_in(&mounts.cgroup)).then(|| body.clone()),
            Body::ProbeCounts(counts) => Some(self.own_counts(counts)),
            Body::PodStorage(sample) => self.own_storage(sample),
            // Figures of the node count everybody's.
            _ => None,
        }
    }

    fn is_named_in(&self, text: &str) -> bool {
        text.contains(&format!("{}/", self.namespace)) || self.uids.iter().any(|uid| text.contains(uid.as_str()))
    }

    fn is_about_a_disk(&self, record: &str) -> bool {
        let is_named = |name: &str| record.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name);
        self.disks.iter().any(|disk| is_named(&disk.name))
    }

    /// For every record of the kernel's log: whether it is about this scenario.
    fn own_records(&self, signals: &[Signal]) -> Vec<bool> {
        let records: Vec<_> = signals.iter().filter_map(text).collect();
        let mut own = vec![false; records.len()];
        let (mut dump, mut group, mut killed) = (None, false, BTreeSet::new());
        for (at, record) in records.iter().enumerate() {
            if record.contains("invoked oom-killer") {
                (dump, group) = (Some(at), false);
            } else if record.contains("Tasks in ") {
                group = self.is_named_in(record);
                own[at] = group;
            } else if record.contains("Killed process") {
                let from = dump.take().unwrap_or(at);
                let mine = group || records[from..=at].iter().any(|record| self.is_named_in(record));
                own[from..=at].fill(mine);
                killed.extend(pid_after(record, "Killed process ").filter(|_| mine));
            } else if record.contains("oom_reaper: reaped process") {
                own[at] = pid_after(record, "reaped process ").is_some_and(|pid| killed.contains(&pid));
            } else {
                own[at] = self.is_named_in(record)
                    || self.faults && (record.contains("traps: ") || record.contains("segfault at "))
                    || self.is_about_a_disk(record);
            }
        }
        own
    }
}

/// The text of a record of the kernel's log.
fn text(signal: &Signal) -> Option<&str> {
    match &signal.body {
        Body::Kernel(KernelLine::Kmsg(line) | KernelLine::Syslog(line)) => Some(line),
        Body::Kernel(KernelLine::Journal { message, .. }) => Some(message),
        _ => None,
    }
}

fn pid_after(record: &str, words: &str) -> Option<u32> {
    let (_, rest) = record.split_once(words)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whether a sample says more than the one kept last of this cgroup.
fn tells_more(kept: &mut BTreeMap<String, (BootTime, CgroupSample)>, sample: &CgroupSample, at: BootTime) -> bool {
    const AT_LEAST_EVERY_SECONDS: u64 = 30;
    let usage = |sample: &CgroupSample| sample.usage.map_or(0, |bytes| bytes.0);
    let same = kept.get(&sample.path).is_some_and(|(when, known)| {
        known.counters == sample.counters
            && known.limit == sample.limit
            && usage(known).abs_diff(usage(sample)) < usage(known) / MOVED
            && at.seconds_since(*when) < AT_LEAST_EVERY_SECONDS
    });
    if !same {
        kept.insert(sample.path.clone(), (at, sample.clone()));
    }
    !same
}

/// What a source says of itself goes on with how much there is on the whole node.
fn without_counts(report: &SourceReport) -> SourceReport {
    let mut report = report.clone();
    if matches!(report.source, SourceName::Cgroups | SourceName::Processes) {
        report.detail.truncate(report.detail.find(": ").unwrap_or(report.detail.len()));
    }
    report
}

/// `6.18.44` of `6.18.44-build-7`.
fn release(kernel: &str) -> String {
    kernel.split('-').next().expect("a release").to_owned()
}
