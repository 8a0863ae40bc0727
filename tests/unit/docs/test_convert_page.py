"""What docs/convert.md shows side by side is what `celeriac convert` makes of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from celeriac.cli.main import main
from tests.doc_commands import ROOT, documents

pytestmark = pytest.mark.unit

DEPLOYMENT, SCALED_OBJECT, POOL, AUTOSCALER, PART = documents(ROOT / "docs" / "convert.md")


def converted(folder: Path, *documents: Any) -> dict[str, Any]:
    file = folder / "before.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    done = CliRunner().invoke(main, ["convert", "-f", str(file)])
    assert done.exit_code == 0, done.output
    pool: dict[str, Any] = yaml.safe_load(done.stdout)
    return pool


def test_a_deployment_that_keda_scales_becomes_the_pool_of_the_page(tmp_path: Path) -> None:
    assert converted(tmp_path, DEPLOYMENT, SCALED_OBJECT) == POOL


def test_of_an_autoscaler_that_part_of_a_pool_is_left(tmp_path: Path) -> None:
    assert converted(tmp_path, DEPLOYMENT, AUTOSCALER)["spec"]["scaling"] == PART["scaling"]
