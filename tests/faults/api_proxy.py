"""A way to the API server that can be made sick: it refuses, keeps silent, answers 429 or 500, late, by half, or not.

with ApiProxy(control_plane, "an-operator") as proxy:       # asks as this user, an administrator
    OperatorProcess(proxy.kubeconfig, ...)
    with proxy.sick(lost_answer): ...                       # requests are forwarded as they are, before and after
    with proxy.refused(): ...
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp import web

from tests.cluster.control_plane import ControlPlane
from tests.cluster.ports import free_port

HOST: Final = "127.0.0.1"
NOT_FORWARDED: Final = frozenset({"connection", "content-length", "host", "transfer-encoding"})


class Exchange:
    """One request of a client, and the way to the API server."""

    def __init__(self, request: web.Request, session: aiohttp.ClientSession, target: str) -> None:
        self.request = request
        self.is_watch = request.query.get("watch") == "true"
        self.is_of_leases = "/leases/" in request.path
        self._session, self._url = session, f"{target}{request.raw_path}"

    async def forward(self) -> web.StreamResponse:
        """Hand on the API server's own answer, piece by piece as it comes."""
        async with await self._ask() as answer:
            response = web.StreamResponse(status=answer.status, headers=_forwarded(answer.headers))
            await response.prepare(self.request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    async def lose(self) -> web.StreamResponse:
        """Have it done, and cut the connection of whoever waits for the answer."""
        async with await self._ask() as answer:
            await answer.read()
        return self.cut(web.StreamResponse())

    def cut(self, response: web.StreamResponse) -> web.StreamResponse:
        """Cut the client's connection, whatever it has of this response."""
        if self.request.transport is not None:
            self.request.transport.abort()
        return response

    async def _ask(self) -> aiohttp.ClientResponse:
        body = await self.request.read()
        headers = _forwarded(self.request.headers)
        return await self._session.request(self.request.method, self._url, headers=headers, data=body or None)


Sickness = Callable[[Exchange], Awaitable[web.StreamResponse]]
"""Answers a request; it may have it forwarded."""


class ApiProxy:
    """Ends the TLS of its clients and asks the API server as a user of its own; lives in a thread."""

    def __init__(self, control_plane: ControlPlane, user: str) -> None:
        direct = control_plane.kubeconfig_for(user, ["system:masters"])
        self.port = free_port()
        self.kubeconfig = direct.with_suffix(".proxy")
        self.kubeconfig.write_text(direct.read_text().replace(control_plane.url, f"https://{HOST}:{self.port}"))
        self.met = self.renewals = 0
        """Requests that came since it became sick, and those of Leases."""
        self._target = control_plane.url
        pki = control_plane.pki
        self._server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._server_side.load_cert_chain(pki.certificate("server"), pki.key("server"))
        self._client_side = ssl.create_default_context(cafile=str(pki.ca))
        self._client_side.load_cert_chain(pki.certificate(f"user-{user}"), pki.key(f"user-{user}"))
        self._sickness: Sickness | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @contextlib.contextmanager
    def sick(self, sickness: Sickness) -> Iterator[None]:
        """Each request that comes meanwhile is answered by `sickness`; watches of before go on."""
        self.met = self.renewals = 0
        self._sickness = sickness
        try:
            yield
        finally:
            self._sickness = None

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """Nobody listens, and what was connected is cut."""
        self._call(self._close())
        try:
            yield
        finally:
            self._call(self._listen())

    def cut(self) -> None:
        """All connections end, the watches too; new ones are taken."""
        with self.refused():
            pass

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        exchange = Exchange(request, self._session, self._target)
        if self._sickness is None:
            return await exchange.forward()
        self.met += 1
        self.renewals += exchange.is_of_leases
        return await self._sickness(exchange)

    async def _listen(self) -> None:
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._client_side, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port, ssl_context=self._server_side).start()

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def _forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in NOT_FORWARDED}
