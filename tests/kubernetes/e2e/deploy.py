"""What is shipped to be applied is applied: every variant is shown to the API server, and each security profile is installed
by helm on every node, asked what it sees, and upgraded to the next.

    play(nodes)     after everything else, because it takes the suite's own agents away: names, each with its problems

The kinds of operators are there as their CustomResourceDefinitions, without the operators: so their objects are admitted or
refused as on a cluster that has them, and nothing comes of them.
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys

from e2e import cluster

sys.path.insert(0, str(cluster.HERE.parent / "deploy"))
import variants  # noqa: E402

RELEASE = NAMESPACE = "nodewhy"
VALUES = cluster.HERE / "values"
WITHOUT_JOURNAL = ("host1", "host2")
PATIENCE = 90       # seconds for an agent's sources to report; host3 is slow

OF_THE_NODE = ("kernel_log", "kubelet_log", "cgroups", "processes", "node_memory", "mounts", "pods", "pod_logs", "disks")


def play(nodes):
    yield "variants_admitted", variants_admitted()
    for profile in variants.PROFILES:
        yield f"profile_{profile}", profile_works(profile, nodes)
    yield "nothing_left", nothing_left(nodes)


def helm(*arguments):
    done = subprocess.run([cluster.HERE / "helm", *arguments, "--namespace", NAMESPACE], text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"helm {' '.join(map(str, arguments[:2]))}: {done.stderr.strip()}")
    return done.stdout


# Every variant


def variants_admitted():
    """Every variant is right in the eyes of the API server, field for field."""
    take_away()
    define_foreign_kinds()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        commands = list(variants.all_of_them(cluster.HERE / "helm", cluster.HERE / "k"))
        return [problem for found in pool.map(lambda v: refused(*v), commands) for problem in found]


def take_away():
    for release in helm("list", "--short").split():
        helm("uninstall", release, "--wait", "--timeout=240s")


def define_foreign_kinds():
    folder = subprocess.run(["bash", "-c", f". {cluster.HERE}/env.sh; {cluster.HERE}/binaries.sh helm definitions; echo $DEFINITIONS/crds"],
                            check=True, capture_output=True, text=True).stdout.strip()
    files = [argument for file in sorted(os.listdir(folder)) for argument in ("--filename", f"{folder}/{file}")]
    # Server-side: some are too large for the annotation of the other way.
    cluster.kubectl("apply", "--server-side", "--force-conflicts", *files)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", *files)


def refused(name, command):
    text = variants.printed(command)
    try:
        said = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", stdin=text)
    except RuntimeError as error:
        return [f"{name}: {error}"]
    admitted, objects = len(said.splitlines()), len(re.findall(r"^kind: ", text, re.MULTILINE))
    return [] if admitted == objects > 0 else [f"{name}: {admitted} of {objects} objects were admitted"]


# Each profile


def profile_works(profile, nodes):
    try:
        helm("upgrade", "--install", RELEASE, variants.CHART, "--create-namespace", "--values", VALUES / "image.yaml",
             "--set", f"securityProfile={profile},policy.validatingAdmissionPolicy=true,updateStrategy.rollingUpdate.maxUnavailable=100%",
             "--wait", "--timeout=480s")
        tested = helm("test", RELEASE, "--timeout=240s")
    except RuntimeError as error:
        return [str(error)]
    problems = [] if re.search(r"Phase:\s+Succeeded", tested) else [f"helm test: {tested}"]
    return problems + cluster.eventually(PATIENCE, lambda: unlike(profile, nodes)) + not_pinned(profile)


def sees(profile, node):
    """The state of each source that an agent with this profile must report on this node."""
    journal = "absent" if node in WITHOUT_JOURNAL else "up"
    # Any container's /proc has the node's memory and the container's own mounts.
    of_itself = {"cgroups": "absent", "processes": "absent", "node_memory": "up", "mounts": "up", "pods": "up"}
    if profile == "api-only":
        return of_itself | {"kernel_log": "absent", "pod_logs": "absent"}
    if profile == "autopilot":
        return of_itself | {"kernel_log": journal, "kubelet_log": "up", "pod_logs": "up"}
    return dict.fromkeys(OF_THE_NODE, "up") | {"kernel_log": journal if profile == "journal" else "up"}


def unlike(profile, nodes):
    """How what the agents say of their sources differs from what the profile lets them read."""
    problems = []
    for node in nodes:
        pod = cluster.agent_pod(node)["metadata"]["name"]
        said = json.loads(cluster.kubectl("exec", "--namespace", NAMESPACE, pod, "--", "nodewhy", "ready", "--output=json"))
        states = {s["source"]: s["state"] for s in said["sources"] if s["state"] != "not_reported"}
        if states != sees(profile, node):
            problems.append(f"{node}: {states}, expected {sees(profile, node)}")
        up = {labels["source"]: value for name, labels, value in cluster.metrics(node) if name == "nodewhy_source_up"}
        if up != {source: float(state == "up") for source, state in states.items()}:
            problems.append(f"{node}: nodewhy_source_up is {up}, and nodewhy ready says {states}")
    return problems


# The policy


def not_pinned(profile):
    """What the profile's policy admits beyond the profile, or refuses of it."""
    sets = json.loads(cluster.kubectl("get", "daemonset", RELEASE, "--namespace", NAMESPACE, "--output=json"))
    template = sets["spec"]["template"]
    itself = judged(template)
    problems = [f"the policy refuses the profile's own pod: {itself}"] if itself else []
    for right, (change, words) in MORE.items():
        if profile in HAVE.get(right, ()):
            continue
        changed = json.loads(json.dumps(template))
        change(changed["spec"])
        # A policy takes some seconds to be heard of.
        problems += cluster.eventually(20, lambda: [] if words in judged(changed) else [f"the policy admits {right}: {judged(changed)}"])
    return problems + debugged()


