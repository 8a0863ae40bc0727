"""One HTTP request to the API server: what goes over the wire, and what must not go any more.

It takes the TLS, the proxy and the credentials of `kubernetes.aio`, and its own way to an aiohttp session: that of the
client looks at each value of a body before it is made JSON, and lets aiohttp trust the environment. Then ~/.netrc is
read in a thread for each request, and so is the environment for a proxy; a token beside an entry for the API server's
host in ~/.netrc is an error that no request survives. Measured: half of the CPU of each request and more.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from yarl import URL

from celeriac import __version__
from celeriac.cluster.errors import NotHolder

READ_BYTES: Final = 2**21
"""Of an answer that are read ahead."""

_NO_LIMITS: Final = aiohttp.ClientTimeout()

Payload = Mapping[str, Any] | Sequence[Mapping[str, Any]]
MayBeSent = Callable[[], None]
"""Raises NotHolder where a request must not be sent (any more)."""

_may_be_sent: ContextVar[MayBeSent] = ContextVar("may_be_sent")
"""Of the request under way."""


class Wire(RESTClientObject):
    """The client's own TLS, on sockets that give up what was not delivered in time.

    A request that is given up would be delivered all the same once a network heals, minutes later: the kernel goes on
    with what it took, also after the connection was closed. By then another operator acts.
    """

    def __init__(self, configuration: Configuration, seconds: float) -> None:
        super().__init__(configuration)
        self._milliseconds = int(seconds * 1000)
        self._proxy = configuration.proxy or proxy_of(configuration.host)
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: Payload | None,
        timeout_seconds: float,
        may_be_sent: MayBeSent,
    ) -> tuple[int, bytes]:
        """Status and raw body of the answer. Raises what aiohttp raises, TimeoutError, and NotHolder.

        The time-out is asyncio's: aiohttp's own swallows a cancellation that comes at the same moment.
        """
        async with (
            asyncio.timeout(timeout_seconds),
            await self.open(method, path, query, headers, body, _NO_LIMITS, may_be_sent) as answer,
        ):
            return answer.status, await answer.read()

    async def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: Payload | None,
        limits: aiohttp.ClientTimeout,
        may_be_sent: MayBeSent,
    ) -> aiohttp.ClientResponse:
        """The answer, of which the head has come. Raises what aiohttp raises, and NotHolder."""
        _may_be_sent.set(may_be_sent)
        url = f"{self.configuration.host}{path}"
        if query:
            url = f"{url}?{urlencode(query, quote_via=quote)}"
        authorization = await self.configuration.auth_settings()
        tokens = {each["key"]: each["value"] for each in authorization.values() if each["value"]}
        return await self._opened().request(
            method,
            URL(url, encoded=True),
            headers={**headers, **tokens},
            data=None if body is None else json.dumps(body, separators=(",", ":")).encode(),
            timeout=limits,
            proxy=self._proxy,
            server_hostname=self.configuration.tls_server_name or None,
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # No limit: requests have their slots, and a watch keeps its connection for minutes.
                connector=aiohttp.TCPConnector(limit=0, ssl=self.ssl_context, socket_factory=self._socket),
                request_class=_Request,
                headers={"User-Agent": f"celeriac/{__version__}"},
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=READ_BYTES,
            )
        return self._session

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._milliseconds)
        return made


class _Request(aiohttp.ClientRequest):
    """Asks once more whether it may be sent, when there is a connection and nothing but the socket comes next.

    To look up credentials and to connect take milliseconds. A process that is stopped meanwhile goes on when another
    acts.
    """

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        _may_be_sent.get()()
        return await super().send(conn)

    async def write_bytes(self, writer: AbstractStreamWriter, conn: Any, content_length: int | None = None) -> None:
        """In a task of its own, which sends what has a body."""
        try:
            _may_be_sent.get()()
        except NotHolder as error:
            if conn.protocol is not None:  # nobody waits any more
                conn.protocol.set_exception(error)
        else:
            await super().write_bytes(writer, conn, content_length)


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for this URL (HTTPS_PROXY, NO_PROXY), as urllib reads it; None without."""
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)
