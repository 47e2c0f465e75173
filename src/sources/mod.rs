//! The sources: everything that reads the machine.
//!
//! Flows in: configuration. Flows out: [`Signal`](crate::signal::Signal)s, raw, into one bounded [`Outlet`]. A source knows
//! no parser of meaning, no diagnosis and no exporter. A source that fails says so with a
//! [`SourceReport`](crate::signal::SourceReport), tries again, and never takes the agent down.

pub mod cgroups;
mod outlet;

pub use outlet::{Outlet, Stopped, channel, now};
