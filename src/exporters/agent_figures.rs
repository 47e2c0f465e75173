//! What the agent itself costs: its memory, CPU time and open files.
//!
//! Flows in: `/proc/self`. Flows out: plain figures for the metrics. Knows nothing of the node.

use crate::model::Bytes;
use procfs::{
    ProcResult,
    process::{LimitValue, Process},
};

/// The agent's own figures at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentFigures {
    /// Samples that the sources gave up because the core was busy.
    pub samples_dropped: u64,
    /// The process; `None` where `/proc/self` cannot be read.
    pub process: Option<ProcessFigures>,
}

/// The agent's process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessFigures {
    /// Resident memory.
    pub resident: Bytes,
    /// Virtual memory.
    pub virtual_size: Bytes,
    /// CPU time used since the start, in seconds.
    pub cpu_seconds: f64,
    /// Start, in seconds since 1970.
    pub started_seconds: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The most file descriptors it may open; `None` for unlimited.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: u64,
}

impl AgentFigures {
    /// Reads the figures of this process.
    pub fn read(samples_dropped: u64) -> Self {
        Self { samples_dropped, process: ProcessFigures::read().ok() }
    }
}

impl ProcessFigures {
    fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let seconds = |ticks: u64| number(ticks) / number(procfs::ticks_per_second());
        Ok(Self {
            resident: Bytes::from_pages(stat.rss, procfs::page_size()),
            virtual_size: Bytes(stat.vsize),
            cpu_seconds: seconds(stat.utime.saturating_add(stat.stime)),
            started_seconds: number(procfs::boot_time_secs()?) + seconds(stat.starttime),
            open_fds: u64::try_from(process.fd_count()?).unwrap_or(u64::MAX),
            max_fds: match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(most) => Some(most),
                LimitValue::Unlimited => None,
            },
            threads: u64::try_from(stat.num_threads).unwrap_or_default(),
        })
    }
}

/// A count as Prometheus's number type: exact up to 2^53, nine petabytes.
#[allow(clippy::cast_precision_loss, reason = "Prometheus knows no other number")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_has_figures() {
        let process = AgentFigures::read(0).process.expect("/proc/self");
        assert!(process.resident > Bytes::from_kib(100) && process.resident < process.virtual_size);
        assert!(process.open_fds >= 3 && process.threads >= 1);
        assert!(process.started_seconds > 1_600_000_000.0);
    }
}
