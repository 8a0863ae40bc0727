"""The Grafana dashboard as a file: laid out well, and true to the metrics that exist."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac.telemetry.metrics import Metrics

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "charts" / "celeriac" / "dashboards").glob("*.json"))
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(request.param.read_text())
    return loaded


def charts(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def cells(panel: dict[str, Any]) -> Iterator[tuple[int, int]]:
    place = panel["gridPos"]
    yield from itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))


def metric_names() -> set[str]:
    return {
        sample
        for family in Metrics().registry.collect()
        if family.name.startswith("celeriac_")
        for sample in ([family.name + "_total"] if family.type == "counter" else [family.name])
    }


def test_there_is_a_dashboard() -> None:
    assert [file.name for file in FILES] == ["celeriac.json"]


def test_no_two_panels_overlap_and_none_leaves_the_grid(dashboard: dict[str, Any]) -> None:
    taken = [cell for panel in dashboard["panels"] for cell in cells(panel)]
    assert len(taken) == len(set(taken))
    assert all(0 <= x < COLUMNS for x, _ in taken)


def test_ids_and_titles_are_unique(dashboard: dict[str, Any]) -> None:
    for field in ("id", "title"):
        values = [panel[field] for panel in dashboard["panels"]]
        assert len(values) == len(set(values))


def test_every_panel_says_what_it_shows_in_which_unit_from_the_chosen_source(dashboard: dict[str, Any]) -> None:
    for panel in charts(dashboard):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in {"short", "s", "cps", "reqps", "bytes"}, panel["title"]
        assert all(part["datasource"] == DATASOURCE for part in (panel, *panel["targets"])), panel["title"]


def test_variables_are_declared_and_used(dashboard: dict[str, Any]) -> None:
    declared = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert declared == {"datasource", "namespace", "pool"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"]))) - {"__rate_interval"}
    assert used == declared


NOT_YET = {
    "celeriac_pool_unread_task_counts",
    "celeriac_task_runtime_seconds",
    "celeriac_task_wait_seconds",
    "celeriac_tasks_total",
}
"""Metrics of tasks, which this dashboard has no panels for."""


def test_every_metric_of_the_operator_is_on_the_dashboard_and_no_other(dashboard: dict[str, Any]) -> None:
    expressions = " ".join(target["expr"] for panel in charts(dashboard) for target in panel["targets"])
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\bceleriac_\w+", expressions)}
    info = {"celeriac_build_info"}
    assert shown == metric_names() - {"celeriac_build"} - NOT_YET | info


def test_every_pool_gets_its_queues_over_its_replicas_on_one_time_axis(dashboard: dict[str, Any]) -> None:
    rows = [panel for panel in dashboard["panels"] if panel.get("repeat") == "pool"]
    assert len(rows) == 1
    (panel,) = (panel for panel in charts(dashboard) if panel["title"] == "Queue length over replicas")
    assert panel["gridPos"]["y"] == rows[0]["gridPos"]["y"] + 1
    assert panel["gridPos"]["w"] == COLUMNS
    queues, replicas = panel["targets"]
    assert "by (namespace, queue) (celeriac_queue_waiting_tasks" in queues["expr"]
    assert "celeriac_pool_replicas" in replicas["expr"]
    (override,) = panel["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byFrameRefID", "options": replicas["refId"]}
    assert {"id": "custom.axisPlacement", "value": "right"} in override["properties"]
