"""With exactly the rule that `celeriac acl` prints everything works, and each right that is taken away is named."""

from collections.abc import Iterator, Sequence

import pytest

from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import RegistryEntry
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import PoolReading, QueueSet
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.rights import Part, Rights, operator_rights, worker_rights
from celeriac.brokers.redis.url import parse
from celeriac.pool.model import QueueLayout
from tests.cluster.ports import HOST
from tests.dialers import dialer
from tests.integration.brokers import all_processes, producer
from tests.integration.gone_worker import GoneWorker
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

LAYOUT = QueueLayout(key_prefix="shop[1]:")
PART = Part(LAYOUT, ("mail", "a*b"), agent=True)
OPERATOR = operator_rights([PART])
WORKER = worker_rights([PART], results=True)
USER = "celery"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One for all of these stories."""
    with RedisServer() as running:
        yield running


def allow(server: RedisServer, rule: str, *changes: str, database: int = 0) -> BrokerAddress:
    """Let the user do what the rule says; the address that it comes by."""
    with server.client() as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", USER, "reset", "on", ">p", *rule.split(), *changes)
    return BrokerAddress(f"redis://{USER}:p@{HOST}:{server.port}/{database}")


def gone(server: RedisServer, *, started: bool = False, max_attempts: int = 5) -> GoneWorker:
    """A worker that took one message and is no more."""
    producer(server, global_keyprefix=LAYOUT.key_prefix).send_task("train", queue="mail")
    worker = GoneWorker(server, "orders-0", key_prefix=LAYOUT.key_prefix, max_attempts=max_attempts)
    worker.take("mail", started=started)
    return worker


async def lacking(address: BrokerAddress, rights: Rights) -> Sequence[str]:
    broker = RedisBroker(parse(address), dialer())
    try:
        return await broker.lacks(rights)
    finally:
        await broker.close()


@pytest.mark.parametrize("rights", [OPERATOR, WORKER], ids=["operator", "worker"])
async def test_each_right_that_is_taken_away_is_named_and_no_other(server: RedisServer, rights: Rights) -> None:
    address = allow(server, rights.rule())
    assert await lacking(address, rights) == ()
    for command in rights.commands:
        if command == "select":
            continue  # no database but 0 is reached without it
        assert await lacking(allow(server, rights.rule(), f"-{command}"), rights) == (f"+{command}",)
    for keys in rights.keys:
        others = Rights(rights.commands, tuple(each for each in rights.keys if each != keys), rights.channels)
        assert await lacking(allow(server, others.rule()), rights) == (f"~{keys.pattern}",)
    with server.client() as client:
        assert client.dbsize() == 0


async def test_a_database_that_the_user_may_not_choose(server: RedisServer) -> None:
    with pytest.raises(BrokerDoubt, match=r"\+select"):
        await lacking(allow(server, OPERATOR.rule(), "-select", database=3), OPERATOR)
    assert await lacking(allow(server, OPERATOR.rule(), database=3), OPERATOR) == ()


async def test_five_rights_that_are_missing_are_named_in_one_round(server: RedisServer) -> None:
    address = allow(server, OPERATOR.rule(), "-llen", "-hkeys", "-smembers", "-zrem", "-evalsha")
    assert set(await lacking(address, OPERATOR)) == {"+llen", "+hkeys", "+smembers", "+zrem", "+evalsha"}


async def test_a_reading_tells_all_that_its_user_lacks(server: RedisServer) -> None:
    address = allow(server, OPERATOR.rule(), "-llen", "-hkeys", "-hset", "-zrem", "-evalsha")
    broker = RedisBroker(parse(address), dialer())
    try:
        (doubt,) = await broker.queues.read([QueueSet(PART.queues, LAYOUT, agent="uid")])
    finally:
        await broker.close()
    assert isinstance(doubt, BrokerDoubt)
    for missing in ("+llen", "+hkeys", "+hset", "+zrem", "+evalsha"):
        assert missing in str(doubt)
    assert "~" not in str(doubt)
    assert "celeriac acl" in str(doubt)


async def test_a_restore_tells_all_that_its_user_lacks(server: RedisServer) -> None:
    address = allow(server, OPERATOR.rule(), "-zrem", "-hdel", "-evalsha", "-eval")
    gone(server)
    broker = RedisBroker(parse(address), dialer())
    try:
        (process,) = await all_processes(broker, LAYOUT.key_prefix)
        with pytest.raises(BrokerDoubt) as raised:
            await broker.salvage.restore(process, died=True)
    finally:
        await broker.close()
    for missing in ("+zrem", "+hdel", "+evalsha", "+eval"):
        assert missing in str(raised.value)


async def test_with_exactly_that_rule_the_operator_does_all_it_has_to(server: RedisServer) -> None:
    """Reads, marks, restores, takes over, forgets; and dead letters by hand."""
    address = allow(server, OPERATOR.rule())
    worker = gone(server)
    broker = RedisBroker(parse(address), dialer())
    try:
        (reading,) = await broker.queues.read([QueueSet(PART.queues, LAYOUT, agent=worker.pool_uid)])
        assert isinstance(reading, PoolReading)
        await broker.agents.mark(LAYOUT, worker.pool_uid, {"uid": "token", "other": None})
        (process,) = await all_processes(broker, LAYOUT.key_prefix)
        assert (await broker.salvage.restore(process, died=True)).restored == 1
        await broker.salvage.take_over(LAYOUT, PART.queues, older_than_seconds=0.0)
        await broker.salvage.forget_pool(RegistryEntry(LAYOUT.key_prefix, worker.pool_uid))
        deadly = gone(server, started=True, max_attempts=1)
        (process,) = await all_processes(broker, LAYOUT.key_prefix)
        assert (await broker.salvage.restore(process, died=True)).dead == 1
        await broker.salvage.forget_pool(RegistryEntry(LAYOUT.key_prefix, deadly.pool_uid))
        assert await broker.dead_letters.queues(LAYOUT) == {"mail": 1}
        assert await broker.dead_letters.requeue(LAYOUT, "mail") == 1
        (reading,) = await broker.queues.read([QueueSet(PART.queues, LAYOUT, agent=worker.pool_uid)])
        assert isinstance(reading, PoolReading)
        assert reading.queues["mail"].waiting == 2
    finally:
        await broker.close()
