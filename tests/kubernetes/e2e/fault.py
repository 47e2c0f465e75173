"""What the faults of whole nodes share: playing one after another, waiting for what the agents tell."""
import json

from e2e import cluster
from e2e.expect import compare_findings, compare_metrics

PATIENCE = 120      # seconds from a fault until it is told; host3 is slow


def play(faults):
    """All of them, in order: the name of each, and what was wrong. One that breaks does not keep the others from being played."""
    for fault in faults:
        try:
            problems = fault()
        except Exception as error:  # noqa: BLE001: whatever it is, it is told as this fault's problem
            problems = [repr(error)]
        yield fault.__name__, problems


def awaited(node, namespace, findings=(), metrics=(), patience=PATIENCE, asked=cluster.findings):
    """What a node's agent does not tell in time. Of the namespace's pods it must tell nothing else."""
    def problems():
        return (compare_findings(findings, {node: asked(node)}, namespace) +
                compare_metrics(metrics, {node: cluster.metrics(node)}))
    return cluster.eventually(patience, problems)


def place(namespace, *objects, file=None):
    """Makes a namespace, waits until pods are admitted to it, and puts objects there."""
    if not cluster.kubectl("get", "namespace", namespace, "--ignore-not-found"):
        cluster.kubectl("create", "namespace", namespace)
    cluster.eventually(30, lambda: cluster.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default") and [])
    for item in objects:
        cluster.kubectl("apply", "--filename", "-", stdin=json.dumps(item))
    if file:
        cluster.kubectl("apply", "--filename", file)


def pod(node, namespace, name, *args, priority=None, container=None, **spec):
    """A pod of one container on a node, which runs the program that dies to order."""
    container = {"name": "app", "image": "crash", "imagePullPolicy": "Never", "args": list(args)} | (container or {})
    spec = {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1, "containers": [container]} | spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def running(namespace, name, patience=120):
    return cluster.eventually(patience, lambda: [] if cluster.containers(namespace)[name]["running"] else [f"{name} does not run"])
