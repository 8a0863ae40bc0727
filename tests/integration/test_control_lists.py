"""What Celery's own tools leave in a real Redis: answers that come too late, events for a monitor that died."""

# mypy: disable-error-code="import-untyped"

import json
from collections.abc import Iterator

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


def ask_and_die(server: RedisServer) -> str:
    """Somebody asks all workers, and is killed before one has answered; the key of the list with the answer."""
    app = producer(server, global_keyprefix=PREFIX)
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
