"""What the operator reads in Redis of what real Celery and kombu put there."""

# mypy: disable-error-code="import-untyped, no-untyped-call"

import json
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from kombu.connection import Connection
from kombu.entity import Exchange, Queue

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import QueueReading, QueueSet
from celeriac.brokers.redis.executor import Executor
from celeriac.brokers.redis.message_queries import Entries, Peek
from celeriac.brokers.redis.queries import Count, Query, Tags
from celeriac.brokers.redis.resting import LOOK_THROUGH
from celeriac.brokers.redis.unacked import EXACT_UP_TO, SAMPLE
from celeriac.pool.model import QueueLayout
from tests.cluster.ports import HOST
from tests.integration.brokers import WAIT_SECONDS, broker_of, eventually, producer, read_one, readings, worker
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.fixture
def address(server: RedisServer) -> BrokerAddress:
    return BrokerAddress(server.celery_url)


def in_future(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_priorities_and_several_queues_are_counted(server: RedisServer, address: BrokerAddress) -> None:
    app = producer(server)
    for priority in range(10):
        app.send_task("late", queue="mail", priority=priority)
    app.send_task("late", queue="ml")
    async with broker_of(address) as broker:
        both, mail, empty = readings(
            await broker.queues.read([QueueSet(("mail", "ml")), QueueSet(("mail",)), QueueSet(("nobody",))])
        )
    assert both.queues == {"mail": QueueReading(10), "ml": QueueReading(1)}
    assert (mail.waiting, empty.waiting) == (10, 0)


async def test_what_did_not_change_is_the_same_object(server: RedisServer, address: BrokerAddress) -> None:
    app = producer(server)
    queues = [QueueSet(("mail", "ml"), agent="one"), QueueSet(("ml",)), QueueSet(("web",))]
    async with broker_of(address) as broker:
        first = await broker.queues.read(queues)
        assert list(map(id, await broker.queues.read(queues))) == list(map(id, first))
        app.send_task("late", queue="ml")
        then = readings(await broker.queues.read(queues))
        assert [now is before for now, before in zip(then, first, strict=True)] == [False, False, True]
        assert [each.waiting for each in then] == [1, 1, 0]
        more = await broker.queues.read([*queues, QueueSet(("new",))])
        assert [now is before for now, before in zip(more, then, strict=False)] == [True] * 3, "a plan of its own"


async def test_prefix_separator_and_steps_are_those_of_the_application(
    server: RedisServer, address: BrokerAddress
) -> None:
    app = producer(server, global_keyprefix="shop:", sep=":", priority_steps=[0, 5])
    for priority in (0, 4, 5, 9):
        app.send_task("late", queue="mail", priority=priority)
    own = QueueLayout("shop:", ":", (0, 5))
    async with broker_of(address) as broker:
        ours, usual = readings(await broker.queues.read([QueueSet(("mail",), own), QueueSet(("mail",))]))
    assert (ours.waiting, usual.waiting) == (4, 0)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
async def test_what_a_worker_holds_is_told_apart_by_queue(
    server: RedisServer, address: BrokerAddress, tmp_path: Path, pool: str
) -> None:
    app = producer(server)
    for _ in range(3):
        app.send_task("late", queue="mail")
    app.send_task("late", queue="ml", eta=in_future(600))
    app.send_task("late", queue="batch")
    async with broker_of(address) as broker:
        with worker(server, tmp_path, "-P", pool, "-c", "1", "-Q", "mail,ml"):

            async def told_apart() -> bool:
                mail, ml, batch = readings(
                    await broker.queues.read([QueueSet(("mail",)), QueueSet(("ml",)), QueueSet(("batch",))])
                )
                assert mail.exact
                return (mail.queues["mail"], ml.queues["ml"], batch.queues["batch"]) == (
                    QueueReading(waiting=0, held=3),
                    QueueReading(waiting=0, scheduled=1),
                    QueueReading(waiting=1),
                )

            await eventually(told_apart)


async def test_a_running_early_ack_task_of_a_solo_worker_is_held(
    server: RedisServer, address: BrokerAddress, tmp_path: Path
) -> None:
    producer(server).send_task("early", queue="ml")
    async with broker_of(address) as broker:
        with worker(server, tmp_path, "-P", "solo", "-Q", "ml"), server.client() as client:

            async def task_runs() -> bool:
                return bool(client.llen("running"))

            await eventually(task_runs)
            assert (await read_one(broker, "ml")).queues["ml"] == QueueReading(waiting=0, held=1)
            client.rpush("release", 1)

            async def idle() -> bool:
                return (await read_one(broker, "ml")).held == 0

            await eventually(idle)


async def test_eta_tasks_that_a_stopping_worker_puts_back_do_not_wait(
    server: RedisServer, address: BrokerAddress, tmp_path: Path
) -> None:
    app = producer(server)
    first = in_future(600)
    for minute in range(20):
        app.send_task("late", queue="mail", eta=first + timedelta(minutes=minute))
    async with broker_of(address) as broker:
        with worker(server, tmp_path, "-P", "threads", "-c", "1", "-Q", "mail") as process:

            async def all_taken() -> bool:
                return (await read_one(broker, "mail")).scheduled == 20

            await eventually(all_taken)
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_SECONDS) == 0
        reading = await read_one(broker, "mail")
        assert reading.queues["mail"] == QueueReading(waiting=0, deferred=20, next_eta=first.timestamp())
        assert reading.next_eta_seconds == pytest.approx(600, abs=WAIT_SECONDS)
        app.send_task("late", queue="mail")
        assert (await read_one(broker, "mail")).waiting == 1


