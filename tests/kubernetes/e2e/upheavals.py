"""What happens to the agent and to the cluster around it while containers go on dying.

They are played one after another when the scenarios are done, because they touch everybody. Each holds the agents to
the same rule: a container that loops has one finding, the same as before, and its count is the number of its ends.
"""
import datetime
import json
import os
import signal
import subprocess
import time

from e2e import cluster
from e2e.expect import TERMINATIONS, Metric, OneOf, compare_metrics

NAMESPACE = "e2e-upheaval"
PATIENCE = 150      # of a loop's next start: 40 or 80 s of back-off, and what the status takes to arrive

WATCH_LASTS = 240   # at least: the client asks for 290 s, the server ends none earlier by itself

LOOP = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loop", "namespace": NAMESPACE},
    "spec": {"nodeSelector": {"kubernetes.io/hostname": "host1"}, "containers": [
        {"name": "app", "image": "crash", "imagePullPolicy": "Never", "args": ["sleep", "1000", "exit", "9"]}]},
}


ALONE = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "namespace": NAMESPACE},
    "spec": {"terminationGracePeriodSeconds": 1, "containers": [
        {"name": "app", "image": "crash", "imagePullPolicy": "Never", "args": ["sleep", "1000", "exit", "6"]}]},
}


def play(nodes, recorded=False):
    """All of them, one after another: the name of each, and what was wrong. The requests come first: the others make the agents ask again.
    `recorded`: those only that an agent sees from its start to its end, for a recording of it."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.eventually(30, lambda: cluster.get(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default") and [])
    cluster.kubectl("apply", "--filename", "-", stdin=json.dumps(LOOP))
    begun = cluster.eventually(PATIENCE, lambda: not_exact(least=2))
    yield "a_loop_begins", begun
    needs = {requests_are_few: "host1", agent_killed: "host1", api_server_frozen: "host1", api_server_killed: "host2",
             kubelet_restarted: "host3"}
    played = {api_server_killed, kubelet_restarted} if recorded else set(needs)
    for upheaval in [] if begun else [upheaval for upheaval, node in needs.items() if node in nodes and upheaval in played]:
        yield upheaval.__name__, upheaval()


def requests_are_few():
    """Each agent has listed the pods once and watches them: nothing else, and nothing again and again."""
    asked = cluster.agent_requests()
    silent = {cluster.agent_pod(node)["metadata"]["name"] for node in cluster.nodes()} - set(asked)
    problems = [f"the API server knows no request of {pod}" for pod in silent]
    for pod, requests in asked.items():
        other = [r for r in requests if r[1] not in ("list", "watch") or r[2] != "pods" or not r[3].startswith("nodewhy/")]
        if other:
            problems.append(f"{pod} also asked for {other[:3]}")
        lists = [r for r in requests if r[1] == "list"]
        if len(lists) != 1:
            problems.append(f"{pod} has listed {len(lists)} times")
        watches = [moment(r[0]) for r in requests if r[1] == "watch"]
        again = [later - earlier for earlier, later in zip(watches, watches[1:]) if later - earlier < WATCH_LASTS]
        if not watches or again:
            problems.append(f"{pod} watches were begun after {again} s")
    return problems


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


def api_server_killed():
    """The API server is gone for more than a minute, while a pod dies on host1 and one that it has never seen on host2."""
    before, agent, asked = finding(), agent_container("host2"), lists()
    os.kill(int((cluster.WORK / "pid/kube-apiserver").read_text()), signal.SIGKILL)
    gone = time.monotonic()
    cluster.on_node("host2", "tee", "/etc/kubernetes/manifests/alone.yaml", stdin=json.dumps(ALONE))
    try:
        # Its starts are 0, 10, 20 and 40 s apart.
        told = cluster.eventually(100, lambda: [] if counted_on_node("host2", agent) >= 2 else ["no ends are told on host2"])
        time.sleep(max(0, 60 - (time.monotonic() - gone)))
    finally:
        subprocess.run([cluster.HERE / "api-server.sh"], check=True)
    # An agent asks again within a minute, and the kubelet makes the pod's mirror at its own pace.
    problems = told or cluster.eventually(150, alone_is_exact) or same_and_exact(before)
    # A list for what it has missed, and no more; spread over a minute, as all agents of a cluster ask then.
    more = {pod: n - asked.get(pod, 0) for pod, n in lists().items()}
    return problems + [f"{pod} has listed {n} times since" for pod, n in more.items() if n > 1]


def agent_container(node):
    return cluster.agent_pod(node)["status"]["containerStatuses"][0]["containerID"].split("//")[1]


def lists():
    return {pod: sum(r[1] == "list" for r in requests) for pod, requests in cluster.agent_requests().items()}


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def counted_on_node(node, agent):
    """The ends of the static pod that the agent tells, asked on the node itself: there is no API server to ask by."""
    said = cluster.on_node(node, "ctr", "-n", "k8s.io", "tasks", "exec", "--exec-id", f"ask-{time.monotonic_ns()}", agent,
                           "nodewhy", "findings", "--all", "--output=json")
    return sum(f["count"] for f in json.loads(said)["findings"] if is_about_alone(f))


def is_about_alone(finding):
    return any(s["namespace"] == NAMESPACE and s["pod"] == "alone-host2" for s in finding["subjects"])


def alone_is_exact():
    """How what is told and counted of the static pod differs from what its status proves."""
    ends = cluster.ends(NAMESPACE).get("alone-host2/app@host2")
    if ends is None:
        return ["the static pod has no mirror yet"]
    told = sum(f["count"] for f in cluster.findings("host2") if is_about_alone(f))
    labels = {"namespace": NAMESPACE, "workload_kind": "StaticPod", "workload": "alone", "container": "app"}
    problems = compare_metrics([Metric("host2", TERMINATIONS, labels, ends)], {"host2": cluster.metrics("host2")})
    return problems + [f"{told} ends told, Kubernetes has seen {ends}"] * (told != ends)


def kubelet_restarted():
    """A kubelet that restarts is no container that restarts."""
    def counts():
        return {f["id"]: f["count"] for f in cluster.findings("host3") if f["cause"] in ("kubelet_restarted", "runtime_restarted", "node_rebooted")}
    before = counts()
    cluster.on_node("host3", "systemctl", "restart", "kubelet")
    problems = cluster.eventually(120, lambda: [] if ready("host3") else ["host3 is not ready again"])
    return problems or [f"told as ends of containers: {counts()}" for _ in [0] if counts() != before]


def same_and_exact(before):
    """The finding is the one from before, and it and the metrics count every end up to now and the next."""
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
    problems += compare_metrics([Metric("host1", TERMINATIONS, {"namespace": NAMESPACE, "cause": OneOf("app_error", "unknown")}, ends),
                                 Metric("host1", TERMINATIONS, {"namespace": NAMESPACE}, ends)], {"host1": cluster.metrics("host1")})
    return problems if ends >= least else problems + [f"{ends} ends, at least {least} awaited"]


def ready(node):
    conditions = cluster.get_json(f"/api/v1/nodes/{node}")["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
