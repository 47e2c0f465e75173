//! What lies on which disk: partitions, device-mapper devices, filesystems, volumes of pods.
//!
//! Flows in: the host's table of mounts and that of each container. Flows out: for a device as the
//! kernel's log names it, what is lost with it ([`Held`]).
//!
//! A pod uses a disk in one of two ways. A volume of its own is mounted from it: then the host's table
//! shows it below the kubelet's folder of the pod, and the container's own table shows it wherever the
//! container has it. Or the node's own filesystem lies on it, with the files that the kubelet gives to
//! every container (`/etc/hosts`): then every pod depends on it, and none is named.

use crate::{
    model::{ContainerId, PodUid},
    signal::{BlockDevice, DeviceNumber, Mount, MountTable},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the kubelet and the runtime mount into every container from the node's own filesystems.
const FILES_OF_THE_NODE: [&str; 4] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"];

/// Folders of the host without which no pod, or not the node itself, can live.
const FOLDERS_OF_THE_NODE: [(&str, Role); 8] = [
    ("/", Role::Root),
    ("/var/log", Role::Logs),
    ("/var/lib/kubelet", Role::Kubelet),
    ("/var/lib/containerd", Role::Images),
    ("/var/lib/containers/storage", Role::Images),
    ("/var/lib/docker", Role::Images),
    ("/var/lib/rancher", Role::Images),
    ("/var/lib/etcd", Role::Etcd),
];

/// Filesystems that turn read-only after errors, and whose options then say so; XFS shuts down instead.
const TURN_READ_ONLY: [&str; 9] = ["ext2", "ext3", "ext4", "btrfs", "f2fs", "vfat", "exfat", "jfs", "nilfs2"];

/// Device names that stand for storage elsewhere: Ceph, network block devices, DRBD.
const REMOTE: [&str; 3] = ["rbd", "nbd", "drbd"];

/// What the node itself keeps on a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The host's root.
    Root,
    /// The kubelet's own folder, with the volumes that pods keep on the node.
    Kubelet,
    /// The runtime's folder, with images and the containers' own files.
    Images,
    /// Logs.
    Logs,
    /// The store of a control plane on this node.
    Etcd,
}

impl Role {
    /// What it is, in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "the host's root",
            Self::Kubelet => "the kubelet's folder",
            Self::Images => "images and containers",
            Self::Logs => "logs",
            Self::Etcd => "etcd",
        }
    }
}

/// Everything known about disks and mounts.
#[derive(Debug, Default)]
pub struct Storage {
    table: Option<MountTable>,
    containers: BTreeMap<ContainerId, Vec<Mount>>,
}

/// What lies on a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The devices that were looked at: the one named, its partitions, and what is built on them.
    pub devices: BTreeSet<String>,
    /// What the device is, where that says more than its name: a backing file, a mapper's name.
    pub description: Option<String>,
    /// Where the host has filesystems of it mounted that are none of a pod.
    pub points: BTreeSet<String>,
    /// What the node itself keeps there.
    pub roles: BTreeSet<Role>,
    /// Volumes of pods.
    pub volumes: BTreeSet<VolumeUse>,
}

/// A pod's use of a volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VolumeUse {
    /// The pod, if the host's table tells it.
    pub pod: Option<PodUid>,
    /// The container that has it mounted.
    pub container: Option<ContainerId>,
    /// The volume's name in the kubelet's folder.
    pub volume: Option<String>,
    /// Where the container has it.
    pub point: Option<String>,
}

impl Held {
    /// Whether every pod of the node depends on it.
    pub fn is_everybodys(&self) -> bool {
        [Role::Kubelet, Role::Images].iter().any(|role| self.roles.contains(role))
    }

    /// Whether nothing is known to use it.
    pub fn is_unused(&self) -> bool {
        self.points.is_empty() && self.roles.is_empty() && self.volumes.is_empty()
    }
}

impl Storage {
    /// Takes in the host's table.
    pub fn told(&mut self, table: MountTable) {
        self.table = Some(table);
    }

    /// Takes in the mounts of a container.
    pub fn container_told(&mut self, container: ContainerId, mounts: Vec<Mount>) {
        self.containers.insert(container, mounts);
    }

    /// Whether it is known what a container has mounted.
    pub fn knows_mounts_of(&self, container: &ContainerId) -> bool {
        self.containers.contains_key(container)
    }

    /// Whether the host's table has been told.
    pub fn is_known(&self) -> bool {
        self.table.is_some()
    }

