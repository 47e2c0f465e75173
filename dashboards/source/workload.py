"""One workload: does it crash here or everywhere, and how does its memory stand against its limit?"""

from page import GREEN, GREY, ORANGE, RED, YELLOW, Page
from promql import CRASH, DEATH, elsewhere, hours, increase, or_zero

HERE = 'cluster="$cluster", namespace="$namespace", workload_kind=~"$workload_kind", workload="$workload"'

# Pods of a workload by name: Deployments add a hash and five letters, DaemonSets five letters, StatefulSets and Jobs
# numbers. Kubernetes draws them without vowels, so that the pods of `web-api` are not taken for those of `web`.
LETTERS = "[bcdfghjklmnpqrstvwxz0-9]"
PODS = f'cluster="$cluster", namespace="$namespace", pod=~"$workload(-{LETTERS}{{5,10}})?(-{LETTERS}{{5}}|-[0-9]+)?"'

PODS_NOW = "sum by (cluster, node) (nodewhy_workload_pods{HERE})"
CRASHED_NOW = or_zero("sum by (cluster, node) (nodewhy_workload_crashed_pods{HERE})", PODS_NOW)
PODS_WEEK = hours("nodewhy_workload_pods")
CRASHED_WEEK = or_zero(hours("nodewhy_workload_crashed_pods"), PODS_WEEK)


def page() -> Page:
    page = Page(
        "nodewhy-workload", "nodewhy / Workload",
        "Whether a workload crashes on one node or everywhere, in the last hour and over 7 days, and its memory against its limit.", HERE,
    )
    page.variable("namespace", "Namespace", 'label_values(nodewhy_workload_pods{cluster="$cluster"}, namespace)')
    page.variable("workload", "Workload", 'label_values(nodewhy_workload_pods{cluster="$cluster", namespace="$namespace"}, workload)')
    page.variable(
        "workload_kind", "Kind",
        'label_values(nodewhy_workload_pods{cluster="$cluster", namespace="$namespace", workload="$workload"}, workload_kind)',
        everything=True,
    )
    page.variable("node", "Node", f"label_values(nodewhy_workload_pods{{{HERE}}}, node)", many=True, everything=True)
    page.annotation(
        "OOM kills", "sum by (node, cause) (increase(nodewhy_workload_oom_kills_total{HERE}[2m])) > 0",
        "{{cause}}", "on {{node}}", RED,
    )
    page.annotation(
        "Kubelet restarts",
        """
        sum by (node) (increase(nodewhy_kubelet_restarts_total{cluster="$cluster"}[2m])) > 0
        and on (node) group by (node) (nodewhy_workload_pods{HERE})
        """,
        "kubelet restarted", "{{node}}", YELLOW,
    )
    now(page)
    last_hour(page)
    seven_days(page)
    why(page)
    memory(page)
    return page


def now(page: Page) -> None:
    page.row("Now")
    page.number("Pods", "The workload's pods, now or in the last hour.", "sum(nodewhy_workload_pods{HERE})")
    page.number(
        "Crashed pods", "Pods of which a container crashed in the last hour.", "sum(nodewhy_workload_crashed_pods{HERE}) or vector(0)",
        steps=((None, GREEN), (1, ORANGE)),
    )
    page.number(
        "Crashed", "Share of the pods that crashed in the last hour.",
        "(sum(nodewhy_workload_crashed_pods{HERE}) or vector(0)) / sum(nodewhy_workload_pods{HERE})", unit="percentunit",
        steps=((None, GREEN), (0.01, ORANGE), (0.5, RED)),
    )
    page.number(
        "On nodes", "Nodes on which a pod crashed in the last hour.",
        "count(sum by (node) (nodewhy_workload_crashed_pods{HERE}) > 0) or vector(0)", steps=((None, GREEN), (1, ORANGE)),
    )
    page.number(
        "Crash loops", "Containers that crash again and again now.", "sum(nodewhy_workload_crash_looping_containers{HERE}) or vector(0)",
        steps=((None, GREEN), (1, RED)),
    )
    page.number(
        "Killed for memory", "OOM kills in the chosen time range.",
        f"sum({increase('nodewhy_workload_oom_kills_total', 'HERE', '$__range')}) or vector(0)", steps=((None, GREEN), (0.5, RED)),
    )


def last_hour(page: Page) -> None:
    page.row("Here or elsewhere, in the last hour")
    page.table(
        "Each node against all others, last hour",
        "Share of the pods that crashed on this node, and on all other nodes together. Alike: it is the workload. High here "
        "only: one workload proves little in one hour; the 7 days below, or other workloads on the same node, tell more.",
        {
            "pods": f'({PODS_NOW}) and on (node) group by (node) (nodewhy_workload_pods{{HERE, node=~"$node"}})',
            "crashed": f'({CRASHED_NOW}) and on (node) group by (node) (nodewhy_workload_pods{{HERE, node=~"$node"}})',
            "here": f'({CRASHED_NOW}) / ({PODS_NOW}) and on (node) group by (node) (nodewhy_workload_pods{{HERE, node=~"$node"}})',
            "elsewhere": f'({elsewhere(CRASHED_NOW, PODS_NOW)}) and on (node) group by (node) (nodewhy_workload_pods{{HERE, node=~"$node"}})',
        },
        labels=("node",), sort="here", units={"here": "percentunit", "elsewhere": "percentunit"},
        colours={"here": ((None, GREEN), (0.01, ORANGE), (0.5, RED))},
    )
    page.lines(
        "Crashed pods by node", "Share of the workload's pods on a node that crashed in the hour before.",
        {
            "{{node}}": """
                sum by (node) (nodewhy_workload_crashed_pods{HERE, node=~"$node"})
                / sum by (node) (nodewhy_workload_pods{HERE, node=~"$node"})
            """,
            "all nodes": "sum(nodewhy_workload_crashed_pods{HERE}) / sum(nodewhy_workload_pods{HERE})",
        },
        unit="percentunit", most=1, to_node=True,
    )


