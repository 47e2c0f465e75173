//! Disks that fail, filesystems that turned read-only, and who keeps data on them.

use super::{MAX_SUBJECTS, Trouble, Verdict};
use crate::{
    findings::{Evidence, EvidenceSource, Subject},
    inventory::{Belonging, Held, Inventory, Role, VolumeUse, is_remote},
    model::{Attribution, Blame, Confidence, PodUid, Scope},
    parse::kernel_problem::ProblemClass,
};
use std::collections::{BTreeMap, BTreeSet};

/// Filesystems of the host that the sentence names.
const MAX_POINTS: usize = 3;

/// Volumes that are remembered with a trouble: a few of each pod that a finding names.
const MAX_VOLUMES: usize = 4 * MAX_SUBJECTS;

/// A disk reports errors, or the filesystem on it does.
pub fn disk(trouble: &Trouble, device: &str, inventory: &Inventory) -> Verdict {
    let held = held_by(trouble, device, inventory);
    let users = Users::of(&held, inventory);
    let remote = trouble.places.iter().any(|(device, _)| is_remote(device));
    let what = format!("{} {}", name(device, &held), complaint(trouble));
    let mut actions = vec![if remote {
        format!("Look at the storage behind {device}, and at the network between it and this node.")
    } else {
        format!("Look at the disk's own report (smartctl -a /dev/{device}, or the cloud's volume status), and replace it.")
    }];
    if trouble.count_of(ProblemClass::FilesystemDamage) > 0 {
        actions.push("Unmount the filesystem and check it (fsck, xfs_repair) before it is used again.".into());
    }
    Verdict { blame: if remote { Blame::Insufficient } else { Blame::Node }, actions, ..verdict(trouble, &what, &held, users, inventory) }
}

/// A filesystem turned read-only after errors.
pub fn read_only(trouble: &Trouble, device: &str, inventory: &Inventory) -> Verdict {
    let held = held_by(trouble, device, inventory);
    let users = Users::of(&held, inventory);
    let said = trouble.count() > 0;
    let what = format!("The filesystem on {} turned read-only{}", lower(&name(device, &held)), if said { " after errors" } else { "" });
    let actions = vec![
        format!("Find out why from the kernel's log about {device}; then check the filesystem (fsck) and mount it anew."),
        "Move the pods that write there to another node.".into(),
    ];
    let mut verdict = Verdict { actions, ..verdict(trouble, &what, &held, users, inventory) };
    if inventory.storage().forced_read_only().contains(device) {
        verdict.evidence.push(Evidence {
            source: EvidenceSource::Node,
            time: trouble.latest.wall,
            what: format!("/proc/1/mountinfo: {device} is mounted to be written to, and its filesystem is read-only"),
            supports: true,
            how_matched: "device number".into(),
        });
    }
    if !said {
        verdict.confidence = Confidence::Likely;
        verdict.not_found.push("the kernel's own word about it".into());
    }
    verdict
}

/// A filesystem shut itself down, as XFS does where ext4 turns read-only.
pub fn shut_down(trouble: &Trouble, device: &str, inventory: &Inventory) -> Verdict {
    let held = held_by(trouble, device, inventory);
    let users = Users::of(&held, inventory);
    let what =
        format!("The filesystem on {} shut itself down after errors: nothing on it can be read or written", lower(&name(device, &held)));
    let actions = vec![
        format!("Stop what uses it, unmount it, repair it (xfs_repair /dev/{device}) and mount it anew: until then each access fails."),
        format!("Find out why from the kernel's log about {device}, and move the pods that use it to another node."),
    ];
    Verdict { actions, ..verdict(trouble, &what, &held, users, inventory) }
}

/// Whether a pod keeps data on a troubled device: `Some(true)` in a volume of its own, `Some(false)` on the
/// node's own filesystem, like every pod.
pub fn is_used_by(trouble: &Trouble, device: &str, pod: &PodUid, inventory: &Inventory) -> Option<bool> {
    let held = held_by(trouble, device, inventory);
    let own = Users::of(&held, inventory).by_pod.contains_key(pod);
    if own { Some(true) } else { held.is_everybodys().then_some(false) }
}

/// Whether every pod of the node depends on a troubled device.
pub fn is_everybodys(trouble: &Trouble, device: &str, inventory: &Inventory) -> bool {
    held_by(trouble, device, inventory).is_everybodys()
}

fn verdict(trouble: &Trouble, what: &str, held: &Held, users: Users, inventory: &Inventory) -> Verdict {
    let mut not_found = Vec::new();
    if !inventory.storage().is_known() {
        not_found.push("what lies on the disk: the table of mounts has not been read".into());
    } else if held.is_unused() {
        not_found.push("a mounted filesystem or a volume of a pod on it".into());
    }
    Verdict {
        confidence: Confidence::Proven,
        scope: Scope::Node,
        blame: Blame::Node,
        summary: format!("{what}{}.", users.clause(held)),
        attribution: if users.by_pod.is_empty() { Attribution::None } else { Attribution::Kernel },
        subjects: users.subjects(inventory),
        evidence: trouble.evidence("the device that the kernel names"),
        not_found,
        actions: vec![],
    }
}

/// The volumes of pods on a troubled device, each with its pod; those that are remembered stay until their pod's are seen
/// again, for after a restart of the agent the pods are named later than the first trouble is told.
pub(super) fn volumes(trouble: &Trouble, device: &str, inventory: &Inventory) -> BTreeSet<VolumeUse> {
    let held = held_by(trouble, device, inventory);
    let with_pod = |used: &VolumeUse| Some(VolumeUse { pod: Some(pod_of(used, inventory)?), ..used.clone() });
    held.volumes.iter().filter_map(with_pod).take(MAX_VOLUMES).collect()
}

