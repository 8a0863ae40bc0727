"""The pages for those who change Celeriac name what is there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from celeriac.brokers import protocol

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "contributing").glob("*.md"))
PLACES = ("operator/", "crds/", "tests/", "worker-image/", "charts/", "docs/")


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_file_and_folder_that_a_page_names_is_there(page: Path) -> None:
    named = [name for name in re.findall(r"`([\w./-]+)`", page.read_text()) if name.startswith(PLACES)]
    assert len(named) > 3
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_parts_of_a_broker_are_those_of_the_protocol() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/contributing/add-a-broker.md").read_text(), re.MULTILINE)
    assert set(rows) == {name for name, value in vars(protocol).items() if getattr(value, "_is_protocol", False)} - {
        "Protocol"
    }


def test_each_version_has_its_changes_and_what_comes_next_its_place() -> None:
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    chart = yaml.safe_load((ROOT / "charts/celeriac/Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert sections[0] == "Unreleased"
    assert {version, str(chart["version"]), str(chart["appVersion"])} <= set(sections)


def test_git_checks_a_commit_as_make_lint_does() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert [repo["repo"] for repo in config["repos"]] == ["local"], "nothing is fetched"
    assert [hook["entry"] for hook in hooks] == ["make --silent lint"]
