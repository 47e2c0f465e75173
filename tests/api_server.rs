//! The program against an API server on loopback: a full node, ten thousand pods that come and go, and what an API
//! server refuses. The real one is in `tests/kubernetes`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test ends where it is surprised"
)]

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    convert::Infallible,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// A busy machine may need it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Anonymous memory of an idle agent that has listed 250 pods, in the build that tests use: 4.1 MiB. It would be four
/// times as much if the objects were read whole.
const ANONYMOUS_WHEN_IDLE: u64 = 8 << 20;

/// What every pod of the churn is allowed beside that: stores are bounded, and full afterwards.
const FULL_STORES: u64 = 16 << 20;

/// An API server for one agent, whose watch says what is sent to `events`.
struct ApiServer {
    address: SocketAddr,
    events: mpsc::Sender<String>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Answers {
    refuses: Option<u16>,
    pods: Arc<Vec<Value>>,
    events: Arc<Mutex<Option<mpsc::Receiver<String>>>>,
}

impl ApiServer {
    fn start(refuses: Option<u16>, pods: Vec<Value>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        let (events, told) = mpsc::channel(64);
        let answers = Answers { refuses, pods: Arc::new(pods), events: Arc::new(Mutex::new(Some(told))) };
        let app = Router::new().route("/api/v1/pods", get(answer)).with_state(answers);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("port");
        let address = listener.local_addr().expect("address");
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, events, _runtime: runtime }
    }

    fn tells(&self, kind: &str, pod: &Value) {
        self.events.blocking_send(format!("{}\n", json!({"type": kind, "object": pod}))).expect("the server lives");
    }

    fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "test", "user": {"token": "not-a-real-one"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        })
        .to_string()
    }
}

async fn answer(State(answers): State<Answers>, Query(query): Query<HashMap<String, String>>) -> Response {
    if let Some(code) = answers.refuses {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "no", "code": code});
        return (StatusCode::from_u16(code).expect("code"), Json(status)).into_response();
    }
    if query.get("watch").is_none_or(|watch| watch != "true") {
        let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": *answers.pods});
        return Json(list).into_response();
    }
    let Some(told) = answers.events.lock().expect("lock").take() else { return StatusCode::CONFLICT.into_response() };
    let lines = futures::stream::unfold(told, |mut told| async { told.recv().await.map(|line| (Ok::<_, Infallible>(line), told)) });
    Body::from_stream(lines).into_response()
}

