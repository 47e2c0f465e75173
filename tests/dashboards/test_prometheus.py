"""The dashboards ask a real Prometheus, filled with the made-up cluster: each query is understood, answers, and tells the
stories of made_up_nodes.py."""

import os
import re
import unittest

from made_up_nodes import CLUSTER
from pages import pages, queries
from prometheus import NOW, Prometheus

# Queries that find nothing in the made-up cluster, and why that is right. Keys: page, panel, start of the legend.
EMPTY: dict[tuple[str, str, str], str] = {}

SECONDS = {"m": 60, "h": 3600, "d": 86400}
# What the variables are set to; `All` is `.*`.
CHOSEN = {
    "fleet": {"node": ".*"},
    "node": {"node": "n2|n4|n5|n6"},
    "workload": {"namespace": "shop", "workload": "web", "workload_kind": ".*", "node": ".*"},
}
# Other things to look at, where the above have no such story.
ALSO = [("workload", {"namespace": "shop", "workload": "report", "workload_kind": "Deployment", "node": ".*"})]


def seconds(span: str) -> int:
    return int(span[:-1]) * SECONDS[span[-1]]


class Answers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.prometheus = Prometheus()
        cls.addClassCleanup(cls._leave)
        cls.prometheus.fill()

    @classmethod
    def _leave(cls):
        if os.environ.get("KEEP") and cls.prometheus.process:
            cls.prometheus.folder._finalizer.detach()
            print(
                f"\nlook at {cls.prometheus.address} at {NOW}; "
                f"when done: kill {cls.prometheus.process.pid}; rm -r {cls.prometheus.folder.name}"
            )
        else:
            cls.prometheus.close()

    def ask(self, page: str, expr: str, *, instant: bool, span: str, step: int = 0, chosen: dict | None = None) -> list[dict]:
        """As Grafana asks; where nothing else is said, for some 100 points."""
        step = step or max(60, seconds(span) // 100)
        values = {"cluster": CLUSTER, "__rate_interval": f"{max(step + 60, 240)}s", "__range": span} | (chosen or CHOSEN[page])
        expr = re.sub(r"\$(\w+)", lambda match: values.get(match.group(1), match.group(0)), expr)
        if instant:
            return self.prometheus.now(expr)
        return self.prometheus.over(expr, seconds(span), step)

    def panel(self, page: str, title: str, column: str, chosen: dict | None = None) -> dict[str, float]:
        """The latest values of one query of a panel, by node, else by workload."""
        query = next(query for query in queries() if (query.page, query.panel, query.legend) == (page, title, column))
        answer = self.ask(page, query.expr, instant=True, span=query.span, chosen=chosen)
        return {series["metric"].get("node") or series["metric"].get("workload"): float(series["value"][1]) for series in answer}

    def test_every_query_is_understood_and_answers(self):
        empty = set()
        for query in queries():
            with self.subTest(str(query)):
                answers = [self.ask(query.page, query.expr, instant=query.instant, span=query.span)]
                answers += [
                    self.ask(page, query.expr, instant=query.instant, span=query.span, chosen=chosen)
                    for page, chosen in ALSO if page == query.page
                ]
                if not any(answers):
                    empty.add((query.page, query.panel, query.legend))
        self.assertEqual(empty, set(EMPTY), "queries without an answer, against those of which that is expected")

    def test_annotations_and_variables_answer(self):
        for name, page in pages().items():
            for annotation in page["annotations"]["list"]:
                with self.subTest(f"{name} / {annotation['name']}"):
                    chosen = ALSO[0][1] if name == "workload" and "OOM" in annotation["name"] else None
                    self.assertTrue(self.ask(name, annotation["expr"], instant=False, span="6h", step=60, chosen=chosen))
            for variable in page["templating"]["list"]:
                if variable["type"] == "query":
                    with self.subTest(f"{name} / {variable['name']}"):
                        series, label = re.match(r"label_values\((.+), (\w+)\)$", variable["query"]).groups()
                        answer = self.ask(name, series, instant=True, span="6h")
                        self.assertTrue({found["metric"][label] for found in answer})

    # Stories

    def test_the_bad_node_stands_out_and_the_bad_release_does_not(self):
        z = self.panel("fleet", "Worst nodes", "z")
        self.assertEqual(max(z, key=z.get), "n4")
        self.assertGreater(z["n4"], 3)
        self.assertTrue(all(value < 2 for node, value in z.items() if node != "n4"), z)
        ratios = self.panel("fleet", "Workloads that crash", "ratio")
        self.assertEqual(ratios["checkout"], 1)
        self.assertLess(ratios["web"], 0.5)

    def test_a_deployment_that_fails_now_and_then_on_one_node_shows_over_7_days(self):
        """The last hour, which alerts look at, says nothing of n3."""
        hour = self.panel("workload", "Each node against all others, last hour", "here")
        self.assertEqual(hour["n3"], 0)
        week = self.panel("workload", "Each node against all others, 7 days", "here")
        # n4's bad disk of the last three hours is there too, and less.
        self.assertEqual(max(week, key=week.get), "n3")
        times = self.panel("workload", "Each node against all others, 7 days", "times elsewhere")
        self.assertGreater(times["n3"], 5)
        self.assertTrue(all(value < 3 for node, value in times.items() if node != "n3"), times)
        causes = self.panel("workload", "Crashes by node and cause, 7 days", "crashes")
        self.assertGreaterEqual(causes["n3"], 20)

    def test_the_limit_is_told_by_the_workload_and_the_child_by_the_node(self):
        report = ALSO[0][1]
        self.assertGreater(self.panel("workload", "Memory until its end", "of the limit", report)["n5"], 0.95)
        kills = self.ask("workload", next(q.expr for q in queries() if (q.page, q.panel) == ("workload", "OOM kills")), instant=False, span="6h", chosen=report)
        self.assertEqual({series["metric"]["victim"] for series in kills}, {"init", "child"}, "born with its first kill, it counts")


if __name__ == "__main__":
    unittest.main()
