"""What Celery's own tools leave in a real Redis: answers that come too late, events for a monitor that died."""

# mypy: disable-error-code="import-untyped"

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import ControlLists
from celeriac.brokers.redis.rights import Part, operator_rights
from celeriac.pool.model import QueueLayout
from tests.cluster.ports import HOST
from tests.integration.brokers import broker_of, producer
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

PREFIX = "shop[1]:"
LAYOUT = QueueLayout(key_prefix=PREFIX)
MONITOR = "celeryev.0b5f8a1e-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def one_server() -> Iterator[RedisServer]:
    """One of their own: a story makes a user in it."""
    with RedisServer() as running:
        yield running


async def look(server: RedisServer, user: str = "") -> ControlLists:
    async with broker_of(BrokerAddress(f"redis://{user}{HOST}:{server.port}/0")) as broker:
        return await broker.control_lists.look(LAYOUT)


def ask_and_die(server: RedisServer, **settings: str) -> str:
    """Somebody asks all workers, and is killed before one has answered; the key of the list with the answer."""
    app = producer(server, global_keyprefix=PREFIX)
    app.conf.update(settings)
    box = app.control.mailbox
    with app.connection_for_write() as connection:
        queue = box.get_reply_queue()(connection.default_channel)
        queue.declare()
        with connection.Producer() as answering:
            answering.publish({"worker": "pong"}, exchange=box.reply_exchange, routing_key=box.oid)
    key = f"{PREFIX}{queue.name}"
    with server.client() as client:
        assert client.llen(key) == 1
    return key


@contextmanager
def monitored(server: RedisServer, **settings: str) -> Iterator[str]:
    """A monitor that has stopped to read, and an event that was restored to its list: the key of that."""
    app = producer(server, global_keyprefix=PREFIX)
    app.conf.update(settings)
    with app.connection_for_write() as connection:
        queue = app.events.Receiver(connection).queue(connection.default_channel)
        queue.declare()
        key = f"{PREFIX}{queue.name}"
        with server.client() as client:
            client.lpush(key, json.dumps({"body": "x" * 500, "properties": {"delivery_tag": "1"}}))
        yield key


def send_event(server: RedisServer, number: int) -> None:
    with server.client() as client:
        client.sadd(f"{PREFIX}_kombu.binding.celeryev", f"#\x06\x16\x06\x16{MONITOR}")
        client.lpush(f"{PREFIX}{MONITOR}", json.dumps({"body": "x" * 500, "properties": {"delivery_tag": str(number)}}))


async def test_an_answer_that_expires_goes_by_itself_and_one_that_does_not_is_found(server: RedisServer) -> None:
    key = ask_and_die(server)
    with server.client() as client:
        expires = client.pttl(key) > 0
        assert bool((await look(server)).lists) is not expires, "kombu 5.7 lets them expire"
        client.persist(key)
    found = await look(server)
    assert [(each.key, each.length) for each in found.lists] == [(key, 1)]
    assert found.is_whole
    with server.client() as client:
        client.delete(f"{PREFIX}_kombu.binding.reply.celery.pidbox")
    assert await look(server) == found, "one without a binding is found by its name"


async def test_the_oldest_message_tells_a_list_that_is_read_from_one_that_nobody_reads(server: RedisServer) -> None:
    for number in range(3):
        send_event(server, number)
    (before,) = (await look(server)).lists
    assert (before.length, before.size > 1500) == (3, True)
    send_event(server, 3)
    (grown,) = (await look(server)).lists
    assert (grown.length, grown.oldest) == (4, before.oldest)
    with server.client() as client:
        client.rpop(f"{PREFIX}{MONITOR}")
    (read,) = (await look(server)).lists
    assert read.oldest != before.oldest


@pytest.mark.parametrize(
    "settings",
    [{}, {"event_queue_prefix": "shop.ev"}, {"event_exchange": "shopev"}],
    ids=["Celery's names", "another prefix", "another exchange"],
)
async def test_events_are_found_where_an_app_renames_their_exchange_or_their_queues(
    server: RedisServer, settings: dict[str, str]
) -> None:
    with monitored(server, **settings) as key:
        assert [each.key for each in (await look(server)).lists] == [key]


async def test_of_events_whose_binding_is_gone_celerys_own_prefix_tells(server: RedisServer) -> None:
    with monitored(server) as key, server.client() as client:
        client.delete(f"{PREFIX}_kombu.binding.celeryev")
        assert [each.key for each in (await look(server)).lists] == [key]


async def test_answers_are_found_by_each_name_of_remote_control_and_the_rule_of_celeriac_acl_is_enough(
    server: RedisServer,
) -> None:
    key = ask_and_die(server, control_exchange="shop.control")
    assert key.endswith(".reply.shop.control.pidbox")
    with server.client() as client:
        client.persist(key)
        rule = operator_rights([Part(LAYOUT, ("mail",), agent=True)]).rule().split()
        client.execute_command("ACL", "SETUSER", "op", "reset", "on", ">p", *rule)
    assert [each.key for each in (await look(server, "op:p@")).lists] == [key]


async def test_a_user_who_may_not_read_a_renamed_list_is_told_so(server: RedisServer) -> None:
    rule = operator_rights([Part(LAYOUT, ("mail",), agent=True)]).rule().split()
    with monitored(server, event_queue_prefix="ev"), server.client() as client:
        client.execute_command("ACL", "SETUSER", "op", "reset", "on", ">p", *rule)
        with pytest.raises(BrokerDoubt, match="ACL"):
            await look(server, "op:p@")


async def test_queues_and_what_only_looks_like_it_are_left_alone(server: RedisServer) -> None:
    producer(server, global_keyprefix=PREFIX).send_task("train", queue="mail")
    with server.client() as client:
        client.lpush(f"{PREFIX}celeryev.audit", "a queue of somebody's own")
        client.sadd(f"{PREFIX}_kombu.binding.celeryev", "#\x06\x16\x06\x16celeryev.audit", b"\xff\xfe", "short")
        client.set(f"{PREFIX}{MONITOR}", "no list")
    assert await look(server) == ControlLists((), True)


async def test_the_rule_of_celeriac_acl_is_enough_and_a_missing_right_is_named(server: RedisServer) -> None:
    send_event(server, 1)
    rule = operator_rights([Part(LAYOUT, ("mail",), agent=True)]).rule().split()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "op", "reset", "on", ">p", *rule)
    assert len((await look(server, "op:p@")).lists) == 1
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "op", "-sscan", "-pttl")
    with pytest.raises(BrokerDoubt, match=r"\+sscan"):
        await look(server, "op:p@")
