"""A real Prometheus beside the agents: it finds them through Kubernetes, with the relabelling and the rules that are shipped.

    start(cluster)                      before the scenarios: the first crashes have to be seen, too
    judge(nodes)                        after them: what is wrong, one line each
    judge_afterwards(nodes, played)     when everything that happens to nodes has happened, too: what each thing that was played
                                        must have raised; and that every rule and every panel has found something
    judge_blind(nodes)                  when deploy.py has let agents run that may not read what they should

What differs from what is shipped, because a run takes minutes: scrapes and rules every 5 s, every `for` is 0 s, and a counter
counts as born when it was not there 15 s ago instead of 15 or 30 minutes. So this proves that the rules say the right thing
about real agents' series; that they wait as long as they should is what tests/prometheus proves. AgentMissingOnNode is not judged:
without its wait, one scrape that an emulated node answers too late raises it.

A node is named only for several workloads that also run elsewhere, the more clearly the more of their pods do. So each of
three Deployments has five pods on host1, as its affinity prefers, and one on host2, when the permitted skew of four is used up; they
crash on host2 only. A fourth crashes wherever it runs.
"""
import dataclasses
import itertools
import json
import re
import subprocess
import sys
import urllib.parse

from e2e import cluster as real

sys.path.insert(0, str(real.HERE.parent / "dashboards"))
import pages  # noqa: E402

DEPLOY = real.HERE.parent.parent / "deploy/prometheus"
FOLDER = real.WORK / "prometheus"
NAMESPACE = "e2e-prometheus"
INTERVAL = "5s"
PATIENCE = 120          # seconds for the last crash to be scraped and judged; host3 is slow
ON_HOST2, EVERYWHERE = ("front", "store", "queue"), "release"

FETCH = """
import json, sys, urllib.request
print(json.dumps([json.load(urllib.request.urlopen(url, timeout=30))["data"] for url in json.load(sys.stdin)]))
"""
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


def leave_host2():
    """Takes the pods that crash away from host2: they would be evicted beside those that a fault is about."""
    real.kubectl("scale", "deployment", *ON_HOST2, "--namespace", NAMESPACE, "--replicas=4")
    real.kubectl("scale", "deployment", EVERYWHERE, "--namespace", NAMESPACE, "--replicas=0")
    return real.eventually(60, lambda: [name for name in real.containers(NAMESPACE) if name.endswith("@host2")])


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
    return (found + of_scenario("oom-limit", "WorkloadOOMKilledRepeatedly") + of_scenario("oom-child", "ContainerChildProcessOOMKilled") +
            of_storm() + not_blind())


def of_storm():
    """host1 is where most of the scenarios' loops are."""
    if not (there("exit-codes") and there("signals")):
        return []
    stormy = {labels["node"] for labels in ever_fired("NodePodRestartStorm")}
    return [] if "host1" in stormy else [f"NodePodRestartStorm has named {sorted(stormy)}, not host1"]


def not_blind():
    return [f"AgentSourceDown was raised for {labels['source']} on {labels['node']}" for labels in blind()]


def blind():
    """The alerts of the sources that no fault of the API server touches."""
    return [labels for labels in ever_fired("AgentSourceDown") if labels["source"] in ("kernel_log", "cgroups")]


def of_scenario(name, alert):
    """What a scenario, if it is part of this run, must have raised."""
    if not there(name):
        return []
    raised = any(labels["namespace"] == f"e2e-{name}" for labels in ever_fired(alert))
    return [] if raised else [f"{alert} was not raised for e2e-{name}"]


def there(scenario):
    return any(item["metadata"]["name"] == f"e2e-{scenario}" for item in real.get_json("/api/v1/namespaces")["items"])


def ever_fired(alert):
    """The labels of each alert of this name that fired at any time of the run."""
    return [labels for labels, _ in query(f'max_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[2h])')]


# Everything that has been played


