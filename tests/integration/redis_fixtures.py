"""A Redis of its own for a test, or one for all tests of a process that change nothing but its data."""

from collections.abc import Iterator

import pytest

from tests.integration.redis_server import RedisServer


@pytest.fixture(scope="session")
def one_server() -> Iterator[RedisServer]:
    """Kept for the fixture `server`."""
    with RedisServer() as running:
        yield running


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """One that the test may stop, freeze and configure."""
    with RedisServer() as running:
        yield running


@pytest.fixture
def server(one_server: RedisServer) -> RedisServer:
    """A Redis without data and without statistics."""
    with one_server.client() as client:
        client.flushall()
        client.config_resetstat()
    return one_server
