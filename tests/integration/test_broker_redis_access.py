"""Every way to reach a Redis that Celery has: passwords, ACL users, TLS, Sentinel, a unix socket."""

import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress, TlsMaterial
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.brokers.readings import QueueReading, QueueSet
from tests.cluster.ports import HOST, free_port
from tests.integration.brokers import Clock, broker_of, eventually, read_one, readings
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

PASSWORD = "s3cr3t"
FAR_FUTURE = datetime(2999, 1, 1, tzinfo=UTC).timestamp()


def address_of(server: RedisServer, tls: TlsMaterial | None = None) -> BrokerAddress:
    return BrokerAddress(server.celery_url, tls)


def push(server: RedisServer, *queues: str) -> None:
    """One message into each queue."""
    with server.client() as client:
        for queue in queues:
            client.lpush(queue, "{}")


async def doubt_of(broker: Broker) -> BrokerDoubt:
    """What the broker as a whole is doubted for; the message must hold no password."""
    with pytest.raises(BrokerDoubt) as raised:
        await broker.queues.read([QueueSet(("mail",))])
    assert PASSWORD not in str(raised.value)
    return raised.value


async def test_a_password_is_taken_from_the_url_and_a_wrong_one_is_told_but_not_shown() -> None:
    with RedisServer(password=PASSWORD) as server:
        push(server, "mail")
        async with broker_of(address_of(server)) as broker:
            assert (await read_one(broker, "mail")).waiting == 1
        for wrong in (f"redis://:{PASSWORD}-wrong@{HOST}:{server.port}/0", f"redis://{HOST}:{server.port}/0"):
            async with broker_of(BrokerAddress(wrong)) as broker:
                doubt = await doubt_of(broker)
            assert doubt.reason == Reason.BROKER_AUTHENTICATION_FAILED
            assert "Secret" in str(doubt)


@pytest.mark.parametrize(
    "rights",
    [
        pytest.param("~* &* +@all", id="all"),
        pytest.param("~* &* +@all -@dangerous", id="no INFO"),
        pytest.param("~* +@read +@connection +info +time", id="no scripts"),
        pytest.param("~* +@read +@connection +@scripting", id="neither INFO nor TIME"),
    ],
)
async def test_an_acl_user_needs_few_rights(rights: str) -> None:
    """A refused INFO, TIME or EVALSHA is no doubt: what is read is the same."""
    entry = '[{"body": "W10=", "headers": {"eta": null}}, "", "mail"]'
    later = '{"body": "W10=", "headers": {"eta": "2999-01-01T00:00:00+00:00"}}'
    with RedisServer(config=[f"user celery on >{PASSWORD} {rights}"]) as server, server.client() as client:
        client.lpush("mail", "{}", later)
        client.lpush("mail\x06\x163", "{}")
        client.hset("unacked", "tag", entry)
        async with broker_of(BrokerAddress(f"redis://celery:{PASSWORD}@{HOST}:{server.port}/0")) as broker:
            for _ in range(2):
                reading = await read_one(broker, "mail")
                assert reading.queues["mail"] == QueueReading(waiting=2, held=1, deferred=1, next_eta=FAR_FUTURE)
                assert reading.exact


async def test_a_server_that_may_drop_keys_is_read_and_told_and_a_user_who_may_not_ask_is_in_no_doubt() -> None:
    limited = f"user celery on >{PASSWORD} ~* +@all -info"
    with RedisServer(config=["maxmemory 64mb", "maxmemory-policy allkeys-lru", limited]) as server:
        async with broker_of(address_of(server)) as broker:
            durability = (await read_one(broker, "mail")).durability
        assert durability is not None
        assert not durability.holds
        assert "allkeys-lru" in durability.message
        async with broker_of(BrokerAddress(f"redis://celery:{PASSWORD}@{HOST}:{server.port}/0")) as broker:
            assert (await read_one(broker, "mail")).durability is None
    with RedisServer() as server:
        async with broker_of(address_of(server)) as broker:
            durability = (await read_one(broker, "mail")).durability
        assert durability is not None
        assert durability.holds


