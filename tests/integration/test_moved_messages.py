"""Messages are moved without being read whole, and come out as if they had been: byte for byte, in the same order."""

import asyncio
import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.cutting import LONG
from celeriac.brokers.redis.envelopes import LONGEST, in_hash
from celeriac.brokers.redis.url import parse
from celeriac.pool.model import QueueLayout
from tests.cluster.ports import HOST
from tests.dialers import dialer
from tests.integration.brokers import all_processes
from tests.integration.gone_worker import STARTED, GoneWorker
from tests.integration.redis_server import RedisServer
from tests.integration.whole_messages import Lists, after_a_crash, after_requeue

pytestmark = pytest.mark.integration

LAYOUT = QueueLayout()

PIECES = ("a", "\\", '"', '\\"', '\\\\"', "é", "\u2028", "😀", '{"body": "b"}, ', "\x00", "/", "]", "\ud800")
LONG_TEXTS = st.builds(lambda piece, times: piece * times, st.sampled_from(PIECES), st.sampled_from([1, 2, 300, 1100]))
TEXTS = st.text(max_size=20) | LONG_TEXTS | st.lists(LONG_TEXTS, max_size=3).map("".join)
ESCAPED = TEXTS.map(json.dumps)
COMPRESSED = TEXTS.map(lambda text: base64.b64encode(zlib.compress(text.encode(errors="replace"))).decode())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=5,
)
BODIES = ESCAPED | ESCAPED.map(json.dumps) | COMPRESSED | VALUES
SHORT = VALUES.filter(lambda value: len(json.dumps(value)) < LONG)
QUEUES = st.sampled_from(["mail", "mail", "batch", "", "Grüße"])
INFOS = st.fixed_dictionaries(
    {},
    optional={
        "celeriac_queue": QUEUES | SHORT,
        "celeriac_deaths": VALUES,
        "celeriac_dead": TEXTS,
        "body": TEXTS,
    },
)
PROPERTIES = st.fixed_dictionaries(
    {"delivery_info": INFOS | VALUES}, optional={"priority": st.integers(-1, 11) | VALUES, "delivery_tag": TEXTS}
)
HEADERS = st.fixed_dictionaries({"id": st.uuids().map(str)}, optional={"argsrepr": TEXTS, "body": BODIES, "eta": TEXTS})


