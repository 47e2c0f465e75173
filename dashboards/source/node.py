"""One node, or a few: everything that happened on it, on one time line."""

from page import GREEN, GREY, ORANGE, RED, YELLOW, Page
from promql import CRASH, DEATH, increase, or_zero

HERE = 'cluster="$cluster", node=~"$node"'


def page() -> Page:
    page = Page(
        "nodewhy-node", "nodewhy / Node",
        "What happened on a node: deaths, kills, evictions, the kubelet and the disks on one time line, and what explains them.", HERE,
    )
    page.variable("node", "Node", 'label_values(nodewhy_build_info{cluster="$cluster"}, node)', many=True)
    page.annotation(
        "Findings opened", "sum by (node, cause) (increase(nodewhy_findings_opened_total{HERE}[2m])) > 0",
        "{{cause}}", "finding opened on {{node}}", ORANGE,
    )
    page.annotation(
        "Kubelet restarts", "sum by (node) (increase(nodewhy_kubelet_restarts_total{HERE}[2m])) > 0",
        "kubelet restarted", "{{node}}", RED,
    )
    what_happened(page)
    node_or_workload(page)
    memory(page)
    pressure_and_disks(page)
    kernel_and_kubelet(page)
    agent(page)
    return page


def each(counter: str, by: str, also: str = "", births: bool = False) -> str:
    """What a counter rose by since the point before, by the given labels; nothing where it did not."""
    selector = f"HERE, {also}" if also else "HERE"
    rise = increase(counter, selector, "$__rate_interval") if births else f"increase({counter}{{{selector}}}[$__rate_interval])"
    return f"sum by ({by}) ({rise}) > 0"


def what_happened(page: Page) -> None:
    page.row("What happened")
    page.history(
        "Deaths, kills, evictions, kubelet and disks",
        "Each row is one kind of event, coloured by how many there were. What stands in one column happened at one time; the "
        "finding says whether one followed from the other.",
        {
            "{{node}} deaths": each("nodewhy_container_terminations_total", "node", DEATH, births=True),
            "{{node}} OOM kills": each("nodewhy_oom_kills_total", "node"),
            "{{node}} OOM kills of host services": each("nodewhy_host_oom_kills_total", "node", births=True),
            "{{node}} evictions": each("nodewhy_pod_evictions_total", "node"),
            "{{node}} kubelet restarts": each("nodewhy_kubelet_restarts_total", "node"),
            "{{node}} storage errors": each("nodewhy_kernel_storage_errors_total", "node", births=True),
            "{{node}} kernel problems": each("nodewhy_kernel_problems_total", "node"),
            "{{node}} findings opened": each("nodewhy_findings_opened_total", "node"),
        },
        steps=((None, GREY), (0.01, YELLOW), (3, ORANGE), (10, RED)),
    )
    page.table(
        "Findings by cause",
        "Open now, and opened in the chosen time range. The cause leads to its runbook. The findings themselves, with their "
        "evidence: `nodewhy findings` in the agent's pod on the node.",
        {
            "open": 'sum by (cluster, node, cause) (nodewhy_findings{HERE, state="open"}) > 0',
            "resolved": 'sum by (cluster, node, cause) (nodewhy_findings{HERE, state="resolved"}) > 0',
            "opened in range": "round(sum by (cluster, node, cause) (increase(nodewhy_findings_opened_total{HERE}[$__range]))) > 0",
        },
        labels=("node", "cause"), sort="open", colours={"open": ((None, GREEN), (1, RED))}, width=10,
    )
    page.lines(
        "Deaths by cause", "Ends of containers that nobody asked for.",
        {"{{node}} {{cause}}": each("nodewhy_container_terminations_total", "node, cause", DEATH, births=True)},
        bars=True, stacked=True, width=14,
    )


