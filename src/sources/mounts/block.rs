//! The disks of the machine and how they are built on each other (`/sys/class/block`,
//! Documentation/ABI/stable/sysfs-block). Any container may read it.

use crate::signal::{BlockDevice, DeviceNumber};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// The most devices that are told: disks, partitions and volumes of a dense node several times over.
const MOST_DEVICES: usize = 2048;

/// Every block device below `sys`, by name.
///
/// # Errors
/// There is no `/sys/class/block`, or it may not be read.
pub(super) fn read(sys: &Path) -> io::Result<Vec<BlockDevice>> {
    let entries = fs::read_dir(sys.join("class/block"))?.flatten();
    let mut devices: Vec<_> = entries.take(MOST_DEVICES).filter_map(|entry| device(&entry.path())).collect();
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(devices)
}

/// One device; `None` when it is gone, or a loop device without a file.
fn device(folder: &Path) -> Option<BlockDevice> {
    let name = folder.file_name()?.to_str()?.to_owned();
    let number = DeviceNumber::parse(&text(folder, "dev")?)?;
    let is_part = folder.join("partition").exists();
    // The entry is a link to `.../sda/sda1`.
    let disk = || Some(fs::canonicalize(folder).ok()?.parent()?.file_name()?.to_str()?.to_owned());
    let backing_file = text(folder, "loop/backing_file");
    if name.starts_with("loop") && !is_part && backing_file.is_none() {
        return None;
    }
    Some(BlockDevice {
        number,
        part_of: is_part.then(disk).flatten(),
        start: text(folder, "start").and_then(|start| start.parse().ok()),
        sectors: text(folder, "size").and_then(|size| size.parse().ok()),
        mapper_name: text(folder, "dm/name"),
        slaves: slaves(folder),
        backing_file,
        name,
    })
}

fn slaves(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.join("slaves")) else { return Vec::new() };
    let mut names: Vec<_> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn text(folder: &Path, file: &str) -> Option<String> {
    const LONGEST: u64 = 4096; // one page, as sysfs gives it
    let mut text = String::new();
    File::open(folder.join(file)).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(path, content).expect("write");
    }

    #[test]
    fn disks_partitions_and_what_is_built_on_them() {
        let root = tempfile::tempdir().expect("folder");
        let sys = root.path();
        for (path, content) in [
            ("devices/pci/block/sda/dev", "8:0\n"),
            ("devices/pci/block/sda/size", "10000\n"),
            ("devices/pci/block/sda/sda1/dev", "8:1\n"),
            ("devices/pci/block/sda/sda1/partition", "1\n"),
            ("devices/pci/block/sda/sda1/start", "2048\n"),
            ("devices/pci/block/sda/sda1/size", "4000\n"),
            ("devices/virtual/block/dm-0/dev", "253:0\n"),
            ("devices/virtual/block/dm-0/dm/name", "data-pv 1\n"),
            ("devices/virtual/block/dm-0/slaves/sda1/dev", "8:1\n"),
            ("devices/virtual/block/loop0/dev", "7:0\n"),
            ("devices/virtual/block/loop0/loop/backing_file", "/srv/image\n"),
            ("devices/virtual/block/loop1/dev", "7:1\n"),
            ("devices/virtual/block/odd/size", "1\n"),
        ] {
            write(sys, path, content);
        }
        fs::create_dir_all(sys.join("class/block")).expect("folder");
        for target in
            ["pci/block/sda", "pci/block/sda/sda1", "virtual/block/dm-0", "virtual/block/loop0", "virtual/block/loop1", "virtual/block/odd"]
        {
            let name = target.rsplit('/').next().expect("name");
            symlink(format!("../../devices/{target}"), sys.join("class/block").join(name)).expect("link");
        }
        let devices = read(sys).expect("devices");
        let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
        assert_eq!(names, ["dm-0", "loop0", "sda", "sda1"], "no loop device without a file, nothing without a number");
        assert_eq!((devices[0].mapper_name.as_deref(), devices[0].slaves.as_slice()), (Some("data-pv 1"), ["sda1".to_owned()].as_slice()));
        assert_eq!(devices[1].backing_file.as_deref(), Some("/srv/image"));
        assert_eq!((devices[3].part_of.as_deref(), devices[3].start, devices[3].sectors), (Some("sda"), Some(2048), Some(4000)));
        assert_eq!(devices[2].part_of, None);
    }

    #[test]
    fn no_sys_is_an_error() {
        assert!(read(Path::new("/nowhere")).is_err());
    }
}
