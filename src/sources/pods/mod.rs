//! The pods of this node, from the API server: one watch, slim records.
//!
//! Flows in: the API server's objects. Flows out: [`PodUpdate`]s. A Pod object costs some 50 kB of
//! heap, so each is turned into its record and dropped as it arrives. Works without the API
//! server: what was learnt stays, the source says that it is down, and tries again with jitter.

mod record;

use super::{Outlet, Stopped};
use crate::signal::{Body, PodSnapshot, PodUpdate, SourceName, SourceReport, SourceState};
use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use std::{path::Path, time::Duration};

/// Where a pod finds its service account (Kubernetes mounts it there in every version).
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The agents of a cluster that start together ask the API server within this time, each at its own moment.
const START_SPREAD: Duration = Duration::from_secs(2);

/// The longest wait for a client. The watch itself waits 0.8 to 30 s and as much again by chance, so
/// that after an outage the agents of a cluster come back spread over a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Whether this process runs in a pod that may talk to the API server.
pub fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(SERVICE_ACCOUNT).exists()
}

/// Whether an API server is named: by the pod that this process runs in, or by `KUBECONFIG`. A
/// configuration in somebody's home directory is not meant for an agent.
pub fn is_configured() -> bool {
    in_cluster() || std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty())
}

/// Follows the pods of `node` until the agent stops.
pub async fn watch(node: String, outlet: Outlet) {
    tokio::time::sleep(start_delay(&node)).await;
    let mut wait = Duration::from_secs(1);
    loop {
        match client().await {
            Ok(client) => {
                return follow(client, node, in_cluster(), outlet).await;
            }
            Err(error) => {
                let detail = format!("no client for the API server: {error}; correct the file that KUBECONFIG names");
                if report(&outlet, SourceState::Failing, detail).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn follow(client: Client, node: String, is_pod: bool, outlet: Outlet) {
    let events = events(client, &node);
    let mut watch = Watch { outlet, listed: Vec::new(), told: None, node, is_pod };
    // The only error is that nobody listens any more.
    let _ = watch.follow(events).await;
}

async fn client() -> anyhow::Result<Client> {
    named(kube::Config::infer().await?)
}

/// A client that says who it is, so that an API server's operators can tell.
fn named(mut config: kube::Config) -> anyhow::Result<Client> {
    config.headers.push(("user-agent".parse()?, concat!("nodewhy/", env!("CARGO_PKG_VERSION")).parse()?));
    Ok(Client::try_from(config)?)
}

type PodEvent = Result<Event<DeserializeGuard<Pod>>, watcher::Error>;

fn events(client: Client, node: &str) -> BoxStream<'static, PodEvent> {
    // Resource version 0 is answered from the API server's cache: thousands of agents that list at
    // once after an outage must not reach etcd.
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}")).any_semantic();
    watcher::watcher(Api::<DeserializeGuard<Pod>>::all(client), config).default_backoff().boxed()
}

struct Watch {
    outlet: Outlet,
    listed: Vec<crate::signal::PodRecord>,
    told: Option<SourceState>,
    node: String,
    /// Whether the agent is itself a pod of this node, so that a list of its pods cannot be empty.
    is_pod: bool,
}

impl Watch {
    async fn follow(&mut self, mut events: BoxStream<'static, PodEvent>) -> Result<(), Stopped> {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event).await?,
                Err(error) => self.failed(&error).await?,
            }
        }
        Ok(())
    }

    async fn take(&mut self, event: Event<DeserializeGuard<Pod>>) -> Result<(), Stopped> {
        let update = match event {
            Event::Init => {
                self.listed.clear();
                return Ok(());
            }
            Event::InitApply(pod) => {
                self.listed.extend(slim(pod));
                return Ok(());
            }
            Event::InitDone if self.listed.is_empty() && self.is_pod => {
                let detail = format!(
                    "API server: it has no pod on a node named {}, though the agent is one; give the node's name with --node-name or NODE_NAME",
                    self.node
                );
                return self.report(SourceState::Failing, detail).await;
            }
            Event::InitDone => Some(PodUpdate::Listed(PodSnapshot { pods: std::mem::take(&mut self.listed) })),
            Event::Apply(pod) => slim(pod).map(|pod| PodUpdate::Changed { pod: Box::new(pod), deleted: false }),
            Event::Delete(pod) => slim(pod).map(|pod| PodUpdate::Changed { pod: Box::new(pod), deleted: true }),
        };
        self.report(SourceState::Up, format!("API server: pods of node {}", self.node)).await?;
        match update {
            Some(update) => self.outlet.send_async(Body::Pods(update)).await,
            None => Ok(()),
        }
    }

    async fn failed(&mut self, error: &watcher::Error) -> Result<(), Stopped> {
        let (state, remedy) = match refusal(error) {
            Some(401) => (
                SourceState::Unreadable,
                "; the token or certificate is not accepted: look at the service account, or at what KUBECONFIG names",
            ),
            Some(403) => (SourceState::Unreadable, "; grant the service account `list` and `watch` on pods"),
            _ => (SourceState::Failing, "; what is known of pods stays, new ones are named by the log directory"),
        };
        self.report(state, format!("API server: {}{remedy}", chain(error))).await
    }

    async fn report(&mut self, state: SourceState, detail: String) -> Result<(), Stopped> {
        if self.told.replace(state) == Some(state) {
            return Ok(());
        }
        report(&self.outlet, state, detail).await
    }
}

/// The status with which the API server refused to answer, if it did.
fn refusal(error: &watcher::Error) -> Option<u16> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => Some(status.code),
        WatchError(status) => Some(status.code),
        _ => None,
    }
}

async fn report(outlet: &Outlet, state: SourceState, detail: String) -> Result<(), Stopped> {
    outlet.send_async(Body::Source(SourceReport { source: SourceName::Pods, state, detail })).await
}

/// An object that does not read as a pod is told in the log and left out: one bad object must not
/// stop the watch.
fn slim(pod: DeserializeGuard<Pod>) -> Option<crate::signal::PodRecord> {
    match pod.0 {
        Ok(pod) => Some(record::slim(pod)),
        Err(error) => {
            tracing::warn!(pod = error.metadata.name.as_deref().unwrap_or_default(), %error, "a pod object cannot be read; it is left out");
            None
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Each node's own moment, the same at every start, so that a test of a fleet is repeatable.
fn start_delay(node: &str) -> Duration {
    let sum = node.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    START_SPREAD.mul_f64(f64::from(sum % 1000) / 1000.0)
}

#[cfg(test)]
mod tests;
