"""The scenarios: what each must look like in Kubernetes, and what nodewhy must make of it.

A scenario's objects are in scenarios/<name>.yaml, in the namespace e2e-<name>. `shows` is Kubernetes' own view
(pod/container@node, and fields of cluster.containers), which must come about before anything else is judged: it proves that the scenario is
what its name says. `drive` then does what only a test can do (delete, roll out). `findings` and `metrics` are what
the agents must tell at the end. What is about a node that the run does not have is left out.

The longest wait is for the third restart, 35 s: 0, 10 and 20 s of back-off and what the program itself takes.
host3 is emulated and may need three times that when the machine is busy.
"""
import dataclasses
import typing

from e2e import cluster
from e2e.expect import CRASH_LOOPING, CRASHED_PODS, OOM_KILLS, TERMINATIONS, AtLeast, Contains, Deaths, Finding, Metric, Noted, OneOf

LOOPS = AtLeast(2)      # restarts that make a loop
DEATHS = AtLeast(3)     # and the deaths behind them
# On a machine that is short of CPU the probe proves nothing about the workload, and the agent says so.
PROBED = OneOf("workload", "insufficient")
LIVENESS = Contains("was killed by the kubelet because its liveness probe failed")


@dataclasses.dataclass
class Scenario:
    name: str
    shows: dict
    findings: list = dataclasses.field(default_factory=list)
    metrics: list = dataclasses.field(default_factory=list)
    drive: typing.Callable | None = None
    place: typing.Callable | None = None     # instead of kubectl apply
    patience: int = 300                      # seconds until Kubernetes shows it
    told_within: int = 180                   # seconds from then until the agents must have told everything, also on a busy machine

    @property
    def namespace(self):
        return f"e2e-{self.name}"

    @property
    def file(self):
        return cluster.HERE / "scenarios" / f"{self.name}.yaml"


def loop(last, **more):
    """A container that ended in this way, again and again."""
    return {"restarts": LOOPS, "last": last} | more


def finding(node, pod, cause, container="app", **fields):
    return Finding(node, {"pod": pod, "container": container}, cause=cause, **fields)


def dies(node, pod, cause, container="app", kind="Pod", workload=None, counted_as=None, kills=False, counted=True,
         scope="container", count=DEATHS, **fields):
    """A container that dies again and again of one cause: its finding, and its ends counted to the number."""
    causes = counted_as or (cause.options if isinstance(cause, OneOf) else (cause,))
    deaths = Deaths(pod, container, kind, workload or pod, tuple(causes), kills, counted)
    return finding(node, pod, cause, container, deaths=deaths, scope=scope, count=count, **fields)


def ends(node, namespace, workload, cause, value, kind="Pod", container="app"):
    """How many ends of a container are counted under a cause."""
    labels = {"namespace": f"e2e-{namespace}", "workload_kind": kind, "workload": workload, "container": container, "cause": cause}
    return Metric(node, TERMINATIONS, labels, value)


def kills(node, namespace, workload, victim, value, container="app"):
    labels = {"namespace": f"e2e-{namespace}", "workload": workload, "container": container, "victim": victim}
    return Metric(node, OOM_KILLS, labels, value)


def no_deaths(namespace, *nodes):
    """Nothing in this namespace has ended."""
    where = {"namespace": f"e2e-{namespace}"}
    return [Metric(node, name, where, 0) for node in nodes for name in (TERMINATIONS, OOM_KILLS, CRASHED_PODS, CRASH_LOOPING)]


# With cgroup v2 on a slow node, the runtime often loses the race for memory.events and reports a plain kill.
KILLED = OneOf("OOMKilled 137", "Error 137")


CRASHING_ENDS = Noted()


def delete_pods(scenario):
    """Deletes all, and notes how many instances of `crashing` there were: each of them has ended when it is gone."""
    of_namespace = ("--all", "--namespace", scenario.namespace)
    last = cluster.last_state_of_pod(scenario.namespace, "crashing",
                                     lambda: cluster.kubectl("delete", "pod", *of_namespace, "--wait=false"))
    CRASHING_ENDS.value = last["status"]["containerStatuses"][0]["restartCount"] + 1
    cluster.kubectl("delete", "pod", *of_namespace, "--wait=true", "--timeout=120s")


