//! The machine itself: memory and machine check errors, PCIe, heat, GPUs.

use super::fields::{Hex, Process, Said, after, before, between, fill_in, number, said, small_number, word};
use crate::model::Pid;
use serde::Serialize;
use std::fmt;

/// A problem of the hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HardwareProblem {
    /// What happened.
    pub kind: HardwareKind,
    /// The part, as the kernel names it: a DIMM, a PCI address, a thermal zone.
    pub device: Option<String>,
    /// The CPU that reported it.
    pub cpu: Option<u32>,
    /// The machine check bank.
    pub bank: Option<u32>,
    /// The machine check status register.
    pub status: Option<Hex>,
    /// The NVIDIA driver's error number.
    pub xid: Option<u32>,
    /// How many times, as the kernel counted.
    pub count: Option<u64>,
    /// The page frame of a memory failure.
    pub address: Option<Hex>,
    /// The process that was hit.
    pub comm: Option<String>,
    /// Its id.
    pub pid: Option<Pid>,
}

/// What happened to the hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HardwareKind {
    /// The CPU reported a machine check.
    Mce,
    /// ECC corrected a memory error.
    EdacCe,
    /// ECC could not correct a memory error.
    EdacUe,
    /// The firmware reports a corrected error.
    GhesCorrected,
    /// The firmware reports an error that was not corrected.
    GhesUncorrected,
    /// A memory page is broken; the kernel took it out of use or killed its owner.
    MemoryFailure,
    /// PCIe corrected a transmission error.
    PcieAerCorrected,
    /// PCIe could not correct an error.
    PcieAerUncorrected,
    /// A CPU is slowed down because it is hot.
    ThermalThrottle,
    /// The machine shuts down because it is hot.
    ThermalCritical,
    /// The NVIDIA driver reports a GPU error.
    GpuXid,
    /// A GPU could not be initialised.
    GpuInitFailed,
}

use HardwareKind::{
    EdacCe, EdacUe, GhesCorrected, GhesUncorrected, GpuInitFailed, GpuXid, Mce, MemoryFailure, PcieAerCorrected, PcieAerUncorrected,
    ThermalCritical, ThermalThrottle,
};

impl HardwareProblem {
    fn of(kind: HardwareKind) -> Self {
        Self { kind, device: None, cpu: None, bank: None, status: None, xid: None, count: None, address: None, comm: None, pid: None }
    }

    pub(super) fn read(prefix: &str, statement: &str) -> Option<Self> {
        Self::read_machine_check(prefix, statement)
            .or_else(|| Self::read_edac(prefix, statement))
            .or_else(|| Self::read_ghes(prefix, statement))
            .or_else(|| Self::read_memory_failure(prefix, statement))
            .or_else(|| Self::read_aer(prefix, statement))
            .or_else(|| Self::read_thermal(prefix, statement))
            .or_else(|| Self::read_gpu(prefix, statement))
    }

    /// arch/x86/kernel/cpu/mce/core.c: `CPU 0: Machine Check: 0 Bank 5: 9c00..` (`Machine Check
    /// Exception` when fatal); drivers/edac/mce_amd.c: `CPU:2 (17:71:0) MC27_STATUS[..]: 0x98..`;
    /// `Machine check events logged` says no more than that.
    fn read_machine_check(prefix: &str, statement: &str) -> Option<Self> {
        if statement.starts_with("Machine check events logged") {
            return Some(Self::of(Mce));
        }
        let cpu = statement.strip_prefix("CPU").filter(|_| prefix.ends_with("[Hardware Error]") || prefix.contains("mce"))?;
        let cpu_number = small_number(cpu.trim_start_matches(':'));
        if let Some(bank) = after(cpu, "Machine Check").and_then(|check| after(check, " Bank ")) {
            let status = after(bank, ":").and_then(Hex::leading);
            return Some(Self { cpu: cpu_number, bank: small_number(bank), status, ..Self::of(Mce) });
        }
        let bank = between(cpu, " MC", "_STATUS")?;
        let status = after(cpu, "]: ").and_then(Hex::leading);
        Some(Self { cpu: cpu_number, bank: small_number(bank), status, ..Self::of(Mce) })
    }

