//! Filesystems: ext2/3/4 and their journal, XFS, btrfs, FAT.

use super::fields::{Said, after, between, fill_in, said, word};
use serde::Serialize;
use std::fmt;

/// A problem of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilesystemProblem {
    /// What happened.
    pub kind: FilesystemKind,
    /// The block device it lies on, as the kernel names it.
    pub device: Option<String>,
    /// The process that met the error; any process that uses the filesystem can.
    pub comm: Option<String>,
    /// What the filesystem says about it.
    pub message: Option<String>,
}

/// What happened to a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FilesystemKind {
    /// ext2, ext3 or ext4 found an inconsistency, now or before the last check.
    Ext4Error,
    /// XFS found an inconsistency.
    XfsCorruption,
    /// btrfs found an inconsistency or lost a device.
    BtrfsError,
    /// FAT found an inconsistency or could not read.
    FatError,
    /// The filesystem made itself read-only.
    RemountRo,
    /// The journal gave up.
    JournalAbort,
    /// The filesystem could not be mounted.
    MountFailed,
    /// The disk below failed the filesystem.
    IoError,
}

use FilesystemKind::{BtrfsError, Ext4Error, FatError, IoError, JournalAbort, MountFailed, RemountRo, XfsCorruption};

/// The beginnings of messages that decide the kind; the first that fits counts.
type Kinds = &'static [(&'static str, FilesystemKind)];

impl FilesystemProblem {
    fn of(kind: FilesystemKind, device: Option<&str>, message: &str) -> Self {
        let comm = after(message, " comm ")
            .or_else(|| message.strip_prefix("comm "))
            .map(|comm| comm.split_once(": ").map_or(comm, |(comm, _)| comm));
        Self { kind, device: device.and_then(own_device), comm: comm.and_then(said), message: said(message) }
    }

    pub(super) fn read(statement: &str) -> Option<Self> {
        Self::read_ext(statement)
            .or_else(|| Self::read_journal(statement))
            .or_else(|| Self::read_xfs(statement))
            .or_else(|| Self::read_btrfs(statement))
            .or_else(|| Self::read_fat(statement))
    }

    /// fs/ext4/super.c: `EXT4-fs error (device sda1): function:line: ...`, `EXT4-fs (sda1): ...`;
    /// ext2 and ext3 alike.
    fn read_ext(statement: &str) -> Option<Self> {
        let rest = ["EXT4-fs", "EXT3-fs", "EXT2-fs"].iter().find_map(|name| statement.strip_prefix(name))?;
        if let Some(error) = rest.strip_prefix(" error (device ") {
            let (device, message) = error.split_once(')')?;
            return Some(Self::of(Ext4Error, Some(device), message.trim_start_matches([':', ' '])));
        }
        if let Some(warning) = rest.strip_prefix(" warning (device ") {
            let (device, message) = warning.split_once("): ")?;
            return message.contains("I/O error").then(|| Self::of(IoError, Some(device), message));
        }
        let (device, message) = rest.strip_prefix(" (")?.split_once("): ")?;
        const KINDS: Kinds = &[
            ("remounting filesystem read-only", RemountRo),
            ("warning: mounting fs with errors", Ext4Error),
            ("warning: mounting unchecked fs", Ext4Error),
            ("error count", Ext4Error),
            ("initial error at", Ext4Error),
            ("last error at", Ext4Error),
            ("delayed block allocation failed", Ext4Error),
            ("i/o error while writing superblock", IoError),
            ("previous i/o error to superblock detected", IoError),
            ("vfs: can't find ext", MountFailed),
            ("vfs: found ext4 filesystem with invalid", MountFailed),
            ("could not load journal inode", MountFailed),
            ("mount failed", MountFailed),
            ("no journal found", MountFailed),
            ("error loading journal", MountFailed),
            ("unable to read superblock", MountFailed),
            ("bad geometry", MountFailed),
            ("group descriptors corrupted", MountFailed),
            ("get root inode failed", MountFailed),
            ("couldn't mount rdwr because of unsupported", MountFailed),
            ("couldn't mount because of unsupported", MountFailed),
        ];
        let message = message.strip_prefix("error: ").unwrap_or(message);
        Some(Self::of(kind_of(message, KINDS)?, Some(device), message))
    }

