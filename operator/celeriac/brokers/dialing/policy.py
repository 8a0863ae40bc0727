"""Which addresses the operator connects to on behalf of whoever may create a pool. Pure.

Whoever writes a broker URL chooses where the operator, with its place in the network, connects to. So addresses at
which no tenant's broker can be are denied, whatever name leads there, and the platform may list the brokers that exist.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

API_SERVER: Final = "an address of the API server"
OWN: Final = "an address of the operator's own Pod"

_DENIED: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("an unspecified address", ("0.0.0.0/8", "::/128")),
    ("a loopback address", ("127.0.0.0/8", "::1/128")),
    (
        # Addresses of clouds where no link-local one is used: AWS, Google, Oracle, Scaleway; Azure, Oracle, Alibaba.
        "an address of a cloud's metadata service",
        (
            *("169.254.169.254/32", "fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128"),
            *("168.63.129.16/32", "192.0.0.192/32", "100.100.100.200/32"),
        ),
    ),
    ("a link-local address", ("169.254.0.0/16", "fe80::/10")),
    ("a multicast address", ("224.0.0.0/4", "ff00::/8")),
    ("a broadcast address", ("255.255.255.255/32",)),
)
_CLASSES: Final = tuple((name, tuple(ip_network(each) for each in networks)) for name, networks in _DENIED)

# Where an IPv6 address holds an IPv4 one: a prefix, and after how many bits. IPv4-compatible, mapped (RFC 4291),
# translated (RFC 2765), NAT64 (RFC 6052, RFC 8215 with /96), 6to4 (RFC 3056), Teredo's server (RFC 4380).
_EMBEDDING: Final = tuple(
    (IPv6Network(prefix), bits)
    for prefix, bits in (
        ("::/96", 96),
        ("::ffff:0:0/96", 96),
        ("::ffff:0:0:0/96", 96),
        ("64:ff9b::/96", 96),
        ("64:ff9b:1::/48", 96),
        ("2002::/16", 16),
        ("2001::/32", 32),
    )
)
_TEREDO: Final = IPv6Network("2001::/32")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)
_CURE: Final = "name another host in the broker URL, or have"
_OF_THE_CHART: Final = "of the operator's chart"


class NotAllowed(Exception):
    """The platform does not let the operator connect there. The words name no address that a host was resolved to."""


@dataclass(frozen=True, slots=True)
class BrokerPattern:
    """Brokers that the platform allows: hosts by their names as URLs write them, or networks; `port` None: each.

    host  the parts of a name between which any characters may stand
    """

    host: tuple[str, ...] | None
    network: Network | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """HOST, CIDR or an address, each with :PORT or without; * in a host stands for any characters.

        Raises ValueError with the cure.
        """
        host, port = _split_port(text.strip().lower().removesuffix("."))
        network = _network(host)
        if network is not None:
            return cls(None, network, port)
        if re.fullmatch(r"[0-9.*]*[0-9.][0-9.*]*", host):
            raise ValueError("write a range of addresses as CIDR, as 10.0.0.0/8")
        if re.fullmatch(r"[a-z0-9_.*-]+", host) is None:
            raise ValueError("write HOST, HOST:PORT or CIDR; * in a host stands for any characters")
        return cls(tuple(host.split("*")), None, port)

    def names(self, host: str, port: int) -> bool:
        """Whether it allows this host whatever its addresses are."""
        return self.host is not None and self.port in (None, port) and _holds_in_turn(host, self.host)

    def holds(self, address: Address, port: int) -> bool:
        """Whether it allows this address."""
        return self.network is not None and self.port in (None, port) and _in(address, self.network)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What the platform allows.

    brokers       those that there may be; empty: all whose addresses are not denied
    networks      of denied addresses, those that are allowed all the same
    unix_sockets  whether redis+socket:// may be used
    api_server    the API server's own addresses
    """

    brokers: tuple[BrokerPattern, ...] = ()
    networks: tuple[Network, ...] = ()
    unix_sockets: bool = False
    api_server: frozenset[Address] = frozenset()

    def check_name(self, host: str, port: int) -> None:
        """Refuse before any name server is asked what no address could make right. Raises NotAllowed."""
        by_address = any(pattern.network is not None and pattern.port in (None, port) for pattern in self.brokers)
        if self.brokers and not by_address and not self._names(host, port):
            raise _not_listed()

    def permitted(
        self, host: str, port: int, addresses: Sequence[Address], *, own: Collection[Address] = ()
    ) -> list[Address]:
        """Those of a host's addresses that may be connected to; `own` are those of the operator itself.

        Raises NotAllowed where there is none: for the first of them that is denied.
        """
        allowed = [each for each in addresses if self.denied(each, own=each in own) is None]
        if not allowed:
            denied = next(filter(None, (self.denied(each, own=each in own) for each in addresses)), "no address")
            raise NotAllowed(
                f"it leads to {denied}, where the operator connects to no broker: {_CURE} that address added to"
                f" brokers.allowAddresses {_OF_THE_CHART} (--allow-broker-address)"
            )
        if self.brokers and not self._names(host, port):
            allowed = [each for each in allowed if any(pattern.holds(each, port) for pattern in self.brokers)]
            if not allowed:
                raise _not_listed()
        return allowed

    def denied(self, address: Address, *, own: bool = False) -> str | None:
        """The kind of denied address that this is; None for any other."""
        for face in _faces(address):
            kind = _class_of(face) or (API_SERVER if face in self.api_server else OWN if own else None)
            if kind is not None and not self._widened(face) and not self._widened(address):
                return kind
        return None

    def _widened(self, address: Address) -> bool:
        return any(_in(address, each) for each in self.networks)

    def check_unix_socket(self) -> None:
        """Raises NotAllowed."""
        if not self.unix_sockets:
            raise NotAllowed(
                "the operator opens no unix sockets: name a Redis that it reaches by the network, or have"
                f" brokers.allowUnixSockets {_OF_THE_CHART} set (--allow-unix-sockets)"
            )

    def _names(self, host: str, port: int) -> bool:
        name = host.lower().removesuffix(".")
        return any(pattern.names(name, port) for pattern in self.brokers)


