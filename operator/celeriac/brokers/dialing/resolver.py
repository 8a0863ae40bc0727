"""Host names become addresses without a thread for each name, so that no name keeps another one waiting.

getaddrinfo takes a thread of the event loop's default executor until the name server answers: eight names that nobody
answers for would stop every other lookup, and all else that uses these threads.
"""

import asyncio
import re
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final

import aiodns
from aiodns import error as dns

from celeriac.brokers.address import LONGEST_HOST

Address = IPv4Address | IPv6Address

NAME_SECONDS: Final = 2.0
"""So long a caller waits for a name."""
TRY_SECONDS: Final = 0.6
TRIES: Final = 3
"""A question is put again, to the next name server where there are several; all tries take about NAME_SECONDS."""
AT_ONCE: Final = 256
"""Names that are looked up at a time, at most: so many of those that had an answer last time, and as many others."""
REMEMBERED: Final = 4096
MOST_ADDRESSES: Final = 16
"""Of one name: the others are left out."""

_HOST_NAME: Final = re.compile(
    r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
LONGEST_ZONE: Final = 15
"""Characters of the name of an interface (IFNAMSIZ), or of its number."""
_ERRORS: Final[Mapping[int, int]] = {
    dns.ARES_ENOTFOUND: socket.EAI_NONAME,
    dns.ARES_ENODATA: socket.EAI_NODATA,
    dns.ARES_EBADNAME: socket.EAI_NONAME,
    dns.ARES_ENONAME: socket.EAI_NONAME,
}
"""What else can happen means that nobody has answered."""


def literal(host: str) -> Address | None:
    """The address that a host is, in any form that getaddrinfo takes: 127.0.0.1, 127.1, 0x7f.1, 2130706433, ::1."""
    if len(host.partition("%")[2]) > LONGEST_ZONE:
        return None
    try:
        return ip_address(host)
    except ValueError:
        pass
    if re.fullmatch(r"[0-9A-Fa-fXx.]{1,60}", host) is None:
        return None  # inet_aton takes words behind an address, too
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


class Resolver:
    """Asks the name servers of resolv.conf, after /etc/hosts; search domains and ndots are those of resolv.conf.

    Made without an event loop; used in one.
    """

    def __init__(self, resolv_conf: Path | None = None) -> None:
        """`resolv_conf` None: that of the system."""
        self._resolv_conf = resolv_conf
        self._resolver: aiodns.DNSResolver | None = None
        self._asking: dict[str, asyncio.Task[tuple[Address, ...]]] = {}
        self._answered: dict[str, None] = {}
        self._lanes = {answered: asyncio.Semaphore(AT_ONCE) for answered in (True, False)}

    async def addresses(self, host: str) -> tuple[Address, ...]:
        """All addresses of a host, at least one, in the order in which they are to be tried.

        Raises socket.gaierror where there is none or nobody answers in NAME_SECONDS, UnicodeError where it cannot be a
        host name.
        """
        address = literal(host)
        if address is not None:
            return (address,)
        name = _ascii(host)
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.get_running_loop().create_task(self._ask(name))
            task.add_done_callback(lambda done: self._ended(name, done))
        try:
            # Others wait for the same name: whoever gives up leaves the question standing.
            async with asyncio.timeout(NAME_SECONDS):
                return await asyncio.shield(task)
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time") from None

    async def close(self) -> None:
        """Ask nothing more."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        if self._resolver is not None:
            await self._resolver.close()

    async def _ask(self, name: str) -> tuple[Address, ...]:
        async with self._lanes[name in self._answered]:
            if self._resolver is None:
                path: dict[str, Any] = {"resolvconf_path": str(self._resolv_conf)} if self._resolv_conf else {}
                self._resolver = aiodns.DNSResolver(timeout=TRY_SECONDS, tries=TRIES, **path)
            try:
                answer = await self._resolver.getaddrinfo(name, type=socket.SOCK_STREAM)
            except dns.DNSError as error:
                raise socket.gaierror(_ERRORS.get(error.args[0], socket.EAI_AGAIN), "no address") from None
        found = dict.fromkeys(_address(node.addr) for node in answer.nodes)
        if not found:
            raise socket.gaierror(socket.EAI_NODATA, "no address")
        return tuple(found)[:MOST_ADDRESSES]

    def _ended(self, name: str, task: asyncio.Task[tuple[Address, ...]]) -> None:
        del self._asking[name]
        self._answered.pop(name, None)
        if not task.cancelled() and task.exception() is None:
            self._answered[name] = None
            while len(self._answered) > REMEMBERED:
                del self._answered[next(iter(self._answered))]


def _ascii(host: str) -> str:
    """The name as it is asked for. Raises UnicodeError."""
    if len(host) > LONGEST_HOST:
        raise UnicodeError("no host name")  # IDNA takes seconds for one of a megabyte
    name = host.encode("idna").decode().removesuffix(".")
    if len(name) > LONGEST_HOST or _HOST_NAME.fullmatch(name) is None:
        raise UnicodeError("no host name")
    return name + "." * host.endswith(".")


def _address(parts: tuple[Any, ...]) -> Address:
    """An address from (text, port) or (text, port, flow, scope)."""
    scope = parts[3] if len(parts) > 3 else 0
    return ip_address(parts[0].decode() + (f"%{scope}" if scope else ""))
