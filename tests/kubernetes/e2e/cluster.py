"""The running test cluster, as scenarios see it."""
import http.client
import itertools
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

from e2e.expect import parse_metrics

HERE = pathlib.Path(__file__).resolve().parent.parent
WORK = pathlib.Path(os.environ.get("NODEWHY_E2E_DIR", "/var/tmp/nodewhy-e2e"))
SLOWNESS = 2.5      # how much slower than usual the machine may be, and the emulated one on it
AGENT_LABEL, AGENT_PORT = "app.kubernetes.io%2Fname%3Dnodewhy", 9909


class ApiError(Exception):
    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket of `kubectl proxy`: the cluster's network is not this process's."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(WORK / "api.sock"))


def get(path):
    connection = UnixConnection("localhost", timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    finally:
        connection.close()
    if answer.status != 200:
        raise ApiError(answer.status, body)
    return body


def get_json(path):
    return json.loads(get(path))


def kubectl(*arguments, stdin=None):
    done = subprocess.run([HERE / "k", *arguments], input=stdin, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def on_node(node, *command, stdin=None):
    """Runs a command on a node, host3 included."""
    return subprocess.run([HERE / "on-node.sh", node, *command], input=stdin, text=True, capture_output=True, check=True).stdout


def eventually(seconds, problems):
    """Repeats `problems` until it returns none, or time is up; returns the last ones. An API that fails is one.

    The seconds are what it takes where nothing else runs; a slower machine has more. Looks three times at least: one look
    can take all the time that there is, and come upon what is just happening.
    """
    until = time.monotonic() + SLOWNESS * seconds
    for look in itertools.count(1):
        try:
            last = problems()
        except (OSError, ValueError, RuntimeError, ApiError, http.client.HTTPException, subprocess.SubprocessError) as error:
            last = [repr(error)]
        if not last or (time.monotonic() > until and look >= 3):
            return last
        time.sleep(1)


def last_state_of_pod(namespace, name, then):
    """A pod as it was when it went, by the API server's own word to those who watch; `then` is what makes it go."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    since = get_json(path)["metadata"]["resourceVersion"]
    then()
    connection = UnixConnection("localhost", timeout=120)
    try:
        connection.request("GET", f"{path}?watch=1&resourceVersion={since}&fieldSelector=metadata.name={name}&timeoutSeconds=120")
        for line in connection.getresponse():
            if (event := json.loads(line))["type"] == "DELETED":
                return event["object"]
    finally:
        connection.close()
    raise RuntimeError(f"{namespace}/{name} is not gone after two minutes")


def nodes():
    return sorted(n["metadata"]["name"] for n in get_json("/api/v1/nodes")["items"])


def containers(namespace):
    """What Kubernetes shows of a namespace's containers, a flat mapping each, under "pod/container@node"."""
    shown = {}
    for pod in get_json(f"/api/v1/namespaces/{namespace}/pods")["items"]:
        status = pod.get("status", {})
        statuses = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
        specs = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
        for name in [c["name"] for c in specs]:
            s = next((s for s in statuses if s["name"] == name), {})
            state, last = s.get("state", {}), s.get("lastState", {})
            shown[f"{pod['metadata']['name']}/{name}@{pod['spec'].get('nodeName')}"] = {
                "phase": status.get("phase"),
                "restarts": s.get("restartCount", 0),
                "running": "running" in state,
                "waiting": state.get("waiting", {}).get("reason"),
                "now": ended(state),
                "last": ended(last),
                "message": (state.get("waiting") or state.get("terminated") or {}).get("message"),
                "last_message": last.get("terminated", {}).get("message"),
            }
    return shown


def ends(namespace):
    """How many instances of each container have ended, under "pod/container@node", as the status proves it now."""
    counted = {}
    for pod in get_json(f"/api/v1/namespaces/{namespace}/pods")["items"]:
        status = pod.get("status", {})
        for s in status.get("initContainerStatuses", []) + status.get("containerStatuses", []):
            name = f"{pod['metadata']['name']}/{s['name']}@{pod['spec'].get('nodeName')}"
            counted[name] = s["restartCount"] + newest_has_ended(s)
    return counted


def newest_has_ended(status):
    """restartCount is the number of the newest instance; while the next one waits, lastState is still its. A kubelet that
    has lost a container of a pod that it evicts makes up its end, and then once more as the end of a next instance, which
    there never was."""
    last = status.get("lastState", {}).get("terminated", {})
    if is_made_up(last) and is_made_up(status["state"].get("terminated", {})):
        return False
    ended = last.get("containerID")
    return "terminated" in status["state"] or ("waiting" in status["state"] and ended is not None and ended == status.get("containerID"))


def is_made_up(terminated):
    return terminated.get("reason") == "ContainerStatusUnknown" and "containerID" not in terminated


def ended(state):
    """A terminated state as "Reason code"."""
    terminated = state.get("terminated")
    return terminated and f"{terminated.get('reason')} {terminated['exitCode']}"


def agent_pod(node):
    """The agent of a node: its name and namespace."""
    found = get_json(f"/api/v1/pods?labelSelector={AGENT_LABEL}&fieldSelector=spec.nodeName%3D{node}")["items"]
    if not found:
        raise ApiError(404, f"no agent on {node}")
    return found[0]


def agent_path(node):
    """Where the API server passes requests on to the agent of a node."""
    meta = agent_pod(node)["metadata"]
    return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}:{AGENT_PORT}/proxy"


def agent_requests():
    """Every request of the agents to the API server so far, by the agent's pod: (when, verb, resource, user agent)."""
    requests = {}
    for line in (WORK / "log/audit").read_text().splitlines():
        event = json.loads(line)
        pod = event["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", ["?"])[0]
        what = event.get("objectRef", {}).get("resource", event["requestURI"])
        if event["stage"] != "ResponseComplete" or event["verb"] != "watch":   # a watch is told at its start and its end
            requests.setdefault(pod, []).append((event["requestReceivedTimestamp"], event["verb"], what, event.get("userAgent", "")))
    return requests


_asked = {}     # node: (when, findings); every scenario asks every second, and an exec is dear
_asking = threading.Lock()


def said_in(pod, patience=60):
    """A kubelet that has just started does not know its pods yet, and refuses."""
    until = time.monotonic() + patience
    while True:
        try:
            return kubectl("exec", "--namespace", pod["namespace"], pod["name"], "--", "nodewhy", "findings", "--all", "--output=json")
        except RuntimeError:
            if time.monotonic() > until:
                raise
            time.sleep(2)


def findings(node):
    """Asked inside the agent's own pod: findings name pods, so the agent tells them to its own machine only."""
    with _asking:
        when, known = _asked.get(node, (0, None))
        if time.monotonic() - when > 3:
            meta = agent_pod(node)["metadata"]
            known = json.loads(said_in(meta))["findings"]
            _asked[node] = (time.monotonic(), known)
    return known


def metrics(node):
    return parse_metrics(get(agent_path(node) + "/metrics"))
