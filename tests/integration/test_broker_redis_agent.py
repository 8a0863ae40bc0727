"""What workers with the agent leave in Redis: reports, marks, and messages that a gone process held."""

# mypy: disable-error-code="import-untyped, no-untyped-call"

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from redis.asyncio import Redis

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import NotAllRestored, Process, RegistryEntry, Restored
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import QueueSet
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.moves import BATCH
from celeriac.brokers.redis.reading_plan import MOST_MARKS
from celeriac.brokers.redis.restore import restore
from celeriac.brokers.redis.takeover import LOOK_THROUGH, TakeOver
from celeriac.brokers.redis.url import parse
from celeriac.pool.model import QueueLayout
from tests.cluster.ports import HOST
from tests.dialers import dialer
from tests.integration.brokers import all_processes, eventually, producer, readings, worker
from tests.integration.gone_worker import POOL_UID, STARTED, GoneWorker, report
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

MANY_FIELDS = "for i = ARGV[1], ARGV[1] + 4999 do redis.call('HSET', KEYS[1], 'somebody-' .. i, ARGV[2]) end"
FEW_BYTES = 1024 * 1024
PODS = ("uid-of-ml-5d8f", "uid-1", "good", *(f"bad-{number}" for number in range(5)))
MAIL = QueueSet(("mail",), agent=POOL_UID, pods=PODS)
LAYOUT = QueueLayout()
ENTRY = RegistryEntry("", POOL_UID)
AGENT = Path(__file__).parents[2] / "worker-image" / "agent" / "celeriac_agent"
MANY = 10_000


@pytest.fixture
async def broker(server: RedisServer) -> AsyncIterator[RedisBroker]:
    async with a_broker(server.celery_url) as one:
        yield one


class a_broker:
    """A RedisBroker that is closed at the end."""

    def __init__(self, url: str) -> None:
        self.one = RedisBroker(parse(BrokerAddress(url)), dialer())

    async def __aenter__(self) -> RedisBroker:
        return self.one

    async def __aexit__(self, *_: object) -> None:
        await self.one.close()


async def the_process(broker: RedisBroker, key_prefix: str = "") -> Process:
    (process,) = await all_processes(broker, key_prefix)
    return process


def send(server: RedisServer, queue: str, *ids: str, **options: Any) -> None:
    app = producer(server, **options.pop("transport_options", {}))
    for each in ids:
        app.send_task("task", queue=queue, task_id=each, **options)


def in_order(server: RedisServer, key: str) -> list[dict[str, Any]]:
    """The messages of a list, the one that is consumed next first."""
    with server.client() as client:
        return [json.loads(text) for text in reversed(client.lrange(key, 0, -1))]


def ids(server: RedisServer, key: str) -> list[str]:
    return [message["headers"]["id"] for message in in_order(server, key)]


def keys(server: RedisServer) -> set[str]:
    """All keys but those in which kombu keeps its bindings."""
    with server.client() as client:
        return {key for key in client.scan_iter() if not key.startswith("_kombu")}


async def test_a_reading_brings_reports_marks_and_dead_letters_with_it(
    server: RedisServer, broker: RedisBroker
) -> None:
    gone = GoneWorker(server)
    with server.client() as client:
        client.lpush("celeriac:dead:mail", "{}", "{}")
    await broker.agents.mark(LAYOUT, POOL_UID, {gone.pod_uid: "token-1", "another": "token-2"})
    await broker.agents.mark(LAYOUT, POOL_UID, {"another": None})
    ours, plain = readings(await broker.queues.read([MAIL, QueueSet(("mail",))]))
    said = ours.reports[gone.pod_uid]
    assert (said.process, said.counter, said.active, said.busy_seconds) == (gone.process, 1, 2, 41.5)
    assert said.capabilities == {"inflight", "drain", "exact"}
    assert ours.marks == {gone.pod_uid: "token-1"}
    assert (ours.dead, plain.dead, plain.reports, plain.marks) == (2, 0, {}, {})


