"""Real Celery around a real Redis, for tests of what the operator reads there."""

# mypy: disable-error-code="import-untyped"

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from celery import Celery

from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import Process, RegistryEntry
from celeriac.brokers.allowance import Allowance
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.brokers.readings import PoolReading, QueueSet
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.url import parse
from tests.dialers import dialer
from tests.integration.redis_server import RedisServer

WAIT_SECONDS = 60.0

APP = """\
import os
import redis
from celery import Celery

app = Celery("shop", broker=os.environ["CELERY_BROKER_URL"])

def hold():
    with redis.Redis.from_url(os.environ["CELERY_BROKER_URL"]) as client:
        client.rpush("running", 1)
        client.blpop("release", timeout=60)

app.task(name="early")(hold)
app.task(name="late", acks_late=True)(hold)
"""


class Clock:
    """A monotonic clock that a test moves on, for holds and retries that would otherwise be waited out."""

    def __init__(self) -> None:
        self.moved = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.moved


@asynccontextmanager
async def broker_of(
    address: BrokerAddress, clock: Callable[[], float] = time.monotonic, allowance: Allowance | None = None
) -> AsyncIterator[RedisBroker]:
    """A broker that is closed at the end."""
    broker = RedisBroker(parse(address), dialer(), address.tls, clock=clock, allowance=allowance)
    try:
        yield broker
    finally:
        await broker.close()


def readings(answers: Sequence[PoolReading | BrokerDoubt]) -> list[PoolReading]:
    """The answers, every one of which has to be a reading."""
    assert not [answer for answer in answers if isinstance(answer, BrokerDoubt)]
    return [answer for answer in answers if isinstance(answer, PoolReading)]


async def read_one(broker: Broker, *queues: str) -> PoolReading:
    """Read one pool of the usual layout."""
    return readings(await broker.queues.read([QueueSet(queues)]))[0]


async def all_processes(broker: RedisBroker, key_prefix: str = "") -> list[Process]:
    """Of all pools that a registry lists; nothing is in doubt."""
    listed = (await broker.salvage.listed([key_prefix]))[key_prefix]
    found = await broker.salvage.registered([RegistryEntry(key_prefix, uid) for uid in listed.pools])
    assert [*listed.doubts, *(doubt for each in found.values() for doubt in each.doubts)] == []
    return [process for each in found.values() for process in each.processes]


async def eventually(check: Callable[[], Awaitable[Any]]) -> None:
    """Wait until `check` gives something true; fails with its last value."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (last := await check()):
        assert time.monotonic() < deadline, f"still {last!r} after {WAIT_SECONDS:.0f} s"
        await asyncio.sleep(0.05)


def producer(server: RedisServer, **transport_options: Any) -> Celery:
    """A Celery application that only sends."""
    app = Celery(broker=server.celery_url)
    app.conf.broker_transport_options = transport_options
    return app


@contextmanager
def worker(server: RedisServer, directory: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real `celery worker` of APP. Its tasks hold until something is pushed to the list `release`."""
    (directory / "shop.py").write_text(APP)
    command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "--without-gossip", "--without-mingle"]
    with (directory / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options],
            cwd=directory,
            env={
                **os.environ,
                "CELERY_BROKER_URL": server.celery_url,
                "PYTHONPATH": str(directory),
                "C_FORCE_ROOT": "1",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # The whole session that we started: a prefork parent that is killed alone leaves its children behind.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
