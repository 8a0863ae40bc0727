"""A Redis for the stories of one process, and a rig in it for each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.rig import Rig
from tests.beside import Beside, longest_first, module
from tests.integration.redis_server import RedisServer

LONGEST = ("drain_writes", "reaper", "orphans", "recovery_access", "flow", "inflight", "drain", "faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items, LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Beside:
    """Stories with the operator share an API server, and some the operator too: a module stays in one process."""
    return Beside(config, log, lambda nodeid: module(nodeid) if "/with_operator/" in nodeid else nodeid)


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """One Redis for all stories of this process; each begins with an empty one."""
    with RedisServer() as redis:
        yield redis


@pytest.fixture
def rig(server: RedisServer, tmp_path: Path) -> Iterator[Rig]:
    """A pool without workers."""
    with Rig(server, tmp_path) as one:
        yield one


@pytest.fixture
def rig_with_results(server: RedisServer, tmp_path: Path) -> Iterator[Rig]:
    """The same with a result backend."""
    with Rig(server, tmp_path, config={"result_backend": server.celery_url}) as one:
        yield one
