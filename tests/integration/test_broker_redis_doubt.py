"""What Redis answers is not always to be believed: then the replicas hold, and a person is told why."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.brokers.readings import QueueSet
from celeriac.brokers.redis.patience import LONGEST_RETRY_SECONDS
from celeriac.brokers.redis.queue_reader import READING_SECONDS
from celeriac.brokers.redis.server_identity import RESTART_HOLD_SECONDS
from tests.cluster.ports import HOST, free_port
from tests.integration.brokers import Clock, broker_of, eventually, read_one
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration


def address_of(server: RedisServer) -> BrokerAddress:
    return BrokerAddress(server.celery_url)


async def reason_of(broker: Broker) -> str | None:
    """Why the broker is doubted; None where it could be read."""
    try:
        await broker.queues.read([QueueSet(("mail",))])
    except BrokerDoubt as doubt:
        return doubt.reason
    return None


async def test_a_redis_that_is_not_there_is_told() -> None:
    async with broker_of(BrokerAddress(f"redis://{HOST}:{free_port()}/0")) as broker:
        assert await reason_of(broker) == Reason.BROKER_CONNECTION_FAILED


async def test_a_host_name_that_nobody_knows_is_told() -> None:
    async with broker_of(BrokerAddress("redis://redis.nowhere.invalid/0")) as broker:
        with pytest.raises(BrokerDoubt, match="host name") as raised:
            await broker.queues.read([QueueSet(("mail",))])
    assert raised.value.reason == Reason.BROKER_CONNECTION_FAILED


async def test_a_redis_that_comes_back_empty_does_not_look_idle_at_once() -> None:
    clock = Clock()
    with RedisServer() as server, server.client() as client:
        client.lpush("mail", "{}")
        async with broker_of(address_of(server), clock) as broker:
            assert (await read_one(broker, "mail")).waiting == 1
            server.stop()
            assert await reason_of(broker) == Reason.BROKER_CONNECTION_FAILED
            server.restart(empty=True)
            clock.moved += LONGEST_RETRY_SECONDS
            assert await reason_of(broker) == Reason.BROKER_RESTARTED
            clock.moved += RESTART_HOLD_SECONDS - 1
            assert await reason_of(broker) == Reason.BROKER_RESTARTED
            clock.moved += 1
            assert (await read_one(broker, "mail")).waiting == 0


async def test_a_redis_that_comes_back_as_a_replica_is_not_believed() -> None:
    clock = Clock()
    with RedisServer() as master, RedisServer() as server:
        async with broker_of(address_of(server), clock) as broker:
            assert await reason_of(broker) is None
            server.restart(replicaof=master)
            clock.moved += LONGEST_RETRY_SECONDS
            await eventually(lambda: is_now(broker, clock, Reason.BROKER_IS_REPLICA))
            with server.client() as client:
                client.replicaof("NO", "ONE")
            clock.moved += RESTART_HOLD_SECONDS
            await eventually(lambda: is_now(broker, clock, None))


async def is_now(broker: Broker, clock: Clock, reason: str | None) -> bool:
    """Whether the broker gives this answer, once more time has passed for it to try again."""
    clock.moved += LONGEST_RETRY_SECONDS
    return await reason_of(broker) == reason


async def test_a_failed_reading_is_not_repeated_at_every_tick() -> None:
    clock = Clock()
    with RedisServer() as server:
        async with broker_of(address_of(server), clock) as broker:
            server.stop()
            assert await reason_of(broker) == Reason.BROKER_CONNECTION_FAILED
            server.start()
            assert await reason_of(broker) == Reason.BROKER_CONNECTION_FAILED
            with server.client() as client:
                assert client.info("stats")["total_connections_received"] <= 2
            clock.moved += LONGEST_RETRY_SECONDS
            assert await reason_of(broker) is None


async def test_a_redis_that_hangs_costs_bounded_time_and_gets_no_pile_of_requests() -> None:
    with RedisServer() as server:
        async with broker_of(address_of(server)) as broker:
            assert await reason_of(broker) is None
            with server.client() as client:
                client.config_resetstat()
            server.freeze()
            began = time.monotonic()
            answers = await asyncio.gather(*(reason_of(broker) for _ in range(20)))
            assert time.monotonic() - began < 5 * READING_SECONDS, "they waited beside each other"
            assert set(answers) == {Reason.BROKER_TIMEOUT}
            server.thaw()
            assert server.calls().get("evalsha", 0) <= 4
            await eventually(lambda: recovered(broker))


async def recovered(broker: Broker) -> bool:
    return await reason_of(broker) is None


@contextmanager
def in_background(client: redis.Redis, *command: str) -> Iterator[None]:
    """Run a command that keeps Redis busy; it may end in an error."""

    def run() -> None:
        try:
            client.execute_command(*command)  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            ended.append(error)

    ended: list[redis.RedisError] = []
    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()


async def test_a_script_of_somebody_that_does_not_end_is_told() -> None:
    with (
        RedisServer(config=["busy-reply-threshold 10"]) as server,
        server.client() as client,
        server.client() as killer,
    ):
        async with broker_of(address_of(server), clock := Clock()) as broker:
            with in_background(client, "EVAL", "while true do end", "0"):
                await eventually(lambda: is_now(broker, clock, Reason.BROKER_BUSY))
                killer.script_kill()
            await eventually(lambda: is_now(broker, clock, None))


async def test_a_redis_that_loads_its_data_is_told() -> None:
    config = ["enable-debug-command yes", "loading-process-events-interval-bytes 1024"]
    with RedisServer(config=config) as server, server.client() as client:
        async with broker_of(address_of(server), clock := Clock()) as broker:
            client.mset({f"key-{i}": "x" * 1024 for i in range(100)})
            # Microseconds for each key, so that loading takes a second.
            client.config_set("key-load-delay", 10_000)
            with in_background(client, "DEBUG", "RELOAD"):
                await eventually(lambda: is_now(broker, clock, Reason.BROKER_LOADING))
            await eventually(lambda: is_now(broker, clock, None))


async def test_redis_cluster_is_refused_with_a_message() -> None:
    with RedisServer(config=["cluster-enabled yes", f"cluster-port {free_port()}"]) as server:
        async with broker_of(address_of(server)) as broker:
            with pytest.raises(BrokerDoubt, match="Redis Cluster") as raised:
                await broker.queues.read([QueueSet(("mail",))])
    assert raised.value.reason == Reason.BROKER_UNSUPPORTED
