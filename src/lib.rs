//! nodewhy explains, on each Kubernetes node, why its containers die.
//!
//! ```text
//!              sources ── Signal ──▶ [record] ──▶ core, owned by one task ────────────────▶ exporters
//!   kernel_log  cgroups                           parse ▶ inventory ▶ diagnosis ▶ findings   log
//!   pods  pod_logs  node_facts                    (pure: no I/O, no clock, no async)         metrics
//!          ▲                                         │            │                          http
//!     replay a recording                             │            └── Snapshot, when asked ────▲
//!          ▲                                         └── Effect: a finding changed ────────────▲
//!          └───────────────────────────────────────────── Effect: look at this cgroup again
//! ```
//!
//! The tour, in the order in which data flows:
//!
//! 1. [`model`]: the words that everything else uses. Bytes, limits, moments, pods, containers, places
//!    in the cgroup tree, and the closed catalogues of causes, scopes and blame. Wrong states cannot
//!    be written in them.
//! 2. [`signal`]: one raw thing that the node said, as text or numbers, with both clocks. It is the only
//!    language between the sources and the core, and its JSON form is what a recording holds.
//! 3. [`sources`]: everything that reads the machine. Each reader sends signals through one bounded
//!    [`Outlet`](sources::Outlet), tells when it cannot read, and tries again by itself.
//! 4. [`record`]: signals written to a file and read back. A recording goes through the same core as a
//!    living node and gives the same findings each time.
//! 5. [`core`]: [`Core::apply`](core::Core::apply) takes a signal and returns effects. It calls, in this order,
//!    - [`parse`], which turns text into observations and survives any input;
//!    - [`inventory`], which knows who is who: pods, containers, cgroups and processes, past their end;
//!    - [`diagnosis`], which decides what ended, whose limit gave way and who held the memory, and
//!      holds the kernel's log against the kernel's counters;
//!    - [`findings`], which keeps one finding for one condition, counts it, resolves it, forgets it.
//! 6. [`exporters`]: what people and machines see of it: lines of a log, metrics, HTTP.
//! 7. [`agent`]: the wiring of all that, and nothing else. [`checkpoint_file`] keeps the core's durable state
//!    over a restart; [`telemetry`] is what the agent says of itself.
//! 8. [`args`] and [`config`]: what was typed, and the complete configuration that it resolves to.
//! 9. [`cli`]: the commands, each a thin use of the above.
//! 10. [`demonstration`]: a real kill by the kernel on purpose, for people who want to see one explained
//!     and for tests on a real kernel.
//!
//! Who may use whom, the decisions and their reasons: `docs/ARCHITECTURE.md`.

// Tests cut and cast values that they chose themselves.
#![cfg_attr(test, allow(clippy::string_slice, clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap))]

pub mod agent;
pub mod args;
pub mod checkpoint_file;
pub mod cli;
pub mod config;
pub mod core;
pub mod demonstration;
pub mod diagnosis;
pub mod exporters;
pub mod findings;
pub mod inventory;
pub mod model;
pub mod parse;
pub mod record;
pub mod signal;
pub mod sources;
pub mod telemetry;
