//! Every situation that a kubelet's log can tell, in every form in which kubelets have written it:
//! sentences until 1.20, pairs with bare words from 1.21 and quoted ones from 1.27 on, JSON, and
//! wrapped by a distribution's own logger.

use super::*;

const UID: &str = "2527afb7-b32c-4c84-97e2-246eb48c97a9";
const ID: &str = "af91019d02c2b507a4c7c12d36aa7d8a171e460d459dca7c84a187cd56e72cb9";

/// A value of a pair, as Go knows its type.
#[derive(Clone, Copy)]
enum Value {
    /// A string or an error.
    Text(&'static str),
    /// A string type with a name of its own, which klog quotes only from 1.27 on.
    Named(&'static str),
    /// A number or a boolean.
    Bare(&'static str),
    /// An object with a namespace and a name.
    Object(&'static str, &'static str),
}

use Value::{Bare, Named, Object, Text};

struct Row {
    /// The situation's name, or nothing for what is not told.
    told: Option<&'static str>,
    /// Until 1.20, where the line existed.
    old: Option<&'static str>,
    message: &'static str,
    pairs: &'static [(&'static str, Value)],
}

const fn row(told: &'static str, old: Option<&'static str>, message: &'static str, pairs: &'static [(&'static str, Value)]) -> Row {
    Row { told: Some(told), old, message, pairs }
}

const fn silent(message: &'static str, pairs: &'static [(&'static str, Value)]) -> Row {
    Row { told: None, old: None, message, pairs }
}

const POD: (&str, Value) = ("pod", Object("shop", "web-0"));
const POD_UID: (&str, Value) = ("podUID", Named(UID));
const APP: (&str, Value) = ("containerName", Text("app"));

const ROWS: &[Row] = &[
    // The process and the node.
    row("KubeletVersion", Some("Kubelet version: v1.20.4"), "Kubelet version", &[("kubeletVersion", Text("v1.30.1"))]),
    row("KubeletStarted", Some("Started kubelet"), "Started kubelet", &[]),
    row("KubeletStarted", Some("Starting kubelet main sync loop."), "Starting kubelet main sync loop", &[]),
    row(
        "FatalStart",
        Some("failed to run Kubelet: running with swap on is not supported"),
        "command failed",
        &[("err", Text("failed to run Kubelet: running with swap on is not supported"))],
    ),
    row("LoopSlow", None, "Housekeeping took longer than expected", &[("expected", Text("1s")), ("actual", Text("15.2s"))]),
    row("LoopSlow", None, "Housekeeping took longer than 15s", &[("seconds", Bare("17.2"))]),
    row("LoopSlow", None, "Event channel is full, discard this relist() cycle event", &[]),
    row("WatchdogWithheld", None, "Do not notify watchdog this iteration as the kubelet is reportedly not healthy", &[]),
    row("Certificate", None, "The currently active client certificate has expired and the server is responsive, exiting.", &[]),
    row("Certificate", None, "No valid client certificate is found but the server is responsive, exiting.", &[]),
    row(
        "Certificate",
        Some("Failed while requesting a signed certificate from the master: cannot create certificate signing request: x"),
        "Failed while requesting a signed certificate from the control plane",
        &[("err", Text("cannot create certificate signing request: x"))],
    ),
    row(
        "Certificate",
        None,
        "Unhandled Error",
        &[
            (
                "err",
                Text("kubernetes.io/kube-apiserver-client-kubelet: Failed while requesting a signed certificate from the control plane: x"),
            ),
            ("logger", Text("UnhandledError")),
        ],
    ),
    row("Certificate", None, "Certificate request was not signed", &[("err", Text("timed out waiting for the condition"))]),
    row("Certificate", None, "Unable to store the new cert/key pair", &[("err", Text("read-only"))]),
    row(
        "Certificate",
        Some("http: TLS handshake error from 10.0.0.1:4711: no serving certificate available for the kubelet"),
        "http: TLS handshake error from 10.0.0.1:4711: no serving certificate available for the kubelet",
        &[],
    ),
    silent("Attempting to register node", &[("node", Text("n1"))]),
    silent("Successfully registered node", &[("node", Text("n1"))]),
    silent("Node was previously registered", &[("node", Text("n1"))]),
    row(
        "RegistrationFailed",
        Some(
            "Unable to register node \"n1\" with API server: Post https://10.0.0.1:6443/x: dial tcp 10.0.0.1:6443: connect: connection refused",
        ),
        "Unable to register node with API server",
        &[("err", Text("dial tcp 10.0.0.1:6443: connect: connection refused")), ("node", Text("n1"))],
    ),
    row(
        "NodeStatusFailed",
        Some("Error updating node status, will retry: error getting node \"n1\": x"),
        "Error updating node status, will retry",
        &[("err", Text("error getting node"))],
    ),
    row(
        "NodeStatusFailed",
        Some("Unable to update node status: update node status exceeds retry count"),
        "Unable to update node status",
        &[("err", Text("update node status exceeds retry count"))],
    ),
    row(
        "LeaseFailed",
        Some("failed to update lease, error: Put x: context deadline exceeded"),
        "Failed to update lease",
        &[("err", Text("context deadline exceeded"))],
    ),
    row(
        "LeaseFailed",
        Some("failed to ensure lease exists, will retry in 7s, error: x"),
        "Failed to ensure lease exists, will retry",
        &[("err", Text("x")), ("interval", Text("7s"))],
    ),
    row(
        "LeaseFailed",
        Some("failed to update lease using latest lease, fallback to ensure lease, err: x"),
        "failed to update lease using latest lease, fallback to ensure lease",
        &[("err", Text("x"))],
    ),
    row("LeaseFailed", None, "Will retry updating lease", &[("err", Text("x")), ("interval", Text("10s"))]),
    row(
        "NodeEvent",
        Some("Recording NodeHasDiskPressure event message for node n1"),
        "Recording event message for node",
        &[("node", Text("n1")), ("event", Text("NodeHasDiskPressure"))],
    ),
    row(
        "NodeNotReady",
        None,
        "Node became not ready",
        &[
            ("node", Text("n1")),
            (
                "condition",
                Text("{\"type\":\"Ready\",\"status\":\"False\",\"reason\":\"KubeletNotReady\",\"message\":\"PLEG is not healthy\"}"),
            ),
        ],
    ),
    silent("Error getting the current node from lister", &[("err", Text("node \"n1\" not found"))]),
    // The runtime, the PLEG, the network.
    row(
        "SyncBlocked",
        Some("skipping pod synchronization - PLEG is not healthy: pleg was last seen active 3m5.1s ago; threshold is 3m0s"),
        "Skipping pod synchronization",
        &[("err", Text("[container runtime is down, PLEG is not healthy: pleg was last seen active 3m5.1s ago; threshold is 3m0s]"))],
    ),
    row(
        "RelistFailed",
        Some("GenericPLEG: Unable to retrieve pods: rpc error: code = DeadlineExceeded desc = context deadline exceeded"),
        "GenericPLEG: Unable to retrieve pods",
        &[("err", Text("rpc error: code = DeadlineExceeded desc = context deadline exceeded"))],
    ),
    row(
        "CriCallFailed",
        Some("Container runtime sanity check failed: rpc error"),
        "Container runtime sanity check failed",
        &[("err", Text("rpc error: code = Unavailable"))],
    ),
    row(
        "NetworkNotReady",
        Some(
            "Container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:docker: network plugin is not ready: cni config uninitialized",
        ),
        "Container runtime network not ready",
        &[(
            "networkReady",
            Text("NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"),
        )],
    ),
    row(
        "CriCallFailed",
        Some("RunPodSandbox from runtime service failed: rpc error: code = Unknown desc = x"),
        "RunPodSandbox from runtime service failed",
        &[("err", Text("rpc error: code = Unknown desc = x"))],
    ),
    row(
        "CriCallFailed",
        None,
        "CreateContainer in sandbox from runtime service failed",
        &[("err", Text("rpc error: code = Unknown desc = x")), ("podSandboxID", Text(ID))],
    ),
    row(
        "CriCallFailed",
        None,
        "StartContainer from runtime service failed",
        &[("err", Text("rpc error: code = Unknown desc = x")), ("containerID", Text(ID))],
    ),
    row(
        "CriCallFailed",
        None,
        "StopContainer from runtime service failed",
        &[("err", Text("rpc error: code = DeadlineExceeded desc = x")), ("containerID", Text(ID))],
    ),
    row(
        "CriCallFailed",
        None,
        "ListPodSandbox with filter from runtime service failed",
        &[("err", Text("rpc error: code = Unavailable desc = x")), ("filter", Text("nil"))],
    ),
    row(
        "ImagePullFailed",
        Some("PullImage \"shop/app:1\" from image service failed: rpc error: code = NotFound desc = not found"),
        "PullImage from image service failed",
        &[("err", Text("rpc error: code = NotFound desc = failed to resolve reference: not found")), ("image", Text("shop/app:1"))],
    ),
    row(
        "CriCallFailed",
        None,
        "ExecSync cmd from runtime service failed",
        &[("err", Text("rpc error: code = DeadlineExceeded desc = timeout")), ("containerID", Text(ID)), ("cmd", Text("[cat]"))],
    ),
    row("CriCallFailed", None, "Status from runtime service failed", &[("err", Text("rpc error: code = Unavailable desc = x"))]),
    row(
        "RuntimeVersion",
        Some("Container runtime docker initialized, version: 19.03.8, apiVersion: 1.40.0"),
        "Container runtime initialized",
        &[("containerRuntime", Text("containerd")), ("version", Text("v1.7.2")), ("apiVersion", Text("v1"))],
    ),
    // Why a pod does not start.
    row(
        "BackOff",
        Some(
            "Error syncing pod 2527afb7-b32c-4c84-97e2-246eb48c97a9 (\"web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9)\"), skipping: failed to \"StartContainer\" for \"app\" with CrashLoopBackOff: \"back-off 20s restarting failed container=app pod=web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9)\"",
        ),
        "Error syncing pod, skipping",
        &[
            (
                "err",
                Text(
                    "failed to \"StartContainer\" for \"app\" with CrashLoopBackOff: \"back-off 5m0s restarting failed container=app pod=web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9)\"",
                ),
            ),
            POD,
            POD_UID,
        ],
    ),
    row(
        "ImagePullFailed",
        None,
        "Error syncing pod, skipping",
        &[
            (
                "err",
                Text(
                    "failed to \"StartContainer\" for \"app\" with ErrImagePull: \"rpc error: code = NotFound desc = failed to resolve reference \\\"shop/app:1\\\": not found\"",
                ),
            ),
            POD,
            POD_UID,
        ],
    ),
    row(
        "ImagePullFailed",
        None,
        "Error syncing pod, skipping",
        &[
            (
                "err",
                Text(
                    "failed to \"StartContainer\" for \"app\" with ErrImageNeverPull: \"Container image \\\"a\\\" is not present with pull policy of Never\"",
                ),
            ),
            POD,
            POD_UID,
        ],
    ),
    row(
        "ConfigError",
        None,
        "Error syncing pod, skipping",
        &[
            ("err", Text("failed to \"StartContainer\" for \"app\" with CreateContainerConfigError: \"secret \\\"db\\\" not found\"")),
            POD,
            POD_UID,
        ],
    ),
    row(
        "StartFailed",
        None,
        "Error syncing pod, skipping",
        &[
            ("err", Text("failed to \"StartContainer\" for \"app\" with RunContainerError: \"failed to create containerd task\"")),
            POD,
            POD_UID,
        ],
    ),
    row(
        "StartFailed",
        None,
        "Error syncing pod, skipping",
        &[("err", Text("failed to \"StartContainer\" for \"app\" with CreateContainerError: \"context deadline exceeded\"")), POD, POD_UID],
    ),
    row(
        "KillFailed",
        None,
        "Error syncing pod, skipping",
        &[
            ("err", Text("failed to \"KillContainer\" for \"app\" with KillContainerError: \"rpc error: code = DeadlineExceeded\"")),
            POD,
            POD_UID,
        ],
    ),
    row(
        "NetworkNotReady",
        None,
        "Error syncing pod, skipping",
        &[("err", Text("network is not ready: container runtime network not ready: NetworkReady=false")), POD, POD_UID],
    ),
    row(
        "HookFailed",
        None,
        "Failed to execute PostStartHook",
        &[("err", Text("command failed")), POD, POD_UID, APP, ("containerID", Text(ID))],
    ),
    row(
        "ConfigError",
        None,
        "Unhandled Error",
        &[
            (
                "err",
                Text(
                    "container app start failed in pod web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9): CreateContainerConfigError: secret \"db\" not found",
                ),
            ),
            ("logger", Text("UnhandledError")),
        ],
    ),
    // Sandboxes, volumes, admission, static pods, devices.
    row(
        "SandboxFailed",
        None,
        "Failed to create sandbox for pod",
        &[("err", Text("rpc error: code = Unknown desc = failed to setup network for sandbox")), POD],
    ),
    row(
        "SandboxFailed",
        Some("CreatePodSandbox for pod \"web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9)\" failed: rpc error: code = Unknown desc = x"),
        "CreatePodSandbox for pod failed",
        &[("err", Text("rpc error: code = Unknown desc = x")), POD],
    ),
    row(
        "SandboxFailed",
        None,
        "Error syncing pod, skipping",
        &[
            (
                "err",
                Text(
                    "failed to \"CreatePodSandbox\" for \"web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9)\" with CreatePodSandboxError: \"Failed to create sandbox\"",
                ),
            ),
            POD,
            POD_UID,
        ],
    ),
    row("SandboxChanged", None, "No ready sandbox for pod can be found. Need to start a new one", &[POD]),
    row("SandboxChanged", None, "Sandbox for pod has changed. Need to start a new one", &[POD]),
    row(
        "VolumeFailed",
        Some(
            "Operation for \"{volumeName:kubernetes.io/configmap/x podName:2527afb7-b32c-4c84-97e2-246eb48c97a9 nodeName:}\" failed. No retries permitted until 2024-05-16 18:36:38.0 +0000 UTC m=+912.3 (durationBeforeRetry 2m2s). Error: MountVolume.SetUp failed for volume \"cfg\" (UniqueName: \"kubernetes.io/configmap/x\") pod \"web-0\" (UID: \"2527afb7-b32c-4c84-97e2-246eb48c97a9\") : configmap \"app-cfg\" not found",
        ),
        "Unable to attach or mount volumes for pod; skipping pod",
        &[
            (
                "err",
                Text("unmounted volumes=[cfg], unattached volumes=[], failed to process volumes=[]: timed out waiting for the condition"),
            ),
            POD,
        ],
    ),
    row(
        "OrphanedVolumes",
        None,
        "There were many similar errors. Turn up verbosity to see them.",
        &[("err", Text("orphaned pod \"2527afb7-b32c-4c84-97e2-246eb48c97a9\" found, but error not a directory")), ("numErrs", Bare("3"))],
    ),
    row(
        "AdmissionDenied",
        Some("Failed to admit pod web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9) - node has conditions: [DiskPressure]"),
        "Failed to admit pod to node",
        &[POD, ("nodeCondition", Text("[DiskPressure]"))],
    ),
    row(
        "AdmissionDenied",
        None,
        "Pod admission denied",
        &[POD_UID, POD, ("reason", Text("OutOfcpu")), ("message", Text("Pod was rejected"))],
    ),
    row("Preempting", None, "Preempting pod to free up resources", &[POD, POD_UID]),
    row(
        "ManifestInvalid",
        Some("Can't process manifest file \"/etc/kubernetes/manifests/a.yaml\": x"),
        "Could not process manifest file",
        &[("err", Text("x")), ("path", Text("/etc/kubernetes/manifests/a.yaml"))],
    ),
    row(
        "DevicePluginLost",
        None,
        "ListAndWatch ended unexpectedly for device plugin",
        &[("err", Text("rpc error")), ("resource", Text("nvidia.com/gpu"))],
    ),
    row("DevicePluginLost", None, "Mark all resources Unhealthy for resource", &[("resource", Text("nvidia.com/gpu"))]),
    row("NodeShutdown", None, "Shutdown manager detected new shutdown event, isNodeShuttingDownNow", &[("event", Bare("true"))]),
    silent("Adding static pod path", &[("path", Text("/etc/kubernetes/manifests"))]),
    silent("Got registration request from device plugin with resource", &[("resourceName", Text("nvidia.com/gpu"))]),
    silent(
        "Unable to retrieve pull secret, the image pull may not succeed.",
        &[POD, ("secret", Text("x")), ("err", Text("secret \"x\" not found"))],
    ),
    // Probes, kills, ends.
    row(
        "ProbeFailed",
        Some(
            "Liveness probe for \"web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9):app\" failed (failure): HTTP probe failed with statuscode: 500",
        ),
        "Probe failed",
        &[
            ("probeType", Named("Liveness")),
            POD,
            POD_UID,
            APP,
            ("probeResult", Named("failure")),
            ("output", Text("HTTP probe failed with statuscode: 500")),
        ],
    ),
    row(
        "ProbeFailed",
        Some("Readiness probe for \"web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9):app\" errored: rpc error"),
        "Probe errored",
        &[("err", Text("rpc error: code = NotFound")), ("probeType", Named("Readiness")), POD, POD_UID, APP],
    ),
    row("ProbeDecision", None, "SyncLoop (probe)", &[("probe", Text("liveness")), ("status", Text("unhealthy")), POD]),
    row("ProbeDecision", None, "SyncLoop (probe)", &[("probe", Text("startup")), ("status", Text("unhealthy")), POD]),
    silent("SyncLoop (probe)", &[("probe", Text("readiness")), ("status", Text("not ready")), POD]),
    row(
        "KillReason",
        None,
        "Message for Container of pod",
        &[
            APP,
            ("containerStatusID", Text("containerd://af91019d02c2b507a4c7c12d36aa7d8a171e460d459dca7c84a187cd56e72cb9")),
            POD,
            ("containerMessage", Text("Container app failed liveness probe, will be restarted")),
        ],
    ),
    row(
        "Killing",
        Some(
            "Killing container \"docker://af91019d02c2b507a4c7c12d36aa7d8a171e460d459dca7c84a187cd56e72cb9\" with a 30 second grace period",
        ),
        "Killing container with a grace period",
        &[
            POD,
            POD_UID,
            APP,
            ("containerID", Text("containerd://af91019d02c2b507a4c7c12d36aa7d8a171e460d459dca7c84a187cd56e72cb9")),
            ("gracePeriod", Bare("30")),
        ],
    ),
    row(
        "KillFailed",
        None,
        "Container termination failed with gracePeriod",
        &[("err", Text("rpc error")), POD, POD_UID, APP, ("gracePeriod", Bare("30"))],
    ),
    row("HookFailed", None, "PreStop hook failed", &[("err", Text("x")), POD, POD_UID, APP]),
    row(
        "Finished",
        None,
        "Generic (PLEG): container finished",
        &[("podID", Named(UID)), ("containerID", Text(ID)), ("exitCode", Bare("137"))],
    ),
    row(
        "BackOff",
        None,
        "Back-off restarting failed container",
        &[("err", Text("back-off 40s restarting failed container=app pod=web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9)"))],
    ),
    // Evictions, disks, images, OOM.
    row(
        "Eviction",
        Some("eviction manager: attempting to reclaim memory"),
        "Eviction manager: attempting to reclaim",
        &[("resourceName", Named("memory"))],
    ),
    row(
        "Eviction",
        Some("eviction manager: able to reduce memory pressure without evicting pods."),
        "Eviction manager: able to reduce resource pressure without evicting pods.",
        &[("resourceName", Named("memory"))],
    ),
    row(
        "Eviction",
        Some("eviction manager: must evict pod(s) to reclaim memory"),
        "Eviction manager: must evict pod(s) to reclaim",
        &[("resourceName", Named("memory"))],
    ),
    row(
        "Eviction",
        Some("eviction manager: pods ranked for eviction: web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9)"),
        "Eviction manager: pods ranked for eviction",
        &[("pods", Text("[shop/web-0]"))],
    ),
    row(
        "Eviction",
        Some("eviction manager: pod web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9) is evicted successfully"),
        "Eviction manager: pod is evicted successfully",
        &[POD],
    ),
    row(
        "Eviction",
        Some("eviction manager: cannot evict a critical pod web-0_shop(2527afb7-b32c-4c84-97e2-246eb48c97a9)"),
        "Eviction manager: cannot evict a critical pod",
        &[POD],
    ),
    row("Eviction", None, "Eviction manager: pod failed to evict", &[("err", Text("x")), POD]),
    row(
        "Eviction",
        Some("eviction manager: unable to evict any pods from the node"),
        "Eviction manager: unable to evict any pods from the node",
        &[],
    ),
    row(
        "ImageGcNeeded",
        Some(
            "[imageGCManager]: Disk usage on image filesystem is at 87% which is over the high threshold (85%). Trying to free 2147483648 bytes down to the low threshold (80%).",
        ),
        "Disk usage on image filesystem is over the high threshold, trying to free bytes down to the low threshold",
        &[("usage", Bare("87")), ("highThreshold", Bare("85")), ("amountToFree", Bare("2147483648")), ("lowThreshold", Bare("80"))],
    ),
    row(
        "ImageGcFailed",
        Some(
            "Image garbage collection failed multiple times in a row: failed to garbage collect required amount of images. Wanted to free 9 bytes, but freed 0 bytes",
        ),
        "Image garbage collection failed multiple times in a row",
        &[(
            "err",
            Text(
                "Failed to garbage collect required amount of images. Attempted to free 9 bytes, but only found 0 bytes eligible to free.",
            ),
        )],
    ),
    row(
        "ImageGcFailed",
        None,
        "Image garbage collection failed once. Stats initialization may not have completed yet",
        &[("err", Text("x"))],
    ),
    row(
        "ContainerGcFailed",
        Some("Container garbage collection failed: rpc error"),
        "Container garbage collection failed",
        &[("err", Text("rpc error"))],
    ),
    row(
        "NoSpace",
        Some("Failed to write status: open /var/lib/kubelet/x: no space left on device"),
        "Failed to write status",
        &[("err", Text("open /var/lib/kubelet/x: no space left on device"))],
    ),
    row(
        "SystemOom",
        None,
        "Got sys oom event",
        &[(
            "event",
            Text(
                "&{Pid:812 ProcessName:java TimeOfDeath:2026-03-07 04:05:06 +0000 UTC ContainerName:/ VictimContainerName:/ Constraint:CONSTRAINT_NONE}",
            ),
        )],
    ),
    row(
        "OomWatcherStopped",
        Some("Unexpectedly stopped receiving OOM notifications"),
        "Unexpectedly stopped receiving OOM notifications",
        &[],
    ),
];

/// Go's quoting of a string (strconv.Quote) for the text that is here.
fn quoted(text: &str) -> String {
    format!("{text:?}").replace("\\'", "'")
}

impl Row {
    fn structured(&self, quotes_named: bool) -> String {
        let value = |value| match value {
            Text(text) => quoted(text),
            Named(text) if quotes_named => quoted(text),
            Named(text) | Bare(text) => text.to_owned(),
            Object(namespace, name) => format!("\"{namespace}/{name}\""),
        };
        let pairs: String = self.pairs.iter().map(|(key, of)| format!(" {key}={}", value(*of))).collect();
        format!("{}{pairs}", quoted(self.message))
    }

    fn json(&self) -> String {
        let mut record = serde_json::json!({"ts": 1_716_000_000_123.456_7, "caller": "a/a.go:1", "msg": self.message, "v": 0});
        for (key, value) in self.pairs {
            record[key] = match value {
                Text(text) | Named(text) => (*text).into(),
                Bare(text) => serde_json::from_str(text).expect("a number or a boolean"),
                Object(namespace, name) => serde_json::json!({"name": name, "namespace": namespace}),
            };
        }
        record.to_string()
    }

    /// What the row looks like, and in which generation.
    fn forms(&self) -> Vec<(&'static str, String)> {
        let header = |severity: char, text: &str| format!("{severity}0516 18:34:36.951598    4052 a.go:107] {text}");
        let newest = header('E', &self.structured(true));
        let mut forms = vec![
            ("1.21 to 1.26", header('E', &self.structured(false))),
            ("1.27 and later", newest.clone()),
            ("as information", header('I', &self.structured(true))),
            ("JSON", self.json()),
            ("k0s", format!("time=\"2024-05-16 18:34:36\" level=info msg={} component=kubelet stream=stderr", quoted(&newest))),
            ("a word before it", format!("kubelet {newest}")),
            ("pasted", format!("    > {newest}\r")),
            ("journalctl", format!("May 16 18:34:36 node-1 kubelet[4052]: {newest}")),
        ];
        forms.extend(self.old.map(|old| ("until 1.20", header('E', old))));
        forms
    }
}

fn name(situation: &Situation) -> String {
    format!("{situation:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

#[test]
fn every_row_is_told_in_every_form() {
    let mut wrong = String::new();
    for row in ROWS {
        for (generation, line) in row.forms() {
            let mut reader = KubeletReader::for_pasted_text();
            let mut told = reader.push(None, &line);
            told.extend(reader.flush());
            let names: Vec<_> = told.iter().map(|told| name(&told.situation)).collect();
            if names != row.told.map(str::to_owned).into_iter().collect::<Vec<_>>() {
                wrong += &format!("{generation}: expected {:?}, told {names:?}: {line}\n", row.told);
            }
            let pod = line.contains("web-0") && row.pairs.iter().any(|(key, _)| *key == "pod");
            if pod && told.iter().any(|told| told.subject.pod.as_deref().is_some_and(|pod| pod != "web-0")) {
                wrong += &format!("{generation}: another pod: {:?}: {line}\n", told[0].subject);
            }
            if row.told.is_some() && pod && told.iter().all(|told| told.subject.pod.is_none()) && !line.contains("ranked") {
                wrong += &format!("{generation}: no pod: {line}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
