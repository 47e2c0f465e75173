//! Disks and the drivers below filesystems: block layer, SCSI, NVMe, md, multipath, dm-thin.

use super::fields::{Said, after, before, between, fill_in, number, said, word};
use serde::Serialize;
use std::fmt;

/// A problem of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskProblem {
    /// What happened.
    pub kind: DiskKind,
    /// The disk, partition or device-mapper number, as the kernel names it.
    pub device: Option<String>,
    /// The first failed sector, in units of 512 bytes.
    pub sector: Option<u64>,
    /// What was asked of the disk, such as `READ`.
    pub operation: Option<String>,
    /// The md array that lost the device.
    pub array: Option<String>,
}

/// What happened to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskKind {
    /// A request failed.
    IoError,
    /// The medium cannot be read or written there.
    MediumError,
    /// An NVMe command did not complete in time.
    NvmeTimeout,
    /// An NVMe controller is being reset.
    NvmeReset,
    /// A reset did not bring an NVMe controller back.
    NvmeResetFailed,
    /// An md array dropped a device.
    MdDiskFailure,
    /// No path to a multipath device works.
    NoUsablePath,
    /// A thin pool's metadata is full or damaged.
    DmThinMetadata,
    /// A thin pool's data space is used up.
    DmThinData,
}

impl DiskProblem {
    fn of(kind: DiskKind, device: Option<&str>) -> Self {
        Self { kind, device: device.and_then(said), sector: None, operation: None, array: None }
    }

    pub(super) fn read(prefix: &str, statement: &str) -> Option<Self> {
        Self::read_block_layer(statement)
            .or_else(|| Self::read_nvme(prefix, statement))
            .or_else(|| Self::read_array(prefix, statement))
            .or_else(|| Self::read_buffer(statement))
            .or_else(|| Self::read_sense(prefix, statement))
    }

    /// `blk_print_req_error` (block/blk-mq.c) and its forerunners `print_req_error` (4.15),
    /// `blk_update_request` (4.x to 5.15) and `end_request` (3.x): all say `<what> error, dev X, sector N`.
    fn read_block_layer(statement: &str) -> Option<Self> {
        const KINDS: [(&str, DiskKind); 9] = [
            ("I/O", DiskKind::IoError),
            ("critical medium", DiskKind::MediumError),
            ("critical target", DiskKind::IoError),
            ("critical nexus", DiskKind::IoError),
            ("critical space allocation", DiskKind::IoError),
            ("recoverable transport", DiskKind::IoError),
            ("timeout", DiskKind::IoError),
            ("device offline", DiskKind::IoError),
            ("protection", DiskKind::IoError),
        ];
        let (kind, rest) = KINDS.iter().find_map(|(what, kind)| Some((*kind, statement.strip_prefix(what)?)))?;
        let rest = rest.strip_prefix(" error, dev ")?;
        // Before 2.6: `dev 21:04 (hde), sector 9`.
        let device = between(rest, " (", "), sector").or_else(|| word(rest))?;
        if is_noise(device, rest) {
            return None;
        }
        let sector = after(rest, "sector ").and_then(number);
        let operation = between(rest, ":(", ")").and_then(said);
        Some(Self { sector, operation, ..Self::of(kind, Some(device)) })
    }

    /// drivers/nvme/host/{pci,core,multipath}.c; before 4.5 the prefix names the PCI device.
    fn read_nvme(prefix: &str, statement: &str) -> Option<Self> {
        if statement.starts_with("no usable path") || statement.starts_with("no available path") {
            return Some(Self::of(DiskKind::NoUsablePath, prefix.split_whitespace().last()));
        }
        let device = prefix.strip_prefix("nvme ").or_else(|| prefix.strip_prefix("block "))?;
        let device = word(device);
        let is_timeout = statement.starts_with("I/O ") && statement.contains(" timeout");
        let kind = if is_timeout {
            DiskKind::NvmeTimeout
        } else {
            const STATEMENTS: [(&str, DiskKind); 9] = [
                ("Device not ready; aborting", DiskKind::NvmeResetFailed),
                ("Removing after probe failure", DiskKind::NvmeResetFailed),
                ("Disabling device after reset failure", DiskKind::NvmeResetFailed),
                ("failed to reset controller", DiskKind::NvmeResetFailed),
                ("Reset failure", DiskKind::NvmeResetFailed),
                ("controller is down; will reset", DiskKind::NvmeReset),
                ("Failed status: 0x3, reset controller", DiskKind::NvmeReset),
                ("resetting controller", DiskKind::NvmeReset),
                ("frozen state error detected, reset controller", DiskKind::NvmeReset),
            ];
            STATEMENTS.iter().find(|(start, _)| statement.starts_with(start)).map(|(_, kind)| *kind)?
        };
        Some(Self::of(kind, device))
    }

