"""A broker URL means to the operator what it means to the workers: kombu's own parser is the judge."""

import ssl
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.connection import Connection
from kombu.transport.redis import Channel, SentinelTransport, Transport

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress, SentinelAccess, TlsMaterial
from celeriac.brokers.connect import connect, place_of
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.tls_contexts import tls_context
from celeriac.brokers.redis.url import RedisTarget, parse
from tests.dialers import dialer

pytestmark = pytest.mark.unit

SECRET = "s3cr3t"


class _KombuChannel(Channel):
    """As much of kombu's channel as computes the connection's parameters; it connects to nothing."""

    max_connections = 0

    def __init__(self, url: str) -> None:
        port = SentinelTransport.default_port if url.startswith("sentinel") else Transport.default_port
        client = Connection(url)  # type: ignore[no-untyped-call]
        self.connection = type("OfTheChannel", (), {"client": client, "default_port": port})()


def kombu_parameters(url: str) -> dict[str, Any]:
    parameters: dict[str, Any] = _KombuChannel(url)._connparams()  # type: ignore[no-untyped-call]
    return parameters


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis.queues",
        "redis://redis.queues/",
        "redis://redis.queues:6380/3",
        "redis://redis.queues//3",
        f"redis://:{SECRET}@redis.queues:6379/0",
        f"redis://celery:{SECRET}@redis.queues/7",
        "redis://:a%2Fb%40c%3Fd%23e%25@redis.queues/0",
        "redis://[::1]:6379/2",
        "rediss://redis.queues:6379/1?ssl_cert_reqs=CERT_NONE",
        "rediss://redis.queues/1?ssl_cert_reqs=required&ssl_ca_certs=/var/tls/ca.crt",
        "redis+socket:///run/redis/redis.sock",
        "redis+socket:///run/redis/redis.sock?virtual_host=4",
        f"redis+socket://:{SECRET}@/run/redis/redis.sock?virtual_host=4",
        f"sentinel://:{SECRET}@s1:26379/5",
        "sentinel://s1",
    ],
)
def test_a_url_leads_where_kombu_would_go(url: str) -> None:
    target = parse(BrokerAddress(url, sentinel_master="mymaster"))
    kombu = kombu_parameters(url)
    assert (target.path, target.database) == (kombu.get("path"), kombu["db"])
    assert (target.username, target.password) == (kombu["username"], kombu["password"])
    if not target.path:
        assert target.nodes == ((kombu["host"], kombu["port"]),)
    if "ssl_cert_reqs" in kombu:
        assert target.tls
        assert target.verify == kombu["ssl_cert_reqs"]


def test_a_list_of_sentinels_takes_database_and_password_from_the_first_as_kombu_does() -> None:
    url = f"sentinel://:{SECRET}@s1:26379/3;sentinel://s2;sentinel://s3:26380/9"
    target = parse(BrokerAddress(url, sentinel_master="mymaster"))
    assert target.nodes == (("s1", 26379), ("s2", 26379), ("s3", 26380))
    assert (target.database, target.password) == (kombu_parameters(url)["db"], SECRET)


def test_rediss_alone_verifies_the_server_although_kombu_does_not() -> None:
    target = parse(BrokerAddress("rediss://redis.queues/0"))
    assert (target.tls, target.verify, target.check_hostname) == (True, ssl.CERT_REQUIRED, True)


def test_certificates_from_secrets_make_a_plain_url_speak_tls_as_broker_use_ssl_does() -> None:
    assert parse(BrokerAddress("redis://redis.queues/0", tls=TlsMaterial())).tls


