"""From a pool to its broker's address: Secrets are read once, found again when they appear, and again once rotated."""

import asyncio
from dataclasses import replace

import pytest

from celeriac.api.keys import PoolKey
from celeriac.brokers.address import BrokerAddress, SentinelAccess, TlsMaterial
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.client import SecretText
from celeriac.cluster.errors import SecretKeyMissing, Unavailable
from celeriac.connecting.credentials import RETRY_SECONDS, SECRET_SECONDS, BrokerSource, Credentials
from celeriac.pool.model import BrokerSpec, QueueLayout, SecretKey, SentinelSecrets, TlsSecrets, WorkerPool
from tests.unit.builders.pools import pool as a_pool

pytestmark = pytest.mark.unit


class Secrets(dict[tuple[str, str, str], str]):
    """Secrets as the API server would give them; `down` makes it unreachable. All have the same uid."""

    down = False
    reads = 0
    uid = "4b0c"

    async def read_secret_key(self, namespace: str, name: str, key: str) -> SecretText:
        self.reads += 1
        if self.down:
            raise Unavailable(0, "Timeout", "the API server did not answer")
        if (namespace, name, key) not in self:
            raise SecretKeyMissing(namespace, name, key, secret_exists=False)
        return SecretText(self[namespace, name, key], self.uid)