def container(spec):
    return spec["containers"][0]


MORE = {
    "the host's processes": (lambda spec: spec.update(hostPID=True), "share no namespace with the host"),
    "the host's network": (lambda spec: spec.update(hostNetwork=True), "share no namespace with the host"),
    "privileged": (lambda spec: container(spec)["securityContext"].update(privileged=True, allowPrivilegeEscalation=True), "are not privileged"),
    "a capability": (lambda spec: container(spec)["securityContext"]["capabilities"].update(add=["SYSLOG", "NET_ADMIN"]), "drop all capabilities"),
    "a writable root": (lambda spec: container(spec)["securityContext"].update(readOnlyRootFilesystem=False), "read-only root file system"),
    "no seccomp": (lambda spec: spec["securityContext"].update(seccompProfile={"type": "Unconfined"}), "seccomp profile"),
    "another path": (lambda spec: spec.setdefault("volumes", []).append({"name": "etc", "hostPath": {"path": "/etc"}}), "nothing of the node"),
    "a secret": (lambda spec: spec.setdefault("volumes", []).append({"name": "s", "secret": {"secretName": "s"}}), "hold no secret"),
    "writing on the node": (lambda spec: container(spec)["volumeMounts"][0].update(readOnly=False), "write nothing on the node"),
    "a second container": (lambda spec: spec["containers"].append({"name": "second", "image": "busybox"}), "read-only root file system"),
}

# Where a profile has the right already, or has nothing that could be changed in this way.
HAVE = {"privileged": ["kmsg"], "a capability": ["kmsg"], "writing on the node": ["api-only"]}


def judged(template):
    """What the API server says against a pod like this; nothing if it admits it."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "judged", "namespace": NAMESPACE}, "spec": template["spec"]}
    try:
        cluster.kubectl("create", "--dry-run=server", "--filename", "-", stdin=json.dumps(pod))
    except RuntimeError as error:
        return str(error)
    return ""


def debugged():
    """Nobody gets into an agent by `kubectl debug`."""
    pod = cluster.agent_pod("host1")
    name = pod["metadata"]["name"]
    pod["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "busybox"}]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/ephemeralcontainers?dryRun=All"
    try:
        cluster.kubectl("replace", "--raw", path, "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod"} | pod))
    except RuntimeError as error:
        return [] if "no container is added to a running pod" in str(error) else [f"kubectl debug: {error}"]
    return ["the policy admits kubectl debug"]


# The end


def nothing_left(nodes):
    """After helm uninstall there is no object left, and on the nodes the state and two empty folders."""
    take_away()
    kinds = ",".join(cluster.kubectl("api-resources", "--verbs=list", "--output=name").split())

    def left():
        ours = cluster.kubectl("get", kinds, "--all-namespaces", "--selector", f"app.kubernetes.io/instance={RELEASE}", "--output=name")
        return [f"left behind: {name}" for name in (ours + cluster.kubectl("get", "secrets", "--all-namespaces", "--selector=owner=helm", "--output=name")).split()]
    problems = cluster.eventually(60, left)
    for node in nodes:
        inside = cluster.on_node(node, "find", "/var/lib/kubelet/nodewhy", "/var/lib/containerd/nodewhy", "-mindepth", "1")
        problems += [f"{node}: left behind: {path}" for path in inside.split()]
    return problems