    /// fs/jbd2/journal.c, fs/jbd/journal.c. The journal is named by device and inode: `sda1-8`.
    fn read_journal(statement: &str) -> Option<Self> {
        if let Some(rest) = statement.strip_prefix("Aborting journal on device ") {
            return Some(Self::of(JournalAbort, word(rest).map(without_inode), statement));
        }
        if let Some((_, journal)) = statement.split_once("when updating journal superblock for ") {
            return Some(Self::of(IoError, word(journal).map(|name| without_inode(name.trim_end_matches('.'))), statement));
        }
        if statement.starts_with("Error while async write back metadata") {
            return Some(Self::of(IoError, None, statement));
        }
        if let Some(rest) = statement.strip_prefix("Detected IO errors while flushing file data on ") {
            return Some(Self::of(IoError, word(rest).map(without_inode), statement));
        }
        None
    }

    /// fs/xfs/xfs_message.c, xfs_fsops.c, xfs_buf.c, xfs_log.c; before 3.0 `Filesystem "sda1": ...`.
    fn read_xfs(statement: &str) -> Option<Self> {
        let (device, message) = match statement.strip_prefix("XFS (") {
            Some(rest) => rest.split_once("): ")?,
            None => statement.strip_prefix("Filesystem \"")?.split_once("\": ")?,
        };
        const KINDS: Kinds = &[
            ("corruption of in-memory data", XfsCorruption),
            ("corruption of on-disk metadata", XfsCorruption),
            ("corruption detected", XfsCorruption),
            ("corruption warning", XfsCorruption),
            ("metadata corruption detected", XfsCorruption),
            ("metadata crc error detected", XfsCorruption),
            ("internal error", XfsCorruption),
            ("xfs internal error", XfsCorruption),
            ("corrupt ", XfsCorruption),
            ("metadata i/o error", IoError),
            ("log i/o error", IoError),
            ("i/o error detected", IoError),
            ("i/o error in filesystem", IoError),
            ("writeback error on", IoError),
            ("xfs_do_force_shutdown(0x8)", XfsCorruption),
            ("xfs_do_force_shutdown(", IoError),
            ("filesystem has been shut down due to log error", IoError),
            ("log mount failed", MountFailed),
            ("log mount/recovery failed", MountFailed),
            ("mount failed", MountFailed),
            ("sb validate failed", MountFailed),
            ("sb sanity check failed", MountFailed),
            ("invalid superblock magic number", MountFailed),
            ("failed to read root inode", MountFailed),
            ("filesystem has duplicate uuid", MountFailed),
            ("filesystem cannot be safely mounted", MountFailed),
            ("superblock has unknown incompatible features", MountFailed),
        ];
        Some(Self::of(kind_of(message, KINDS)?, Some(device), message))
    }

    /// fs/btrfs/messages.c: `BTRFS error (device sda1): ...`, with ` state EA` behind the device since
    /// 5.18; a forced shutdown says `BTRFS: error (device sda1) in function:line: errno=-5 IO failure`.
    fn read_btrfs(statement: &str) -> Option<Self> {
        let rest = statement.strip_prefix("BTRFS")?.trim_start_matches([':', ' ']);
        let (level, _) = rest.split_once(' ')?;
        let device = between(rest, "(device ", ")");
        let message = after(rest, ")").unwrap_or(rest).trim_start_matches([':', ' ']);
        if message.starts_with("forced readonly") {
            return Some(Self::of(RemountRo, device, message));
        }
        if rest.contains("open_ctree failed") || message.starts_with("failed to read chunk root") {
            return Some(Self::of(MountFailed, device, message));
        }
        let is_error = matches!(level, "error" | "critical") || (level == "warning" && message.contains("csum failed"));
        is_error.then(|| Self::of(BtrfsError, device, message))
    }

    /// fs/fat/misc.c. The advice to run fsck after an unclean unmount is no problem.
    fn read_fat(statement: &str) -> Option<Self> {
        let (device, message) = statement.strip_prefix("FAT-fs (")?.split_once("): ")?;
        const KINDS: Kinds = &[
            ("filesystem has been set read-only", RemountRo),
            ("error, ", FatError),
            ("error ", FatError),
            ("fat read failed", FatError),
            ("directory bread(", FatError),
            ("unable to read", FatError),
            ("bogus ", MountFailed),
            ("can't find a valid fat filesystem", MountFailed),
        ];
        Some(Self::of(kind_of(message, KINDS)?, Some(device), message))
    }