class Clock:
    """Time that only a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pool(name: str, secret: str = "broker", key_prefix: str = "") -> WorkerPool:
    source = BrokerSpec(url_from=SecretKey(secret, "url"), layout=QueueLayout(key_prefix))
    return a_pool(key=PoolKey("team", name), uid=name, broker=source)


class Bench:
    """Credentials with all that surrounds them."""

    def __init__(self) -> None:
        self.secrets, self.clock = Secrets(), Clock()
        self.changed: list[PoolKey] = []
        self.credentials = Credentials(self.secrets, self.changed.append, self.clock)

    async def address(self, wanted: WorkerPool) -> BrokerAddress | BrokerDoubt | None:
        self.credentials.of_pool(wanted)
        for _ in range(5):
            await asyncio.sleep(0)
        return self.credentials.of_pool(wanted)


async def test_pools_that_name_the_same_secret_have_it_read_once_and_both_hear_of_it() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "redis://redis:6379/0"
    one, two = pool("one"), pool("two", key_prefix="two:")
    bench.credentials.of_pool(one)
    assert await bench.address(two) == await bench.address(one) == BrokerAddress("redis://redis:6379/0")
    assert (bench.secrets.reads, bench.changed) == (1, [one.key, two.key])


async def test_a_missing_secret_is_a_doubt_that_names_it_and_heals_when_it_appears() -> None:
    bench = Bench()
    doubt = await bench.address(pool("one"))
    assert isinstance(doubt, BrokerDoubt)
    assert doubt.reason == "SecretNotFound"
    assert "broker" in str(doubt)
    bench.secrets["team", "broker", "url"] = "redis://redis:6379/0"
    bench.clock.now += RETRY_SECONDS
    assert isinstance(await bench.address(pool("one")), BrokerAddress)
    assert bench.changed == [PoolKey("team", "one")] * 2


async def test_a_good_address_stays_in_use_while_the_api_server_is_away() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "redis://redis:6379/0"
    before = await bench.address(pool("one"))
    bench.secrets.down = True
    bench.clock.now += SECRET_SECONDS
    assert await bench.address(pool("one")) == before


async def test_what_the_sentinels_ask_for_is_read_and_a_change_of_it_is_one_of_the_broker() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "sentinel://:master@sentinel:26379/0"
    access = SentinelSecrets(
        SecretKey("sentinel", "user"), SecretKey("sentinel", "password"), TlsSecrets(SecretKey("ca", "ca.crt"))
    )
    broker = BrokerSpec(url_from=SecretKey("broker", "url"), sentinel_master="shop", sentinel=access)
    wanted = a_pool(key=PoolKey("team", "one"), uid="one", broker=broker)
    bench.secrets |= {("team", "sentinel", "user"): "operator", ("team", "ca", "ca.crt"): "PEM"}
    doubt = await bench.address(wanted)
    assert isinstance(doubt, BrokerDoubt)
    assert "password" in str(doubt)
    bench.secrets["team", "sentinel", "password"] = "old"
    bench.clock.now += RETRY_SECONDS
    address = await bench.address(wanted)
    assert isinstance(address, BrokerAddress)
    assert address.sentinel == SentinelAccess("operator", "old", TlsMaterial("PEM"))
    assert "old" not in repr(address)
    before = bench.credentials.digest_of_pool(wanted)
    bench.secrets["team", "sentinel", "password"] = "new"
    bench.clock.now += SECRET_SECONDS
    await bench.address(wanted)
    assert bench.credentials.digest_of_pool(wanted) != before


async def test_a_secret_that_may_not_be_read_is_told() -> None:
    bench = Bench()
    bench.secrets.down = True
    doubt = await bench.address(pool("one"))
    assert isinstance(doubt, BrokerDoubt)
    assert doubt.reason == "SecretUnreadable"


async def test_a_text_that_is_too_long_is_told_not_kept_and_not_read_every_few_seconds() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = f"redis://redis:6379/0{' ' * 1_000_000}"
    doubt = await bench.address(pool("one"))
    assert isinstance(doubt, BrokerDoubt)
    assert doubt.reason == "SecretUnreadable"
    assert "key url of Secret broker has 1000020 characters" in str(doubt)
    assert len(str(doubt)) < 200
    bench.clock.now += 2 * RETRY_SECONDS
    await bench.address(pool("one"))
    assert bench.secrets.reads == 1
    bench.secrets["team", "broker", "url"] = "redis://redis:6379/0"
    bench.clock.now += SECRET_SECONDS
    assert isinstance(await bench.address(pool("one")), BrokerAddress)


async def test_the_secret_is_not_read_again_until_its_time_or_until_it_is_refused() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "redis://:old@redis:6379/0"
    for _ in range(100):
        await bench.address(pool("one"))
    assert bench.secrets.reads == 1
    bench.secrets["team", "broker", "url"] = "redis://:new@redis:6379/0"
    bench.credentials.doubted(BrokerSource.of_pool(pool("one")), "AuthenticationFailed")
    bench.clock.now += RETRY_SECONDS
    address = await bench.address(pool("one"))
    assert isinstance(address, BrokerAddress)
    assert ":new@" in address.url
    assert "new" not in repr(address)


async def test_a_rotated_secret_is_found_within_a_minute_after_its_pool_was_deleted() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "redis://:old@redis:6379/0"
    await bench.address(pool("one"))
    source = BrokerSource.of_pool(pool("one"))
    bench.credentials.retain("autoscaling", set())
    bench.credentials.retain("recovery", {source})
    bench.secrets["team", "broker", "url"] = "redis://:new@redis:6379/0"
    bench.clock.now += SECRET_SECONDS
    bench.credentials.of(source)
    await asyncio.sleep(0)
    assert bench.credentials.of(source) == BrokerAddress("redis://:new@redis:6379/0")


async def test_what_nobody_needs_is_forgotten_and_read_anew_when_it_is_needed_again() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "redis://redis:6379/0"
    source = BrokerSource.of_pool(pool("one"))
    for user in ("autoscaling", "recovery"):
        bench.credentials.retain(user, {source})
    await bench.address(pool("one"))
    bench.credentials.retain("recovery", set())
    assert bench.credentials.of(source) is not None
    bench.credentials.retain("autoscaling", set())
    assert bench.credentials.of(source) is None
    await bench.credentials.close()


async def test_a_pool_that_is_made_anew_has_its_secret_read_again_at_once() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "redis://old:6379/0"
    await bench.address(pool("one"))
    bench.secrets["team", "broker", "url"] = "redis://new:6379/0"
    bench.clock.now += RETRY_SECONDS
    anew = replace(pool("one"), uid="another")
    assert await bench.address(anew) == BrokerAddress("redis://new:6379/0")


async def test_a_tls_section_beside_a_url_without_tls_is_told_instead_of_ignored() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "sentinel://redis:26379/0"
    bench.secrets["team", "broker", "ca"] = "a certificate"
    tls = TlsSecrets(ca=SecretKey("broker", "ca"))
    doubt = await bench.address(replace(pool("one"), broker=BrokerSpec(url_from=SecretKey("broker", "url"), tls=tls)))
    assert isinstance(doubt, BrokerDoubt)
    assert "rediss://" in str(doubt)


async def test_tls_material_that_was_rotated_makes_another_address() -> None:
    bench = Bench()
    bench.secrets["team", "broker", "url"] = "rediss://redis:6380/0"
    bench.secrets["team", "broker", "ca"] = "old"
    tls = TlsSecrets(ca=SecretKey("broker", "ca"))
    secured = replace(pool("one"), broker=BrokerSpec(url_from=SecretKey("broker", "url"), tls=tls))
    before = await bench.address(secured)
    bench.secrets["team", "broker", "ca"] = "new"
    bench.clock.now += SECRET_SECONDS
    assert isinstance(await bench.address(secured), BrokerAddress)
    assert await bench.address(secured) != before


async def test_a_changed_value_changes_the_digest_of_its_pools_and_nothing_else_does() -> None:
    bench, url = Bench(), ("team", "broker", "url")
    bench.secrets[url] = "redis://:old@redis:6379/0"

    async def digest() -> str | None:
        bench.clock.now += SECRET_SECONDS
        await bench.address(pool("one"))
        return bench.credentials.digest_of_pool(pool("one"))

    assert bench.credentials.digest_of_pool(pool("one")) is None, "nothing was read yet"
    first = await digest()
    assert first is not None
    assert "old" not in first
    bench.secrets["team", "broker", "unrelated"] = "x"
    assert await digest() == first
    bench.secrets[url] += "\n"
    second = await digest()
    assert second != first, "the worker sees the line break, though the operator strips it"
    assert bench.changed == [PoolKey("team", "one")] * 2
    del bench.secrets[url]
    assert await digest() == second, "a Secret that is gone changes nothing"
    bench.secrets[url] = "redis://:old@redis:6379/0"
    assert await digest() == first
    bench.secrets.uid = "77e1"
    assert await digest() != first, "who does not know the Secret's uid can try no password"


async def test_the_digest_covers_certificates_and_a_pool_without_secrets_has_none() -> None:
    bench = Bench()
    for key, text in (("url", "rediss://redis"), ("ca", "PEM 1")):
        bench.secrets["team", "broker", key] = text
    tls = BrokerSpec(url_from=SecretKey("broker", "url"), tls=TlsSecrets(ca=SecretKey("broker", "ca")))
    secured = replace(pool("one"), broker=tls)
    await bench.address(secured)
    before = bench.credentials.digest_of_pool(secured)
    bench.secrets["team", "broker", "ca"] = "PEM 2"
    bench.clock.now += SECRET_SECONDS
    await bench.address(secured)
    assert None is not bench.credentials.digest_of_pool(secured) != before
    plain = replace(pool("two"), broker=BrokerSpec(url="redis://redis"))
    await bench.address(plain)
    assert bench.credentials.digest_of_pool(plain) is None
