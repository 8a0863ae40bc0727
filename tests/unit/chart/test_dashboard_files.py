"""The Grafana dashboards as files: laid out well, true to the metrics, by the rules of grafana/dashboard-linter.

Two of its rules hold for the operator's dashboard alone. Pools are told of by the replica that leads: to choose an
instance (template-instance-rule, target-instance-rule) would hide what another one has told before. That each query is
valid (target-promql-rule, template-label-promql-rule) is asked of a real Prometheus, in tests/integration.
"""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.dashboards.__main__ import FOLDER, dashboards, text
from tests.unit.chart.metric_names import metric_names

pytestmark = pytest.mark.unit

FILES = sorted(FOLDER.glob("*.json"))
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
UNITS = {"short", "s", "cps", "reqps", "bytes", "percentunit"}
SELECTOR = re.compile(r"\b((?:celeriac|process)_\w+)(\{[^}]*\})?")


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(request.param.read_text())
    return loaded


def charts(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def targets(dashboard: dict[str, Any]) -> list[str]:
    """The expressions of all panels."""
    return [target["expr"] for panel in charts(dashboard) for target in panel["targets"]]


def variables(dashboard: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def cells(panel: dict[str, Any]) -> Iterator[tuple[int, int]]:
    place = panel["gridPos"]
    yield from itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))


def test_the_files_are_what_make_generate_writes() -> None:
    assert {file.name: file.read_text() for file in FILES} == {name: text(each) for name, each in dashboards().items()}


def test_no_two_panels_overlap_and_none_leaves_the_grid(dashboard: dict[str, Any]) -> None:
    taken = [cell for panel in dashboard["panels"] for cell in cells(panel)]
    assert len(taken) == len(set(taken))
    assert all(0 <= x < COLUMNS for x, _ in taken)


def test_ids_and_titles_are_unique(dashboard: dict[str, Any]) -> None:
    for field in ("id", "title"):
        values = [panel[field] for panel in dashboard["panels"]]
        assert len(values) == len(set(values))


def test_every_panel_says_what_it_shows_in_which_unit_from_the_chosen_source(dashboard: dict[str, Any]) -> None:
    """panel-title-description-rule, panel-units-rule, panel-datasource-rule, panel-no-targets-rule."""
    for panel in charts(dashboard):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"]
        assert all(part["datasource"] == DATASOURCE for part in (panel, *panel["targets"])), panel["title"]


def test_the_source_is_a_variable_and_nobody_edits_what_the_chart_writes(dashboard: dict[str, Any]) -> None:
    """template-datasource-rule, uneditable-dashboard-rule."""
    source = variables(dashboard)["datasource"]
    assert (source["type"], source["query"], source["label"]) == ("datasource", "prometheus", "Data source")
    assert dashboard["editable"] is False


def test_jobs_and_instances_are_chosen_as_the_linter_asks(dashboard: dict[str, Any]) -> None:
    """template-job-rule, template-instance-rule."""
    for name in {"job", "instance"} & variables(dashboard).keys():
        variable = variables(dashboard)[name]
        assert (variable["label"], variable["multi"], variable["allValue"]) == (name.capitalize(), True, ".+")
    assert "job" in variables(dashboard)
    assert ("instance" in variables(dashboard)) == (dashboard["uid"] == "celeriac-operator")


def test_variables_are_declared_used_and_follow_the_time(dashboard: dict[str, Any]) -> None:
    """template-on-time-change-reload-rule."""
    asked = [variable for variable in variables(dashboard).values() if variable["type"] == "query"]
    assert all(variable["refresh"] == 2 and variable["datasource"] == DATASOURCE for variable in asked)
    shown = json.dumps([dashboard["panels"], dashboard["annotations"]])
    used = set(re.findall(r"\$\{?([a-z]\w*)", shown))
    assert used == variables(dashboard).keys()