    /// Whether the filesystem gave up: until it is mounted anew, each access to it fails (XFS; fs/xfs/xfs_fsops.c,
    /// `xfs_do_force_shutdown`).
    pub fn is_shut_down(&self) -> bool {
        let says = |words: &str| self.message.as_deref().is_some_and(|message| message.contains(words));
        says("hutting down filesystem") || says("xfs_do_force_shutdown(") || says("ilesystem has been shut down")
    }

    pub(super) fn is_same_event(&self, later: &Self) -> bool {
        self.kind == later.kind && (self.device == later.device || self.device.is_none() || later.device.is_none())
    }

    pub(super) fn absorb(&mut self, later: Self) {
        fill_in!(self, later, device, comm, message);
    }
}

/// The device of an XFS filesystem that the kernel says is unmounted (fs/xfs/xfs_super.c); its UUID may follow.
pub fn unmounted(message: &str) -> Option<&str> {
    message.strip_prefix("XFS (")?.split_once("): Unmounting Filesystem").map(|(device, _)| device)
}

fn kind_of(message: &str, kinds: Kinds) -> Option<FilesystemKind> {
    let begins = |start: &str| message.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    kinds.iter().find(|(start, _)| begins(start)).map(|(_, kind)| *kind)
}

/// `sda1 state EA` -> `sda1`.
fn own_device(device: &str) -> Option<String> {
    device.split_whitespace().next().and_then(said)
}

/// `sda1-8` -> `sda1`; `dm-0` alone is an external journal.
fn without_inode(journal: &str) -> &str {
    match journal.rsplit_once(['-', ':']) {
        Some((device, inode)) if !matches!(device, "dm" | "md") && inode.bytes().all(|byte| byte.is_ascii_digit()) => device,
        _ => journal,
    }
}

