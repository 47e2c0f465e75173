"""What can happen to a whole machine, on the one that is a virtual machine: its disk, services, journal, memory, and a reboot.

Played when the scenarios are done, one after another; the machine works again after each.
"""
import json
import time

from e2e import cluster, fault
from e2e.expect import AtLeast, Contains, Finding, Metric

NODE, NAMESPACE = "host3", "e2e-host3"
DISK_NAMESPACE, FLAKY_NAMESPACE = "e2e-host3-disk", "e2e-host3-flaky"
UP, DOWN = 3, 3     # seconds for which a flaky disk answers, and does not
STORAGE_ERRORS = "nodewhy_kernel_storage_errors_total"
LOST = "nodewhy_source_records_lost_total"
TERMINATIONS, OOM_KILLS = "nodewhy_container_terminations_total", "nodewhy_workload_oom_kills_total"
BOOT = 300          # seconds until a rebooted machine runs pods again


def played(nodes, named):
    wanted = [fault for fault in FAULTS + BY_NAME if fault.__name__ in named] if named else FAULTS
    return wanted if NODE in nodes else []


def on_host3(script):
    return cluster.on_node(NODE, "sh", "-ec", script)


def node_finding(cause, **fields):
    return Finding(NODE, cause=cause, **fields)


def ends_of_containers():
    """Every end of a container that the agent of host3 counts."""
    return sum(value for name, _, value in cluster.metrics(NODE) if name == TERMINATIONS)


def mapped_disk(name, minor, mkfs, mount):
    """A disk of 64 MB behind the device mapper, mounted at /var/lib/NAME: what lies below it can be changed while it is used."""
    on_host3(f"""
        modprobe -a loop dm-mod dm-flakey
        truncate -s 64M /var/tmp/{name}.img
        mkfs.ext4 -q {mkfs} /var/tmp/{name}.img
        loop=$(losetup --find --show /var/tmp/{name}.img)
        major=$(awk '$2 == "device-mapper" {{ print $1 }}' /proc/devices)
        dmsetup create {name} --major "$major" --minor {minor} --table "0 131072 linear $loop 0"
        mkdir -p /var/lib/{name}
        mount -o {mount} /dev/mapper/{name} /var/lib/{name}""")


def becomes(name, target):
    """What lies below the disk from now on; $loop is what did at first."""
    on_host3(f"""
        loop=$(losetup --noheadings --output NAME --associated /var/tmp/{name}.img)
        dmsetup suspend --noflush {name}
        dmsetup load {name} --table "0 131072 {target}"
        dmsetup resume {name}""")


def writer_on(name, namespace):
    """A pod that writes to the disk every second, whatever comes of it."""
    volume = {"volumeMounts": [{"name": "data", "mountPath": "/data"}], "command": ["sh", "-c"]}
    writes = "trap 'exit 0' TERM; n=0; while :; do n=$((n + 1)); echo $n > /data/$n; sync; sleep 1; done"
    fault.place(namespace, fault.pod(NODE, namespace, "writer", container=volume | {"args": [writes]},
                                     volumes=[{"name": "data", "hostPath": {"path": f"/var/lib/{name}"}}]))
    return fault.running(namespace, "writer/app@host3")


def put_away(name, namespace):
    cluster.kubectl("delete", "pod", "writer", "--namespace", namespace, "--timeout=120s")
    on_host3(f"umount /var/lib/{name}; dmsetup remove {name}; losetup -D; rm /var/tmp/{name}.img")


def disk_fails():
    """A filesystem's disk answers with errors from one moment to the next: ext4 gives up and turns read-only."""
    mapped_disk("e2e-disk", 0, "", "errors=remount-ro")
    problems = writer_on("e2e-disk", DISK_NAMESPACE)
    becomes("e2e-disk", "error")
    problems += fault.awaited(NODE, DISK_NAMESPACE, findings=[
        Finding(NODE, {"pod": "writer"}, cause="storage_error", scope="node", blame="node", confidence="proven", count=AtLeast(1),
                summary=Contains(r"Disk dm-0 \(.*e2e-disk")),
        Finding(NODE, {"pod": "writer"}, cause="read_only_filesystem", scope="node", blame="node", confidence="proven", state="open",
                summary=Contains("turned read-only after errors")),
    ], metrics=[Metric(NODE, STORAGE_ERRORS, {"device": "dm-0"}, AtLeast(1))])
    put_away("e2e-disk", DISK_NAMESPACE)
    # A filesystem that is gone is read-only no more.
    return problems + fault.awaited(NODE, "nobody's", findings=[node_finding("read_only_filesystem", state="resolved")])


