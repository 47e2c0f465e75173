//! What the kubelet's log tells about a node and its containers.
//!
//! Flows in: lines with the program that wrote them, or klog records. Flows out: [`Observation`]s, each
//! a [`Situation`] with its [`Subject`] and a redacted [`Excerpt`], and [`Report`]s that fold the lines
//! of one problem. Must not know: why a container died, which other sources exist, what time it is.
//!
//! ```text
//! line ─▶ klog::KlogReader ─▶ KlogRecord ─▶ observe: start, probe, volume, eviction, … ─▶ Observation
//!      └▶ unit (PID 1) ───────────────────────────────────────────────────────────────▶     │
//!                                                      ProblemFolder ◀── class::problem ◀────┘
//!                                                            └─▶ Report
//! ```
//!
//! The log is corroborating evidence: Kubernetes promises nothing about its words, a default kubelet
//! (-v=0) prints neither probes nor kills, and the kill of a container by the kernel's OOM killer
//! appears in it at no verbosity. Sources named in the files below are those of kubelet 1.18 to 1.36.

mod certificate;
mod class;
mod duration;
mod event;
mod eviction;
mod excerpt;
mod fold;
mod image;
mod node;
mod observe;
mod probe;
mod reader;
mod redactor;
mod report;
mod runtime;
mod said;
mod situation;
mod start;
mod subject;
mod unit;
mod verbosity;
mod volume;

#[cfg(test)]
mod rows_tests;

pub use class::{Class, problem};
pub use duration::leading as go_duration;
pub use excerpt::Excerpt;
pub use fold::ProblemFolder;
pub use observe::{observe, tells_no_space};
pub use reader::{KubeletProblems, KubeletReader};
pub use redactor::Redactor;
pub use report::{Details, Report};
pub use situation::{
    CertificateProblem, CriCall, EvictionStep, KillReason, LeaseStep, NotReady, Observation, Probe, PullFailure, Situation,
};
pub use start::delay as back_off_delay;
pub use subject::Subject;
pub use unit::{UnitEvent, observe_of as observe_unit};