def shuffled(message: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Whoever wrote it, other than kombu, may begin with anything."""
    return st.permutations(list(message.items())).map(dict)


MESSAGES = st.fixed_dictionaries(
    {"body": BODIES, "properties": PROPERTIES},
    optional={"headers": HEADERS | VALUES, "content-encoding": TEXTS, "content-type": TEXTS},
)
MESSAGES = MESSAGES | MESSAGES.flatmap(shuffled)
TWICE = MESSAGES.map(lambda message: json.dumps(message)[:-1] + ', "body": "' + "x" * 1500 + '"}')
LAYOUTS = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}])


def cut_short(text: bytes) -> st.SearchStrategy[bytes]:
    """What no kombu writes."""
    return st.integers(0, len(text) - 1).map(lambda length: text[:length])


TEXTS_OF_MESSAGES = st.builds(lambda message, how: json.dumps(message, **how), MESSAGES, LAYOUTS) | TWICE
LETTERS = TEXTS_OF_MESSAGES.map(str.encode)
ENTRIES = st.builds(
    lambda message, exchange, key: f"[{message}, {json.dumps(exchange)}, {json.dumps(key)}]".encode(),
    TEXTS_OF_MESSAGES,
    st.sampled_from(["", "", "topic", None]),
    QUEUES | SHORT,
)
NO_MESSAGES = ENTRIES.flatmap(cut_short) | VALUES.map(json.dumps).map(str.encode) | st.binary(max_size=30)
WHATEVER = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(params=["scripts", pytest.param("no scripts", marks=pytest.mark.full)])
def url(request: pytest.FixtureRequest, server: RedisServer) -> Iterator[str]:
    """Of a user that may run scripts, and of one that may not."""
    if request.param == "scripts":
        yield server.celery_url
        return
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "plain", "reset", "on", ">word", "~*", "+@all", "-@scripting")
    yield f"redis://plain:word@{HOST}:{server.port}/0"


@WHATEVER
@given(entries=st.lists(st.tuples(ENTRIES | NO_MESSAGES, st.booleans()), min_size=1, max_size=12))
def test_what_a_gone_worker_held_is_back_as_if_it_had_been_read_whole(
    server: RedisServer, url: str, entries: list[tuple[bytes, bool]]
) -> None:
    with server.client(decode_responses=False) as client:
        client.flushall()
        gone = GoneWorker(server)
        for number, (entry, started) in enumerate(entries):
            client.hset(gone.unacked, f"tag-{number:02}", entry)
            client.zadd(gone.index, {f"tag-{number:02}": 1000 + number + STARTED * started})
    asyncio.run(restore_all(url))
    assert lists_of(server) == after_a_crash(entries)


@pytest.mark.full
@WHATEVER
@given(letters=st.lists(LETTERS | NO_MESSAGES, min_size=1, max_size=12), again=st.booleans())
def test_dead_letters_are_back_as_if_they_had_been_read_whole(
    server: RedisServer, url: str, letters: list[bytes], again: bool
) -> None:
    """Some are there twice: each of the two is moved."""
    letters = letters * 2 if again else letters
    with server.client(decode_responses=False) as client:
        client.flushall()
        client.lpush("celeriac:dead:mail", *letters)
    asyncio.run(requeue_all(url))
    assert lists_of(server) == after_requeue(letters, "mail")


def test_what_tells_the_arguments_of_a_task_does_not_leave_redis(server: RedisServer) -> None:
    headers = {"argsrepr": "(SECRET,)", "kwargsrepr": "{SECRET}", "long": "SECRET" * LONG, "id": "1"}
    entry = json.dumps([{"headers": headers, "body": "SECRET", "properties": {}}, "", "mail"])
    with server.client() as client:
        client.hset("unacked", "tag", entry)

    async def read() -> Any:
        async with redis.asyncio.Redis.from_url(server.url, protocol=2) as connection:
            return await in_hash(connection, "unacked", [b"tag"], [len(entry)])

    (envelope,) = asyncio.run(read())
    assert b'"id": "1"' in envelope.text
    assert b"SECRET" not in envelope.text


def test_who_would_go_into_a_queue_whose_name_is_longer_than_any_is_kept_apart(server: RedisServer) -> None:
    """Nobody reads such a name, and it is no reason to read or to lose the message."""
    entry = json.dumps([{"body": "b" * LONG, "properties": {}}, "", "q" * (LONG + 1)]).encode()
    with server.client() as client:
        gone = GoneWorker(server)
        client.hset(gone.unacked, "tag", entry)
    asyncio.run(restore_all(server.celery_url))
    assert lists_of(server) == {"celeriac:dead:unroutable": [entry]}


def test_an_envelope_that_is_longer_than_any_is_kept_apart_with_its_body(server: RedisServer) -> None:
    """A quarter of a MiB in short headers: it is neither read nor lost, and the others are back."""
    headers = {f"header-{number}": "text" for number in range(LONGEST // 20)}
    entry = json.dumps([{"headers": headers, "body": "b" * LONG, "properties": {}}, "", "mail"]).encode()
    honest = json.dumps([{"headers": {"long": "x" * LONGEST}, "body": "", "properties": {}}, "", "mail"]).encode()
    with server.client() as client:
        gone = GoneWorker(server)
        client.hset(gone.unacked, mapping={"tag": entry, "other": honest})
    asyncio.run(restore_all(server.celery_url))
    found = lists_of(server)
    assert found.pop("celeriac:dead:unroutable") == [entry]
    assert found == after_a_crash([(honest, False)])


async def restore_all(url: str) -> None:
    broker = RedisBroker(parse(BrokerAddress(url)), dialer())
    try:
        (process,) = await all_processes(broker)
        await broker.salvage.restore(process, died=True)
    finally:
        await broker.close()


async def requeue_all(url: str) -> None:
    broker = RedisBroker(parse(BrokerAddress(url)), dialer())
    try:
        await broker.dead_letters.requeue(LAYOUT, "mail")
    finally:
        await broker.close()


def lists_of(server: RedisServer) -> Lists:
    """All lists that are there."""
    with server.client(decode_responses=False) as client:
        names: Sequence[bytes] = list(client.scan_iter(_type="list"))
        return {name.decode(): client.lrange(name, 0, -1) for name in names}
