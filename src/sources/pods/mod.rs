//! The pods of this node: one source that tells them, slim records.
//!
//! Flows in: what a [`PodSource`] tells; the one there is asks the API server (`api_watch`). Flows out:
//! [`PodUpdate`]s. Of a Pod object only what is needed is read (`object`) and made a record (`record`). Works without the
//! API server: what was learnt stays, the source says that it is down, and tries again with jitter (`pace`).

mod api_watch;
mod object;
mod pace;
mod record;
mod source;

use super::{Outlet, Stopped};
use crate::signal::{Body, PodRecord, PodSnapshot, PodUpdate, SourceName, SourceReport, SourceState};
use api_watch::ApiWatch;
use futures::StreamExt;
use source::{PodEvent, PodSource};
use std::{path::Path, time::Duration};

/// Where a pod finds its service account (Kubernetes mounts it there in every version).
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The agents of a cluster that start together ask the API server within this time, each at its own moment.
const START_SPREAD: Duration = Duration::from_secs(2);

/// The longest wait for a client. How long the watch itself waits is in `pace`.
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
        match ApiWatch::infer().await {
            Ok(source) => {
                return follow(source, node, in_cluster(), outlet).await;
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

async fn follow<S: PodSource>(source: S, node: String, is_pod: bool, outlet: Outlet) {
    let mut events = source.pods_of(&node);
    let mut follower = Follower { outlet, source: S::NAME, node, is_pod, listed: Vec::new(), told: None };
    while let Some(event) = events.next().await {
        let taken = match event {
            Ok(event) => follower.take(event).await,
            Err(failure) => follower.report(failure.state, failure.detail).await,
        };
        // The only error is that nobody listens any more.
        if taken.is_err() {
            return;
        }
    }
}

/// Turns what a source tells into updates and reports.
struct Follower {
    outlet: Outlet,
    source: &'static str,
    node: String,
    /// Whether the agent is itself a pod of this node, so that a list of its pods cannot be empty.
    is_pod: bool,
    listed: Vec<PodRecord>,
    told: Option<SourceState>,
}

impl Follower {
    async fn take(&mut self, event: PodEvent) -> Result<(), Stopped> {
        let update = match event {
            PodEvent::ListBegins => {
                self.listed.clear();
                return Ok(());
            }
            PodEvent::Listed(pod) => {
                self.listed.push(pod);
                return Ok(());
            }
            PodEvent::ListEnds if self.listed.is_empty() && self.is_pod => {
                let detail = format!("{}, though the agent is one; give the node's name with --node-name or NODE_NAME", self.no_pod());
                return self.report(SourceState::Failing, detail).await;
            }
            PodEvent::ListEnds if self.listed.is_empty() => {
                let detail = format!("{}; if it has another name in the cluster, give it with --node-name or NODE_NAME", self.no_pod());
                self.report(SourceState::Up, detail).await?;
                PodUpdate::Listed(PodSnapshot::default())
            }
            PodEvent::ListEnds => PodUpdate::Listed(PodSnapshot { pods: std::mem::take(&mut self.listed) }),
            PodEvent::Changed(pod) => PodUpdate::Changed { pod: Box::new(pod), deleted: false },
            PodEvent::Gone(pod) => PodUpdate::Changed { pod: Box::new(pod), deleted: true },
        };
        self.report(SourceState::Up, format!("{}: pods of node {}", self.source, self.node)).await?;
        self.outlet.send_async(Body::Pods(update)).await
    }

    fn no_pod(&self) -> String {
        format!("{}: it has no pod on a node named {}", self.source, self.node)
    }

    async fn report(&mut self, state: SourceState, detail: String) -> Result<(), Stopped> {
        if self.told.replace(state) == Some(state) {
            return Ok(());
        }
        report(&self.outlet, state, detail).await
    }
}

async fn report(outlet: &Outlet, state: SourceState, detail: String) -> Result<(), Stopped> {
    outlet.send_async(Body::Source(SourceReport { source: SourceName::Pods, state, detail })).await
}

/// Each node's own moment, the same at every start, so that a test of a fleet is repeatable.
fn start_delay(node: &str) -> Duration {
    let sum = node.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    START_SPREAD.mul_f64(f64::from(sum % 1000) / 1000.0)
}

#[cfg(test)]
mod tests;
