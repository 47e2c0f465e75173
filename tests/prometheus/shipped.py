"""The files that are shipped, as the tests read them."""
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy/prometheus"
RUNBOOKS = ROOT / "docs/runbooks/alerts"
FALLBACK = DEPLOY / "kube-state-metrics.yaml"


def rule_files():
    return sorted((DEPLOY / "rules").glob("*.yaml"))


def groups():
    return [group for file in [*rule_files(), FALLBACK] for group in yaml.safe_load(file.read_text())["groups"]]


def alerts():
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


def expression(name):
    """The one expression that is recorded, or alerted on, under this name in rules/."""
    found = [rule["expr"] for file in rule_files() for group in yaml.safe_load(file.read_text())["groups"]
             for rule in group["rules"] if name in (rule.get("record"), rule.get("alert"))]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rules are named {name}")
    return re.sub(r"\s+", " ", found[0]).strip()
