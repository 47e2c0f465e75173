//! The watch against an API server that answers wrongly, little, or much; and another source in its place.

use super::{source::PodSourceFailure, *};
use crate::{
    signal::{ContainerKind, Signal},
    sources,
};
use axum::{
    Json, Router,
    body::Body as Answer,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::stream::BoxStream;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::sync::mpsc::Receiver;

#[test]
fn nodes_start_at_different_moments() {
    let delays: std::collections::BTreeSet<_> = (0..100).map(|n| start_delay(&format!("node-{n}"))).collect();
    assert!(delays.len() > 50 && delays.iter().all(|delay| *delay < START_SPREAD));
}

/// What the API server does.
#[derive(Clone)]
enum Behaviour {
    /// It refuses with this status.
    Refuses(u16),
    /// It lists these pods, then tells these events.
    Tells { pods: Vec<Value>, events: Vec<Value> },
}

/// What it was asked: list or watch, the selector, and by whom.
type Asked = Arc<Mutex<Vec<(bool, String, String)>>>;

async fn answer(
    State((behaviour, asked)): State<(Behaviour, Asked)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let watches = query.get("watch").is_some_and(|watch| watch == "true");
    let agent = headers.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
    asked.lock().expect("lock").push((watches, query.get("fieldSelector").cloned().unwrap_or_default(), agent));
    match behaviour {
        Behaviour::Refuses(code) => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "no", "code": code});
            (StatusCode::from_u16(code).expect("code"), Json(status)).into_response()
        }
        Behaviour::Tells { pods, .. } if !watches => {
            Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": pods})).into_response()
        }
        Behaviour::Tells { events, .. } => {
            let lines = events.into_iter().map(|event| Ok::<_, std::convert::Infallible>(format!("{event}\n")));
            // The watch stays open when everything is told.
            let open = futures::stream::iter(lines).chain(futures::stream::pending());
            Answer::from_stream(open).into_response()
        }
    }
}

/// The signals of a watch of node `n1` at such a server, and what the server was asked.
async fn watched(behaviour: Behaviour, is_pod: bool) -> (Receiver<Signal>, Asked) {
    let asked = Asked::default();
    let app = Router::new().route("/api/v1/pods", get(answer)).with_state((behaviour, asked.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let source = ApiWatch::of(kube::Config::new(url.parse().expect("url"))).expect("client");
    let (outlet, signals) = sources::channel();
    tokio::spawn(follow(source, "n1".into(), is_pod, outlet));
    (signals, asked)
}

async fn next(signals: &mut Receiver<Signal>) -> Body {
    signals.recv().await.expect("a signal").body
}

async fn report_of(behaviour: Behaviour, is_pod: bool) -> SourceReport {
    let (mut signals, _) = watched(behaviour, is_pod).await;
    let Body::Source(report) = next(&mut signals).await else { panic!("a report") };
    report
}

fn pod(name: &str, containers: usize) -> Value {
    let names: Vec<_> = (0..containers).map(|n| format!("c{n}")).collect();
    let specs: Vec<_> = names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
    // As the kubelet shows a container that was never made: no id, no state.
    let statuses: Vec<_> =
        names.iter().map(|name| json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 2})).collect();
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "shop", "uid": "7145627f-44a7-433c-a896-a8c81a4df533", "resourceVersion": "8"},
        "spec": {"containers": specs}, "status": {"phase": "Pending", "containerStatuses": statuses},
    })
}

async fn listed(signals: &mut Receiver<Signal>) -> Vec<PodRecord> {
    assert!(matches!(next(signals).await, Body::Source(SourceReport { state: SourceState::Up, .. })));
    let Body::Pods(PodUpdate::Listed(list)) = next(signals).await else { panic!("a list") };
    list.pods
}

#[tokio::test]
async fn a_wrong_token_and_a_missing_right_are_told_apart() {
    for (code, remedy) in [(401, "the token or certificate is not accepted"), (403, "grant the service account `list` and `watch` on pods")]
    {
        let report = report_of(Behaviour::Refuses(code), true).await;
        assert_eq!((report.source, report.state), (SourceName::Pods, SourceState::Unreadable), "{code}");
        assert!(report.detail.contains(remedy), "{}", report.detail);
    }
    assert_eq!(report_of(Behaviour::Refuses(500), true).await.state, SourceState::Failing);
}

