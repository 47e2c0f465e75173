"""A made-up cluster: what Prometheus would hold of six nodes after eight days, so that every panel has something to show.

Stories, which test_prometheus.py looks for on the dashboards:
  n3  fails a pod of shop/web three times a day, another one each time, through three rollouts; nothing else happens there
  n4  has had a bad disk for three hours: pods of four workloads crash, the kubelet restarts, pods are evicted
  n5  shop/report reaches its own memory limit every hour, and a child process of it is killed now and then
  n6  runs out of memory as a whole; the kernel kills a host service too
  n2  may not read the kubelet's log, and its kernel log overran
  and a release of shop/checkout crashes everywhere for two hours, on every node
"""

import bisect
import random
from collections import defaultdict
from collections.abc import Callable, Iterator

CLUSTER = "made-up"
NODES = [f"n{number}" for number in range(1, 7)]
HOUR, DAY, MIB, GIB = 3600, 86400, 2**20, 2**30
DAYS = 8
# Scraped once a minute of late. Before that seldom, and only what panels of 7 days ask for: the import reads the whole
# file once for every two hours of it. Prometheus is told to look back as far as SELDOM.
RECENT, OFTEN, SELDOM = 7 * HOUR, 60, 900
OF_OLD = {
    "nodewhy_build_info", "nodewhy_workload_pods", "nodewhy_workload_crashed_pods", "nodewhy_container_terminations_total",
    "nodewhy_workload_oom_kills_total",
}

Series = Callable[[int], float | None]

# (namespace, kind, name, container) and its pods by node.
WORKLOADS = {
    ("shop", "Deployment", "web", "server"): dict.fromkeys(NODES, 2),
    ("shop", "Deployment", "checkout", "app"): dict.fromkeys(NODES, 1),
    ("shop", "Deployment", "report", "app"): {"n5": 1},
    ("data", "StatefulSet", "db", "postgres"): {"n1": 1, "n4": 1, "n6": 1},
    ("kube-system", "DaemonSet", "cni", "agent"): dict.fromkeys(NODES, 1),
    ("monitoring", "DaemonSet", "logs", "shipper"): dict.fromkeys(NODES, 1),
}
CAUSES = (
    "oom_container_limit oom_node_allocatable oom_node oom_host_service oom_child_process liveness_probe evicted_disk "
    "app_error app_panic storage_error killed unknown"
).split()
SOURCES = "kernel_log kubelet_log cgroups processes node_memory pods pod_logs".split()
STATES = "up absent unreadable stale failing".split()


