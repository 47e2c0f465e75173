"""Fleets of nodes whose pods crash, as promtool's tests: written out, one is a hundred lines of series.

    fleet.py FOLDER    writes node-or-workload.yaml into FOLDER

Ten nodes n1 to n10 run three DaemonSets; n1 to n6 also two pods each of the Deployments web and api. A crash lasts from
the tenth minute to the hundredth.
"""
import pathlib
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RULES = ROOT / "deploy/prometheus/rules/node-or-workload.yaml"
RUNBOOKS = "https://github.com/nodewhy/nodewhy/blob/main/docs/runbooks/alerts/"
NODES = [f"n{i}" for i in range(1, 11)]
WORKLOADS = {("DaemonSet", f"ds{i}"): {node: 1 for node in NODES} for i in range(1, 6)}
WORKLOADS |= {("Deployment", name): {node: 2 for node in NODES[:6]} for name in ("web", "api")}
SMALL = {workload: pods for workload, pods in WORKLOADS.items() if workload[1] not in ("ds4", "ds5")}

BEFORE, DURING, AFTER = "8m", "60m", "110m"


def series(metric, cluster, node, workload, values):
    kind, name = workload
    labels = f'node="{node}",namespace="s",workload_kind="{kind}",workload="{name}"' + (f',cluster="{cluster}"' if cluster else "")
    return {"series": f"{metric}{{{labels}}}", "values": values}


def fleet(workloads, crashes, cluster=""):
    """`crashes`: {workload's name: {node: crashed pods}}."""
    rows = [series("nodewhy_workload_pods", cluster, node, workload, f"{pods}x130")
            for workload, where in workloads.items() for node, pods in where.items()]
    rows += [series("nodewhy_workload_crashed_pods", cluster, node, workload, f"_x10 {crashed}x90 stale")
             for workload in workloads for node, crashed in crashes.get(workload[1], {}).items()]
    return rows


def node_specific(severity, node, workloads, cluster=""):
    return {
        "exp_labels": {"severity": severity, "node": node} | ({"cluster": cluster} if cluster else {}),
        "exp_annotations": {
            "summary": "Pods crash on this node much more than their siblings elsewhere.",
            "description": f"On node {node}, pods of {workloads} workloads crashed in the last hour, far more than the same "
                           "workloads' pods on other nodes. Look at the node, not at the workloads.",
            "runbook_url": RUNBOOKS + "nodespecificpodcrashes.md"}}


def everywhere(kind, name, percent):
    return {
        "exp_labels": {"severity": "warning", "namespace": "s", "workload_kind": kind, "workload": name},
        "exp_annotations": {
            "summary": "Most pods of this workload crash, on several nodes.",
            "description": f"{percent}% of the pods of {kind} s/{name} crashed in the last hour, on several nodes. Look at the "
                           "workload, not at the nodes.",
            "runbook_url": RUNBOOKS + "workloadcrashingeverywhere.md"}}


def case(name, rows, specific=(), broken=()):
    """Before the crashes and after them nothing fires; during them exactly what is given."""
    expected = [(BEFORE, [], []), (DURING, list(specific), list(broken)), (AFTER, [], [])]
    return {"name": name, "interval": "1m", "input_series": rows, "alert_rule_test": [
        {"alertname": alert, "eval_time": at, "exp_alerts": fires}
        for at, specific, broken in expected
        for alert, fires in (("NodeSpecificPodCrashes", specific), ("WorkloadCrashingEverywhere", broken))]}


def cases():
    bad = {name: {"n1": 1} for name in ("ds1", "ds2", "ds3")}
    sick = {name: {"n1": 1} for name in ("ds1", "ds2", "ds3", "ds4", "ds5", "web", "api")}
    release = {"web": {node: 2 for node in NODES[:6]}, "ds1": {node: 1 for node in NODES}}
    released = [everywhere("Deployment", "web", 100), everywhere("DaemonSet", "ds1", 100)]
    yield case("three DaemonSets crash on n1 only: n1", fleet(SMALL, bad), [node_specific("warning", "n1", 3)])
    yield case("seven workloads crash on n1 only: n1, critical beside the warning", fleet(WORKLOADS, sick),
               [node_specific("warning", "n1", 7), node_specific("critical", "n1", 7)])
    yield case("a bad release of two workloads: both of them, and no node", fleet(SMALL, release), broken=released)
    yield case("a bad release hides no bad node", fleet(SMALL, release | {n: bad[n] for n in ("ds2", "ds3")} | {"api": {"n1": 2}}),
               [node_specific("warning", "n1", 3)], released)
    yield case("one workload on one node: nothing", fleet(SMALL, {"web": {"n1": 2}}))
    alone = {("Deployment", "alone"): {"n1": 5}}
    yield case("a workload that runs nowhere else says nothing about the node",
               fleet(SMALL | alone, {"alone": {"n1": 5}, "ds1": {"n1": 1}}))
    yield case("two clusters, in one of them a bad n1 and in the other a bad release",
               fleet(SMALL, bad, "a") + fleet(SMALL, {"web": {node: 2 for node in NODES[:2]}}, "b"),
               [node_specific("warning", "n1", 3, "a")])


def main():
    tests = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": list(cases())}
    folder = pathlib.Path(sys.argv[1])
    (folder / "node-or-workload.yaml").write_text(yaml.dump(tests, sort_keys=False))


if __name__ == "__main__":
    main()
