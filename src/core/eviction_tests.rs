//! Evictions and disks on made-up signals.

use super::*;
use crate::{
    findings::{Change, EvidenceSource, Finding, FindingState},
    model::{Blame, BootId, Bytes, Cause, Confidence, FilesystemRole, PodUid, Scope},
    signal::{
        CgroupSample, CgroupVersion, ContainerKind, ContainerRecord, ContainerState, DiskUse, EvictionLayer, EvictionSettings,
        FilesystemSample, KubeletOrigin, MemorySplit, PidRoom, PidsUse, PodRecord, PodSnapshot, PodStorage, PodStorageSample, PodUpdate,
        RoomSample, SourceReport, SourceState, TerminatedState,
    },
};
use jiff::Timestamp;
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

struct Node {
    core: Core,
    told: Vec<(Change, Finding)>,
    measurements: usize,
}

fn at(second: u64) -> Moment {
    let start: Timestamp = "2026-03-14T09:00:00Z".parse().expect("time");
    let wall = start.checked_add(jiff::SignedDuration::from_secs(second as i64)).expect("time");
    Moment { boot: BootTime(1_000_000_000 + second * 1_000_000), wall }
}

fn uid(n: u8) -> PodUid {
    PodUid::parse(&format!("{n:08x}-44a7-433c-a896-a8c81a4df533")).expect("uid")
}

impl Node {
    /// A node whose kubelet has its defaults and whose pods have been listed.
    fn new() -> Self {
        let mut node = Self { core: Core::new(), told: Vec::new(), measurements: 0 };
        node.begin();
        node.say(0, Body::EvictionSettings(EvictionSettings { layers: vec![EvictionLayer::default()], unread: None }));
        node.say(0, Body::Pods(PodUpdate::Listed(PodSnapshot { pods: vec![pod(1, "victim"), pod(2, "hog")] })));
        node
    }

    fn begin(&mut self) {
        let facts = NodeFacts {
            node: "n1".into(),
            boot_id: BootId("b00t".into()),
            kernel: "6.18".into(),
            cgroups: CgroupVersion::V2,
            page_size: 4096,
            ticks_per_second: 100,
            memory_total: Some(Bytes(8 * GIB)),
            agent: "test".into(),
        };
        self.say(0, Body::Node(facts));
    }

    fn say(&mut self, second: u64, body: Body) {
        for effect in self.core.apply(Signal { at: at(second), body }) {
            match effect {
                Effect::Finding { change, finding } => self.told.push((change, *finding)),
                Effect::MeasureStorage => self.measurements += 1,
                _ => {}
            }
        }
    }

    /// A disk of 100 GiB and a million inodes.
    fn disk(&mut self, second: u64, gib_left: f64, inodes_free: u64) {
        let filesystem = FilesystemSample {
            roles: FilesystemRole::ALL.to_vec(),
            path: "/var/lib/kubelet".into(),
            size: Bytes(100 * GIB),
            available: Bytes((gib_left * GIB as f64) as u64),
            inodes: Some(1_000_000),
            inodes_free: Some(inodes_free),
        };
        self.say(second, Body::Room(RoomSample { filesystems: vec![filesystem], ..RoomSample::default() }));
    }

    /// CRI-O with images on a disk of their own: 100 GiB for the kubelet, 50 for layers, 20 for images.
    fn three_disks(&mut self, second: u64, layers_left: u64, images_left: u64) {
        let disk = |role: FilesystemRole, size: u64, left: u64| FilesystemSample {
            roles: vec![role],
            path: format!("/{role}"),
            size: Bytes(size * GIB),
            available: Bytes(left * GIB),
            inodes: None,
            inodes_free: None,
        };
        let filesystems = vec![
            disk(FilesystemRole::Nodefs, 100, 60),
            disk(FilesystemRole::Imagefs, 20, images_left),
            disk(FilesystemRole::Containerfs, 50, layers_left),
        ];
        self.say(second, Body::Room(RoomSample { filesystems, images_apart: true, ..RoomSample::default() }));
    }

    /// What each has in its containers' writable layers.
    fn layers(&mut self, second: u64, gib: &[(u8, u64)]) {
        let pods = gib.iter().map(|(n, gib)| PodStorage {
            uid: uid(*n),
            logs: DiskUse::default(),
            empty_dirs: DiskUse::default(),
            layers: DiskUse { bytes: Bytes(gib * GIB), inodes: 10 },
            unreadable: 0,
            cut: false,
        });
        self.say(second, Body::PodStorage(PodStorageSample { pods: pods.collect(), left_out: 0 }));
    }

    fn storage(&mut self, second: u64, gib: &[(u8, u64)]) {
        let pods = gib.iter().map(|(n, gib)| PodStorage {
            uid: uid(*n),
            logs: DiskUse::default(),
            empty_dirs: DiskUse { bytes: Bytes(gib * GIB), inodes: 10 },
            layers: DiskUse::default(),
            unreadable: 0,
            cut: false,
        });
        self.say(second, Body::PodStorage(PodStorageSample { pods: pods.collect(), left_out: 0 }));
    }

