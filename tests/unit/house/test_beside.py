"""Which stories may be told beside each other: what the conftest files say of modules is true of them."""

from pathlib import Path

import pytest

from tests.agent import conftest as agent
from tests.e2e import conftest as e2e
from tests.integration import conftest as integration

pytestmark = pytest.mark.unit

E2E = Path(e2e.__file__).parent
AGENT = Path(agent.__file__).parent
INTEGRATION = Path(integration.__file__).parent


def text(folder: Path, name: str) -> str:
    return (folder / f"test_{name}.py").read_text()


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        (E2E, (*e2e.LONGEST, *e2e.OPERATOR, *e2e.SINGLE)),
        (INTEGRATION, integration.LONGEST),
        (AGENT, agent.LONGEST),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_every_module_that_is_named_is_there(folder: Path, names: tuple[str, ...]) -> None:
    assert [name for name in names if not list(folder.rglob(f"test_{name}.py"))] == []


@pytest.mark.parametrize("name", e2e.SINGLE)
def test_stories_that_may_be_parted_share_nothing(name: str) -> None:
    assert 'scope="module"' not in text(E2E, name)
    assert "shared" not in text(E2E, name)


def test_wherever_the_operator_dies_no_other_story_times_it() -> None:
    deadly = {file.stem.removeprefix("test_") for file in E2E.glob("test_*.py") if "kill_operator" in file.read_text()}
    assert deadly
    assert {e2e.shares(f"tests/e2e/test_{name}.py::test_it") for name in deadly} == {"operator"}
