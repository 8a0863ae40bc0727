"""Anybody may run the server that a pool names: what it answers is a doubt in words of ours, and costs nobody else."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import Process, RegistryEntry
from celeriac.brokers.allowance import Allowance
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import QueueSet
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.queue_reader import READING_SECONDS
from celeriac.pool.model import QueueLayout
from tests.faults.hostile import CANARY, Strangers
from tests.integration.brokers import broker_of, read_one
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

CALL_SECONDS = 2.5
ALLOWANCE = Allowance(CALL_SECONDS)
HEALTHY_SECONDS = 1.0
"""What a reading of a Redis beside all of them may take, on two cores that are shared with other tests."""

POOL = QueueSet(("mail", "ml"), agent="uid-1")
LAYOUT = QueueLayout()
GONE = Process(
    process="shop-1.0123abcd",
    pod="shop-1",
    pod_uid="uid-p",
    namespace="shop",
    pool="mail",
    pool_uid="uid-1",
    started=1.0,
    held_in=("unacked.shop-1.0123abcd", "unacked_index.shop-1.0123abcd", "unacked_mutex.shop-1.0123abcd"),
    layout=LAYOUT,
    visibility_timeout=3600.0,
    max_attempts=3,
)

CALLS: dict[str, Callable[[RedisBroker], Awaitable[object]]] = {
    "read": lambda broker: broker.queues.read([POOL]),
    "listed": lambda broker: broker.salvage.listed([""]),
    "registered": lambda broker: broker.salvage.registered([RegistryEntry("", "uid-1")]),
    "held": lambda broker: broker.salvage.held([GONE]),
    "restore": lambda broker: broker.salvage.restore(GONE, died=True),
    "forget": lambda broker: broker.salvage.forget_pool(RegistryEntry("", "uid-1")),
    "take over": lambda broker: broker.salvage.take_over(LAYOUT, ["mail"], older_than_seconds=1.0),
    "mark": lambda broker: broker.agents.mark(LAYOUT, "uid-1", {"uid-p": "token"}),
    "dead letters": lambda broker: broker.dead_letters.oldest(LAYOUT, "mail", 10),
}


async def told(call: Awaitable[object]) -> str:
    """What is said of a call: a doubt's words, or what it gave."""
    try:
        given = await call
        if isinstance(given, list) and given and isinstance(given[0], BrokerDoubt):
            raise given[0]
        return str(given)
    except BrokerDoubt as doubt:
        return f"{doubt.reason} {doubt}"


async def answers_of(url: str, place: int) -> list[str]:
    """What is said of each call to one of them, made at the same time, soon after those to the one before."""
    await asyncio.sleep(0.03 * place)
    async with broker_of(BrokerAddress(url), allowance=ALLOWANCE) as broker:
        return await asyncio.gather(*(told(call(broker)) for call in CALLS.values()))


async def slowest_readings(server: RedisServer, ended: asyncio.Event) -> float:
    """The longest that a reading of a Redis takes, until the end."""
    slowest = 0.0
    async with broker_of(BrokerAddress(server.celery_url), allowance=ALLOWANCE) as broker:
        while not ended.is_set():
            began = time.monotonic()
            await read_one(broker, "mail")
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.05)
    return slowest


async def test_whatever_strangers_answer_is_a_doubt_that_costs_nobody_else(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ended = asyncio.Event()
    with Strangers() as strangers:
        beside = asyncio.create_task(slowest_readings(server, ended))
        began = time.monotonic()
        said = await asyncio.gather(*(answers_of(url, place) for place, (_, url) in enumerate(strangers.urls)))
        took = time.monotonic() - began
        ended.set()
        slowest = await beside
    words = dict(zip((name for name, _ in strangers.urls), said, strict=True))
    assert {name: each[0] for name, each in words.items() if each[0].split()[0] not in set(Reason)} == {}
    assert {name: each for name, each in words.items() if CANARY.decode() in str(each)} == {}
    assert took < READING_SECONDS + CALL_SECONDS + 4
    assert slowest < HEALTHY_SECONDS
    assert caplog.text == ""
