"""redis-py's connections, made by the operator's dialer: its policy has seen the address, whatever they are for."""

import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

from redis.asyncio import Connection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import SentinelManagedConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.redis.tls_contexts import CURVES, TlsContext
from celeriac.brokers.redis.tls_failures import agrees_on_nothing

CONNECT_SECONDS: Final = 2.0
"""For the connection and its TLS handshake, once the name is known."""


class NotSent(RedisConnectionError):
    """A command was stopped before it left the process, because the operator does not hold its Lease."""

    def __init__(self) -> None:
        super().__init__("this operator does not act any more")


class FencedConnection(AbstractConnection):
    """Asks before each command, with nothing in between, whether it may be sent."""

    def __init__(self, *, may_send: Callable[[], bool], **options: Any) -> None:
        super().__init__(**options)
        self._may_send = may_send

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        """What redis-py does last. Raises NotSent."""
        if not self._may_send():
            raise NotSent
        await super()._send_packed_command(command)


class FencedUnixConnection(FencedConnection, UnixDomainSocketConnection):
    """The same to a unix socket."""


class DialledConnection(Connection):
    """A connection to a host and port, with TLS where there is a context.

    The context is made beforehand: redis-py itself takes a client certificate from files only.
    """

    def __init__(self, *, dialer: Dialer, context: TlsContext | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._dialer = dialer
        self._context = context

    async def _connect(self) -> None:
        """In place of redis-py's, which would hand the name to asyncio. Raises what `Dialer.dial` does."""
        for _ in CURVES[1:]:
            try:
                return await self._dial()
            except ssl.SSLError as error:
                if self._context is None or not agrees_on_nothing(error):
                    raise
                self._context.offer_another()
        return await self._dial()

    async def _dial(self) -> None:
        self._reader, self._writer = await self._dialer.dial(
            self.host, self.port, context=self._context, seconds=self.socket_connect_timeout or CONNECT_SECONDS
        )


class DialledServerConnection(FencedConnection, DialledConnection):
    """The same to a Redis that is written to."""


class DialledMasterConnection(FencedConnection, SentinelManagedConnection, DialledConnection):
    """The same to the master that a Sentinel names."""
