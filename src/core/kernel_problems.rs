//! The kernel's own reports inside the core: counted, gathered by what they are about, told, told again
//! when more is known, and cleared when they stop.

use super::{Core, Effect, condition::Condition};
use crate::{
    diagnosis::{
        death::Death,
        kernel_problem::{Line, Matter, NodeWitness, Trouble, Verdict, explain, is_everybodys, is_used_by, pids_level},
    },
    findings::{Change, Evidence, EvidenceSource, Finding, Subject},
    inventory::{Belonging, Inventory},
    model::{BootTime, Cause, ContainerId, Moment},
    parse::kernel_problem::{HardwareProblem, KernelProblem, ProblemClass, Reported},
    signal::{ContainerMounts, MountTable, SourceName},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Things in trouble at a time: disks, interfaces and cgroups of a node that falls apart. Beyond it the
/// longest quiet one is forgotten; its finding stays.
const MAX_TROUBLES: usize = 64;

/// Devices that are counted by name: the disks and some volumes of a node; the rest is `other`.
const MAX_DEVICES: usize = 32;

/// A failing disk makes hundreds of lines a second; its finding counts them this often.
const TELL_EVERY_SECONDS: u64 = 10;

/// For so long after it was told, a finding is completed with what arrives late: mounts, names of pods.
const COMPLETE_FOR_SECONDS: u64 = 120;

/// What holds without new reports, a filesystem that is still read-only, is confirmed before the store
/// would take its silence for its end.
const CONFIRM_EVERY_SECONDS: u64 = 3000;

/// A table of mounts is at most this old, twice the time after which it is read again: a filesystem that turns read-only
/// by itself is no event of the table.
const TABLE_SECONDS: u64 = 60;

/// A pod that nobody has named is another kubelet's after this time: pods are named within a second.
const FOREIGN_WAIT_SECONDS: u64 = 10;

/// An error of the disk belongs to an end of a container that follows it within this time: reads are
/// tried again for seconds, programs try again for some more ...
const BEFORE_END_MICROS: u64 = 30_000_000;
/// ... and is logged at most this long after, for statuses have whole seconds.
const AFTER_END_MICROS: u64 = 3_000_000;

/// What survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DurableProblems {
    troubles: Vec<Told>,
    /// The time of the latest record whose problems are counted.
    counted: Option<BootTime>,
}

/// A trouble, and how far it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Told {
    trouble: Trouble,
    /// Of its problems, so many are told.
    told: u64,
    /// When it was told last.
    at: Option<BootTime>,
    /// When it is to be told; `None` while there is nothing new.
    due: Option<BootTime>,
    /// How often it was confirmed without a new problem.
    confirmed: u64,
}

/// The state.
#[derive(Debug, Default)]
pub struct KernelProblems {
    pub(super) durable: DurableProblems,
    /// Problems up to here were counted by the run before a restart.
    counted_before: Option<BootTime>,
    /// Devices whose filesystem was read-only in the last table.
    read_only: BTreeSet<String>,
    /// Devices that were mounted in the last table.
    mounted: BTreeSet<String>,
}

impl KernelProblems {
    /// Goes on where an earlier run stopped.
    pub fn resume(&mut self, durable: DurableProblems) {
        self.counted_before = durable.counted;
        self.durable = durable;
    }

    /// When the next trouble is due.
    pub fn due(&self) -> Option<BootTime> {
        self.durable.troubles.iter().filter_map(|told| told.due).min()
    }

    /// What is wrong, as far as the kernel and the table of mounts tell.
    pub fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.durable.troubles.iter().map(|told| &told.trouble)
    }

    /// The trouble about a matter; a new one if there is none.
    fn entry(&mut self, matter: Matter, record: u64, at: Moment) -> &mut Told {
        let troubles = &mut self.durable.troubles;
        let known = troubles.iter().position(|told| told.trouble.matter == matter);
        let index = known.unwrap_or_else(|| {
            if troubles.len() == MAX_TROUBLES {
                let quietest = troubles.iter().enumerate().min_by_key(|(_, told)| told.trouble.latest).map(|(index, _)| index);
                quietest.map(|index| troubles.remove(index));
            }
            troubles.push(Told { trouble: Trouble::new(matter, record, at), told: 0, at: None, due: None, confirmed: 0 });
            troubles.len() - 1
        });
        #[allow(clippy::indexing_slicing, reason = "found, or just pushed")]
        &mut troubles[index]
    }
}

