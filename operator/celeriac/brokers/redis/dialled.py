"""redis-py's connections, made by the operator's dialer: its policy has seen the address, whatever they are for."""

import ssl
from typing import Any, Final

from redis.asyncio import Connection
from redis.asyncio.sentinel import SentinelManagedConnection

from celeriac.brokers.dialing.dial import Dialer

CONNECT_SECONDS: Final = 2.0
"""For the connection and its TLS handshake, once the name is known."""


class DialledConnection(Connection):
    """A connection to a host and port, with TLS where there is a context.

    The context is made beforehand: redis-py itself takes a client certificate from files only.
    """

    def __init__(self, *, dialer: Dialer, context: ssl.SSLContext | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._dialer = dialer
        self._context = context

    async def _connect(self) -> None:
        """In place of redis-py's, which would hand the name to asyncio. Raises what `Dialer.dial` does."""
        self._reader, self._writer = await self._dialer.dial(
            self.host, self.port, context=self._context, seconds=self.socket_connect_timeout or CONNECT_SECONDS
        )


class DialledMasterConnection(SentinelManagedConnection, DialledConnection):
    """The same to the master that a Sentinel names."""