    fn kubelet(&mut self, second: u64, text: &str) {
        let origin = KubeletOrigin::File { path: "/var/log/kubelet.log".into(), inode: 1, offset: 1 };
        let text = format!("I0314 09:00:00.000001    4052 eviction_manager.go:1] {text}");
        self.say(second, Body::Kubelet(crate::signal::KubeletLine { origin, text }));
    }

    fn evict(&mut self, second: u64, record: PodRecord, message: &str) {
        let record = PodRecord { reason: Some("Evicted".into()), message: Some(message.into()), ..record };
        self.say(second, Body::Pods(PodUpdate::Changed { pod: Box::new(record), deleted: false }));
    }

    fn ticks(&mut self, from: u64, to: u64) {
        (from..=to).for_each(|second| self.say(second, Body::Tick));
    }

    fn findings(&self, cause: Cause) -> Vec<Finding> {
        self.core.snapshot().findings.into_iter().filter(|finding| finding.cause == cause).collect()
    }

    fn one(&self, cause: Cause) -> Finding {
        let mut found = self.findings(cause);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }
}

fn pod(n: u8, name: &str) -> PodRecord {
    let container = ContainerRecord {
        name: "app".into(),
        kind: ContainerKind::App,
        container_id: Some(format!("containerd://{}", format!("{n:x}").repeat(64))),
        restart_count: Some(0),
        state: Some(ContainerState::Running { started: Some(at(0).wall) }),
        ..ContainerRecord::default()
    };
    PodRecord {
        uid: uid(n).to_string(),
        namespace: "shop".into(),
        name: name.into(),
        phase: Some("Running".into()),
        containers: vec![container],
        created: Some(at(0).wall),
        ..PodRecord::default()
    }
}

fn ended(mut record: PodRecord, second: u64) -> PodRecord {
    for container in &mut record.containers {
        let state = TerminatedState {
            exit_code: 137,
            reason: Some("Error".into()),
            started: Some(at(0).wall),
            finished: Some(at(second).wall),
            container_id: container.container_id.clone(),
            ..TerminatedState::default()
        };
        container.state = Some(ContainerState::Terminated(state));
    }
    PodRecord { phase: Some("Failed".into()), ..record }
}

const DISK: &str = "The node was low on resource: ephemeral-storage. Threshold quantity: 15Gi, available: 14Gi. Container app was using 45Ki, request is 0, has larger consumption of ephemeral-storage. ";

#[test]
fn the_culprit_is_named_where_the_kubelet_evicts_another_pod_first() {
    let mut node = Node::new();
    node.disk(1, 40.0, 900_000);
    node.storage(2, &[(1, 0), (2, 1)]);
    node.disk(11, 14.0, 900_000);
    assert_eq!(node.measurements, 1, "a disk that lost a quarter is a reason to look");
    node.disk(21, 14.0, 900_000);
    node.storage(22, &[(1, 0), (2, 27)]);
    node.kubelet(23, "\"Eviction manager: attempting to reclaim\" resourceName=\"ephemeral-storage\"");
    node.kubelet(23, "\"Eviction manager: attempting to reclaim\" resourceName=\"memory\"");
    node.kubelet(24, "\"Eviction manager: pod is evicted successfully\" pod=\"shop/victim\"");
    node.evict(25, pod(1, "victim"), DISK);
    node.evict(27, ended(pod(1, "victim"), 26), DISK);
    node.ticks(28, 45);
    let finding = node.one(Cause::EvictedDisk);
    assert_eq!((finding.blame, finding.scope, finding.count), (Blame::Neighbour, Scope::Node, 1));
    assert_eq!(finding.subjects[0].pod.as_deref(), Some("victim"));
    assert!(finding.summary.contains("It was not the one that took it: pod shop/hog grew by 26 GiB"), "{}", finding.summary);
    let kubelet: Vec<_> = finding.evidence.iter().filter(|evidence| evidence.source == EvidenceSource::KubeletLog).collect();
    assert_eq!(kubelet.len(), 2, "memory is another story: {kubelet:?}");
    assert!(!finding.related.is_empty(), "the node's own trouble");
    // Its container's SIGKILL is no second finding, and is counted with the pod's cause.
    assert_eq!(node.findings(Cause::Killed), []);
    let counters = node.core.snapshot().counters;
    assert_eq!(counters.evictions[&Cause::EvictedDisk], 1);
    let ends: u64 = counters.terminations.values().filter_map(|by_cause| by_cause.get(&Cause::EvictedDisk)).sum();
    assert_eq!(ends, 1);
}

