//! From the API server's Pod to the slim record.

use super::object::{Amounts, Container, ContainerStatus, Metadata, Pod, Probe, Resources, Spec, State, Status, Terminated};
use crate::{
    model::{Bytes, quantity},
    signal::{ContainerKind, ContainerRecord, ContainerState, Owner, PodRecord, ProbeRule, RestartPolicy, TerminatedState, WaitingState},
};
use jiff::Timestamp;

/// Messages are cut to this many bytes: the kubelet allows 4 KiB, a sentence needs less.
const LONGEST_MESSAGE: usize = 1024;

/// Takes what explaining a death needs.
pub fn slim(pod: Pod) -> PodRecord {
    let Pod { metadata, spec, status } = pod;
    let containers = containers(&spec, &status);
    PodRecord {
        static_hash: static_hash(&metadata),
        owner: owner(&metadata),
        template_hash: metadata.labels.and_then(|labels| labels.template_hash),
        uid: metadata.uid.unwrap_or_default(),
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        phase: status.phase,
        reason: status.reason,
        message: status.message.map(cut),
        qos: status.qos_class,
        restart_policy: match spec.restart_policy.as_deref() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        },
        grace_seconds: metadata
            .deletion_grace_period_seconds
            .or(spec.termination_grace_period_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok()),
        created: time(metadata.creation_timestamp),
        deletion: time(metadata.deletion_timestamp),
        memory_limit: spec.resources.as_ref().and_then(|resources| memory(resources.limits.as_ref())),
        containers,
    }
}

fn static_hash(metadata: &Metadata) -> Option<String> {
    let annotations = metadata.annotations.as_ref()?;
    let mirror = annotations.mirror.as_ref()?;
    annotations.hash.as_ref().or(Some(mirror)).cloned()
}

fn owner(metadata: &Metadata) -> Option<Owner> {
    let owners = metadata.owner_references.as_deref()?;
    let controller = owners.iter().find(|owner| owner.controller == Some(true)).or(owners.first())?;
    (controller.kind != "Node").then(|| Owner { kind: controller.kind.clone(), name: controller.name.clone() })
}

fn containers(spec: &Spec, status: &Status) -> Vec<ContainerRecord> {
    let init = spec.init_containers.iter().flatten().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        let kind = if sidecar { ContainerKind::Sidecar } else { ContainerKind::Init };
        of_container(container, kind, status.init_container_statuses.as_deref())
    });
    let app =
        spec.containers.iter().flatten().map(|container| of_container(container, ContainerKind::App, status.container_statuses.as_deref()));
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| {
        let record = ContainerRecord {
            name: container.name.clone(),
            kind: ContainerKind::Ephemeral,
            image: container.image.clone().unwrap_or_default(),
            ..ContainerRecord::default()
        };
        with_status(record, status.ephemeral_container_statuses.as_deref())
    });
    init.chain(app).chain(ephemeral).collect()
}

fn of_container(container: &Container, kind: ContainerKind, statuses: Option<&[ContainerStatus]>) -> ContainerRecord {
    let resources = container.resources.as_ref();
    let record = ContainerRecord {
        name: container.name.clone(),
        kind,
        image: container.image.clone().unwrap_or_default(),
        memory_limit: resources.and_then(|resources| memory(resources.limits.as_ref())),
        memory_request: resources.and_then(request),
        liveness_probe: container.liveness_probe.is_some(),
        startup_probe: container.startup_probe.is_some(),
        liveness_rule: container.liveness_probe.as_ref().map(rule),
        startup_rule: container.startup_probe.as_ref().map(rule),
        ..ContainerRecord::default()
    };
    with_status(record, statuses)
}

/// The API server fills in what is not given; the defaults here are its own (core/v1, `Probe`).
fn rule(probe: &Probe) -> ProbeRule {
    let or = |given: Option<i32>, default| given.and_then(|given| u64::try_from(given).ok()).filter(|given| *given > 0).unwrap_or(default);
    ProbeRule {
        delay_seconds: or(probe.initial_delay_seconds, 0),
        period_seconds: or(probe.period_seconds, 10),
        timeout_seconds: or(probe.timeout_seconds, 1),
        failure_threshold: or(probe.failure_threshold, 3),
    }
}

/// A request that is not given is the limit (the API server's own default).
fn request(resources: &Resources) -> Option<Bytes> {
    memory(resources.requests.as_ref()).or_else(|| memory(resources.limits.as_ref()))
}

