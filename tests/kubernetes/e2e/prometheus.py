"""A real Prometheus beside the agents: it finds them through Kubernetes, with the relabelling and the rules that are shipped.

    start(cluster)     before the scenarios: the first crashes have to be seen, too
    judge(nodes)       after them: what is wrong, one line each

What differs from what is shipped, because a run takes minutes: scrapes and rules every 5 s, every `for` is 0 s, and a counter
counts as born when it was not there 15 s ago instead of 15 or 30 minutes. So this proves that the rules say the right thing
about real agents' series; that they wait as long as they should is what tests/prometheus proves. AgentMissingOnNode is not judged:
without its wait, one scrape that an emulated node answers too late raises it.

A node is named only for several workloads that also run elsewhere, the more clearly the more of their pods do. So each of
three Deployments has five pods on host1, as its affinity prefers, and one on host2, when the permitted skew of four is used up; they
crash on host2 only. A fourth crashes wherever it runs.
"""
import json
import re
import subprocess
import urllib.parse

from e2e import cluster as real

DEPLOY = real.HERE.parent.parent / "deploy/prometheus"
FOLDER = real.WORK / "prometheus"
NAMESPACE = "e2e-prometheus"
INTERVAL = "5s"
PATIENCE = 120          # seconds for the last crash to be scraped and judged; host3 is slow
ON_HOST2, EVERYWHERE = ("front", "store", "queue"), "release"

FETCH = "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1], timeout=20).read())"
IF_HOST2 = 'if [ "$NODE_NAME" = host2 ]; then sleep 1; exit 7; fi; exec sleep 100000'
ALWAYS = "sleep 1; exit 8"


def start(cluster):
    (FOLDER / "rules").mkdir(parents=True, exist_ok=True)
    for file in sorted((DEPLOY / "rules").glob("*.yaml")):
        (FOLDER / "rules" / file.name).write_text(hurried(file.read_text()))
    (FOLDER / "config.yaml").write_text(f"global: {{evaluation_interval: {INTERVAL}}}\nrule_files: ['{FOLDER}/rules/*.yaml']\n" + shipped_job())
    subprocess.run([real.HERE / "prometheus.sh", FOLDER / "config.yaml"], check=True)
    cluster.kubectl("create", "namespace", NAMESPACE)
    objects = [deployment(name, 6, IF_HOST2, skew=4) for name in ON_HOST2] + [deployment(EVERYWHERE, 4, ALWAYS, skew=1)]
    for item in objects:
        cluster.kubectl("apply", "--filename", "-", stdin=json.dumps(item))


def shipped_job():
    """The shipped file; only how to reach the API server from outside of a pod is added."""
    text = (DEPLOY / "scrape.yaml").read_text()
    text = changed(r"- role: pod$", f"- role: pod\n    kubeconfig_file: {real.WORK}/admin.kubeconfig", text)
    return changed(r"(scrape_interval|scrape_timeout): .*", rf"\1: {INTERVAL}", text)


def hurried(text):
    text = changed(r"\bfor: \S+", "for: 0s", text)
    return re.sub(r"\binterval: \S+", f"interval: {INTERVAL}", re.sub(r"offset (15|30)m", "offset 15s", text))


def changed(pattern, by, text):
    text, times = re.subn(pattern, by, text, flags=re.MULTILINE)
    if not times:
        raise ValueError(f"nothing shipped matches {pattern}")
    return text


def deployment(name, replicas, script, skew):
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["host1"]}]}
    either = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["host1", "host2"]}]}
    labels = {"app": name}
    pod = {
        "terminationGracePeriodSeconds": 1,
        "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [either]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": here}]}},
        "topologySpreadConstraints": [{"maxSkew": skew, "topologyKey": "kubernetes.io/hostname",
                                       "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": labels}}],
        "containers": [{
            "name": "app", "image": "busybox", "imagePullPolicy": "Never", "command": ["sh", "-c", script],
            "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]}]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": pod}}}


def judge(nodes):
    return real.eventually(PATIENCE, lambda: problems(nodes))


def problems(nodes):
    return [*of_targets(nodes), *of_rules(), *of_labels(nodes), *of_verdicts(nodes)]


def of_targets(nodes):
    targets = get("targets", state="active")["activeTargets"]
    found = [f"{t['labels'].get('node')}: {t['lastError'] or t['health']}" for t in targets if t["health"] != "up"]
    names = sorted(t["labels"].get("node", "") for t in targets)
    return found + ([] if names == sorted(nodes) else [f"agents are found on {names}, expected {sorted(nodes)}"])


def of_rules():
    rules = [rule for group in get("rules")["groups"] for rule in group["rules"]]
    found = [f"rule {rule['name']}: {rule.get('lastError') or rule['health']}" for rule in rules if rule["health"] != "ok"]
    return found if rules else ["no rules are loaded"]


def of_labels(nodes):
    found = [f"there is a label {name}" for name in get("labels") if name.startswith("exported_")]
    strays = query('count by (instance, node) ({__name__=~"nodewhy_.+"})')
    found += [f"{n:.0f} series have {labels}" for labels, n in strays if labels.get("node") not in nodes or labels["instance"] != labels["node"]]
    # A container's series names the container's pod, not the agent's.
    pods = {labels.get("pod") for labels, _ in query(f'count by (pod) (nodewhy_container_pids{{namespace="{NAMESPACE}"}})')}
    return found + [f"no container of {NAMESPACE} names its pod"] * (not any(pod and pod.startswith("front-") for pod in pods))


def of_verdicts(nodes):
    if not {"host1", "host2"} <= set(nodes):
        return []
    blamed = {labels["node"] for labels in ever_fired("NodeSpecificPodCrashes")}
    found = [] if blamed == {"host2"} else [f"NodeSpecificPodCrashes has named {sorted(blamed)}, expected host2 alone"]
    broken = {labels["workload"] for labels in ever_fired("WorkloadCrashingEverywhere") if labels["namespace"] == NAMESPACE}
    found += [] if broken == {EVERYWHERE} else [f"WorkloadCrashingEverywhere has named {sorted(broken)}, expected {EVERYWHERE} alone"]
    return found + of_scenario("oom-limit", "WorkloadOOMKilledRepeatedly") + of_scenario("oom-child", "ContainerChildProcessOOMKilled")


def of_scenario(name, alert):
    """What a scenario, if it is part of this run, must have raised."""
    namespace = f"e2e-{name}"
    if not any(item["metadata"]["name"] == namespace for item in real.get_json("/api/v1/namespaces")["items"]):
        return []
    raised = any(labels["namespace"] == namespace for labels in ever_fired(alert))
    return [] if raised else [f"{alert} was not raised for {namespace}"]


def ever_fired(alert):
    """The labels of each alert of this name that fired at any time of the run."""
    return [labels for labels, _ in query(f'max_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[2h])')]


def query(expression):
    return [(row["metric"], float(row["value"][1])) for row in get("query", query=expression)["result"]]


def get(path, **parameters):
    """Prometheus listens in host1's network, which this process has no part in."""
    url = f"http://127.0.0.1:9090/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    host1 = (real.WORK / "pid/host1").read_text().strip()
    done = subprocess.run(["nsenter", "--target", host1, "--net", "/usr/bin/python3", "-c", FETCH, url], capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{url}: {done.stderr.decode().strip().splitlines()[-1:]}")
    return json.loads(done.stdout)["data"]