# What must raise what. The names are of scenarios, faults of nodes and upheavals; what is no part of a run is not asked for.
RAISES = {
    "disk_runs_full": [("NodeEvictionImminent", {"node": "host2", "signal": "nodefs.available"}), ("NodeEvictedPods", {"node": "host2", "signal": "disk"})],
    "inodes_run_out": [("NodeEvictionImminent", {"node": "host2", "signal": "nodefs.inodesFree"}), ("NodeEvictedPods", {"node": "host2", "signal": "inodes"})],
    "memory_runs_out": [("NodeGlobalOOM", {"node": "host3"})],
    # host1 and host2 share a kernel: both count the errors of its disks.
    "bad-disk": [("NodeStorageErrors", {"node": "host1"}), ("NodeStorageErrors", {"node": "host2"})],
    "disk_fails": [("NodeStorageErrors", {"node": "host3"}), ("NodeUnhealthy", {"node": "host3", "cause": "read_only_filesystem"})],
    "kubelet_stopped": [("NodeUnhealthy", {"node": "host3", "cause": "kubelet_down"})],
}
# Alerts that only such a thing raises must name no other node.
ONLY = ("NodeGlobalOOM", "NodeStorageErrors", "NodeEvictionImminent")


def judge_afterwards(nodes, played):
    return real.eventually(PATIENCE, lambda: [*of_played(played), *of_expressions(played)])


def of_played(played):
    wanted = [(alert, labels) for name in sorted(played & RAISES.keys()) for alert, labels in RAISES[name]]
    fired = {alert: ever_fired(alert) for alert in {*ONLY, *(alert for alert, _ in wanted)}}
    found = [f"{alert} was not raised for {labels}" for alert, labels in wanted if not any(labels.items() <= other.items() for other in fired[alert])]
    for alert in ONLY:
        named, allowed = {labels["node"] for labels in fired[alert]}, {labels["node"] for other, labels in wanted if other == alert}
        found += [f"{alert} has named {node}" for node in sorted(named - allowed)]
    return found


def of_expressions(played):
    """Every rule and every panel has found something here, or it is known why not."""
    empty = {name for name, answer in answers().items() if not answer}
    found = [f"{name}: no data" for name in sorted(empty) if not any(re.fullmatch(e.names, name) for e in EMPTY)]
    # An explanation of what is not so is wrong.
    return found + [f"{e.names} has data, although {e.why}" for e in EMPTY
                    if not e.sometimes and not e.unless & played and not any(re.fullmatch(e.names, name) for name in empty)]


def answers():
    """{what asks: the series that answer it}: of alerts, those that they ever raised."""
    asked = {}
    for rule in (rule for group in get("rules")["groups"] for rule in group["rules"]):
        if rule["type"] == "recording":
            asked[f"record {rule['name']}"] = [("query", {"query": f"last_over_time({rule['name']}[2h])"})]
        else:
            severity = rule["labels"]["severity"]
            raised = f'ALERTS{{alertname="{rule["name"]}",severity="{severity}",alertstate="firing"}}'
            asked[f"alert {rule['name']} {severity}"] = [("query", {"query": f"last_over_time({raised}[2h])"})]
    now = float(get("query", query="time()")["result"][1])
    for panel in pages.queries():
        asked[f"panel {panel}"] = asked.get(f"panel {panel}", []) + [as_grafana_asks(panel, chosen, now) for chosen in CHOSEN[panel.page]]
    found = get_all(list(itertools.chain.from_iterable(asked.values())))
    taken = iter(found)
    return {name: [row for _ in questions for row in rows(next(taken))] for name, questions in asked.items()}


def rows(answer):
    return [answer["result"]] if answer["resultType"] in ("scalar", "string") else answer["result"]


LOOKED_AT = 3600    # seconds: a run takes half of it
# What the dashboards' variables are set to, one after another; series of this Prometheus have no cluster.
NODE = [{"node": ".*"}]
CHOSEN = {"fleet": NODE, "node": NODE, "workload": [
    {"namespace": f"e2e-{namespace}", "workload": workload, "workload_kind": ".*", "node": ".*"}
    for namespace, workload in (("prometheus", "front"), ("oom-limit", "grower"), ("oom-child", "parent"))]}


def as_grafana_asks(panel, chosen, now):
    values = {"cluster": "", "__rate_interval": "60s", "__range": panel.span} | chosen
    expression = re.sub(r"\$(\w+)", lambda match: values.get(match.group(1), match.group(0)), panel.expr)
    # One reading an hour is taken on the hour, which few runs see.
    expression = expression.replace("[7d:1h]", "[1h:1m]")
    if panel.instant:
        return "query", {"query": expression}
    return "query_range", {"query": expression, "start": now - LOOKED_AT, "end": now, "step": 60}


