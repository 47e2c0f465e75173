"""The files that are shipped, as the tests read them."""
import functools
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy/prometheus"
RUNBOOKS = ROOT / "docs/runbooks/alerts"
FALLBACK = DEPLOY / "kube-state-metrics.yaml"


def rule_files():
    return sorted((DEPLOY / "rules").glob("*.yaml"))


@functools.cache
def groups():
    return [group for file in [*rule_files(), FALLBACK] for group in yaml.safe_load(file.read_text())["groups"]]


def alerts():
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


@functools.cache
def metrics():
    """The agent's metrics and their labels, from the page that is generated from the program's table."""
    rows = re.findall(r"^\| `(nodewhy_\w+)` \| \w+ \| ([^|]*)\|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


@functools.cache
def records():
    return {rule["record"] for group in groups() for rule in group["rules"] if "record" in rule}


@functools.cache
def causes():
    """The words of the first table of docs/causes.md."""
    text = (ROOT / "docs/causes.md").read_text()
    return set(re.findall(r"^\| `(\w+)` \|", text[text.index("## `cause`"):text.index("## `scope`")], re.MULTILINE))
