//! Findings, sources and causes as JSON.

use super::{Desk, SnapshotReader, answer::Problem, filter::Filter, guard::Reader};
use crate::{core::SourceHealth, findings::Finding, model::Cause};
use axum::{
    Extension, Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::borrow::Cow;

#[derive(Serialize)]
struct Findings<'a> {
    node: Option<&'a str>,
    findings: Vec<Cow<'a, Finding>>,
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
    Extension(reader): Extension<Reader>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(parameters) = query.map_err(|rejection| Problem::BrokenQuery(rejection.body_text()))?;
    let filter = Filter::read(parameters)?;
    let snapshot = desk.snapshot().await?;
    let node = snapshot.facts.as_ref().map(|facts| facts.node.as_str());
    let findings = filter.apply(&snapshot.findings).into_iter().map(|finding| shown(finding, reader)).collect();
    Ok(Json(Findings { node, findings }).into_response())
}

/// `GET /api/v1/findings/{id}`
pub(super) async fn finding<R: SnapshotReader>(
    State(desk): State<Desk<R>>,
    Extension(reader): Extension<Reader>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|_| Problem::NoSuchPath)?;
    let snapshot = desk.snapshot().await?;
    match snapshot.findings.iter().find(|finding| finding.id.0 == id) {
        Some(finding) => Ok(Json(shown(finding, reader)).into_response()),
        None => Err(Problem::NoSuchFinding(id)),
    }
}

/// A program's own words are for readers who have shown who they are.
fn shown(finding: &Finding, reader: Reader) -> Cow<'_, Finding> {
    if finding.log_excerpt.is_empty() || reader == Reader::Authenticated {
        return Cow::Borrowed(finding);
    }
    Cow::Owned(Finding { log_excerpt: vec![], ..finding.clone() })
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