def test_every_query_asks_for_the_cluster_and_the_job_and_rates_fit_the_resolution(dashboard: dict[str, Any]) -> None:
    """target-job-rule, target-instance-rule, target-rate-interval-rule, target-counter-agg-rule."""
    needs = ['cluster=~"$cluster"', 'job=~"$job"']
    if dashboard["uid"] == "celeriac-operator":
        needs.append('instance=~"$instance"')
    for expression in targets(dashboard):
        assert set(re.findall(r"\[(.*?)\]", expression)) <= {"$__rate_interval"}, expression
        for name, matchers in SELECTOR.findall(expression):
            assert all(need in matchers for need in needs), expression
            if name.endswith("_total"):
                counted = rf"(?:rate|increase)\({name}\{{[^}}]*\}}\["
                assert len(re.findall(counted, expression)) == expression.count(f"{name}{{"), expression


@pytest.mark.parametrize("name", ["fleet", "pool"])
def test_a_pool_is_one_by_its_namespace_and_its_name(name: str) -> None:
    """Twins of one name in two namespaces, or in two clusters, never add up."""
    dashboard = json.loads((FOLDER / f"{name}.json").read_text())
    for expression in targets(dashboard):
        for metric, matchers in SELECTOR.findall(expression):
            if metric.startswith(("celeriac_pool_", "celeriac_queue_", "celeriac_task")):
                assert 'namespace=~"$namespace", pool=~"$pool"' in matchers, expression
    if name == "pool":
        assert [variables(dashboard)[each]["multi"] for each in ("namespace", "pool")] == [False, False]
    else:
        grouped = [
            by for expression in targets(dashboard) for by in re.findall(r"by \(([^)]*\bpool\b[^)]*)\)", expression)
        ]
        assert all(by.startswith("cluster, namespace, pool") for by in grouped)


def test_every_metric_of_the_operator_is_on_a_dashboard_and_no_other() -> None:
    every = [json.loads(file.read_text()) for file in FILES]
    asked = [*(expression for each in every for expression in targets(each))]
    asked += [each["expr"] for dashboard in every for each in dashboard["annotations"]["list"]]
    found = {name for expression in asked for name, _ in SELECTOR.findall(expression) if name.startswith("celeriac_")}
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in found}
    assert shown == metric_names()


def test_links_lead_from_each_pool_to_its_dashboard_and_between_all_of_them() -> None:
    every = {file.stem: json.loads(file.read_text()) for file in FILES}
    assert {each["uid"] for each in every.values()} == {"celeriac-fleet", "celeriac-pool", "celeriac-operator"}
    for dashboard in every.values():
        (link,) = dashboard["links"]
        assert (link["type"], link["keepTime"], link["includeVars"]) == ("dashboards", True, True)
        assert link["tags"][0] in dashboard["tags"]
    leading = [panel for panel in charts(every["fleet"]) if f"/d/{every['pool']['uid']}?" in json.dumps(panel)]
    assert {panel["title"] for panel in leading} == {
        "All pools at a glance",
        "Pools, by what hurts",
        "What is not as it should be",
    }


def test_the_pools_dashboard_has_scalings_and_deploys_on_its_time_axis_and_decisions_beside_each_other() -> None:
    dashboard = json.loads((FOLDER / "pool.json").read_text())
    assert [each["name"] for each in dashboard["annotations"]["list"]] == [
        "Scaled up",
        "Scaled down",
        "Deploys",
        "Alerts",
    ]
    timelines = {panel["title"] for panel in charts(dashboard) if panel["type"] == "state-timeline"}
    assert timelines == {"Decisions", "Conditions"}
    (panel,) = (panel for panel in charts(dashboard) if panel["title"] == "Queue length over replicas")
    assert panel["gridPos"]["w"] == COLUMNS
    (override,) = panel["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byFrameRefID", "options": panel["targets"][1]["refId"]}
    assert {"id": "custom.axisPlacement", "value": "right"} in override["properties"]


def test_every_reason_that_has_a_colour_exists() -> None:
    from celeriac.api.reasons import Reason
    from tests.dashboards.pool import CALM

    colored = {reason for reasons in CALM.values() for reason in reasons.split("|")}
    assert colored <= {reason.value for reason in Reason}