def node_or_workload(page: Page) -> None:
    page.row("The node or the workloads?")
    page.lines(
        "Crashed pods here and expected",
        "Pods that crashed in the last hour, and how many of the same workloads' pods would have if this node were like the others.",
        {
            "{{node}} crashed": or_zero("node:nodewhy_workload_crashed_pods:sum{HERE}", "node:nodewhy_workload_crashed_pods:expected{HERE}"),
            "{{node}} expected": "node:nodewhy_workload_crashed_pods:expected{HERE}",
        },
        width=10,
    )
    page.table(
        "Workloads that crash here",
        "The last hour: pods here, how many of them crashed, and the share of the workload's pods that crashed in the whole "
        "cluster. Many workloads that crash here and nowhere else: it is the node.",
        {
            "crashed": "sum by (cluster, node, namespace, workload_kind, workload) (nodewhy_workload_crashed_pods{HERE}) > 0",
            "pods": """
                sum by (cluster, node, namespace, workload_kind, workload) (nodewhy_workload_pods{HERE})
                and on (cluster, node, namespace, workload_kind, workload) nodewhy_workload_crashed_pods{HERE} > 0
            """,
            "crashed anywhere": """
                sum by (cluster, node, namespace, workload_kind, workload) (nodewhy_workload_crashed_pods{HERE} > bool 0)
                * on (cluster, namespace, workload_kind, workload) group_left ()
                workload:nodewhy_workload_crashed_pods_per_pods:ratio{cluster="$cluster"}
            """,
            "loops": "sum by (cluster, node, namespace, workload_kind, workload) (nodewhy_workload_crash_looping_containers{HERE}) > 0",
        },
        labels=("node", "namespace", "workload_kind", "workload"), sort="crashed", units={"crashed anywhere": "percentunit"}, width=14,
    )
    page.table(
        "Crashes in the time range by workload and cause", "Which container, how often and why.",
        {
            "crashes": f"round(sum by (cluster, node, namespace, workload_kind, workload, container, cause) "
            f"({increase('nodewhy_container_terminations_total', f'HERE, {CRASH}', '$__range')})) > 0"
        },
        labels=("node", "namespace", "workload_kind", "workload", "container", "cause"), sort="crashes", width=24,
    )


def memory(page: Page) -> None:
    page.row("Memory")
    page.lines(
        "Memory against the limit", "The ten containers nearest to the limit that holds them, their own or their pod's.",
        {
            "{{namespace}}/{{pod}} {{container}}": """
                topk(10, nodewhy_container_memory_usage_bytes{HERE} / (nodewhy_container_memory_limit_bytes{HERE} > 0))
            """
        },
        unit="percentunit", steps=((None, GREEN), (0.9, ORANGE), (1, RED)), most=1.05,
    )
    page.lines(
        "Resident memory (VmRSS)",
        "The ten largest containers by resident memory of their processes. It also counts file pages that are charged to "
        "whoever read them first, so it may exceed the charge.",
        {"{{namespace}}/{{pod}} {{container}}": "topk(10, nodewhy_container_memory_rss_bytes{HERE})"}, unit="bytes",
    )
    page.lines(
        "What the charge consists of",
        "All containers together: anon is the programs' own memory, file can be reclaimed, shmem (tmpfs, shared memory) cannot, "
        "and outlives a container.",
        {"{{node}} {{kind}}": "sum by (node, kind) (nodewhy_container_memory_bytes{HERE})"}, unit="bytes", stacked=True, width=8,
    )
    page.lines(
        "OOM kills", "By what was full and how it was told. host: services outside of pods, by unit.",
        {
            "{{node}} {{scope}} {{cause}}": each("nodewhy_oom_kills_total", "node, scope, cause"),
            "{{node}} host {{unit}}": each("nodewhy_host_oom_kills_total", "node, unit", births=True),
        },
        bars=True, stacked=True, width=8,
    )
    page.table(
        "Killed in the last hour", "Containers in which the kernel killed a process for lack of memory, and when it last did.",
        {"when": "nodewhy_container_last_oom_kill_timestamp_seconds{HERE} * 1000"},
        labels=("node", "namespace", "pod", "container"), sort="when", units={"when": "dateTimeAsIso"}, width=8,
    )


def pressure_and_disks(page: Page) -> None:
    page.row("Pressure and disks")
    page.lines(
        "Pressure", "Share of time in which some tasks, or all (full), waited for memory, disks or a CPU.",
        {"{{node}} {{resource}} {{kind}}": "sum by (node, resource, kind) (rate(nodewhy_node_pressure_seconds_total{HERE}[$__rate_interval]))"},
        unit="percentunit",
    )
    page.lines(
        "Distance to eviction",
        "What is left, as a multiple of the kubelet's eviction threshold. At 1 the kubelet evicts pods.",
        {
            "{{node}} {{signal}}": """
                min by (node, signal) (nodewhy_eviction_available_bytes{HERE} / (nodewhy_eviction_threshold_bytes{HERE} > 0))
                or
                min by (node, signal) (nodewhy_eviction_available_inodes{HERE} / (nodewhy_eviction_threshold_inodes{HERE} > 0))
            """,
            "{{node}} pid.available": "min by (node) (nodewhy_eviction_available_pids{HERE} / (nodewhy_eviction_threshold_pids{HERE} > 0))",
        },
        unit="none", steps=((None, RED), (1, ORANGE), (1.25, GREEN)),
    )
    page.lines(
        "Free on filesystems", "Share of bytes and of inodes that is free, by the kubelet's names.",
        {
            "{{node}} {{filesystem}} bytes": """
                min by (node, filesystem) (nodewhy_filesystem_available_bytes{HERE} / (nodewhy_filesystem_size_bytes{HERE} > 0))
            """,
            "{{node}} {{filesystem}} inodes": """
                min by (node, filesystem) (nodewhy_filesystem_inodes_free{HERE} / (nodewhy_filesystem_inodes{HERE} > 0))
            """,
        },
        unit="percentunit", most=1, width=8,
    )
    page.lines(
        "Time until eviction", "At the present rate. Nothing is shown for what does not shrink.",
        {"{{node}} {{signal}}": "min by (node, signal) (nodewhy_eviction_reached_in_seconds{HERE})"},
        unit="s", steps=((None, RED), (3600, ORANGE), (86400, GREEN)), width=8,
    )
    page.bars(
        "Largest users of local storage", "The pods that use most local (ephemeral) storage: logs, writable layers, emptyDir.",
        {"{{namespace}}/{{pod}}": "sort_desc(topk(10, nodewhy_pod_ephemeral_storage_bytes{HERE}))"}, unit="bytes", width=8,
    )


