"""From a pool to its broker: Secrets are read once, found again when they appear, and connections are shared."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from celeriac.api.keys import PoolKey
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.brokers.readings import PoolReading, QueueSet
from celeriac.cluster.errors import SecretKeyMissing, Unavailable
from celeriac.connecting.broker_access import RETRY_SECONDS, SECRET_SECONDS, BrokerAccess
from celeriac.pool.model import BrokerSpec, SecretKey, TlsSecrets, WorkerPool
from celeriac.scaling.policy import Policy

pytestmark = pytest.mark.unit


class Secrets(dict[tuple[str, str, str], str]):
    """Secrets as the API server would give them; `down` makes it unreachable."""

    down = False
    reads = 0

    async def read_secret_key(self, namespace: str, name: str, key: str) -> str:
        self.reads += 1
        if self.down:
            raise Unavailable(0, "Timeout", "the API server did not answer")
        if (namespace, name, key) not in self:
            raise SecretKeyMissing(namespace, name, key, secret_exists=False)
        return self[namespace, name, key]


class SilentBroker:
    """A connection that only notes that it was closed."""

    def __init__(self, address: BrokerAddress) -> None:
        self.address = address
        self.closed = False

    async def read(self, pools: Sequence[QueueSet]) -> Sequence[PoolReading | BrokerDoubt]:
        return [PoolReading() for _ in pools]

    async def close(self) -> None:
        self.closed = True


class Clock:
    """Time that only a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pool(name: str, secret: str = "broker") -> WorkerPool:
    return WorkerPool(
        key=PoolKey("team", name),
        uid=name,
        generation=1,
        image="app:1",
        app="app",
        broker=BrokerSpec(url_from=SecretKey(secret, "url")),
        policy=Policy(slots=1),
    )


class Bench:
    """A BrokerAccess with all that surrounds it."""

    def __init__(self) -> None:
        self.secrets, self.clock = Secrets(), Clock()
        self.resolved: list[PoolKey] = []
        self.made: list[SilentBroker] = []
        self.closed: list[BrokerAddress] = []
        self.access = BrokerAccess(self.secrets, self._connect, self.resolved.append, self.closed.append, self.clock)

    def _connect(self, address: BrokerAddress) -> Broker:
        self.made.append(SilentBroker(address))
        return cast(Broker, self.made[-1])  # reading and closing is all that is asked of it here

    async def lookup(self, wanted: WorkerPool) -> BrokerAddress | BrokerDoubt | None:
        self.access.lookup(wanted)
        for _ in range(5):
            await asyncio.sleep(0)
        return self.access.lookup(wanted)


async def test_two_pools_whose_secrets_hold_the_same_url_share_one_connection() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = bench.secrets["team", "copy", "url"] = "redis://redis:6379/0"
    one, two = await bench.lookup(pool("one")), await bench.lookup(pool("two", "copy"))
    assert isinstance(one, BrokerAddress)
    assert isinstance(two, BrokerAddress)
    assert bench.access.broker(one) is bench.access.broker(two)
    assert len(bench.made) == 1


async def test_a_missing_secret_is_a_doubt_that_names_it_and_heals_when_it_appears() -> None:
    bench = Bench()
    doubt = await bench.lookup(pool("one"))
    assert isinstance(doubt, BrokerDoubt)
    assert doubt.reason == "SecretNotFound"
    assert "broker" in str(doubt)
    bench.secrets["team", "broker", "url"] = "redis://redis:6379/0"
    bench.clock.now += RETRY_SECONDS
    assert isinstance(await bench.lookup(pool("one")), BrokerAddress)
    assert bench.resolved == [PoolKey("team", "one")] * 2


async def test_a_good_address_stays_in_use_while_the_api_server_is_away() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "redis://redis:6379/0"
    before = await bench.lookup(pool("one"))
    bench.secrets.down = True
    bench.clock.now += SECRET_SECONDS
    assert await bench.lookup(pool("one")) == before


async def test_a_secret_that_may_not_be_read_is_told() -> None:
    bench = Bench()
    bench.secrets.down = True
    doubt = await bench.lookup(pool("one"))
    assert isinstance(doubt, BrokerDoubt)
    assert doubt.reason == "SecretUnreadable"


async def test_a_connection_that_is_being_read_is_closed_only_afterwards() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "redis://redis:6379/0"
    address = await bench.lookup(pool("one"))
    assert isinstance(address, BrokerAddress)
    bench.access.broker(address)
    bench.access.retain(set(), busy={address})
    await asyncio.sleep(0)
    assert not bench.made[0].closed
    await bench.access.close()
    assert bench.made[0].closed


async def test_ticks_do_not_read_the_secret_again_until_its_time_or_until_it_is_refused() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "redis://:old@redis:6379/0"
    for _ in range(100):
        await bench.lookup(pool("one"))
    assert bench.secrets.reads == 1
    bench.secrets["team", "broker", "url"] = "redis://:new@redis:6379/0"
    bench.access.doubted(PoolKey("team", "one"), "AuthenticationFailed")
    bench.clock.now += RETRY_SECONDS
    address = await bench.lookup(pool("one"))
    assert isinstance(address, BrokerAddress)
    assert ":new@" in address.url


async def test_the_connection_of_the_last_pool_is_closed_and_its_password_is_never_shown() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "redis://:hunter2@redis:6379/0"
    address = await bench.lookup(pool("one"))
    assert isinstance(address, BrokerAddress)
    assert "hunter2" not in repr(address)
    bench.access.broker(address)
    await bench.access.close()
    assert bench.made[0].closed
    assert bench.closed == [address]


async def test_a_tls_section_beside_a_url_without_tls_is_told_instead_of_ignored() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "sentinel://redis:26379/0"
    bench.secrets["team", "broker", "ca"] = "a certificate"
    tls = TlsSecrets(ca=SecretKey("broker", "ca"))
    doubt = await bench.lookup(replace(pool("one"), broker=BrokerSpec(url_from=SecretKey("broker", "url"), tls=tls)))
    assert isinstance(doubt, BrokerDoubt)
    assert "rediss://" in str(doubt)
