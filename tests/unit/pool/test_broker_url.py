"""broker_url_problem: what kombu can use and we can read is accepted, everything else is answered with a cure."""

from typing import Any

import pytest
from kombu.connection import Connection
from kombu.utils.url import url_to_parts

from celeriac.pool.broker_url import broker_url_names_credentials, broker_url_problem

pytestmark = pytest.mark.unit

PASSWORD = "hunter2"

GOOD = [
    "redis://redis",
    "redis://redis:6379",
    "redis://redis:6379/",
    "redis://redis:6379/15",
    "redis://[::1]:6379/0",
    "redis://redis:6379/0\n",
    f"redis://:{PASSWORD}@redis:6379/0",
    f"redis://user:{PASSWORD}@redis:6379/0",
    f"redis://:{PASSWORD}%2F%40%23@redis:6379/0",
    f"rediss://:{PASSWORD}@redis:6380/0?ssl_cert_reqs=required",
    "sentinel://a:26379",
    f"sentinel://:{PASSWORD}@a:26379/1;sentinel://:{PASSWORD}@b:26379/1",
    "redis+socket:///run/redis.sock",
    "redis+socket:///run/redis.sock?virtual_host=2",
    "redis+socket:///run/redis.sock?virtual_host=2&client_name=shop",
    "rediss://redis/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.crt&connect_timeout=4",
    f"redis+socket://:{PASSWORD}@/run/redis.sock",
    "redis://my-redis-cluster.svc:6379/0",
]

BAD = [
    ("", "redis://"),
    ("redis", "redis://"),
    ("redis:6379/0", "redis://"),
    (f"amqp://guest:{PASSWORD}@rabbit//", "redis://"),
    ("REDIS://redis", "redis://"),
    (f"redis-cluster://:{PASSWORD}@redis:6379", "Redis Cluster"),
    ("rediss+cluster://redis:6379", "Redis Cluster"),
    ("rediscluster://redis:6379", "Redis Cluster"),
    ("redis://", "HOST"),
    (f"redis://:{PASSWORD}@/0", "HOST"),
    (f"redis://:{PASSWORD}@redis:port/0", "number for the port"),
    (f"redis://:{PASSWORD}@redis:70000/0", "number for the port"),
    (f"redis://:{PASSWORD}/x@redis:6379/0", "%2F"),
    (f"redis://:{PASSWORD}#x@redis:6379/0", "%23"),
    (f"redis://:{PASSWORD}?x@redis:6379/0", "%3F"),
    (f"redis://:{PASSWORD}[x@redis:6379/0", "%5B"),
    (f"redis://:{PASSWORD} x@redis:6379/0", "%20"),
    ("redis://redis:6379/prod", "database by its number"),
    (f"redis://:{PASSWORD}@a;redis://:{PASSWORD}@b", "one Redis"),
    (f"sentinel://:{PASSWORD}@a:26379;b:26379", "sentinel:// before each host"),
    ("sentinel://a:26379;redis://b:26379", "sentinel:// before each host"),
    ("sentinel://a:26379;sentinel://", "HOST"),
    ("sentinel://a:26379/x;sentinel://b", "database by its number"),
    ("redis+socket://run/redis.sock", "absolute path"),
    ("redis+socket://", "absolute path"),
    ("redis+socket:///run/redis.sock?virtual_host=x", "database by its number"),
    ("redis://" + "x" * 2000, "1024"),
    ("redis://redis:6379?db=3", "redis://HOST:PORT/DB"),
    ("redis://redis:6379/?virtual_host=3", "redis://HOST:PORT/DB"),
    (f"rediss://:{PASSWORD}@redis/0?ssl_cert_reqs=none&visibility_timeout=5", "broker_transport_options of the app"),
    ("redis://redis?global_keyprefix=shop:", "spec.broker.keyPrefix"),
    ("redis://redis?socket_timeout=5", "must not have the option socket_timeout"),
    ("redis://redis?credential_provider=redis_entraid.Provider", "a user whose password stays"),
    ("redis+socket:///run/redis.sock?db=3", "virtual_host"),
    ("redis+socket:///run/redis.sock?credential_provider=a.B", "a user whose password stays"),
    ("sentinel://a:26379?sentinel_kwargs=x", "spec.broker.sentinel"),
    (f"redis://redis?{PASSWORD}@=1", "%40"),
]


@pytest.mark.parametrize("url", GOOD)
def test_a_good_url_is_accepted(url: str) -> None:
    assert broker_url_problem(url) is None


@pytest.mark.parametrize(("url", "cure"), BAD)
def test_a_bad_url_is_answered_with_a_cure_and_never_repeated(url: str, cure: str) -> None:
    problem = broker_url_problem(url)
    assert problem is not None
    assert cure in problem
    assert PASSWORD not in problem


@pytest.mark.parametrize("url", [url for url in GOOD if url.startswith("redis") and "+" not in url])
def test_kombu_reads_a_host_and_a_database_out_of_what_is_accepted(url: str) -> None:
    parts = url_to_parts(url)
    assert parts.hostname
    assert int(parts.path or 0) >= 0
    assert parts.password is None or parts.password.startswith(PASSWORD)


@pytest.mark.parametrize("url", GOOD)
def test_a_user_or_a_password_is_noticed(url: str) -> None:
    assert broker_url_names_credentials(url) == (PASSWORD in url)


@pytest.mark.parametrize(
    "url", [url for url, cure in BAD if "?" in url and url.startswith("redis://redis") and "@" not in url]
)
def test_kombu_itself_fails_at_an_option_that_is_refused(url: str) -> None:
    """But for the one that newer kombu has, which the operator cannot use."""
    if "credential_provider" in url:
        return
    connect: Any = Connection  # untyped
    with pytest.raises(TypeError):
        connect(url)


def test_a_password_in_the_query_is_noticed() -> None:
    assert broker_url_names_credentials(f"redis://redis/0?db=1&password={PASSWORD}")
