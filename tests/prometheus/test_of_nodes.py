"""What rules/node-or-workload.yaml computes, over arrays: for fleets too large to be given to Prometheus many times.

That it is the same is no matter of trust: tests/prometheus/simulation lets promtool evaluate the shipped rules over smaller fleets
and compares every node's z and verdict.
"""
from dataclasses import dataclass

import numpy as np

EVERYWHERE_RATIO, EVERYWHERE_PODS, EVERYWHERE_NODES = 0.5, 3, 2
LEAST_WORKLOADS, LEAST_PODS, LEAST_EXCESS = 2, 3, 3
VARIANCE_FLOOR, CONTINUITY = 0.25, 0.5


@dataclass
class Fleet:
    """Where pods are: one entry for each pair of a node and a workload that runs there."""
    nodes: int
    workloads: int
    node: np.ndarray        # of each pair
    workload: np.ndarray    # of each pair
    pods: np.ndarray        # of each pair


@dataclass
class Verdict:
    z: np.ndarray           # of each node; NaN where nothing comparable crashed
    workloads: np.ndarray   # of each node: how many crash there, if the test names it, else 0


def judge(fleet, crashed):
    """`crashed`: pods of each pair that crashed in the window."""
    M = np.bincount(fleet.workload, fleet.pods, fleet.workloads)
    K = np.bincount(fleet.workload, crashed, fleet.workloads)
    on_nodes = np.bincount(fleet.workload, crashed > 0, fleet.workloads)
    p = np.divide(K, M, out=np.zeros_like(K), where=M > 0)
    everywhere = (p > EVERYWHERE_RATIO) & (K >= EVERYWHERE_PODS) & (on_nodes >= EVERYWHERE_NODES)
    tells = (K > 0) & ~everywhere

    of = fleet.workload
    pairs = tells[of] & (fleet.pods < M[of])
    node, m, x, of = fleet.node[pairs], fleet.pods[pairs], crashed[pairs], of[pairs]
    per_pair = p[of] * (1 - p[of]) / (M[of] - 1)
    by_node = lambda values: np.bincount(node, values, fleet.nodes)  # noqa: E731
    seen, expected = by_node(x), by_node(m * p[of])
    variance = by_node(m * M[of] * per_pair) - by_node(m * m * per_pair)
    workloads = by_node(x > 0)

    z = (seen - expected - CONTINUITY) / np.sqrt(np.maximum(variance, VARIANCE_FLOOR))
    threshold = np.sqrt(2 * np.log(20 * len(np.unique(fleet.node))))
    named = ((z > threshold) & (workloads >= LEAST_WORKLOADS) & (seen >= LEAST_PODS) & (seen >= LEAST_EXCESS * expected))
    return Verdict(np.where(workloads > 0, z, np.nan), np.where(named, workloads, 0))
