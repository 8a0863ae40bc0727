"""The one way in which the operator connects to a broker: resolve, ask the policy, connect to what the policy saw."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final

from celeriac.brokers.address import LONGEST_HOST
from celeriac.brokers.dialing.policy import AddressPolicy
from celeriac.brokers.dialing.resolver import Address, Resolver

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

LIMIT: Final = 2**16
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""A peer that is gone without a word is noticed after some 45 s."""
_UNDELIVERED_MILLISECONDS: Final = 4000
"""What is not delivered by then never is: the kernel would go on after the connection was closed, and deliver it
once a network heals, when another operator acts."""


class Dialer:
    """Connects to brokers. One for the whole process: it holds the resolver that all share."""

    def __init__(self, policy: AddressPolicy, resolver: Resolver | None = None) -> None:
        self.policy = policy
        self.resolver = resolver or Resolver()

    async def dial(
        self, host: str, port: int, *, context: ssl.SSLContext | None = None, seconds: float, limit: int = LIMIT
    ) -> Streams:
        """Connect, with TLS where there is a `context`; NAME_SECONDS for the name, then `seconds` for all else.

        `limit`: bytes that are kept of what nobody has read yet, as asyncio takes it.

        Raises NotAllowed; socket.gaierror, UnicodeError for the name; OSError, ssl.SSLError, TimeoutError.
        """
        if len(host) > LONGEST_HOST:
            raise UnicodeError("no host name")  # a Sentinel, too, may name one
        self.policy.check_name(host, port)
        found = await self.resolver.addresses(host)
        addresses = self.policy.permitted(host, port, found, own=[each for each in found if _is_own(each)])
        async with asyncio.timeout(seconds):
            connected = await _connected(addresses, port)
            return await asyncio.open_connection(
                limit=limit, sock=connected, ssl=context, server_hostname=host if context is not None else None
            )

    async def close(self) -> None:
        """Look up nothing more. Connections that were made stay."""
        await self.resolver.close()


async def _connected(addresses: Sequence[Address], port: int) -> socket.socket:
    """A socket connected to the first address that takes it. Raises the OSError of the first that does not."""
    errors = []
    for address in addresses:
        try:
            return await _connect(address, port)
        except OSError as error:
            errors.append(error)
    raise errors[0]


async def _connect(address: Address, port: int) -> socket.socket:
    family, place = _place(address, port)
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNDELIVERED_MILLISECONDS)
        await asyncio.get_running_loop().sock_connect(made, place)
    except BaseException:
        made.close()
        raise
    return made


def _place(address: Address, port: int) -> tuple[socket.AddressFamily, tuple[str | int, ...]]:
    """The address as the socket module takes it: numbers only, so that nothing is looked up. Raises OSError."""
    if not isinstance(address, IPv6Address):
        return socket.AF_INET, (str(address), port)
    scope = address.scope_id or "0"
    number = int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
    return socket.AF_INET6, (str(IPv6Address(int(address))), port, 0, number)


def _is_own(address: Address) -> bool:
    """Whether an address is one of this Pod's (host's) own: packets to it would come from itself. Nothing is sent."""
    try:
        family, place = _place(address, 9)
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(place)
            return ip_address(probe.getsockname()[0].partition("%")[0]) == ip_address(place[0])
    except (OSError, OverflowError):
        return False