async def test_a_queue_that_the_acl_hides_spoils_only_its_own_pool() -> None:
    user = f"user celery on >{PASSWORD} ~mail* ~unacked* +@all"
    with RedisServer(config=[user]) as server:
        push(server, "mail", "ml")
        async with broker_of(BrokerAddress(f"redis://celery:{PASSWORD}@{HOST}:{server.port}/0")) as broker:
            mail, ml = await broker.queues.read([QueueSet(("mail",)), QueueSet(("ml",))])
    assert readings([mail])[0].waiting == 1
    assert isinstance(ml, BrokerDoubt)
    assert ml.reason == Reason.BROKER_PERMISSION_DENIED
    assert "~ml*" in str(ml)


async def test_a_database_that_does_not_exist_is_told() -> None:
    with RedisServer() as server:
        async with broker_of(BrokerAddress(f"redis://{HOST}:{server.port}/99")) as broker:
            doubt = await doubt_of(broker)
    assert doubt.reason == Reason.BROKER_URL_INVALID
    assert "number" in str(doubt)


async def test_a_unix_socket_is_reached_as_kombu_spells_it() -> None:
    with RedisServer(unix_socket=True) as server:
        push(server, "mail")
        async with broker_of(address_of(server)) as broker:
            assert (await read_one(broker, "mail")).waiting == 1


def material(server: RedisServer, *, client: bool) -> TlsMaterial:
    assert server.tls is not None
    if not client:
        return TlsMaterial(ca=server.tls.ca.read_text())
    return TlsMaterial(server.tls.ca.read_text(), server.tls.certificate.read_text(), server.tls.key.read_text())


async def test_a_server_certificate_is_verified_against_the_given_authority() -> None:
    with RedisServer(tls=True, password=PASSWORD) as server:
        push(server, "mail")
        async with broker_of(address_of(server, material(server, client=False))) as broker:
            assert (await read_one(broker, "mail")).waiting == 1
        async with broker_of(address_of(server)) as broker:
            doubt = await doubt_of(broker)
        assert doubt.reason == Reason.BROKER_TLS_FAILED
        assert "spec.broker.tls.caFrom" in str(doubt)
        async with broker_of(BrokerAddress(f"{server.celery_url}?ssl_cert_reqs=CERT_NONE")) as broker:
            assert (await read_one(broker, "mail")).waiting == 1


async def test_files_in_the_url_are_those_of_the_worker_and_the_operator_does_not_open_them() -> None:
    with RedisServer(tls=True) as server:
        url = f"{server.celery_url}?ssl_cert_reqs=required&ssl_ca_certs=/not/here/ca.crt&ssl_keyfile=/not/here/key"
        async with broker_of(BrokerAddress(url, material(server, client=False))) as broker:
            assert (await read_one(broker, "mail")).waiting == 0


async def test_a_client_certificate_is_shown_where_the_server_asks_for_one() -> None:
    with RedisServer(tls=True, client_certificates=True) as server:
        async with broker_of(address_of(server, material(server, client=True))) as broker:
            assert (await read_one(broker, "mail")).waiting == 0
        async with broker_of(address_of(server, material(server, client=False))) as broker:
            doubt = await doubt_of(broker)
    # With TLS 1.3 the refusal comes after the handshake: as an alert, or as a connection that is already closed.
    assert doubt.reason in (Reason.BROKER_TLS_FAILED, Reason.BROKER_CONNECTION_FAILED)
    assert "certificateFrom" in str(doubt)


@pytest.mark.parametrize(
    ("groups", "curve", "protocol"),
    [
        ("X25519", "prime256v1", "TLSv1.3"),
        ("P-521", "prime256v1", "TLSv1.3"),
        ("P-384", "secp384r1", "TLSv1.2"),
        ("P-521", "secp521r1", "TLSv1.2"),
    ],
)
async def test_a_server_takes_another_curve_than_the_one_that_is_offered_first(
    groups: str, curve: str, protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "openssl.cnf"
    settings.write_text(
        "openssl_conf = top\n[top]\nssl_conf = ssl\n[ssl]\nsystem_default = groups\n[groups]\n" + f"Groups = {groups}\n"
    )
    monkeypatch.setenv("OPENSSL_CONF", str(settings))
    with RedisServer(tls=True, curve=curve, config=[f"tls-protocols {protocol}"]) as server:
        push(server, "mail")
        async with broker_of(address_of(server, material(server, client=False))) as broker:
            assert (await read_one(broker, "mail")).waiting == 1


async def test_a_frozen_redis_that_does_not_end_its_side_of_tls_is_left_without_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "celeriac.brokers.redis.client")
    with RedisServer(tls=True) as server:
        async with broker_of(address_of(server, material(server, client=False))) as broker:
            assert (await read_one(broker, "mail")).waiting == 0
            server.freeze()
        server.thaw()
    assert "Timed out closing connection" in caplog.text