    /// drivers/edac/edac_mc.c: `1 CE memory read error on CPU_SrcID#0_DIMM#0 (channel:0 ..)`; before 3.5
    /// `CE page 0x1, offset 0x0, .. label "DIMM_A1": ..`.
    fn read_edac(prefix: &str, statement: &str) -> Option<Self> {
        if !prefix.starts_with("EDAC") {
            return None;
        }
        let (count, rest) = match number(statement) {
            Some(count) => (Some(count), statement.trim_start_matches(|digit: char| digit.is_ascii_digit()).trim_start()),
            None => (None, statement),
        };
        let kind = match rest.get(..3)? {
            "CE " => EdacCe,
            "UE " => EdacUe,
            _ => return None,
        };
        let label = match after(rest, " on ") {
            Some(label) => before(before(label, " ("), " or "),
            None => between(rest, "label \"", "\"").unwrap_or_default(),
        };
        Some(Self { count, device: said(label), ..Self::of(kind) })
    }

    /// drivers/acpi/apei/ghes.c, drivers/firmware/efi/cper.c: every line begins with `{n}[Hardware Error]: `.
    fn read_ghes(prefix: &str, statement: &str) -> Option<Self> {
        // RHEL 6 has the record's number alone in front.
        let statement = match statement.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((_, statement)) => statement,
            None if prefix.starts_with('{') => statement,
            None => return None,
        };
        if statement.starts_with("It has been corrected by h/w") {
            return Some(Self::of(GhesCorrected));
        }
        match statement.strip_prefix("event severity: ")?.trim() {
            "corrected" | "info" => Some(Self::of(GhesCorrected)),
            "fatal" | "recoverable" | "fatal, recovered" => Some(Self::of(GhesUncorrected)),
            _ => None,
        }
    }

    /// Reads a further line of a firmware record; whether it belongs to one.
    pub(super) fn complete_ghes(&mut self, line: &str) -> bool {
        if !line.starts_with('{') {
            return false;
        }
        let part = ["device_id: ", "DIMM location: ", "node:"].iter().find_map(|key| after(line, key));
        if let Some(part) = part.filter(|part| !part.starts_with("not present"))
            && self.device.is_none()
        {
            self.device = said(part);
        }
        true
    }

    /// mm/memory-failure.c: `Memory failure: 0x12345: recovery action for dirty LRU page: Recovered`,
    /// `.. Sending SIGBUS to shop:77 due to hardware memory corruption`; before 4.13 `MCE 0x12345: ..`.
    fn read_memory_failure(prefix: &str, statement: &str) -> Option<Self> {
        let address = prefix.strip_prefix("Memory failure: ").or_else(|| prefix.strip_prefix("MCE 0x")).and_then(Hex::leading);
        let rest = ["Sending SIGBUS to ", "Killing "].iter().find_map(|start| statement.strip_prefix(start));
        if let Some((process, _)) = rest.and_then(|rest| rest.split_once(" due to hardware memory corruption")) {
            let process = Process::before_colon(process).unwrap_or_default();
            return Some(Self { address, comm: process.comm, pid: process.pid, ..Self::of(MemoryFailure) });
        }
        let is_verdict = || statement.starts_with("recovery action for") || statement.contains(" page recovery");
        (address.is_some() && is_verdict()).then(|| Self { address, ..Self::of(MemoryFailure) })
    }

    /// drivers/pci/pcie/aer.c: `PCIe Bus Error: severity=Corrected, type=..`, and the announcement
    /// `AER: Corrected error received: 0000:04:00.0` (`id=00e0` before 5.x, `Correctable error message
    /// received from` since 6.10) of the port.
    fn read_aer(prefix: &str, statement: &str) -> Option<Self> {
        if let Some(severity) = statement.strip_prefix("PCIe Bus Error: severity=") {
            return Some(Self { device: pci_address(prefix), ..Self::of(aer_severity(severity)?) });
        }
        let rest = statement.strip_prefix("AER: ")?;
        let rest = rest.strip_prefix("Multiple ").unwrap_or(rest);
        let kind = aer_severity(rest)?;
        let source = after(rest, "received: ").or_else(|| after(rest, "received from "))?;
        // A port that did not learn the source names the host bridge.
        let source = pci_address(source).filter(|source| !source.ends_with(":00:00.0"));
        Some(Self { device: source.or_else(|| pci_address(prefix)), ..Self::of(kind) })
    }

    /// drivers/thermal/intel/therm_throt.c and drivers/thermal/thermal_core.c.
    fn read_thermal(prefix: &str, statement: &str) -> Option<Self> {
        let speaks_of_heat =
            ["Core temperature", "Package temperature", "Temperature above"].iter().any(|start| statement.starts_with(start));
        if speaks_of_heat && statement.contains("throttled") {
            let cpu = prefix.rsplit(' ').next().and_then(|word| word.strip_prefix("CPU")).and_then(small_number);
            let count = after(statement, "total events = ").and_then(number);
            return Some(Self { cpu, count, ..Self::of(ThermalThrottle) });
        }
        let is_critical = statement.starts_with("critical temperature reached") || statement.starts_with("Critical temperature reached");
        is_critical.then(|| Self {
            device: prefix.split([' ', ':']).find(|word| word.starts_with("thermal_zone")).and_then(said),
            ..Self::of(ThermalCritical)
        })
    }

    /// The NVIDIA driver: `Xid (PCI:0000:17:00): 79, pid=12, name=shop, GPU has fallen off the bus.`
    /// (before 4xx.x without `PCI:`, pid and name) and `RmInitAdapter failed!`; amdgpu's fatal error.
    fn read_gpu(prefix: &str, statement: &str) -> Option<Self> {
        if let Some(rest) = statement.strip_prefix("Xid (") {
            let (device, rest) = rest.split_once("):")?;
            let field = |key: &str| after(rest, key).map(|value| before(value, ",").trim().trim_matches('\''));
            let known = |value: &&str| !value.starts_with('<');
            return Some(Self {
                device: said(device.trim_start_matches("PCI:")),
                xid: small_number(rest),
                pid: field("pid=").filter(known).and_then(small_number).map(Pid),
                comm: field("name=").filter(known).and_then(said),
                ..Self::of(GpuXid)
            });
        }
        let statement_of_nvidia = statement.strip_prefix("GPU ").filter(|_| prefix == "NVRM");
        if statement.starts_with("RmInitAdapter failed") || statement.starts_with("rm_init_adapter failed") {
            return Some(Self { device: pci_address(prefix), ..Self::of(GpuInitFailed) });
        }
        if let Some(rest) = statement_of_nvidia.filter(|rest| rest.contains("RmInitAdapter failed")) {
            return Some(Self { device: pci_address(rest), ..Self::of(GpuInitFailed) });
        }
        statement.starts_with("Fatal error during GPU init").then(|| Self { device: pci_address(prefix), ..Self::of(GpuInitFailed) })
    }

    /// Whether a machine check's status says that the error was not corrected: bit 61, `MCI_STATUS_UC` of
    /// arch/x86/include/asm/mce.h, on Intel and AMD alike. Without a status nothing says so.
    pub fn is_uncorrected(&self) -> bool {
        const UNCORRECTED: u64 = 1 << 61;
        self.status.is_some_and(|status| status.0 & UNCORRECTED != 0)
    }

    pub(super) fn is_same_event(&self, later: &Self) -> bool {
        if self.kind != later.kind {
            return false;
        }
        match self.kind {
            Mce => {
                let place = |problem: &Self| (problem.cpu, problem.bank, problem.is_uncorrected());
                self.bank.is_none() || later.bank.is_none() || place(self) == place(later)
            }
            ThermalThrottle => self.cpu == later.cpu,
            GpuXid => (&self.device, self.xid) == (&later.device, later.xid),
            MemoryFailure => self.address == later.address || later.address.is_none(),
            GpuInitFailed => self.device == later.device || self.device.is_none() || later.device.is_none(),
            _ => self.device == later.device,
        }
    }

    pub(super) fn absorb(&mut self, later: Self) {
        fill_in!(self, later, device, cpu, bank, status, xid, count, address, comm, pid);
    }
}