impl fmt::Display for FilesystemProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.as_deref().unwrap_or("a disk");
        match self.kind {
            Ext4Error | XfsCorruption | BtrfsError | FatError => write!(f, "the filesystem on {device} is damaged")?,
            RemountRo => write!(f, "the filesystem on {device} became read-only after errors")?,
            JournalAbort => write!(f, "the journal of the filesystem on {device} gave up")?,
            MountFailed => write!(f, "the filesystem on {device} could not be mounted")?,
            IoError => write!(f, "the filesystem on {device} met I/O errors of the disk below")?,
        }
        write!(f, "{}", Said(": ", &self.message, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::unmounted;
    use crate::parse::kernel_problem::{KernelProblem, recognise, testing::report};

    #[test]
    fn every_filesystem_says_what_and_where() {
        for (line, kind, device) in [
            ("EXT4-fs error (device vdb7): ext4_lookup:1700: inode #2: comm cp: deleted inode referenced: 12", "ext4_error", "vdb7"),
            ("EXT4-fs error (device vdb7) in ext4_reserve_inode_write:5700: Journal has aborted", "ext4_error", "vdb7"),
            ("EXT3-fs error (device vdb7): ext3_lookup: deleted inode referenced: 12", "ext4_error", "vdb7"),
            ("EXT4-fs (vdb7): warning: mounting fs with errors, running e2fsck is recommended", "ext4_error", "vdb7"),
            ("EXT4-fs (vdb7): Remounting filesystem read-only", "remount_ro", "vdb7"),
            ("EXT3-fs (vdb7): error: remounting filesystem read-only", "remount_ro", "vdb7"),
            ("Aborting journal on device vdb7-8.", "journal_abort", "vdb7"),
            ("Aborting journal on device dm-3-8.", "journal_abort", "dm-3"),
            ("Aborting journal on device vdb7:8.", "journal_abort", "vdb7"),
            ("Aborting journal on device dm-3.", "journal_abort", "dm-3"),
            ("EXT4-fs (vdb7): VFS: Can't find ext4 filesystem", "mount_failed", "vdb7"),
            ("EXT4-fs (vdb7): I/O error while writing superblock", "io_error", "vdb7"),
            ("EXT4-fs warning (device vdb7): ext4_end_bio:330: I/O error 10 writing to inode 12 starting block 99)", "io_error", "vdb7"),
            ("JBD2: Detected IO errors while flushing file data on vdb7-8", "io_error", "vdb7"),
            ("JBD2: I/O error when updating journal superblock for vdb7-8.", "io_error", "vdb7"),
            ("JBD2: Error -5 detected when updating journal superblock for dm-3-8.", "io_error", "dm-3"),
            (
                "XFS (dm-1): Corruption of in-memory data (0x8) detected at x+0x1/0x2 [xfs] (fs/xfs/x.c:1).  Shutting down filesystem.",
                "xfs_corruption",
                "dm-1",
            ),
            ("XFS (dm-1): Internal error XFS_WANT_CORRUPTED_GOTO at line 1 of file fs/xfs/x.c.  Caller y", "xfs_corruption", "dm-1"),
            ("Filesystem \"dm-1\": Corruption of in-memory data detected.  Shutting down filesystem: dm-1", "xfs_corruption", "dm-1"),
            ("XFS (dm-1): Log I/O Error (0x2) detected at x+0x1/0x2 [xfs] (fs/xfs/x.c:1).  Shutting down filesystem.", "io_error", "dm-1"),
            ("XFS (dm-1): metadata I/O error in \"xlog_iodone\" at daddr 0x1 len 64 error 5", "io_error", "dm-1"),
            ("XFS (dm-1): xfs_do_force_shutdown(0x2) called from line 1 of file fs/xfs/x.c.", "io_error", "dm-1"),
            ("XFS (dm-1): Filesystem has duplicate UUID 1-2 - can't mount", "mount_failed", "dm-1"),
            ("BTRFS: error (device vdc) in btrfs_run_delayed_refs:2150: errno=-5 IO failure", "btrfs_error", "vdc"),
            ("BTRFS error (device vdc state EA): bdev /dev/vdc errs: wr 1, rd 0, flush 0, corrupt 0, gen 0", "btrfs_error", "vdc"),
            ("BTRFS info (device vdc): forced readonly", "remount_ro", "vdc"),
            ("BTRFS error (device vdc): open_ctree failed: -22", "mount_failed", "vdc"),
            ("FAT-fs (vdd1): error, fat_get_cluster: invalid cluster chain (i_pos 0)", "fat_error", "vdd1"),
            ("FAT-fs (vdd1): Filesystem has been set read-only", "remount_ro", "vdd1"),
        ] {
            let found = report(line);
            assert_eq!((found["kind"].as_str(), found["device"].as_str()), (Some(kind), Some(device)), "{line}");
        }
    }

    #[test]
    fn xfs_says_when_it_gives_up_and_when_it_is_unmounted() {
        for (line, shut_down) in [
            ("XFS (dm-1): Log I/O Error (0x2) detected at x+0x1/0x2 [xfs] (fs/xfs/x.c:1).  Shutting down filesystem.", true),
            ("XFS (dm-1): xfs_do_force_shutdown(0x2) called from line 1 of file fs/xfs/x.c.", true),
            ("XFS (dm-1): Filesystem has been shut down due to log error (0x2).", true),
            ("XFS (dm-1): metadata I/O error in \"xlog_iodone\" at daddr 0x1 len 64 error 5", false),
        ] {
            let Some(KernelProblem::Filesystem(problem)) = recognise(line) else { panic!("{line}") };
            assert_eq!(problem.is_shut_down(), shut_down, "{line}");
        }
        assert_eq!(unmounted("XFS (dm-1): Unmounting Filesystem 1-2-3"), Some("dm-1"));
        assert_eq!(unmounted("XFS (dm-1): Unmounting Filesystem"), Some("dm-1"));
        assert_eq!(unmounted("XFS (dm-1): Mounting V5 Filesystem"), None);
    }

    #[test]
    fn ext4_names_who_met_it() {
        let found = report("EXT4-fs error (device vdb7): ext4_find_entry:1436: inode #2: comm my shop: reading directory lblock 0");
        assert_eq!(found["comm"], "my shop");
    }

    #[test]
    fn mounting_is_no_problem() {
        for line in [
            "EXT4-fs (vdb7): mounted filesystem with ordered data mode. Opts: errors=remount-ro",
            "EXT4-fs (vdb7): re-mounted. Opts: errors=remount-ro",
            "EXT4-fs (vdb7): couldn't mount as ext3 due to feature incompatibilities",
            "EXT4-fs (vdb7): recovery complete",
            "EXT4-fs (vdb7): orphan cleanup on readonly fs",
            "XFS (dm-1): Mounting V5 Filesystem",
            "XFS (dm-1): Ending clean mount",
            "BTRFS info (device vdc): disk space caching is enabled",
            "BTRFS warning (device vdc): 'recovery' is deprecated",
            "BTRFS: device label x devid 1 transid 12 /dev/vdc scanned by y (1)",
            "FAT-fs (vdd1): Volume was not properly unmounted. Some data may be corrupt. Please run fsck.",
        ] {
            assert_eq!(recognise(line), None, "{line}");
        }
    }
}
