//! From observations to causes.
//!
//! Flows in: what the parsers understood and who is who. Flows out: explanations that become
//! findings. Evidence before statistics; a kill that cannot be placed is told as such.

pub mod crash_loop;
pub mod death;
pub mod eviction;
pub mod exit;
pub mod kernel_problem;
pub mod kill_ledger;
pub mod node_trouble;
pub mod oom;
pub mod oom_cases;
pub mod probe_count;
pub mod silent_death;
pub mod start_failure;
pub mod starvation;
pub mod termination;
pub mod vmstat;
pub mod waiting;