def disk_comes_and_goes():
    """A disk that answers for some seconds and fails for some is one trouble, with the pod that writes there, and not one for each time.

    Without a journal the filesystem goes on after an error: nothing else becomes of it.
    """
    mapped_disk("e2e-flaky", 7, "-O ^has_journal", "errors=continue")
    problems = writer_on("e2e-flaky", FLAKY_NAMESPACE)
    before = bursts("dm-7")
    becomes("e2e-flaky", f"flakey $loop 0 {UP} {DOWN}")
    problems += cluster.eventually(8 * (UP + DOWN), lambda: [] if bursts("dm-7") >= before + 2 else ["the kernel tells of no second burst"])
    becomes("e2e-flaky", "linear $loop 0")
    problems += fault.awaited(NODE, FLAKY_NAMESPACE, findings=[
        Finding(NODE, {"pod": "writer"}, cause="storage_error", scope="node", blame="node", confidence="proven", count=AtLeast(2),
                summary=Contains(r"Disk dm-7 \(.*e2e-flaky")),
    ], metrics=[Metric(NODE, STORAGE_ERRORS, {"device": "dm-7"}, AtLeast(2))])
    put_away("e2e-flaky", FLAKY_NAMESPACE)
    return problems


def bursts(device):
    """How many times the kernel's errors of a device came, a time while it worked apart."""
    lines = on_host3(f"dmesg | grep -E '(error|warning).*{device}[,):]' || true").splitlines()
    times = [float(line[1:].split("]")[0]) for line in lines]
    return sum(now - before > UP - 1 for before, now in zip([-float("inf")] + times, times))


def kubelet_killed():
    """A kubelet that crashes and is started again is told; no container has ended by it."""
    ends = ends_of_containers()
    on_host3("systemctl kill --kill-whom=main --signal=KILL kubelet")
    problems = fault.awaited(NODE, NAMESPACE, findings=[
        node_finding("kubelet_restarted", scope="host_service", blame="node", confidence="proven", count=AtLeast(1),
                     summary=Contains(r"The kubelet was killed \(9/KILL\) and was started again")),
    ])
    return problems + cluster.eventually(120, lambda: not_ready()) + invented(ends)


def kubelet_stopped():
    """A kubelet that somebody stops is gone until it is started, and then no trouble any more."""
    on_host3("systemctl stop kubelet")
    down = dict(scope="host_service", blame="node", confidence="proven", count=1, summary=Contains("The kubelet was stopped"))
    try:
        problems = fault.awaited(NODE, NAMESPACE, findings=[node_finding("kubelet_down", state="open", **down)], asked=asked_on_the_node)
    finally:
        on_host3("systemctl start kubelet")
    problems += cluster.eventually(120, lambda: not_ready())
    return problems + fault.awaited(NODE, NAMESPACE, findings=[node_finding("kubelet_down", state="resolved", **down)])


def kubelet_without_descriptors():
    """A kubelet that may open nothing more runs and does nothing: told while it lasts.

    After a minute, and now and then after seconds, it ends the agent's container, which it cannot start again then. What the agent
    printed before is on the node all the same; if it could not, it tells when it runs again. Nothing is asked of its pod before
    the kubelet works again.
    """
    words = "it has no file descriptor left"
    before = times_printed(words)
    descriptors_of_kubelet(10)
    try:
        problems = cluster.eventually(fault.PATIENCE, lambda: [] if times_printed(words) > before or not agent_runs() else ["the agent does not tell of it"])
    finally:
        descriptors_of_kubelet(1000000)
    problems += cluster.eventually(120, lambda: not_ready() + agent_not_ready())
    return problems + fault.awaited(NODE, NAMESPACE, findings=[
        node_finding("kubelet_down", state="resolved", scope="host_service", blame="node", confidence="proven", summary=Contains(words)),
    ])


def descriptors_of_kubelet(most):
    """How many it may have; one that is just being started has the usual number."""
    on_host3(f"""
        pid=$(systemctl show --property MainPID --value kubelet)
        [ "$pid" = 0 ] || prlimit --pid "$pid" --nofile={most}:1000000 || [ ! -e "/proc/$pid" ]""")


def times_printed(words):
    """How many times the agent of host3 has printed a finding with these words, by its containers' logs on the machine itself."""
    return int(on_host3(f"cat /var/log/pods/*/nodewhy/*.log | grep -cF '{words}' || true"))


def agent_runs():
    """Asked on the machine: a kubelet that can do nothing shows what was."""
    return int(on_host3("cat /proc/[0-9]*/comm 2>/dev/null | grep -cx nodewhy || true")) > 0


def agent_not_ready():
    statuses = cluster.agent_pod(NODE)["status"].get("containerStatuses", [])
    return [] if statuses and all(s["ready"] for s in statuses) else ["the agent of host3 is not ready"]


def runtime_killed():
    """A runtime that is killed and comes back leaves its containers running: nothing has ended."""
    ends = ends_of_containers()
    on_host3("systemctl kill --kill-whom=main --signal=KILL containerd")
    problems = fault.awaited(NODE, NAMESPACE, findings=[
        node_finding("runtime_restarted", scope="host_service", blame="node", confidence="proven", count=1,
                     summary=Contains(r"The container runtime was killed \(9/KILL\) and was started again")),
    ])
    return problems + cluster.eventually(120, lambda: not_ready()) + invented(ends)