#[test]
fn the_pod_that_filled_the_disk_is_its_own_culprit() {
    let mut node = Node::new();
    node.storage(2, &[(1, 0), (2, 1)]);
    node.disk(11, 14.0, 900_000);
    node.storage(12, &[(1, 0), (2, 27)]);
    node.evict(25, pod(2, "hog"), DISK);
    node.ticks(26, 31);
    assert_eq!(node.one(Cause::EvictedDisk).blame, Blame::Workload);
}

impl Node {
    /// Figures of a container, whose id is the digit repeated.
    fn uses(&mut self, second: u64, n: u8, id: char, mib: u64, tasks: u64) {
        let path = format!("/kubepods/burstable/pod{}/{}", uid(n), id.to_string().repeat(64));
        let pids = Some(PidsUse { current: tasks, max: None, refused: None });
        let sample =
            CgroupSample { path, usage: Some(Bytes(mib << 20)), split: Some(MemorySplit::default()), pids, ..CgroupSample::default() };
        self.say(second, Body::Cgroup(Box::new(sample)));
    }

    fn gone(&mut self, second: u64, n: u8, id: char) {
        self.say(second, Body::CgroupGone { path: format!("/kubepods/burstable/pod{}/{}", uid(n), id.to_string().repeat(64)) });
    }
}

impl Node {
    fn log_is_read(&mut self) {
        let report = SourceReport { source: SourceName::KubeletLog, state: SourceState::Up, detail: "a file".into() };
        self.say(0, Body::Source(report));
    }
}

#[test]
fn a_manifest_that_the_kubelet_cannot_read_is_told_until_it_can() {
    let mut node = Node::new();
    node.log_is_read();
    for second in [10, 30, 50, 70] {
        node.kubelet(second, "\"Could not process manifest file\" err=\"couldn't parse as pod(yaml: line 7: mapping values are not allowed), please check config file\" path=\"/etc/kubernetes/manifests/proxy.yaml\"");
        node.ticks(second + 1, second + 19);
    }
    let told = node.one(Cause::ConfigError);
    assert_eq!((told.count, told.state), (1, FindingState::Open));
    assert!(told.summary.contains("the manifest /etc/kubernetes/manifests/proxy.yaml of a static pod"), "{}", told.summary);
    assert!(told.evidence[0].what.contains("yaml: line 7"), "{:?}", told.evidence);
    node.ticks(90, 170);
    assert_eq!(node.one(Cause::ConfigError).state, FindingState::Resolved, "it is silent");
}

#[test]
fn a_kubelet_that_finds_nobody_to_evict_is_told_with_whom_it_passed_over() {
    let mut node = Node::new();
    node.log_is_read();
    for second in [10, 20, 30] {
        node.kubelet(second, "\"Eviction manager: attempting to reclaim\" resourceName=\"memory\"");
        node.kubelet(second, "\"Eviction manager: must evict pod(s) to reclaim\" resourceName=\"memory\"");
        node.kubelet(second, "\"Eviction manager: cannot evict a critical pod\" pod=\"kube-system/etcd\"");
        node.kubelet(second, "\"Eviction manager: unable to evict any pods from the node\"");
        node.ticks(second + 1, second + 9);
    }
    let told = node.one(Cause::EvictionImminent);
    assert_eq!((told.count, told.blame), (1, Blame::Insufficient));
    assert!(told.summary.starts_with("The node is short of memory, and the kubelet finds no pod"), "{}", told.summary);
    assert!(told.evidence[0].what.contains("kube-system/etcd") || told.evidence[0].what.contains("critical"), "{:?}", told.evidence);
    node.ticks(40, 130);
    assert_eq!(node.one(Cause::EvictionImminent).state, FindingState::Resolved);
    let mut node = Node::new();
    node.log_is_read();
    node.kubelet(10, "\"Eviction manager: cannot evict a critical pod\" pod=\"kube-system/etcd\"");
    node.ticks(11, 20);
    assert_eq!(node.findings(Cause::EvictionImminent), [], "the next in rank may go");
}

#[test]
fn a_pod_that_is_refused_for_want_of_a_device_shows_that_its_plugin_vanished() {
    for (message, shows) in [
        (
            "Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices nvidia.com/gpu, which is unexpected",
            1,
        ),
        ("Pod was rejected: Node didn't have enough resource: cpu, requested: 4000, used: 100, capacity: 2000", 0),
    ] {
        let mut node = Node::new();
        node.kubelet(10, "\"ListAndWatch ended unexpectedly for device plugin\" err=\"rpc error: code = Unavailable desc = error reading from server: EOF\" resource=\"nvidia.com/gpu\"");
        let refused = PodRecord {
            phase: Some("Failed".into()),
            reason: Some("UnexpectedAdmissionError".into()),
            message: Some(message.into()),
            ..pod(3, "train")
        };
        let containers = refused
            .containers
            .iter()
            .map(|container| ContainerRecord { state: None, restart_count: None, container_id: None, ..container.clone() })
            .collect();
        node.say(
            60,
            Body::Pods(PodUpdate::Changed {
                pod: Box::new(PodRecord { containers, created: Some(at(60).wall), ..refused }),
                deleted: false,
            }),
        );
        node.ticks(61, 70);
        let told = node.one(Cause::AdmissionRejected);
        let lines = told.evidence.iter().filter(|evidence| evidence.what.contains("ListAndWatch ended unexpectedly")).count();
        assert_eq!(lines, shows, "{:?}", told.evidence);
    }
}

