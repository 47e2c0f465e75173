"""Which metrics and labels a query names, and which there are."""

import re

from pages import ROOT

RULES = ROOT / "deploy/prometheus/rules"
# What the scrape adds to every series.
TARGET = {"cluster", "node", "instance", "job"}

# The levels of a recording rule's name say its labels.
LEVELS = {
    "cluster": set(),
    "node": {"node"},
    "workload": {"namespace", "workload_kind", "workload"},
    "cause": {"cause"},
    "scope": {"scope"},
}
KEYWORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset", "inf", "nan"}
LABEL_LISTS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")


def metrics() -> dict[str, set[str]]:
    """Every metric of the program and every recording rule, with its labels."""
    rows = re.findall(r"^\| `([a-z_]+)` \| \w+ \| ([^|]*) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    known = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    for path in sorted(RULES.glob("*.yaml")):
        for record in re.findall(r"- record: (\S+)", path.read_text()):
            known[record] = set().union(*(LEVELS[level] for level in record.split(":")[0].split("_")))
    return known


def named(expr: str) -> tuple[set[str], list[tuple[str, set[str]]], set[str]]:
    """The metrics of a query, the labels by which each selector chooses, and those by which it groups or joins."""
    expr = re.sub(r'"(\\.|[^"\\])*"', '""', expr)
    selectors = [(name, set(re.findall(r"(\w+)\s*[=!]", inside))) for name, inside in SELECTOR.findall(expr)]
    lists = LABEL_LISTS.findall(expr)
    labels = {label.strip() for _, inside in lists for label in inside.split(",") if label.strip()}
    rest = re.sub(r"\[[^\]]*\]|@ end\(\)", " ", LABEL_LISTS.sub(" ", re.sub(r"\{[^}]*\}", " ", expr)))
    rest = re.sub(r"offset\s+\S+", " ", rest)
    words = re.findall(r"(?<![\w:$.])([a-zA-Z_:][\w:]*)(\s*\()?", rest)
    return {word for word, call in words if not call and word not in KEYWORDS}, selectors, labels
