"""The dashboards as they are committed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dashboards"


@dataclass(frozen=True)
class Query:
    """One query of a panel, and how Grafana asks it."""

    page: str
    panel: str
    legend: str
    expr: str
    instant: bool
    # The panel's own time range, or the dashboard's.
    span: str

    def __str__(self) -> str:
        return f"{self.page} / {self.panel} / {self.legend}"


def pages() -> dict[str, dict]:
    """Every dashboard, by the name of its file."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels(page: dict) -> Iterator[dict]:
    """Its panels, without the headings of rows."""
    return (panel for panel in page["panels"] if panel["type"] != "row")


def queries() -> Iterator[Query]:
    """Every query of every panel."""
    for name, page in pages().items():
        for panel in panels(page):
            columns = _columns(panel)
            for target in panel["targets"]:
                legend = columns.get(f"Value #{target['refId']}", columns.get("Value", target["legendFormat"]))
                span = panel.get("timeFrom") or page["time"]["from"].removeprefix("now-")
                yield Query(name, panel["title"], legend, target["expr"], target.get("instant", False), span)


def _columns(panel: dict) -> dict[str, str]:
    organized = (step["options"] for step in panel.get("transformations", []) if step["id"] == "organize")
    return next(organized, {}).get("renameByName", {})