/// What lies on all places that failed, and whose volumes lay there when it was told.
fn held_by(trouble: &Trouble, device: &str, inventory: &Inventory) -> Held {
    let storage = inventory.storage();
    let mut held = Held { description: storage.held_by(device, None).description, ..Held::default() };
    let whole = [(device.to_owned(), None)];
    // A place without a sector says less than one of the same device with it.
    let with_sector = trouble.places.iter().any(|(_, sector)| sector.is_some());
    let places = trouble.places.iter().filter(|(word, sector)| sector.is_some() || !with_sector || word != device);
    let places: Vec<_> = places.collect();
    let places = if places.is_empty() { whole.iter().collect() } else { places };
    for (word, sector) in places {
        let more = storage.held_by(word, *sector);
        held.devices.extend(more.devices);
        held.points.extend(more.points);
        held.roles.extend(more.roles);
        held.volumes.extend(more.volumes);
    }
    let seen: BTreeSet<_> = held.volumes.iter().filter_map(|used| pod_of(used, inventory)).collect();
    held.volumes.extend(trouble.volumes.iter().filter(|used| used.pod.as_ref().is_some_and(|pod| !seen.contains(pod))).cloned());
    held
}

fn pod_of(used: &VolumeUse, inventory: &Inventory) -> Option<PodUid> {
    used.pod.clone().or_else(|| inventory.container(used.container.as_ref()?)?.pod.clone())
}

/// The pods with volumes on a device.
struct Users {
    by_pod: BTreeMap<PodUid, Vec<VolumeUse>>,
}

impl Users {
    fn of(held: &Held, inventory: &Inventory) -> Self {
        let mut by_pod: BTreeMap<PodUid, Vec<VolumeUse>> = BTreeMap::new();
        for used in &held.volumes {
            // On a kernel that several kubelets share, another one's pods are none of this node's.
            if let Some(pod) = pod_of(used, inventory).filter(|pod| inventory.belonging(pod) == Belonging::Own) {
                by_pod.entry(pod).or_default().push(used.clone());
            }
        }
        Self { by_pod }
    }

    fn subjects(&self, inventory: &Inventory) -> Vec<Subject> {
        let subject = |(pod, uses): (&PodUid, &Vec<VolumeUse>)| {
            let mut containers = uses.iter().filter_map(|used| used.container.as_ref());
            let only = containers.next().filter(|first| containers.all(|other| other == *first));
            inventory.subject(Some(pod), only)
        };
        self.by_pod.iter().take(MAX_SUBJECTS).map(subject).map(by_pod_alone).collect()
    }

    /// What follows the complaint: whose data is there.
    fn clause(&self, held: &Held) -> String {
        let pods = self.by_pod.len();
        let points: Vec<_> = held.points.iter().take(MAX_POINTS).map(String::as_str).collect();
        if held.is_everybodys() {
            let roles: Vec<_> = held.roles.iter().map(|role| Role::as_str(*role)).collect();
            return format!("; it holds {}: every pod of this node depends on it", listed(&roles));
        }
        let volumes: Vec<_> = self.by_pod.values().flatten().filter_map(|used| used.volume.as_deref()).collect();
        let mounted: Vec<_> = self.by_pod.values().flatten().filter_map(|used| used.point.as_deref()).collect();
        match (pods, volumes.first(), mounted.first()) {
            (0, ..) if points.is_empty() => String::new(),
            (0, ..) => format!("; mounted at {}", listed(&points)),
            (1, Some(volume), _) => format!("; it holds volume {volume} of one pod"),
            (1, None, Some(point)) => format!("; one pod has it mounted at {point}"),
            _ if pods > MAX_SUBJECTS => format!("; {pods} pods have volumes on it, {} of them not named here", pods - MAX_SUBJECTS),
            _ => format!("; {pods} pods have volumes on it"),
        }
    }
}

/// A volume is the pod's: which life of a container has it does not matter.
fn by_pod_alone(subject: Subject) -> Subject {
    Subject { container_id: None, attempt: None, container: subject.container, ..subject }
}

fn name(device: &str, held: &Held) -> String {
    match &held.description {
        Some(description) => format!("Disk {device} ({description})"),
        None => format!("Disk {device}"),
    }
}

fn lower(text: &str) -> String {
    text.strip_prefix("Disk ").unwrap_or(text).to_owned()
}

/// What is wrong, the worst first.
fn complaint(trouble: &Trouble) -> String {
    const COMPLAINTS: [(ProblemClass, &str, &str); 5] = [
        (ProblemClass::MediumError, "has a bad medium", "read or write error"),
        (ProblemClass::ArrayDegraded, "lost a part of its array, its paths or its space", "report"),
        (ProblemClass::IoError, "reports I/O errors", "report"),
        (ProblemClass::DiskTimeout, "does not answer in time", "report"),
        (ProblemClass::FilesystemDamage, "holds a damaged filesystem", "report"),
    ];
    let found = COMPLAINTS.iter().filter_map(|(class, what, unit)| match trouble.count_of(*class) {
        0 => None,
        1 => Some((*what).to_owned()),
        count => Some(format!("{what} ({count} {unit}s)")),
    });
    let found: Vec<_> = found.collect();
    listed(&found.iter().map(String::as_str).collect::<Vec<_>>())
}

fn listed(parts: &[&str]) -> String {
    match parts {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
