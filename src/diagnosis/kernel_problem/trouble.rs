//! All that the kernel has said about one thing.

use super::{Matter, PidsLevel, storage::volumes};
use crate::{
    findings::{Evidence, EvidenceSource},
    inventory::{Inventory, VolumeUse},
    model::{ContainerId, Moment},
    parse::kernel_problem::{KernelProblem, ProblemClass},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The kernel's lines that are kept: the levels of one failure, from the disk to the filesystem.
const MAX_LINES: usize = 5;

/// Places on a disk that are kept, to know which partitions they lie in.
const MAX_PLACES: usize = 16;

/// Containers that are kept.
const MAX_CONTAINERS: usize = 16;

/// All that the kernel has said about one thing, since it first did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// The thing.
    pub matter: Matter,
    /// The number of the first record: what the finding's id is derived from.
    pub first_record: u64,
    /// How many problems, by class.
    pub classes: BTreeMap<ProblemClass, u64>,
    /// The earliest moment; unknown in a checkpoint of an earlier version.
    pub earliest: Option<Moment>,
    /// The latest moment.
    pub latest: Moment,
    /// The latest lines, each with its moment.
    pub lines: VecDeque<Line>,
    /// The latest problem, in words.
    pub said: String,
    /// Failed devices and sectors.
    pub places: BTreeSet<(String, Option<u64>)>,
    /// The containers of the processes that were hit.
    pub containers: BTreeSet<ContainerId>,
    /// The limit that refused a process, once the figures have shown it.
    pub pids: Option<PidsLevel>,
    /// The volumes of pods that it was told with: what a container has mounted is forgotten with it, or with the agent.
    #[serde(default)]
    pub volumes: BTreeSet<VolumeUse>,
}

/// One line of the kernel's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When the kernel wrote it.
    pub at: Moment,
    /// Its text.
    pub text: String,
}

impl Trouble {
    /// Nothing was said yet.
    pub fn new(matter: Matter, first_record: u64, at: Moment) -> Self {
        Self {
            matter,
            first_record,
            classes: BTreeMap::new(),
            earliest: Some(at),
            latest: at,
            lines: VecDeque::new(),
            said: String::new(),
            places: BTreeSet::new(),
            containers: BTreeSet::new(),
            pids: None,
            volumes: BTreeSet::new(),
        }
    }

    /// Adds a problem in the words of the kernel, and the container that it hit.
    pub fn add(&mut self, problem: &KernelProblem, line: Line, container: Option<ContainerId>) {
        self.earliest = self.earliest.map(|earliest| earliest.min(line.at));
        self.latest = self.latest.max(line.at);
        if let Some(class) = problem.class() {
            *self.classes.entry(class).or_default() += 1;
        }
        self.said = problem.to_string();
        if let Some(place) = place_of(problem)
            && self.places.len() < MAX_PLACES
        {
            self.places.insert(place);
        }
        if let Some(container) = container
            && self.containers.len() < MAX_CONTAINERS
        {
            self.containers.insert(container);
        }
        self.note(line);
    }

    /// Keeps which volumes of pods lie on the device that it is about.
    pub fn note_volumes(&mut self, inventory: &Inventory) {
        if let Matter::Disk(device) | Matter::ReadOnly(device) | Matter::ShutDown(device) = &self.matter {
            self.volumes = volumes(self, device, inventory);
        }
    }

    /// Keeps a line, but for those that differ from a kept one in numbers only.
    fn note(&mut self, line: Line) {
        self.lines.retain(|known| !is_alike(&known.text, &line.text));
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// When it began, as far as is known: an earlier line that is like a later one is not kept.
    pub fn began(&self) -> Option<Moment> {
        self.earliest.or_else(|| self.lines.front().map(|line| line.at))
    }

    /// How many problems.
    pub fn count(&self) -> u64 {
        self.classes.values().sum()
    }

    /// How many problems of a class.
    pub fn count_of(&self, class: ProblemClass) -> u64 {
        self.classes.get(&class).copied().unwrap_or_default()
    }

    /// The kept lines, as evidence.
    pub fn evidence(&self, how_matched: &str) -> Vec<Evidence> {
        let evidence = self.lines.iter().map(|line| Evidence {
            source: EvidenceSource::KernelLog,
            time: line.at.wall,
            what: line.text.clone(),
            supports: true,
            how_matched: how_matched.to_owned(),
        });
        evidence.collect()
    }
}

/// The device that a problem names, and the sector.
fn place_of(problem: &KernelProblem) -> Option<(String, Option<u64>)> {
    match problem {
        KernelProblem::Disk(disk) => Some((disk.device.clone()?, disk.sector)),
        KernelProblem::Filesystem(filesystem) => Some((filesystem.device.clone()?, None)),
        _ => None,
    }
}

/// Whether two lines say the same about another sector, block or inode.
fn is_alike(one: &str, other: &str) -> bool {
    let without_numbers = |text: &'_ str| text.bytes().filter(|byte| !byte.is_ascii_digit()).collect::<Vec<_>>();
    without_numbers(one) == without_numbers(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::BootTime, parse::kernel_problem::recognise};

    fn moment(second: u64) -> Moment {
        let zero = Moment { boot: BootTime(0), wall: "2026-11-23T10:00:00Z".parse().expect("time") };
        zero.at_boot_time(BootTime(second * 1_000_000))
    }

    #[test]
    fn lines_that_differ_in_numbers_only_are_kept_once_and_all_are_counted() {
        let mut trouble = Trouble::new(Matter::Disk("vdb".into()), 7, moment(1));
        for second in 1..40 {
            let text = format!("I/O error, dev vdb, sector {} op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2", second * 8);
            trouble.add(&recognise(&text).expect("a problem"), Line { at: moment(second), text }, None);
        }
        let text = "EXT4-fs error (device vdb): ext4_find_entry:1436: inode #2: comm cp: reading directory lblock 0".to_owned();
        trouble.add(&recognise(&text).expect("a problem"), Line { at: moment(50), text }, None);
        assert_eq!((trouble.count(), trouble.count_of(ProblemClass::IoError), trouble.lines.len()), (40, 39, 2));
        assert!(trouble.lines[0].text.contains("sector 312"), "the latest: {:?}", trouble.lines[0]);
        assert_eq!((trouble.places.len(), trouble.latest), (MAX_PLACES, moment(50)));
    }
}
