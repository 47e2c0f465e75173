//! The HTTP server: metrics, health, findings as JSON, and a page for people.
//!
//! Flows in: a listening socket, the newest [`Snapshot`] whenever a request needs it. Flows out:
//! answers. It changes nothing, so every route is a GET.
//!
//! | route | open to | says |
//! | --- | --- | --- |
//! | `/metrics` | everyone | Prometheus text format |
//! | `/healthz` | everyone | whether the core answers |
//! | `/readyz` | everyone | whether a source that can explain deaths is up; names no pod |
//! | `/api/v1/findings`, `/api/v1/findings/{id}` | [`Guard`] | findings |
//! | `/api/v1/sources`, `/api/v1/causes` | [`Guard`] | sources with their details, the catalogue of causes |
//! | `/` | [`Guard`] | the page |

mod answer;
mod api;
mod connections;
mod filter;
mod guard;
mod health;
mod page;

pub use guard::Guard;

use crate::{
    core::Snapshot,
    exporters::{agent_figures::AgentFigures, metrics},
};
use answer::Problem;
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::header::CONTENT_TYPE,
    middleware,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use connections::{Connections, Peer};
use std::{future::Future, io, sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::timeout};

/// How long the core may take to hand out a snapshot before it counts as stuck. It takes
/// milliseconds; a liveness probe by default waits 1 s and gives up after three tries.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the newest snapshot comes from.
pub trait SnapshotReader: Clone + Send + Sync + 'static {
    /// The state of everything now; `None` when the core has ended.
    fn snapshot(&self) -> impl Future<Output = Option<Arc<Snapshot>>> + Send;

    /// Samples that the sources gave up so far because the core was busy.
    fn samples_dropped(&self) -> u64 {
        0
    }
}

/// What every route may use.
#[derive(Debug, Clone)]
struct Desk<R> {
    reader: R,
    guard: Arc<Guard>,
    patience: Duration,
}

impl<R: SnapshotReader> Desk<R> {
    async fn snapshot(&self) -> Result<Arc<Snapshot>, Problem> {
        match timeout(self.patience, self.reader.snapshot()).await {
            Ok(Some(snapshot)) => Ok(snapshot),
            Ok(None) => Err(Problem::CoreEnded),
            Err(_) => Err(Problem::CoreSilent),
        }
    }
}

/// Answers requests until `shutdown` is done, and then the requests that have begun.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve<R: SnapshotReader>(
    listener: TcpListener,
    reader: R,
    guard: Guard,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let desk = Desk { reader, guard: Arc::new(guard), patience: PATIENCE };
    answer_on(Connections::new(listener, connections::DEADLINE), desk, shutdown).await
}

async fn answer_on<R: SnapshotReader>(
    connections: Connections,
    desk: Desk<R>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = router(desk).into_make_service_with_connect_info::<Peer>();
    axum::serve(connections, app).with_graceful_shutdown(shutdown).await
}

fn router<R: SnapshotReader>(desk: Desk<R>) -> Router {
    let names_pods = Router::new()
        .route("/", get(page))
        .route("/api/v1/findings", get(api::findings))
        .route("/api/v1/findings/{id}", get(api::finding))
        .route("/api/v1/sources", get(api::sources))
        .route("/api/v1/causes", get(api::causes))
        .route_layer(middleware::from_fn_with_state(desk.clone(), guard::check));
    Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .merge(names_pods)
        .method_not_allowed_fallback(|| async { Problem::OnlyGet })
        .fallback(|| async { Problem::NoSuchPath })
        .layer(middleware::map_response(answer::with_headers))
        .layer(DefaultBodyLimit::max(0))
        .with_state(desk)
}

async fn metrics_text<R: SnapshotReader>(State(desk): State<Desk<R>>) -> Result<Response, Problem> {
    let snapshot = desk.snapshot().await?;
    let text = metrics::render(&snapshot, &AgentFigures::read(desk.reader.samples_dropped()))?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn page<R: SnapshotReader>(State(desk): State<Desk<R>>) -> Result<Html<String>, Problem> {
    Ok(Html(page::render(&*desk.snapshot().await?)))
}

#[cfg(test)]
mod tests;