def seven_days(page: Page) -> None:
    page.row("Here or elsewhere, over 7 days")
    page.table(
        "Each node against all others, 7 days",
        "Pod-hours in which a container crashed, of all pod-hours on the node. It follows the workload, not its pods: new "
        "rollouts and rescheduled pods count on. A node that fails its pods now and then, each time others, is a multiple of "
        "the rest here, although no single hour shows it.",
        {
            "pod-hours": PODS_WEEK,
            "with a crash": CRASHED_WEEK,
            "here": f"({CRASHED_WEEK}) / ({PODS_WEEK} > 0)",
            "elsewhere": elsewhere(CRASHED_WEEK, PODS_WEEK),
            "times elsewhere": f"(({CRASHED_WEEK}) / ({PODS_WEEK} > 0)) / (({elsewhere(CRASHED_WEEK, PODS_WEEK)}) > 0)",
        },
        labels=("node",), sort="here", units={"here": "percentunit", "elsewhere": "percentunit"},
        colours={"times elsewhere": ((None, GREEN), (2, YELLOW), (5, RED))},
    )
    page.history(
        "Crashed pods by node, 7 days",
        "Hour by hour, the share of the workload's pods on a node that crashed. One row with marks where the others have "
        "none: look at that node. Marks in all rows at the same time: look at the rollout of that time.",
        {
            "{{node}}": """
                sum by (node) (max_over_time(nodewhy_workload_crashed_pods{HERE, node=~"$node"}[1h]))
                / sum by (node) (max_over_time(nodewhy_workload_pods{HERE, node=~"$node"}[1h]))
            """
        },
        unit="percentunit", steps=((None, GREY), (0.01, YELLOW), (0.3, ORANGE), (0.7, RED)), width=12, span="7d", interval="1h",
        to_node=True,
    )
    page.table(
        "Crashes by node and cause, 7 days", "Ends of its containers that count as crashes. The same cause on one node only speaks for the node.",
        {
            "crashes": f"round(sum by (cluster, node, container, cause) "
            f"({increase('nodewhy_container_terminations_total', f'HERE, {CRASH}', '7d')})) > 0"
        },
        labels=("node", "container", "cause"), sort="crashes", width=24,
    )


def why(page: Page) -> None:
    page.row("Why")
    page.lines(
        "Deaths by cause", "Ends of its containers that nobody asked for.",
        {"{{container}} {{cause}}": f"sum by (container, cause) ({increase('nodewhy_container_terminations_total', f'HERE, {DEATH}', '$__rate_interval')}) > 0"},
        bars=True, stacked=True,
    )
    page.lines(
        "OOM kills", "By node and cause. child: the container lived on and Kubernetes shows nothing.",
        {
            "{{node}} {{victim}} {{cause}}": f"sum by (node, victim, cause) ({increase('nodewhy_workload_oom_kills_total', 'HERE', '$__rate_interval')}) > 0"
        },
        bars=True, stacked=True,
    )


def memory(page: Page) -> None:
    page.row("Memory")
    page.lines(
        "Memory against the limit", "What the kernel compares, by container: its charge as a share of the limit. The ten nearest to it.",
        {
            "{{node}} {{pod}} {{container}}": f"""
                topk(10, nodewhy_container_memory_usage_bytes{{{PODS}}} / (nodewhy_container_memory_limit_bytes{{{PODS}}} > 0))
            """
        },
        unit="percentunit", steps=((None, GREEN), (0.9, ORANGE), (1, RED)), most=1.05,
    )
    page.lines(
        "Resident memory (VmRSS)", "Of its processes, by container; the ten largest.",
        {"{{node}} {{pod}} {{container}}": f"topk(10, nodewhy_container_memory_rss_bytes{{{PODS}}})"}, unit="bytes",
    )
    page.table(
        "Memory until its end",
        "For each container of the time range, also those that have gone: the highest charge that was read, the limit, and "
        "when the kernel last killed in it. Growth between two readings is not seen.",
        {
            "highest": f"max by (cluster, node, pod, container) (max_over_time(nodewhy_container_memory_peak_bytes{{{PODS}}}[$__range]))",
            "limit": f"max by (cluster, node, pod, container) (max_over_time(nodewhy_container_memory_limit_bytes{{{PODS}}}[$__range]))",
            "of the limit": f"""
                max by (cluster, node, pod, container) (max_over_time(nodewhy_container_memory_peak_bytes{{{PODS}}}[$__range]))
                / (max by (cluster, node, pod, container) (max_over_time(nodewhy_container_memory_limit_bytes{{{PODS}}}[$__range])) > 0)
            """,
            "killed": f"""
                max by (cluster, node, pod, container) (max_over_time(nodewhy_container_last_oom_kill_timestamp_seconds{{{PODS}}}[$__range])) * 1000
            """,
        },
        labels=("node", "pod", "container"), sort="of the limit",
        units={"highest": "bytes", "limit": "bytes", "of the limit": "percentunit", "killed": "dateTimeAsIso"},
        colours={"of the limit": ((None, GREEN), (0.9, ORANGE), (0.99, RED))}, width=24,
    )