/// A port below those that the kernel gives to connections, which would take one between this look and the agent's start.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 1000) as u16 * 10;
    let candidates = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    candidates.take(1000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// The agent as a process of its own, which is told of pods and of nothing else of this machine.
struct Agent {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
    log: Arc<Mutex<String>>,
}

impl Agent {
    fn start(kubeconfig: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_nodewhy"));
        for name in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "NODE_NAME"] {
            command.env_remove(name);
        }
        if let Some(text) = kubeconfig {
            let path = folder.path().join("kubeconfig");
            std::fs::write(&path, text).expect("write");
            command.env("KUBECONFIG", path);
        }
        let empty = folder.path().join("empty");
        std::fs::create_dir(&empty).expect("folder");
        command.args(["agent", "--output=json", "--node-name=n1", "--kernel-log=none", "--kubelet-log=none", "--disks=none"]);
        command.arg(format!("--listen=127.0.0.1:{port}")).arg(format!("--state-dir={}", folder.path().display()));
        command.arg(format!("--pod-log-dir={0}", empty.display())).arg(format!("--cgroup-root={}", empty.display()));
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program");
        let (log, said) = (Arc::<Mutex<String>>::default(), BufReader::new(process.stderr.take().expect("stderr")));
        let into = log.clone();
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                into.lock().expect("lock").push_str(&(line + "\n"));
            }
        });
        Self { process, port, _folder: folder, log }
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// Asks until the answer is as wanted; the last one otherwise.
    fn eventually<T>(&mut self, ask: impl Fn(&Self) -> Result<T, String>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            assert_eq!(self.process.try_wait().expect("status"), None, "the agent has ended: {}", self.log.lock().expect("lock"));
            match ask(self) {
                Ok(answer) => return answer,
                Err(last) => assert!(Instant::now() < until, "{last}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The state of the source of pods, and its words, once it has reported as `state`.
    fn pods_are(&mut self, state: &str) -> String {
        self.eventually(|agent| {
            let text = agent.get("/api/v1/sources").ok_or("no answer")?;
            let sources: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let list = sources.as_array().or_else(|| sources["sources"].as_array()).ok_or("no list")?;
            let pods = list.iter().find(|source| source["source"] == "pods").ok_or("no pods")?;
            if pods["state"] == state { Ok(pods["detail"].as_str().unwrap_or_default().to_owned()) } else { Err(text.clone()) }
        })
    }

    /// The sum of a metric's series that have these labels.
    fn metric(&self, name: &str, labels: &[&str]) -> Option<u64> {
        let page = self.get("/metrics")?;
        let series = page.lines().filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        let values: Option<Vec<f64>> = series.map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
        values.map(|values| values.iter().sum::<f64>() as u64)
    }

    /// Resident and of it anonymous memory, in bytes.
    fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("status");
        let field = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("kB") << 10
        };
        (field("VmRSS:"), field("RssAnon:"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A pod as a kubelet shows it, with all that real ones carry along.
fn pod(number: usize, containers: usize, state: &Value) -> Value {
    let names: Vec<_> = (0..containers).map(|n| format!("c{n}")).collect();
    let variables: Vec<_> = (0..20).map(|n| json!({"name": format!("SETTING_{n}"), "value": "x".repeat(60)})).collect();
    let spec = |name: &String| {
        json!({"name": name, "image": format!("registry.example/shop/{name}:1.2.3"), "env": variables,
            "resources": {"limits": {"memory": "64Mi"}, "requests": {"memory": "32Mi"}}})
    };
    let id = |name: &String| format!("containerd://{:064x}", number * 100 + name[1..].parse::<usize>().expect("number") + 1);
    let status = |name: &String| json!({"name": name, "image": "i", "imageID": "i", "ready": true, "started": true, "restartCount": 0, "containerID": id(name), "state": state});
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": format!("web-77-{number}"), "namespace": "shop", "uid": format!("{number:08x}-44a7-433c-a896-a8c81a4df533"),
            "resourceVersion": (number + 8).to_string(), "creationTimestamp": time(60), "labels": {"pod-template-hash": "77"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-77", "uid": "x", "controller": true}],
            "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {"f:conditions": "y".repeat(4000)}}}],
        },
        "spec": {"nodeName": "n1", "restartPolicy": "Always", "containers": names.iter().map(spec).collect::<Vec<_>>()},
        "status": {"phase": "Running", "containerStatuses": names.iter().map(status).collect::<Vec<_>>()},
    })
}

/// So many seconds from now, as the API server writes times: without fractions. A pod that is made in the future is
/// surely new to the agent.
#[allow(clippy::disallowed_methods, reason = "the program compares with the clock of this machine")]
fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn running() -> Value {
    json!({"running": {"startedAt": time(-10)}})
}

fn died() -> Value {
    json!({"terminated": {"exitCode": 3, "reason": "Error", "startedAt": time(-10), "finishedAt": time(-5)}})
}

#[test]
fn two_hundred_and_fifty_pods_and_ten_thousand_more_that_come_and_go_stay_bounded() {
    const PODS: usize = 250;
    const CHURN: usize = 10_000;
    let server = ApiServer::start(None, (0..PODS).map(|number| pod(number, 2, &running())).collect());
    let mut agent = Agent::start(Some(&server.kubeconfig()));
    let known = |agent: &Agent, wanted: u64| match agent.metric("nodewhy_store_entries", &["store=\"pods\""]) {
        Some(pods) if pods >= wanted => Ok(()),
        other => Err(format!("{other:?} pods are known of {wanted}")),
    };
    agent.eventually(|agent| known(agent, PODS as u64));
    std::thread::sleep(Duration::from_secs(3));
    let (resident, anonymous) = agent.memory();
    println!("{PODS} pods, idle: {:.1} MiB resident, of it {:.1} MiB anonymous", mib(resident), mib(anonymous));
    assert!(anonymous <= ANONYMOUS_WHEN_IDLE, "{anonymous} bytes anonymous with {PODS} pods");

    for number in PODS..PODS + CHURN {
        server.tells("ADDED", &pod(number, 1, &running()));
        server.tells("MODIFIED", &pod(number, 1, &died()));
        // Duplicates come with every resync.
        server.tells("MODIFIED", &pod(number, 1, &died()));
        server.tells("DELETED", &pod(number, 1, &died()));
    }
    let counted = |agent: &Agent| agent.metric("nodewhy_container_terminations_total", &["workload=\"web\"", "namespace=\"shop\""]);
    agent.eventually(|agent| match counted(agent) {
        Some(ends) if ends >= CHURN as u64 => Ok(()),
        other => Err(format!("{other:?} ends are counted of {CHURN}")),
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(counted(&agent), Some(CHURN as u64), "each end once");
    let (resident, anonymous) = agent.memory();
    println!("after {CHURN} more: {:.1} MiB resident, of it {:.1} MiB anonymous", mib(resident), mib(anonymous));
    assert!(anonymous <= ANONYMOUS_WHEN_IDLE + FULL_STORES, "{anonymous} bytes anonymous after the churn");
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[test]
fn what_the_api_server_refuses_is_told_with_its_remedy_and_the_agent_goes_on() {
    for (code, remedy) in
        [(401, "look at the service account, or at what KUBECONFIG names"), (403, "grant the service account `list` and `watch` on pods")]
    {
        let server = ApiServer::start(Some(code), Vec::new());
        let mut agent = Agent::start(Some(&server.kubeconfig()));
        let detail = agent.pods_are("unreadable");
        assert!(detail.contains(remedy), "{code}: {detail}");
        assert!(agent.get("/healthz").is_some_and(|answer| answer.contains("ok")), "{code}");
    }
}

#[test]
fn a_node_that_has_another_name_in_the_cluster_is_told() {
    let server = ApiServer::start(None, Vec::new());
    let detail = Agent::start(Some(&server.kubeconfig())).pods_are("up");
    assert!(detail.contains("no pod on a node named n1") && detail.contains("--node-name"), "{detail}");
}

#[test]
fn a_kubeconfig_that_is_none_is_told() {
    let detail = Agent::start(Some("nothing: here")).pods_are("failing");
    assert!(detail.contains("correct the file that KUBECONFIG names"), "{detail}");
}

#[test]
fn without_a_cluster_that_is_said_once_and_the_rest_works() {
    let mut agent = Agent::start(None);
    agent.eventually(|agent| agent.get("/healthz").filter(|answer| answer.contains("ok")).ok_or_else(|| "not alive".to_owned()));
    std::thread::sleep(Duration::from_secs(3));
    let said = agent.log.lock().expect("lock").clone();
    assert_eq!(said.matches("not in a cluster").count(), 1, "{said}");
}

#[test]
fn forty_containers_without_ids_are_counted_once_each() {
    let server = ApiServer::start(None, Vec::new());
    let mut agent = Agent::start(Some(&server.kubeconfig()));
    agent.pods_are("up");
    let mut wide = pod(1, 40, &died());
    for status in wide["status"]["containerStatuses"].as_array_mut().expect("statuses") {
        status.as_object_mut().expect("status").remove("containerID");
    }
    (0..3).for_each(|_| server.tells("MODIFIED", &wide));
    let counted = |agent: &Agent| agent.metric("nodewhy_container_terminations_total", &["cause=\"app_error\"", "workload=\"web\""]);
    agent.eventually(|agent| counted(agent).filter(|ends| *ends >= 40).ok_or_else(|| format!("{:?}", counted(agent))));
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(counted(&agent), Some(40));
}