def kernel_and_kubelet(page: Page) -> None:
    page.row("Kernel and kubelet")
    page.lines(
        "Kernel problems", "What the kernel's log tells of, by class; also what is normal on healthy nodes and makes no finding.",
        {"{{node}} {{class}}": each("nodewhy_kernel_problems_total", "node, class")}, bars=True, stacked=True, width=8,
    )
    page.lines(
        "Storage errors", "Errors that the kernel reports of a disk, by device.",
        {"{{node}} {{device}}": each("nodewhy_kernel_storage_errors_total", "node, device", births=True)}, bars=True, stacked=True, width=8,
    )
    page.table(
        "What runs there",
        "Versions, and the highest verbosity of which lines of the kubelet were seen: below 2 it does not log why it kills.",
        {
            "kernel": "group by (cluster, node, kernel, cgroups) (nodewhy_node_info{HERE})",
            "kubelet": """
                group by (cluster, node, kubelet) (label_replace(nodewhy_kubelet_info{HERE}, "kubelet", "$1", "version", "(.+)"))
            """,
            "agent": """
                group by (cluster, node, agent) (label_replace(nodewhy_build_info{HERE}, "agent", "$1", "version", "(.+)"))
            """,
            "verbosity": "max by (cluster, node) (nodewhy_kubelet_log_verbosity{HERE})",
        },
        labels=("node", "kernel", "cgroups", "kubelet", "agent"), sort="node", labels_only=("kernel", "kubelet", "agent"), width=8,
    )


def agent(page: Page) -> None:
    page.row("Does nodewhy see everything?")
    page.states(
        "Sources", "Which of the agent's sources could be read when. Findings of a time in which one could not say so.",
        {
            "{{node}} {{source}}": """
                max by (node, source) (
                  nodewhy_source_state{HERE, state="absent"} * 1
                  or nodewhy_source_state{HERE, state="stale"} * 2
                  or nodewhy_source_state{HERE, state="unreadable"} * 3
                  or nodewhy_source_state{HERE, state="failing"} * 4
                  or nodewhy_source_state{HERE, state="up"} * 0
                )
            """
        },
        words=((0, "up", GREEN), (1, "absent", "blue"), (2, "stale", YELLOW), (3, "unreadable", ORANGE), (4, "failing", RED)), width=12,
    )
    page.lines(
        "Records lost", "Records that a source lost before they could be read. Nothing on this line: the evidence is complete.",
        {"{{node}} {{source}}": each("nodewhy_source_records_lost_total", "node, source")}, bars=True, width=12,
    )
    page.lines(
        "Agent's memory", "Resident memory of the agent.",
        {"{{node}}": "sum by (node) (process_resident_memory_bytes{HERE} and on (cluster, node, instance) nodewhy_build_info{HERE})"},
        unit="bytes", width=8,
    )
    page.lines(
        "Agent's CPU", "Share of one core that the agent uses.",
        {
            "{{node}}": """
                sum by (node) (
                  rate(process_cpu_seconds_total{HERE}[$__rate_interval]) and on (cluster, node, instance) nodewhy_build_info{HERE}
                )
            """
        },
        unit="percentunit", width=8,
    )
    page.lines(
        "How full the agent's stores are", "Its fullest five. At 100 % the oldest entry makes room.",
        {"{{node}} {{store}}": "topk(5, nodewhy_store_entries{HERE} / (nodewhy_store_capacity_entries{HERE} > 0))"},
        unit="percentunit", most=1, width=8,
    )
