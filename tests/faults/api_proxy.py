"""A way to the API server that can be made sick: it refuses, keeps silent, answers 429 or 500, late, by half, or not.

with ApiProxy(control_plane, "an-operator") as proxy:       # its user, an administrator
    OperatorProcess(proxy.kubeconfig, ...)
    with proxy.sick(LostAnswer()): ...                      # requests are forwarded as they are, before and after
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import web

from tests.cluster.control_plane import ControlPlane
from tests.integration.redis_server import free_port

HOST: Final = "127.0.0.1"
HOP_BY_HOP: Final = frozenset({"connection", "content-length", "host", "transfer-encoding", "content-encoding"})
Forward = Callable[[web.Request], Awaitable[web.StreamResponse]]
Sickness = Callable[[web.Request, Forward], Awaitable[web.StreamResponse]]
"""Makes an answer to a request; may forward it."""


class ApiProxy:
    """Ends the TLS of its clients and asks the API server as one user of its own, in a thread."""

    def __init__(self, control_plane: ControlPlane, user: str) -> None:
        self._target = control_plane.url
        self._pki = control_plane.pki
        self._user = user
        self.port = free_port()
        self._own = control_plane.kubeconfig_for(user, ["system:masters"])
        self.kubeconfig = self._own.with_name(f"{self._own.name}.proxy")
        self.kubeconfig.write_text(self._own.read_text().replace(control_plane.url, f"https://{HOST}:{self.port}"))
        self.requests: list[str] = []
        """Method and path of each that came while it was sick."""
        self._sickness: Sickness | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    @contextlib.contextmanager
    def sick(self, sickness: Sickness) -> Iterator[None]:
        """Let each request that comes be answered by `sickness`; connections of before are cut at the end."""
        self.requests.clear()
        self._sickness = sickness
        try:
            yield
        finally:
            self._sickness = None

    def cut(self) -> None:
        """Drop all connections; new ones are taken."""
        self._call(self._restart())

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """Nobody listens."""
        self._call(self._close())
        try:
            yield
        finally:
            self._call(self._listen())
