"""A node that runs short of disk space and of inodes, for real: host2's kubelet watches a filesystem of 400 MB.

Played when the scenarios are done: whoever runs on host2 could be evicted. Evicting pods and letting go of the condition
takes the kubelet some rounds of ten seconds.
"""
from e2e import cluster, fault
from e2e.expect import AtLeast, Contains, Finding, Metric, compare_findings, differences
from e2e.node_cases import EVICTIONS

ROUNDS = 180        # seconds for both evictions


def played(nodes, named):
    wanted = [fault for fault in FAULTS if not named or fault.__name__ in named]
    return wanted if "host2" in nodes else []


def disk_runs_full():
    """A pod fills the disk: another one is evicted before it, and refused when it comes back."""
    namespace = "e2e-disk-pressure"
    innocent, filler = {"namespace": namespace, "workload": "innocent"}, {"namespace": namespace, "pod": "filler"}
    evictions = evicted("disk")
    fault.place(namespace, file=cluster.HERE / "scenarios/disk-pressure.yaml")
    near = Finding("host2", cause="eviction_imminent", state="open", scope="node", blame="workload",
                   summary=Contains(r"nodefs\.available: .*pod e2e-disk-pressure/filler grew by"))
    # Before anybody is evicted, where its look comes before the kubelet's.
    problems = cluster.eventually(90, lambda: not_about("host2", near) if evicted("disk") == evictions else [])
    problems += fault.awaited("host2", namespace, patience=ROUNDS, findings=[
        Finding("host2", innocent, cause="evicted_disk", scope="node", blame="neighbour", count=1, confidence="proven",
                summary=Contains("It was not the one that took it: pod e2e-disk-pressure/filler grew by")),
        Finding("host2", innocent, cause="admission_rejected", scope="node", blame="node", count=AtLeast(1),
                summary=Contains(r"DiskPressure")),
        Finding("host2", filler, cause="evicted_disk", scope="node", blame="workload", count=1, confidence="proven",
                summary=Contains("it is the one that took it")),
    ], metrics=[
        Metric("host2", EVICTIONS, {"signal": "disk"}, evictions + 2),
    ])
    # What the kubelet says of the culprit is next to nothing: its containers' own files.
    told = next((f for f in cluster.findings("host2") if any(not differences(filler, s) for s in f["subjects"])), {"evidence": []})
    if not any(Contains(r"was using \d+Ki").accepts(e["what"]) for e in told["evidence"]):
        problems.append(f"the status' words are no evidence: {[e['what'] for e in told['evidence']]}")
    return problems + over(namespace, "evicted_disk")


def inodes_run_out():
    """A pod makes so many files that no inodes are left, while there is space."""
    namespace = "e2e-inode-pressure"
    innocent, filler = {"namespace": namespace, "workload": "innocent"}, {"namespace": namespace, "pod": "filler"}
    evictions = evicted("inodes")
    fault.place(namespace, file=cluster.HERE / "scenarios/inode-pressure.yaml")
    problems = fault.awaited("host2", namespace, patience=ROUNDS, findings=[
        Finding("host2", innocent, cause="evicted_inodes", scope="node", blame="neighbour", count=1, confidence="proven",
                summary=Contains("It was not the one that took it: pod e2e-inode-pressure/filler grew by \\d+ files")),
        Finding("host2", innocent, cause="admission_rejected", scope="node", blame="node", count=AtLeast(1)),
        Finding("host2", filler, cause="evicted_inodes", scope="node", blame="workload", count=1, confidence="proven"),
    ], metrics=[
        Metric("host2", EVICTIONS, {"signal": "inodes"}, evictions + 2),
    ])
    return problems + over(namespace, "evicted_inodes")


def evicted(signal):
    return sum(value for name, labels, value in cluster.metrics("host2") if name == EVICTIONS and labels == {"signal": signal})


def not_about(node, *wanted):
    return compare_findings(wanted, {node: cluster.findings(node)}, namespace="nobody's")


def over(namespace, cause):
    """The pods go, the condition ends; what was told of the node's disk is resolved."""
    cluster.kubectl("delete", "namespace", namespace, "--timeout=180s")

    def problems():
        open_ = [f for f in cluster.findings("host2") if f["cause"] in ("eviction_imminent", "disk_full") and f["state"] == "open"]
        conditions = cluster.get_json("/api/v1/nodes/host2")["status"]["conditions"]
        pressed = [c["type"] for c in conditions if c["type"] == "DiskPressure" and c["status"] == "True"]
        return [f"{f['cause']} is still open: {f['summary']}" for f in open_] + pressed
    return cluster.eventually(90, problems)


FAULTS = [disk_runs_full, inodes_run_out]