    /// The host's table.
    pub fn mounts(&self) -> &[Mount] {
        self.table.as_ref().map_or(&[], |table| &table.mounts)
    }

    /// The devices whose filesystem is read-only although nobody asked for it: every mount of it on the
    /// host is meant to be written to. Filesystems that can only be read are not among them.
    pub fn forced_read_only(&self) -> BTreeSet<String> {
        let mut by_device: BTreeMap<DeviceNumber, Vec<&Mount>> = BTreeMap::new();
        for mount in self.mounts().iter().filter(|mount| TURN_READ_ONLY.contains(&mount.filesystem.as_str())) {
            by_device.entry(mount.device).or_default().push(mount);
        }
        let forced = by_device.values().filter(|mounts| mounts.iter().all(|mount| mount.filesystem_read_only && !mount.read_only));
        forced.filter_map(|mounts| mounts.first()).map(|mount| self.device_of(mount)).collect()
    }

    /// The devices that the host has mounted.
    pub fn mounted(&self) -> BTreeSet<String> {
        self.mounts().iter().map(|mount| self.device_of(mount)).collect()
    }

    /// Whether the host can write to the filesystem on a device, of a kind that says in the table when it cannot.
    pub fn is_writable(&self, device: &str) -> bool {
        let says = |mount: &&Mount| TURN_READ_ONLY.contains(&mount.filesystem.as_str()) && !mount.filesystem_read_only;
        self.mounts().iter().filter(says).any(|mount| self.device_of(mount) == device)
    }

    /// Keeps the mounts of these containers only.
    pub fn retain(&mut self, keep: impl Fn(&ContainerId) -> bool) {
        self.containers.retain(|container, _| keep(container));
    }

    /// The whole disk that a name of the kernel's log stands for, so that its partitions are one topic.
    pub fn disk_of(&self, word: &str) -> String {
        let known = self.named(word);
        let disk = known.first().map(|device| device.part_of.clone().unwrap_or_else(|| device.name.clone()));
        disk.unwrap_or_else(|| word.to_owned())
    }

    /// The kernel's name of the device that a filesystem lies on.
    pub fn device_of(&self, mount: &Mount) -> String {
        let device = self.devices().iter().find(|device| is_on(mount, device));
        device.map_or_else(|| mount.source.trim_start_matches("/dev/").to_owned(), |device| device.name.clone())
    }

    /// What is lost with a device, or, where a sector is named, with the partition that holds it.
    pub fn held_by(&self, word: &str, sector: Option<u64>) -> Held {
        let mut held = Held { devices: self.built_on(word, sector), ..Held::default() };
        held.description = self.description(word);
        let on: Vec<&BlockDevice> = self.devices().iter().filter(|device| held.devices.contains(&device.name)).collect();
        let lies = |mount: &&Mount| on.iter().any(|device| is_on(mount, device));
        let nodes_own = self.files_of_the_node();
        for mount in self.mounts().iter().filter(lies) {
            match volume_at(&mount.point) {
                Some((pod, volume)) => {
                    held.volumes.insert(VolumeUse { pod: Some(pod), container: None, volume: Some(volume), point: None });
                }
                None => drop(held.points.insert(mount.point.clone())),
            }
        }
        for (container, mounts) in &self.containers {
            for mount in mounts.iter().filter(lies) {
                if nodes_own.contains(&mount.device) {
                    held.roles.insert(Role::Kubelet);
                } else {
                    let point = Some(mount.point.clone());
                    held.volumes.insert(VolumeUse { pod: None, container: Some(container.clone()), volume: None, point });
                }
            }
        }
        held.roles.extend(self.roles(&on));
        held
    }

    /// The node's own folders on these devices.
    fn roles(&self, on: &[&BlockDevice]) -> Vec<Role> {
        let kubelet = self.kubelet_folder();
        let folders = FOLDERS_OF_THE_NODE.iter().copied().filter(|(_, role)| kubelet.is_none() || *role != Role::Kubelet);
        let folders = folders.chain(kubelet.map(|folder| (folder, Role::Kubelet)));
        let lies = |folder: &str| self.mount_of(folder).is_some_and(|mount| on.iter().any(|device| is_on(mount, device)));
        folders.filter(|(folder, _)| lies(folder)).map(|(_, role)| role).collect()
    }

    /// The kubelet's folder as its volumes show it.
    fn kubelet_folder(&self) -> Option<&str> {
        self.mounts()
            .iter()
            .find_map(|mount| volume_at(&mount.point).and_then(|_| mount.point.split_once("/pods/")))
            .map(|(folder, _)| folder)
    }

