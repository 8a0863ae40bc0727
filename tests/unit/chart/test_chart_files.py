"""What can be held of the chart without Helm: files that must agree with each other."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from celeriac import __version__
from celeriac.cli.schema import schema_problems
from celeriac.pool.parse import parse_pool
from tests.chart_readme import CHART_YAML, PAGE, chart_values, chart_with_icon, page_with_table

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "celeriac"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "properties" in schema:
        yield schema
        for child in schema["properties"].values():
            yield from objects(child)


def test_the_chart_ships_the_crd_of_the_repository() -> None:
    for file in (ROOT / "crds").glob("*.yaml"):
        assert (CHART / "files" / file.name).read_text() == file.read_text(), (
            f"cp {file.relative_to(ROOT)} charts/celeriac/files/"
        )


def test_the_crd_has_room_for_the_labels_that_the_chart_inserts() -> None:
    text = (CHART / "files" / "celeryworkerpools.yaml").read_text()
    assert text.count("\nmetadata:\n") == 1
    assert set(yaml.safe_load(text)["metadata"]) == {"name"}


def test_chart_and_program_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["version"] == chart["appVersion"] == project["version"] == __version__


def test_every_value_is_described_and_misspelt_ones_are_refused() -> None:
    described = {value.path for value in chart_values()}
    assert {"replicas", "metrics.serviceMonitor.interval", "resources"} <= described
    assert [
        each.get("description", each.get("title")) for each in objects(SCHEMA) if each["additionalProperties"]
    ] == []


def test_the_readme_lists_every_value_with_its_default_and_meaning() -> None:
    page = PAGE.read_text()
    assert page.count("| `metrics.port` | integer | `8080` |") == 1
    assert page_with_table(page) == page, "run: make generate"


def test_the_chart_carries_its_icon() -> None:
    assert chart_with_icon(CHART_YAML.read_text()) == CHART_YAML.read_text(), "run: make generate"


def test_artifact_hub_is_told_of_each_kind_with_an_example_that_is_valid() -> None:
    told = yaml.safe_load(CHART_YAML.read_text())["annotations"]
    crds = [yaml.safe_load(file.read_text())["spec"] for file in (CHART / "files").glob("*.yaml")]
    kinds = {
        (crd["names"]["kind"], f"{crd['names']['plural']}.{crd['group']}", crd["versions"][0]["name"]) for crd in crds
    }
    cards = yaml.safe_load(told["artifacthub.io/crds"])
    assert {(card["kind"], card["name"], card["version"]) for card in cards} == kinds
    examples = {each["kind"]: each for each in yaml.safe_load(told["artifacthub.io/crdsExamples"])}
    assert examples.keys() == {kind for kind, _, _ in kinds}
    assert list(schema_problems(examples["CeleryWorkerPool"])) == []
    parse_pool(examples["CeleryWorkerPool"] | {"metadata": {"name": "reports", "namespace": "shop", "uid": "1"}})
