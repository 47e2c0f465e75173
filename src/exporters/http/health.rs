//! Whether the agent is alive and whether it can do its work. Open to everyone, so nothing here
//! names a pod: the details of sources, which may hold paths, are at `/api/v1/sources`.

use super::{Desk, SnapshotReader, answer::Problem};
use crate::{
    core::Snapshot,
    signal::{SourceName, SourceState},
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// Sources that can explain a death by themselves.
const EXPLAIN_DEATHS: [SourceName; 3] = [SourceName::KernelLog, SourceName::Cgroups, SourceName::Pods];

/// Alive as long as the core answers.
pub(super) async fn healthz<R: SnapshotReader>(State(desk): State<Desk<R>>) -> Result<&'static str, Problem> {
    desk.snapshot().await.map(|_| "ok\n")
}

/// Ready once something that explains deaths can be read and the node has been looked over once.
pub(super) async fn readyz<R: SnapshotReader>(State(desk): State<Desk<R>>) -> Result<Response, Problem> {
    let readiness = Readiness::of(&*desk.snapshot().await?);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(readiness)).into_response())
}

#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why_not: Vec<&'static str>,
    sources: Vec<Source>,
}

#[derive(Debug, Serialize)]
struct Source {
    source: SourceName,
    state: &'static str,
    why: &'static str,
}

impl Readiness {
    fn of(snapshot: &Snapshot) -> Self {
        let state_of = |wanted| snapshot.sources.iter().find(|health| health.source == wanted).map(|health| health.state);
        let mut why_not = Vec::new();
        if !EXPLAIN_DEATHS.into_iter().any(|source| state_of(source) == Some(SourceState::Up)) {
            why_not.push("no source that can explain deaths is up: kernel_log, cgroups or pods");
        }
        // The source of cgroups reports itself after its first sweep, whatever it found.
        if state_of(SourceName::Cgroups).is_none() {
            why_not.push("the first sweep over the cgroups is not done");
        }
        let sources = SourceName::ALL.iter().map(|source| Source::of(*source, state_of(*source))).collect();
        Self { ready: why_not.is_empty(), why_not, sources }
    }
}

impl Source {
    const fn of(source: SourceName, state: Option<SourceState>) -> Self {
        let Some(state) = state else {
            return Self { source, state: "not_reported", why: "it has not reported yet" };
        };
        let why = match state {
            SourceState::Up => "it can be read",
            SourceState::Absent => "it does not exist on this node",
            SourceState::Unreadable => "it exists and may not be read",
            SourceState::Stale => "it has said nothing for longer than is normal",
            SourceState::Failing => "reading it fails",
        };
        Self { source, state: state.as_str(), why }
    }
}
