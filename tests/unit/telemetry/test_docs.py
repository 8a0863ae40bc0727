from pathlib import Path

import pytest

from celeriac.telemetry.metrics import Metrics

pytestmark = pytest.mark.unit

DOCS = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
SUFFIX = {"counter": "_total", "info": "_info"}
OWN = [family for family in Metrics().registry.collect() if family.name.startswith("celeriac_")]


def test_the_docs_list_every_metric_with_its_type_and_its_own_help() -> None:
    assert len(OWN) > 10
    rows = {line.split("|")[1].strip(): line for line in DOCS.splitlines() if line.startswith("| `celeriac_")}
    assert set(rows) == {f"`{family.name}{SUFFIX.get(family.type, '')}`" for family in OWN}
    for family in OWN:
        row = rows[f"`{family.name}{SUFFIX.get(family.type, '')}`"]
        assert f"| {family.type} |" in row
        assert row.endswith(f"| {family.documentation} |")
