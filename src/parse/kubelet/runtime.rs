//! The container runtime: its calls, its network, and the loops of the kubelet that depend on it.
//!
//! Sources: `pkg/kubelet/cri/remote/remote_runtime.go` (from 1.31 `cri-client`), `pkg/kubelet/pleg`,
//! `pkg/kubelet/kubelet.go`, `pkg/kubelet/kuberuntime`.

use super::said::{Said, between};
use super::situation::{CriCall, NotReady, Observation, Situation};
use super::subject::{Subject, container_id};
use super::{duration, image};

/// Reads a line about the runtime.
pub fn observe(said: &Said<'_, '_>) -> Option<Observation> {
    blocked(said).or_else(|| network(said)).or_else(|| call(said)).or_else(|| sandbox(said)).or_else(|| identity(said))
}

/// `Skipping pod synchronization`, at most every 5 s while it lasts.
fn blocked(said: &Said<'_, '_>) -> Option<Observation> {
    if said.begins(&["Skipping pod synchronization"]) {
        let error = said.error();
        let pleg_age = between(error, "pleg was last seen active ", " ago").and_then(duration::leading);
        return Some(said.observation(Situation::SyncBlocked { causes: NotReady::of(error), pleg_age }));
    }
    if said.begins(&["GenericPLEG: Unable to retrieve pods"]) {
        return Some(called(said, Situation::RelistFailed, CriCall::Survey));
    }
    if said.begins(&["Container runtime sanity check failed", "Container runtime status is nil", "Container runtime not ready"]) {
        return Some(said.observation(Situation::CriCallFailed { call: CriCall::Survey, unreachable: true }));
    }
    None
}

fn network(said: &Said<'_, '_>) -> Option<Observation> {
    let named = said.begins(&["Container runtime network not ready", "Unable to update cni config"]);
    named.then(|| said.about(Subject::default(), Situation::NetworkNotReady))
}

/// `RunPodSandbox from runtime service failed`, `PullImage "x" from image service failed: …`.
fn call(said: &Said<'_, '_>) -> Option<Observation> {
    let message = said.message();
    let at = message.find(" from runtime service failed").or_else(|| message.find(" from image service failed"))?;
    let call = match message.get(..at)?.split([' ', '"']).next()? {
        "RunPodSandbox" => CriCall::RunPodSandbox,
        "StopPodSandbox" | "RemovePodSandbox" => CriCall::StopPodSandbox,
        "CreateContainer" => CriCall::CreateContainer,
        "StartContainer" => CriCall::StartContainer,
        "StopContainer" | "RemoveContainer" => CriCall::StopContainer,
        "ExecSync" => CriCall::ExecSync,
        "PullImage" => CriCall::PullImage,
        "ContainerStatus"
        | "PodSandboxStatus"
        | "ImageStatus"
        | "ContainerStats"
        | "RemoveImage"
        | "UpdateContainerResources"
        | "ReopenContainerLog" => CriCall::ContainerStatus,
        _ => CriCall::Survey,
    };
    let unreachable = is_unreachable(said.error());
    if call == CriCall::PullImage && !unreachable {
        return Some(image::pull_call(said));
    }
    Some(called(said, Situation::CriCallFailed { call, unreachable }, call))
}

/// An observation without the arguments of the call, which for `ExecSync` are a command.
fn called(said: &Said<'_, '_>, situation: Situation, call: CriCall) -> Observation {
    let container_id = said.record().text_of("containerID").and_then(|id| container_id(&id)).or_else(|| container_id(said.message()));
    let subject = Subject { container_id, ..said.subject() };
    if is_unreachable(said.error()) && matches!(situation, Situation::RelistFailed) {
        return said.about(subject, Situation::CriCallFailed { call, unreachable: true });
    }
    if call != CriCall::ExecSync {
        return said.about(subject, situation);
    }
    let error = said.error().find("rpc error").and_then(|at| said.error().get(at..)).unwrap_or("");
    said.quoting(&format!("ExecSync from runtime service failed: {error}"), subject, situation)
}

