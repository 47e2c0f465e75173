"""Holds JSON to Grafana's own schema.

The library that writes the dashboards is generated from Grafana's schema; its classes carry the type of every field. The
builders do not check what they are given. This does, against these types: unknown fields, missing ones, wrong kinds, words
that an enumeration does not have, options that a kind of panel does not know.
"""

import enum
import importlib
import inspect
import re
import types
import typing

from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import dashboard, prometheus

# What Grafana's Prometheus data source reads from an annotation, and the schema leaves out ("TODO" in its text).
BEYOND = {dashboard.AnnotationQuery: {"titleFormat": str, "textFormat": str, "tagKeys": str, "step": str}}


def errors(page: dict) -> list[str]:
    """What is wrong with a dashboard; empty where nothing is."""
    found = list(_check(page, dashboard.Dashboard, "dashboard"))
    for index, panel in enumerate(page.get("panels", [])):
        found += _panel(panel, f"panels[{index}]")
    return found


def _panel(panel: dict, place: str):
    """What only this kind of panel has."""
    if panel["type"] == "row":
        return
    try:
        kind = importlib.import_module(f"grafana_foundation_sdk.models.{panel['type'].replace('-', '')}")
    except ModuleNotFoundError:
        yield f"{place}: no panel is called {panel['type']!r}"
        return
    yield from _check(panel["options"], kind.Options, f"{place}.options")
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    if hasattr(kind, "FieldConfig"):
        yield from _check(custom, kind.FieldConfig, f"{place}.fieldConfig.defaults.custom")
    elif custom:
        yield f"{place}.fieldConfig.defaults.custom: {panel['type']} has none"
    for index, target in enumerate(panel["targets"]):
        yield from _check(target, prometheus.Dataquery, f"{place}.targets[{index}]")


def _check(value, kind, place: str):
    """What is wrong with a value of which the schema says it is of this kind."""
    origin = typing.get_origin(kind)
    # A panel's queries are checked as what they are, in `_panel`.
    if kind in (typing.Any, object, variants.Dataquery) or origin is typing.Literal and value in typing.get_args(kind):
        return
    if origin in (typing.Union, types.UnionType):
        # The alternative that comes nearest tells best what is wrong.
        kinds = [one for one in typing.get_args(kind) if value is None or one is not type(None)]
        attempts = [list(_check(value, one, place)) for one in kinds]
        yield from min(attempts, key=len) if all(attempts) else []
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check(item, typing.get_args(kind)[0], f"{place}[{index}]")
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _check(item, typing.get_args(kind)[1], f"{place}.{key}")
    elif _is_model(kind) and isinstance(value, dict):
        yield from _model(value, kind, place)
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value not in [member.value for member in kind]:
            yield f"{place}: {_short(value)} is none of {[member.value for member in kind]}"
    elif not _is_plain(value, kind):
        yield f"{place}: {_short(value)} is no {getattr(kind, '__name__', kind)}"


def _model(value: dict, kind: type, place: str):
    hints = typing.get_type_hints(kind)
    names = _json_names(kind)
    fields = {names[field]: hint for field, hint in hints.items()} | BEYOND.get(kind, {})
    for name in value.keys() - fields.keys():
        yield f"{place}: {kind.__name__} has no field {name!r}"
    for name, field in fields.items():
        if name in value:
            yield from _check(value[name], field, f"{place}.{name}")
        elif type(None) not in typing.get_args(field) and name not in BEYOND.get(kind, {}):
            yield f"{place}: {kind.__name__} needs {name!r}"


def _json_names(kind: type) -> dict[str, str]:
    """What a model's fields are called in JSON, as the model itself writes them."""
    return {field: name for name, field in re.findall(r'"(\w+)"(?:\] =|:) self\.(\w+)', inspect.getsource(kind.to_json))}


def _is_model(kind) -> bool:
    return isinstance(kind, type) and hasattr(kind, "to_json")


def _short(value) -> str:
    return repr(value)[:60]


def _is_plain(value, kind) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(kind, type) and isinstance(value, kind)