async def test_what_is_no_report_is_as_good_as_missing(server: RedisServer, broker: RedisBroker) -> None:
    good = report("ml-1.0a1b2c3d", "ml-1", 1)
    with server.client() as client:
        key = f"celeriac:{POOL_UID}:reports"
        client.hset(key, "good", json.dumps(good))
        for number, bad in enumerate(("", "[]", "{", json.dumps({**good, "active": "2"}), "[" * 60_000)):
            client.hset(key, f"bad-{number}", bad)
    (reading,) = readings(await broker.queues.read([MAIL]))
    assert set(reading.reports) == {"good"}


@pytest.mark.full
async def test_reports_of_nobody_known_are_not_read_and_marks_only_so_far(
    server: RedisServer, broker: RedisBroker
) -> None:
    """300,000 of them cost as little as none."""
    with server.client() as client:
        for first in range(0, 300_000, 5000):
            client.eval(MANY_FIELDS, 1, f"celeriac:{POOL_UID}:reports", first, "x" * 700)
            client.eval(MANY_FIELDS, 1, f"celeriac:{POOL_UID}:drain", first, "token")
        client.hset(f"celeriac:{POOL_UID}:reports", "good", json.dumps(report("ml-1.0a1b2c3d", "ml-1", 1)))
    sent_before = server.bytes_sent()
    (reading,) = readings(await broker.queues.read([MAIL]))
    assert server.bytes_sent() - sent_before < FEW_BYTES
    assert set(reading.reports) == {"good"}
    assert 0 < len(reading.marks) <= 2 * MOST_MARKS


BINDINGS = "_kombu.binding.news"
ROUTED = json.dumps([{"properties": {}}, "news", "key"])
LARGE: dict[str, Callable[[Any, bytes], object]] = {
    "a report": lambda client, large: client.hset("celeriac:other:reports", "uid-1", large),
    "a mark": lambda client, large: client.hset("celeriac:other:drain", "uid-1", large),
    "the name of a mark": lambda client, large: client.hset("celeriac:other:drain", large, "token"),
    "what a worker holds": lambda client, large: client.hset("unacked", "tag", large),
    "the tag of what it holds": lambda client, large: client.hset("unacked", large, "[]"),
    "a binding": lambda client, large: client.hset("unacked", "tag", ROUTED) and client.sadd(BINDINGS, large),
    "a message in a queue": lambda client, large: client.lpush("video", large),
}


@pytest.mark.parametrize("what", LARGE)
async def test_one_value_that_is_larger_than_all_that_is_read_spoils_no_reading(
    server: RedisServer, broker: RedisBroker, what: str
) -> None:
    """Of another pool with the same login, or of something else in the same Redis."""
    with server.client() as client:
        LARGE[what](client, b"x" * 20 * 1024 * 1024)
        client.hset(f"celeriac:{POOL_UID}:reports", "good", json.dumps(report("ml-1.0a1b2c3d", "ml-1", 1)))
    other = QueueSet(("video",), agent="other", pods=("uid-1", "uid-2"))
    for _ in range(3):
        found, beside = readings(await broker.queues.read([MAIL, other]))
        assert set(found.reports) == {"good"}
        assert (beside.marks, beside.reports) == ({}, {})
        assert beside.unreadable == ({"uid-1"} if what == "a report" else set())
    assert found.exact == ("unacked" not in client_keys(server))


def client_keys(server: RedisServer) -> set[str]:
    """All keys."""
    with server.client() as client:
        return set(client.keys())


async def test_a_key_of_another_type_spoils_only_the_pool_with_the_agent(
    server: RedisServer, broker: RedisBroker
) -> None:
    with server.client() as client:
        client.set(f"celeriac:{POOL_UID}:reports", "mine")
    spoiled, plain = await broker.queues.read([MAIL, QueueSet(("mail",))])
    assert isinstance(spoiled, BrokerDoubt)
    assert spoiled.reason == Reason.BROKER_WRONG_TYPE
    assert not isinstance(plain, BrokerDoubt)


