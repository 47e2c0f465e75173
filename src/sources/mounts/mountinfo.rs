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

/// The mounts on disks that the process `pid` sees.
///
/// # Errors
/// The process is gone, or `/proc` may not be read.
pub fn of_process(proc: &Path, pid: u32) -> io::Result<Vec<Mount>> {
    read(&mut File::open(proc.join(pid.to_string()).join("mountinfo"))?)
}

/// Reads an open table from its beginning.
pub(super) fn read(table: &mut File) -> io::Result<Vec<Mount>> {
    let mut text = Vec::new();
    table.rewind()?;
    table.by_ref().take(LONGEST).read_to_end(&mut text)?;
    let mounts = text.split(|byte| *byte == b'\n').filter_map(|line| parse(&String::from_utf8_lossy(line)));
    Ok(mounts.filter(lies_on_disk).take(MOST_MOUNTS).collect())
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

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in any::<String>(), source in "[\\\\0-9a-z/]{0,12}") {
            let _ = parse(&line);
            let _ = parse(&format!("1 1 8:1 / {source} rw - ext4 {source} rw"));
        }
    }
}
