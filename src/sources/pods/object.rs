//! A Pod as the API server sends it (core/v1), as far as explaining its deaths needs it.
//!
//! Of the text of an object, some 20 kB, nine tenths are managed fields, environment, volumes and conditions: they are
//! passed over without being kept. A typed Pod of all of it costs ten times its text while a list is read.

use super::record;
use crate::signal::PodRecord;
use jiff::Timestamp;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;

/// One object of a list or a watch.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The resource version alone: what the watch itself needs.
    metadata: ObjectMeta,
    /// The record, or why the object does not read as a pod.
    pub record: Result<PodRecord, Unreadable>,
}

/// An object that does not read as a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The object's name, if that much can be read.
    pub name: Option<String>,
    /// What does not fit, and where in the object.
    pub error: String,
}

impl<'de> Deserialize<'de> for Watched {
    /// Never fails for an object: one bad object must not stop the watch.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // One object's tree at a time: where an event's type follows its object, no text of it is left to read again.
        let object = Value::deserialize(deserializer)?;
        let named = Named::deserialize(&object).unwrap_or_default().metadata;
        let record = Pod::deserialize(&object).map(record::slim).map_err(|error| Unreadable { name: named.name, error: error.to_string() });
        Ok(Self { metadata: ObjectMeta { resource_version: named.resource_version, ..ObjectMeta::default() }, record })
    }
}

impl Resource for Watched {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(&(): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group(&(): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version(&(): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(&(): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    metadata: Name,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Name {
    name: Option<String>,
    resource_version: Option<String>,
}

/// `Pod`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub metadata: Metadata,
    pub spec: Spec,
    pub status: Status,
}

/// `ObjectMeta`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub uid: Option<String>,
    pub labels: Option<Labels>,
    pub annotations: Option<Annotations>,
    pub owner_references: Option<Vec<OwnerReference>>,
    pub creation_timestamp: Option<Timestamp>,
    pub deletion_timestamp: Option<Timestamp>,
    pub deletion_grace_period_seconds: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Labels {
    #[serde(rename = "pod-template-hash")]
    pub template_hash: Option<String>,
}

/// The uid that the kubelet gives a static pod, on its mirror pod (pkg/kubelet/types/pod_update.go).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Annotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    pub mirror: Option<String>,
    #[serde(rename = "kubernetes.io/config.hash")]
    pub hash: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    pub kind: String,
    pub name: String,
    pub controller: Option<bool>,
}

/// `PodSpec`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    pub restart_policy: Option<String>,
    pub termination_grace_period_seconds: Option<i64>,
    pub resources: Option<Resources>,
    pub init_containers: Option<Vec<Container>>,
    pub containers: Option<Vec<Container>>,
    pub ephemeral_containers: Option<Vec<Container>>,
}

/// `Container`, or `EphemeralContainer`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    pub image: Option<String>,
    pub restart_policy: Option<String>,
    pub resources: Option<Resources>,
    pub liveness_probe: Option<Probe>,
    pub startup_probe: Option<Probe>,
}

/// `ResourceRequirements`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub limits: Option<Amounts>,
    pub requests: Option<Amounts>,
}

/// Quantities by resource.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Amounts {
    pub memory: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    pub initial_delay_seconds: Option<i32>,
    pub period_seconds: Option<i32>,
    pub timeout_seconds: Option<i32>,
    pub failure_threshold: Option<i32>,
}

/// `PodStatus`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub phase: Option<String>,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub qos_class: Option<String>,
    pub init_container_statuses: Option<Vec<ContainerStatus>>,
    pub container_statuses: Option<Vec<ContainerStatus>>,
    pub ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub name: String,
    #[serde(rename = "containerID")]
    pub container_id: Option<String>,
    pub restart_count: Option<u32>,
    pub state: Option<State>,
    pub last_state: Option<State>,
}

/// `ContainerState`: at most one of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct State {
    pub running: Option<Running>,
    pub terminated: Option<Terminated>,
    pub waiting: Option<Waiting>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    pub started_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminated {
    pub exit_code: i32,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    #[serde(rename = "containerID")]
    pub container_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Waiting {
    pub reason: Option<String>,
    pub message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(text: &str) -> Watched {
        serde_json::from_str(text).expect("an object")
    }

    #[test]
    fn an_object_that_is_no_pod_is_told_by_name_and_stops_nothing() {
        let bad = watched(r#"{"metadata": {"name": "odd", "resourceVersion": "9"}, "spec": {"containers": [{"name": 7}]}}"#);
        let unreadable = bad.record.expect_err("no name is a number");
        assert_eq!(unreadable.name.as_deref(), Some("odd"));
        assert!(unreadable.error.contains("expected a string"), "{}", unreadable.error);
        assert_eq!(bad.metadata.resource_version.as_deref(), Some("9"));
        assert_eq!(watched(r#"{"metadata": 5}"#).record.expect_err("no pod").name, None);
    }

    #[test]
    fn what_is_not_needed_may_be_anything() {
        let text = r#"{"kind": "Pod", "metadata": {"name": "web", "managedFields": [{"x": null}], "labels": {"a": "b"}, "creationTimestamp": null},
            "spec": {"containers": [{"name": "app", "env": 5}], "initContainers": null, "volumes": "?"}, "status": {"conditions": [1, 2.5]}}"#;
        let record = watched(text).record.expect("a pod");
        assert_eq!((record.name.as_str(), record.containers.len(), record.created), ("web", 1, None));
    }
}
