"""Host names as the operator looks them up, beside getaddrinfo, which workers use."""

import asyncio
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from celeriac.brokers.dialing.resolver import NAME_SECONDS, Address, Resolver
from tests.integration.name_server import NameServer

pytestmark = pytest.mark.integration

HOSTS = {
    "redis.shop.svc.cluster.local": ("10.1.2.3", "10.1.2.4", "fd00::7"),
    "redis.example.com": ("192.0.2.9",),
    "top": ("192.0.2.1",),
}


@pytest.fixture
def names() -> Iterator[NameServer]:
    domains = ("team.svc.cluster.local", "svc.cluster.local", "cluster.local")
    with NameServer(HOSTS, silent=("dead",), search=domains) as server:
        yield server


async def found(host: str, resolv_conf: Path | None = None) -> set[Address]:
    resolver = Resolver(resolv_conf)
    try:
        return set(await resolver.addresses(host))
    finally:
        await resolver.close()


def by_getaddrinfo(host: str) -> set[Address]:
    return {ip_address(each[4][0]) for each in socket.getaddrinfo(host, 6379, type=socket.SOCK_STREAM)}


def in_hosts_file() -> set[str]:
    """Names of /etc/hosts."""
    lines = [line.partition("#")[0].split() for line in Path("/etc/hosts").read_text().splitlines()]
    return {name for words in lines for name in words[1:]}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.1", "0177.1", "2130706433", "10.9", "::1", "fd00::7"])
async def test_an_address_in_any_form_is_what_getaddrinfo_makes_of_it(host: str) -> None:
    assert await found(host) == by_getaddrinfo(host)


@pytest.mark.parametrize("host", sorted(in_hosts_file() | {"localhost"}))
async def test_the_hosts_file_is_read_as_getaddrinfo_reads_it(host: str) -> None:
    ours, theirs = await found(host), by_getaddrinfo(host)
    # localhost has both its addresses here (RFC 6761), whatever the file says.
    assert theirs <= ours
    assert all(address.is_loopback for address in ours - theirs)


@pytest.mark.parametrize(
    ("host", "addresses", "asked"),
    [
        ("redis.shop", HOSTS["redis.shop.svc.cluster.local"], "redis.shop.team.svc.cluster.local"),
        ("redis.example.com", HOSTS["redis.example.com"], "redis.example.com.team.svc.cluster.local"),
        ("redis.example.com.", HOSTS["redis.example.com"], "redis.example.com"),
        ("TOP", HOSTS["top"], "top.cluster.local"),
    ],
)
async def test_search_domains_and_ndots_are_those_of_resolv_conf(
    names: NameServer, host: str, addresses: tuple[str, ...], asked: str
) -> None:
    assert await found(host, names.resolv_conf) == {ip_address(text) for text in addresses}
    assert asked in names.asked
    if host.endswith("."):
        assert set(names.asked) == {asked}


async def test_a_name_is_asked_for_once_at_a_time(names: NameServer) -> None:
    resolver = Resolver(names.resolv_conf)
    answers = await asyncio.gather(*(resolver.addresses("redis.example.com.") for _ in range(50)))
    assert len(set(answers)) == 1
    assert names.asked["redis.example.com"] == 2  # for IPv4 and for IPv6
    await resolver.close()


async def test_a_thousand_names_without_an_answer_keep_no_known_one_waiting(
    names: NameServer,
) -> None:
    resolver = Resolver(names.resolv_conf)
    await resolver.addresses("redis.shop")
    answered_first = False
    # The best of five: a busy machine delays everybody, a queue of names each time.
    for attempt in range(5):
        dead = [asyncio.create_task(resolver.addresses(f"dead-{attempt}-{number}.shop")) for number in range(1000)]
        await asyncio.sleep(0)
        began = time.monotonic()
        await resolver.addresses("redis.shop")
        answered_first = not any(each.done() for each in dead)
        errors = await asyncio.gather(*dead, return_exceptions=True)
        assert {error.errno for error in errors if isinstance(error, socket.gaierror)} == {socket.EAI_AGAIN}
        assert len(errors) == len(dead)
        assert time.monotonic() - began < 10 * NAME_SECONDS, "they waited beside each other"
        if answered_first:
            break
    assert answered_first
    await resolver.close()


@pytest.mark.parametrize("host", ["nobody.shop", "nobody.shop."])
async def test_a_name_that_is_not_known(names: NameServer, host: str) -> None:
    with pytest.raises(socket.gaierror) as failed:
        await found(host, names.resolv_conf)
    assert failed.value.errno == socket.EAI_NONAME


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "a b", "a/b", "a\nb", "-a", "x." * 130 + "x", "", "."])
async def test_what_cannot_be_a_name_is_asked_of_nobody(names: NameServer, host: str) -> None:
    with pytest.raises(UnicodeError):
        await found(host, names.resolv_conf)
    assert names.asked == {}
