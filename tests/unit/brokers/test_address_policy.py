"""Which addresses the operator connects to, in all forms in which they can be written."""

import time
from ipaddress import ip_address

import pytest

from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.dialing.policy import (
    API_SERVER,
    EVERYWHERE,
    OWN,
    AddressPolicy,
    BrokerPattern,
    NotAllowed,
    network,
)
from celeriac.brokers.dialing.resolver import Resolver, literal

pytestmark = pytest.mark.unit

DENIED = {
    "a loopback address": (
        *("127.0.0.1", "127.255.255.254", "127.1", "0x7f.1", "0x7f000001", "0177.0.0.1", "2130706433", "017700000001"),
        *("::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "::ffff:0:127.0.0.1"),
        *("2002:7f00:1::", "2002:7f00:1:5::9", "64:ff9b::127.0.0.1", "64:ff9b:1::127.0.0.1", "2001:0:7f00:1::"),
        *("fd00::5efe:127.0.0.1", "fd00::200:5efe:127.0.0.1", "2001:0:a00:1:0:0:80ff:fffe"),
    ),
    "an unspecified address": ("0.0.0.0", "0", "0.0.0.7", "::", "::ffff:0.0.0.0", "64:ff9b::"),
    "a link-local address": ("169.254.1.1", "fe80::1", "fe80::1%2", "fe80::1%eth0", "febf::1", "::ffff:169.254.20.10"),
    "an address of a cloud's metadata service": (
        *("169.254.169.254", "2852039166", "0xa9fea9fe", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"),
        *("2002:a9fe:a9fe::", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16"),
        *("192.0.0.192", "fd00:42::42", "fd00:c1::a9fe:a9fe"),
    ),
    "a multicast address": ("224.0.0.1", "239.255.255.255", "ff02::1", "::ffff:224.0.0.1"),
    "a broadcast address": ("255.255.255.255", "4294967295", "::ffff:255.255.255.255"),
}
ALLOWED = (
    *("10.0.0.1", "172.16.0.1", "192.168.1.7", "100.64.0.9", "8.8.8.8", "240.0.0.9", "fd12:3456::1", "2001:db8::1"),
    *("::ffff:10.0.0.1", "64:ff9b::8.8.8.8", "2002:a00:1::", "10.1", "167772161"),
)


@pytest.mark.parametrize(("kind", "host"), [(kind, host) for kind, hosts in DENIED.items() for host in hosts])
def test_an_address_is_denied_in_whatever_form_it_is_written(kind: str, host: str) -> None:
    address = literal(host)
    assert address is not None
    assert AddressPolicy().denied(address) == kind
    with pytest.raises(NotAllowed, match=f"leads to {kind}.*brokers.allowAddresses"):
        AddressPolicy().permitted(host, 6379, [address])
    assert EVERYWHERE.denied(address) is None


@pytest.mark.parametrize("host", ALLOWED)
def test_addresses_of_clusters_and_of_the_world_are_allowed(host: str) -> None:
    address = literal(host)
    assert address is not None
    assert AddressPolicy().permitted(host, 6379, [address]) == [address]


@pytest.mark.parametrize("host", ["redis", "127.0.0.1 redis", "127.0.0.1\n", "1.2.3.4.5", "256.1.1.1", "0xredis", ""])
def test_what_is_no_address_is_a_name(host: str) -> None:
    assert literal(host) is None


@pytest.mark.parametrize(
    "host", ["\N{LATIN SMALL LETTER E WITH ACUTE}." * 500_000, "e" * 1_000_000, "fe80::1%" + "9" * 5000]
)
async def test_a_host_that_no_name_may_be_is_refused_at_no_cost(host: str) -> None:
    began = time.process_time()
    with pytest.raises(UnicodeError):
        await Dialer(AddressPolicy((BrokerPattern.parse("*e*e*e*x"),))).dial(host, 6379, seconds=1.0)
    with pytest.raises(UnicodeError):
        await Resolver().addresses(host)
    assert time.process_time() - began < 0.1


def test_the_api_server_and_the_operator_are_no_brokers() -> None:
    api, own = ip_address("10.96.0.1"), ip_address("10.1.2.3")
    policy = AddressPolicy(api_server=frozenset({api}))
    assert policy.denied(api) == API_SERVER
    assert policy.denied(ip_address("::ffff:10.96.0.1")) == API_SERVER
    assert policy.denied(own) is None
    assert policy.denied(own, own=True) == OWN


def test_denied_addresses_of_a_name_are_left_out_and_the_others_used() -> None:
    good, bad = ip_address("10.0.0.1"), ip_address("127.0.0.1")
    assert AddressPolicy().permitted("redis.shop", 6379, [bad, good, bad]) == [good]


def test_a_setting_widens_what_is_denied_and_nothing_else() -> None:
    policy = AddressPolicy(networks=(network("127.0.0.0/8"), network("10.96.0.1")), api_server=frozenset())
    assert policy.denied(ip_address("127.0.0.1")) is None
    assert policy.denied(ip_address("::ffff:127.0.0.1")) is None
    assert policy.denied(ip_address("::1")) == "a loopback address"
    assert policy.denied(ip_address("169.254.169.254")) == "an address of a cloud's metadata service"
    # Its server may be allowed, while its client is not.
    assert policy.denied(ip_address("2001:0:7f00:1:0:0:5601:5601")) == "an address of a cloud's metadata service"


@pytest.mark.parametrize(
    ("pattern", "host", "address", "port", "allows"),
    [
        ("redis.shop", "redis.shop", "10.0.0.1", 6379, True),
        ("redis.shop", "Redis.Shop.", "10.0.0.1", 6380, True),
        ("redis.shop:6379", "redis.shop", "10.0.0.1", 6380, False),
        ("redis.shop", "redis.shopping", "10.0.0.1", 6379, False),
        ("redis.shop", "redisxshop", "10.0.0.1", 6379, False),
        ("*.redis.svc", "a.redis.svc", "10.0.0.1", 6379, True),
        ("*.redis.svc", "a.b.redis.svc", "10.0.0.1", 6379, True),
        ("*.redis.svc", "redis.svc", "10.0.0.1", 6379, False),
        ("*.redis.svc", "a.redis.svc.evil.example", "10.0.0.1", 6379, False),
        ("*", "10.0.0.1", "10.0.0.1", 6379, True),
        ("redis-*.*.svc", "redis-1.shop.svc", "10.0.0.1", 6379, True),
        ("redis-*.*.svc", "redis-.svc", "10.0.0.1", 6379, False),
        ("ab*ba", "aba", "10.0.0.1", 6379, False),
        ("ab*ba", "abba", "10.0.0.1", 6379, True),
        ("*a*a*a*a*a*a*a*a*b", "a" * 253, "10.0.0.1", 6379, False),
        ("*a*b*", "xbxaxbx", "10.0.0.1", 6379, True),
        ("*a*b*", "xbxa", "10.0.0.1", 6379, False),
        ("*:6379", "any.thing", "10.0.0.1", 22, False),
        ("10.1.0.0/16", "redis.shop", "10.1.2.3", 6379, True),
        ("10.1.0.0/16", "redis.shop", "10.2.2.3", 6379, False),
        ("10.1.0.0/16:6379", "10.1.2.3", "10.1.2.3", 22, False),
        ("10.1.2.3:6379", "10.1.2.3", "10.1.2.3", 6379, True),
        ("fd00::/8", "redis.shop", "fd00::7", 6379, True),
        ("[fd00::7]:6379", "fd00::7", "fd00::7", 6379, True),
        ("[fd00::7]:6379", "fd00::7", "fd00::7", 6380, False),
        ("*", "localhost", "127.0.0.1", 6379, False),
        ("127.0.0.0/8", "localhost", "127.0.0.1", 6379, False),
    ],
)
def test_with_a_list_only_what_it_names_is_connected_to(
    pattern: str, host: str, address: str, port: int, allows: bool
) -> None:
    policy = AddressPolicy((BrokerPattern.parse(pattern),))
    try:
        policy.check_name(host, port)
        found = policy.permitted(host, port, [ip_address(address)])
    except NotAllowed:
        found = []
    assert bool(found) is allows


def test_a_name_that_no_pattern_names_is_refused_before_it_is_looked_up() -> None:
    with pytest.raises(NotAllowed, match=r"brokers\.allowed"):
        AddressPolicy((BrokerPattern.parse("redis.shop"),)).check_name("other.shop", 6379)
    AddressPolicy((BrokerPattern.parse("10.0.0.0/8"),)).check_name("other.shop", 6379)


def test_a_list_leaves_out_the_addresses_that_it_does_not_name() -> None:
    policy = AddressPolicy((BrokerPattern.parse("10.0.0.0/8"),))
    ours, other = ip_address("10.0.0.1"), ip_address("192.168.0.1")
    assert policy.permitted("redis.shop", 6379, [other, ours]) == [ours]


@pytest.mark.parametrize(
    "pattern", ["10.*", "10.0.0.0/33", "redis shop", "redis:port", "redis:0", "redis:70000", "", "a;b"]
)
def test_a_pattern_that_cannot_be_meant_is_refused_with_the_cure(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"write|port"):
        BrokerPattern.parse(pattern)


@pytest.mark.parametrize("text", ["localhost", "127.0.0.1/99", "", "127.*"])
def test_a_range_that_is_none_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(ValueError, match="CIDR"):
        network(text)


def test_no_address_that_a_name_leads_to_is_told() -> None:
    with pytest.raises(NotAllowed) as refused:
        AddressPolicy().permitted("inside.example", 6379, [ip_address("127.0.0.9"), ip_address("169.254.3.4")])
    assert "127.0.0.9" not in str(refused.value)
    assert "169.254.3.4" not in str(refused.value)
