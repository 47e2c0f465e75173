"""The page of each cause: there is one for each word of the catalogue, none for another, and each says what it should."""

import re
import unittest

from names import metrics
from pages import ROOT

RUNBOOKS = ROOT / "docs/runbooks"
SECTIONS = [
    "What happened", "How nodewhy knows", "What Kubernetes shows", "The node or the workload?", "Check by hand", "What to do", "Related",
]


def catalogue() -> dict[str, str]:
    """Causes and their meaning, as the program prints them."""
    table = (ROOT / "docs/causes.md").read_text().split("\n## ")[1]
    return dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE))


class Findings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.causes = catalogue()
        cls.pages = {path.stem: path.read_text() for path in (RUNBOOKS / "findings").iterdir()}

    def test_each_cause_has_a_page_and_no_page_is_without_a_cause(self):
        self.assertGreater(len(self.causes), 40)
        self.assertEqual(self.pages.keys(), self.causes.keys())

    def test_each_page_begins_with_the_catalogues_words(self):
        for cause, page in self.pages.items():
            with self.subTest(cause):
                self.assertTrue(page.startswith(f"# `{cause}`\n\n{self.causes.get(cause)}\n\n## "))

    def test_each_page_has_the_same_sections_and_is_short(self):
        for cause, page in self.pages.items():
            with self.subTest(cause):
                self.assertEqual(re.findall(r"^## (.+)$", page, re.MULTILINE), SECTIONS)
                self.assertLessEqual(len(page.splitlines()), 60)
                self.assertRegex(page, r"## Check by hand\n\n```sh\n\S")

    def test_related_causes_have_pages(self):
        for cause, page in self.pages.items():
            with self.subTest(cause):
                related = re.findall(r"\]\((\w+)\.md\)", page)
                self.assertTrue(related)
                self.assertNotIn(cause, related)
                self.assertLessEqual(set(related), self.causes.keys())

    def test_metrics_that_pages_name_exist(self):
        known = metrics().keys()
        for cause, page in self.pages.items():
            with self.subTest(cause):
                self.assertLessEqual(set(re.findall(r"\bnodewhy_\w+", page)), known)

    def test_the_index_leads_to_every_page(self):
        index = (RUNBOOKS / "README.md").read_text()
        self.assertEqual(sorted(re.findall(r"\[\w+\]\(findings/(\w+)\.md\)", index)), sorted(self.causes))


if __name__ == "__main__":
    unittest.main()
