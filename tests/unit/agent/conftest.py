"""The agent as its ConfigMap is mounted."""

from pathlib import Path

import pytest

from celeriac.reconciling.agent_files import read_agent
from tests.config_map import mount


@pytest.fixture
def config_map(tmp_path: Path) -> Path:
    """A folder for the end of Python's path; in it the mounted ConfigMap with the agent."""
    mount(tmp_path / "celeriac_agent", read_agent())
    return tmp_path