async def test_an_eta_task_at_rest_wakes_the_pool_when_its_time_comes(
    server: RedisServer, address: BrokerAddress
) -> None:
    eta = in_future(1.0)
    producer(server).send_task("late", queue="mail", eta=eta)
    async with broker_of(address) as broker:
        reading = await read_one(broker, "mail")
        assert reading.queues["mail"] == QueueReading(waiting=0, deferred=1, next_eta=eta.timestamp())
        assert reading.next_eta_seconds is not None
        assert 0 <= reading.next_eta_seconds <= 1

        async def due() -> bool:
            return (await read_one(broker, "mail")).queues["mail"] == QueueReading(waiting=1)

        await eventually(due)


async def test_in_a_long_queue_eta_tasks_count_as_waiting(server: RedisServer, address: BrokerAddress) -> None:
    app = producer(server)
    for _ in range(LOOK_THROUGH + 1):
        app.send_task("late", queue="mail", eta=in_future(600))
    async with broker_of(address) as broker:
        assert (await read_one(broker, "mail")).queues["mail"] == QueueReading(waiting=LOOK_THROUGH + 1)


@pytest.mark.parametrize(
    "query",
    [
        Count(("mail", "ml", "nobody", "text", "nobody", "nobody"), steps=2),
        Tags("unacked", bound=10, sample=5),
        Tags("nobody", bound=10, sample=5),
        Tags("text", bound=10, sample=5),
        Entries("unacked", (b"tag", b"gone")),
        Peek(("mail", "ml"), members=10, size=1000),
        Peek(("mail", "ml"), members=2, size=1000),
        Peek(("mail", "text"), members=10, size=1000),
    ],
    ids=lambda query: type(query).__name__,
)
async def test_a_script_answers_what_the_plain_commands_answer(server: RedisServer, query: Query) -> None:
    later = '{"body": "", "headers": {"eta": "2999-01-01T00:00:00+00:00"}}'
    with server.client() as client:
        client.lpush("mail", "{}", later)
        client.lpush("ml", later)
        client.hset("unacked", "tag", '[{"body": "", "headers": {}}, "", "mail"]')
        client.set("text", "no list and no hash")
        client.execute_command("ACL", "SETUSER", "plain", "reset", "on", ">word", "~*", "+@all", "-@scripting")
    answers = []
    for login in ("", "plain:word@"):
        async with redis.asyncio.Redis.from_url(f"redis://{login}{HOST}:{server.port}/0", protocol=2) as connection:
            (answer,) = await Executor(connection, time.monotonic).run([query])
            answers.append(repr(answer).replace('"body": "", ', ""))
    assert answers[0] == answers[1]


