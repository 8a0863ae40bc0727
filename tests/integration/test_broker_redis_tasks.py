"""The counts of a pool's tasks, read from a real Redis that anybody may write to."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import AsyncIterator

import pytest
from celeriac_agent.tally import LONGEST_NAME, MOST_NAMES

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import RegistryEntry
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.task_counts import MOST_FIELDS
from celeriac.brokers.redis.url import parse
from celeriac.brokers.task_counts import BUCKETS, RAN, STATES, ended
from tests.cluster.ports import HOST
from tests.dialers import dialer
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

FILL = "for i = 1, ARGV[1] do redis.call('HSET', KEYS[1], 'failed|somebody-' .. i, 1) end"
NO_SCRIPTS = "on nopass ~* &* +@all -@scripting"


@pytest.fixture
async def broker(server: RedisServer) -> AsyncIterator[RedisBroker]:
    one = RedisBroker(parse(BrokerAddress(server.celery_url)), dialer())
    yield one
    await one.close()


async def test_counts_are_read_of_many_pools_and_of_none(server: RedisServer, broker: RedisBroker) -> None:
    with server.client() as client:
        for number in range(45):
            fields = {"names": 1, "known|work": 1, "failed|work": number + 1, "ran2|work": 1, "ran|work": 50_000}
            client.hset(f"shop:celeriac:uid-{number}:tasks", mapping=fields)
    answers = await broker.task_counts.read([("shop:", f"uid-{number}") for number in range(46)])
    for number, rows in enumerate(answers[:45]):
        assert not isinstance(rows, BrokerDoubt)
        assert list(rows) == ["work"]
        assert (ended(rows["work"]), rows["work"][RAN + 2], rows["work"][RAN + BUCKETS]) == (number + 1, 1, 50_000)
    assert answers[45] == {}


async def test_a_user_without_scripts_gets_the_same(server: RedisServer, broker: RedisBroker) -> None:
    with server.client() as client:
        client.hset("celeriac:uid:tasks", mapping={"failed|work": 3, "known|work": 1, "names": 1})
        client.execute_command("ACL", "SETUSER", "plain", *NO_SCRIPTS.split())
    plain = RedisBroker(parse(BrokerAddress(f"redis://plain:x@{HOST}:{server.port}/0")), dialer())
    try:
        assert await plain.task_counts.read([("", "uid")]) == await broker.task_counts.read([("", "uid")])
    finally:
        await plain.close()


async def test_what_somebody_else_keeps_there_costs_its_own_pool_and_little(
    server: RedisServer, broker: RedisBroker
) -> None:
    with server.client() as client:
        client.eval(FILL, 1, "celeriac:full:tasks", 100_000)
        client.set("celeriac:text:tasks", "x")
        client.hset("celeriac:long:tasks", mapping={"failed|" + "x" * 20_000_000: 1, "failed|work": 1})
        client.hset("celeriac:odd:tasks", mapping={"failed|a\nb": "1", "failed|work": "no", "x": "y" * 500, "": ""})
        client.hset("celeriac:good:tasks", mapping={"failed|work": 2})
    full, text, long, odd, good = await broker.task_counts.read(
        [("", uid) for uid in ("full", "text", "long", "odd", "good")]
    )
    assert isinstance(full, BrokerDoubt)
    assert isinstance(text, BrokerDoubt)
    assert isinstance(long, BrokerDoubt)
    assert [full.reason, text.reason, long.reason] == [
        Reason.ANSWER_TOO_LARGE,
        Reason.BROKER_WRONG_TYPE,
        Reason.ANSWER_TOO_LARGE,
    ]
    assert "x" * 100 not in str(long)
    assert not isinstance(odd, BrokerDoubt)
    assert {name: ended(row) for name, row in odd.items()} == {"a\nb": 1}
    assert not isinstance(good, BrokerDoubt)
    assert {name: ended(row) for name, row in good.items()} == {"work": 2}


async def test_as_many_names_as_agents_write_are_read(server: RedisServer, broker: RedisBroker) -> None:
    histograms = [f"{what}{bucket}" for what in ("ran", "waited") for bucket in ("", *range(BUCKETS))]
    kinds = [*STATES, *histograms]
    names = [f"{number:x>{LONGEST_NAME}}" for number in range(MOST_NAMES)]
    fields = {f"{kind}|{name}": 123_456_789 for kind in kinds for name in (*names, "")}
    with server.client() as client:
        client.hset("celeriac:uid:tasks", mapping=fields)
    assert len(fields) < MOST_FIELDS
    (rows,) = await broker.task_counts.read([("", "uid")])
    assert not isinstance(rows, BrokerDoubt)
    assert set(rows) == {*names, ""}


async def test_a_forgotten_pool_leaves_no_counts(server: RedisServer, broker: RedisBroker) -> None:
    with server.client() as client:
        client.hset("celeriac:uid:tasks", mapping={"failed|work": 3})
        await broker.salvage.forget_pool(RegistryEntry("", "uid"))
        assert not client.exists("celeriac:uid:tasks")
