"""What happens to the agent and to the cluster around it while containers go on dying.

They are played one after another when the scenarios are done, because they touch everybody. Each holds the agents to
the same rule: a container that loops has one finding, the same as before, and its count is the number of its ends.
"""
import json
import os
import signal
import time

from e2e import cluster

NAMESPACE = "e2e-upheaval"
PATIENCE = 150      # of a loop's next start: 40 or 80 s of back-off, and what the status takes to arrive

LOOP = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loop", "namespace": NAMESPACE},
    "spec": {"nodeSelector": {"kubernetes.io/hostname": "host1"}, "containers": [
        {"name": "app", "image": "crash", "imagePullPolicy": "Never", "args": ["sleep", "1000", "exit", "9"]}]},
}


def play(nodes):
    """All of them; returns the names of those that failed, with what was wrong."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.eventually(30, lambda: cluster.get(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default") and [])
    cluster.kubectl("apply", "--filename", "-", stdin=json.dumps(LOOP))
    told = cluster.eventually(PATIENCE, lambda: not_exact(least=2))
    if told:
        return {"upheaval-begin": told}
    failed = {}
    for upheaval in (agent_killed, api_server_frozen, kubelet_restarted):
        if upheaval is kubelet_restarted and "host3" not in nodes:
            continue
        problems = upheaval()
        if problems:
            failed[upheaval.__name__] = problems
    return failed


def names(nodes):
    """What `play` plays."""
    return ["agent_killed", "api_server_frozen"] + ["kubelet_restarted"] * ("host3" in nodes)


def agent_killed():
    """The agent of host1 is killed without a word; the one that follows it repeats nothing and misses nothing."""
    before = finding()
    pod = cluster.agent_pod("host1")
    status = pod["status"]["containerStatuses"][0]
    cluster.on_node("host1", "ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", status["containerID"].split("//")[1])

    def restarted():
        now = cluster.agent_pod("host1")["status"]["containerStatuses"][0]
        return [] if now["restartCount"] > status["restartCount"] and now["ready"] else ["the agent has not come back"]

    return cluster.eventually(90, restarted) or same_and_exact(before)


def api_server_frozen():
    """The API server does not answer for a minute, while a container goes on dying."""
    before = finding()
    server = int((cluster.WORK / "pid/kube-apiserver").read_text())
    os.kill(server, signal.SIGSTOP)
    try:
        time.sleep(60)
    finally:
        os.kill(server, signal.SIGCONT)
    return same_and_exact(before)


def kubelet_restarted():
    """A kubelet that restarts is no container that restarts."""
    def counts():
        return {f["id"]: f["count"] for f in cluster.findings("host3") if f["cause"] in ("kubelet_restarted", "runtime_restarted", "node_rebooted")}
    before = counts()
    cluster.on_node("host3", "systemctl", "restart", "kubelet")
    problems = cluster.eventually(120, lambda: [] if ready("host3") else ["host3 is not ready again"])
    return problems or [f"told as ends of containers: {counts()}" for _ in [0] if counts() != before]


def same_and_exact(before):
    """The finding is the one from before, and counts every end up to now and the next."""
    problems = cluster.eventually(PATIENCE, lambda: not_exact(least=before["count"] + 1))
    if not problems and finding()["id"] != before["id"]:
        problems = [f"the finding was {before['id']} and is {finding()['id']}"]
    return problems


def finding():
    found = [f for f in cluster.findings("host1") if any(s["namespace"] == NAMESPACE for s in f["subjects"])]
    if len(found) != 1:
        raise ValueError(f"{len(found)} findings about {NAMESPACE}: {[(f['cause'], f['count']) for f in found]}")
    return found[0]


def not_exact(least):
    """How the count differs from the ends that the pod's status proves."""
    statuses = cluster.get_json(f"/api/v1/namespaces/{NAMESPACE}/pods/loop")["status"].get("containerStatuses")
    if not statuses:
        return ["the loop has not begun"]
    status = statuses[0]
    ends = status["restartCount"] + (0 if "running" in status["state"] else 1)
    count = finding()["count"]
    problems = [] if count == ends else [f"{count} ends told, Kubernetes has seen {ends}"]
    return problems if ends >= least else problems + [f"{ends} ends, at least {least} awaited"]


def ready(node):
    conditions = cluster.get_json(f"/api/v1/nodes/{node}")["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
