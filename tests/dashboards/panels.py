"""Panels as Grafana's JSON has them, with what all of ours have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#8e8e8e"
Steps = Mapping[Any, str]
"""The colour from each value on; None: from the lowest."""
PLAIN: Final[Steps] = {None: "text"}
BAD_ABOVE_ZERO: Final[Steps] = {None: GREEN, 1: RED}


@dataclass(frozen=True)
class Query:
    """One query of a panel and the legend of its series; `instant`: its last values alone, as a table takes them."""

    expr: str
    legend: str = ""
    instant: bool = False
    column: str = ""

    def target(self, ref: str) -> Json:
        """As Grafana has it."""
        table = {"format": "table"} if self.column else {}
        kind = {"instant": True, "range": False} if self.instant else {"range": True}
        known = {"refId": ref, "datasource": DATASOURCE, "editorMode": "code", "expr": self.expr}
        return {**known, "legendFormat": self.legend or "__auto", **kind, **table}


def thresholds(steps: Steps) -> Json:
    """Colours by value."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps.items()]}


def override(matcher: str, options: str, **properties: Any) -> Json:
    """Properties of some fields; a double underscore stands for a dot in their names."""
    found = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": matcher, "options": options}, "properties": found}


def fixed(color: str) -> Json:
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": color}


def named(name: str, **properties: Any) -> Json:
    """Properties of the field of this name."""
    return override("byName", name, **properties)


def colored(**colors: str) -> list[Json]:
    """A colour for each of the fields of these names."""
    return [named(name, color=fixed(color)) for name, color in colors.items()]


STATES: Final = colored(succeeded=GREEN, failed=RED, retried=YELLOW, revoked="purple", rejected=ORANGE)
DIRECTIONS: Final = colored(up=BLUE, down="purple")


def _panel(kind: str, title: str, text: str, queries: Sequence[Query], defaults: Json, options: Json) -> Json:
    refs = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return {
        "type": kind,
        "title": title,
        "description": text,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [query.target(ref) for ref, query in zip(refs, queries, strict=False)],
    }


def stat(
    title: str,
    text: str,
    query: Query,
    *,
    unit: str = "short",
    steps: Steps = PLAIN,
    mode: str = "value",
    no_value: str = "0",
    decimals: int | None = None,
) -> Json:
    """One number; with mode "name" the legend of the series in its place."""
    defaults: Json = {"unit": unit, "thresholds": thresholds(steps), "noValue": no_value}
    if decimals is not None:
        defaults["decimals"] = decimals
    calculation = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    options = {
        "reduceOptions": calculation,
        "colorMode": "value" if mode != "background" else "background",
        "graphMode": "area" if mode == "value" else "none",
        "textMode": "name" if mode == "name" else "value",
    }
    return _panel("stat", title, text, [query], defaults, options)


def tiles(title: str, text: str, query: Query, *, steps: Steps, links: Sequence[Json]) -> Json:
    """A coloured tile for each series, with its legend."""
    defaults = {"unit": "short", "thresholds": thresholds(steps), "links": list(links), "noValue": "no pool"}
    calculation = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    options = {"reduceOptions": calculation, "colorMode": "background", "graphMode": "none", "textMode": "name"}
    return _panel("stat", title, text, [query], defaults, {**options, "wideLayout": False})


def series(
    title: str,
    text: str,
    *queries: Query,
    unit: str = "short",
    steps: Steps = PLAIN,
    stacked: bool = False,
    overrides: Sequence[Json] = (),
    line_at_thresholds: bool = False,
) -> Json:
    """Lines over time."""
    custom: Json = {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter",
        "lineWidth": 1,
        "fillOpacity": 30 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if line_at_thresholds else "off"},
    }
    defaults = {"unit": unit, "min": 0, "custom": custom, "thresholds": thresholds(steps)}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    panel = _panel("timeseries", title, text, queries, defaults, options)
    panel["fieldConfig"]["overrides"] = list(overrides)
    return panel


def timeline(
    title: str, text: str, query: Query, words: Mapping[int, tuple[str, str]], overrides: Sequence[Json]
) -> Json:
    """One row for each series, coloured by what its values mean: value -> (word, colour)."""
    defaults = {
        "unit": "short",
        "mappings": mapping(words),
        "custom": {"lineWidth": 0, "fillOpacity": 80, "spanNulls": False},
        "thresholds": thresholds(PLAIN),
    }
    options = {
        "mergeValues": True,
        "showValue": "never",
        "rowHeight": 0.8,
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    panel = _panel("state-timeline", title, text, [query], defaults, options)
    panel["fieldConfig"]["overrides"] = list(overrides)
    return panel


def mapping(words: Mapping[int, tuple[str, str]]) -> list[Json]:
    """What values mean: a word and a colour for each."""
    options = {
        str(value): {"index": index, "text": word, "color": color}
        for index, (value, (word, color)) in enumerate(words.items())
    }
    return [{"type": "value", "options": options}]


def table(
    title: str,
    text: str,
    *queries: Query,
    labels: Mapping[str, str],
    sort: str,
    overrides: Sequence[Json] = (),
    unit: str = "short",
) -> Json:
    """A row for each set of labels (label -> heading), a column for each query (`column`), the highest `sort` first.

    A query without a column gives labels alone.
    """
    values = {f"Value #{ref}": query.column for ref, query in zip("ABCDEFGHIJKLMNOP", queries, strict=False)}
    if len(queries) == 1:
        values = {"Value": queries[0].column}
    order = [*labels, *values]
    renamed = {**labels, **{name: column for name, column in values.items() if column != "-"}}
    hidden = {"Time": True, **{name: True for name, column in values.items() if column == "-"}}
    defaults: Json = {
        "unit": unit,
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True},
        "thresholds": thresholds(PLAIN),
    }
    options = {"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": sort, "desc": True}]}
    panel = _panel("table", title, text, queries, defaults, options)
    panel["fieldConfig"]["overrides"] = list(overrides)
    indexes = {name: index for index, name in enumerate(order)}
    organize = {"excludeByName": hidden, "indexByName": indexes, "renameByName": renamed}
    panel["transformations"] = [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]
    return panel
