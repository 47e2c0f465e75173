"""What a test expects, compared with what was seen; the answer is a list of readable differences.

An expected value is a plain value (equal), a string with `*` (a shell pattern), or one of the classes here. An expected
mapping names only the fields that matter. Nothing here does I/O.
"""
import dataclasses
import fnmatch
import re


@dataclasses.dataclass(frozen=True)
class AtLeast:
    least: float

    def accepts(self, value):
        return isinstance(value, (int, float)) and value >= self.least

    def __str__(self):
        return f"at least {self.least}"


class OneOf:
    def __init__(self, *options):
        self.options = options

    def accepts(self, value):
        return any(accepts(option, value) for option in self.options)

    def __str__(self):
        return " or ".join(show(option) for option in self.options)


@dataclasses.dataclass(frozen=True)
class Contains:
    """A text with this in it (a regular expression)."""
    pattern: str

    def accepts(self, value):
        return isinstance(value, str) and re.search(self.pattern, value) is not None

    def __str__(self):
        return f"a text with /{self.pattern}/"


class Noted:
    """A number that only shows while the test runs."""
    value = None

    def accepts(self, value):
        return self.value is not None and value == self.value

    def __str__(self):
        return "a number that was not noted" if self.value is None else f"{self.value}, as noted"


def accepts(expected, value):
    if hasattr(expected, "accepts"):
        return expected.accepts(value)
    if isinstance(expected, str) and "*" in expected:
        return isinstance(value, str) and fnmatch.fnmatchcase(value, expected)
    return expected == value


def show(value):
    return str(value) if hasattr(value, "accepts") else repr(value)


def differences(expected, seen):
    """The fields of the mapping `seen` that are not as the mapping `expected` says."""
    return [f"{field} is {seen.get(field)!r}, expected {show(want)}"
            for field, want in expected.items() if not accepts(want, seen.get(field))]


class Finding:
    """One finding that a node's agent must tell, exactly once (`optional`: at most once).

    `subject` are the fields that tell whose finding it is; `deaths`, if given, which ends it must count to the number;
    the other arguments are fields of the finding itself.
    """

    def __init__(self, node, subject=None, optional=False, deaths=None, **fields):
        self.node, self.subject, self.optional, self.deaths, self.fields = node, subject or {}, optional, deaths, fields

    def is_about(self, finding):
        subjects = finding.get("subjects") or []
        return not self.subject or any(not differences(self.subject, subject) for subject in subjects)

    def __str__(self):
        about = " ".join(f"{k}={show(v)}" for k, v in self.subject.items())
        return f"{self.node}: {self.fields.get('cause', 'a finding')} of {about or 'the node'}"


@dataclasses.dataclass
class Deaths:
    """The ends of one container that dies again and again, as metrics must count them.

    `causes` are those under which they may be counted; an end that no status described counts as unknown. `kills` says
    that each end is one OOM kill, `counted` that the finding counts each.
    """
    pod: str
    container: str
    kind: str
    workload: str
    causes: tuple
    kills: bool = False
    counted: bool = True


@dataclasses.dataclass
class Metric:
    """The sum of a metric's series with these labels, on one node; where there is none it is 0."""
    node: str
    name: str
    labels: dict
    value: object


def compare_findings(expected, seen, namespace):
    """Compares with {node: [finding, ...]}. In the scenario's own namespace nothing else may be told."""
    problems, explained = [], set()
    for want in expected:
        candidates = [f for f in seen.get(want.node, []) if want.is_about(f)]
        matching = [f for f in candidates if not differences(want.fields, f)]
        explained.update((want.node, f.get("id")) for f in matching)
        if len(matching) > 1:
            problems.append(f"{want}: told {len(matching)} times: {', '.join(str(f.get('id')) for f in matching)}")
        elif want.optional:
            pass   # what is told instead of it is not expected
        elif not matching and not candidates:
            problems.append(f"{want}: no finding about it")
        elif not matching:
            nearest = min(candidates, key=lambda f: len(differences(want.fields, f)))
            problems.append(f"{want}: the nearest is {one_line(nearest)}\n" +
                            "\n".join("    " + d for d in differences(want.fields, nearest)))
    for node, findings in seen.items():
        for finding in findings:
            ours = any(s.get("namespace") == namespace for s in finding.get("subjects") or [])
            if ours and (node, finding.get("id")) not in explained:
                problems.append(f"{node}: not expected: {one_line(finding)}")
    return problems


def compare_metrics(expected, seen):
    """Compares with {node: [(name, labels, value), ...]}."""
    problems = []
    for want in expected:
        series = [(labels, value) for name, labels, value in seen.get(want.node, [])
                  if name == want.name and not differences(want.labels, labels)]
        total = sum(value for _, value in series)
        if not accepts(want.value, total):
            problems.append(f"{want.node}: {want.name}{want.labels} is {total:g}, expected {show(want.value)}"
                            + ("" if series else " (no such series)"))
    return problems


TERMINATIONS = "nodewhy_container_terminations_total"
OOM_KILLS = "nodewhy_workload_oom_kills_total"
CRASHED_PODS = "nodewhy_workload_crashed_pods"
CRASH_LOOPING = "nodewhy_workload_crash_looping_containers"


def compare_deaths(expected, ends, findings, metrics, namespace):
    """Holds what the agents count to `ends`, to the number. Whoever asks asks again: an end is told some seconds after
    Kubernetes shows it, and longer and longer back-offs lie between two."""
    problems = []
    for want in (e for e in expected if e.deaths):
        d = want.deaths
        died = {name: n for name, n in ends.items() if accepts(f"{d.pod}/{d.container}@{want.node}", name)}
        total = sum(died.values())
        told = [f for f in findings.get(want.node, []) if want.is_about(f) and accepts(want.fields.get("cause"), f.get("cause"))]
        if d.counted and [f["count"] for f in told] != [total]:
            problems.append(f"{want}: counts {[f['count'] for f in told]}, Kubernetes shows {total} ends")
        workload = {"namespace": namespace, "workload_kind": d.kind, "workload": d.workload}
        container = workload | {"container": d.container}
        wanted = [Metric(want.node, TERMINATIONS, container, total),
                  Metric(want.node, TERMINATIONS, container | {"cause": OneOf(*d.causes, "unknown")}, total),
                  Metric(want.node, CRASHED_PODS, workload, len(died)),
                  Metric(want.node, CRASH_LOOPING, workload, len(died))]
        if d.kills:
            wanted.append(Metric(want.node, OOM_KILLS, container | {"victim": "init"}, total))
        problems += compare_metrics(wanted, metrics)
    return problems


def one_line(finding):
    subjects = ", ".join("/".join(str(s.get(k)) for k in ("namespace", "pod", "container")) for s in finding.get("subjects") or [])
    return (f"{finding.get('cause')} ({finding.get('confidence')}, scope {finding.get('scope')}, blame {finding.get('blame')}, "
            f"{finding.get('count')} times) of {subjects or 'the node'}: {finding.get('summary')}")


SERIES = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse_metrics(text):
    """The series of a page in Prometheus' or OpenMetrics' text format."""
    series = []
    for line in text.splitlines():
        match = SERIES.match(line)
        if match and not line.startswith("#"):
            name, labels, value = match.groups()
            unescaped = {k: re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), v) for k, v in LABEL.findall(labels or "")}
            series.append((name, unescaped, float(value)))
    return series