impl Told {
    /// Asks for a telling, at once or when the last one is long enough ago.
    fn wants_telling(&mut self, now: BootTime) {
        let first = BootTime(now.0.saturating_add(self.trouble.matter.settle_micros()));
        let next = self.at.map_or(first, |at| at.plus_seconds(TELL_EVERY_SECONDS).max(now));
        self.due.get_or_insert(next);
    }

    /// Which happening the telling is.
    fn happening(&self) -> String {
        format!("kernel:{}:{}:{}", self.trouble.first_record, self.trouble.count(), self.confirmed)
    }
}

impl Core {
    /// Takes in one problem that the kernel reported.
    pub(super) fn problem(&mut self, reported: &Reported, text: &str, at: Moment, record: BootTime) {
        let problem = &reported.problem;
        match problem {
            KernelProblem::Segfault(fault) => self.note_fault(fault.comm.as_deref(), fault.pid, true, text, at),
            KernelProblem::Trap(trap) => self.note_fault(trap.comm.as_deref(), trap.pid, false, text, at),
            _ => {}
        }
        if self.kernel_problems.counted_before.is_some_and(|counted| record <= counted) {
            return;
        }
        self.kernel_problems.durable.counted = Some(record);
        self.counters.count_kernel_problem(problem);
        if let Some(matter) = Matter::of(problem, self.inventory.storage()) {
            let container = self.container_hit(problem, at);
            self.gather(matter, reported, text, container, at);
        }
        self.effects.push(Effect::Save);
    }

    fn gather(&mut self, matter: Matter, reported: &Reported, text: &str, container: Option<ContainerId>, at: Moment) {
        if let Matter::Pids(cgroup) = &matter {
            self.effects.push(Effect::Look { cgroup: cgroup.clone() });
        }
        let now = self.now.map_or(at.boot, |now| now.boot);
        let told = self.kernel_problems.entry(matter, reported.at.record, at);
        told.trouble.add(&reported.problem, Line { at, text: text.to_owned() }, container);
        told.wants_telling(now);
    }

    /// The container of the process that a problem names.
    fn container_hit(&self, problem: &KernelProblem, at: Moment) -> Option<ContainerId> {
        let (comm, pid) = match problem {
            KernelProblem::Hang(hang) => (&hang.comm, hang.pid?),
            KernelProblem::Hardware(HardwareProblem { comm, pid, .. }) => (comm, (*pid)?),
            _ => return None,
        };
        self.inventory.process(pid, comm.as_deref(), at.boot).map(|known| known.container)
    }

    /// Takes in the disks and the host's mounts.
    pub(super) fn mounts(&mut self, table: &MountTable, at: Moment) {
        self.health.record(SourceName::Mounts, at);
        self.inventory.mounts_read(table.clone());
        let forced = self.inventory.storage().forced_read_only();
        let before = std::mem::replace(&mut self.kernel_problems.read_only, forced.clone());
        for device in &forced {
            // The number of a record is part of a finding's id; what no record told has none.
            let told = self.kernel_problems.entry(Matter::ReadOnly(device.clone()), 0, at);
            if told.at.is_none() {
                told.wants_telling(at.boot);
            }
        }
        let mounted = self.inventory.storage().mounted();
        let mounted_before = std::mem::replace(&mut self.kernel_problems.mounted, mounted.clone());
        for device in before.difference(&forced) {
            self.end_of_trouble(&Matter::ReadOnly(device.clone()), at.boot);
        }
        for device in mounted_before.difference(&mounted) {
            self.unmounted(device.clone(), at.boot);
        }
    }

    /// A filesystem that is unmounted is no longer read-only or shut down; if nothing mended it, it is so again.
    pub(super) fn unmounted(&mut self, device: String, at: BootTime) {
        self.end_of_trouble(&Matter::ReadOnly(device.clone()), at);
        self.end_of_trouble(&Matter::ShutDown(device), at);
    }

    /// Takes in what a container has mounted.
    pub(super) fn container_mounts(&mut self, read: &ContainerMounts, at: Moment) {
        self.health.record(SourceName::Mounts, at);
        let place = crate::model::CgroupPlace::of(&read.cgroup);
        self.inventory.container_mounts_read(at.boot, &place, &read.mounts);
    }