#[test]
fn a_threshold_that_cannot_be_understood_shows_in_the_sources_state() {
    let mut node = Node::new();
    let detail =
        |node: &Node| node.core.snapshot().sources.into_iter().find(|health| health.source == SourceName::Disks).expect("told").detail;
    let settings = |amount: &str| {
        let hard = Some([("memory.available".to_owned(), amount.to_owned())].into());
        let layer = EvictionLayer { from: "/etc/kubelet.yaml".into(), hard, ..EvictionLayer::default() };
        Body::EvictionSettings(EvictionSettings { layers: vec![layer], unread: None })
    };
    node.say(1, settings("lots"));
    let said = "nodefs at /var/lib/kubelet; eviction thresholds read from /etc/kubelet.yaml";
    node.say(1, Body::Source(SourceReport { source: SourceName::Disks, state: SourceState::Up, detail: said.into() }));
    let told = detail(&node);
    assert!(
        told.contains("the thresholds are not known: `memory.available` is set to `lots`") && told.ends_with("in /etc/kubelet.yaml"),
        "{told}"
    );
    node.say(60, settings("1Gi"));
    assert_eq!(detail(&node), said);
    node.say(90, settings("many"));
    assert!(detail(&node).contains("`many`"), "the same files, read anew");
}

#[test]
fn no_space_inside_of_a_failed_start_is_a_word_about_a_full_disk() {
    let uid = uid(1);
    let told = |text: &str| {
        let mut node = Node::new();
        node.disk(1, 40.0, 900_000);
        (2..40).step_by(10).for_each(|second| node.kubelet(second, text));
        (10..60).for_each(|second| {
            if second % 10 == 0 {
                node.disk(second, 40.0, 900_000);
            }
            node.say(second, Body::Tick);
        });
        node.findings(Cause::DiskFull)
    };
    let pod = format!("pod=\"shop/victim\" podUID=\"{uid}\"");
    for text in [
        format!(
            "\"Failed to create sandbox for pod\" err=\"rpc error: code = Unknown desc = failed to create containerd task: mkdir /run/containerd/x: no space left on device\" {pod}"
        ),
        format!(
            "\"Error syncing pod, skipping\" err=\"failed to \\\"StartContainer\\\" for \\\"app\\\" with CreateContainerError: \\\"write /var/lib/x: no space left on device\\\"\" {pod}"
        ),
        format!(
            "Operation for \"{{volumeName:kubernetes.io/configmap/{uid}-c podName:{uid} nodeName:}}\" failed. No retries permitted until 2026-03-14 09:00:00 +0000 UTC (durationBeforeRetry 500ms). Error: MountVolume.SetUp failed for volume \"c\" (UniqueName: \"kubernetes.io/configmap/{uid}-c\") pod \"victim\" (UID: \"{uid}\") : write /var/lib/kubelet/x: no space left on device"
        ),
    ] {
        let found = told(&text);
        assert_eq!((found.len(), found.first().map(|finding| finding.count)), (1, Some(1)), "{text}");
        assert!(found[0].evidence[0].what.contains("no space left on device"), "{:?}", found[0].evidence);
    }
    let of_container = format!(
        "\"ExecSync cmd from runtime service failed\" err=\"rpc error: code = Unknown desc = echo: no space left on device\" containerID=\"{}\" cmd=[\"x\"]",
        "1".repeat(64)
    );
    assert_eq!(told(&of_container), []);
    let of_hook = format!(
        "\"Error syncing pod, skipping\" err=\"failed to \\\"StartContainer\\\" for \\\"app\\\" with PostStartHookError: \\\"Exec lifecycle hook failed, message: no space left on device\\\"\" {pod}"
    );
    assert_eq!(told(&of_hook), []);
}

