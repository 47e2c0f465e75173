"""python3 -m unittest discover -s tests/kubernetes -t tests/kubernetes"""
import unittest

from e2e.expect import (AtLeast, Contains, Deaths, Finding, Metric, OneOf, accepts, compare_deaths, compare_findings,
                        compare_metrics, differences, parse_metrics)


def told(id="1", cause="oom_container_limit", pod="grower-x", count=3, **more):
    subject = {"namespace": "e2e-a", "pod": pod, "container": "app"}
    return {"id": id, "cause": cause, "scope": "container", "blame": "workload", "count": count,
            "confidence": "proven", "summary": "it grew", "subjects": [subject]} | more


EXPECTED = Finding("host1", {"pod": "grower-*"}, cause="oom_container_limit", count=AtLeast(2))


class Values(unittest.TestCase):
    def test_plain_pattern_and_predicates(self):
        self.assertTrue(accepts(3, 3))
        self.assertFalse(accepts("3", 3))
        self.assertTrue(accepts("grower-*", "grower-7f-x"))
        self.assertFalse(accepts("grower-*", None))
        self.assertTrue(accepts(AtLeast(2), 2))
        self.assertFalse(accepts(AtLeast(2), None))
        self.assertTrue(accepts(OneOf("a", AtLeast(1)), 4))
        self.assertTrue(accepts(Contains("exec .*error"), "x: exec format error"))
        self.assertFalse(accepts(Contains("x"), None))

    def test_differences_name_field_seen_and_expected(self):
        self.assertEqual(differences({"count": AtLeast(2), "cause": "a"}, {"count": 1, "cause": "a", "more": 1}),
                         ["count is 1, expected at least 2"])


class Findings(unittest.TestCase):
    def compare(self, *findings, expected=(EXPECTED,), node="host1"):
        return compare_findings(expected, {node: list(findings)}, "e2e-a")

    def test_match(self):
        self.assertEqual(self.compare(told()), [])

    def test_other_namespaces_are_not_ours(self):
        other = told(id="2", subjects=[{"namespace": "e2e-b", "pod": "p", "container": "c"}])
        self.assertEqual(self.compare(told(), other, told(id="3", subjects=[])), [])

    def test_missing_and_other_node(self):
        self.assertEqual(self.compare(), ["host1: oom_container_limit of pod='grower-*': no finding about it"])
        self.assertEqual(len(self.compare(told(), node="host2")), 2)   # missing there, not expected here

    def test_nearest_is_explained(self):
        problems = self.compare(told(count=1), told(id="2", cause="unknown", count=1))
        self.assertIn("count is 1, expected at least 2", problems[0])
        self.assertNotIn("cause is", problems[0])
        self.assertEqual(len(problems), 3)

    def test_told_twice(self):
        self.assertIn("told 2 times: 1, 2", self.compare(told(), told(id="2"))[0])

    def test_optional(self):
        optional = Finding("host1", {"pod": "grower-*"}, optional=True, cause="stopped")
        self.assertEqual(self.compare(expected=(optional,)), [])
        self.assertEqual(self.compare(told(cause="stopped"), expected=(optional,)), [])
        self.assertIn("not expected", self.compare(told(), expected=(optional,))[0])

    def test_nothing_expected(self):
        self.assertIn("not expected: oom_container_limit", self.compare(told(), expected=())[0])


class Metrics(unittest.TestCase):
    PAGE = """# HELP up x
# TYPE nodewhy_terminations_total counter
nodewhy_terminations_total{namespace="e2e-a",cause="app_error",text="a \\"b\\", {c}\\\\"} 2
nodewhy_terminations_total{namespace="e2e-a",cause="segfault"} 3 1700000000
process_resident_memory_bytes 1.5e+07
# EOF"""

    def test_parse(self):
        series = parse_metrics(self.PAGE)
        self.assertEqual([v for _, _, v in series], [2, 3, 1.5e7])
        self.assertEqual(series[0][1]["text"], 'a "b", {c}\\')

    def test_compare(self):
        seen = {"host1": parse_metrics(self.PAGE)}
        total = "nodewhy_terminations_total"
        self.assertEqual(compare_metrics([Metric("host1", total, {"namespace": "e2e-a"}, 5)], seen), [])
        self.assertIn("is 3, expected at least 4", compare_metrics([Metric("host1", total, {"cause": "seg*"}, AtLeast(4))], seen)[0])
        self.assertIn("no such series", compare_metrics([Metric("host2", total, {}, 1)], seen)[0])
        self.assertEqual(compare_metrics([Metric("host2", total, {}, 0)], seen), [])


class Ends(unittest.TestCase):
    EXPECTED = Finding("host1", {"pod": "grower-*"}, cause="oom_container_limit", count=AtLeast(2),
                       deaths=Deaths("grower-*", "app", "Deployment", "grower", ("oom_container_limit",), kills=True))
    LABELS = 'namespace="e2e-a",workload_kind="Deployment",workload="grower"'

    def compare(self, oom=3, unknown=0, error=0, kills=3, pods=1, count=3, ends=3):
        container = self.LABELS + ',container="app"'
        page = f"""nodewhy_container_terminations_total{{{container},cause="oom_container_limit"}} {oom}
nodewhy_container_terminations_total{{{container},cause="unknown"}} {unknown}
nodewhy_container_terminations_total{{{container},cause="app_error"}} {error}
nodewhy_workload_oom_kills_total{{{container},victim="init",cause="oom_container_limit"}} {kills}
nodewhy_workload_crashed_pods{{{self.LABELS}}} {pods}
nodewhy_workload_crash_looping_containers{{{self.LABELS}}} 1"""
        return compare_deaths([self.EXPECTED], {"grower-x/app@host1": ends, "other/app@host1": 9},
                              {"host1": [told(count=count)]}, {"host1": parse_metrics(page)}, "e2e-a")

    def test_exact(self):
        self.assertEqual(self.compare(), [])
        self.assertEqual(self.compare(oom=2, unknown=1), [], "an end that nobody described")

    def test_each_figure_is_held_to_the_number(self):
        self.assertIn("counts [2], Kubernetes shows 3", self.compare(count=2)[0])
        self.assertIn("is 1, expected 3", self.compare(oom=1)[0])
        self.assertIn("is 1, expected 3", self.compare(oom=1, error=2)[0])
        self.assertIn("oom_kills_total", self.compare(kills=4)[0])
        self.assertIn("crashed_pods", self.compare(pods=2)[0])
        self.assertEqual(len(self.compare(ends=4)), 4)


if __name__ == "__main__":
    unittest.main()
