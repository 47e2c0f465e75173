"""What every alert must have: texts, a severity, a runbook, and tests in which it fires, resolves and stays silent."""
import re

import shipped

SEVERITIES = {"critical", "warning", "info"}
RUNBOOK_URL = "https://github.com/nodewhy/nodewhy/blob/main/docs/runbooks/alerts/{}.md"
# An alert in which `node` has no meaning says so here; every other one names it, or a workload.
OF_THE_CLUSTER = {"CrashesUnexplained"}
METRIC = re.compile(r"(?<![:\w])(nodewhy_\w+)(?![\w:])(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
TARGET_LABELS = {"cluster", "node", "instance", "job"}
RECORDED = re.compile(r"\b\w+:[\w:]+")
CAUSES = re.compile(r'\bcause(?:=~|!~|!=|=)"([^"]*)"')
AGGREGATION = re.compile(r"\bby \(([^)]*)\)")


def problems(tests):
    """`tests`: the parsed files of promtool's tests."""
    found = []
    for alert in shipped.alerts():
        found += [f"{alert['alert']}: {problem}" for problem in of_alert(alert)]
    for name in sorted({alert["alert"] for alert in shipped.alerts()}):
        found += [f"{name}: {problem}" for problem in of_tests(name, tests)]
    pages = {page.stem for page in shipped.RUNBOOKS.glob("*.md")} - {"README"}
    found += [f"docs/runbooks/alerts/{page}.md: no alert has this name"
              for page in sorted(pages - {alert["alert"].lower() for alert in shipped.alerts()})]
    for group in shipped.groups():
        found += [f"{rule.get('record') or rule.get('alert')}: {problem}" for rule in group["rules"] for problem in of_names(rule["expr"])]
        found += [f"{rule.get('record') or rule.get('alert')}: aggregates by ({labels}), without cluster"
                  for rule in group["rules"] for labels in AGGREGATION.findall(rule["expr"])
                  if "cluster" not in labels.split(", ")]
    return found


def of_alert(alert):
    annotations, name = alert.get("annotations", {}), alert["alert"]
    if missing := {"summary", "description", "runbook_url"} - annotations.keys():
        yield f"lacks {', '.join(sorted(missing))}"
    if alert.get("labels", {}).get("severity") not in SEVERITIES:
        yield f"severity is not one of {', '.join(sorted(SEVERITIES))}"
    if "for" not in alert:
        yield "does not say for how long"
    if annotations.get("runbook_url") != RUNBOOK_URL.format(name.lower()):
        yield f"runbook_url is not {RUNBOOK_URL.format(name.lower())}"
    if not (shipped.RUNBOOKS / f"{name.lower()}.md").is_file():
        yield f"has no page docs/runbooks/alerts/{name.lower()}.md"
    if name not in OF_THE_CLUSTER and not re.search(r"\$labels\.(node|workload)\b", annotations.get("description", "")):
        yield "its description names neither node nor workload"


def of_names(expression):
    """Metrics, labels and causes that no agent has: such an expression is never true, and nothing else would tell."""
    documented, recorded, causes = shipped.metrics(), shipped.records(), shipped.causes()
    for name, selector in METRIC.findall(expression):
        if name not in documented:
            yield f"{name} is not in docs/metrics.md"
        elif unknown := set(LABEL.findall(selector)) - documented[name] - TARGET_LABELS:
            yield f"{name} has no label {', '.join(sorted(unknown))}"
    for name in set(RECORDED.findall(expression)) - recorded:
        yield f"{name} is recorded nowhere"
    for word in "|".join(CAUSES.findall(expression)).split("|"):
        if word and not any(re.fullmatch(word, cause) for cause in causes):
            yield f"{word} is not in docs/causes.md"


def of_tests(name, tests):
    lives = [[bool(check.get("exp_alerts")) for check in sorted(test.get("alert_rule_test", []), key=when)
              if check["alertname"] == name] for file in tests for test in file["tests"]]
    if not any(True in life for life in lives):
        yield "no test in which it fires"
    if not any(True in life and False in life[life.index(True):] for life in lives):
        yield "no test in which it resolves"
    if not any(life and True not in life for life in lives):
        yield "no test in which it stays silent throughout"


def when(check):
    return int(re.fullmatch(r"(\d+)m", check["eval_time"])[1])