#[test]
fn process_ids_of_the_node_run_out_without_any_threshold() {
    let mut node = Node::new();
    let mut sample = |second, used| {
        let pids = Some(PidRoom { max: 32_768, used });
        node.say(second, Body::Room(RoomSample { pids, ..RoomSample::default() }));
        node.findings(Cause::PidsLimit)
    };
    assert_eq!(sample(10, 32_000), [], "2 % are left");
    assert_eq!(sample(20, 32_700), [], "for a moment");
    let told = sample(30, 32_760);
    assert_eq!((told.len(), told[0].scope, told[0].blame), (1, Scope::Node, Blame::Insufficient));
    assert!(told[0].summary.contains("8 of 32768") && told[0].evidence[0].what.contains("8 process ids of 32768"), "{:?}", told[0]);
    for second in [40, 50, 60] {
        assert_eq!(sample(second, 32_000)[0].state, FindingState::Open, "between the marks");
    }
    let ended: Vec<_> = [70, 80, 90].map(|second| sample(second, 1_000)[0].state).into();
    assert_eq!(ended, [FindingState::Open, FindingState::Open, FindingState::Resolved]);
}

#[test]
fn the_pod_that_took_the_nodes_process_ids_is_named() {
    let mut node = Node::new();
    node.uses(5, 2, '2', 10, 31_000);
    for second in [10, 20] {
        node.say(second, Body::Room(RoomSample { pids: Some(PidRoom { max: 32_768, used: 32_700 }), ..RoomSample::default() }));
    }
    let told = node.one(Cause::PidsLimit);
    assert_eq!((told.blame, told.subjects[0].pod.as_deref(), told.count), (Blame::Workload, Some("hog"), 1));
    assert!(told.summary.ends_with("Pod shop/hog had 31000 processes and threads, half of the node's or more."), "{}", told.summary);
}

#[test]
fn the_dead_lives_of_a_looping_container_use_nothing() {
    const MEMORY: &str = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. Container app was using 1Ki, request is 0, has larger consumption of memory. ";
    let mut node = Node::new();
    for (second, id) in [(10, 'a'), (20, 'b'), (30, 'c'), (40, '3')] {
        let mut looping = pod(3, "looping");
        looping.containers[0].memory_request = Some(Bytes(256 << 20));
        looping.containers[0].container_id = Some(format!("containerd://{}", id.to_string().repeat(64)));
        node.say(second, Body::Pods(PodUpdate::Changed { pod: Box::new(looping), deleted: false }));
        node.uses(second, 3, id, 200, 20);
        if id != '3' {
            node.gone(second + 5, 3, id);
        }
    }
    node.uses(50, 2, '2', 400, 5);
    node.evict(55, ended(pod(1, "victim"), 55), MEMORY);
    node.ticks(56, 65);
    let finding = node.one(Cause::EvictedMemory);
    assert!(finding.summary.contains("pod shop/hog used 400 MiB, 400 MiB more than it asked for"), "{}", finding.summary);
}

#[test]
fn a_pod_that_is_put_out_had_what_its_containers_used_until_then() {
    const MEMORY: &str = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. Container app was using 400Mi, request is 0, has larger consumption of memory. ";
    let mut node = Node::new();
    node.uses(50, 1, '1', 20, 1);
    node.uses(50, 2, '2', 400, 5);
    node.gone(54, 2, '2');
    node.evict(55, ended(pod(2, "hog"), 54), MEMORY);
    node.ticks(56, 65);
    assert_eq!(node.one(Cause::EvictedMemory).blame, Blame::Workload);
}

#[test]
fn where_no_pod_grew_it_is_the_node() {
    let mut node = Node::new();
    node.storage(2, &[(1, 0), (2, 1)]);
    node.disk(11, 14.0, 900_000);
    node.storage(12, &[(1, 0), (2, 1)]);
    node.evict(25, pod(1, "victim"), DISK);
    node.ticks(26, 31);
    let finding = node.one(Cause::EvictedDisk);
    assert_eq!(finding.blame, Blame::Node);
    assert!(finding.not_found[0].contains("a pod that took it"), "{:?}", finding.not_found);
}

#[test]
fn a_container_that_ends_before_the_pod_says_why_is_explained_by_it() {
    let mut node = Node::new();
    let dead = ended(pod(1, "victim"), 20);
    node.say(20, Body::Pods(PodUpdate::Changed { pod: Box::new(dead.clone()), deleted: false }));
    node.evict(21, dead, "Usage of EmptyDir volume \"v\" exceeds the limit \"8Mi\". ");
    node.ticks(22, 40);
    let finding = node.one(Cause::EvictedEphemeralStorage);
    assert_eq!((finding.blame, finding.scope), (Blame::Workload, Scope::Pod));
    assert_eq!(node.core.snapshot().findings.len(), 1, "nothing else");
}

#[test]
fn an_eviction_is_told_once_however_often_it_is_seen_and_over_a_restart() {
    let mut node = Node::new();
    for second in [20, 21, 40, 60] {
        node.evict(second, ended(pod(1, "victim"), 20), DISK);
    }
    node.ticks(61, 70);
    let checkpoint = node.core.checkpoint().expect("known boot");
    let text = serde_json::to_string(&checkpoint).expect("json");
    let mut again = Node { core: Core::restore(serde_json::from_str(&text).expect("json")), told: vec![], measurements: 0 };
    again.begin();
    let evicted = PodRecord { reason: Some("Evicted".into()), message: Some(DISK.into()), ..ended(pod(1, "victim"), 20) };
    again.say(80, Body::Pods(PodUpdate::Listed(PodSnapshot { pods: vec![evicted] })));
    again.ticks(81, 95);
    assert_eq!(again.one(Cause::EvictedDisk).count, 1);
    assert_eq!(again.core.snapshot().counters.evictions[&Cause::EvictedDisk], 1);
}