    /// `md/raid1:md0: Disk failure on sdb1, disabling device.` (drivers/md/raid*.c) and
    /// `device-mapper: thin: 253:4: ...` (drivers/md/dm-thin.c).
    fn read_array(prefix: &str, statement: &str) -> Option<Self> {
        if let Some(rest) = statement.strip_prefix("Disk failure on ") {
            let array = prefix.rsplit([':', ' ']).next().filter(|name| name.starts_with("md")).and_then(said);
            return Some(Self { array, ..Self::of(DiskKind::MdDiskFailure, word(rest)) });
        }
        let pool = prefix.strip_prefix("device-mapper: ")?;
        let device = pool.strip_prefix("thin: ").and_then(word);
        if statement.starts_with("switching pool to out-of-data-space") {
            return Some(Self::of(DiskKind::DmThinData, device));
        }
        const METADATA: [&str; 7] = [
            "metadata operation ",
            "reached low water mark for metadata device",
            "no free metadata space available",
            "switching pool to read-only mode",
            "switching pool to failure mode",
            "aborting current metadata transaction",
            "unable to allocate new metadata block",
        ];
        METADATA.iter().any(|start| statement.starts_with(start)).then(|| Self::of(DiskKind::DmThinMetadata, device))
    }

    /// `Buffer I/O error on dev sda1, logical block 12, lost async page write` (fs/buffer.c; `device`
    /// instead of `dev` before 4.4).
    fn read_buffer(statement: &str) -> Option<Self> {
        let rest = statement.strip_prefix("Buffer I/O error on dev")?;
        let device = word(rest.strip_prefix("ice").unwrap_or(rest))?;
        (!is_noise(device, rest)).then(|| Self::of(DiskKind::IoError, Some(device)))
    }

    /// `sd 0:0:0:0: [sda] tag#3 Sense Key : Medium Error [current]` (drivers/scsi/scsi_logging.c): the
    /// block layer's line that follows may say no more than "I/O error".
    fn read_sense(prefix: &str, statement: &str) -> Option<Self> {
        if !prefix.starts_with("sd ") || !statement.contains("Sense Key : Medium Error") {
            return None;
        }
        Some(Self::of(DiskKind::MediumError, Some(between(statement, "[", "]")?)))
    }

    /// The kernel reports one failure on several levels: the driver's sense, the block layer's
    /// disk and sector, the buffer cache's partition.
    pub(super) fn is_same_event(&self, later: &Self) -> bool {
        let same_device = self.device == later.device || self.is_disk_of(later) || later.is_disk_of(self);
        let same_failure = self.kind == later.kind || (self.kind == DiskKind::MediumError && later.kind == DiskKind::IoError);
        same_failure && same_device || self.is_thin_metadata_without_pool(later)
    }

    fn is_disk_of(&self, partition: &Self) -> bool {
        let (Some(disk), Some(partition)) = (&self.device, &partition.device) else { return false };
        let Some(suffix) = partition.strip_prefix(disk.as_str()) else { return false };
        let suffix = if disk.ends_with(|last: char| last.is_ascii_digit()) { suffix.strip_prefix('p') } else { Some(suffix) };
        suffix.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
            && !disk.starts_with("dm-")
            && !disk.starts_with("loop")
    }

    fn is_thin_metadata_without_pool(&self, later: &Self) -> bool {
        self.kind == later.kind && self.kind == DiskKind::DmThinMetadata && (self.device.is_none() || later.device.is_none())
    }

    pub(super) fn absorb(&mut self, later: Self) {
        if later.is_disk_of(self) {
            self.device = later.device;
        } else {
            fill_in!(self, later, device);
        }
        fill_in!(self, later, sector, operation, array);
    }
}

/// Drives without a medium and empty flushes of loop devices fail on healthy machines at every boot.
fn is_noise(device: &str, rest: &str) -> bool {
    let is_numbered = |kind: &str| device.strip_prefix(kind).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    is_numbered("fd") || is_numbered("sr") || (is_numbered("loop") && before(rest, "prio").contains("phys_seg 0"))
}