def roll_out(scenario):
    cluster.kubectl("rollout", "restart", "deployment", "--namespace", scenario.namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "--namespace", scenario.namespace, "--timeout=120s")


def place_static_pod(scenario):
    cluster.on_node("host2", "tee", "/etc/kubernetes/manifests/agent.yaml", stdin=scenario.file.read_text())


SCENARIOS = [
    Scenario("oom-limit", shows={
        "grower-*/app@host1": loop("OOMKilled 137"),
        "jump/app@host2": loop("OOMKilled 137"),
        "odd-name/app@host2": loop("OOMKilled 137"),
        "grows-v2/app@host3": loop(KILLED),
    }, findings=[
        dies("host1", "grower-*", "oom_container_limit", kind="Deployment", workload="grower", kills=True, blame="workload"),
        dies("host2", "jump", "oom_container_limit", kills=True, blame="workload"),
        dies("host2", "odd-name", "oom_container_limit", kills=True, blame="workload"),
        dies("host3", "grows-v2", "oom_container_limit", kills=True, blame="workload"),
    ]),
    Scenario("oom-pod-limit", shows={
        "own-fault/innocent@host1": {"restarts": 0, "running": True},
        "own-fault/hog@host1": loop("OOMKilled 137"),
        "others-fault/innocent@host2": loop(OneOf("OOMKilled 137", "StartError 128")),
    }, findings=[
        dies("host1", "own-fault", "oom_pod_limit", container="hog", scope="pod", kills=True, blame="workload"),
        finding("host2", "others-fault", "oom_pod_limit", container="innocent", scope="pod", blame="workload", count=DEATHS),
        finding("host2", "others-fault", "oom_pod_limit", container="hog", optional=True),
    ]),
    Scenario("oom-child", shows={
        "parent/app@host1": {"restarts": 0, "running": True},
        "parent-v2/app@host3": loop(KILLED),
    }, findings=[
        finding("host1", "parent", "oom_child_process", scope="container", blame="workload", count=1),
        dies("host3", "parent-v2", "oom_container_limit", kills=True, blame="workload"),
    ], metrics=[
        kills("host1", "oom-child", "parent", "child", 1), kills("host1", "oom-child", "parent", "init", 0),
        *(m for m in no_deaths("oom-child", "host1") if m.name != OOM_KILLS),
    ]),
    Scenario("oom-then-stop", shows={
        "terminated/app@host1": loop("OOMKilled 143"),
        "gives-up/app@host1": loop("OOMKilled 0"),
    }, findings=[
        finding("host1", "terminated", "oom_child_process", scope="container", blame="workload", count=DEATHS),
        # The ends by SIGTERM are told apart from the kills, whatever Kubernetes calls them.
        dies("host1", "terminated", "killed", blame="insufficient", count=LOOPS),
        dies("host1", "gives-up", "oom_container_limit", blame="workload"),
    ]),
    Scenario("oom-tmpfs", shows={
        "filler/app@host1": loop("StartError 128", last_message=Contains("container init was OOM-killed|ttrpc: closed")),
        "filler-v2/app@host3": {"restarts": LOOPS},
    }, findings=[
        # The kernel may kill more than once in a life that never begins.
        dies("host1", "filler", "oom_container_limit", counted=False, blame="workload"),
        dies("host3", "filler-v2", "oom_container_limit", counted=False, blame="workload"),
    ]),
    Scenario("exit-codes", shows={
        "exit-0/app@host1": loop("Completed 0"),
        "exit-1/app@host1": loop("Error 1"),
        "exit-2/app@host2": loop("Error 2"),
        "exit-126/app@host1": loop("Error 126"),
        "exit-127/app@host2": loop("Error 127"),
        "exit-1-v2/app@host3": loop("Error 1"),
    }, findings=[
        dies("host1", "exit-0", "completed", blame="workload"),
        dies("host1", "exit-1", "app_error", blame="workload"),
        dies("host2", "exit-2", "app_panic", blame="workload"),
        dies("host1", "exit-126", "not_executable", blame="workload"),
        dies("host2", "exit-127", "command_not_found", blame="workload"),
        dies("host3", "exit-1-v2", "app_error", blame="workload"),
    ]),
    Scenario("signals", shows={
        "segfault/app@host1": loop("Error 139"),
        "abort/app@host1": loop("Error 139"),
        "abort-child/app@host1": loop("Error 134"),
        "illegal-instruction/app@host1": loop("Error 132"),
        "bus-error/app@host1": loop("Error 135"),
        "division-by-zero/app@host1": loop("Error 136"),
        "segfault-v2/app@host3": loop("Error 139"),
    }, findings=[
        dies("host1", "segfault", "segfault", blame="workload"),
        dies("host1", "abort", "aborted", blame="workload"),
        dies("host1", "abort-child", "aborted", blame="workload"),
        dies("host1", "illegal-instruction", "illegal_instruction", blame="workload"),
        dies("host1", "bus-error", "bus_error", blame="workload"),
        dies("host1", "division-by-zero", "app_error", blame="workload"),
        dies("host3", "segfault-v2", "segfault", blame="workload"),
    ]),
    Scenario("cannot-start", shows={
        "missing-command/app@host1": loop("StartError 128", last_message=Contains("no such file or directory")),
        "not-executable/app@host1": loop("StartError 128", last_message=Contains("permission denied")),
        "other-machine/app@host1": loop("Error 1"),
        "lost-interpreter/app@host2": loop("Error 1"),
    }, findings=[
        dies("host1", "missing-command", "start_error", blame="workload"),
        dies("host1", "not-executable", "start_error", blame="workload"),
        dies("host1", "other-machine", "exec_format", blame="workload"),
        dies("host2", "lost-interpreter", "start_error", blame="workload"),
    ]),
    Scenario("probes", shows={
        "liveness/app@host1": loop("Completed 0"),
        "liveness-deaf/app@host2": loop("Error 137"),
        "startup/app@host1": loop("Error 137"),
        "liveness-v2/app@host3": loop("Completed 0"),
    }, findings=[
        # At --v=2 the kubelet names its kill, in a file or in the journal. At --v=0 its counts of failed probes tell, which
        # is less; it is not guessed from the exit code.
        dies("host1", "liveness", "liveness_probe", count=LOOPS, blame=PROBED, confidence="proven", summary=LIVENESS),
        dies("host3", "liveness-v2", "liveness_probe", count=LOOPS, blame=PROBED, confidence="proven", summary=LIVENESS),
        dies("host2", "liveness-deaf", "liveness_probe", count=LOOPS, blame=PROBED, confidence="likely", summary=LIVENESS),
        dies("host1", "startup", "startup_probe", count=LOOPS, blame=PROBED, confidence="proven",
             summary=Contains("was killed by the kubelet because its startup probe never succeeded")),
    ], metrics=[
        Metric(node, "nodewhy_source_records_total", {"source": "kubelet_api"}, AtLeast(2)) for node in ("host1", "host2")
    ]),
    Scenario("images", shows={
        "no-registry/app@host1": {"restarts": 0, "waiting": OneOf("ErrImagePull", "ImagePullBackOff")},
        "never-pulled/app@host2": {"restarts": 0, "waiting": "ErrImageNeverPull"},
        "bad-name/app@host1": {"restarts": 0, "waiting": "InvalidImageName"},
    }, findings=[
        finding("host1", "no-registry", "image_pull", scope="container"),
        finding("host2", "never-pulled", "image_pull", scope="container"),
        finding("host1", "bad-name", "image_pull", scope="container", blame="workload"),
    ], metrics=no_deaths("images", "host1", "host2")),
    Scenario("config", shows={
        "configmap-env/app@host1": {"waiting": "CreateContainerConfigError", "message": 'configmap "nowhere" not found'},
        "configmap-key/app@host1": {"waiting": "CreateContainerConfigError", "message": Contains("couldn't find key nowhere")},
        "configmap-volume/app@host2": {"waiting": "ContainerCreating", "message": None},
        "secret-env/app@host2": {"waiting": "CreateContainerConfigError", "message": 'secret "nowhere" not found'},
        "secret-volume/app@host1": {"waiting": "ContainerCreating", "message": None},
        "non-root/app@host1": {"waiting": "CreateContainerConfigError", "message": Contains("runAsNonRoot")},
    }, findings=[
        finding("host1", "configmap-env", "config_error", blame="workload", scope="container"),
        finding("host1", "configmap-key", "config_error", blame="workload", scope="container"),
        Finding("host2", {"pod": "configmap-volume"}, cause="volume_mount", scope="pod", blame="workload"),
        finding("host2", "secret-env", "config_error", blame="workload", scope="container"),
        Finding("host1", {"pod": "secret-volume"}, cause="volume_mount", scope="pod", blame="workload"),
        finding("host1", "non-root", "config_error", blame="workload", scope="container"),
    ], metrics=no_deaths("config", "host1", "host2")),
    Scenario("init-and-sidecar", shows={
        "init/migrate@host1": loop("Error 4"),
        "init/app@host1": {"waiting": "PodInitializing"},
        "sidecar/proxy@host2": loop("Error 5"),
        "sidecar/app@host2": {"restarts": 0, "running": True},
    }, findings=[
        dies("host1", "init", "app_error", container="migrate", blame="workload"),
        dies("host2", "sidecar", "app_error", container="proxy", blame="workload"),
    ]),
    Scenario("job", shows={
        "report-*/app@host2": {"phase": "Failed", "restarts": 0, "now": "Error 3", "instances": 2},
    }, findings=[
        Finding("host2", {"workload_kind": "Job", "workload": "report", "container": "app"},
                cause="app_error", scope="container", blame="workload", count=2),
    ], metrics=[
        ends("host2", "job", "report", "app_error", 2, kind="Job"), ends("host2", "job", "report", "*", 2, kind="Job"),
        Metric("host2", CRASHED_PODS, {"namespace": "e2e-job", "workload": "report"}, 2),
        Metric("host2", CRASH_LOOPING, {"namespace": "e2e-job"}, 0),
    ]),
    Scenario("stops", shows={
        "graceful/app@host1": {"running": True},
        "exit-143/app@host1": {"running": True},
        "default-action/app@host2": {"running": True},
        "slow/app@host1": {"running": True},
        "crashing/app@host2": loop("Error 1"),
    }, drive=delete_pods, findings=[
        finding("host1", "graceful", "stopped", optional=True),
        finding("host1", "exit-143", "stopped", optional=True),
        finding("host2", "default-action", "slow_shutdown", scope="container", blame="workload", count=1),
        finding("host1", "slow", "slow_shutdown", scope="container", blame="workload", count=1),
        # Its third end may be the stop itself.
        finding("host2", "crashing", "app_error", scope="container", blame="workload", count=LOOPS),
    ], metrics=[
        ends("host1", "stops", "graceful", "*", 1), ends("host1", "stops", "graceful", "stopped", 1),
        ends("host1", "stops", "exit-143", "*", 1), ends("host1", "stops", "exit-143", "stopped", 1),
        ends("host2", "stops", "default-action", "*", 1), ends("host2", "stops", "default-action", "slow_shutdown", 1),
        ends("host1", "stops", "slow", "*", 1), ends("host1", "stops", "slow", "slow_shutdown", 1),
        ends("host2", "stops", "crashing", "*", CRASHING_ENDS),
    ]),
    Scenario("rollout", shows={
        "web-*/app@host1": {"restarts": 0, "running": True, "instances": 2},
    }, drive=roll_out, findings=[
        Finding("host1", {"workload": "web"}, optional=True, cause="stopped"),
    ], metrics=[
        ends("host1", "rollout", "web", "*", 2, kind="Deployment"), ends("host1", "rollout", "web", "stopped", 2, kind="Deployment"),
        Metric("host1", CRASHED_PODS, {"namespace": "e2e-rollout"}, 0),
    ]),
    Scenario("daemonset", shows={
        "shipper-*/app@host1": {"restarts": 0, "running": True},
        "shipper-*/app@host2": loop("Error 7"),
        "shipper-*/app@host3": {"restarts": 0, "running": True},
    }, findings=[
        dies("host2", "shipper-*", "app_error", kind="DaemonSet", workload="shipper", blame="workload"),
    ], metrics=no_deaths("daemonset", "host1", "host3")),
    Scenario("static-pod", place=place_static_pod, shows={
        "agent-host2/app@host2": loop("Error 6"),
    }, findings=[
        dies("host2", "agent-host2", "app_error", kind="StaticPod", workload="agent", blame="workload"),
    ]),
]