async def test_what_a_gone_worker_held_is_consumed_next_and_in_the_order_in_which_it_came(
    server: RedisServer, broker: RedisBroker
) -> None:
    send(server, "mail", "1", "2", "3", "4", "5")
    with server.client() as client:
        bodies = {
            message["headers"]["id"]: message["body"] for message in map(json.loads, client.lrange("mail", 0, -1))
        }
    gone = GoneWorker(server)
    gone.take("mail", started=True)
    gone.take("mail", 2)
    assert await broker.salvage.restore(await the_process(broker), died=False) == Restored(restored=3)
    assert ids(server, "mail") == ["1", "2", "3", "4", "5"]
    first, *_, last = in_order(server, "mail")
    assert first["headers"]["redelivered"] is first["properties"]["delivery_info"]["redelivered"] is True
    assert "redelivered" not in last["headers"]
    assert {message["headers"]["id"]: message["body"] for message in in_order(server, "mail")} == bodies
    assert keys(server) == {"mail", "celeriac:pools"}, "nothing is left of the process"
    await broker.salvage.forget_pool(ENTRY)
    assert keys(server) == {"mail"}


async def test_prefix_separator_and_priorities_are_those_of_the_process(
    server: RedisServer, broker: RedisBroker
) -> None:
    options = {"global_keyprefix": "shop:", "sep": ":", "priority_steps": [0, 5]}
    for priority in (0, 4, 5, 9):
        send(server, "mail", f"p{priority}", priority=priority, transport_options=options)
    gone = GoneWorker(server, key_prefix="shop:", separator=":", steps=(0, 5))
    gone.take("mail", 4)
    assert await all_processes(broker) == []
    assert await broker.salvage.restore(await the_process(broker, "shop:"), died=True) == Restored(restored=4)
    assert (ids(server, "shop:mail"), ids(server, "shop:mail:5")) == (["p0", "p4"], ["p5", "p9"])


async def test_a_worker_that_waits_on_all_priorities_is_given_the_most_urgent_of_what_comes_back(
    server: RedisServer, broker: RedisBroker
) -> None:
    for priority in (0, 0, 9):
        send(server, "mail", f"p{priority}", priority=priority)
    gone = GoneWorker(server)
    gone.take("mail", 3)
    with server.client() as client:
        steps = ["mail", *(f"mail\x06\x16{step}" for step in (3, 6, 9))]
        waiting = asyncio.create_task(asyncio.to_thread(client.brpop, steps, 30))

        async def somebody_waits() -> bool:
            return bool(client.info("clients")["blocked_clients"])

        await eventually(somebody_waits)
        await broker.salvage.restore(await the_process(broker), died=False)
        key, _ = await waiting
        assert key == "mail"


async def test_a_message_of_a_topic_goes_back_to_the_one_queue_that_it_came_from(
    server: RedisServer, broker: RedisBroker
) -> None:
    """Without the stamp nobody can say which of two bound queues it was; both would run it twice."""
    topic = Exchange("orders", type="topic")
    mail, audit = Queue("mail", topic, routing_key="order.#"), Queue("audit", topic, routing_key="order.*")
    with Connection(server.celery_url) as connection:
        for _ in range(2):
            connection.Producer().publish({}, exchange=topic, routing_key="order.new", declare=[mail, audit])
    gone = GoneWorker(server)
    (stamped,) = gone.take(mail)
    (unstamped,) = gone.take(mail)
    with server.client() as client:
        entry = client.hget(gone.unacked, unstamped) or ""
        client.hset(gone.unacked, unstamped, entry.replace("celeriac_queue", "another"))
    assert stamped != unstamped
    assert await broker.salvage.restore(await the_process(broker), died=False) == Restored(restored=1, dead=1)
    with server.client() as client:
        assert [client.llen(key) for key in ("mail", "audit", "celeriac:dead:unroutable")] == [1, 2, 1]
    (letter,) = await broker.dead_letters.oldest(LAYOUT, "unroutable", 10)
    assert "no stamp" in letter.reason
    assert await broker.dead_letters.requeue(LAYOUT, "unroutable", to="mail") == 1
    assert len(in_order(server, "mail")) == 2


async def test_an_unstamped_message_whose_exchange_has_one_queue_goes_there(
    server: RedisServer, broker: RedisBroker
) -> None:
    queue = Queue("mail", Exchange("shop", type="direct"), routing_key="letters")
    with Connection(server.celery_url) as connection:
        connection.Producer().publish({}, exchange=queue.exchange, routing_key="letters", declare=[queue])
    gone = GoneWorker(server)
    (tag,) = gone.take(queue)
    with server.client() as client:
        entry = client.hget(gone.unacked, tag) or ""
        client.hset(gone.unacked, tag, entry.replace("celeriac_queue", "another"))
    assert await broker.salvage.restore(await the_process(broker), died=False) == Restored(restored=1)
    assert len(in_order(server, "mail")) == 1


