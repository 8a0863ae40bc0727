"""Anybody may run the server that a pool names: what it answers is a doubt in words of ours, and costs nobody else."""

import asyncio
import json
import logging
import random
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import Process, RegistryEntry
from celeriac.brokers.allowance import Allowance
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import QueueSet
from celeriac.brokers.redis import client
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.patience import LONGEST_RETRY_OF_A_STRANGER
from celeriac.pool.model import QueueLayout
from tests.faults.hostile import CANARY, Hostile, Strangers, array, bulk, commands
from tests.integration.brokers import Clock, broker_of
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

CALL_SECONDS = 2.5
TURN_SECONDS = 1.0
"""A tenth of that on a machine that is at rest; what is to be bounded takes many seconds where it is not."""
SEEDS, ROUNDS = 4, 8
"""Of servers whose replies are made by chance, and calls of each kind to one of them."""

POOL = QueueSet(("mail", "ml"), agent="uid-1", pods=("uid-p", "uid-q"))
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
ENTRY = [{"body": "", "properties": {"delivery_info": {"celeriac_queue": "mail"}}}, "", "mail"]

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

WORDS = (
    *(b"", b"\xff\x00", b"a" * 300, b"{}", b"[1, 2, 3]", b"null", b"1e999", b"-1", b"\n\n\n", b"9" * 5000),
    *(b'[{}, "e", "k"]', b"uid-1", b"shop-1.0123abcd", json.dumps(ENTRY).encode(), b'{"v": 1, "n": 1e400}'),
)
ERRORS = (b"WRONGTYPE a", b"ERR b", b"NOSCRIPT c", b"NOPERM d", b"LOADING e", b"READONLY f", b"")


class Fuzz:
    """Replies that are well formed: of the right kind for the command more often than not, with any content."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each command of a connection."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readline():
                words = []
                for _ in range(int(head[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:size])
                writer.write(self._reply(words[0].upper()))
        writer.close()

    def _reply(self, command: bytes) -> bytes:
        if self._random.random() < 0.15:
            return self._any(0)
        match command:
            case b"INFO":
                return bulk(b"run_id:%s\r\nrole:master\r\nredis_mode:standalone\r\nx" % self._word())
            case b"TIME":
                return array(bulk(b"%d" % self._number()), bulk(b"%d" % self._number()))
            case b"HGETALL":
                return self._hash()
            case b"HSCAN":
                return array(bulk(b"0"), self._hash())
            case b"HMGET":
                return array(*(bulk(self._word()) for _ in range(self._random.randrange(3))))
            case b"EVALSHA":
                return array(self._any(1), self._any(2))
        return b":%d\r\n" % self._number()

    def _hash(self) -> bytes:
        return array(*(bulk(self._word()) for _ in range(2 * self._random.randrange(4))))

    def _word(self) -> bytes:
        return self._random.choice(WORDS)

    def _number(self) -> int:
        return self._random.choice((0, 1, 2, 5, 5000, 5001, -1, 2**40, 2**63 - 1))

    def _any(self, depth: int) -> bytes:
        return self._random.choice(
            (
                bulk(self._word()),
                b":%d\r\n" % self._number(),
                b"$-1\r\n",
                b"*-1\r\n",
                b"-%s\r\n" % self._random.choice(ERRORS),
                b"+OK\r\n",
                array(*(self._any(depth + 1) for _ in range(self._random.randrange(4)))) if depth < 4 else b"*0\r\n",
            )
        )


async def told(call: Awaitable[object]) -> str:
    """What is said of a call: a doubt's words, or what it gave."""
    try:
        given = await call
        if isinstance(given, list) and given and isinstance(given[0], BrokerDoubt):
            raise given[0]
        return str(given)
    except BrokerDoubt as doubt:
        return f"{doubt.reason} {doubt}"


async def answers_of(url: str, place: int, allowance: Allowance) -> list[str]:
    """What is said of each call to one of them, made at the same time, soon after those to the one before."""
    await asyncio.sleep(0.05 * place)
    async with broker_of(BrokerAddress(url), allowance=allowance) as broker:
        return await asyncio.gather(*(told(call(broker)) for call in CALLS.values()))


async def longest_turn(ended: asyncio.Event) -> float:
    """The longest that others waited for the loop, in CPU time of its thread: others are busy on the same machine."""
    longest, last = 0.0, time.thread_time()
    while not ended.is_set():
        await asyncio.sleep(0.001)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    return longest


async def test_whatever_strangers_answer_is_a_doubt_that_costs_nobody_else(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ended, allowance = asyncio.Event(), Allowance(CALL_SECONDS)
    with Strangers() as strangers:
        beside = asyncio.create_task(longest_turn(ended))
        said = await asyncio.gather(
            *(answers_of(url, place, allowance) for place, (_, url) in enumerate(strangers.urls))
        )
        ended.set()
        assert await beside < TURN_SECONDS
    words = dict(zip((name for name, _ in strangers.urls), said, strict=True))
    assert {name: each[0] for name, each in words.items() if each[0].split()[0] not in set(Reason)} == {}
    assert {name: each for name, each in words.items() if CANARY.decode() in str(each)} == {}
    assert caplog.text == ""


async def test_a_stranger_for_a_sentinel_is_a_doubt_as_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ended, allowance = asyncio.Event(), Allowance(CALL_SECONDS)

    async def answer_of(url: str) -> str:
        address = BrokerAddress(url.replace("redis://", "sentinel://"), sentinel_master="shop")
        async with broker_of(address, allowance=allowance) as broker:
            return await told(broker.queues.read([POOL]))

    with Strangers() as strangers:
        beside = asyncio.create_task(longest_turn(ended))
        said = await asyncio.gather(*(answer_of(url) for _, url in strangers.urls))
        ended.set()
        assert await beside < TURN_SECONDS
    words = dict(zip((name for name, _ in strangers.urls), said, strict=True))
    assert {name: each for name, each in words.items() if each.split()[0] not in set(Reason)} == {}
    assert {name: each for name, each in words.items() if CANARY.decode() in each} == {}
    assert caplog.text == ""


async def test_a_call_that_is_refused_ends_although_what_is_lacked_is_told_drop_by_drop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each answer comes in time, and there are more of them than anybody waits for."""
    monkeypatch.setattr(client, "ASKING_SECONDS", 1.0)

    def tell(connection: socket.socket) -> None:
        for words in commands(connection):
            time.sleep(0.0 if words[0] == b"WATCH" else 0.5)
            refused = b"-NOPERM this user has no permissions to run the 'watch' command\r\n"
            connection.sendall(refused if words[0] == b"WATCH" else b"+OK\r\n")

    with Hostile(tell) as stranger:
        async with broker_of(BrokerAddress(stranger.url), allowance=Allowance(CALL_SECONDS)) as broker:
            said = await told(CALLS["forget"](broker))
    assert said.startswith(Reason.BROKER_PERMISSION_DENIED)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, SEEDS))])
async def test_no_well_formed_reply_is_a_fault_of_the_operator(seed: int) -> None:
    """Whatever the replies are, a call gives something or raises BrokerDoubt."""
    async with await asyncio.start_server(Fuzz(seed).serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        clock = Clock()
        async with broker_of(BrokerAddress(f"redis://127.0.0.1:{port}/0"), clock, Allowance(CALL_SECONDS)) as broker:
            for _ in range(ROUNDS):
                for call in CALLS.values():
                    await told(call(broker))
                clock.moved += LONGEST_RETRY_OF_A_STRANGER
