"""The manifests as files: `UPDATE_GOLDEN=1 pytest tests/unit/resources -s` writes them anew and shows what changed."""

import difflib
import os
from pathlib import Path

import pytest

from celeriac.cli.yaml_text import to_yaml
from celeriac.resources import build_deployment
from tests.unit.resources.pools import POOLS

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent / "golden"
CURE = "if the change is meant, run `UPDATE_GOLDEN=1 pytest tests/unit/resources -s` and commit the files"


@pytest.mark.parametrize("name", POOLS)
def test_the_deployment_is_the_one_that_was_reviewed(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    built = to_yaml(build_deployment(POOLS[name]))
    reviewed = path.read_text() if path.exists() else ""
    diff = "\n".join(difflib.unified_diff(reviewed.splitlines(), built.splitlines(), path.name, "built", lineterm=""))
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(built)
        print(diff)
        return
    assert not diff, f"{diff}\n{CURE}"


def test_every_golden_file_belongs_to_a_pool() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(POOLS)
