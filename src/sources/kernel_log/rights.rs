//! What this process may do, as far as reading the kernel's log depends on it.

use crate::config::Roots;
use std::{fs::File, io::Read, path::Path};

/// CAP_SYSLOG's number in the capability sets (include/uapi/linux/capability.h).
const CAP_SYSLOG: u32 = 34;

/// The rights of this process. `None` where the machine does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rights {
    /// CAP_SYSLOG is effective.
    pub(super) syslog: Option<bool>,
    /// The sysctl `kernel.dmesg_restrict`: reading the log needs CAP_SYSLOG.
    pub(super) restricted: Option<bool>,
    /// The process is in a user namespace of its own, where CAP_SYSLOG is not the real one.
    pub(super) user_namespace: Option<bool>,
}

impl Rights {
    /// Reads them from `/proc`.
    pub(super) fn read(roots: &Roots) -> Self {
        Self {
            syslog: text(&roots.proc.join("self/status")).as_deref().and_then(has_syslog),
            restricted: text(&roots.proc.join("sys/kernel/dmesg_restrict")).map(|text| text.trim() != "0"),
            user_namespace: text(&roots.proc.join("self/uid_map")).map(|text| is_mapped(&text)),
        }
    }
}

/// From the line `CapEff:\t<hexadecimal>` of `/proc/self/status`.
fn has_syslog(status: &str) -> Option<bool> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let set = u64::from_str_radix(set.trim(), 16).ok()?;
    Some(set >> CAP_SYSLOG & 1 == 1)
}

/// The first user namespace maps every uid to itself: one line `0 0 4294967295`.
fn is_mapped(uid_map: &str) -> bool {
    !uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn text(path: &Path) -> Option<String> {
    const LIMIT: u64 = 16 << 10; // `status` is about 1.5 KiB
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text)).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_come_from_proc() {
        let proc = tempfile::tempdir().expect("temp dir");
        let roots = Roots { proc: proc.path().into(), ..Roots::default() };
        assert_eq!(Rights::read(&roots), Rights::default());
        std::fs::create_dir_all(proc.path().join("self")).expect("dir");
        std::fs::create_dir_all(proc.path().join("sys/kernel")).expect("dir");
        std::fs::write(proc.path().join("self/status"), "Name:\tx\nCapPrm:\t0\nCapEff:\t0000000400000000\n").expect("write");
        std::fs::write(proc.path().join("self/uid_map"), "         0     100000      65536\n").expect("write");
        std::fs::write(proc.path().join("sys/kernel/dmesg_restrict"), "1\n").expect("write");
        assert_eq!(Rights::read(&roots), Rights { syslog: Some(true), restricted: Some(true), user_namespace: Some(true) });
    }

    #[test]
    fn neighbouring_capabilities_are_not_syslog() {
        assert_eq!(has_syslog("CapEff:\t0000000a00000000\n"), Some(false));
        assert_eq!(has_syslog("CapEff:\tzz\n"), None);
        assert!(!is_mapped("         0          0 4294967295\n"));
    }
}