/// Whether the runtime did not answer at all, as opposed to refusing one request. Sockets of network
/// and storage plugins can be gone as well, so the runtime's must be named.
pub fn is_unreachable(error: &str) -> bool {
    const SOCKETS: [&str; 5] = ["containerd.sock", "docker.sock", "dockershim.sock", "crio.sock", "cri-dockerd.sock"];
    const GONE: [&str; 6] =
        ["connection refused", "no such file or directory", "connection reset", "broken pipe", "transport is closing", "Cannot connect"];
    let socket = SOCKETS.iter().any(|word| error.contains(word)) && GONE.iter().any(|word| error.contains(word));
    socket || error.contains("Cannot connect to the Docker daemon") || error.contains("transport is closing")
}

/// Any other line with a runtime that does not answer.
pub fn unreachable(said: &Said<'_, '_>) -> Option<Observation> {
    let situation = Situation::CriCallFailed { call: CriCall::Survey, unreachable: true };
    is_unreachable(said.error()).then(|| said.observation(situation))
}

/// The pod's sandbox: making it, and having to make it again.
fn sandbox(said: &Said<'_, '_>) -> Option<Observation> {
    const FAILED: [&str; 5] = [
        "Failed to create sandbox for pod",
        "CreatePodSandbox for pod",
        "Failed to stop sandbox",
        "KillPodSandbox for pod",
        "SetUpPod failed",
    ];
    const CHANGED: [&str; 4] = [
        "No ready sandbox for pod",
        "Sandbox for pod has changed",
        "Sandbox for pod has no IP address",
        "Multiple sandboxes are ready for Pod",
    ];
    // `Error adding ns_name/id to network x: reason` of the plugin manager (until 1.23), before the call's own error.
    if said.begins(&["Error adding", "Error while adding to cni network"]) && said.tells("network") {
        let names = said.after("Error adding ").and_then(|rest| rest.split_once('/')?.0.split_once('_'));
        let pod = names.map(|(namespace, name)| format!("{namespace}/{name}")).and_then(|path| Subject::of_path(&path));
        return Some(said.about(pod.unwrap_or_default(), Situation::SandboxFailed));
    }
    if said.begins(&FAILED) {
        let unreachable = is_unreachable(said.error());
        let situation =
            if unreachable { Situation::CriCallFailed { call: CriCall::RunPodSandbox, unreachable } } else { Situation::SandboxFailed };
        return Some(said.observation(situation));
    }
    said.begins(&CHANGED).then(|| said.observation(Situation::SandboxChanged))
}

fn identity(said: &Said<'_, '_>) -> Option<Observation> {
    let rest = said.after("Container runtime")?;
    let rest = rest.trim_start();
    if !rest.starts_with("initialized") && !rest.contains(" initialized, version:") {
        return None;
    }
    let text = |key| said.record().text_of(key).map(|text| text.trim_start_matches('v').to_owned());
    let name = text("containerRuntime").or_else(|| rest.split(' ').next().filter(|name| *name != "initialized").map(str::to_owned));
    let version = text("version").or_else(|| between(rest, "version: ", ",").map(|text| text.trim_start_matches('v').to_owned()));
    Some(said.observation(Situation::RuntimeVersion { name, version }))
}

/// k3s and its kin print this themselves, without klog: `containerd: signal: killed`, and since 1.23
/// `containerd exited: signal: killed` (k3s `pkg/agent/containerd/containerd.go`).
pub fn embedded_runtime_ended(text: &str) -> Option<Situation> {
    let said = text.strip_prefix("containerd: ").or_else(|| text.strip_prefix("containerd exited: "))?;
    (said.starts_with("signal: ") || said.starts_with("exit status")).then_some(Situation::EmbeddedRuntimeEnded)
}

