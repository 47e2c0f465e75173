//! The mounts that a process sees (proc_pid_mountinfo(5)).
//!
//! Flows in: `/proc/<pid>/mountinfo`. Flows out: the mounts that lie on a disk. Reading it asks no right
//! over the process; its paths are as the process sees them.

use crate::signal::{DeviceNumber, Mount};
use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

/// The most that is read: a node of 110 pods has some 1,500 mounts of 200 bytes, a dense one five times that.
const LONGEST: u64 = 4 << 20;

/// The most mounts that are told: volumes and filesystems of a dense node several times over.
const MOST_MOUNTS: usize = 2048;

/// The mounts on disks that a container's process `pid` sees. `None` while its root is still the host's: a runtime
/// starts inside of the container's cgroup, and takes the container's root only after it has made its mounts.
///
/// # Errors
/// The process is gone, or `/proc` may not be read.
pub fn of_container(proc: &Path, pid: u32) -> io::Result<Option<Vec<Mount>>> {
    let table = |pid: u32| text(&mut File::open(proc.join(pid.to_string()).join("mountinfo"))?);
    let own = table(pid)?;
    let of_host = table(1).ok().and_then(|table| root(&table));
    let has_own_root = of_host.is_none() || root(&own) != of_host;
    Ok(has_own_root.then(|| on_disks(&own)))
}

/// Reads an open table from its beginning.
pub(super) fn read(table: &mut File) -> io::Result<Vec<Mount>> {
    table.rewind()?;
    Ok(on_disks(&text(table)?))
}

fn text(table: &mut File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    table.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

fn mounts(table: &[u8]) -> impl Iterator<Item = Mount> {
    table.split(|byte| *byte == b'\n').filter_map(|line| parse(&String::from_utf8_lossy(line)))
}

fn on_disks(table: &[u8]) -> Vec<Mount> {
    mounts(table).filter(lies_on_disk).take(MOST_MOUNTS).collect()
}

/// Which filesystem, and what of it, is mounted as the root.
fn root(table: &[u8]) -> Option<(DeviceNumber, String)> {
    mounts(table).find(|mount| mount.point == "/").map(|mount| (mount.device, mount.root))
}

/// Filesystems without a disk have an anonymous number; so have those that span several disks, which
/// name one of them.
fn lies_on_disk(mount: &Mount) -> bool {
    !mount.device.is_anonymous() || (mount.source.starts_with("/dev/") && !mount.filesystem.starts_with("fuse"))
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`: the first options are
/// those of the mount, the last those of the filesystem. Between them stand any number of fields.
fn parse(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let mut filesystem = filesystem.split(' ');
    let (device, root, point, options) = (mount.next()?, mount.next()?, mount.next()?, mount.next()?);
    let (kind, source, own_options) = (filesystem.next()?, filesystem.next()?, filesystem.next().unwrap_or_default());
    Some(Mount {
        device: DeviceNumber::parse(device)?,
        source: unescaped(source),
        root: unescaped(root),
        point: unescaped(point),
        filesystem: kind.to_owned(),
        read_only: has(options, "ro"),
        // ext4 since 6.15 keeps the superblock writable and says this instead.
        filesystem_read_only: has(own_options, "ro") || has(own_options, "emergency_ro"),
    })
}

fn has(options: &str, wanted: &str) -> bool {
    options.split(',').any(|option| option == wanted)
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits (`mangle`, fs/seq_file.c).
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_field() {
        let mount = parse(
            r"98 29 8:17 /sub\040dir /var/lib/kubelet/pods/x/volumes rw,relatime shared:50 master:2 - ext4 /dev/sdb1 ro,errors=remount-ro",
        );
        let expected = Mount {
            device: DeviceNumber(8, 17),
            source: "/dev/sdb1".into(),
            root: "/sub dir".into(),
            point: "/var/lib/kubelet/pods/x/volumes".into(),
            filesystem: "ext4".into(),
            read_only: false,
            filesystem_read_only: true,
        };
        assert_eq!(mount, Some(expected));
        let emergency = parse("1 1 7:0 / /mnt rw,relatime - ext4 /dev/loop0 rw,emergency_ro").expect("a mount");
        assert!(emergency.filesystem_read_only && !emergency.read_only);
        assert!(!parse("1 1 7:0 / /mnt rw - ext4 /dev/loop0 rw,errors=remount-ro").expect("a mount").filesystem_read_only);
    }

    #[test]
    fn what_lies_on_no_disk_is_left_out() {
        let told = |line: &str| parse(line).is_some_and(|mount| lies_on_disk(&mount));
        assert!(told("1 1 0:44 /@home /home rw - btrfs /dev/sdc rw"));
        assert!(!told("1 1 0:21 / /proc rw - proc proc rw"));
        assert!(!told("1 1 0:60 / /merged rw - overlay overlay rw,lowerdir=/a"));
        assert!(!told("1 1 0:60 / /mnt rw - fuse.x /dev/fuse rw"));
        assert!(!told("1 1 0:70 / /mnt rw - nfs4 server:/export rw"));
    }

    #[test]
    fn a_runtime_that_has_not_taken_the_containers_root_has_the_hosts_mounts() {
        let proc = tempfile::tempdir().expect("folder");
        let sees = |pid: u32, table: &str| {
            let folder = proc.path().join(pid.to_string());
            std::fs::create_dir_all(&folder).expect("folder");
            std::fs::write(folder.join("mountinfo"), table).expect("table");
            of_container(proc.path(), pid).expect("read").map(|mounts| mounts.len())
        };
        let volume = "3 2 7:1 / /data rw - ext4 /dev/loop1 rw\n";
        sees(1, &format!("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n{volume}"));
        assert_eq!(sees(70, &format!("9 8 8:1 / / rw - ext4 /dev/sda1 rw\n{volume}")), None);
        assert_eq!(sees(71, &format!("9 8 0:60 / / rw - overlay overlay rw,lowerdir=/a\n{volume}")), Some(1));
        assert!(of_container(proc.path(), 72).is_err());
        std::fs::remove_dir_all(proc.path().join("1")).expect("removed");
        assert_eq!(sees(71, volume), Some(1), "where the host's are hidden, nothing is compared");
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in any::<String>(), source in "[\\\\0-9a-z/]{0,12}") {
            let _ = parse(&line);
            let _ = parse(&format!("1 1 8:1 / {source} rw - ext4 {source} rw"));
        }
    }
}
