"""The committed dashboards: what the source writes, what Grafana understands, what a good dashboard keeps to.

The rules are those of Grafana's dashboard-linter in --strict, by their names, with the exceptions told where they are
made, and some of this project.
"""

import copy
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import schema
from pages import FOLDER, pages, panels, queries

UNITS = {"short", "none", "percentunit", "bytes", "s", "dateTimeAsIso"}
COUNTER = re.compile(r"\b(\w+_total)\{[^}]*\}(\[[^\]]+\])?")


class Generated(unittest.TestCase):
    def test_the_source_writes_what_is_committed(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([FOLDER / "generate", folder], check=True)
            written = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        committed = {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}
        self.assertEqual(written.keys(), committed.keys())
        for name in written:
            self.assertTrue(written[name] == committed[name], f"dashboards/{name}: run `make dashboards`")


class Schema(unittest.TestCase):
    def test_grafana_understands_every_field(self):
        for name, page in pages().items():
            with self.subTest(name):
                self.assertEqual(schema.errors(page), [])

    def test_what_grafana_would_not_understand_is_found(self):
        """The check itself: each of these spoils one thing."""

        def unknown_field(page): page["panels"][1]["colour"] = "red"
        def wrong_kind(page): page["refresh"] = 30
        def unknown_word(page): page["panels"][1]["options"]["colorMode"] = "colourful"
        def unknown_panel(page): page["panels"][1]["type"] = "pie"
        def missing(page): del page["templating"]
        def another_panels_option(page): page["panels"][1]["options"]["legend"] = {}
        def bad_query(page): page["panels"][1]["targets"][0]["instant"] = "yes"

        for spoil in (unknown_field, wrong_kind, unknown_word, unknown_panel, missing, another_panels_option, bad_query):
            with self.subTest(spoil.__name__):
                page = copy.deepcopy(pages()["fleet"])
                spoil(page)
                self.assertNotEqual(schema.errors(page), [])


class Rules(unittest.TestCase):
    def each(self):
        for name, page in pages().items():
            with self.subTest(name):
                yield page

    def each_panel(self):
        for page in self.each():
            for panel in panels(page):
                with self.subTest(panel["title"]):
                    yield panel

    def variables(self, page):
        return {variable["name"]: variable for variable in page["templating"]["list"]}

    def test_template_datasource(self):
        for page in self.each():
            first = page["templating"]["list"][0]
            self.assertEqual((first["name"], first["type"], first["query"]), ("datasource", "datasource", "prometheus"))

    def test_template_and_target_job_and_instance(self):
        """Excepted: no template and no matcher of job and instance. A node outlives its agent's address and name, and the
        rules' results have neither; cluster and node, or the workload, take their place, in every query."""
        for page in self.each():
            self.assertIn("cluster", self.variables(page))
            self.assertIn("node", self.variables(page))
        for query in queries():
            with self.subTest(str(query)):
                self.assertIn('cluster="$cluster"', query.expr)
                self.assertIn('"$workload' if query.page == "workload" else "$node" if "node:" in query.expr else "$", query.expr)

    def test_template_label_promql_and_on_time_change_reload(self):
        for page in self.each():
            for name, variable in self.variables(page).items():
                if variable["type"] == "query":
                    self.assertRegex(variable["query"], r"^label_values\(.+, \w+\)$", name)
                    self.assertEqual(variable["refresh"], 2, name)
                    self.assertEqual(variable["datasource"]["uid"], "${datasource}", name)

    def test_variables_are_used_and_known(self):
        for page in self.each():
            text = str([page["panels"], page["annotations"]]) + "".join(
                str(variable["query"]) for variable in page["templating"]["list"]
            )
            for name in self.variables(page):
                self.assertIn(f"${name}" if name != "datasource" else "${datasource}", text)
            own = set(re.findall(r"\$\{?([a-z]\w*)", "".join(
                target["expr"] for panel in panels(page) for target in panel["targets"]
            )))
            self.assertLessEqual(own, self.variables(page).keys())

    def test_panel_datasource(self):
        for panel in self.each_panel():
            sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
            self.assertEqual({source["uid"] for source in sources}, {"${datasource}"})

    def test_panel_title_description(self):
        for panel in self.each_panel():
            self.assertTrue(panel["title"].strip())
            self.assertRegex(panel["description"], r"^[A-Z].{20,}[.?]$")

    def test_panel_titles_differ(self):
        for page in self.each():
            titles = [panel["title"] for panel in panels(page)]
            self.assertEqual(len(titles), len(set(titles)))

    def test_panel_units(self):
        for panel in self.each_panel():
            self.assertIn(panel["fieldConfig"]["defaults"]["unit"], UNITS)

    def test_panel_no_targets(self):
        for panel in self.each_panel():
            self.assertTrue(panel["targets"])

    def test_target_rate_interval(self):
        """rate() takes $__rate_interval. increase() says in its description over which time it counts."""
        for query in queries():
            with self.subTest(str(query)):
                for window in re.findall(r"\brate\([^\[]*\[([^\]]+)\]", query.expr):
                    self.assertEqual(window, "$__rate_interval")
                for window in re.findall(r"\bincrease\([^\[]*\[([^\]]+)\]", query.expr):
                    self.assertIn(window, {"$__rate_interval", "$__range", "1h", "6h", "7d"})

    def test_target_counter_agg(self):
        """A counter is read by rate() or increase(). Excepted: a series that is born in the window, which increase() does
        not see, is counted whole (`increase` in dashboards/source/promql.py)."""
        for query in queries():
            with self.subTest(str(query)):
                for match in COUNTER.finditer(query.expr):
                    series, window = match.group(0), match.group(2)
                    before, after = query.expr[: match.start()], query.expr[match.end():]
                    risen = window and re.search(r"\b(rate|increase)\($", before)
                    born = re.match(r"\s*unless " + re.escape(series) + " offset", after)
                    subtracted = re.search(r"unless $", before) and after.startswith(" offset")
                    self.assertTrue(risen or born or subtracted, series)

    def test_uneditable_dashboard(self):
        for page in self.each():
            self.assertIs(page["editable"], False)

    def test_identity(self):
        for name, page in pages().items():
            self.assertEqual(page["uid"], f"nodewhy-{name}")
            self.assertEqual(page["tags"], ["nodewhy-mixin"])
            self.assertGreaterEqual(page["schemaVersion"], 39)
            self.assertNotIn("__inputs", page)
            self.assertIn(page["timezone"], ("", "utc"))
            identifiers = [panel["id"] for panel in page["panels"]]
            self.assertEqual(len(identifiers), len(set(identifiers)))

    def test_how_often_it_asks(self):
        seconds = {"s": 1, "m": 60, "h": 3600}
        for page in self.each():
            for interval in [page["refresh"], *page["timepicker"]["refresh_intervals"]]:
                self.assertGreaterEqual(int(interval[:-1]) * seconds[interval[-1]], 30)
            for panel in panels(page):
                self.assertIn(panel["interval"], ("1m", "1h"), panel["title"])

    def test_panels_fill_rows_without_overlap(self):
        for page in self.each():
            taken = set()
            for panel in page["panels"]:
                at = panel["gridPos"]
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertFalse(taken & cells, panel["title"])
                self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
                taken |= cells

    def test_links_lead_to_dashboards_and_pages_that_exist(self):
        known = {page["uid"]: self.variables(page).keys() for page in pages().values()}
        seen = set()
        for page in self.each():
            for url in re.findall(r"'url': '([^']+)'", str(page["panels"])):
                if url.startswith("/d/"):
                    uid = url.split("/d/")[1].split("?")[0]
                    self.assertLessEqual(set(re.findall(r"var-(\w+)=", url)), known[uid])
                    self.assertIn("${datasource:queryparam}&${cluster:queryparam}", url)
                    seen.add(uid)
                else:
                    folder = re.search(r"/blob/main/(.+)/\$\{__data\.fields\.cause\}\.md$", url).group(1)
                    self.assertTrue((FOLDER.parent / folder).is_dir(), folder)
            self.assertTrue(any(link["includeVars"] and link["keepTime"] for link in page["links"]))
        self.assertEqual(seen, {"nodewhy-node", "nodewhy-workload"})

    def test_links_of_tables_name_columns_that_are_there(self):
        for panel in self.each_panel():
            if panel["type"] != "table":
                continue
            shown = panel["transformations"][1]["options"]["indexByName"]
            for field in re.findall(r"__data\.fields\.(\w+)", str(panel)):
                self.assertIn(field, shown)
            renamed = panel["transformations"][1]["options"]["renameByName"].values()
            self.assertIn(panel["options"]["sortBy"][0]["displayName"], [*renamed, *shown])
            for override in panel["fieldConfig"]["overrides"]:
                self.assertIn(override["matcher"]["options"], [*renamed, *shown])


if __name__ == "__main__":
    unittest.main()