    /// Tells what is due.
    pub(super) fn advance_kernel_problems(&mut self, now: Moment) {
        for reported in self.kernel_log.overdue_problems(now.boot) {
            let happened = reported.at.boot.map_or(now, |boot| now.at_boot_time(boot));
            let said = reported.problem.to_string();
            self.problem(&reported, &said, happened, happened.boot);
        }
        let due = |told: &Told| told.due.is_some_and(|due| due <= now.boot);
        for index in 0..self.kernel_problems.durable.troubles.len() {
            if self.kernel_problems.durable.troubles.get(index).is_some_and(due) {
                self.tell_problem(index, now.boot);
            }
        }
    }

    fn tell_problem(&mut self, index: usize, now: BootTime) {
        if self.is_of_unknown_pod(index) {
            self.wait_for_name(index, now);
            return;
        }
        let Some(told) = self.kernel_problems.durable.troubles.get_mut(index) else { return };
        if let (Matter::Pids(cgroup), None) = (&told.trouble.matter, told.trouble.pids) {
            told.trouble.pids = pids_level(cgroup, &self.inventory);
        }
        told.trouble.note_volumes(&self.inventory);
        let weight = if told.at.is_none() { told.trouble.count().max(1) } else { told.trouble.count().saturating_sub(told.told) };
        (told.told, told.at, told.due) = (told.trouble.count(), Some(now), None);
        let told = told.clone();
        self.tell_verdict(&told, weight);
        if matches!(told.trouble.matter, Matter::Disk(_) | Matter::ReadOnly(_) | Matter::ShutDown(_)) {
            self.look_at_unknown_mounts();
        }
    }

    /// A container that began a moment ago may lie on the disk that fails: what it has mounted completes the finding.
    fn look_at_unknown_mounts(&mut self) {
        let inventory = &self.inventory;
        let living = inventory.containers().filter(|container| container.gone.is_none() && container.pod.is_some());
        let unknown = living.filter(|container| !inventory.storage().knows_mounts_of(&container.id));
        self.effects.extend(unknown.filter_map(|container| Some(Effect::Look { cgroup: container.cgroup.clone()? })));
    }

    fn is_of_unknown_pod(&self, index: usize) -> bool {
        let pod = self.kernel_problems.durable.troubles.get(index).and_then(|told| told.trouble.matter.pod());
        pod.is_some_and(|pod| self.inventory.belonging(&pod) == Belonging::Unknown)
    }

    /// Waits until a pod is named; one that never is runs under another kubelet on this kernel.
    fn wait_for_name(&mut self, index: usize, now: BootTime) {
        let troubles = &mut self.kernel_problems.durable.troubles;
        let Some(told) = troubles.get_mut(index) else { return };
        let until = told.trouble.latest.boot.plus_seconds(FOREIGN_WAIT_SECONDS);
        if now < until {
            told.due = Some(until);
        } else {
            troubles.remove(index);
        }
    }

    fn tell_verdict(&mut self, told: &Told, weight: u64) {
        let verdict = explain(&told.trouble, &self.inventory);
        let topic = told.trouble.matter.topic();
        self.tell_condition(condition(told, verdict, weight), told.trouble.latest);
        self.relate(&told.trouble.matter, &topic);
    }

    /// A disk's errors and the filesystem on it that turned read-only are one chain; so is a task that hangs
    /// while a disk fails.
    fn relate(&mut self, matter: &Matter, topic: &crate::findings::Topic) {
        let storage = self.inventory.storage();
        let belongs = |other: &Matter| match (matter, other) {
            (Matter::Disk(disk), Matter::ReadOnly(device) | Matter::ShutDown(device))
            | (Matter::ReadOnly(device) | Matter::ShutDown(device), Matter::Disk(disk)) => {
                storage.held_by(disk, None).devices.contains(device)
            }
            (Matter::Fault(ProblemClass::HungTask), Matter::Disk(_)) => true,
            _ => false,
        };
        let others = self.kernel_problems.durable.troubles.iter().map(|told| &told.trouble.matter).filter(|other| belongs(other));
        let ids: Vec<_> = others.filter_map(|other| self.findings.get(&other.topic())).map(|finding| finding.id.clone()).collect();
        let Some(finding) = self.findings.get_mut(topic) else { return };
        let known = finding.related.len();
        finding.related.extend(ids.into_iter().filter(|id| !finding.related.contains(id)).collect::<Vec<_>>());
        if finding.related.len() > known {
            self.effects.push(Effect::Finding { change: Change::Amended, finding: Box::new(finding.clone()) });
        }
    }