@dataclasses.dataclass
class Empty:
    """What finds nothing here, and why that is right."""
    names: str
    why: str
    unless: set = frozenset()       # one of these is played
    sometimes: bool = False         # it is a matter of timing


EMPTY = [
    Empty("alert NodeSpecificPodCrashes critical", "only four workloads crash on host2 alone"),
    Empty("alert NodeSystemProcessOOMKilled critical", "no service of a node is killed"),
    Empty("alert NodeAllocatableOOM warning", "no limit is set for all pods together"),
    Empty("alert CrashesUnexplained info", "the crashes are explained"),
    Empty("alert NodeGlobalOOM warning", "no node runs out of memory", unless={"memory_runs_out"}),
    Empty("alert NodeStorageErrors critical", "no disk fails", unless={"bad-disk", "disk_fails"}),
    Empty("alert NodeEvictionImminent warning", "there is room on every node", unless={"disk_runs_full", "inodes_run_out", "memory_runs_out"}),
    Empty("alert NodeEvictedPods info", "nothing is evicted", unless={"disk_runs_full", "inodes_run_out", "own-storage"}),
    Empty("alert NodeUnhealthy critical", "kubelets, runtimes and disks are well", unless={"disk_fails", "kubelet_stopped", "kubelet_without_descriptors", "runtime_killed"}),
    Empty("alert NodeUnhealthy warning", "whether a kubelet complains of an API server that is away depends on the moment", sometimes=True),
    Empty("alert KubeletRestarting warning", "it takes three restarts", unless={"kubelet_killed", "kubelet_stopped"}),
    Empty("alert NodeFilesystemFilling warning", "how quickly the machine's disk fills is not the run's to say", sometimes=True),
    Empty("alert AgentSourceDown warning", "a source is told as failing while the API server is away, if a scrape falls into it", sometimes=True),
    Empty("alert AgentMissingOnNode warning", "a scrape that fails raises it where nothing waits", sometimes=True),
    # A page's events are drawn where they happened; of some, there are none.
    Empty(r"panel (fleet / Evictions / .*|node / Deaths, .* evictions)", "nothing is evicted", unless={"disk_runs_full", "inodes_run_out", "own-storage"}),
    Empty(r"panel node / (Storage errors / .*|Deaths, .* storage errors)", "no disk fails", unless={"bad-disk", "disk_fails"}),
    Empty(r"panel node / (OOM kills / .* host .*|Deaths, .* OOM kills of host services)", "no service of a node is killed", unless={"memory_runs_out"}),
    Empty(r"panel node / Deaths, .* kubelet restarts", "no kubelet restarts", unless={"kubelet_restarted", "kubelet_killed", "kubelet_stopped"}),
    Empty(r"panel node / Distance to eviction / .* pid\.available", "these kubelets have no threshold for process ids"),
    Empty(r"panel (fleet|node) / Records lost / .*", "whether a flood overruns a source depends on how busy the machine is", sometimes=True),
    Empty(r"panel fleet / Sources that cannot be read / .*", "as of AgentSourceDown", sometimes=True),
]


def judge_blind(nodes):
    """Agents with the profile `journal` have run on nodes without one; with `api-only` nobody's kernel log could be read."""
    def problems():
        found = {(labels["node"], labels["source"]) for labels in blind()}
        return [f"AgentSourceDown was not raised for the kernel's log on {node}" for node in nodes if (node, "kernel_log") not in found]
    return real.eventually(PATIENCE, problems)


def query(expression):
    return [(row["metric"], float(row["value"][1])) for row in get("query", query=expression)["result"]]


def get(path, **parameters):
    return get_all([(path, parameters)])[0]


def get_all(questions):
    """Prometheus listens in host1's network, which this process has no part in."""
    urls = [f"http://127.0.0.1:9090/api/v1/{path}?{urllib.parse.urlencode(parameters)}" for path, parameters in questions]
    host1 = (real.WORK / "pid/host1").read_text().strip()
    done = subprocess.run(["nsenter", "--target", host1, "--net", "/usr/bin/python3", "-c", FETCH], input=json.dumps(urls), text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{urls[:1]} and {len(urls) - 1} more: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)