async def test_a_broadcast_is_dropped_with_the_worker_that_it_was_for(server: RedisServer, broker: RedisBroker) -> None:
    send(server, "mail", "1")
    gone = GoneWorker(server)
    gone.take("mail", stamp="")
    assert await broker.salvage.restore(await the_process(broker), died=True) == Restored(dropped=1)
    assert keys(server) == {"celeriac:pools"}


async def test_a_task_that_kills_its_workers_becomes_a_dead_letter_and_its_neighbours_do_not(
    server: RedisServer, broker: RedisBroker
) -> None:
    send(server, "mail", "poison", "innocent")
    for attempt in range(3):
        gone = GoneWorker(server, start=f"0000000{attempt}", max_attempts=3)
        gone.take("mail", started=True)
        gone.take("mail")
        expected = Restored(restored=2) if attempt < 2 else Restored(restored=1, dead=1)
        assert await broker.salvage.restore(await the_process(broker), died=True) == expected
    assert (ids(server, "mail"), ids(server, "celeriac:dead:mail")) == (["innocent"], ["poison"])
    (letter,) = await broker.dead_letters.oldest(LAYOUT, "mail", 10)
    assert (letter.task, letter.id, letter.reason) == (
        "task",
        "poison",
        "it was started in 3 processes that died",
    )
    assert await broker.dead_letters.queues(LAYOUT) == {"mail": 1}


async def test_evictions_never_make_a_dead_letter(server: RedisServer, broker: RedisBroker) -> None:
    send(server, "mail", "long")
    for attempt in range(7):
        gone = GoneWorker(server, start=f"0000000{attempt}", max_attempts=3)
        gone.take("mail", started=True)
        assert await broker.salvage.restore(await the_process(broker), died=False) == Restored(restored=1)
    assert "celeriac_deaths" not in in_order(server, "mail")[0]["properties"]["delivery_info"]


async def test_dead_letters_go_back_behind_what_waits_the_oldest_first_with_a_new_life(
    server: RedisServer, broker: RedisBroker
) -> None:
    send(server, "mail", *(str(number) for number in range(250)), priority=3)
    gone = GoneWorker(server, max_attempts=1)
    gone.take("mail", 249, started=True)
    assert await broker.salvage.restore(await the_process(broker), died=True) == Restored(dead=249)
    with server.client() as client:
        client.rpush("celeriac:dead:mail", "no message")
    assert await broker.dead_letters.count(LAYOUT, "mail") == 250
    assert await broker.dead_letters.requeue(LAYOUT, "mail") == 249
    back = in_order(server, "mail\x06\x163")
    assert [message["headers"]["id"] for message in back] == ["249", *(str(number) for number in range(249))]
    assert not [message for message in back if "celeriac_deaths" in message["properties"]["delivery_info"]]
    assert await broker.dead_letters.count(LAYOUT, "mail") == 1, "what is no message stays"
    assert await broker.dead_letters.purge(LAYOUT, "mail") == 1


@pytest.mark.full
async def test_racing_reapers_move_each_message_once(server: RedisServer, broker: RedisBroker) -> None:
    numbers = [f"{number:04}" for number in range(1200)]
    send(server, "mail", *numbers)
    gone = GoneWorker(server)
    gone.take("mail", len(numbers))
    process = await the_process(broker)
    async with a_broker(server.celery_url) as second, a_broker(server.celery_url) as third:
        results = await asyncio.gather(*(one.salvage.restore(process, died=True) for one in (broker, second, third)))
    assert sum(result.restored for result in results) == len(numbers)
    assert sorted(ids(server, "mail")) == numbers
    assert await broker.salvage.restore(process, died=True) == Restored(), "and once more does no harm"