fn memory(amounts: Option<&Amounts>) -> Option<Bytes> {
    quantity::bytes(amounts?.memory.as_ref()?)
}

fn with_status(mut record: ContainerRecord, statuses: Option<&[ContainerStatus]>) -> ContainerRecord {
    let Some(status) = statuses.and_then(|statuses| statuses.iter().find(|status| status.name == record.name)) else { return record };
    record.container_id = status.container_id.clone().filter(|id| !id.is_empty());
    record.restart_count = status.restart_count;
    record.state = status.state.as_ref().and_then(state);
    record.last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()).map(terminated);
    record
}

fn state(state: &State) -> Option<ContainerState> {
    if let Some(running) = &state.running {
        return Some(ContainerState::Running { started: time(running.started_at) });
    }
    if let Some(ended) = &state.terminated {
        return Some(ContainerState::Terminated(terminated(ended)));
    }
    let waiting = state.waiting.as_ref()?;
    Some(ContainerState::Waiting(WaitingState { reason: waiting.reason.clone(), message: waiting.message.clone().map(cut) }))
}

fn terminated(state: &Terminated) -> TerminatedState {
    TerminatedState {
        exit_code: state.exit_code,
        reason: state.reason.clone(),
        message: state.message.clone().map(cut),
        started: time(state.started_at),
        finished: time(state.finished_at),
        container_id: state.container_id.clone().filter(|id| !id.is_empty()),
    }
}

/// A time before 1971 is how Go writes that there is none.
fn time(time: Option<Timestamp>) -> Option<Timestamp> {
    const A_YEAR: i64 = 31_536_000;
    time.filter(|time| time.as_second() > A_YEAR)
}

fn cut(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        let end = message.floor_char_boundary(LONGEST_MESSAGE);
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_explaining_needs_is_kept() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "etcd-n1", "namespace": "kube-system", "uid": "7145627f-44a7-433c-a896-a8c81a4df533",
                "annotations": {"kubernetes.io/config.mirror": "3e61c214bc3ed9ff81e21474dd6cba17", "kubernetes.io/config.hash": "3e61c214bc3ed9ff81e21474dd6cba17"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "x", "controller": true}]},
            "spec": {"restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 7,
                "initContainers": [{"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"}],
                "containers": [{"name": "etcd", "image": "etcd:3", "resources": {"limits": {"memory": "64Mi"}}, "livenessProbe": {"failureThreshold": 5}}]},
            "status": {"phase": "Running", "qosClass": "Burstable", "containerStatuses": [{"name": "etcd", "restartCount": 4, "ready": false, "image": "", "imageID": "",
                "containerID": format!("containerd://{}", "a".repeat(64)),
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "Error", "startedAt": "2026-11-23T10:00:00Z", "finishedAt": "0001-01-01T00:00:00Z"}}}]}
        }))
        .expect("pod");
        let record = slim(pod);
        assert_eq!(record.static_hash.as_deref(), Some("3e61c214bc3ed9ff81e21474dd6cba17"));
        assert_eq!((record.owner, record.restart_policy, record.grace_seconds), (None, RestartPolicy::OnFailure, Some(7)));
        let kinds: Vec<_> = record.containers.iter().map(|container| (container.name.as_str(), container.kind)).collect();
        assert_eq!(kinds, [("setup", ContainerKind::Init), ("proxy", ContainerKind::Sidecar), ("etcd", ContainerKind::App)]);
        let etcd = &record.containers[2];
        assert_eq!((etcd.memory_limit, etcd.memory_request), (Some(Bytes(64 << 20)), Some(Bytes(64 << 20))));
        assert_eq!((etcd.restart_count, etcd.liveness_probe, etcd.startup_probe), (Some(4), true, false));
        let rule = ProbeRule { delay_seconds: 0, period_seconds: 10, timeout_seconds: 1, failure_threshold: 5 };
        assert_eq!((etcd.liveness_rule, etcd.startup_rule), (Some(rule), None));
        assert_eq!(rule.takes_seconds(), 51);
        let last = etcd.last.as_ref().expect("last");
        assert_eq!((last.exit_code, last.finished), (137, None), "the year 1 is no time");
        assert!(last.started.is_some());
    }

    #[test]
    fn an_empty_object_is_an_empty_record() {
        assert_eq!(slim(Pod::default()), PodRecord::default());
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        assert_eq!(cut("ü".repeat(2000)).chars().count(), 513);
    }
}