    /// Looks after what was told: completes it, confirms it, or ends it.
    pub(super) fn look_after_troubles(&mut self, now: BootTime) {
        for index in (0..self.kernel_problems.durable.troubles.len()).rev() {
            let Some(told) = self.kernel_problems.durable.troubles.get(index) else { continue };
            let Some(at) = told.at.filter(|_| told.due.is_none()) else { continue };
            let holds = self.holds_in_silence(&told.trouble.matter);
            let silent = now.seconds_since(told.trouble.latest.boot);
            let is_mended = silent >= TABLE_SECONDS && self.is_written_again(&told.trouble.matter);
            if !holds && (is_mended || silent >= told.trouble.matter.quiet_seconds()) {
                let matter = told.trouble.matter.clone();
                self.end_of_trouble(&matter, now);
            } else if holds && now.seconds_since(at) >= CONFIRM_EVERY_SECONDS {
                self.confirm_trouble(index, now);
            } else if now.seconds_since(at) < COMPLETE_FOR_SECONDS {
                self.complete_trouble(index);
            }
        }
    }

    /// Whether a state lasts although nobody speaks of it any more.
    fn holds_in_silence(&self, matter: &Matter) -> bool {
        match matter {
            Matter::ReadOnly(device) => self.kernel_problems.read_only.contains(device),
            // Only an unmount ends it.
            Matter::ShutDown(device) => !self.inventory.storage().is_known() || self.kernel_problems.mounted.contains(device),
            _ => false,
        }
    }

    /// Whether a filesystem that the kernel turned read-only can be written to: the table was read since.
    fn is_written_again(&self, matter: &Matter) -> bool {
        matches!(matter, Matter::ReadOnly(device) if self.inventory.storage().is_writable(device))
    }

    fn confirm_trouble(&mut self, index: usize, now: BootTime) {
        let moment = self.now;
        let Some(told) = self.kernel_problems.durable.troubles.get_mut(index) else { return };
        told.confirmed += 1;
        told.at = Some(now);
        told.trouble.latest = moment.unwrap_or(told.trouble.latest);
        let told = told.clone();
        self.tell_verdict(&told, 0);
    }

    /// Tells a finding again where the same reports now mean more. A pod that it names stays named when it is gone.
    fn complete_trouble(&mut self, index: usize) {
        let Some(told) = self.kernel_problems.durable.troubles.get_mut(index) else { return };
        told.trouble.note_volumes(&self.inventory);
        let told = told.clone();
        let verdict = explain(&told.trouble, &self.inventory);
        let is_told = |finding: &Finding| finding.summary == verdict.summary && finding.subjects == verdict.subjects;
        let names = |subject: &Subject| verdict.subjects.iter().any(|named| named.pod_uid == subject.pod_uid);
        let says_more = |finding: &Finding| !is_told(finding) && finding.subjects.iter().all(names);
        if self.findings.get(&told.trouble.matter.topic()).is_some_and(says_more) {
            self.tell_condition(condition(&told, verdict, 0), told.trouble.latest);
        }
    }

    fn end_of_trouble(&mut self, matter: &Matter, now: BootTime) {
        self.kernel_problems.durable.troubles.retain(|told| told.trouble.matter != *matter);
        self.clear_condition(&matter.topic(), now);
        self.effects.push(Effect::Save);
    }

    /// What the kernel reported about the node close to the end of a container.
    pub(super) fn node_witness(&self, death: &Death) -> Option<NodeWitness> {
        let troubles = self.kernel_problems.durable.troubles.iter().map(|told| &told.trouble);
        let witnesses = troubles.filter_map(|trouble| self.witness_of(trouble, death));
        witnesses.max_by_key(|witness| witness.own)
    }

