"""Sentinels with a password or TLS of their own, as a widespread chart makes them: read, or told what is missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress, SentinelAccess, TlsMaterial
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import PoolReading, QueueSet
from tests.cluster.ports import HOST, free_port
from tests.integration.brokers import broker_of
from tests.integration.redis_server import RedisServer
from tests.integration.sentinel_server import SentinelServer, sentinel_server

pytestmark = pytest.mark.integration

PASSWORD, MASTERS = "s3cr3t", "m4ster"
ACL_USER = f"user operator on >{PASSWORD} -@all +auth +hello +ping +client +sentinel|masters"


@pytest.fixture(scope="module")
def master() -> Iterator[RedisServer]:
    """A Redis whose password is another one than its Sentinels'."""
    with RedisServer(password=MASTERS) as server:
        yield server


async def read(sentinel: SentinelServer, access: SentinelAccess | None, name: str = "shop") -> BrokerDoubt | None:
    """Why the queues cannot be read by that Sentinel; None where they can."""
    url = sentinel.url.replace("://", f"://:{MASTERS}@")
    async with broker_of(BrokerAddress(url, None, name, access)) as broker:
        try:
            (answer,) = await broker.queues.read([QueueSet(("mail",))])
        except BrokerDoubt as doubt:
            told = doubt
        else:
            assert isinstance(answer, PoolReading)
            return None
    assert PASSWORD not in str(told)
    assert MASTERS not in str(told)
    return told


async def test_a_sentinel_that_asks_for_a_password(master: RedisServer, tmp_path: Path) -> None:
    with sentinel_server(master, tmp_path, config=[f"requirepass {PASSWORD}"]) as sentinel:
        assert await read(sentinel, SentinelAccess(password=PASSWORD)) is None
        without = await read(sentinel, None)
        wrong = await read(sentinel, SentinelAccess(password="x"))
    assert without is not None
    assert without.reason == Reason.BROKER_AUTHENTICATION_FAILED
    assert "asks for a password: give it in spec.broker.sentinel.passwordFrom" in str(without)
    assert "refuses the user or password: give it in spec.broker.sentinel.passwordFrom" in str(wrong)


async def test_a_sentinel_with_users(master: RedisServer, tmp_path: Path) -> None:
    with sentinel_server(master, tmp_path, config=["user default off", ACL_USER]) as sentinel:
        assert await read(sentinel, SentinelAccess("operator", PASSWORD)) is None
        assert "spec.broker.sentinel" in str(await read(sentinel, None))


async def test_a_sentinel_that_speaks_tls(master: RedisServer, tmp_path: Path) -> None:
    with sentinel_server(master, tmp_path, tls=True) as sentinel:
        assert sentinel.tls is not None
        assert await read(sentinel, SentinelAccess(tls=TlsMaterial(sentinel.tls.ca.read_text()))) is None
        untrusted = await read(sentinel, SentinelAccess(tls=TlsMaterial()))
        plain = await read(sentinel, None)
    assert untrusted is not None
    assert untrusted.reason == Reason.BROKER_TLS_FAILED
    assert "spec.broker.sentinel.tls.caFrom" in str(untrusted)
    assert "spec.broker.sentinel.tls" in str(plain)


async def test_a_name_that_sentinel_does_not_know_and_a_master_that_is_down(tmp_path: Path) -> None:
    with RedisServer(password=MASTERS) as server, sentinel_server(server, tmp_path) as sentinel:
        other = await read(sentinel, None, name="other")
    assert "Sentinel watches no master of that name, but shop: correct spec.broker.sentinelMaster" in str(other)


async def test_no_sentinel_at_all() -> None:
    doubt = await read(SentinelServer(free_port()), None)
    assert doubt is not None
    assert "nothing listens at this port" in str(doubt)
    assert HOST in str(doubt)
