"""Whether a Redis takes writes, from what it says of its memory and answers to a write that changes nothing."""

from typing import Any

import pytest
from redis.exceptions import NoPermissionError, ReadOnlyError, ResponseError

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.writing import ASK_SECONDS, NOT_ALLOWED_SECONDS, Writing

pytestmark = pytest.mark.unit

FULL = {"maxmemory_policy": "noeviction", "maxmemory": 1000, "used_memory": 1001}


class Server:
    """A clock, and what was made of the replies."""

    def __init__(self) -> None:
        self.now = 100.0
        self.writing = Writing("Redis at redis:6379", lambda: self.now)

    def says(self, memory: Any, written: Any = 0) -> BrokerDoubt | None:
        self.now += ASK_SECONDS
        self.ask(memory, written)
        return self.writing.full

    def ask(self, memory: Any = None, written: Any = 0) -> list[str | bytes | int]:
        """The names of the commands that it asks now."""
        queries = self.writing.queries("shop:")
        self.writing.note([memory if query.command[0] == "INFO" else written for query in queries])
        return [query.command[0] for query in queries]


def test_a_full_redis_is_told_with_its_cure_until_it_has_room() -> None:
    server = Server()
    found = server.says(FULL)
    assert found is not None
    assert found.reason == Reason.BROKER_FULL
    assert "full" in str(found)
    assert "raise maxmemory" in str(found)
    assert server.says({**FULL, "used_memory": 960}) is not None, "it hovers at its limit"
    assert server.says({**FULL, "used_memory": 940}) is None
    assert server.says({**FULL, "used_memory": 960}) is None


@pytest.mark.parametrize(
    "memory",
    [
        {**FULL, "maxmemory": 0},
        {**FULL, "used_memory": 1000},
        {**FULL, "mem_not_counted_for_evict": 1},
        {**FULL, "maxmemory_policy": "allkeys-lru"},
        {**FULL, "maxmemory_policy": "volatile-ttl"},
        {**FULL, "used_memory": "much"},
        {**FULL, "maxmemory": True},
        {},
        None,
        "nonsense",
    ],
)
def test_a_redis_with_room_or_that_says_nothing_of_it_is_not_full(memory: Any) -> None:
    assert Server().says(memory) is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), Reason.BROKER_REFUSES_WRITES),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), Reason.BROKER_REFUSES_WRITES),
        (ReadOnlyError("READONLY You can't write against a read only replica."), Reason.BROKER_IS_REPLICA),
    ],
)
def test_what_refuses_all_writes_is_a_doubt_and_is_asked_again_at_once(error: Exception, reason: Reason) -> None:
    server = Server()
    with pytest.raises(BrokerDoubt) as raised:
        server.says({}, error)
    assert raised.value.reason == reason
    assert server.ask() == ["INFO", "HDEL"]
    assert server.ask() == []


def test_a_user_who_may_only_read_is_not_asked_for_a_write_again_and_again() -> None:
    server = Server()
    server.says({}, NoPermissionError("this user has no permissions to run the 'hdel' command"))
    server.now += ASK_SECONDS
    assert server.ask({}) == ["INFO"]
    server.now += NOT_ALLOWED_SECONDS
    assert server.ask({}) == ["INFO", "HDEL"]
