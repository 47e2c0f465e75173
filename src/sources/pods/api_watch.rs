//! The API server as a source of pods: one list and one watch of this node's pods.

use super::{
    object::{Unreadable, Watched},
    pace::paced,
    source::{PodEvent, PodSource, PodSourceFailure},
};
use crate::{
    signal::{PodRecord, SourceState},
    sources::feed::with_causes,
};
use futures::{StreamExt, future, stream::BoxStream};
use kube::{
    Api, Client,
    runtime::watcher::{self, Event},
};

/// A client of the API server.
pub struct ApiWatch {
    client: Client,
}

impl ApiWatch {
    /// A client for the cluster that this process runs in, or that `KUBECONFIG` names.
    ///
    /// # Errors
    /// The configuration cannot be read or is incomplete.
    pub async fn infer() -> anyhow::Result<Self> {
        Self::of(kube::Config::infer().await?)
    }

    /// A client that says who it is, so that an API server's operators can tell.
    pub(super) fn of(mut config: kube::Config) -> anyhow::Result<Self> {
        config.headers.push(("user-agent".parse()?, concat!("nodewhy/", env!("CARGO_PKG_VERSION")).parse()?));
        Ok(Self { client: Client::try_from(config)? })
    }
}

impl PodSource for ApiWatch {
    const NAME: &'static str = "API server";

    fn pods_of(self, node: &str) -> BoxStream<'static, Result<PodEvent, PodSourceFailure>> {
        // Resource version 0 is answered from the API server's cache: thousands of agents that list at
        // once after an outage must not reach etcd.
        let config = watcher::Config::default().fields(&format!("spec.nodeName={node}")).any_semantic();
        let events = paced(watcher::watcher(Api::<Watched>::all(self.client), config));
        events.filter_map(|event| future::ready(told(event))).boxed()
    }
}

fn told(event: Result<Event<Watched>, watcher::Error>) -> Option<Result<PodEvent, PodSourceFailure>> {
    let event = match event {
        Ok(Event::Init) => PodEvent::ListBegins,
        Ok(Event::InitApply(pod)) => PodEvent::Listed(readable(pod)?),
        Ok(Event::InitDone) => PodEvent::ListEnds,
        Ok(Event::Apply(pod)) => PodEvent::Changed(readable(pod)?),
        Ok(Event::Delete(pod)) => PodEvent::Gone(readable(pod)?),
        Err(error) => return Some(Err(failure(&error))),
    };
    Some(Ok(event))
}

/// An object that does not read as a pod is told in the log and left out.
fn readable(pod: Watched) -> Option<PodRecord> {
    let told = |Unreadable { name, error }| tracing::warn!(pod = name, error, "a pod object cannot be read; it is left out");
    pod.record.map_err(told).ok()
}

fn failure(error: &watcher::Error) -> PodSourceFailure {
    let (state, remedy) = match refusal(error) {
        Some(401) => (
            SourceState::Unreadable,
            "; the token or certificate is not accepted: look at the service account, or at what KUBECONFIG names",
        ),
        Some(403) => (SourceState::Unreadable, "; grant the service account `list` and `watch` on pods"),
        _ => (SourceState::Failing, "; what is known of pods stays, new ones are named by the log directory"),
    };
    PodSourceFailure { state, detail: format!("{}: {}{remedy}", ApiWatch::NAME, with_causes(error)) }
}

/// The status with which the API server refused to answer, if it did.
pub(super) fn refusal(error: &watcher::Error) -> Option<u16> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => Some(status.code),
        WatchError(status) => Some(status.code),
        _ => None,
    }
}