@pytest.mark.full
async def test_ten_thousand_messages_are_back_by_few_calls_and_some_commands_for_each(
    server: RedisServer, broker: RedisBroker
) -> None:
    gone = GoneWorker(server)
    send(server, "mail", "0")
    (tag,) = gone.take("mail")
    with server.client() as client:
        entry = client.hget(gone.unacked, tag) or ""
        entries = {f"{tag}-{number}": entry.replace('"id": "0"', f'"id": "{number}"') for number in range(MANY)}
        client.delete(gone.unacked, gone.index)
        client.hset(gone.unacked, mapping=entries)
        client.zadd(
            gone.index,
            {each: number + (STARTED if number % 7 == 0 else 0) for number, each in enumerate(entries)},
        )
    process = await the_process(broker)
    with server.client() as client:
        client.config_resetstat()
    assert await broker.salvage.restore(process, died=True) == Restored(restored=MANY)
    calls = server.calls()
    assert calls["evalsha"] <= MANY / 100
    assert sum(calls.values()) <= 7 * MANY
    assert ids(server, "mail") == [str(number) for number in range(MANY)]


async def test_a_restore_that_takes_long_ends_after_a_portion_says_how_far_it_came_and_goes_on(
    server: RedisServer, broker: RedisBroker
) -> None:
    gone = GoneWorker(server)
    numbers = [str(number) for number in range(BATCH + 1)]
    send(server, "mail", *numbers)
    gone.take("mail", len(numbers))
    process = await the_process(broker)
    async with Redis(host=HOST, port=server.port) as client:
        with pytest.raises(NotAllRestored, match="the rest follows") as raised:
            await restore(client, process, "Redis at a", died=False, seconds=0.0)
    assert raised.value.restored == Restored(restored=BATCH)
    assert await broker.salvage.restore(process, died=False) == Restored(restored=1)
    assert ids(server, "mail") == numbers


async def test_a_message_without_index_or_without_sense_is_not_stranded(
    server: RedisServer, broker: RedisBroker
) -> None:
    send(server, "mail", "1")
    gone = GoneWorker(server)
    gone.take("mail")
    with server.client() as client:
        client.delete(gone.index)
        client.hset(gone.unacked, "senseless", "no message")
        client.zadd(gone.index, {"acknowledged": 1.0})
    assert await broker.salvage.restore(await the_process(broker), died=True) == Restored(restored=1, dead=1)
    assert keys(server) == {"mail", "celeriac:dead:unroutable", "celeriac:pools"}


async def test_a_younger_process_of_the_same_pod_keeps_its_report_and_its_mark(
    server: RedisServer, broker: RedisBroker
) -> None:
    old = GoneWorker(server)
    young = GoneWorker(server, start="99999999")
    await broker.agents.mark(LAYOUT, POOL_UID, {old.pod_uid: "token"})
    for process in await all_processes(broker):
        if process.process == old.process:
            await broker.salvage.restore(process, died=True)
    (reading,) = readings(await broker.queues.read([MAIL]))
    assert reading.reports[young.pod_uid].process == young.process
    assert reading.marks == {young.pod_uid: "token"}
    await broker.salvage.forget_pool(ENTRY)
    assert (await the_process(broker)).process == young.process, "a pool with a process is not forgotten"


async def test_registrations_that_name_other_keys_are_not_believed(server: RedisServer, broker: RedisBroker) -> None:
    """What they name is moved and deleted: nobody may point the operator at the application's own data."""
    gone = GoneWorker(server)
    with server.client() as client:
        for wrong in ({"unacked": "sessions"}, {"poolUid": "another"}, {"prioritySteps": ["0"]}, {"started": True}):
            client.hset(gone.key("processes"), gone.process, json.dumps({**gone.registration, **wrong}))
            found = (await broker.salvage.registered([ENTRY]))[ENTRY]
            assert (found.processes, [doubt.reason for doubt in found.doubts]) == ((), ["RegistrationUnreadable"])
            assert gone.process in str(found.doubts[0])


