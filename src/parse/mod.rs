//! From raw lines to observations.
//!
//! Flows in: text as the kernel log, a journal or a saved log gives it. Flows out: typed
//! observations. Parsers know no file, no clock and no cluster; they never fail on damaged input,
//! they understand less of it.

pub mod frame;
pub mod kernel_problem;

pub mod kmsg;
