"""How connections come in to a small server that shares its event loop with more important work.

Whoever can reach a port can open connections to it: many, fast ones and slow ones. So few are open at a time, they come
in one by one at a pace, none stays for long, and where there is no room those give way that keep the server waiting.
What has no room yet waits in the kernel and costs nothing.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger(__name__)

CONNECTIONS: Final = 64
"""Open at a time. Each costs at most 0.2 MiB."""
BACKLOG: Final = 1024
"""Connections that wait in the kernel for room."""
PACE_SECONDS: Final = 0.0025
"""Between two that come in: an answer costs the loop about 0.3 ms."""
LONGEST_SECONDS: Final = 10.0
"""The end of every connection, as Prometheus gives up a scrape."""
ASKING_SECONDS: Final = 0.25
"""After so long without a whole request a connection gives way, where there is no room for another."""
READING_SECONDS: Final = 2.0
"""After so long of an answer that is not taken it gives way, too."""
_LOOK_SECONDS: Final = 0.05
_FAULT_SECONDS: Final = 1.0
_NEVER: Final = float("inf")


class Visit:
    """One connection that is open, and when (on the loop's clock) it gives way."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.gives_way_at = _now() + ASKING_SECONDS

    def has_asked(self) -> None:
        """The request is there: who waits for the server gives way to nobody."""
        self.gives_way_at = _NEVER

    def is_answered(self) -> None:
        """The answer is there: it is the client's turn again."""
        self.gives_way_at = _now() + READING_SECONDS


Serve = Callable[[socket.socket, Visit], Awaitable[None]]
"""Serves one connection until it has ended. Cancelled, it ends it at once."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError where the address cannot be bound (the port is taken, or privileged)."""
    listener = socket.create_server((host, port), backlog=BACKLOG)
    listener.setblocking(False)
    return listener


class Door:
    """Lets the connections of one listening socket in."""

    def __init__(self, listener: socket.socket, serve: Serve) -> None:
        self._listener = listener
        self._serve = serve
        self._open: dict[asyncio.Task[None], Visit] = {}

    async def run(self) -> None:
        """Until cancelled, which ends all connections."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._room()
                try:
                    connection, _ = await loop.sock_accept(self._listener)
                except OSError as error:  # no file descriptor is free, or who knocked has gone
                    log.warning("no connection to the metrics can be accepted: %s", error.strerror)
                    await asyncio.sleep(_FAULT_SECONDS)
                    continue
                visit = Visit()
                task = loop.create_task(self._let_in(connection, visit))
                self._open[task] = visit
                task.add_done_callback(self._open.pop)
                await asyncio.sleep(PACE_SECONDS)
        finally:
            leaving = list(self._open)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)

    async def _room(self) -> None:
        """Until another connection may be open."""
        while len(self._open) >= CONNECTIONS:
            now = _now()
            for task, visit in self._open.items():
                if visit.gives_way_at <= now:
                    task.cancel()
            await asyncio.wait(self._open, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)

    async def _let_in(self, connection: socket.socket, visit: Visit) -> None:
        """One connection from its begin to its end."""
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await self._serve(connection, visit)
        except OSError as error:  # a time-out, a client that has gone, TLS that was refused
            log.debug("a connection to the metrics has ended: %s", error)
        finally:
            connection.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
