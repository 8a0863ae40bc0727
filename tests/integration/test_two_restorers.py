"""A worker's own successor and the operator put back the same messages into the same lists, in the same order."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from celeriac_agent.inflight import InFlight
from celeriac_agent.settings import ProcessKeys

from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.url import parse
from tests.dialers import dialer
from tests.integration.brokers import all_processes
from tests.integration.gone_worker import STARTED, GoneWorker
from tests.integration.redis_server import RedisServer
from tests.unit.messages.cases import CASES, SEPARATOR, STEPS, Case

pytestmark = pytest.mark.integration

Lists = dict[str, list[str]]


async def by_the_agent(server: RedisServer, gone: GoneWorker) -> None:
    keys = ProcessKeys.of_entry("", gone.registration)
    with redis.Redis.from_url(server.url) as client:
        InFlight(client, keys, max_attempts=5).restore(died=True)


async def by_the_operator(server: RedisServer, gone: GoneWorker) -> None:
    broker = RedisBroker(parse(BrokerAddress(server.celery_url)), dialer())
    try:
        (process,) = await all_processes(broker)
        await broker.salvage.restore(process, died=True)
    finally:
        await broker.close()


async def test_both_leave_the_same_behind(server: RedisServer) -> None:
    """All cases at once, in the order of their delivery; each exchange of theirs has a name of its own."""
    found = [await lists_after(server, restore) for restore in (by_the_agent, by_the_operator)]
    assert found[0] == found[1]
    assert {"mail", f"mail{SEPARATOR}9", "celeriac:dead:mail", "celeriac:dead:unroutable"} <= set(found[0])


async def lists_after(server: RedisServer, restore: Callable[[RedisServer, GoneWorker], Awaitable[None]]) -> Lists:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        gone = GoneWorker(server)
        for number, case in enumerate(case for case in CASES if (case.steps, case.max_attempts) == (STEPS, 5)):
            client.hset(gone.unacked, f"tag-{number:03}", _entry(case, number))
            client.zadd(gone.index, {f"tag-{number:03}": 1000 + number + (STARTED if case.died else 0)})
            for row in case.bindings:
                client.sadd(f"_kombu.binding.exchange-{number}", SEPARATOR.join(row))
        await restore(server, gone)
        assert client.hlen(gone.unacked) == 0
        names = [key.decode() for key in client.scan_iter(_type="list")]
        return {name: [_comparable(text) for text in client.lrange(name, 0, -1)] for name in names}


def _entry(case: Case, number: int) -> bytes:
    try:
        message, exchange, routing_key = json.loads(case.entry)
    except (ValueError, TypeError, RecursionError):
        return case.entry
    if exchange and isinstance(message, dict):
        return json.dumps([message, f"exchange-{number}", routing_key]).encode()
    return case.entry


def _comparable(text: bytes) -> str:
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError):
        return repr(text)
    return json.dumps(content, sort_keys=True)