impl fmt::Display for DiskProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.as_deref().unwrap_or("a disk");
        match self.kind {
            DiskKind::IoError => write!(f, "{device} failed to do I/O")?,
            DiskKind::MediumError => write!(f, "{device} has a bad medium")?,
            DiskKind::NvmeTimeout => write!(f, "{device} did not answer in time")?,
            DiskKind::NvmeReset => write!(f, "{device} is being reset")?,
            DiskKind::NvmeResetFailed => write!(f, "{device} did not come back from a reset")?,
            DiskKind::MdDiskFailure => write!(f, "{device} failed and was dropped from its array")?,
            DiskKind::NoUsablePath => write!(f, "no path to {device} works")?,
            DiskKind::DmThinMetadata => write!(f, "the metadata of thin pool {device} is full or damaged")?,
            DiskKind::DmThinData => write!(f, "thin pool {device} is full")?,
        }
        let operation = self.operation.as_deref().map(str::to_lowercase);
        write!(f, "{}{}{}", Said(" (", &operation, ")"), Said(" at sector ", &self.sector, ""), Said(" of ", &self.array, ""))
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::kernel_problem::{recognise, testing::report};

    #[test]
    fn the_block_layer_of_every_era() {
        for line in [
            "I/O error, dev vdb, sector 2048 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
            "blk_update_request: I/O error, dev vdb, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 0",
            "blk_update_request: I/O error, dev vdb, sector 2048",
            "print_req_error: I/O error, dev vdb, sector 2048 flags 80700",
            "end_request: I/O error, dev vdb, sector 2048",
            "end_request: I/O error, dev fe:10 (vdb), sector 2048",
            "critical target error, dev vdb, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
        ] {
            let found = report(line);
            assert_eq!(
                (found["kind"].as_str(), found["device"].as_str(), found["sector"].as_u64()),
                (Some("io_error"), Some("vdb"), Some(2048)),
                "{line}"
            );
        }
        assert_eq!(report("blk_update_request: critical medium error, dev sdc, sector 9")["kind"], "medium_error");
        assert_eq!(report("Buffer I/O error on dev sdc1, logical block 9, lost async page write")["device"], "sdc1");
        assert_eq!(report("Buffer I/O error on device sdc1, logical block 9")["device"], "sdc1");
        assert_eq!(report("sd 2:0:0:0: [sdc] tag#3 Sense Key : Medium Error [current]")["kind"], "medium_error");
    }

    #[test]
    fn noise_of_healthy_machines() {
        for line in [
            "blk_update_request: I/O error, dev fd0, sector 0",
            "I/O error, dev sr0, sector 0 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
            "Buffer I/O error on dev sr0, logical block 0, async page read",
            "blk_update_request: I/O error, dev loop3, sector 0 op 0x1:(WRITE) flags 0x800 phys_seg 0 prio class 0",
            "blk_update_request: operation not supported error, dev sda, sector 0 op 0x9:(WRITE_ZEROES)",
            "nvme nvme0: 4/0/0 default/read/poll queues",
            "device-mapper: thin: 253:4: growing the data device from 10 to 20 blocks",
            "sd 2:0:0:0: [sdc] Attached SCSI disk",
        ] {
            assert_eq!(recognise(line), None, "{line}");
        }
    }

    #[test]
    fn nvme() {
        for (line, kind, device) in [
            ("nvme nvme3: I/O 7 QID 2 timeout, aborting", "nvme_timeout", "nvme3"),
            ("nvme nvme3: I/O 7 (Write) QID 2 timeout, aborting", "nvme_timeout", "nvme3"),
            (
                "nvme nvme3: I/O tag 7 (1007) opcode 0x1 (I/O Cmd) QID 2 timeout, aborting req_op:WRITE(1) size:4096",
                "nvme_timeout",
                "nvme3",
            ),
            ("nvme 0000:02:00.0: I/O 7 QID 2 timeout, reset controller", "nvme_timeout", "0000:02:00.0"),
            ("nvme nvme3: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10", "nvme_reset", "nvme3"),
            ("nvme nvme3: Device not ready; aborting reset, CSTS=0x1", "nvme_reset_failed", "nvme3"),
            ("nvme nvme3: Device not ready; aborting initialisation, CSTS=0x0", "nvme_reset_failed", "nvme3"),
            ("nvme nvme3: Removing after probe failure status: -19", "nvme_reset_failed", "nvme3"),
            ("block nvme3n1: no usable path - requeuing I/O", "no_usable_path", "nvme3n1"),
        ] {
            let found = report(line);
            assert_eq!((found["kind"].as_str(), found["device"].as_str()), (Some(kind), Some(device)), "{line}");
        }
    }

    #[test]
    fn arrays_and_pools() {
        let md = report("md/raid1:md7: Disk failure on sdc1, disabling device.");
        assert_eq!(
            (md["kind"].as_str(), md["device"].as_str(), md["array"].as_str()),
            (Some("md_disk_failure"), Some("sdc1"), Some("md7"))
        );
        let thin = report("device-mapper: thin: 253:4: metadata operation 'dm_pool_alloc_data_block' failed: error = -28");
        assert_eq!((thin["kind"].as_str(), thin["device"].as_str()), (Some("dm_thin_metadata"), Some("253:4")));
        assert_eq!(report("device-mapper: space map metadata: unable to allocate new metadata block")["kind"], "dm_thin_metadata");
    }
}