def journal_rotated():
    """Journal files are rotated and removed while a container dies and dies: each end is told once, and nothing is lost."""
    before = lost()
    fault.place(NAMESPACE, fault.pod(NODE, NAMESPACE, "grower", "alloc", "8", "sleep", "500", "alloc", "100",
                                     container={"resources": {"limits": {"memory": "24Mi"}}}))

    def rotated_until(ends):
        on_host3("journalctl --rotate; journalctl --vacuum-time=1s --vacuum-files=1")
        return [] if cluster.ends(NAMESPACE).get("grower/app@host3", 0) >= ends else ["grower does not die"]
    return cluster.eventually(150, lambda: rotated_until(3)) + cluster.eventually(60, lambda: counted("grower", OOM_KILLS) + lost_since(before))


def counted(pod, *metrics):
    """How the finding and the metrics of a container differ from the ends that Kubernetes shows."""
    ends = cluster.ends(NAMESPACE)[f"{pod}/app@host3"]
    told = [f["count"] for f in cluster.findings(NODE) if any(s.get("pod") == pod for s in f["subjects"])]
    counts = {name: sum(v for n, labels, v in cluster.metrics(NODE) if n == name and labels["namespace"] == NAMESPACE and
                        labels["workload"] == pod) for name in (TERMINATIONS, *metrics)}
    return [f"{name} is {count}, Kubernetes shows {ends}" for name, count in counts.items() if count != ends] + (
        [] if told == [ends] else [f"findings count {told}, Kubernetes shows {ends}"])


def lost():
    return {labels["source"]: value for name, labels, value in cluster.metrics(NODE) if name == LOST}


def lost_since(before):
    """What the agent says of the records that it has lost since then."""
    more = [f"lost from {source}: {value}" for source, value in lost().items() if value > before.get(source, 0)]
    return more and more + on_host3("grep -h 'records were lost' /var/log/pods/*/nodewhy/*.log || true").splitlines()


def memory_runs_out():
    """A pod without a limit takes the machine's memory: the kernel kills another one first, for that one asked for nothing."""
    hog = {"resources": {"requests": {"memory": "1350Mi"}}}
    fault.place(NAMESPACE, fault.pod(NODE, NAMESPACE, "bystander", "alloc", "200", "pause"))
    problems = fault.running(NAMESPACE, "bystander/app@host3")
    fault.place(NAMESPACE, fault.pod(NODE, NAMESPACE, "hog", "comm", "hog", "sleep", "2000", "grow", "2500", "50", "20", "pause", container=hog))
    problems += fault.awaited(NODE, "nobody's", patience=240, findings=[
        Finding(NODE, {"pod": "bystander"}, cause="oom_node", scope="node", blame="neighbour", summary=Contains("hog")),
    ])
    cluster.kubectl("delete", "pod", "hog", "bystander", "--namespace", NAMESPACE, "--timeout=180s")
    return problems + cluster.eventually(120, lambda: not_ready())


def rebooted():
    """The machine is rebooted in the middle of a crash loop."""
    fault.place(NAMESPACE, fault.pod(NODE, NAMESPACE, "loop", "sleep", "1000", "exit", "9"), fault.pod(NODE, NAMESPACE, "steady", "on-term", "0", "pause"))
    problems = cluster.eventually(150, lambda: [] if cluster.ends(NAMESPACE).get("loop/app@host3", 0) >= 2 else ["loop does not die"])
    before = on_host3("cat /proc/sys/kernel/random/boot_id")
    ended = cluster.ends(NAMESPACE)["loop/app@host3"]
    on_host3("systemctl --no-block reboot --force")

    def again():
        return [] if on_host3("cat /proc/sys/kernel/random/boot_id") != before and not not_ready() else ["not up again"]
    problems += cluster.eventually(BOOT, again)
    return problems + fault.awaited(NODE, "nobody's", patience=BOOT, findings=[
        node_finding("node_rebooted", scope="node", blame="node", confidence="proven", count=1),
        Finding(NODE, {"pod": "loop"}, cause="app_error", count=AtLeast(1)),
    ])


def invented(before):
    """Ends that were counted although nothing ended."""
    return cluster.eventually(1, lambda: [] if ends_of_containers() == before else [f"{ends_of_containers() - before} ends were counted"])


def not_ready():
    conditions = cluster.get_json(f"/api/v1/nodes/{NODE}")["status"]["conditions"]
    return [] if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions) else ["host3 is not ready"]


def asked_on_the_node(node):
    """The findings, asked on the machine itself: kubectl exec needs its kubelet."""
    agent = cluster.agent_pod(node)["status"]["containerStatuses"][0]["containerID"].split("//")[1]
    # A name of its own for each: one that was given up half-way keeps it.
    said = cluster.on_node(node, "ctr", "-n", "k8s.io", "tasks", "exec", "--exec-id", f"ask-{time.monotonic_ns()}", agent,
                           "nodewhy", "findings", "--all", "--output=json")
    return json.loads(said)["findings"]


FAULTS = [disk_fails, disk_comes_and_goes, kubelet_killed, kubelet_stopped, kubelet_without_descriptors, runtime_killed, journal_rotated,
          rebooted]
# Played only when it is named: an emulated machine that is busy decides by itself whom the kernel kills first.
BY_NAME = [memory_runs_out]