#[test]
fn old_evictions_are_history_and_recent_ones_are_explained_without_being_counted() {
    let mut node = Node { core: Core::new(), told: vec![], measurements: 0 };
    node.begin();
    let evicted = |n, second| PodRecord { reason: Some("Evicted".into()), message: Some(DISK.into()), ..ended(pod(n, "x"), second) };
    node.say(10_000, Body::Pods(PodUpdate::Listed(PodSnapshot { pods: vec![evicted(1, 100), evicted(2, 9_900)] })));
    node.ticks(10_001, 10_020);
    assert_eq!(node.one(Cause::EvictedDisk).subjects[0].pod_uid, Some(uid(2)));
    assert_eq!(node.core.snapshot().counters.evictions.get(&Cause::EvictedDisk), None);
}

/// The kubelet forgets its reason where every container ends itself with status 0 (seen with 1.36).
#[test]
fn an_eviction_that_the_status_does_not_tell_is_told_by_the_kubelets_log() {
    let polite = |second| {
        let mut record = ended(pod(1, "polite"), second);
        let Some(ContainerState::Terminated(state)) = &mut record.containers[0].state else { panic!("it has ended") };
        (state.exit_code, state.reason) = (0, Some("Completed".into()));
        PodRecord { phase: Some("Succeeded".into()), ..record }
    };
    let ephemeral = (None, Cause::EvictedEphemeralStorage, Confidence::Likely);
    // The status may arrive before the line of the log is read.
    for ((short_of, cause, confidence), status_first) in
        [((Some("inodes"), Cause::EvictedInodes, Confidence::Proven), false), (ephemeral, false), (ephemeral, true)]
    {
        let mut node = Node::new();
        node.say(15, Body::Pods(PodUpdate::Changed { pod: Box::new(pod(1, "polite")), deleted: false }));
        if let Some(resource) = short_of {
            node.kubelet(20, &format!("\"Eviction manager: must evict pod(s) to reclaim\" resourceName=\"{resource}\""));
        }
        let status = Body::Pods(PodUpdate::Changed { pod: Box::new(polite(21)), deleted: false });
        if status_first {
            node.say(21, status.clone());
        }
        node.kubelet(21, "\"Eviction manager: pod is evicted successfully\" pod=\"shop/polite\"");
        node.say(22, status);
        node.ticks(23, 45);
        let finding = node.one(cause);
        assert_eq!((finding.confidence, finding.count), (confidence, 1));
        assert_eq!(node.core.snapshot().findings.len(), 1, "its container has not completed");
        assert!(finding.not_found[0].contains("the reason in the pod's status"), "{:?}", finding.not_found);
        assert_eq!(finding.evidence[0].source, EvidenceSource::KubeletLog);
        let counters = node.core.snapshot().counters;
        assert_eq!(counters.evictions[&cause], 1);
        let ends: u64 = counters.terminations.values().filter_map(|by_cause| by_cause.get(&cause)).sum();
        assert_eq!(ends, 1);
    }
}

#[test]
fn a_status_that_tells_more_takes_the_place_of_the_kubelets_log() {
    let mut node = Node::new();
    node.kubelet(21, "\"Eviction manager: pod is evicted successfully\" pod=\"shop/victim\"");
    node.evict(24, ended(pod(1, "victim"), 21), DISK);
    node.ticks(25, 45);
    assert_eq!((node.one(Cause::EvictedDisk).count, node.core.snapshot().findings.len()), (1, 1));
}

#[test]
fn a_pod_that_was_refused_was_not_evicted() {
    let mut node = Node::new();
    let mut refused = pod(3, "late");
    refused.containers[0] = ContainerRecord { name: "app".into(), ..ContainerRecord::default() };
    refused.phase = Some("Failed".into());
    node.evict(20, refused, "Pod was rejected: The node had condition: [DiskPressure]. ");
    node.ticks(21, 30);
    let finding = node.one(Cause::AdmissionRejected);
    assert!(finding.summary.contains("The node had condition: [DiskPressure]"), "{}", finding.summary);
    assert!(node.core.snapshot().counters.evictions.is_empty());
}