/// `Corrected` and `Uncorrected (Fatal)`; since 6.10 `Correctable` and `Uncorrectable (Fatal)`.
fn aer_severity(text: &str) -> Option<HardwareKind> {
    if text.starts_with("Correct") {
        return Some(PcieAerCorrected);
    }
    text.starts_with("Uncorrect").then_some(PcieAerUncorrected)
}

/// `0000:04:00.0`, or `0000:04:00` without the function.
fn pci_address(text: &str) -> Option<String> {
    let is_address = |word: &&str| {
        let mut parts = word.split(':');
        parts.by_ref().take(2).all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
            && parts.next().is_some_and(|slot| slot.starts_with(|digit: char| digit.is_ascii_hexdigit()))
            && parts.next().is_none()
    };
    text.split_whitespace().filter_map(word).map(|word| word.trim_start_matches("PCI:")).find(is_address).map(str::to_owned)
}

impl fmt::Display for HardwareProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Mce if self.is_uncorrected() => "the CPU reported a machine check: an error that was not corrected",
            Mce if self.status.is_some() => "the CPU reported a machine check: an error that was corrected",
            Mce => "the CPU reported a machine check",
            EdacCe => "memory errors were corrected",
            EdacUe => "a memory error could not be corrected",
            GhesCorrected => "the firmware corrected a hardware error",
            GhesUncorrected => "the firmware reports a hardware error that it could not correct",
            MemoryFailure => "a page of memory is broken",
            PcieAerCorrected => "a PCIe transmission error was corrected",
            PcieAerUncorrected => "a PCIe error could not be corrected",
            ThermalThrottle => "the CPU is slowed down because it is hot",
            ThermalCritical => "the machine reached its critical temperature",
            GpuXid => "the NVIDIA driver reports a GPU error",
            GpuInitFailed => "a GPU could not be initialised",
        };
        write!(f, "{what}{}{}{}", Said(": Xid ", &self.xid, ""), Said(" on ", &self.device, ""), Said(" (CPU ", &self.cpu, ")"))?;
        write!(f, "{}{}", Said(", bank ", &self.bank, ""), Said(", process ", &self.comm, ""))
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::kernel_problem::{recognise, testing::report};
    use serde_json::{Value, json};

    fn fields(line: &str, names: [&str; 3]) -> Value {
        let found = report(line);
        Value::from(names.map(|name| found[name].clone()).to_vec())
    }

    #[test]
    fn machine_checks() {
        let names = ["cpu", "bank", "status"];
        assert_eq!(
            fields("mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 9: 8c00004000010090", names),
            json!([3, 9, "8c00004000010090"])
        );
        assert_eq!(
            fields("[Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 9: be00000000800400", names),
            json!([3, 9, "be00000000800400"])
        );
        let amd = "[Hardware Error]: CPU:3 (17:31:0) MC9_STATUS[-|CE|MiscV|-|-|-|SyndV|-|-|-]: 0x982000000002080b";
        assert_eq!(fields(amd, names), json!([3, 9, "982000000002080b"]));
        assert_eq!(report("mce: [Hardware Error]: Machine check events logged")["kind"], "mce");
    }

    #[test]
    fn ecc() {
        let names = ["kind", "device", "count"];
        let new = "EDAC MC0: 4 CE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x1 offset:0x0 grain:32 syndrome:0x0)";
        assert_eq!(fields(new, names), json!(["edac_ce", "CPU_SrcID#0_MC#0_Chan#1_DIMM#0", 4]));
        assert_eq!(fields("EDAC MC0: 1 UE memory read error on A or B (x)", names), json!(["edac_ue", "A", 1]));
        let old = "EDAC MC0: CE page 0x1, offset 0x2, grain 0, syndrome 0x3, row 4, channel 0, label \"DIMM_A1\": amd64_edac";
        assert_eq!(fields(old, names), json!(["edac_ce", "DIMM_A1", null]));
    }

    #[test]
    fn firmware_and_memory() {
        assert_eq!(report("{3}[Hardware Error]: event severity: corrected")["kind"], "ghes_corrected");
        assert_eq!(report("{3}event severity: corrected")["kind"], "ghes_corrected");
        assert_eq!(report("{3}[Hardware Error]: event severity: fatal")["kind"], "ghes_uncorrected");
        assert_eq!(report("Memory failure: 0x12ab: recovery action for dirty LRU page: Recovered")["address"], "12ab");
        let hit = "Memory failure: 0x12ab: Sending SIGBUS to shop:77 due to hardware memory corruption";
        assert_eq!(fields(hit, ["kind", "comm", "pid"]), json!(["memory_failure", "shop", 77]));
        assert_eq!(report("MCE 0x12ab: dirty LRU page recovery: Recovered")["kind"], "memory_failure");
    }

    #[test]
    fn pcie() {
        for (line, kind, device) in [
            (
                "pcieport 0000:00:1d.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
                "pcie_aer_corrected",
                "0000:00:1d.0",
            ),
            (
                "pcieport 0000:00:1d.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, id=00e8(Receiver ID)",
                "pcie_aer_corrected",
                "0000:00:1d.0",
            ),
            (
                "nvme 0000:04:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer",
                "pcie_aer_uncorrected",
                "0000:04:00.0",
            ),
            ("pcieport 0000:00:1d.0: AER: Corrected error received: 0000:04:00.0", "pcie_aer_corrected", "0000:04:00.0"),
            ("pcieport 0000:00:1d.0: AER: Multiple Corrected error received: id=00e8", "pcie_aer_corrected", "0000:00:1d.0"),
            ("pcieport 0000:00:1d.0: AER: Correctable error message received from 0000:04:00.0", "pcie_aer_corrected", "0000:04:00.0"),
            ("pcieport 0000:00:1d.0: AER: Correctable error message received from 0000:00:00.0", "pcie_aer_corrected", "0000:00:1d.0"),
        ] {
            assert_eq!(fields(line, ["kind", "device", "cpu"]), json!([kind, device, null]), "{line}");
        }
    }

    #[test]
    fn heat() {
        let names = ["kind", "cpu", "count"];
        assert_eq!(
            fields("mce: CPU7: Core temperature above threshold, cpu clock throttled (total events = 12)", names),
            json!(["thermal_throttle", 7, 12])
        );
        assert_eq!(
            fields("CPU7: Package temperature is above threshold, cpu clock is throttled (total events = 12)", names),
            json!(["thermal_throttle", 7, 12])
        );
        assert_eq!(
            fields("CPU7: Temperature above threshold, cpu clock throttled (total events = 12)", names),
            json!(["thermal_throttle", 7, 12])
        );
        let critical = report("thermal thermal_zone3: acpitz: critical temperature reached, shutting down");
        assert_eq!((&critical["kind"], &critical["device"]), (&json!("thermal_critical"), &json!("thermal_zone3")));
    }

    #[test]
    fn gpus() {
        let names = ["device", "xid", "comm"];
        assert_eq!(
            fields("NVRM: Xid (PCI:0000:17:00): 31, pid=77, name=shop, Ch 00000008, intr 00000000.", names),
            json!(["0000:17:00", 31, "shop"])
        );
        assert_eq!(
            fields("NVRM: Xid (PCI:0000:17:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.", names),
            json!(["0000:17:00", 79, null])
        );
        assert_eq!(fields("NVRM: Xid (0000:17:00): 31, Ch 00000010", names), json!(["0000:17:00", 31, null]));
        assert_eq!(report("NVRM: GPU 0000:17:00.0: RmInitAdapter failed! (0x26:0x56:1474)")["device"], "0000:17:00.0");
        assert_eq!(report("NVRM: rm_init_adapter failed, device minor number 0")["kind"], "gpu_init_failed");
    }

    #[test]
    fn usual_lines_of_a_boot() {
        for line in [
            "mce: CPU supports 22 MCE banks",
            "mce: CPU7: Core temperature/speed normal",
            "EDAC MC: Ver: 3.0.0",
            "EDAC MC0: Giving out device to module skx_edac controller x: DEV 0000:3a:0a.0 (INTERRUPT)",
            "EDAC MC2: HANDLING MCE MEMORY ERROR",
            "pcieport 0000:00:1c.0: AER: enabled with IRQ 122",
            "pcieport 0000:00:1c.0:   device [8086:a110] error status/mask=00001000/00002000",
            "GHES: APEI firmware first mode is enabled by APEI bit and WHEA _OSC.",
            "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.54.14",
            "CPU0: Thermal monitoring enabled (TM1)",
            "thermal_sys: Registered thermal governor 'step_wise'",
        ] {
            assert_eq!(recognise(line), None, "{line}");
        }
    }
}
