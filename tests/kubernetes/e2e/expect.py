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

    `subject` are the fields that tell whose finding it is; the other arguments are fields of the finding itself.
    """

    def __init__(self, node, subject=None, optional=False, **fields):
        self.node, self.subject, self.optional, self.fields = node, subject or {}, optional, fields

    def is_about(self, finding):
        subjects = finding.get("subjects") or []
        return not self.subject or any(not differences(self.subject, subject) for subject in subjects)

    def __str__(self):
        about = " ".join(f"{k}={show(v)}" for k, v in self.subject.items())
        return f"{self.node}: {self.fields.get('cause', 'a finding')} of {about or 'the node'}"


@dataclasses.dataclass
class Metric:
    """The sum of a metric's series with these labels, on one node."""
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
        what = f"{want.node}: {want.name}{want.labels}"
        if not series:
            problems.append(f"{what}: no such series")
        elif not accepts(want.value, sum(value for _, value in series)):
            problems.append(f"{what} is {sum(value for _, value in series):g}, expected {show(want.value)}")
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