/// Whether a call that failed is a lookup of something that is already gone: noise of every cleanup.
pub fn is_lookup_of_gone(call: CriCall, said: &str) -> bool {
    let gone =
        said.contains("NotFound") || said.contains("not found") || said.contains("No such container") || said.contains("does not exist");
    gone && matches!(call, CriCall::ContainerStatus | CriCall::StopContainer | CriCall::StopPodSandbox | CriCall::ExecSync)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::klog::KlogRecord;
    use std::time::Duration;

    fn observed(text: &str) -> Option<Observation> {
        let line = format!("E0307 04:05:06.1 1 a.go:1] {text}");
        observe(&Said::of(&KlogRecord::parse(&line)).expect("klog"))
    }

    fn situation(text: &str) -> Option<Situation> {
        observed(text).map(|found| found.situation)
    }

    #[test]
    fn a_blocked_loop_of_every_generation() {
        let pleg = NotReady { pleg: true, ..NotReady::default() };
        let expected = Some(Situation::SyncBlocked { causes: pleg, pleg_age: Some(Duration::from_secs(185)) });
        assert_eq!(
            situation(
                "\"Skipping pod synchronization\" err=\"PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s\""
            ),
            expected
        );
        assert_eq!(
            situation("skipping pod synchronization - PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s."),
            expected
        );
        let Some(Situation::SyncBlocked { causes, .. }) = situation(
            "skipping pod synchronization - [container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]",
        ) else {
            panic!("not blocked")
        };
        assert_eq!(causes, NotReady { starting: true, ..NotReady::default() });
    }

    #[test]
    fn calls_and_whether_the_runtime_answered() {
        let call = |call, unreachable| Some(Situation::CriCallFailed { call, unreachable });
        assert_eq!(
            situation("\"RunPodSandbox from runtime service failed\" err=\"rpc error: code = Unknown desc = failed to setup network\""),
            call(CriCall::RunPodSandbox, false)
        );
        assert_eq!(
            situation(
                "ListPodSandbox with filter nil from runtime service failed: rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing dial unix /run/containerd/containerd.sock: connect: connection refused\""
            ),
            call(CriCall::Survey, true)
        );
        assert_eq!(
            situation(
                "GenericPLEG: Unable to retrieve pods: rpc error: code = Unknown desc = Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
            ),
            call(CriCall::Survey, true)
        );
        assert_eq!(
            situation(
                "\"GenericPLEG: Unable to retrieve pods\" err=\"rpc error: code = DeadlineExceeded desc = context deadline exceeded\""
            ),
            Some(Situation::RelistFailed)
        );
    }

    #[test]
    fn the_command_of_an_exec_is_not_kept() {
        let id = "ab".repeat(32);
        for text in [
            format!(
                "\"ExecSync cmd from runtime service failed\" err=\"rpc error: code = DeadlineExceeded desc = timeout 1s exceeded\" containerID=\"{id}\" cmd=[\"sh\",\"-c\",\"hunter2\"]"
            ),
            format!(
                "ExecSync {id} 'sh -c hunter2' from runtime service failed: rpc error: code = DeadlineExceeded desc = timeout 1s exceeded"
            ),
        ] {
            let found = observed(&text).expect("call");
            assert!(found.said.as_str().contains("timeout 1s exceeded") && !found.said.as_str().contains("hunter2"), "{}", found.said);
            assert!(found.subject.container_id.is_some());
        }
    }

    #[test]
    fn the_runtime_names_itself() {
        let expected = Some(Situation::RuntimeVersion { name: Some("containerd".into()), version: Some("1.7.1".into()) });
        assert_eq!(
            situation("\"Container runtime initialized\" containerRuntime=\"containerd\" version=\"v1.7.1\" apiVersion=\"v1\""),
            expected
        );
        assert_eq!(situation("Container runtime containerd initialized, version: v1.7.1, apiVersion: v1"), expected);
    }

    #[test]
    fn sandboxes_and_networks() {
        assert_eq!(situation("\"Failed to create sandbox for pod\" err=\"x\" pod=\"ns/a\""), Some(Situation::SandboxFailed));
        assert_eq!(situation("CreatePodSandbox for pod \"a_ns(x)\" failed: rpc error"), Some(Situation::SandboxFailed));
        let plugin = observed("Error adding ns_web-0/0f3a to network cbr0: open /run/x: no such file or directory").expect("plugin");
        assert_eq!((plugin.situation, plugin.subject.path().as_deref()), (Situation::SandboxFailed, Some("ns/web-0")));
        assert_eq!(situation("Error adding network: open /run/x: no such file or directory"), Some(Situation::SandboxFailed));
        assert_eq!(
            situation("\"No ready sandbox for pod can be found. Need to start a new one\" pod=\"ns/a\""),
            Some(Situation::SandboxChanged)
        );
        assert_eq!(situation("Container runtime network not ready: NetworkReady=false"), Some(Situation::NetworkNotReady));
        assert_eq!(situation("\"No sandbox for pod can be found. Need to start a new one\" pod=\"ns/a\""), None, "every new pod");
    }

    #[test]
    fn an_embedded_runtime_that_was_killed() {
        assert_eq!(embedded_runtime_ended("containerd: signal: killed"), Some(Situation::EmbeddedRuntimeEnded));
        assert_eq!(embedded_runtime_ended("containerd: /usr/bin/containerd"), None);
    }
}
