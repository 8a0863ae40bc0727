"""A Redis for the stories of one process, and a rig in it for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.rig import Rig
from tests.integration.redis_server import RedisServer


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
