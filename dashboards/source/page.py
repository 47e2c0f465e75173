"""A dashboard in the words of this project, written with Grafana's own builders.

What holds for every panel is said here, once: data source, interval, colours, links. What a panel shows is said in
fleet.py, node.py and workload.py.
"""

import json
from textwrap import dedent

from grafana_foundation_sdk.builders import (
    bargauge, common as options, dashboard, prometheus, stat, statetimeline, statushistory, table, timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24  # of Grafana's grid
# Agents are scraped once a minute; a finer step would show gaps.
MIN_INTERVAL = "1m"
RUNBOOKS = "https://github.com/nodewhy/nodewhy/blob/main/docs/runbooks/findings"

# Where links lead. The data source, the cluster and the time range go along.
ALONG = "${datasource:queryparam}&${cluster:queryparam}"
FROM_TABLE, FROM_SERIES = "${__data.fields.node}", "${__field.labels.node}"
TO_WORKLOAD = (
    f"/d/nodewhy-workload?{ALONG}&var-namespace=${{__data.fields.namespace}}"
    "&var-workload_kind=${__data.fields.workload_kind}&var-workload=${__data.fields.workload}&${__url_time_range}"
)

GREEN, YELLOW, ORANGE, RED, GREY = "green", "yellow", "orange", "red", "transparent"


class Annotation(model.AnnotationQuery):
    """With the fields that Grafana's Prometheus data source reads and the library's model does not know."""

    def __init__(self, title: str, text: str, **known) -> None:
        super().__init__(**known)
        self.more = {"titleFormat": title, "textFormat": text, "tagKeys": "node,cause", "step": MIN_INTERVAL}

    def to_json(self) -> dict[str, object]:
        return super().to_json() | self.more


class Page:
    """One dashboard: rows of panels, filled from left to right."""

    def __init__(self, uid: str, title: str, says: str, here: str, span: str = "now-6h") -> None:
        self.here = here
        self.panels = 0
        self.page = (
            dashboard.Dashboard(title).uid(uid).description(says).tags(["nodewhy-mixin"]).readonly()
            .timezone("utc").time(span, "now").refresh("1m").tooltip(model.DashboardCursorSync.CROSSHAIR)
            .timepicker(dashboard.TimePicker().refresh_intervals(["30s", "1m", "5m", "15m", "1h"]))
            .link(
                dashboard.DashboardLink("nodewhy").type(model.DashboardLinkType.DASHBOARDS).tags(["nodewhy-mixin"])
                .as_dropdown(True).include_vars(True).keep_time(True)
            )
            .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        )
        self.variable("cluster", "Cluster", "label_values(nodewhy_build_info, cluster)")

    # Structure

    def variable(self, name: str, label: str, query: str, many: bool = False, everything: bool = False) -> None:
        """A choice of label values. `many` can be chosen at a time, `everything` is offered and chosen at first."""
        variable = (
            dashboard.QueryVariable(name).label(label).query(query).datasource(DATASOURCE)
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.NATURAL_ASC).multi(many)
        )
        if everything:
            # Without a value of its own, "All" is a pattern that lists every node there is.
            chosen = model.VariableOption(text=["All"] if many else "All", value=["$__all"] if many else "$__all")
            variable.include_all(True).all_value(".*").current(chosen)
        self.page.with_variable(variable)

    def annotation(self, name: str, expr: str, title: str, text: str, colour: str, shown: bool = True) -> None:
        """Marks on every time line."""
        mark = Annotation(
            title, text, name=name, datasource=DATASOURCE, enable=shown, icon_color=colour, expr=self._promql(expr)
        )
        self.page.annotation(_Built(mark))

    def row(self, title: str) -> None:
        self.page.with_row(dashboard.Row(title).id(self._next()))

    # Panels

    def number(self, title: str, says: str, expr: str, *, unit: str = "short", steps=(), width: int = 4) -> None:
        """One number, the latest."""
        panel = stat.Panel().reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
        panel.graph_mode(common.BigValueGraphMode.NONE).color_mode(common.BigValueColorMode.VALUE).no_value("0")
        panel.with_target(self._query(expr, instant=True).ref_id("A"))
        self._add(panel, title, says, unit, steps, width, 4)

    def lines(
        self, title: str, says: str, queries: dict[str, str], *, unit: str = "short", steps=(), width: int = 12,
        height: int = 8, stacked: bool = False, bars: bool = False, most: float | None = None, to_node: bool = False,
    ) -> None:
        """Values over time; a query's key is its legend."""
        panel = timeseries.Panel().show_points(common.VisibilityMode.NEVER).min(0)
        panel.legend(
            options.VizLegendOptions().display_mode(common.LegendDisplayMode.TABLE).placement(common.LegendPlacement.RIGHT)
            .show_legend(True).calcs(["lastNotNull", "max"])
        )
        panel.tooltip(
            options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        panel.fill_opacity(80 if bars else 10).line_width(1)
        if bars:
            panel.draw_style(common.GraphDrawStyle.BARS)
        if stacked:
            panel.stacking(options.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
        if most is not None:
            panel.max(most)
        if steps:
            panel.thresholds_style(options.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
        if to_node:
            panel.data_links([_to_node(FROM_SERIES)])
        self._targets(panel, queries)
        self._add(panel, title, says, unit, steps, width, height)

    def history(
        self, title: str, says: str, queries: dict[str, str], *, unit: str = "short", steps, width: int = WIDTH,
        height: int = 8, span: str | None = None, interval: str | None = None, to_node: bool = False,
    ) -> None:
        """A heat map with one row for each series: when, and how much."""
        panel = statushistory.Panel().show_value(common.VisibilityMode.NEVER).row_height(0.9).col_width(0.95)
        panel.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        panel.legend(options.VizLegendOptions().show_legend(False).display_mode(common.LegendDisplayMode.HIDDEN))
        if span:
            panel.time_from(span)
        if to_node:
            panel.data_links([_to_node(FROM_SERIES)])
        self._targets(panel, queries)
        self._add(panel, title, says, unit, steps, width, height, interval)

    def states(self, title: str, says: str, queries: dict[str, str], *, words, width: int = WIDTH, height: int = 8) -> None:
        """Which of a few named states held when. `words` are (value, word, colour)."""
        panel = statetimeline.Panel().show_value(common.VisibilityMode.NEVER).row_height(0.9).merge_values(True)
        panel.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        panel.mappings([
            model.ValueMap(options={
                str(value): model.ValueMappingResult(text=word, color=colour, index=index)
                for index, (value, word, colour) in enumerate(words)
            })
        ])
        self._targets(panel, queries)
        self._add(panel, title, says, "none", (), width, height)

    def bars(
        self, title: str, says: str, queries: dict[str, str], *, unit: str = "short", steps=(), width: int = 12,
        height: int = 8, to_node: bool = False,
    ) -> None:
        """The latest values as bars, largest first where the query sorts."""
        panel = bargauge.Panel().orientation(common.VizOrientation.HORIZONTAL).display_mode(common.BarGaugeDisplayMode.BASIC)
        panel.value_mode(common.BarGaugeValueMode.COLOR).min(0)
        panel.reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
        if to_node:
            panel.data_links([_to_node(FROM_SERIES)])
        self._targets(panel, queries, instant=True)
        self._add(panel, title, says, unit, steps, width, height)

    def table(
        self, title: str, says: str, columns: dict[str, str], *, labels: tuple[str, ...], sort: str,
        units: dict[str, str] | None = None, colours: dict[str, tuple] | None = None, labels_only: tuple[str, ...] = (),
        width: int = 12, height: int = 8,
    ) -> None:
        """The latest values, a query a column, beside the labels that they share. Of `labels_only` the value is not shown."""
        panel = table.Panel().show_header(True).filterable(True)
        panel.sort_by([options.TableSortByFieldState().display_name(sort).desc(True)])
        for ref, expr in zip(_refs(), columns.values()):
            panel.with_target(self._query(expr, instant=True, table=True).ref_id(ref))
        # One query alone keeps the plain name of its value.
        values = ["Value"] if len(columns) == 1 else [f"Value #{ref}" for ref, _ in zip(_refs(), columns)]
        shown = [*labels, *values]
        panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        panel.with_transformation(model.DataTransformerConfig(id_val="organize", options={
            "excludeByName": {"Time": True, "cluster": True} | {
                value: True for value, column in zip(values, columns) if column in labels_only
            },
            "indexByName": {name: index for index, name in enumerate(shown)},
            "renameByName": dict(zip(values, columns)),
        }))
        for label in labels:
            if label in LABEL_LINKS:
                panel.override_by_name(label, [_value("links", [LABEL_LINKS[label]])])
        for column, unit in (units or {}).items():
            panel.override_by_name(column, [_value("unit", unit)])
        for column, steps in (colours or {}).items():
            panel.override_by_name(column, [
                _value("thresholds", _steps(steps).build()),
                _value("custom.cellOptions", {"type": "color-text"}),
            ])
        self._add(panel, title, says, "short", (), width, height)

    # The result

    def to_json(self) -> str:
        return json.dumps(self.page.build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"

    # Parts

    def _promql(self, expr: str) -> str:
        return dedent(expr).strip().replace("HERE", self.here)

    def _query(self, expr: str, legend: str = "", instant: bool = False, table: bool = False) -> prometheus.Dataquery:
        query = prometheus.Dataquery().expr(self._promql(expr)).datasource(DATASOURCE).legend_format(legend)
        query.instant() if instant else query.range()
        return query.format(PromQueryFormat.TABLE) if table else query

    def _targets(self, panel, queries: dict[str, str], instant: bool = False) -> None:
        for ref, (legend, expr) in zip(_refs(), queries.items()):
            panel.with_target(self._query(expr, legend, instant).ref_id(ref))

    def _add(self, panel, title, says, unit, steps, width, height, interval=None) -> None:
        panel.id(self._next()).title(title).description(says).unit(unit).datasource(DATASOURCE)
        panel.interval(interval or MIN_INTERVAL).span(width).height(height).thresholds(_steps(steps))
        self.page.with_panel(panel)

    def _next(self) -> int:
        self.panels += 1
        return self.panels


class _Built:
    """What is built already, where the library expects a builder."""

    def __init__(self, built) -> None:
        self.built = built

    def build(self):
        return self.built


def _refs():
    """A, B, C ...: as Grafana names queries."""
    return (chr(letter) for letter in range(ord("A"), ord("Z") + 1))


def _value(name: str, value) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)


def _steps(steps) -> dashboard.ThresholdsConfig:
    """Colours from values on: (value, colour), the first without value. Without any there is one colour."""
    steps = [model.Threshold(value=value, color=colour) for value, colour in steps or ((None, GREEN),)]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _node_url(node: str) -> str:
    return f"/d/nodewhy-node?{ALONG}&var-node={node}&${{__url_time_range}}"


def _to_node(node: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink("Node").url(_node_url(node))


LABEL_LINKS = {
    "node": {"title": "Node", "url": _node_url(FROM_TABLE)},
    "workload": {"title": "Workload", "url": TO_WORKLOAD},
    "cause": {"title": "Runbook", "url": RUNBOOKS + "/${__data.fields.cause}.md", "targetBlank": True},
}
