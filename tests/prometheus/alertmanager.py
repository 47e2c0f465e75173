"""The example for Alertmanager in a real one: who is told what, and what is muted by what."""
import contextlib
import json
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.request

import shipped

CONFIG = shipped.DEPLOY / "alertmanager.yaml"
PATIENCE = 15       # seconds for Alertmanager to start, and to take in what was posted

NODE = {"cluster": "c1", "node": "n1"}
WEB = {"cluster": "c1", "namespace": "shop", "workload_kind": "Deployment", "workload": "web"}
LOOP = NODE | WEB

# Labels of an alert: the receivers that are told.
ROUTES = [
    ({"alertname": "NodeEvictedPods", "severity": "info", **NODE}, "nobody"),
    ({"alertname": "NodeStorageErrors", "severity": "critical", "device": "sda", **NODE}, "on-call"),
    ({"alertname": "NodeGlobalOOM", "severity": "warning", **NODE}, "team"),
    ({"alertname": "WorkloadCrashLooping", "severity": "warning", **LOOP}, "workload-owners"),
    ({"alertname": "WorkloadCrashingEverywhere", "severity": "warning", **WEB}, "workload-owners"),
    ({"alertname": "CrashesUnexplained", "severity": "info", "cluster": "c1"}, "nobody"),
    ({"alertname": "KubeNodeNotReady", "severity": "warning", **NODE}, "team"),
]


def alert(name, severity="warning", **labels):
    return {"alertname": name, "severity": severity, **labels}


# What fires together: the first mutes the second, and not the third.
INHIBITIONS = [
    ("a critical alert mutes its own warning",
     alert("NodeSpecificPodCrashes", "critical", **NODE), alert("NodeSpecificPodCrashes", **NODE),
     alert("NodeSpecificPodCrashes", cluster="c1", node="n2")),
    *[(f"{name} mutes the crash loops of its node",
       alert(name, severity, **NODE), alert("WorkloadCrashLooping", **LOOP),
       alert("WorkloadCrashLooping", **{**LOOP, "node": "n2"}))
      for name, severity in (("NodeSpecificPodCrashes", "warning"), ("NodeGlobalOOM", "warning"),
                             ("NodeAllocatableOOM", "warning"), ("NodeStorageErrors", "critical"), ("NodeUnhealthy", "critical"))],
    ("a node at fault mutes its storm",
     alert("NodeSpecificPodCrashes", **NODE), alert("NodePodRestartStorm", **NODE), alert("NodePodRestartStorm", cluster="c2", node="n1")),
    ("a workload that crashes everywhere mutes its crash loops",
     alert("WorkloadCrashingEverywhere", **WEB), alert("WorkloadCrashLooping", **LOOP),
     alert("WorkloadCrashLooping", **{**LOOP, "workload": "api"})),
    ("a workload that crashes everywhere mutes the storms of its cluster",
     alert("WorkloadCrashingEverywhere", **WEB), alert("NodePodRestartStorm", **NODE), alert("NodePodRestartStorm", cluster="c2", node="n1")),
    ("a workload that crashes everywhere mutes a node's warning, and not what is critical",
     alert("WorkloadCrashingEverywhere", **WEB), alert("NodeSpecificPodCrashes", **NODE),
     alert("NodeSpecificPodCrashes", "critical", cluster="c1", node="n2")),
    ("a crash loop that names its node mutes the one that does not",
     alert("WorkloadCrashLooping", **LOOP), alert("KubePodCrashLooping", cluster="c1", namespace="shop", pod="web-1"),
     alert("KubePodCrashLooping", cluster="c1", namespace="bank", pod="db-0")),
    ("a workload that crashes everywhere mutes kubernetes-mixin's alert, too",
     alert("WorkloadCrashingEverywhere", **WEB), alert("KubePodCrashLooping", cluster="c1", namespace="shop", pod="web-1"),
     alert("KubePodCrashLooping", cluster="c2", namespace="shop", pod="web-1")),
    ("why a node is not ready mutes that it is not",
     alert("NodeUnhealthy", "critical", cause="runtime_down", **NODE), alert("KubeNodeNotReady", **NODE),
     alert("KubeNodeNotReady", cluster="c1", node="n2")),
    ("the same without a label cluster",
     alert("NodeGlobalOOM", node="n1"), alert("WorkloadCrashLooping", node="n1", namespace="shop", workload="web"),
     alert("WorkloadCrashLooping", node="n2", namespace="shop", workload="web")),
]


def problems():
    found = [f"route of {labels}: {told}, expected {receiver}" for labels, receiver in ROUTES if (told := route(labels)) != receiver]
    for title, source, muted, heard in INHIBITIONS:
        with alertmanager() as url:     # each in its own, so that one test's alerts mute none of another's
            found += [f"{title}: {problem}" for problem in inhibition(url, source, muted, heard)]
    return found


def route(labels):
    said = subprocess.run(["amtool", "config", "routes", "test", f"--config.file={CONFIG}", *(f"{k}={v}" for k, v in labels.items())],
                          capture_output=True, text=True, check=True)
    return said.stdout.strip()


def inhibition(url, source, muted, heard):
    # Without the source, both are heard: otherwise the test below proves nothing.
    post(url, [muted, heard])
    if wrong := settle(url, {key(muted): "active", key(heard): "active"}):
        return [f"before: {wrong}"]
    post(url, [source])
    return [wrong] if (wrong := settle(url, {key(source): "active", key(muted): "suppressed", key(heard): "active"})) else []


def settle(url, expected):
    """Waits until the alerts have these states; returns what is different at the end."""
    until = time.monotonic() + PATIENCE
    while (states := shown(url)) != expected and time.monotonic() < until:
        time.sleep(0.05)
    return "" if states == expected else f"{states}, expected {expected}"


def key(labels):
    return json.dumps(labels, sort_keys=True)


def shown(url):
    with urllib.request.urlopen(url + "/api/v2/alerts?inhibited=true") as answer:
        return {key(a["labels"]): a["status"]["state"] for a in json.load(answer)}


def post(url, alerts):
    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    request = urllib.request.Request(url + "/api/v2/alerts", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).close()


@contextlib.contextmanager
def alertmanager():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log"
        command = ["prometheus-alertmanager", f"--config.file={CONFIG}", f"--storage.path={folder}",
                   f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
        with open(log, "w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait()


def wait_until_ready(url, process, log):
    until = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(url + "/-/ready").close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Alertmanager does not start:\n{log.read_text()}") from None
            time.sleep(0.05)
