"""A registry of which something is broken: what is wrong with one pool is a doubt of that pool, and of no other."""

# mypy: disable-error-code="import-untyped, no-untyped-call"

import json
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import NotAllRestored, Process, RegistryEntry, Restored
from celeriac.brokers.protocol import Broker, Salvage
from celeriac.brokers.redis import registry
from celeriac.brokers.redis.hashes import MOST_ENTRIES
from celeriac.brokers.redis.registration import process_of as registration_of
from celeriac.pool.model import QueueLayout
from tests.cluster.ports import HOST
from tests.integration.brokers import broker_of, producer
from tests.integration.gone_worker import GoneWorker, report
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

A, B = RegistryEntry("", "uid-a"), RegistryEntry("", "uid-b")
MANY = 2 * MOST_ENTRIES
TOO_MUCH = 20 * 1024 * 1024
PART_BYTES = 1200 * MOST_ENTRIES

Breaks = Callable[["redis.Redis", GoneWorker], object]


@pytest.fixture
async def broker(server: RedisServer) -> AsyncIterator[Broker]:
    async with broker_of(BrokerAddress(server.celery_url)) as one:
        yield one


def salvage_of(broker: Broker) -> Salvage:
    assert broker.salvage is not None
    return broker.salvage


def registration(worker: GoneWorker, **wrong: object) -> str:
    return json.dumps(worker.registration | wrong)