async def test_tls_and_plain_mixed_up_name_the_other_scheme() -> None:
    with RedisServer(tls=True) as encrypted, RedisServer() as plain:
        async with broker_of(BrokerAddress(f"redis://{HOST}:{encrypted.port}/0")) as broker:
            assert "rediss://" in str(await doubt_of(broker))
        async with broker_of(BrokerAddress(f"rediss://{HOST}:{plain.port}/0")) as broker:
            assert "redis://" in str(await doubt_of(broker))


@contextmanager
def sentinel(master: RedisServer, directory: Path) -> Iterator[redis.Redis]:
    """A Sentinel that watches `master` under the name shop; gives its client."""
    port = free_port()
    config = directory / "sentinel.conf"
    config.write_text(
        f'port {port}\nbind {HOST}\ndir "{directory}"\nsentinel monitor shop {HOST} {master.port} 1\n'
        f"sentinel auth-pass shop {PASSWORD}\n"
    )
    with (directory / "sentinel.log").open("wb") as log:
        process = subprocess.Popen(["redis-server", str(config), "--sentinel"], stdout=log, stderr=log)
    try:
        yield redis.Redis(host=HOST, port=port, decode_responses=True)
    finally:
        process.kill()
        process.wait()


@contextmanager
def synced(master: RedisServer) -> Iterator[None]:
    """Begin with a message in the queue mail that the replica has too; a Sentinel then finds both at once."""
    with master.client() as writer:
        writer.lpush("mail", "{}")
        assert writer.wait(1, 10_000) == 1
    yield


async def test_the_master_that_sentinel_names_is_followed_through_a_failover(tmp_path: Path) -> None:
    clock = Clock()
    with (
        RedisServer(password=PASSWORD, config=["repl-diskless-sync-delay 0"]) as master,
        RedisServer(password=PASSWORD, replicaof=master) as replica,
        synced(master),
        sentinel(master, tmp_path) as client,
    ):

        async def sentinel_knows_both() -> bool:
            try:
                replicas: Any = client.sentinel_slaves("shop")
            except redis.RedisError:
                return False
            return bool(replicas and replicas[0]["slave-repl-offset"])

        await eventually(sentinel_knows_both)
        port = client.connection_pool.connection_kwargs["port"]
        # The first Sentinel of the list is down: nothing listens there.
        url = f"sentinel://:{PASSWORD}@{HOST}:{free_port()}/0;sentinel://{HOST}:{port}"
        async with broker_of(BrokerAddress(url, sentinel_master="shop"), clock) as broker:
            assert (await read_one(broker, "mail")).waiting == 1
            client.sentinel_failover("shop")

            async def doubted() -> str | None:
                clock.moved += 1
                try:
                    await broker.queues.read([QueueSet(("mail",))])
                except BrokerDoubt as doubt:
                    return doubt.reason
                return None

            async def follows() -> bool:
                return await doubted() is None and replica.client().role()[0] == "master"

            # The new master has another run_id, so it is believed only after a while.
            await eventually(doubted)
            await eventually(follows)
            push(replica, "mail")
            assert (await read_one(broker, "mail")).waiting == 2


async def test_a_master_that_no_sentinel_knows_is_told(tmp_path: Path) -> None:
    with RedisServer(password=PASSWORD) as master, sentinel(master, tmp_path) as client:

        async def up() -> bool:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

        await eventually(up)
        port = client.connection_pool.connection_kwargs["port"]
        address = BrokerAddress(f"sentinel://:{PASSWORD}@{HOST}:{port}/0", sentinel_master="other")
        async with broker_of(address) as broker:
            doubt = await doubt_of(broker)
    assert doubt.reason == Reason.BROKER_CONNECTION_FAILED
    assert "sentinelMaster" in str(doubt)
