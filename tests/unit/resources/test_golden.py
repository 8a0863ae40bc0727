"""The manifests as files: `UPDATE_GOLDEN=1 pytest tests/unit/resources -s` writes them anew and shows what changed."""

import difflib
import os
from pathlib import Path

import pytest

from celeriac.cli.yaml_text import to_yaml
from celeriac.resources import build_agent_config, build_deployment
from tests.unit.resources.pools import AGENT, POOLS, WITH_AGENT

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parent / "golden"
CURE = "if the change is meant, run `UPDATE_GOLDEN=1 pytest tests/unit/resources -s` and commit the files"


def check(name: str, built: str) -> None:
    """Compare with the file of the name, or write it."""
    path = GOLDEN / f"{name}.yaml"
    reviewed = path.read_text() if path.exists() else ""
    diff = "\n".join(difflib.unified_diff(reviewed.splitlines(), built.splitlines(), path.name, "built", lineterm=""))
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(built)
        print(diff)
        return
    assert not diff, f"{diff}\n{CURE}"


@pytest.mark.parametrize("name", POOLS)
def test_the_deployment_is_the_one_that_was_reviewed(name: str) -> None:
    check(name, to_yaml(build_deployment(POOLS[name])))


@pytest.mark.parametrize("name", WITH_AGENT)
def test_what_the_agent_adds_is_what_was_reviewed(name: str) -> None:
    pool = WITH_AGENT[name]
    check(
        f"agent-{name}",
        "---\n".join(
            map(to_yaml, (build_agent_config(pool.key.namespace, AGENT), build_deployment(pool, agent=AGENT)))
        ),
    )


def test_every_golden_file_belongs_to_a_pool() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {*POOLS, *(f"agent-{name}" for name in WITH_AGENT)}