#[tokio::test]
async fn a_node_that_the_api_server_does_not_know_is_a_wrong_name() {
    let nothing = || Behaviour::Tells { pods: vec![], events: vec![] };
    let report = report_of(nothing(), true).await;
    assert_eq!(report.state, SourceState::Failing);
    assert!(report.detail.contains("no pod on a node named n1") && report.detail.contains("--node-name"), "{}", report.detail);
    let outside = report_of(nothing(), false).await;
    assert_eq!(outside.state, SourceState::Up, "from outside, a node may be empty");
    assert!(outside.detail.contains("no pod on a node named n1; if it has another name"), "{}", outside.detail);
}

#[tokio::test]
async fn it_asks_for_one_list_and_one_watch_of_its_own_node_and_says_who_it_is() {
    let told = json!({"type": "MODIFIED", "object": pod("web", 1)});
    let (mut signals, asked) = watched(Behaviour::Tells { pods: vec![pod("web", 1)], events: vec![told] }, true).await;
    assert_eq!(listed(&mut signals).await.len(), 1);
    assert!(matches!(next(&mut signals).await, Body::Pods(PodUpdate::Changed { deleted: false, .. })));
    let agent = concat!("nodewhy/", env!("CARGO_PKG_VERSION"));
    let each = |watches| (watches, "spec.nodeName=n1".to_owned(), agent.to_owned());
    assert_eq!(*asked.lock().expect("lock"), [each(false), each(true)]);
}

#[tokio::test]
async fn forty_containers_without_ids_are_forty_records() {
    let (mut signals, _) = watched(Behaviour::Tells { pods: vec![pod("wide", 40)], events: vec![] }, true).await;
    let pods = listed(&mut signals).await;
    assert_eq!(pods[0].containers.len(), 40);
    let first = &pods[0].containers[0];
    assert_eq!((first.kind, first.restart_count, &first.container_id, &first.state), (ContainerKind::App, Some(2), &None, &None));
}

#[tokio::test]
async fn an_object_that_is_no_pod_is_left_out_and_the_rest_stays() {
    let mut broken = pod("broken", 1);
    broken["spec"]["containers"] = json!("none");
    let told = |object: Value| json!({"type": "MODIFIED", "object": object});
    let events = vec![told(broken.clone()), told(pod("later", 1))];
    let (mut signals, _) = watched(Behaviour::Tells { pods: vec![broken, pod("web", 1)], events }, true).await;
    assert_eq!(listed(&mut signals).await.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["web"]);
    let Body::Pods(PodUpdate::Changed { pod, .. }) = next(&mut signals).await else { panic!("a change") };
    assert_eq!(pod.name, "later");
}

/// A source that is not the API server.
struct Scripted(Vec<Result<PodEvent, PodSourceFailure>>);

impl PodSource for Scripted {
    const NAME: &'static str = "script";

    fn pods_of(self, _: &str) -> BoxStream<'static, Result<PodEvent, PodSourceFailure>> {
        futures::stream::iter(self.0).boxed()
    }
}

fn record(name: &str) -> PodRecord {
    PodRecord { name: name.into(), ..PodRecord::default() }
}

#[tokio::test]
async fn any_source_can_stand_in_for_the_api_server() {
    let failure = PodSourceFailure { state: SourceState::Failing, detail: "script: the socket is gone".into() };
    let script = vec![
        Ok(PodEvent::ListBegins),
        Ok(PodEvent::Listed(record("void"))),
        Err(failure.clone()),
        Ok(PodEvent::ListBegins),
        Ok(PodEvent::Listed(record("web"))),
        Ok(PodEvent::ListEnds),
        Ok(PodEvent::Changed(record("web"))),
        Ok(PodEvent::Gone(record("web"))),
    ];
    let (outlet, mut signals) = sources::channel();
    follow(Scripted(script), "n1".into(), true, outlet).await;
    let Body::Source(report) = next(&mut signals).await else { panic!("a report") };
    assert_eq!((report.state, report.detail), (failure.state, failure.detail));
    let listed = listed(&mut signals).await;
    assert_eq!(listed, [record("web")], "what a broken list told is void");
    for deleted in [false, true] {
        let told = PodUpdate::Changed { pod: Box::new(record("web")), deleted };
        assert_eq!(next(&mut signals).await, Body::Pods(told));
    }
    assert!(signals.recv().await.is_none(), "the source has ended, and so has its follower");
}
