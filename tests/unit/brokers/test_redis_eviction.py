"""What a Redis does with keys when its memory is full, from what INFO memory says."""

from typing import Any

import pytest

from celeriac.brokers.redis.eviction import ASK_SECONDS, Eviction

pytestmark = pytest.mark.unit


class Server:
    """A clock, and what was made of the replies."""

    def __init__(self) -> None:
        self.now = 100.0
        self.eviction = Eviction("Redis at redis:6379", lambda: self.now)

    def says(self, reply: Any) -> tuple[bool, str] | None:
        self.now += ASK_SECONDS
        self.eviction.note([reply for _ in self.eviction.queries()])
        return self.eviction.durability


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-lrm", "eviction"])
def test_a_policy_that_may_drop_any_key_is_told_with_its_cure(policy: str) -> None:
    found = Server().says({"maxmemory_policy": policy, "maxmemory": 1024})
    assert found is not None
    assert not found[0]
    assert f"when its memory is full (maxmemory-policy {policy})" in found[1]
    assert "noeviction" in found[1]
    assert len(found[1]) < 512


@pytest.mark.parametrize("policy", ["volatile-\x1b[31m", "volatile-" + "x" * 500, "allkeys lru", "\u202enoeviction", 5])
def test_what_is_no_name_of_a_policy_is_not_repeated(policy: Any) -> None:
    assert Server().says({"maxmemory_policy": policy, "maxmemory": 1024}) is None


def test_without_a_limit_it_is_told_for_the_day_on_which_one_is_set() -> None:
    found = Server().says({"maxmemory_policy": "allkeys-lru", "maxmemory": 0})
    assert found is not None
    assert not found[0]
    assert "as soon as a maxmemory is set" in found[1]


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"])
def test_a_policy_that_keeps_what_does_not_expire_is_no_trouble(policy: str) -> None:
    found = Server().says({"maxmemory_policy": policy, "maxmemory": 1024})
    assert found is not None
    assert found[0]


@pytest.mark.parametrize("reply", [None, {}, {"maxmemory": 0}, {"maxmemory_policy": ""}, "text", 3])
def test_what_is_refused_or_not_said_is_not_known(reply: Any) -> None:
    assert Server().says(reply) is None


def test_it_is_asked_once_a_minute_and_holds_meanwhile() -> None:
    server = Server()
    server.says({"maxmemory_policy": "allkeys-lru", "maxmemory": 1})
    server.now += ASK_SECONDS - 1
    assert list(server.eviction.queries()) == []
    server.eviction.note([])
    assert server.eviction.durability is not None
    server.now += 1
    assert len(server.eviction.queries()) == 1