    fn witness_of(&self, trouble: &Trouble, death: &Death) -> Option<NodeWitness> {
        let ended = death.ended.boot.0;
        // What only the table of mounts shows began before the look that found it.
        let look_late = if trouble.count() == 0 { TABLE_SECONDS } else { 0 };
        let had_begun = trouble.began().is_some_and(|began| began.boot <= death.ended.boot.plus_seconds(look_late));
        let near = |at: BootTime| at.0.saturating_add(BEFORE_END_MICROS) >= ended && at.0 <= ended.saturating_add(AFTER_END_MICROS);
        let line = trouble.lines.iter().rev().find(|line| near(line.at.boot));
        let (time, own, what, how) = match &trouble.matter {
            Matter::Disk(device) => {
                let own = is_used_by(trouble, device, &death.pod, &self.inventory)?;
                let whose = if own { "under a volume of its pod" } else { "that holds the node's own filesystem" };
                (line?.at, own, format!("disk {device} {whose} reported errors"), "the device of the mount, and time")
            }
            // Once read-only, it stays so until somebody mounts it anew.
            Matter::ReadOnly(device) | Matter::ShutDown(device) if had_begun => {
                let own = is_used_by(trouble, device, &death.pod, &self.inventory)?;
                let whose = if own { "of a volume of its pod" } else { "of the node itself" };
                let state = if matches!(trouble.matter, Matter::ShutDown(_)) { "had shut itself down" } else { "was read-only" };
                (trouble.latest, own, format!("the filesystem {whose} on {device} {state}"), "the device of the mount")
            }
            Matter::Fault(ProblemClass::MemoryFailure) if death.container.as_ref().is_some_and(|id| trouble.containers.contains(id)) => {
                (line?.at, true, "the kernel reported broken memory under one of its processes".to_owned(), "pid, seen in the container")
            }
            _ => return None,
        };
        let finding = self.findings.get(&trouble.matter.topic())?;
        let source = if trouble.count() == 0 { EvidenceSource::Node } else { EvidenceSource::KernelLog };
        let evidence = Evidence { source, time: time.wall, what, supports: true, how_matched: how.into() };
        Some(NodeWitness { finding: finding.id.clone(), evidence, own })
    }
}

/// Whether what is wrong concerns the whole node, in contrast to a pod's volume, a pod's network or one device.
pub(super) fn is_of_node(trouble: &Trouble, inventory: &Inventory) -> bool {
    match &trouble.matter {
        Matter::Disk(device) | Matter::ReadOnly(device) | Matter::ShutDown(device) => {
            !inventory.storage().is_known() || is_everybodys(trouble, device, inventory)
        }
        Matter::Fault(class) => !matches!(class, ProblemClass::GpuError | ProblemClass::PcieError),
        Matter::Network(class, place) => *class != ProblemClass::ConntrackFull || place.is_none(),
        Matter::Pids(_) => false,
    }
}

/// Whether a finding of this cause is about the node and outlives the pods that it names.
pub(super) const fn outlives_pods(cause: Cause) -> bool {
    matches!(cause, Cause::StorageError | Cause::ReadOnlyFilesystem | Cause::KernelFault | Cause::NetworkFault)
}

fn condition(told: &Told, verdict: Verdict, weight: u64) -> Condition {
    Condition {
        topic: told.trouble.matter.topic(),
        happening: told.happening(),
        weight,
        cause: told.trouble.matter.cause(),
        confidence: verdict.confidence,
        scope: verdict.scope,
        blame: verdict.blame,
        summary: verdict.summary,
        subjects: verdict.subjects,
        evidence: verdict.evidence,
        not_found: verdict.not_found,
        actions: verdict.actions,
        attribution: verdict.attribution,
    }
}

impl super::Counters {
    fn count_kernel_problem(&mut self, problem: &KernelProblem) {
        let Some(class) = problem.class() else { return };
        *self.kernel_problems.entry(class).or_default() += 1;
        let device = match problem {
            KernelProblem::Disk(disk) => &disk.device,
            KernelProblem::Filesystem(filesystem) if class != ProblemClass::MountFailed => &filesystem.device,
            _ => return,
        };
        let device = device.as_deref().unwrap_or("unknown");
        let known = self.storage_errors.contains_key(device) || self.storage_errors.len() < MAX_DEVICES;
        *self.storage_errors.entry(if known { device } else { "other" }.to_owned()).or_default() += 1;
    }
}
