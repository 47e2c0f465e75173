//! One request to the kubelet: verified, authenticated, bounded in time and size.

use crate::{
    config::{KubeletApi, Trust},
    signal::SourceState,
    sources::feed::{Failure, with_causes},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::{Client, client::Body};
use std::{error::Error, time::Duration};

/// A request takes at most this long, from the connection to the last byte.
const WITHIN: Duration = Duration::from_secs(10);

/// The longest answer. `/metrics/probes` has a histogram for each probe, some 2 KiB: 1 MiB for 500 probes.
const LONGEST: usize = 8 << 20;

/// The kubelet of this node.
pub(super) struct KubeletClient {
    api: KubeletApi,
    /// Made at the first request, and anew after one that could not be made: the files that it needs may come later.
    client: Option<Client>,
}

impl KubeletClient {
    pub(super) fn new(api: KubeletApi) -> Self {
        Self { api, client: None }
    }

    pub(super) fn address(&self) -> &str {
        self.api.address.as_str()
    }

    /// Asks for a path. Redirections are not followed: the token is for this server.
    pub(super) async fn get(&mut self, path: &str) -> Result<String, Failure> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(client(&self.api).map_err(|why| self.no_client(&why))?).clone(),
        };
        let url = format!("{}{path}", self.address());
        match tokio::time::timeout(WITHIN, request(&client, path)).await {
            Ok(Ok((200, text))) => Ok(text),
            Ok(Ok((status, _))) => Err(refused(&url, status, path)),
            Ok(Err(error)) => Err(self.broken(&url, &with_causes(error.as_ref()))),
            Err(_) => Err(Failure {
                state: SourceState::Failing,
                why: format!("{url}: no answer within {} s", WITHIN.as_secs()),
                remedy: "is it this node's own address (status.hostIP), and does a network policy let the agent reach it?".into(),
            }),
        }
    }

    fn no_client(&self, why: &str) -> Failure {
        let remedy = match &self.api.trust {
            Trust::Authority(path) => {
                format!(
                    "--kubelet-ca has to name a file of PEM certificates ({}), and --kubelet-token-file one with a token",
                    path.display()
                )
            }
            Trust::Anybody => "--kubelet-token-file has to name a file with a token".into(),
        };
        Failure { state: SourceState::Unreadable, why: format!("{}: cannot be asked: {why}", self.address()), remedy }
    }

    fn broken(&self, url: &str, why: &str) -> Failure {
        let (state, remedy) = if why.contains("certificate") {
            (
                SourceState::Unreadable,
                "the token was not sent; name the authority that signed the kubelet's serving certificate with --kubelet-ca; a kubelet without serverTLSBootstrap signs its own, which only --kubelet-insecure-skip-verify accepts",
            )
        } else if why.contains("onnection refused") {
            (
                SourceState::Failing,
                "nothing listens there: the kubelet is down, or --kubelet-api names another address or port than its own",
            )
        } else {
            (SourceState::Failing, "it is asked again; --kubelet-api has to name the kubelet of this node")
        };
        Failure { state, why: format!("{url}: {why}"), remedy: remedy.into() }
    }
}

fn client(api: &KubeletApi) -> Result<Client, String> {
    let mut config = kube::Config::new(api.address.as_str().parse().map_err(|error| format!("{error}"))?);
    config.default_retry = false;
    config.connect_timeout = Some(WITHIN);
    // Never the system's authorities: anyone can have a certificate of theirs.
    config.root_cert = Some(Vec::new());
    match &api.trust {
        Trust::Authority(path) => config.root_cert_file = Some(path.clone()),
        Trust::Anybody => config.accept_invalid_certs = true,
    }
    if api.token_file.exists() {
        config.auth_info.token_file = api.token_file.to_str().map(str::to_owned);
    }
    let agent = concat!("nodewhy/", env!("CARGO_PKG_VERSION")).parse().map_err(|error| format!("{error}"))?;
    config.headers.push((http::header::USER_AGENT, agent));
    Client::try_from(config).map_err(|error| with_causes(&error))
}

type AnyError = Box<dyn Error + Send + Sync>;

async fn request(client: &Client, path: &str) -> Result<(u16, String), AnyError> {
    let request = http::Request::get(path).body(Body::empty())?;
    let answer = client.send(request).await?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { format!("the answer is longer than {} MiB", LONGEST >> 20).into() } else { error }
    })?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

fn refused(url: &str, status: u16, path: &str) -> Failure {
    let (state, remedy) = match status {
        401 => (
            SourceState::Unreadable,
            "the kubelet does not accept the token: it needs authentication.webhook.enabled, and --kubelet-token-file a token of this cluster".into(),
        ),
        403 if path == super::configz::PATH => (
            SourceState::Unreadable,
            "grant the service account `get` on nodes/configz (Kubernetes 1.33); an older kubelet asks for nodes/proxy, which is not worth it".into(),
        ),
        403 => (SourceState::Unreadable, "grant the service account `get` on nodes/metrics".into()),
        404 => (SourceState::Absent, "this kubelet does not offer it (enableDebuggingHandlers, or a version before 1.18)".to_owned()),
        _ => (SourceState::Failing, "it is asked again".into()),
    };
    Failure { state, why: format!("{url}: it answers {status}"), remedy }
}