EVERYWHERE: Final = AddressPolicy(networks=(ip_network("0.0.0.0/0"), ip_network("::/0")), unix_sockets=True)
"""Nothing is denied."""


def network(text: str) -> Network:
    """A network from CIDR or an address. Raises ValueError with the cure."""
    found = _network(text.strip())
    if found is None:
        raise ValueError("write a range of addresses as CIDR, as 127.0.0.0/8 or ::1/128")
    return found


def _not_listed() -> NotAllowed:
    return NotAllowed(
        f"it is not among the brokers that the platform allows: {_CURE} it added to brokers.allowed {_OF_THE_CHART}"
        " (--allowed-broker)"
    )


def _holds_in_turn(text: str, parts: Sequence[str]) -> bool:
    """Whether the parts follow one another in the text, the first at its beginning and the last at its end.

    Each is taken where it comes first: an expression would try all places of all parts, on a text of anybody's choice.
    """
    first, *others = parts
    if not others:
        return text == first
    *inner, last = others
    at, end = len(first), len(text) - len(last)
    if end < at or not text.startswith(first) or not text.endswith(last):
        return False
    for part in inner:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _split_port(text: str) -> tuple[str, int | None]:
    """Host and port of HOST, HOST:PORT, [v6], [v6]:PORT or an IPv6 network. Raises ValueError."""
    found = re.fullmatch(r"\[([^\]]*)\](?::(\d{1,5}))?|([^:]*):(\d{1,5})|(.*)", text)
    if found is None:
        raise ValueError("write it on one line")
    bracketed, port, host, port_of_host, alone = found.groups()
    number = port or port_of_host
    if number is not None and not 0 < int(number) < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return bracketed or host or alone or "", int(number) if number else None


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _class_of(address: Address) -> str | None:
    return next((name for name, networks in _CLASSES if any(_in(address, each) for each in networks)), None)


def _faces(address: Address) -> Iterator[Address]:
    """The address, without its zone, and the IPv4 addresses that an IPv6 one holds: a gateway may unwrap them."""
    if isinstance(address, IPv4Address):
        yield address
        return
    number = int(address)
    yield IPv6Address(number)
    if number < 2:  # :: and ::1 hold none
        return
    for prefix, bits in _EMBEDDING:
        if IPv6Address(number) in prefix:
            yield IPv4Address(number >> (96 - bits) & 0xFFFFFFFF)
    if IPv6Address(number) in _TEREDO:
        yield IPv4Address(~number & 0xFFFFFFFF)  # its client, written upside down
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
