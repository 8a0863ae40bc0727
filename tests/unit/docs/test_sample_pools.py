"""The pools of docs/samples: lint has nothing against them, and the page names each file."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from celeriac.cli.main import main

pytestmark = pytest.mark.unit

SAMPLES = Path(__file__).parents[3] / "docs" / "samples"
FILES = sorted(SAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_lint_has_nothing_against_a_sample(file: Path) -> None:
    done = CliRunner().invoke(main, ["lint", "--strict", "-f", str(file)])
    assert done.exit_code == 0, done.output


def test_the_page_names_each_sample() -> None:
    page = (SAMPLES / "README.md").read_text()
    assert len(FILES) >= 4
    assert [file.name for file in FILES if f"({file.name})" not in page] == []