@pytest.mark.parametrize("rights", ["+@all -@scripting", "+@all"])
async def test_a_user_who_may_run_no_scripts_restores_all_the_same(server: RedisServer, rights: str) -> None:
    send(server, "mail", "1", "2", "3")
    gone = GoneWorker(server, max_attempts=1)
    gone.take("mail", started=True)
    gone.take("mail", 2)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "celery", "on", ">s3cr3t", "~*", *rights.split())
    async with a_broker(f"redis://celery:s3cr3t@{HOST}:{server.port}/0") as broker:
        assert await broker.salvage.restore(await the_process(broker), died=True) == Restored(restored=2, dead=1)
        assert await broker.dead_letters.requeue(LAYOUT, "mail") == 1
    assert ids(server, "mail") == ["2", "3", "1"]


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        ("~* +@read +@scripting", r"\+watch \+unwatch \+exec \+discard \+multi"),
        ("~* +@read +@scripting +@transaction", r"\+hset \+hdel .*\+rpush \+lpush \+lrem"),
        ("~* +@read", r"\+eval \+evalsha .*\+multi"),
        ("~* +@all -rpush", r"grant the ACL user \+rpush \(`celeriac acl`"),
        ("~unacked* ~celeriac:* +@all", "write to key 'mail'.*celeriac acl"),
    ],
)
async def test_a_user_with_too_few_rights_is_told_which_are_missing(
    server: RedisServer, rights: str, missing: str
) -> None:
    send(server, "mail", "1")
    gone = GoneWorker(server)
    gone.take("mail")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "poor", "reset", "on", ">s3cr3t", *rights.split())
    async with a_broker(f"redis://poor:s3cr3t@{HOST}:{server.port}/0") as broker:
        process = await the_process(broker)
        with pytest.raises(BrokerDoubt, match=missing) as raised:
            await broker.salvage.restore(process, died=True)
    assert raised.value.reason == Reason.BROKER_PERMISSION_DENIED
    with server.client() as client:
        assert client.hlen(gone.unacked) == 1, "nothing is lost"


@pytest.mark.parametrize("rights", ["+@all -@scripting", "+@all"])
async def test_a_message_is_not_lost_where_something_else_bears_the_name_of_its_queue(
    server: RedisServer, rights: str
) -> None:
    send(server, "mail", "1")
    gone = GoneWorker(server)
    gone.take("mail")
    with server.client() as client:
        client.set("mail", "something else")
        client.execute_command("ACL", "SETUSER", "celery", "reset", "on", ">s3cr3t", "~*", *rights.split())
    async with a_broker(f"redis://celery:s3cr3t@{HOST}:{server.port}/0") as broker:
        with pytest.raises(BrokerDoubt, match="key 'mail'") as raised:
            await broker.salvage.restore(await the_process(broker), died=True)
    assert raised.value.reason == Reason.BROKER_WRONG_TYPE
    with server.client() as client:
        assert client.hlen(gone.unacked) == 1


async def test_what_plain_workers_hold_is_taken_over_once_it_is_old_and_only_of_our_queues(
    server: RedisServer, broker: RedisBroker
) -> None:
    send(server, "mail", "1", "2", "3")
    send(server, "other", "4")
    topic = Exchange("orders", type="topic")
    both = [Queue(name, topic, routing_key="order.#") for name in ("mail", "audit")]
    with Connection(server.celery_url) as connection:
        connection.Producer().publish({}, exchange=topic, routing_key="order.new", declare=both)
        channel = connection.channel()
        channel.do_restore = False
        for name, count in (("mail", 2), ("other", 1), ("audit", 1)):
            for _ in range(count):
                assert Queue(name, exchange="", no_declare=True)(channel).get() is not None
    with server.client() as client:
        newest = client.zrange("unacked_index", 0, -1)[1]
        client.zincrby("unacked_index", 3600, newest)
    assert await broker.salvage.take_over(LAYOUT, ["mail"], older_than_seconds=60) == Restored()
    assert await broker.salvage.take_over(LAYOUT, ["mail"], older_than_seconds=0) == Restored(restored=1)
    with server.client() as client:
        assert (client.hlen("unacked"), client.llen("mail"), client.llen("other")) == (3, 3, 0)
    assert in_order(server, "mail")[0]["headers"]["id"] == "1"


async def test_old_messages_of_others_do_not_hide_ours_for_ever(server: RedisServer, broker: RedisBroker) -> None:
    """A call looks through a bounded number of entries, and the next one goes on from there."""
    others = json.dumps([{"body": "", "properties": {}}, "", "other"])
    ours = json.dumps([{"body": "", "properties": {}}, "", "mail"])
    with server.client() as client:
        client.hset("unacked", mapping={str(number): others for number in range(LOOK_THROUGH)} | {"ours": ours})
        client.zadd("unacked_index", {str(number): number for number in range(LOOK_THROUGH)} | {"ours": LOOK_THROUGH})
    assert await broker.salvage.take_over(LAYOUT, ["mail"], older_than_seconds=60) == Restored()
    assert await broker.salvage.take_over(LAYOUT, ["mail"], older_than_seconds=60) == Restored(restored=1)