#[test]
fn evictions_of_one_workload_are_one_finding_with_its_pods() {
    let mut node = Node::new();
    for (n, second) in [(1, 20), (2, 40)] {
        let mut record = ended(pod(n, &format!("web-{n}")), second);
        record.owner = Some(crate::signal::Owner { kind: "DaemonSet".into(), name: "web".into() });
        node.evict(second, record, DISK);
        node.ticks(second + 1, second + 10);
    }
    let finding = node.one(Cause::EvictedDisk);
    assert_eq!((finding.count, finding.subjects.len()), (2, 2));
    assert_eq!(finding.subjects[0].pod.as_deref(), Some("web-2"), "the latest first");
}

#[test]
fn what_is_near_is_told_once_told_again_when_it_is_below_and_cleared_when_it_is_far() {
    let mut node = Node::new();
    node.disk(0, 40.0, 900_000);
    node.disk(10, 18.0, 900_000);
    assert_eq!(node.findings(Cause::EvictionImminent), [], "one look is none");
    node.disk(20, 18.0, 900_000);
    let near = node.one(Cause::EvictionImminent);
    assert!(near.summary.starts_with("The kubelet is about to evict pods: imagefs.available: 18 GiB of 100 GiB"), "{}", near.summary);
    assert_eq!((near.blame, near.subjects.len()), (Blame::Node, 0));
    node.disk(30, 18.0, 900_000);
    let told = node.told.len();
    node.disk(40, 14.0, 900_000);
    assert!(node.told.len() > told && node.one(Cause::EvictionImminent).summary.starts_with("The kubelet evicts pods: "));
    for second in [50, 60, 70] {
        node.disk(second, 60.0, 900_000);
    }
    let resolved = node.one(Cause::EvictionImminent);
    assert_eq!((resolved.state, resolved.count), (FindingState::Resolved, 1));
}

#[test]
fn layers_on_a_disk_of_their_own_are_containerfs() {
    let mut node = Node::new();
    node.layers(0, &[(1, 1), (2, 1)]);
    for n in 0..15 {
        node.three_disks(n * 10, 48 - 2 * n, 15);
    }
    let figures = node.core.snapshot().room;
    let of = |name: &str| figures.signals.iter().find(|signal| signal.signal.as_str() == name).cloned().expect(name);
    let layers = of("containerfs.available");
    assert_eq!((layers.threshold, layers.available), (Some(5 * GIB), 20 * GIB), "a tenth, as nodefs");
    assert_eq!(layers.reached_in_seconds, Some(75), "15 GiB at 2 GiB in ten seconds");
    assert_eq!((of("imagefs.available").threshold, of("nodefs.available").threshold), (Some(3 * GIB), Some(10 * GIB)));
    node.layers(150, &[(1, 1), (2, 30)]);
    for second in [160, 170] {
        node.three_disks(second, 4, 15);
    }
    let below = node.one(Cause::EvictionImminent);
    assert!(
        below
            .summary
            .starts_with("The kubelet evicts pods: containerfs.available: 4 GiB of 50 GiB are left; the kubelet evicts below 5 GiB"),
        "{}",
        below.summary
    );
    assert!(below.summary.contains("shop/hog grew by 29 GiB") && below.blame == Blame::Workload, "{}", below.summary);
    node.three_disks(180, 0, 15);
    assert!(node.one(Cause::DiskFull).summary.starts_with("The filesystem at /containerfs (containerfs) has no space left"));
}

#[test]
fn images_on_a_disk_of_their_own_are_nothing_that_a_pod_has_written() {
    let mut node = Node::new();
    node.layers(0, &[(1, 1), (2, 1)]);
    node.three_disks(0, 40, 15);
    node.layers(70, &[(1, 1), (2, 10)]);
    for second in [70, 80] {
        node.three_disks(second, 40, 2);
    }
    let below = node.one(Cause::EvictionImminent);
    assert!(below.summary.starts_with("The kubelet evicts pods: imagefs.available: 2 GiB of 20 GiB"), "{}", below.summary);
    assert!(!below.summary.contains("hog") && below.blame == Blame::Node, "{}", below.summary);
    assert!(below.actions[0].contains("crictl rmi --prune"), "{:?}", below.actions);
}

#[test]
fn a_threshold_that_comes_near_at_the_present_rate() {
    let mut node = Node::new();
    // 15 % of 100 GiB is reached in (40 - 15) / 1.2 GiB per ten seconds.
    for n in 0..16u64 {
        node.disk(n * 10, 40.0 - 0.6 * n as f64, 900_000);
    }
    let finding = node.one(Cause::EvictionImminent);
    assert!(finding.summary.contains("at the present rate"), "{}", finding.summary);
    let figures = node.core.snapshot().room;
    let imagefs = figures.signals.iter().find(|signal| signal.signal.as_str() == "imagefs.available").expect("told");
    assert_eq!((imagefs.threshold, imagefs.reached_in_seconds), (Some(15 * GIB), Some(267)));
}