@pytest.mark.parametrize(
    ("url", "reason", "cure"),
    [
        (f"{SECRET}", Reason.BROKER_URL_INVALID, "redis://HOST:6379/0"),
        ("", Reason.BROKER_URL_INVALID, "redis://HOST:6379/0"),
        (f"redis://:{SECRET}/with-a-slash@host:6379/0", Reason.BROKER_URL_INVALID, "%2F"),
        (f"redis://user:12/{SECRET}@host:6379/0", Reason.BROKER_URL_INVALID, "%2F"),
        (f"redis://{SECRET}?x@host/0", Reason.BROKER_URL_INVALID, "%3F"),
        (f"redis://:{SECRET}#x@host/0", Reason.BROKER_URL_INVALID, "%23"),
        (f"redis://:{SECRET}@host:port/0", Reason.BROKER_URL_INVALID, "port as a number"),
        (f"redis://:{SECRET}@host:99999/0", Reason.BROKER_URL_INVALID, "port as a number"),
        (f"redis://:{SECRET}@/0", Reason.BROKER_URL_INVALID, "names no host"),
        (f"redis://:{SECRET}@host/queues", Reason.BROKER_URL_INVALID, "number of the database"),
        (f"rediss://:{SECRET}@host/0?ssl_cert_reqs=maybe", Reason.BROKER_URL_INVALID, "CERT_NONE"),
        (f"redis://:{SECRET}@h1/0;redis://h2/0", Reason.BROKER_UNSUPPORTED, "sentinel://"),
        (f"sentinel://:{SECRET}@s1/0", Reason.BROKER_URL_INVALID, "spec.broker.sentinelMaster"),
        (";".join(f"sentinel://{SECRET}{n}" for n in range(17)), Reason.BROKER_URL_INVALID, "three or five"),
        (f"redis://{SECRET * 50}/0", Reason.BROKER_URL_INVALID, "longer than 253 characters"),
        (f"redis+socket://host{SECRET}", Reason.BROKER_URL_INVALID, "redis+socket:///path"),
        (f"redis://:{SECRET}@host?db=3", Reason.BROKER_URL_INVALID, "must not have the option db"),
        (f"redis://:{SECRET}@host/0?credential_provider=a.B", Reason.BROKER_URL_INVALID, "a user whose password stays"),
        (f"redis+cluster://:{SECRET}@host/0", Reason.BROKER_UNSUPPORTED, "Redis Cluster"),
        (f"amqp://guest:{SECRET}@host//", Reason.BROKER_UNSUPPORTED, "redis://"),
        (f"unix://:{SECRET}@/run/redis.sock", Reason.BROKER_UNSUPPORTED, "redis+socket://"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_its_cure_and_never_repeated(url: str, reason: str, cure: str) -> None:
    with pytest.raises(BrokerDoubt) as refusal:
        connect(BrokerAddress(url, sentinel_master="shop" if url.count(";") > 1 else None), dialer())
    assert refusal.value.reason == reason
    assert cure in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_a_server_is_offered_no_handshake_that_costs_much() -> None:
    context = tls_context(RedisTarget(tls=True), TlsMaterial())
    exchanges: set[Any] = {cipher["kea"] for cipher in context.get_ciphers()}
    assert exchanges == {"kx-ecdhe", "kx-any"}
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_an_address_and_its_target_print_no_password() -> None:
    address = BrokerAddress(f"redis://celery:{SECRET}@redis.queues/0", TlsMaterial(private_key=SECRET))
    target = parse(address)
    assert isinstance(target, RedisTarget)
    assert SECRET not in f"{address!r} {target!r} {target.where}"


@pytest.mark.parametrize(
    ("tls", "cure"),
    [
        (TlsMaterial(ca="no PEM"), "spec.broker.tls.caFrom"),
        (TlsMaterial(certificate="no PEM", private_key="no PEM"), "privateKeyFrom"),
        (TlsMaterial(certificate="no PEM"), "privateKeyFrom"),
    ],
)
def test_a_certificate_that_is_no_certificate_is_told_before_any_connection(tls: TlsMaterial, cure: str) -> None:
    with pytest.raises(BrokerDoubt) as refusal:
        connect(BrokerAddress("rediss://redis.queues/0", tls), dialer())
    assert refusal.value.reason == Reason.BROKER_TLS_FAILED
    assert cure in str(refusal.value)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("redis://:old@redis:6379/1", "redis://:new@redis/1", True),
        ("redis://redis/1", "redis://user:password@redis/1?connect_timeout=5", True),
        ("redis://redis/1", "redis://redis/2", False),
        ("redis://redis/1", "redis://another/1", False),
        ("redis+socket:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0", True),
    ],
)
def test_a_rotated_password_leads_to_the_same_place(first: str, second: str, same: bool) -> None:
    places = [place_of(BrokerAddress(url)) for url in (first, second)]
    assert (places[0] == places[1]) is same
    assert not [place for place in places if "old" in place or "password" in place]


LINES = (
    "%0d%0aFLUSHALL%0d%0a",
    "%00",
    "%1b%5b2J",
    "%7f",
    "%c2%85",
    "%e2%80%a8",
    "%0A",
    "%09",
    "\r\nQUIT",
    "\x00",
    "\t",
)


@pytest.mark.parametrize("control", LINES)
@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://user{}:hunter2@host/0", "its user"),
        ("redis://:hunter2{}@host/0", "its password"),
        ("rediss://:hunter2{}@host/0", "its password"),
        ("redis://host{}/0", "its host"),
        ("sentinel://:hunter2@a/0;sentinel://b{}/0", "its host"),
        ("redis+socket:///run/redis{}.sock", "the path of its socket"),
    ],
)
def test_what_would_be_lines_of_their_own_to_another_service_is_refused_by_the_name_of_its_place(
    url: str, what: str, control: str
) -> None:
    with pytest.raises(BrokerDoubt) as refusal:
        connect(BrokerAddress(url.format(control), None, "main"), dialer())
    assert refusal.value.reason == Reason.BROKER_URL_INVALID
    assert "holds a line end or another control character" in str(refusal.value)
    assert (what if "%" in control else "it") in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("access", "master", "what"),
    [
        (SentinelAccess("user\n", "hunter2"), "main", "spec.broker.sentinel.usernameFrom"),
        (SentinelAccess("user", "hunter2\n"), "main", "spec.broker.sentinel.passwordFrom"),
        (None, "main\r\n", "spec.broker.sentinelMaster"),
    ],
)
def test_so_is_what_sentinels_would_be_told(access: SentinelAccess | None, master: str, what: str) -> None:
    with pytest.raises(BrokerDoubt, match=what) as refusal:
        connect(BrokerAddress("sentinel://s/0", None, master, access), dialer())
    assert "hunter2" not in str(refusal.value)


def test_a_line_end_behind_a_url_is_no_matter() -> None:
    connect(BrokerAddress("redis://:hunter2@host/0\n"), dialer())


URLS = st.builds(
    "{}://{}".format,
    st.sampled_from(["redis", "rediss", "sentinel", "redis+socket", "redis+cluster", ""]),
    st.text(max_size=30) | st.from_regex(r"[a-z0-9:@/\[\]%?#;&=.]{0,40}", fullmatch=True),
)


LONG = st.sampled_from([f"redis://h/{'9' * 5000}", f"redis://h:{'9' * 5000}/0"])


@settings(max_examples=200, deadline=None)
@given(URLS | LONG, st.sampled_from([None, "main"]))
def test_whatever_a_secret_holds_is_a_place_or_a_doubt(url: str, master: str | None) -> None:
    """All places are named together: an error for one URL would be an error for all pools."""
    with suppress(BrokerDoubt):
        assert place_of(BrokerAddress(url, None, master))
