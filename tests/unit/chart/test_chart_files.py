"""What can be held of the chart without Helm: files that must agree with each other."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from celeriac import __version__

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "celeriac"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any, str]]:
    """Each value that a user sets as a whole: its path, its default, its description."""
    for name, value in values.items():
        described = schema["properties"][name]
        if "properties" in described and name != "resources":
            yield from leaves(value, described, f"{path}{name}.")
        else:
            yield f"{path}{name}", value, described["description"]


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
    described = {path for path, _, _ in leaves(VALUES, SCHEMA)}
    assert {"replicas", "metrics.serviceMonitor.interval", "resources"} <= described
    assert [
        each.get("description", each.get("title")) for each in objects(SCHEMA) if each["additionalProperties"]
    ] == []


def test_the_readme_lists_every_value_with_its_default_and_meaning() -> None:
    readme = (CHART / "README.md").read_text()
    missing = [row for row in map(readme_row, leaves(VALUES, SCHEMA)) if row not in readme]
    assert missing == []


def readme_row(leaf: tuple[str, Any, str]) -> str:
    path, default, meaning = leaf
    return f"| `{path}` | `{json.dumps(default)}` | {meaning} |"