    /// The mount that a path of the host lies in: the longest that begins it, of several the last.
    fn mount_of(&self, path: &str) -> Option<&Mount> {
        let holds = |point: &str| {
            let rest = path.strip_prefix(point.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.mounts().iter().filter(|mount| holds(&mount.point)).max_by_key(|mount| mount.point.len())
    }

    fn files_of_the_node(&self) -> BTreeSet<DeviceNumber> {
        let files = self.containers.values().flatten().filter(|mount| FILES_OF_THE_NODE.contains(&mount.point.as_str()));
        files.map(|mount| mount.device).collect()
    }

    fn devices(&self) -> &[BlockDevice] {
        self.table.as_ref().map_or(&[], |table| &table.devices)
    }

    /// The devices that a word of the kernel's log stands for: a name, a number, an NVMe controller
    /// (`nvme0`), or one path to an NVMe disk (`nvme0c1n1`).
    fn named(&self, word: &str) -> Vec<&BlockDevice> {
        let number = DeviceNumber::parse(word);
        let is_it = |device: &&BlockDevice| device.name == word || Some(device.number) == number;
        let exact: Vec<_> = self.devices().iter().filter(is_it).collect();
        if !exact.is_empty() || !word.starts_with("nvme") {
            return exact;
        }
        let disk = without_path(word);
        let namespaces = format!("{word}n");
        let fits = |device: &&BlockDevice| device.name == disk || (device.part_of.is_none() && device.name.starts_with(&namespaces));
        self.devices().iter().filter(fits).collect()
    }

    /// The named devices, their partitions, and what is built on those.
    fn built_on(&self, word: &str, sector: Option<u64>) -> BTreeSet<String> {
        /// Devices are stacked a few levels high.
        const LEVELS: usize = 8;
        let mut names: BTreeSet<String> = self.named(word).iter().map(|device| device.name.clone()).collect();
        if names.is_empty() {
            names.insert(word.to_owned());
        }
        names.extend(self.partitions(&names, sector));
        let (mut below, mut with_partitions) = (names.clone(), false);
        for _ in 0..LEVELS {
            let stands_on = |device: &&BlockDevice| {
                let is_part = with_partitions && device.part_of.as_ref().is_some_and(|disk| below.contains(disk));
                is_part || device.slaves.iter().any(|slave| below.contains(slave))
            };
            let above: BTreeSet<_> = self.devices().iter().filter(stands_on).map(|device| device.name.clone()).collect();
            names.extend(above.iter().cloned());
            (below, with_partitions) = (above, true);
        }
        names
    }

    /// The partitions of some disks: the one that holds the sector, or all where none does.
    fn partitions(&self, disks: &BTreeSet<String>, sector: Option<u64>) -> Vec<String> {
        let all = self.devices().iter().filter(|device| device.part_of.as_ref().is_some_and(|disk| disks.contains(disk)));
        let all: Vec<_> = all.collect();
        let hit = all.iter().find(|part| sector.is_some_and(|sector| holds(part, sector)));
        hit.map_or_else(|| all.iter().map(|part| part.name.clone()).collect(), |part| vec![part.name.clone()])
    }

    fn description(&self, word: &str) -> Option<String> {
        let named = self.named(word);
        let device = named.first()?;
        let mapper = device.mapper_name.as_ref().map(|name| format!("/dev/mapper/{name}"));
        mapper.or_else(|| device.backing_file.as_ref().map(|file| format!("the file {file}")))
    }
}

/// Whether what lies on the device is elsewhere in truth, so that another node would meet the same errors.
pub fn is_remote(device: &str) -> bool {
    let is_numbered = |rest: &str| rest.starts_with(|digit: char| digit.is_ascii_digit());
    REMOTE.iter().any(|kind| device.strip_prefix(kind).is_some_and(is_numbered))
}

fn holds(part: &BlockDevice, sector: u64) -> bool {
    let end = part.start.zip(part.sectors).map(|(start, sectors)| start.saturating_add(sectors));
    part.start.is_some_and(|start| start <= sector) && end.is_some_and(|end| sector < end)
}

/// Filesystems that span devices have a number of their own; what was mounted is then named.
fn is_on(mount: &Mount, device: &BlockDevice) -> bool {
    if !mount.device.is_anonymous() {
        return mount.device == device.number;
    }
    let Some(name) = mount.source.strip_prefix("/dev/") else { return false };
    name == device.name || name.strip_prefix("mapper/").is_some_and(|name| device.mapper_name.as_deref() == Some(name))
}

/// `nvme0c1n1` and its partitions are one path to `nvme0n1`.
fn without_path(word: &str) -> String {
    let path = word.strip_prefix("nvme").and_then(|rest| {
        let (controller, rest) = rest.split_once('c')?;
        let (path, namespace) = rest.split_once('n')?;
        let are_numbers = [controller, path].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        are_numbers.then(|| format!("nvme{controller}n{namespace}"))
    });
    path.unwrap_or_else(|| word.to_owned())
}

/// The pod and the volume of a path `<kubelet>/pods/<uid>/volumes/<plugin>/<volume>` or
/// `<kubelet>/pods/<uid>/volume-subpaths/<volume>/<container>/<number>` (pkg/kubelet/kubelet_getters.go).
fn volume_at(path: &str) -> Option<(PodUid, String)> {
    let (_, rest) = path.split_once("/pods/")?;
    let mut parts = rest.split('/');
    let pod = PodUid::parse(parts.next()?)?;
    let volume = match parts.next()? {
        "volumes" => parts.nth(1)?,
        "volume-subpaths" => parts.next()?,
        _ => return None,
    };
    Some((pod, volume.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "7145627f-44a7-433c-a896-a8c81a4df533";

    fn device(name: &str, number: (u32, u32)) -> BlockDevice {
        BlockDevice {
            name: name.into(),
            number: DeviceNumber(number.0, number.1),
            part_of: None,
            start: None,
            sectors: None,
            mapper_name: None,
            slaves: vec![],
            backing_file: None,
        }
    }

    fn part(name: &str, number: (u32, u32), disk: &str, start: u64, sectors: u64) -> BlockDevice {
        BlockDevice { part_of: Some(disk.into()), start: Some(start), sectors: Some(sectors), ..device(name, number) }
    }

    fn mount(number: (u32, u32), source: &str, point: &str) -> Mount {
        Mount {
            device: DeviceNumber(number.0, number.1),
            source: source.into(),
            root: "/".into(),
            point: point.into(),
            filesystem: "ext4".into(),
            read_only: false,
            filesystem_read_only: false,
        }
    }

    /// A disk with the system and one with LVM for volumes.
    fn node() -> Storage {
        let volume = format!("/mnt/kubelet/pods/{UID}/volumes/kubernetes.io~csi/pvc-1/mount");
        let mut storage = Storage::default();
        storage.told(MountTable {
            devices: vec![
                device("sda", (8, 0)),
                part("sda1", (8, 1), "sda", 2048, 1000),
                part("sda2", (8, 2), "sda", 4096, 1000),
                device("sdb", (8, 16)),
                part("sdb1", (8, 17), "sdb", 2048, 100_000),
                BlockDevice { mapper_name: Some("data-pvc1".into()), slaves: vec!["sdb1".into()], ..device("dm-0", (253, 0)) },
                device("nvme0n1", (259, 0)),
                device("sdc", (8, 32)),
            ],
            mounts: vec![
                mount((8, 1), "/dev/sda1", "/"),
                mount((8, 2), "/dev/sda2", "/mnt/kubelet"),
                mount((253, 0), "/dev/mapper/data-pvc1", &volume),
                mount((0, 44), "/dev/sdc", "/srv/btrfs"),
            ],
        });
        storage
    }

    fn points(held: &Held) -> Vec<&str> {
        held.points.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_sector_names_the_partition() {
        let storage = node();
        let (first, second) = (storage.held_by("sda", Some(2500)), storage.held_by("sda", Some(4096)));
        assert_eq!((points(&first), points(&second)), (vec!["/"], vec!["/mnt/kubelet"]));
        assert!(!first.roles.contains(&Role::Kubelet) && first.roles.contains(&Role::Root));
        assert!(second.is_everybodys(), "the kubelet's folder is where its volumes are");
        assert_eq!(points(&storage.held_by("sda", None)), ["/", "/mnt/kubelet"], "no sector: all of the disk");
        assert_eq!(storage.disk_of("sda2"), "sda");
    }

    #[test]
    fn a_volume_is_found_through_what_lies_between() {
        let volume = VolumeUse { pod: PodUid::parse(UID), container: None, volume: Some("pvc-1".into()), point: None };
        for word in ["sdb", "sdb1", "dm-0", "253:0"] {
            let held = node().held_by(word, None);
            assert_eq!(held.volumes.iter().collect::<Vec<_>>(), [&volume], "{word}");
            assert!(held.points.is_empty() && held.roles.is_empty(), "{word}: {held:?}");
        }
        assert_eq!(node().held_by("dm-0", None).description.as_deref(), Some("/dev/mapper/data-pvc1"));
    }

    #[test]
    fn a_containers_own_table_tells_volumes_and_the_nodes_disk() {
        let mut storage = node();
        let id = ContainerId::parse(&"ab".repeat(32)).expect("id");
        let mounts =
            vec![mount((8, 2), "/dev/sda2", "/etc/hosts"), mount((8, 2), "/dev/sda2", "/cache"), mount((8, 32), "/dev/sdc", "/data")];
        storage.container_told(id.clone(), mounts);
        let held = storage.held_by("sdc", None);
        let used = VolumeUse { pod: None, container: Some(id.clone()), volume: None, point: Some("/data".into()) };
        assert_eq!(held.volumes.iter().collect::<Vec<_>>(), [&used]);
        assert_eq!(points(&held), ["/srv/btrfs"], "a filesystem with a number of its own");
        let held = storage.held_by("sda2", None);
        assert!(held.is_everybodys() && held.volumes.is_empty(), "every container has files of the node: {held:?}");
        storage.retain(|container| *container != id);
        assert!(storage.held_by("sdc", None).volumes.is_empty());
    }

    #[test]
    fn a_filesystem_that_was_made_read_only_on_purpose_is_not_forced() {
        let forced = |mounts: &[(&str, bool, bool)]| {
            let mounts = mounts.iter().map(|(filesystem, read_only, all)| Mount {
                filesystem: (*filesystem).into(),
                read_only: *read_only,
                filesystem_read_only: *all,
                ..mount((8, 32), "/dev/sdc", "/data")
            });
            let mut storage = Storage::default();
            storage.told(MountTable { devices: vec![device("sdc", (8, 32))], mounts: mounts.collect() });
            !storage.forced_read_only().is_empty()
        };
        assert!(forced(&[("ext4", false, true)]) && forced(&[("ext4", false, true), ("ext4", false, true)]));
        assert!(!forced(&[("ext4", false, false)]), "written to");
        assert!(!forced(&[("ext4", true, true)]), "mounted so");
        assert!(!forced(&[("ext4", true, true), ("ext4", false, true)]), "remounted so; a bind mount keeps its word");
        assert!(!forced(&[("squashfs", false, true)]), "it can be nothing else");
    }

    #[test]
    fn words_that_are_no_device_names() {
        let storage = node();
        assert_eq!(storage.disk_of("nvme0"), "nvme0n1", "a controller");
        assert_eq!(storage.disk_of("nvme0c3n1"), "nvme0n1", "one path");
        assert_eq!(storage.disk_of("vdx"), "vdx");
        assert!(storage.held_by("vdx", None).is_unused());
        assert!(Storage::default().held_by("sda", Some(1)).is_unused());
        assert!(is_remote("rbd0") && is_remote("nbd3p1") && !is_remote("sda") && !is_remote("rbdx"));
    }

    #[test]
    fn volumes_by_their_path() {
        let path = |below: &str| volume_at(&format!("/var/lib/kubelet/pods/{UID}/{below}")).map(|(_, volume)| volume);
        assert_eq!(path("volumes/kubernetes.io~local-volume/pv-1").as_deref(), Some("pv-1"));
        assert_eq!(path("volume-subpaths/pv-1/app/0").as_deref(), Some("pv-1"));
        assert_eq!((path("etc-hosts"), path("volumes"), volume_at("/srv/pods/x/volumes/a/b")), (None, None, None));
    }

    proptest! {
        #[test]
        fn no_table_makes_it_loop_or_panic(word in "[a-z0-9:]{0,8}", sector in any::<Option<u64>>(), names in proptest::collection::vec(("[a-c]", "[a-c]", "[a-c]"), 0..6)) {
            let devices = names.iter().map(|(name, disk, slave)| BlockDevice { slaves: vec![slave.clone()], ..part(name, (8, 1), disk, 5, u64::MAX) });
            let mut storage = Storage::default();
            storage.told(MountTable { devices: devices.collect(), mounts: vec![mount((8, 1), "/dev/a", "/"), mount((0, 1), "x", "")] });
            let _ = (storage.held_by(&word, sector), storage.disk_of(&word));
        }
    }
}