async def test_large_messages_do_not_keep_a_user_without_scripts_from_reading(server: RedisServer) -> None:
    """They are read whole: a bounded part of them in one reading, and what is too large is not."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "plain", "reset", "on", ">word", "~*", "+@all", "-@scripting")
        for number in range(50):
            client.lpush("mail", json.dumps({"body": "b" * 400_000, "headers": {"eta": "2999-01-01T00:00:00+00:00"}}))
            client.hset("unacked", f"{number}", json.dumps([{"body": "b" * 400_000}, "", "mail"]))
        client.hset("unacked", "huge", json.dumps([{"body": "b" * 20_000_000}, "", "mail"]))
    async with broker_of(BrokerAddress(f"redis://plain:word@{HOST}:{server.port}/0")) as broker:
        first = await read_one(broker, "mail")
        assert (first.queues["mail"].waiting, first.exact) == (50, False)

        async def all_are_known() -> bool:
            return (await read_one(broker, "mail")).queues["mail"].held >= 50

        await eventually(all_are_known)


@pytest.mark.full
async def test_many_large_envelopes_are_read_one_part_after_the_other(
    server: RedisServer, address: BrokerAddress
) -> None:
    """40 MiB of short headers, under four key prefixes; no answer may have more than 16."""
    headers = {f"header-{number}": "text" for number in range(100)}
    entry = json.dumps([{"body": "", "headers": headers}, "", "mail"])
    prefixes = ("", "a:", "b:", "c:")
    with server.client() as client:
        for prefix in prefixes:
            client.hset(f"{prefix}unacked", mapping={f"{number}": entry for number in range(EXACT_UP_TO)})
    pools = [QueueSet(("mail",), QueueLayout(prefix)) for prefix in prefixes]
    async with broker_of(address) as broker:

        async def all_are_known() -> bool:
            found = readings(await broker.queues.read(pools))
            return all(each.exact and each.queues["mail"].held == EXACT_UP_TO for each in found)

        await eventually(all_are_known)


def hold_one(channel: Any, exchange: Exchange, queue: Queue, routing_key: str) -> None:
    """Publish a message and take it without acknowledging, as a worker with prefetch does."""
    bound = queue(channel)
    bound.declare()
    exchange(channel).publish(exchange(channel).Message(json.dumps({})), routing_key=routing_key)
    assert bound.get() is not None


@pytest.mark.parametrize("layout", [QueueLayout(), QueueLayout("shop:", separator="|")], ids=["usual", "prefixed"])
async def test_messages_of_topic_and_direct_exchanges_are_attributed_by_their_bindings(
    server: RedisServer, address: BrokerAddress, layout: QueueLayout
) -> None:
    topic, direct = Exchange("mail", type="topic"), Exchange("jobs", type="direct")
    options = {"global_keyprefix": layout.key_prefix, "sep": layout.separator}
    with Connection(server.celery_url, transport_options=options) as connection:
        channel = connection.channel()
        hold_one(channel, topic, Queue("mail_eu", topic, routing_key="mail.eu.#"), "mail.eu.send.now")
        hold_one(channel, direct, Queue("batch", direct, routing_key="nightly"), "nightly")
        async with broker_of(address) as broker:
            reading = readings(await broker.queues.read([QueueSet(("mail_eu", "batch", "nightly"), layout)]))[0]
        held = {name: queue.held for name, queue in reading.queues.items()}
        assert (held, reading.exact) == ({"mail_eu": 1, "batch": 1, "nightly": 0}, True)


def fill_unacked(server: RedisServer, entries: int, body: str) -> None:
    """Let workers hold many messages, those of `mail` and `ml` by turns, in entries as kombu writes them."""
    message = {"body": body, "content-encoding": "utf-8", "headers": {"eta": None}, "properties": {}}
    texts = [json.dumps([message, "", queue]) for queue in ("mail", "ml")]
    with server.client() as client:
        client.hset("unacked", mapping={f"tag-{i}": texts[i % 2] for i in range(entries)})
        client.config_resetstat()


async def test_twenty_thousand_held_messages_are_estimated_at_a_bounded_cost(
    server: RedisServer, address: BrokerAddress
) -> None:
    fill_unacked(server, 20_000, body="QUJD" * 250)
    sent_before = server.bytes_sent()
    async with broker_of(address) as broker:
        for _ in range(3):
            reading = await read_one(broker, "mail", "ml")
    sent = server.bytes_sent() - sent_before
    assert not reading.exact
    assert reading.held == pytest.approx(20_000, abs=2)
    assert reading.queues["mail"].held == pytest.approx(10_000, rel=0.2)
    ran = server.calls()
    assert not {"hgetall", "hkeys", "hscan", "hvals"} & set(ran)
    assert ran["hget"] <= SAMPLE
    assert sent < 200 * SAMPLE


async def test_a_steady_hash_costs_its_tags_and_no_entry_is_read_twice(
    server: RedisServer, address: BrokerAddress
) -> None:
    fill_unacked(server, EXACT_UP_TO, body="QUJD" * 250)
    async with broker_of(address) as broker:
        reading = await read_one(broker, "mail", "ml")
        assert (reading.queues["mail"].held, reading.exact) == (EXACT_UP_TO // 2, True)
        for _ in range(3):
            await broker.queues.read([QueueSet(("mail", "ml"))])
    assert server.calls()["hget"] == EXACT_UP_TO


async def test_the_arguments_of_tasks_never_leave_redis(server: RedisServer, address: BrokerAddress) -> None:
    """Many kilobytes of arguments, waiting with an ETA and held by a worker, is not sent to the operator."""
    app = producer(server)
    with server.client() as client:
        eta = in_future(600)
        app.send_task("late", queue="mail", args=["x" * 2**17], argsrepr="hidden", eta=eta)
        client.hset("unacked", "tag", json.dumps([json.loads(client.lindex("mail", 0)), "", "mail"]))
    sent_before = server.bytes_sent()
    async with broker_of(address) as broker:
        reading = await read_one(broker, "mail")
    sent = server.bytes_sent() - sent_before
    assert reading.queues["mail"] == QueueReading(waiting=0, scheduled=1, deferred=1, next_eta=eta.timestamp())
    assert sent < 2**14


async def test_a_thousand_pools_cost_one_round_trip(server: RedisServer, address: BrokerAddress) -> None:
    pools = [QueueSet((f"queue-{i}",)) for i in range(1000)]
    async with broker_of(address) as broker:
        await broker.queues.read(pools)
        with server.client() as client:
            client.config_resetstat()
        await broker.queues.read(pools)
    ran = server.calls()
    assert ran.pop("llen") == 4000
    assert sum(ran.get(name, 0) for name in ("evalsha", "eval", "info", "time", "hlen")) <= 8


async def test_a_queue_name_that_something_else_uses_spoils_only_its_own_pool(
    server: RedisServer, address: BrokerAddress
) -> None:
    producer(server).send_task("late", queue="mail")
    with server.client() as client:
        client.set("ml", "a string")
    async with broker_of(address) as broker:
        mail, ml = await broker.queues.read([QueueSet(("mail",)), QueueSet(("ml",))])
    assert readings([mail])[0].waiting == 1
    assert isinstance(ml, BrokerDoubt)
    assert ml.reason == Reason.BROKER_WRONG_TYPE
    assert "'ml'" in str(ml)


async def test_a_foreign_unacked_key_spoils_the_pools_of_its_prefix_only(
    server: RedisServer, address: BrokerAddress
) -> None:
    with server.client() as client:
        client.set("shop:unacked", "a string")
    async with broker_of(address) as broker:
        usual, shop = await broker.queues.read([QueueSet(("mail",)), QueueSet(("mail",), QueueLayout("shop:"))])
    assert readings([usual])
    assert isinstance(shop, BrokerDoubt)
    assert "shop:unacked" in str(shop)
