//! Where the writable layer of each running container is.
//!
//! Flows in: the host's `/proc`. Flows out: directories by pod. A container's root is an overlay
//! mount, whose options name the directory on the host that takes what the container writes:
//! `… / / rw,relatime - overlay overlay rw,lowerdir=…,upperdir=/var/lib/containerd/…/fs,workdir=…`
//! (proc_pid_mountinfo(5)). Reading it needs no right over the container's process.

use crate::model::{CgroupPlace, ContainerId, PodUid};
use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// A mount table has its root near the top; lower layers make that line long.
const LONGEST: u64 = 64 << 10;

/// The writable layers of every pod's running containers.
pub(super) fn by_pod(proc: &Path) -> BTreeMap<PodUid, Vec<PathBuf>> {
    let mut layers: BTreeMap<PodUid, Vec<PathBuf>> = BTreeMap::new();
    let mut seen: HashSet<ContainerId> = HashSet::new();
    let Ok(entries) = fs::read_dir(proc) else { return layers };
    for pid in entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit)) {
        let Some((pod, container)) = text(&pid.path().join("cgroup")).as_deref().and_then(place) else { continue };
        if !seen.insert(container) {
            continue;
        }
        if let Some(layer) = text(&pid.path().join("mountinfo")).as_deref().and_then(upper_dir) {
            layers.entry(pod).or_default().push(layer);
        }
    }
    layers
}

/// The pod and container of a process, from whichever hierarchy names them.
fn place(cgroups: &str) -> Option<(PodUid, ContainerId)> {
    cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|path| match CgroupPlace::of(path) {
        CgroupPlace::Container { pod, container, .. } => Some((pod, container)),
        _ => None,
    })
}

/// The directory that takes what is written to the root of a mount table.
fn upper_dir(mountinfo: &str) -> Option<PathBuf> {
    let root = mountinfo.lines().find(|line| line.split(' ').nth(4) == Some("/"))?;
    let (_, source) = root.split_once(" - overlay ")?;
    let options = source.split(' ').nth(1)?;
    let path = options.split(',').find_map(|option| option.strip_prefix("upperdir="))?;
    Some(PathBuf::from(unescaped(path)))
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_process_tells_a_containers_layer() {
        let proc = tempfile::tempdir().expect("dir");
        let pod = "7145627f-44a7-433c-a896-a8c81a4df533";
        let write = |pid: u32, cgroup: &str, upper: &str| {
            let entry = proc.path().join(pid.to_string());
            fs::create_dir_all(&entry).expect("dir");
            fs::write(entry.join("cgroup"), cgroup).expect("file");
            let table = format!(
                "1 0 0:1 / /proc rw - proc proc rw\n612 500 0:55 / / rw,relatime - overlay overlay rw,lowerdir=/a:/b,upperdir={upper},workdir=/w\n"
            );
            fs::write(entry.join("mountinfo"), table).expect("file");
        };
        write(40, &format!("0::/../../kubepods/burstable/pod{pod}/{}\n", "a".repeat(64)), "/snapshots/7/fs");
        write(41, &format!("0::/../../kubepods/burstable/pod{pod}/{}\n", "a".repeat(64)), "/snapshots/7/fs");
        write(50, &format!("5:memory:/kubepods/burstable/pod{pod}/{}\n1:name=x:/\n", "b".repeat(64)), "/snapshots/8\\040x/fs");
        write(60, "0::/system.slice/sshd.service\n", "/nobody");
        let found = by_pod(proc.path());
        let mut layers = found[&PodUid::parse(pod).expect("uid")].clone();
        layers.sort();
        assert_eq!(found.len(), 1);
        assert!(layers[1] == Path::new("/snapshots/8 x/fs") && layers.len() == 2, "{layers:?}");
    }

    #[test]
    fn a_root_that_is_no_overlay_has_no_layer() {
        assert_eq!(upper_dir("612 500 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"), None);
        assert_eq!(upper_dir("612 500 0:55 / / ro - overlay overlay ro,lowerdir=/a:/b\n"), None);
    }

    proptest! {
        #[test]
        fn any_table_is_survived(text in "([0-9]{1,3} ){0,5}/? ?/?( - overlay overlay)?( rw,upperdir=)?\\PC{0,40}") {
            let _ = (upper_dir(&text), place(&text));
        }
    }
}
