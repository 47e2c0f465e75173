"""Scenarios of what a node does to its pods that disturb nobody else: they are played with those of cases.py."""
import time

from e2e import cluster
from e2e.cases import LOOPS, PROBED, Scenario, dies, ends, finding, loop
from e2e.expect import AtLeast, Contains, Finding, Metric, OneOf

EVICTIONS = "nodewhy_pod_evictions_total"
STORAGE_ERRORS = "nodewhy_kernel_storage_errors_total"
LOOP_DEVICE = Contains(r"Disk loop\d+ \(the file \S+e2e-disk.img\) reports I/O errors .*; one pod has it mounted at")


def bad_disk(scenario):
    """A filesystem of 64 MiB on a loop device; its file is cut in the middle of what the pod reads."""
    in_host1 = lambda script: cluster.on_node("host1", "sh", "-ec", script)  # noqa: E731
    in_host1(f"""
        truncate -s 64M {cluster.WORK}/e2e-disk.img
        mkfs.ext4 -q {cluster.WORK}/e2e-disk.img
        mkdir -p /var/lib/e2e-disk
        mount -o loop {cluster.WORK}/e2e-disk.img /var/lib/e2e-disk
        dd if=/dev/zero of=/var/lib/e2e-disk/file bs=1M count=40 conv=fsync status=none""")
    cluster.kubectl("apply", "--filename", scenario.file)
    running = cluster.eventually(120, lambda: [] if cluster.containers(scenario.namespace)["reader/app@host1"]["running"] else ["not running"])
    if running:
        raise RuntimeError(running[0])
    time.sleep(5)       # disks seldom fail in the first seconds of a container
    in_host1(f"truncate -s 20M {cluster.WORK}/e2e-disk.img")


def delete_slow(scenario):
    cluster.kubectl("delete", "pod", "slow", "--namespace", scenario.namespace, "--wait=true", "--timeout=120s")


SCENARIOS = [
    Scenario("own-storage", shows={
        "volume/app@host1": {"phase": "Failed"},
        "container/app@host2": {"phase": "Failed"},
        # The kubelet removes an evicted pod's containers at once, and sometimes before it has seen how they ended.
        "polite/app@host2": {"phase": OneOf("Succeeded", "Failed"), "now": OneOf("Completed 0", "ContainerStatusUnknown 137")},
    }, findings=[
        Finding("host1", {"pod": "volume"}, cause="evicted_ephemeral_storage", scope="pod", blame="workload", count=1, confidence="proven"),
        Finding("host2", {"pod": "container"}, cause="evicted_ephemeral_storage", blame="workload", count=1,
                confidence="proven", scope="pod", summary=Contains("its containers' ephemeral-storage limits")),
        # Only the kubelet's log tells, unless the pod has failed.
        Finding("host2", {"pod": "polite"}, cause="evicted_ephemeral_storage", scope="pod", blame="workload", count=1,
                confidence=OneOf("likely", "proven")),
    ], metrics=[
        Metric("host1", EVICTIONS, {"signal": "ephemeral_storage"}, 1),
        Metric("host2", EVICTIONS, {"signal": "ephemeral_storage"}, 2),
        ends("host2", "own-storage", "polite", "evicted_ephemeral_storage", 1), ends("host2", "own-storage", "polite", "*", 1),
        ends("host1", "own-storage", "volume", "evicted_ephemeral_storage", 1), ends("host1", "own-storage", "volume", "*", 1),
    ]),
    Scenario("pids-limit", shows={
        "forker/app@host2": {"restarts": 0, "running": True},
    }, findings=[
        finding("host2", "forker", "pids_limit", scope="pod", blame="workload", count=1, confidence="proven",
                summary=Contains("its pod has all 100 that it may have")),
    ], metrics=[
        Metric("host2", "nodewhy_kernel_problems_total", {"class": "pids_limit"}, AtLeast(1)),
    ]),
    Scenario("bad-disk", place=bad_disk, shows={
        "reader/app@host1": loop("Error 5"),
    }, findings=[
        Finding("host1", {"pod": "reader"}, cause="storage_error", scope="node", blame="node", confidence="proven", count=AtLeast(1),
                summary=LOOP_DEVICE),
        dies("host1", "reader", "app_error", blame="node"),
    ], metrics=[
        Metric("host1", STORAGE_ERRORS, {"device": "loop*"}, AtLeast(1)),
    ]),
    Scenario("quiet-kubelet", shows={
        "liveness/app@host2": loop("Completed 0"),
        "startup/app@host2": loop("Error 137"),
        "no-registry/app@host2": {"restarts": 0, "waiting": OneOf("ErrImagePull", "ImagePullBackOff")},
        "configmap-key/app@host2": {"waiting": "CreateContainerConfigError"},
        "secret-volume/app@host2": {"waiting": "ContainerCreating"},
        "slow/app@host2": {"running": True},
    }, drive=delete_slow, findings=[
        # Its log at --v=0 does not tell a program that the kubelet asked to end from one that ended itself; its counts do.
        dies("host2", "liveness", "liveness_probe", count=LOOPS, blame=PROBED, confidence="likely"),
        dies("host2", "startup", "startup_probe", count=LOOPS, blame=PROBED, confidence="likely"),
        finding("host2", "no-registry", "image_pull", scope="container", confidence="proven"),
        finding("host2", "configmap-key", "config_error", scope="container", blame="workload", confidence="proven"),
        Finding("host2", {"pod": "secret-volume"}, cause="volume_mount", scope="pod", blame="workload"),
        finding("host2", "slow", "slow_shutdown", scope="container", blame="workload", count=1),
    ], metrics=[
        Metric("host2", "nodewhy_kubelet_log_verbosity", {}, 0),
        Metric("host1", "nodewhy_kubelet_log_verbosity", {}, 2),
        ends("host2", "quiet-kubelet", "slow", "slow_shutdown", 1),
    ]),
]
