"""All nodes of a cluster: which of them stand out, and why."""

from page import GREEN, GREY, ORANGE, RED, YELLOW, Page
from promql import CRASH, DEATH, or_zero

HERE = 'cluster="$cluster", node=~"$node"'

# Nodes whose pods crash most beyond what is expected; constant over the panel, or rows would come and go.
MOST_SUSPECT = "topk(25, max_over_time(node:nodewhy_crash_excess:zscore{HERE}[$__range] @ end()))"
CRASHED = or_zero("node:nodewhy_workload_crashed_pods:sum{HERE}", "node:nodewhy_workload_crashed_pods:expected{HERE}")
EXCESS = f"{CRASHED} - node:nodewhy_workload_crashed_pods:expected{{HERE}}"


def page() -> Page:
    page = Page(
        "nodewhy-fleet", "nodewhy / Fleet",
        "Which nodes make their pods crash, which workloads crash everywhere, and what nodewhy found to be the cause.", HERE,
    )
    page.variable("node", "Node", 'label_values(nodewhy_build_info{cluster="$cluster"}, node)', many=True, everything=True)
    page.annotation(
        "Findings opened", "sum by (cause) (increase(nodewhy_findings_opened_total{HERE}[2m])) > 0",
        "{{cause}}", "opened somewhere in the cluster", ORANGE, shown=False,
    )
    page.annotation(
        "Kubelet restarts", "sum by (node) (increase(nodewhy_kubelet_restarts_total{HERE}[2m])) > 0",
        "kubelet restarted", "{{node}}", YELLOW, shown=False,
    )
    now(page)
    which_nodes(page)
    why(page)
    which_workloads(page)
    agents(page)
    return page


def now(page: Page) -> None:
    page.row("Now")
    page.number("Nodes watched", "Nodes with an agent that Prometheus can scrape.", "count(group by (node) (nodewhy_build_info{HERE}))")
    page.number(
        "Nodes that stand out",
        "Nodes on which pods of several workloads crash far more than their siblings elsewhere; the alert NodeSpecificPodCrashes "
        "names them.",
        "count(node:nodewhy_crash_excess:workloads{HERE}) or vector(0)", steps=((None, GREEN), (1, RED)),
    )
    page.number(
        "Workloads crashing everywhere",
        "Workloads of which more than half of the pods, and at least 3, crashed in the last hour, on several nodes.",
        'count(workload:nodewhy_workload_crashed_everywhere:ratio{cluster="$cluster"}) or vector(0)',
        steps=((None, GREEN), (1, ORANGE)),
    )
    page.number(
        "Crash loops", "Containers that crash again and again now.", "sum(nodewhy_workload_crash_looping_containers{HERE}) or vector(0)",
        steps=((None, GREEN), (1, ORANGE)),
    )
    page.number(
        "OOM kills", "Kills by the kernel's OOM killer in the chosen time range, a group kill counted once.",
        "sum(increase(nodewhy_oom_kills_total{HERE}[$__range]))", steps=((None, GREEN), (1, ORANGE)),
    )
    page.number(
        "Open findings", "What nodewhy explains at present and has not seen end.", 'sum(nodewhy_findings{HERE, state="open"})',
        steps=((None, GREEN), (1, YELLOW)),
    )


def which_nodes(page: Page) -> None:
    page.row("Which nodes")
    page.table(
        "Worst nodes",
        "Pods that crashed in the last hour against what the same workloads' pods do on other nodes. Only workloads that run "
        "elsewhere, too, are counted. z above the threshold of the cluster, with several workloads, is no coincidence.",
        {
            "z": "topk(50, node:nodewhy_crash_excess:zscore{HERE})",
            "crashed pods": "node:nodewhy_workload_crashed_pods:sum{HERE} and on (cluster, node) topk(50, node:nodewhy_crash_excess:zscore{HERE})",
            "expected": "node:nodewhy_workload_crashed_pods:expected{HERE} and on (cluster, node) topk(50, node:nodewhy_crash_excess:zscore{HERE})",
            "workloads": "node:nodewhy_workload_crashed_pods:count{HERE} and on (cluster, node) topk(50, node:nodewhy_crash_excess:zscore{HERE})",
            "open findings": """
                sum by (cluster, node) (nodewhy_findings{HERE, state="open"})
                and on (cluster, node) topk(50, node:nodewhy_crash_excess:zscore{HERE})
            """,
        },
        labels=("node",), sort="z", colours={"z": ((None, GREEN), (2, YELLOW), (4, RED))}, width=14,
    )
    page.bars(
        "Nodes that fail now and then",
        "Crashed pods beyond what is expected, added up hour by hour over 7 days. A node on which something fails once a day "
        "never stands out in an hour; it does here.",
        {"{{node}}": f"sort_desc(topk(15, sum_over_time(({EXCESS})[7d:1h]) > 0))"},
        steps=((None, GREEN), (5, YELLOW), (20, RED)), width=10, to_node=True,
    )
    page.history(
        "How far each node stands out (z)",
        "The 25 most suspect nodes of the time range. z says by how many standard deviations a node's crashed pods exceed "
        "what the same workloads do elsewhere. Empty: no pod crashed there.",
        {"{{node}}": f"node:nodewhy_crash_excess:zscore{{HERE}} and on (cluster, node) {MOST_SUSPECT}"},
        steps=((None, GREEN), (1, YELLOW), (2.5, ORANGE), (4, RED)), to_node=True,
    )
    page.lines(
        "Crashed pods beyond the expected",
        "The ten most suspect nodes: crashed pods of the last hour minus what is expected. What crashes "
        "everywhere, like a bad release, is left out.",
        {"{{node}}": f"({EXCESS}) and on (cluster, node) topk(10, max_over_time(node:nodewhy_crash_excess:zscore{{HERE}}[$__range] @ end()))"},
        to_node=True,
    )
    page.lines(
        "Crashes an hour",
        "The ten nodes with most crashes. Restarts, not pods: one loop makes 12 to 15 an hour.",
        {"{{node}}": "topk(10, node:nodewhy_container_crashes:increase1h{HERE})"}, to_node=True,
    )


