//! The kubelet's HTTPS API as a source, against a TLS server that answers and refuses in every way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends where it is surprised")]

use nodewhy::{
    config::{KubeletApi, Trust},
    signal::{Body, LayerKind, Signal, SourceName, SourceReport, SourceState},
    sources::{
        self,
        kubelet_api::{self, KubeletApiHandle, Question},
    },
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

const CONFIGZ: &str = r#"{"kubeletconfig":{"evictionHard":{"memory.available":"50Mi"},"logging":{"format":"text","verbosity":0}}}"#;
const PROBES: &str = "# TYPE prober_probe_total counter\nprober_probe_total{container=\"app\",namespace=\"shop\",pod=\"web-0\",pod_uid=\"7145627f-44a7-433c-a896-a8c81a4df533\",probe_type=\"Liveness\",result=\"failed\"} 3\n";

/// What a server does with a request.
#[derive(Clone)]
enum Reply {
    /// As a kubelet does.
    Answer,
    /// It refuses.
    Status(u16),
    /// It sends elsewhere.
    Redirect(String),
    /// It does not stop.
    Endless,
}

/// A server with a certificate of its own authority.
struct Server {
    address: String,
    files: tempfile::TempDir,
    /// The heads of the requests that came.
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(reply: Reply) -> Self {
        Self::named("127.0.0.1", reply).await
    }

    /// One whose certificate is for this name.
    async fn named(name: &str, reply: Reply) -> Self {
        let authority_key = KeyPair::generate().expect("key");
        let mut authority = CertificateParams::new(vec![]).expect("names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).expect("signed").pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().expect("key");
        let certificate = CertificateParams::new(vec![name.to_owned()]).expect("names").signed_by(&key, &issuer).expect("signed");
        let config = ServerConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .expect("certificate");
        let files = tempfile::tempdir().expect("dir");
        fs::write(files.path().join("ca.crt"), authority_pem).expect("file");
        fs::write(files.path().join("token"), "s3cret").expect("file");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = format!("https://{}", listener.local_addr().expect("address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), reply, asked.clone()));
        Self { address, files, asked, task }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// How it is asked by whoever knows its authority.
    fn api(&self) -> KubeletApi {
        let trust = Trust::Authority(self.file("ca.crt"));
        KubeletApi { address: self.address.parse().expect("address"), token_file: self.file("token"), trust }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("lock").clone()
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, reply: Reply, asked: Arc<Mutex<Vec<String>>>) {
    loop {
        let (connection, _) = listener.accept().await.expect("accept");
        let (tls, reply, asked) = (tls.clone(), reply.clone(), asked.clone());
        tokio::spawn(async move {
            // Clients that do not trust it hang up here.
            let Ok(mut connection) = tls.accept(connection).await else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while connection.read_exact(&mut byte).await.is_ok() {
                head.push(byte[0]);
                if head.ends_with(b"\r\n\r\n") {
                    let text = String::from_utf8_lossy(&head).to_lowercase();
                    let body = if text.starts_with("get /configz ") { CONFIGZ } else { PROBES };
                    asked.lock().expect("lock").push(text);
                    head.clear();
                    let answer = match &reply {
                        Reply::Answer => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
                        Reply::Status(status) => format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n"),
                        Reply::Redirect(to) => format!("HTTP/1.1 302 Found\r\nlocation: {to}/configz\r\ncontent-length: 0\r\n\r\n"),
                        Reply::Endless => "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
                    };
                    if connection.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                    if matches!(reply, Reply::Endless) {
                        while connection.write_all(&[b'x'; 65536]).await.is_ok() {}
                        return;
                    }
                }
            }
        });
    }
}

struct Running {
    handle: KubeletApiHandle,
    signals: mpsc::Receiver<Signal>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    fn start(api: KubeletApi) -> Self {
        let (outlet, signals) = sources::channel();
        let (handle, task) = kubelet_api::spawn(api, outlet);
        Self { handle, signals, task }
    }

    async fn next(&mut self) -> Body {
        timeout(Duration::from_secs(30), self.signals.recv()).await.expect("in time").expect("running").body
    }

    async fn report(&mut self) -> SourceReport {
        loop {
            if let Body::Source(report) = self.next().await {
                assert_eq!(report.source, SourceName::KubeletApi);
                return report;
            }
        }
    }
}

async fn refused(api: KubeletApi) -> SourceReport {
    Running::start(api).report().await
}

#[tokio::test]
async fn a_kubelet_that_is_trusted_is_asked_with_the_token_and_its_answers_are_told() {
    let server = Server::start(Reply::Answer).await;
    let mut running = Running::start(server.api());
    let Body::KubeletConfiguration(configuration) = running.next().await else { panic!("the configuration first") };
    assert_eq!((configuration.verbosity, configuration.eviction.kind), (Some(0), LayerKind::Effective));
    let Body::ProbeCounts(read) = running.next().await else { panic!("then the counts") };
    assert_eq!(read.counts.iter().map(|count| count.failed).collect::<Vec<_>>(), [3]);
    let report = running.report().await;
    assert_eq!(report.state, SourceState::Up, "{}", report.detail);
    let asked = server.asked();
    assert!(asked[0].starts_with("get /configz ") && asked[1].starts_with("get /metrics/probes "), "{asked:?}");
    assert!(
        asked.iter().all(|head| head.contains("authorization: bearer s3cret\r\n") && head.contains("user-agent: nodewhy/")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn questions_out_of_turn_are_few() {
    let server = Server::start(Reply::Answer).await;
    let mut running = Running::start(server.api());
    running.report().await;
    for _ in 0..1000 {
        running.handle.ask(Question::ProbeCounts);
    }
    assert!(matches!(running.next().await, Body::ProbeCounts(_)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.asked().len(), 3, "one for all of them");
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_is_not_trusted() {
    let (server, other) = (Server::start(Reply::Answer).await, Server::start(Reply::Answer).await);
    let elsewhere = Server::named("another-node", Reply::Answer).await;
    let unknown = KubeletApi { trust: Trust::Authority(other.file("ca.crt")), ..server.api() };
    for (server, api) in [(&server, unknown), (&elsewhere, elsewhere.api())] {
        let report = refused(api).await;
        assert_eq!(report.state, SourceState::Unreadable, "{}", report.detail);
        assert!(report.detail.contains("certificate") && report.detail.contains("--kubelet-ca"), "{}", report.detail);
        assert!(report.detail.contains("--kubelet-insecure-skip-verify"), "{}", report.detail);
        assert_eq!(server.asked(), Vec::<String>::new(), "not even a request without the token");
    }
}

#[tokio::test]
async fn whoever_says_so_gives_the_token_to_anybody() {
    let server = Server::named("another-node", Reply::Answer).await;
    let report = refused(KubeletApi { trust: Trust::Anybody, ..server.api() }).await;
    assert_eq!(report.state, SourceState::Up, "{}", report.detail);
    assert!(server.asked()[0].contains("bearer s3cret"));
}

#[tokio::test]
async fn refusals_name_what_is_missing() {
    for (status, state, words) in [
        (401, SourceState::Unreadable, "authentication.webhook.enabled"),
        (403, SourceState::Unreadable, "nodes/configz"),
        (404, SourceState::Absent, "does not offer it"),
        (500, SourceState::Failing, "it answers 500"),
    ] {
        let server = Server::start(Reply::Status(status)).await;
        let report = refused(server.api()).await;
        assert_eq!((report.state, report.detail.contains(words)), (state, true), "{}", report.detail);
        assert_eq!(report.detail.contains("nodes/metrics"), status == 403, "{}", report.detail);
    }
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_told() {
    let server = Server::start(Reply::Answer).await;
    let free = TcpListener::bind("127.0.0.1:0").await.expect("listen").local_addr().expect("address");
    let report = refused(KubeletApi { address: format!("https://{free}").parse().expect("address"), ..server.api() }).await;
    assert_eq!(report.state, SourceState::Failing, "{}", report.detail);
    assert!(report.detail.contains("nothing listens there"), "{}", report.detail);
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    let server = Server::start(Reply::Endless).await;
    let report = refused(server.api()).await;
    assert_eq!(report.state, SourceState::Failing);
    assert!(report.detail.contains("longer than 8 MiB"), "{}", report.detail);
}

#[tokio::test]
async fn the_token_follows_no_redirection() {
    let thief = Server::start(Reply::Answer).await;
    let server = Server::start(Reply::Redirect(thief.address.clone())).await;
    let report = refused(server.api()).await;
    assert!(report.detail.contains("it answers 302"), "{}", report.detail);
    assert_eq!(thief.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn files_that_are_missing_are_named() {
    let server = Server::start(Reply::Answer).await;
    let report = refused(KubeletApi { trust: Trust::Authority("/nonexistent/ca.crt".into()), ..server.api() }).await;
    assert_eq!(report.state, SourceState::Unreadable, "{}", report.detail);
    assert!(report.detail.contains("/nonexistent/ca.crt"), "{}", report.detail);
    let report = refused(KubeletApi { token_file: "/nonexistent/token".into(), ..server.api() }).await;
    assert_eq!(report.state, SourceState::Up, "a kubelet may allow anybody");
    assert!(!server.asked()[0].contains("authorization"), "{:?}", server.asked());
}