class Cluster:
    """Builds the series; `now` is the moment of the last scrape."""

    def __init__(self, now: int) -> None:
        self.now, self.start = now, now - DAYS * DAY
        self.random = random.Random(6)
        self.families: dict[str, list[tuple[dict, Series]]] = defaultdict(list)
        # (workload, node, cause) and the moments of its containers' ends, with the number of the pod.
        self.ends: dict[tuple, list[tuple[int, int]]] = defaultdict(list)
        self._happen()
        self._workloads()
        for node in NODES:
            self._node(node)
            self._findings(node)
            self._machine(node)
            self._agent(node)
        self._containers()

    def old(self) -> Iterator[str]:
        """The first days, as OpenMetrics."""
        families = {family: series for family, series in self.families.items() if family in OF_OLD}
        return self._text(families, range(self.start, self.now - RECENT, SELDOM))

    def recent(self) -> Iterator[str]:
        """The last hours, as OpenMetrics."""
        return self._text(self.families, range(self.now - RECENT, self.now + 1, OFTEN))

    @staticmethod
    def _text(families: dict, moments: range) -> Iterator[str]:
        """Family by family, series by series."""
        for family, series in families.items():
            # Untyped, so that the names are taken as they are.
            yield f"# TYPE {family} unknown\n"
            for labels, value in series:
                inside = ",".join(f'{name}="{text}"' for name, text in ({"cluster": CLUSTER} | labels).items())
                head = f"{family}{{{inside}}} "
                for moment in moments:
                    at = value(moment)
                    if at is not None:
                        yield f"{head}{at:g} {moment}\n" if at < 1e6 else f"{head}{at:.0f} {moment}\n"
        yield "# EOF\n"

    # What happens

    def _happen(self) -> None:
        web, checkout, report, db, cni, logs = WORKLOADS
        for hour in range(5, DAYS * 24, 8):
            self._end(web, "n3", "app_panic", self.start + hour * HOUR + self.random.randrange(HOUR), hour // 8 % 2)
        for hour in range(DAYS * 24):
            self._end(report, "n5", "oom_container_limit", self.start + hour * HOUR + 1200)
        for workload, pods in ((web, 2), (db, 1), (cni, 1), (logs, 1)):
            for minute in range(3, 175, 12):
                self._end(workload, "n4", "storage_error", self.now - minute * 60, minute % pods)
        for node in NODES:
            for minute in range(2, 120, 10):
                self._end(checkout, node, "app_error", self.now - minute * 60 - NODES.index(node))
        for hour in (30, 90, 150, 190):
            self._end(checkout, "n6", "oom_node", self.start + hour * HOUR)
        # Now and then everywhere, or there would be nothing to compare with.
        for _ in range(30):
            workload = self.random.choice([web, cni, logs])
            self._end(workload, self.random.choice(NODES), "app_error", self.start + self.random.randrange(DAYS * DAY - 4 * HOUR))

    def _end(self, workload: tuple, node: str, cause: str, moment: int, pod: int = 0) -> None:
        self.ends[workload, node, cause].append((moment, pod))

    # The series

    def add(self, family: str, value: Series | float, **labels: str) -> None:
        self.families[family].append((labels, value if callable(value) else lambda _, fixed=value: fixed))

    def counter(self, moments: list[int], born: bool = False) -> Series:
        """Counts moments. `born`: the series begins with its first."""
        ordered = sorted(moments)
        return lambda at: (bisect.bisect_right(ordered, at) or (None if born else 0))

    def _workloads(self) -> None:
        for workload, nodes in WORKLOADS.items():
            namespace, kind, name, container = workload
            for node, pods in nodes.items():
                labels = {"node": node, "namespace": namespace, "workload_kind": kind, "workload": name}
                self.add("nodewhy_workload_pods", pods, **labels)
                ends = [end for (of, at, _), some in self.ends.items() if (of, at) == (workload, node) for end in some]
                self.add("nodewhy_workload_crashed_pods", self._crashed(ends), **labels)
                self.add("nodewhy_workload_crash_looping_containers", self._looping(ends), **labels)
                for cause in CAUSES:
                    moments = [moment for moment, _ in self.ends.get((workload, node, cause), [])]
                    if moments or cause in ("app_error", "oom_container_limit"):
                        born = cause not in ("app_error", "oom_container_limit")
                        self.add("nodewhy_container_terminations_total", self.counter(moments, born), **labels, container=container, cause=cause)
                        if cause.startswith("oom"):
                            self.add("nodewhy_workload_oom_kills_total", self.counter(moments, born), **labels, container=container, victim="init", cause=cause)
        child = {"node": "n5", "namespace": "shop", "workload_kind": "Deployment", "workload": "report", "container": "app"}
        self.add("nodewhy_workload_oom_kills_total", self.counter([self.now - 4000, self.now - 900], True), **child, victim="child", cause="oom_child_process")

    @staticmethod
    def _crashed(ends: list[tuple[int, int]]) -> Series:
        return lambda at: len({pod for moment, pod in ends if at - HOUR < moment <= at}) or None

    @staticmethod
    def _looping(ends: list[tuple[int, int]]) -> Series:
        return lambda at: 1 if sum(at - 1800 < moment <= at for moment, _ in ends) >= 3 else None

    def _node(self, node: str) -> None:
        kills = {
            ("container", "oom_container_limit"): self._moments(node, "oom_container_limit"),
            ("container", "oom_child_process"): [self.now - 4000, self.now - 900] if node == "n5" else [],
            ("node", "oom_node"): self._moments(node, "oom_node"),
            ("node_allocatable", "oom_node_allocatable"): [self.now - 5 * HOUR, self.now - 2400] if node == "n6" else [],
        }
        for (scope, cause), moments in kills.items():
            self.add("nodewhy_oom_kills_total", self.counter(moments), node=node, scope=scope, cause=cause)
        if node == "n6":
            self.add("nodewhy_host_oom_kills_total", self.counter([self.now - 2000], True), node=node, unit="containerd")
        evicted = [self.now - 5400, self.now - 1500] if node == "n4" else []
        for signal in "memory disk inodes pids ephemeral_storage".split():
            self.add("nodewhy_pod_evictions_total", self.counter(evicted if signal == "disk" else []), node=node, signal=signal)
        restarts = [self.now - 6000, self.now - 3000, self.now - 1800] if node == "n4" else [self.start + 3 * DAY]
        self.add("nodewhy_kubelet_restarts_total", self.counter(restarts), node=node)
        self.add("nodewhy_kubelet_info", 1, node=node, version="v1.36.3")
        self.add("nodewhy_kubelet_log_verbosity", 2, node=node)
        errors = list(range(self.now - RECENT, self.now, 420))
        if node == "n4":
            self.add("nodewhy_kernel_storage_errors_total", self.counter(errors, True), node=node, device="nvme0n1")
        for problem in "block_io hung_task ext4_error soft_lockup".split():
            self.add("nodewhy_kernel_problems_total", self.counter(errors if node == "n4" and problem in ("block_io", "hung_task") else []), node=node, **{"class": problem})

    def _moments(self, node: str, *causes: str) -> list[int]:
        return [moment for (_, at, cause), ends in self.ends.items() if at == node and cause in causes for moment, _ in ends]

    def _findings(self, node: str) -> None:
        for cause in CAUSES:
            # A condition resolves after an hour without a recurrence; what follows sooner belongs to the same.
            opened = []
            moments = sorted(self._moments(node, cause))
            for before, moment in zip([0, *moments], moments):
                if moment - before > HOUR:
                    opened.append(moment)
            self.add("nodewhy_findings_opened_total", self.counter(opened), node=node, cause=cause)
            self.add("nodewhy_findings", lambda at, all=moments: float(any(at - HOUR < moment <= at for moment in all)), node=node, cause=cause, state="open")
            self.add("nodewhy_findings", lambda at, all=moments: float(any(at - DAY < moment <= at - HOUR for moment in all)), node=node, cause=cause, state="resolved")
        explained = self._moments(node, *CAUSES)
        self.add("nodewhy_correlations_total", self.counter(explained), node=node, result="explained")
        self.add("nodewhy_correlations_total", self.counter(explained[::9]), node=node, result="ambiguous")
        self.add("nodewhy_correlations_total", self.counter(explained[::20]), node=node, result="unexplained")

    def _machine(self, node: str) -> None:
        busy = 0.3 if node in ("n4", "n6") else 0.01
        for index, resource in enumerate(("memory", "io", "cpu")):
            for part, kind in ((1, "some"), (0.4, "full")):
                self.add("nodewhy_node_pressure_seconds_total", lambda at, rate=busy * part / (index + 1): (at - self.start) * rate, node=node, resource=resource, kind=kind)
        filling = node == "n4"
        free = lambda at: max(6.0, 40 - (at - self.start) / (DAYS * DAY) * 34 if filling else 40.0) * GIB  # noqa: E731
        for filesystem in ("nodefs", "imagefs"):
            self.add("nodewhy_filesystem_size_bytes", 100 * GIB, node=node, filesystem=filesystem)
            self.add("nodewhy_filesystem_available_bytes", free, node=node, filesystem=filesystem)
            self.add("nodewhy_filesystem_inodes", 6_000_000, node=node, filesystem=filesystem)
            self.add("nodewhy_filesystem_inodes_free", 5_000_000, node=node, filesystem=filesystem)
            self.add("nodewhy_eviction_available_bytes", free, node=node, signal=f"{filesystem}.available")
            self.add("nodewhy_eviction_threshold_bytes", 5 * GIB, node=node, signal=f"{filesystem}.available")
            self.add("nodewhy_eviction_available_inodes", 5_000_000, node=node, signal=f"{filesystem}.inodesFree")
            self.add("nodewhy_eviction_threshold_inodes", 300_000, node=node, signal=f"{filesystem}.inodesFree")
        self.add("nodewhy_eviction_available_bytes", 4 * GIB, node=node, signal="memory.available")
        self.add("nodewhy_eviction_threshold_bytes", 100 * MIB, node=node, signal="memory.available")
        self.add("nodewhy_eviction_available_pids", 30_000, node=node)
        self.add("nodewhy_eviction_threshold_pids", 3_000, node=node)
        if filling:
            self.add("nodewhy_eviction_reached_in_seconds", lambda at: max(600.0, self.now + 5000 - at), node=node, signal="nodefs.available")
        for rank, pod in enumerate(("web-7d9f8c6b5d-x2b4z", "logs-8kq2w", "cni-4d7hx")):
            self.add("nodewhy_pod_ephemeral_storage_bytes", (3 - rank) * GIB, node=node, namespace="shop", pod=pod)

    def _agent(self, node: str) -> None:
        instance = f"10.0.0.{node[1:]}:9909"
        self.add("nodewhy_build_info", 1, node=node, instance=instance, version="0.1.0")
        self.add("nodewhy_node_info", 1, node=node, kernel="6.12.48", cgroups="v2")
        self.add("process_resident_memory_bytes", 14 * MIB, node=node, instance=instance)
        self.add("process_cpu_seconds_total", lambda at: (at - self.start) * 0.002, node=node, instance=instance)
        for store in ("findings", "pods", "containers", "terminations"):
            self.add("nodewhy_store_entries", 40, node=node, store=store)
            self.add("nodewhy_store_capacity_entries", 512, node=node, store=store)
        for source in SOURCES:
            state = "unreadable" if (node, source) == ("n2", "kubelet_log") else "up"
            for other in STATES:
                self.add("nodewhy_source_state", float(other == state), node=node, source=source, state=other)
            lost = [self.now - 2500] * 812 if (node, source) == ("n2", "kernel_log") else []
            self.add("nodewhy_source_records_lost_total", self.counter(lost), node=node, source=source)

    def _containers(self) -> None:
        """Memory climbs to its limit between two kills, and lies still elsewhere."""
        names = {"Deployment": "-7d9f8c6b5d-x2b4{}", "StatefulSet": "-{}", "DaemonSet": "-8kq2{}"}
        for (namespace, kind, name, container), nodes in WORKLOADS.items():
            for number, node in enumerate(nodes):
                letter = str(number) if kind == "StatefulSet" else "bcdfgh"[number]
                labels = {"node": node, "namespace": namespace, "pod": name + names[kind].format(letter), "container": container}
                limit = 512 * MIB
                if name == "report":
                    usage = lambda at: ((at - self.start - 1200) % HOUR / HOUR * 0.9 + 0.1) * 512 * MIB  # noqa: E731
                    self.add("nodewhy_container_last_oom_kill_timestamp_seconds", lambda at: at - (at - self.start - 1200) % HOUR, **labels)
                else:
                    usage = lambda at, share=0.2 + 0.1 * number: share * 512 * MIB  # noqa: E731
                self.add("nodewhy_container_memory_usage_bytes", usage, **labels)
                self.add("nodewhy_container_memory_limit_bytes", limit, **labels)
                self.add("nodewhy_container_memory_peak_bytes", usage, **labels)
                self.add("nodewhy_container_memory_rss_bytes", lambda at, usage=usage: usage(at) * 1.1, **labels)
                for part, what in ((0.8, "anon"), (0.15, "file"), (0.03, "shmem"), (0.02, "kernel")):
                    self.add("nodewhy_container_memory_bytes", lambda at, usage=usage, part=part: usage(at) * part, **labels, kind=what)