#[test]
fn inodes_run_out_while_there_is_space() {
    let mut node = Node::new();
    for second in [0, 10] {
        node.disk(second, 60.0, 40_000);
    }
    assert!(node.one(Cause::EvictionImminent).summary.contains("inodesFree: 40000 inodes of 1000000 inodes"));
    node.disk(20, 60.0, 3);
    let full = node.one(Cause::DiskFull);
    assert!(full.summary.contains("has no inodes left"), "{}", full.summary);
}

#[test]
fn a_full_disk_is_told_at_once_with_the_words_of_those_who_noticed() {
    let mut node = Node::new();
    node.kubelet(5, "\"Failed to write status\" err=\"open /var/lib/x: no space left on device\"");
    node.disk(10, 0.0, 900_000);
    let full = node.one(Cause::DiskFull);
    assert!(
        full.summary.starts_with("The filesystem at /var/lib/kubelet (nodefs, imagefs, containerfs) has no space left"),
        "{}",
        full.summary
    );
    assert!(full.evidence.iter().any(|evidence| evidence.source == EvidenceSource::KubeletLog));
    node.ticks(30, 40);
    assert_eq!(node.findings(Cause::DiskFull).len(), 1, "the kubelet's words are about this one");
    for second in [50, 60, 70] {
        node.disk(second, 60.0, 900_000);
    }
    assert_eq!(node.one(Cause::DiskFull).state, FindingState::Resolved);
}

#[test]
fn words_about_a_device_that_nobody_watches() {
    let mut node = Node::new();
    node.disk(0, 60.0, 900_000);
    node.kubelet(5, "\"Failed to write status\" err=\"open /mnt/x: no space left on device\"");
    node.disk(10, 60.0, 900_000);
    node.ticks(11, 30);
    let finding = node.one(Cause::DiskFull);
    assert!(finding.not_found[0].contains("/var/lib/kubelet"), "{:?}", finding.not_found);
    node.ticks(920, 930);
    assert_eq!(node.one(Cause::DiskFull).state, FindingState::Resolved);
}

#[test]
fn thresholds_that_are_not_known_are_not_assumed() {
    let mut node = Node::new();
    node.say(1, Body::EvictionSettings(EvictionSettings { layers: vec![], unread: Some("/etc/k: permission denied".into()) }));
    for second in [10, 20, 30] {
        node.disk(second, 9.0, 900_000);
    }
    assert_eq!(node.findings(Cause::EvictionImminent), []);
    assert!(node.core.snapshot().room.signals.iter().all(|signal| signal.threshold.is_none()));
    node.disk(40, 0.0, 900_000);
    let full = node.one(Cause::DiskFull);
    assert!(full.not_found.iter().any(|text| text.contains("/etc/k: permission denied")), "{:?}", full.not_found);
}

#[test]
fn image_collection_that_fails_is_its_own_condition_and_ends_when_it_works() {
    let mut node = Node::new();
    let line = "\"Image garbage collection failed multiple times in a row\" err=\"Failed to garbage collect required amount of images. Attempted to free 5 bytes, but only found 0 bytes eligible to free.\"";
    node.kubelet(10, line);
    node.kubelet(310, line);
    node.ticks(311, 312);
    assert_eq!(node.one(Cause::ImageGcFailed).count, 2);
    node.ticks(1300, 1302);
    assert_eq!(node.one(Cause::ImageGcFailed).state, FindingState::Resolved);
}

#[test]
fn a_filesystem_that_hangs_is_stale_and_its_figures_go() {
    let mut node = Node::new();
    node.say(0, Body::Source(SourceReport { source: SourceName::Disks, state: SourceState::Up, detail: "nodefs".into() }));
    node.disk(0, 60.0, 900_000);
    node.ticks(61, 63);
    let state =
        |node: &Node| node.core.snapshot().sources.into_iter().find(|health| health.source == SourceName::Disks).expect("told").state;
    assert_eq!(state(&node), SourceState::Stale);
    assert!(node.core.snapshot().room.filesystems.is_empty());
    node.disk(70, 60.0, 900_000);
    assert_eq!(state(&node), SourceState::Up);
}

#[test]
fn a_condition_that_lasts_stays_open_and_counts_once() {
    let mut node = Node::new();
    for n in 0..720 {
        node.disk(n * 10, 14.0, 900_000);
    }
    let finding = node.one(Cause::EvictionImminent);
    assert_eq!((finding.state, finding.count), (FindingState::Open, 1));
}

proptest! {
    #[test]
    fn any_course_of_a_disk_keeps_at_most_one_finding_of_each_kind(
        course in proptest::collection::vec((1..40u64, 0.0..100.0f64, 0..1_000_000u64), 1..60)
    ) {
        let mut node = Node::new();
        let mut second = 0;
        for (step, gib, inodes) in course {
            second += step;
            node.disk(second, gib, inodes);
            for cause in [Cause::EvictionImminent, Cause::DiskFull] {
                prop_assert!(node.findings(cause).len() <= 2, "space and inodes");
            }
        }
    }
}
