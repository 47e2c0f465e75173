"""Pieces of PromQL that several panels share.

In the queries of this folder, `HERE` stands for the selector of the dashboard (its cluster and nodes, or its workload);
`Page` puts it in.
"""

# Ends of containers that nobody asked for. The same words as in the recording rules.
CRASH = 'cause!~"stopped|preempted|slow_shutdown|evicted_.*|node_rebooted|runtime_restarted|completed"'
# Everything that ended a container against its will.
DEATH = 'cause!~"stopped|completed"'


def increase(counter: str, selector: str, window: str) -> str:
    """What a counter rose by in the window, births included.

    A series whose labels are not known beforehand (a workload's first kill, a disk's first error) is born with 1, which
    increase() does not see. Such a series counts whole, provided that the agent was scraped before its birth: else a
    new Prometheus would show everything since boot.
    """
    series = f"{counter}{{{selector}}}"
    return (
        f"(\n  {series}\n  unless {series} offset {window}\n"
        f"  and on (cluster, node) group by (cluster, node) (nodewhy_build_info{{cluster=\"$cluster\"}} offset {window})\n"
        f"  or increase({series}[{window}])\n)"
    )


def elsewhere(crashed: str, pods: str) -> str:
    """The ratio of crashed pods on all other nodes, for each node; both arguments are vectors by cluster and node."""
    return (
        f"(sum by (cluster) ({crashed}) - on (cluster) group_right () ({crashed}))\n"
        f"/\n"
        f"((sum by (cluster) ({pods}) - on (cluster) group_right () ({pods})) > 0)"
    )


def hours(gauge: str) -> str:
    """Pod-hours of 7 days: the gauges say what held in the hour before, so one reading an hour counts each hour once."""
    return f"sum by (cluster, node) (sum_over_time({gauge}{{HERE}}[7d:1h]))"


def or_zero(some: str, of: str) -> str:
    """`some`, and 0 for whatever `of` has and `some` has not."""
    return f"({some} or 0 * {of})"
