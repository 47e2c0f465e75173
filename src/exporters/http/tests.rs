//! The routes over real connections, asked by a client that shares no code with the server.

use super::*;
use crate::exporters::examples;
use serde_json::Value;
use std::{
    future::pending,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

/// A core that hands out one snapshot, or has ended, or is stuck.
#[derive(Debug, Clone)]
enum Core {
    Holds(Arc<Snapshot>),
    Ended,
    Stuck,
}

impl SnapshotReader for Core {
    async fn snapshot(&self) -> Option<Arc<Snapshot>> {
        match self {
            Self::Holds(snapshot) => Some(Arc::clone(snapshot)),
            Self::Ended => None,
            Self::Stuck => pending().await,
        }
    }
}

/// A server on a port of its own.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
    runtime: Runtime,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Server {
    fn start(core: Core) -> Self {
        Self::start_with(core, Guard::LoopbackOnly, connections::DEADLINE)
    }

    fn start_with(core: Core, guard: Guard, deadline: Duration) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        // A stuck core is given no time at all, so that no test has to wait.
        let patience = if matches!(core, Core::Stuck) { Duration::ZERO } else { PATIENCE };
        let desk = Desk { reader: core, guard: Arc::new(guard), patience };
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        let served = runtime.spawn(answer_on(Connections::new(listener, deadline), desk, shutdown));
        Self { address, stop, served, runtime }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("a connection")
    }

    /// Sends one request and reads to the end of the connection.
    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\n{headers}\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer and an end");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        Answer { status, head: head.to_lowercase(), body: body.into() }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "Host: localhost\r\n")
    }
}

fn troubled() -> Server {
    Server::start(Core::Holds(Arc::new(examples::snapshot())))
}

const PATHS: [&str; 8] =
    ["/", "/metrics", "/healthz", "/readyz", "/api/v1/findings", "/api/v1/findings/9f2c41d07be63a15", "/api/v1/sources", "/api/v1/causes"];

