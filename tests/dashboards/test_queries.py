"""Queries, annotations and variables name metrics and labels that there are."""

import re
import unittest

from names import TARGET, metrics, named
from pages import ROOT, pages, queries


class Names(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.known = metrics()

    def check(self, expr: str):
        names, selectors, labels = named(expr)
        self.assertTrue(names, "names no metric")
        self.assertLessEqual(names, self.known.keys(), "no such metric")
        made = set(re.findall(r'label_replace\(.*?, "(\w+)"', expr))
        there = set().union(*(self.known[name] for name in names)) | TARGET | made
        self.assertLessEqual(labels, there, "no such label")
        for name, chosen in selectors:
            self.assertLessEqual(chosen, self.known[name] | TARGET, f"{name} has no such label")
        return there

    def test_queries(self):
        for query in queries():
            with self.subTest(str(query)):
                there = self.check(query.expr)
                self.assertLessEqual(set(re.findall(r"\{\{(\w+)\}\}", query.legend)), there, "the legend names no label")

    def test_legends_and_links_name_labels_that_the_query_keeps(self):
        """What an aggregation drops cannot be shown."""
        for query in queries():
            outer = re.match(r"\(?(?:sum|count|max|min|group) by \(([^)]*)\)", query.expr)
            if outer and not query.instant:
                with self.subTest(str(query)):
                    kept = {label.strip() for label in outer.group(1).split(",")}
                    self.assertLessEqual(set(re.findall(r"\{\{(\w+)\}\}", query.legend)), kept)

    def test_annotations(self):
        for name, page in pages().items():
            for annotation in page["annotations"]["list"]:
                with self.subTest(f"{name} / {annotation['name']}"):
                    self.check(annotation["expr"])

    def test_variables(self):
        for name, page in pages().items():
            for variable in page["templating"]["list"]:
                if variable["type"] == "query":
                    with self.subTest(f"{name} / {variable['name']}"):
                        series, label = re.match(r"label_values\((.+), (\w+)\)$", variable["query"]).groups()
                        self.assertIn(label, self.check(series))

    def test_words_of_causes_are_of_the_catalogue(self):
        catalogue = (ROOT / "docs/causes.md").read_text()
        seen = 0
        for query in queries():
            for pattern in re.findall(r'cause[!=]~?"([^"]+)"', query.expr):
                for word in pattern.split("|"):
                    self.assertRegex(catalogue, rf"`{word}`")
                    seen += 1
        self.assertGreater(seen, 0)

    def test_what_does_not_exist_is_found(self):
        for wrong in (
            'nodewhy_no_such_metric{cluster="$cluster"}',
            'nodewhy_findings{cluster="$cluster", pod="x"}',
            'sum by (cluster, device) (nodewhy_findings{cluster="$cluster"})',
            "sum(rate(nodewhy_no_such_total[5m]))",
            "topk(3, node:nodewhy_no_such:sum)",
        ):
            with self.subTest(wrong), self.assertRaises(AssertionError):
                self.check(wrong)


if __name__ == "__main__":
    unittest.main()
