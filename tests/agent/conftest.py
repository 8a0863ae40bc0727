"""A Redis for the stories of one process, and a rig in it for each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.rig import Rig
from tests.beside import Beside, longest_first, module
from tests.integration.redis_server import RedisServer

WITH_OPERATOR = {
    "drain_writes": "first",
    "reaper": "second",
    **dict.fromkeys(("recovery_access", "task_metrics", "shards", "learned_layout"), "third"),
    **dict.fromkeys(("orphans", "at_rest", "silent_workers"), "fourth"),
}
"""Modules that follow each other in one process, with one API server; the four processes take equally long."""
LONGEST = (*WITH_OPERATOR, "flow", "inflight", "drain", "faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items, LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Beside:
    """Stories with the operator share an API server, and some the operator too; all others share nothing."""

    def shares(nodeid: str) -> str:
        name = module(nodeid)
        return WITH_OPERATOR.get(name, name) if "/with_operator/" in nodeid else nodeid

    return Beside(config, log, shares)


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