def why(page: Page) -> None:
    page.row("Why")
    page.lines(
        "Open findings by cause", "Nodes' findings that are open, by cause. docs/causes.md explains the words.",
        {"{{cause}}": 'sum by (cause) (nodewhy_findings{HERE, state="open"}) > 0'}, stacked=True,
    )
    page.lines(
        "Deaths by cause", "Ends of containers in the hour before, without those that were asked for.",
        {"{{cause}}": f"sum by (cause) (node_cause:nodewhy_container_terminations:increase1h{{HERE, {DEATH}}}) > 0"}, stacked=True,
    )
    page.table(
        "Open findings by node and cause", "Where to look first. The cause leads to its runbook, the node to its dashboard.",
        {"open": 'sum by (cluster, node, cause) (nodewhy_findings{HERE, state="open"}) > 0'}, labels=("node", "cause"), sort="open",
    )
    page.lines(
        "OOM kills by what was full",
        "An hour's kills: container and pod are limits of the workload; node_allocatable and qos_class are all pods together; "
        "node is the whole machine.",
        {"{{scope}}": "sum by (scope) (increase(nodewhy_oom_kills_total{HERE}[1h])) > 0"}, stacked=True,
    )
    page.lines(
        "Evictions", "Pods that kubelets evicted in the hour before, by what ran short.",
        {"{{signal}}": "sum by (signal) (increase(nodewhy_pod_evictions_total{HERE}[1h])) > 0"}, stacked=True,
    )
    page.lines(
        "Kernel problems", "What kernels' logs told of in the hour before, by class; also what is normal on healthy nodes.",
        {"{{class}}": "sum by (class) (increase(nodewhy_kernel_problems_total{HERE}[1h])) > 0"}, stacked=True,
    )


def which_workloads(page: Page) -> None:
    page.row("Which workloads")
    page.table(
        "Workloads that crash",
        "Share of a workload's pods that crashed in the last hour, and on how many nodes. High on many nodes: look at the "
        "workload. On one node only: follow the link and look at the node.",
        {
            "ratio": 'topk(50, workload:nodewhy_workload_crashed_pods_per_pods:ratio{cluster="$cluster"})',
            "crashed pods": 'workload:nodewhy_workload_crashed_pods:sum{cluster="$cluster"} > 0',
            "pods": """
                workload:nodewhy_workload_pods:sum{cluster="$cluster"}
                and on (cluster, namespace, workload_kind, workload) workload:nodewhy_workload_crashed_pods:sum{cluster="$cluster"} > 0
            """,
            "nodes": 'workload:nodewhy_workload_crashed_pods:count{cluster="$cluster"}',
        },
        labels=("namespace", "workload_kind", "workload"), sort="ratio", units={"ratio": "percentunit"},
        colours={"ratio": ((None, GREEN), (0.2, YELLOW), (0.5, RED))}, width=14,
    )
    page.lines(
        "Crashes an hour by namespace", "Crashes of the hour before, by namespace: whom to call.",
        {"{{namespace}}": f"topk(10, sum by (namespace) (increase(nodewhy_container_terminations_total{{HERE, {CRASH}}}[1h])) > 0)"},
        width=10, stacked=True,
    )


def agents(page: Page) -> None:
    page.row("Does nodewhy see everything?")
    page.lines(
        "Sources that cannot be read", "On how many nodes a source is not readable. What only that source tells is missing there.",
        {"{{source}} {{state}}": 'sum by (source, state) (nodewhy_source_state{HERE, state!="up"}) > 0'}, width=8,
    )
    page.lines(
        "Deaths that stay unexplained", "Share of the deaths of 6 hours for which no cause was found.",
        {
            "{{result}}": """
                sum by (result) (increase(nodewhy_correlations_total{HERE, result!="explained"}[6h]))
                / on () group_left () sum(increase(nodewhy_correlations_total{HERE}[6h]))
            """
        },
        unit="percentunit", width=8, most=1,
    )
    page.history(
        "Records lost", "Nodes whose sources lost records in the hour before, such as an overrun of the kernel's ring.",
        {"{{node}} {{source}}": "sum by (node, source) (increase(nodewhy_source_records_lost_total{HERE}[1h])) > 0"},
        steps=((None, GREY), (1, YELLOW), (100, ORANGE)), width=8,
    )
