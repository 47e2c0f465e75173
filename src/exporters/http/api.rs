//! Findings, sources and causes as JSON.

use super::{Desk, SnapshotReader, answer::Problem, filter::Filter};
use crate::{core::SourceHealth, findings::Finding, model::Cause};
use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;

#[derive(Serialize)]
struct Findings<'a> {
    node: Option<&'a str>,
    findings: Vec<&'a Finding>,
}

#[derive(Serialize)]
struct Sources<'a> {
    node: Option<&'a str>,
    sources: &'a [SourceHealth],
}

#[derive(Serialize)]
struct CauseWord {
    cause: Cause,
    meaning: &'static str,
}

/// `GET /api/v1/findings`
pub(super) async fn findings<R: SnapshotReader>(
    State(desk): State<Desk<R>>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(parameters) = query.map_err(|rejection| Problem::BrokenQuery(rejection.body_text()))?;
    let filter = Filter::read(parameters)?;
    let snapshot = desk.snapshot().await?;
    let node = snapshot.facts.as_ref().map(|facts| facts.node.as_str());
    Ok(Json(Findings { node, findings: filter.apply(&snapshot.findings) }).into_response())
}

/// `GET /api/v1/findings/{id}`
pub(super) async fn finding<R: SnapshotReader>(
    State(desk): State<Desk<R>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|_| Problem::NoSuchPath)?;
    let snapshot = desk.snapshot().await?;
    match snapshot.findings.iter().find(|finding| finding.id.0 == id) {
        Some(finding) => Ok(Json(finding).into_response()),
        None => Err(Problem::NoSuchFinding(id)),
    }
}

/// `GET /api/v1/sources`
pub(super) async fn sources<R: SnapshotReader>(State(desk): State<Desk<R>>) -> Result<Response, Problem> {
    let snapshot = desk.snapshot().await?;
    let node = snapshot.facts.as_ref().map(|facts| facts.node.as_str());
    Ok(Json(Sources { node, sources: &snapshot.sources }).into_response())
}

/// `GET /api/v1/causes`
pub(super) async fn causes() -> Response {
    let causes: Vec<_> = Cause::ALL.iter().map(|cause| CauseWord { cause: *cause, meaning: cause.meaning() }).collect();
    Json(serde_json::json!({ "causes": causes })).into_response()
}
