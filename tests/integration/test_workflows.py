"""GitHub's workflows are read by actionlint, and do nothing but call make targets that exist."""

import re
from pathlib import Path

import pytest
import yaml

from tests.cluster import tools
from tests.cluster.process import run

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_actionlint_finds_nothing() -> None:
    assert len(WORKFLOWS) == 3
    assert run([tools.binary("actionlint"), "-no-color", *WORKFLOWS]) == ""


def test_what_workflows_run_is_what_a_developer_types() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    called: set[str] = set()
    for file in WORKFLOWS:
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            matrix = job.get("strategy", {}).get("matrix", {}).get("target", [])
            called |= {word for entry in matrix for word in entry.split()}
            runs = "\n".join(step.get("run", "") for step in job["steps"])
            called |= set(re.findall(r"^make ([a-z0-9-]+)", runs, flags=re.MULTILINE))
    assert called == {"setup", "lint", "unit", "integration", "agent", "faults", "e2e", "release"}
    assert called <= targets