#[test]
fn every_route_answers_and_carries_the_security_headers() {
    let server = troubled();
    for path in PATHS {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        for header in ["connection: close", "x-content-type-options: nosniff", "default-src 'none'", "cache-control: no-store"] {
            assert!(answer.head.contains(header), "{path}: {}", answer.head);
        }
    }
    assert!(server.get("/metrics").head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"));
    assert!(server.get("/").head.contains("content-type: text/html; charset=utf-8"));
}

#[test]
fn head_says_how_long_the_answer_is_and_no_more() {
    let server = troubled();
    for path in PATHS {
        let (get, head) = (server.get(path), server.ask("HEAD", path, "Host: localhost\r\n"));
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert!(get.head.contains("content-length: ") && head.head.contains("content-length: "), "{path}");
    }
}

#[test]
fn findings_are_the_public_form() {
    let server = troubled();
    let all = server.get("/api/v1/findings").json();
    assert_eq!(all["node"], "worker-3");
    assert_eq!(all["findings"][0], serde_json::to_value(examples::oom_kill()).expect("JSON"));
    assert_eq!(all["findings"].as_array().map(Vec::len), Some(3));
    let some = server.get("/api/v1/findings?state=open&namespace=shop&container=api&limit=5").json();
    assert_eq!(some["findings"].as_array().map(Vec::len), Some(1));
    let one = server.get("/api/v1/findings/0b5d8e7720aa91fc").json();
    assert_eq!(one, serde_json::to_value(examples::resolved()).expect("JSON"));
    assert!(server.get("/api/v1/causes").json()["causes"].as_array().is_some_and(|causes| causes.len() > 30));
    assert_eq!(server.get("/api/v1/sources").json()["sources"][4]["detail"], "the API server answers 403: grant list and watch of pods");
}

#[test]
fn what_is_wrong_with_a_request_is_told_as_json() {
    let server = troubled();
    let wrong = server.get("/api/v1/findings?state=closed");
    assert_eq!(wrong.status, 400);
    assert_eq!((&wrong.json()["parameter"], &wrong.json()["allowed"][0]), (&"state".into(), &"open".into()));
    assert_eq!(server.get("/api/v1/findings?colour=red").json()["parameter"], "colour");
    for (path, status) in
        [("/api/v1/findings/nope", 404), ("/nope", 404), ("/api/v1/findings/%ff", 404), ("/api/v1/findings?limit=%zz", 400)]
    {
        let answer = server.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    for path in ["/metrics", "/", "/api/v1/findings"] {
        let answer = server.ask("POST", path, "Host: localhost\r\nContent-Length: 0\r\n");
        assert_eq!(answer.status, 405, "{path}");
        assert!(answer.head.contains("allow: get") && answer.json()["error"].is_string());
    }
}

#[test]
fn readiness_tells_why_and_names_no_pod() {
    let ready = troubled().get("/readyz");
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    assert_eq!(ready.json()["sources"].as_array().map(Vec::len), Some(crate::signal::SourceName::ALL.len()));
    for name in ["cart", "shop", "mail", "403", "/sys"] {
        assert!(!ready.body.contains(name), "{name}");
    }
    let unready = Server::start(Core::Holds(Arc::default())).get("/readyz");
    assert_eq!((unready.status, unready.json()["why_not"].as_array().map(Vec::len)), (503, Some(2)));
    assert_eq!(unready.json()["sources"][0]["state"], "not_reported");
}

#[test]
fn one_source_that_explains_deaths_is_enough_to_be_ready() {
    let mut snapshot = examples::snapshot();
    let is_needed = |name| name != crate::signal::SourceName::Cgroups;
    snapshot
        .sources
        .iter_mut()
        .filter(|health| is_needed(health.source))
        .for_each(|health| health.state = crate::signal::SourceState::Failing);
    assert_eq!(Server::start(Core::Holds(Arc::new(snapshot.clone()))).get("/readyz").status, 200);
    snapshot.sources.iter_mut().for_each(|health| health.state = crate::signal::SourceState::Absent);
    assert_eq!(Server::start(Core::Holds(Arc::new(snapshot))).get("/readyz").status, 503);
}

#[test]
fn a_core_that_is_stuck_or_gone_is_not_healthy() {
    for core in [Core::Stuck, Core::Ended] {
        let server = Server::start(core);
        for path in ["/healthz", "/readyz", "/metrics", "/api/v1/findings", "/"] {
            assert_eq!(server.get(path).status, 503, "{path}");
        }
    }
}

#[test]
fn what_names_pods_is_guarded_and_the_rest_is_open() {
    let mut token = tempfile::NamedTempFile::new().expect("a file");
    token.write_all(b"open-sesame\n").expect("written");
    let core = Core::Holds(Arc::new(examples::snapshot()));
    let server = Server::start_with(core, Guard::Token(token.path().into()), connections::DEADLINE);
    for path in ["/", "/api/v1/findings", "/api/v1/findings/9f2c41d07be63a15", "/api/v1/sources", "/api/v1/causes"] {
        let stranger = server.ask("GET", path, "Host: evil.example\r\n");
        assert_eq!(stranger.status, 401, "{path}");
        assert!(stranger.head.contains("www-authenticate: bearer") && !stranger.body.contains("cart"));
        assert_eq!(server.ask("GET", path, "Host: evil.example\r\nAuthorization: Bearer open-sesame\r\n").status, 200, "{path}");
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(server.ask("GET", path, "Host: evil.example\r\n").status, 200, "{path}");
    }
}

#[test]
fn a_programs_own_words_are_for_readers_with_the_token() {
    let mut token = tempfile::NamedTempFile::new().expect("a file");
    token.write_all(b"open-sesame\n").expect("written");
    let mut snapshot = examples::snapshot();
    snapshot.findings[0].log_excerpt = vec!["no such table: carts".into()];
    let path = format!("/api/v1/findings/{}", snapshot.findings[0].id);
    let server = Server::start_with(Core::Holds(Arc::new(snapshot)), Guard::Token(token.path().into()), connections::DEADLINE);
    for path in ["/api/v1/findings", &path] {
        let local = server.get(path);
        assert_eq!((local.status, local.body.contains("no such table")), (200, false), "{path}");
        let authenticated = server.ask("GET", path, "Host: localhost\r\nAuthorization: Bearer open-sesame\r\n");
        assert_eq!((authenticated.status, authenticated.body.contains("no such table")), (200, true), "{path}");
    }
    assert!(!server.get("/").body.contains("no such table"));
}

#[test]
fn a_request_without_an_end_is_cut_off() {
    let server = troubled();
    let mut stream = server.connect();
    let endless = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(64 << 10));
    // The server may close before everything is written.
    let _ = stream.write_all(endless.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_connection_ends_at_its_deadline() {
    let server = Server::start_with(Core::Holds(Arc::default()), Guard::LoopbackOnly, Duration::ZERO);
    let mut silent = server.connect();
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or_default(), 0, "closed without a word from either side");
}

#[test]
fn clients_that_say_nothing_do_not_stop_others_and_are_bounded() {
    let server = troubled();
    let mut silent: Vec<_> = (0..31).map(|_| server.connect()).collect();
    assert_eq!(server.get("/healthz").status, 200);
    silent.extend((0..8).map(|_| server.connect()));
    let mut last = server.connect();
    assert_eq!(last.read(&mut [0; 16]).unwrap_or_default(), 0, "one address has too many connections");
}

#[test]
fn it_stops_when_told() {
    let Server { stop, served, runtime, .. } = troubled();
    stop.send(()).expect("it listens for the end");
    assert!(runtime.block_on(served).expect("no panic").is_ok());
}

#[test]
fn the_page_can_be_read_from_a_browser() {
    let page = troubled().get("/").body;
    assert!(page.starts_with("<!doctype html>") && page.contains("worker-3"));
}