BROKEN: dict[str, tuple[Breaks, Reason]] = {
    "the processes are no hash": (
        lambda client, b: client.delete(b.key("processes")) and client.set(b.key("processes"), "mine"),
        Reason.BROKER_WRONG_TYPE,
    ),
    "the reports are no hash": (
        lambda client, b: client.delete(b.key("reports")) and client.rpush(b.key("reports"), "mine"),
        Reason.BROKER_WRONG_TYPE,
    ),
    "a registration is no JSON": (
        lambda client, b: client.hset(b.key("processes"), "ml-9.0a1b2c3d", "{"),
        Reason.REGISTRATION_UNREADABLE,
    ),
    "a field is of another type": (
        lambda client, b: client.hset(b.key("processes"), b.process, registration(b, started="yesterday")),
        Reason.REGISTRATION_UNREADABLE,
    ),
    "it names another pool": (
        lambda client, b: client.hset(b.key("processes"), b.process, registration(b, poolUid="uid-a")),
        Reason.REGISTRATION_UNREADABLE,
    ),
    "a name leads out of a path of the API server": (
        lambda client, b: client.hset(b.key("processes"), b.process, registration(b, namespace="..")),
        Reason.REGISTRATION_UNREADABLE,
    ),
    "a field holds half a character": (
        lambda client, b: client.hset(b.key("processes"), b.process, registration(b, separator="\ud800")),
        Reason.REGISTRATION_UNREADABLE,
    ),
    "a registration is larger than all that is read": (
        lambda client, b: client.hset(b.key("processes"), b.process, b"x" * TOO_MUCH),
        Reason.REGISTRATION_UNREADABLE,
    ),
    "the name of one is": (
        lambda client, b: client.hset(b.key("processes"), b"x" * TOO_MUCH, "{}"),
        Reason.REGISTRATION_UNREADABLE,
    ),
    "a thousand are together": (
        lambda client, b: client.hset(
            b.key("processes"), mapping={f"x-{n}": "x" * (TOO_MUCH // 999) for n in range(999)}
        ),
        Reason.REGISTRATION_UNREADABLE,
    ),
    "somebody else fills it": (
        lambda client, b: client.hset(b.key("processes"), mapping={f"x-{n}": "x" for n in range(MOST_ENTRIES + 1)}),
        Reason.REGISTRATION_UNREADABLE,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_broken_of_one_pool_is_its_own_doubt_that_names_the_key(
    server: RedisServer, broker: Broker, name: str
) -> None:
    a, b = GoneWorker(server, "ml-a", pool_uid=A.pool_uid), GoneWorker(server, "ml-b", pool_uid=B.pool_uid)
    breaks, reason = BROKEN[name]
    with server.client() as client:
        breaks(client, b)
    listed = (await salvage_of(broker).listed([""]))[""]
    assert listed.pools == {uid: PoolKey("shop", "ml") for uid in (A.pool_uid, B.pool_uid)}
    found = await salvage_of(broker).registered([A, B])
    assert ([each.process for each in found[A].processes], found[A].doubts) == ([a.process], ())
    assert {doubt.reason for doubt in found[B].doubts} == {reason}
    assert all(f"celeriac:{B.pool_uid}:" in str(doubt) and len(str(doubt)) < 1000 for doubt in found[B].doubts)
    assert found[B].audible == ("reports" not in name)


async def test_an_entry_that_the_operator_fails_to_read_hides_no_other(
    server: RedisServer, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds one that nobody thought of keeps nobody else's messages away."""
    GoneWorker(server, "ml-a", pool_uid=A.pool_uid)
    b = GoneWorker(server, "ml-b", pool_uid=A.pool_uid)

    def process_of(prefix: str, uid: str, name: bytes, text: bytes) -> Process:
        if name.startswith(b"ml-a"):
            raise ZeroDivisionError
        return registration_of(prefix, uid, name, text)

    monkeypatch.setattr(registry, "process_of", process_of)
    found = (await salvage_of(broker).registered([A]))[A]
    assert ([each.process for each in found.processes], found.doubts[0].reason) == (
        [b.process],
        Reason.REGISTRATION_UNREADABLE,
    )
    assert "a fault of the operator, ZeroDivisionError" in str(found.doubts[0])


async def test_a_user_that_may_not_read_one_pool_reads_the_others_and_is_told_which_right_is_missing(
    server: RedisServer,
) -> None:
    a, _ = GoneWorker(server, "ml-a", pool_uid=A.pool_uid), GoneWorker(server, "ml-b", pool_uid=B.pool_uid)
    rights = ["~celeriac:pools", f"~celeriac:{A.pool_uid}:*", "+@all"]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "one", "reset", "on", ">s3cr3t", *rights)
    async with broker_of(BrokerAddress(f"redis://one:s3cr3t@{HOST}:{server.port}/0")) as broker:
        found = await salvage_of(broker).registered([A, B])
    assert ([each.process for each in found[A].processes], found[A].doubts) == ([a.process], ())
    assert {doubt.reason for doubt in found[B].doubts} == {Reason.BROKER_PERMISSION_DENIED}
    assert "~celeriac:*" in str(found[B].doubts[0])


async def test_a_registry_whose_list_is_broken_still_has_the_pools_that_are_known(
    server: RedisServer, broker: Broker
) -> None:
    a = GoneWorker(server, "ml-a", pool_uid=A.pool_uid)
    elsewhere = GoneWorker(server, "ml-b", pool_uid=B.pool_uid, key_prefix="b:")
    with server.client() as client:
        client.set("celeriac:pools", "mine")
    lists = await salvage_of(broker).listed(["", "b:"])
    assert [doubt.reason for doubt in lists[""].doubts] == [Reason.BROKER_WRONG_TYPE]
    assert (set(lists["b:"].pools), lists["b:"].doubts) == ({B.pool_uid}, ())
    there = RegistryEntry("b:", B.pool_uid)
    found = await salvage_of(broker).registered([A, there])
    assert [each.process for entry in (A, there) for each in found[entry].processes] == [a.process, elsewhere.process]


async def test_an_entry_of_the_list_that_names_no_pool_is_told_and_hides_no_other(
    server: RedisServer, broker: Broker
) -> None:
    GoneWorker(server, "ml-a", pool_uid=A.pool_uid)
    with server.client() as client:
        client.hset("celeriac:pools", mapping={"dead": "{}", "../..": "{}", B.pool_uid: "no JSON"})
    listed = (await salvage_of(broker).listed([""]))[""]
    assert listed.pools == {A.pool_uid: PoolKey("shop", "ml"), B.pool_uid: None}
    assert [doubt.reason for doubt in listed.doubts] == [Reason.REGISTRATION_UNREADABLE]


@pytest.mark.full
async def test_twenty_thousand_entries_are_read_in_part_and_cost_little(server: RedisServer, broker: Broker) -> None:
    """All that is read of one hash is bounded, whoever fills it."""
    gone = GoneWorker(server, "ml-a", pool_uid=A.pool_uid)
    with server.client() as client:
        for first in range(0, MANY, 1000):
            numbers = range(first, first + 1000)
            client.hset(gone.key("processes"), mapping={f"ml-a.{n:08}": registration(gone) for n in numbers})
            client.hset(
                gone.key("reports"),
                mapping={f"pod-{n}": json.dumps(report(f"ml-a.{n:08}", "ml-a", 1)) for n in numbers},
            )
    sent_before = server.bytes_sent()
    found = (await salvage_of(broker).registered([A]))[A]
    assert server.bytes_sent() - sent_before < PART_BYTES
    assert found.audible, "of those that were read all reports are"
    assert f"has {MANY + 1} entries" in " ".join(map(str, found.doubts))


async def test_a_queue_that_takes_no_message_keeps_no_message_of_another_queue_back(
    server: RedisServer, broker: Broker
) -> None:
    app = producer(server)
    gone = GoneWorker(server, "ml-a", pool_uid=A.pool_uid)
    for number in range(700):
        app.send_task("task", queue="mail", task_id=str(number))
    app.send_task("task", queue="video", task_id="lost")
    gone.take("mail", 350)
    gone.take("video")
    gone.take("mail", 350)
    with server.client() as client:
        client.set("video", "something else")
    (process,) = (await salvage_of(broker).registered([A]))[A].processes
    with pytest.raises(NotAllRestored, match="key 'video'") as raised:
        await salvage_of(broker).restore(process, died=False)
    assert raised.value.restored == Restored(restored=700)
    with server.client() as client:
        assert (client.llen("mail"), client.hlen(gone.unacked)) == (700, 1)
        client.delete("video")
    assert await salvage_of(broker).restore(process, died=False) == Restored(restored=1)


async def test_a_message_with_half_a_character_in_its_route_is_a_dead_letter_and_keeps_no_other_back(
    server: RedisServer, broker: Broker
) -> None:
    gone = GoneWorker(server, "ml-a", pool_uid=A.pool_uid)
    for number in range(2):
        producer(server).send_task("task", queue="mail", task_id=str(number))
    gone.take("mail")
    gone.take("mail", stamp="\ud800")
    (process,) = (await salvage_of(broker).registered([A]))[A].processes
    assert await salvage_of(broker).restore(process, died=False) == Restored(restored=1, dead=1)


async def test_dead_letters_are_no_pool_that_could_be_forgotten(server: RedisServer, broker: Broker) -> None:
    """The queue `reports` has a list of dead letters whose key looks like that of a pool."""
    with server.client() as client:
        client.lpush("celeriac:dead:reports", "{}")
        client.hset("celeriac:pools", "dead", "{}")
    listed = (await salvage_of(broker).listed([""]))[""]
    assert listed.pools == {}
    assert await broker.dead_letters.count(QueueLayout(), "reports") == 1 if broker.dead_letters else False