async def test_a_take_over_that_takes_long_says_how_far_it_came_and_goes_on(
    server: RedisServer, broker: RedisBroker
) -> None:
    numbers = [str(number) for number in range(BATCH + 1)]
    entries = {each: json.dumps([{"body": each, "properties": {}}, "", "mail"]) for each in numbers}
    with server.client() as client:
        client.hset("unacked", mapping=entries)
        client.zadd("unacked_index", {each: int(each) + 1 for each in numbers})
    async with Redis(host=HOST, port=server.port) as client:
        taking_over = TakeOver(client, "Redis at a")
        with pytest.raises(NotAllRestored, match="the rest follows") as raised:
            await taking_over.run(LAYOUT, ["mail"], 60, seconds=0.0)
        assert raised.value.restored == Restored(restored=BATCH)
        assert await taking_over.run(LAYOUT, ["mail"], 60) == Restored(restored=1)
    with server.client() as client:
        assert [json.loads(each)["body"] for each in client.lrange("mail", 0, -1)][::-1] == numbers


@pytest.mark.full
async def test_pools_that_share_a_database_each_look_through_all_of_it(
    server: RedisServer, broker: RedisBroker
) -> None:
    """Had they one memory of how far they came, each would always be shown the other half."""
    others = json.dumps([{"body": "", "properties": {}}, "", "other"])
    mail, video = (json.dumps([{"body": "", "properties": {}}, "", name]) for name in ("mail", "video"))
    with server.client() as client:
        client.hset("unacked", mapping={str(n): others for n in range(2 * LOOK_THROUGH - 9)} | {"m": mail, "v": video})
        scores = {str(n): n + 1 for n in range(2 * LOOK_THROUGH - 9)}
        client.zadd("unacked_index", scores | {"v": 0, "m": 2 * LOOK_THROUGH})
    taken = {"mail": 0, "video": 0}
    for queue in ("mail", "video", "mail", "video"):
        taken[queue] += (await broker.salvage.take_over(LAYOUT, [queue], older_than_seconds=60)).restored
    assert taken == {"mail": 1, "video": 1}


async def test_what_a_killed_worker_with_the_agent_held_is_back_at_once(
    server: RedisServer, broker: RedisBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent itself writes all that is read here."""
    (tmp_path / AGENT.name).symlink_to(AGENT)
    identity = {"POOL_UID": POOL_UID, "NAMESPACE": "shop", "POOL": "ml", "POD_NAME": "ml-1", "POD_UID": "uid-1"}
    for name, value in {**identity, "RUN_DIR": str(tmp_path), "MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(f"CELERIAC_{name}", value)
    for number in range(3):
        producer(server).send_task("late", queue="mail", task_id=str(number))
    with worker(server, tmp_path, "-P", "threads", "-c", "1", "-Q", "mail", "-I", AGENT.name) as process:

        async def one_runs_and_all_are_held() -> bool:
            (reading,) = readings(await broker.queues.read([MAIL]))
            report = reading.reports.get("uid-1")
            return report is not None and (report.active, reading.waiting) == (1, 0)

        await eventually(one_runs_and_all_are_held)
        process.kill()
        process.wait()
    (reading,) = readings(await broker.queues.read([MAIL]))
    assert reading.held == 0, "what it holds is under its own keys"
    registered = await the_process(broker)
    assert (registered.pod, registered.pod_uid, registered.pool, registered.reported is None) == (
        "ml-1",
        "uid-1",
        "ml",
        False,
    )
    assert await broker.salvage.restore(registered, died=True) == Restored(restored=2, dead=1)
    assert (ids(server, "mail"), ids(server, "celeriac:dead:mail")) == (["1", "2"], ["0"])


async def test_a_broker_that_is_gone_is_a_doubt_that_names_no_password(server: RedisServer) -> None:
    async with a_broker("redis://:s3cr3t@127.0.0.1:1/0") as broker:
        with pytest.raises(BrokerDoubt) as raised:
            await broker.salvage.listed([""])
    assert raised.value.reason == Reason.BROKER_CONNECTION_FAILED
    assert "s3cr3t" not in str(raised.value)
