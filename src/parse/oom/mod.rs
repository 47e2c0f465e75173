//! OOM dumps: from the kernel log's lines to one event for each decision of the OOM killer.
//!
//! Flows in: the text of kernel log records in order, with their positions, and notes about lost
//! records. Flows out: [`OomNews`]. It knows no cgroup files, no pods and no clock.
//!
//! ```text
//!   text ──▶ OomLine::recognise ──▶ OomAssembler ──▶ OomNews::{Event, Amended, ..} of an OomEvent
//!            (line, kill_line,      (assembler,                        │
//!             summary, task_table,   draft)                            └─▶ OomReport (flat, for people's tools)
//!             memory_stats)
//! ```
//!
//! A dump is up to some thousand records long and is never complete for sure: the kernel prints at
//! most 10 in 5 seconds, the ring buffer overruns, people cut and sort what they post. Only the line
//! `Killed process N (x)` is always printed. So that line alone makes an event, at once; everything
//! before it completes the event if it belongs to the same dump, and what follows (the rest of a
//! group, the reaper) amends the event under its [`OomId`].
//!
//! The formats are those of `mm/oom_kill.c` and `mm/memcontrol*.c` from 2.6.32 to 6.19.

mod assembler;
mod draft;
mod event;
mod fields;
mod kill_line;
mod line;
mod memory_stats;
mod report;
mod summary;
mod task_table;
#[cfg(test)]
mod tests;

pub use assembler::{OomAssembler, OomNews};
pub use event::{
    Completeness, Constraint, Domain, GroupKill, LimitUse, OomEvent, OomId, OomOutcome, OomScope, Position, Process, ReaperWord, Trigger,
    Victim,
};
pub use kill_line::{Announcement, Decision, Killed};
pub use line::OomLine;
pub use memory_stats::{CgroupMemory, MemorySplit};
pub use report::OomReport;
pub use summary::Summary;
pub use task_table::{TaskRow, TaskTable};
