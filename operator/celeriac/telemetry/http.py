"""The operator's small HTTP server: /metrics for Prometheus, /healthz and /readyz for the kubelet.

It lives on the event loop of the tick, and whoever reaches its port may ask. One connection is one request; how many
come in, and for how long, is the door's to say; the text of the metrics is written elsewhere, once for many.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web

from celeriac.cluster.errors import ApiError
from celeriac.telemetry.certificate import Certificate
from celeriac.telemetry.door import Door, Visit, listen
from celeriac.telemetry.exposition import Exposition, form
from celeriac.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 32 * 1024
"""What is given to a connection at a time: a client that reads slowly has no more of it in memory."""

Check = Callable[[], bool]
MayRead = Callable[[str, str], Awaitable[bool]]
"""Whether the holder of a token, at an address, may read the metrics. Raises ApiError where that cannot be told."""
Handler = Callable[[web.BaseRequest, Visit], Awaitable[web.StreamResponse]]
Paths = Mapping[str, Handler]
R = TypeVar("R", bound=web.StreamResponse)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the server listens: 0 is any free port.

    health   a port for probes alone, which scrapers cannot keep from the kubelet; None: there is none. The port of the
             metrics answers probes, too
    """

    metrics: int
    health: int | None = None
    host: str = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Guard:
    """What keeps the metrics from others; probes tell nothing, and have none.

    certificate   of the port of the metrics; None: no TLS
    may_read      None: everybody may
    """

    certificate: Certificate | None = None
    may_read: MayRead | None = None


OPEN: Final = Guard()


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that runs: on these ports, in these tasks."""

    ports: Ports
    doors: list[asyncio.Task[None]]


async def serve(metrics: Metrics, ports: Ports, guard: Guard = OPEN, *, healthy: Check, ready: Check) -> None:
    """Serve until cancelled. Raises OSError where an address cannot be bound (the port is taken, or privileged)."""
    async with serving(metrics, ports, guard, healthy=healthy, ready=ready) as server:
        await asyncio.gather(*server.doors)


@asynccontextmanager
async def serving(
    metrics: Metrics, ports: Ports, guard: Guard = OPEN, *, healthy: Check, ready: Check
) -> AsyncIterator[Serving]:
    """Serve within the `async with` block, which gets the ports that are bound."""
    exposition = Exposition(metrics.registry)
    probes = {"/healthz": _check_handler(healthy), "/readyz": _check_handler(ready)}
    metrics_handler = _guarded(_metrics_handler(exposition), guard.may_read)
    wanted: list[tuple[int, Paths]] = [(ports.metrics, probes | {"/metrics": metrics_handler})]
    if ports.health is not None:
        wanted.append((ports.health, probes))
    with ExitStack() as stack:
        listeners = [stack.enter_context(listen(ports.host, port)) for port, _ in wanted]
        bound = [listener.getsockname()[1] for listener in listeners]
        servers = [_Server(paths, guard.certificate if "/metrics" in paths else None) for _, paths in wanted]
        pairs = zip(listeners, servers, strict=True)
        doors = [asyncio.create_task(Door(listener, server.serve).run()) for listener, server in pairs]
        try:
            yield Serving(Ports(bound[0], bound[1] if len(bound) > 1 else None, ports.host), doors)
        finally:
            for door in doors:
                door.cancel()
            await asyncio.gather(*doors, return_exceptions=True)
            exposition.close()


class _Server(web.Server):
    """aiohttp's HTTP, on connections that somebody else has accepted."""

    def __init__(self, paths: Paths, certificate: Certificate | None) -> None:
        super().__init__(self._answer, access_log=None, lingering_time=0)
        self._paths = paths
        self._certificate = certificate
        self._visits: dict[web.RequestHandler, Visit] = {}

    def __call__(self) -> web.RequestHandler:
        """One for each connection."""
        return _Conversation(self, loop=self._loop, **self._kwargs)

    async def serve(self, connection: socket.socket, visit: Visit) -> None:
        """Serve one connection until it has ended."""
        protocol = self()
        self._visits[protocol] = visit
        tls = self._certificate.context() if self._certificate else None
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
            try:
                await visit.ended.wait()
            finally:
                transport.abort()
        finally:
            self._visits.pop(protocol, None)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; the connection is closed after it."""
        handler = self._paths.get(request.path)
        if handler is None:
            return _last(web.Response(status=HTTPStatus.NOT_FOUND, text="not found\n"))
        if request.method not in ("GET", "HEAD"):
            return _last(web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"}))
        return await handler(request, self._visits.get(request.protocol) or Visit())

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Called by aiohttp."""
        super().connection_lost(handler, exc)
        if (visit := self._visits.get(handler)) is not None:
            visit.ended.set()


class _Conversation(web.RequestHandler):
    """One connection. aiohttp would log each request that is no HTTP with a traceback, and answer with its bytes."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by aiohttp where a request cannot be read, and for faults of the server's own."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        log.debug("a request from %s is no HTTP: %s", request.remote, type(exc).__name__)
        return _last(web.Response(status=status, text="bad request\n"))


def _guarded(handler: Handler, may_read: MayRead | None) -> Handler:
    if may_read is None:
        return handler

    async def handle(request: web.BaseRequest, visit: Visit) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            asks = {"WWW-Authenticate": "Bearer"}
            return _last(web.Response(status=HTTPStatus.UNAUTHORIZED, headers=asks, text="a bearer token is needed\n"))
        try:
            allowed = await may_read(token.strip(), request.remote or "")
        except ApiError as error:
            log.debug("who may read the metrics cannot be told: %s", error)
            return _last(web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="the API server cannot be asked\n"))
        if not allowed:
            return _last(web.Response(status=HTTPStatus.FORBIDDEN, text="this token may not get /metrics\n"))
        return await handler(request, visit)

    return handle


def _metrics_handler(exposition: Exposition) -> Handler:
    async def handle(request: web.BaseRequest, visit: Visit) -> web.StreamResponse:
        asked = form(request.headers.get("Accept", ""), request.headers.get("Accept-Encoding", ""))
        visit.has_asked()
        text = await exposition.text(asked)
        visit.is_answered()
        response = _last(web.StreamResponse(headers={"Content-Type": text.content_type, "Vary": "Accept-Encoding"}))
        if asked.gzipped:
            response.headers["Content-Encoding"] = "gzip"
        response.content_length = len(text.body)
        with suppress(ConnectionError):  # who has gone away is no fault of the server
            await response.prepare(request)
            if request.method == "GET":
                body = memoryview(text.body)
                for begin in range(0, len(body), CHUNK_BYTES):
                    await response.write(body[begin : begin + CHUNK_BYTES])
        return response

    return handle


def _check_handler(check: Check) -> Handler:
    async def handle(_request: web.BaseRequest, _visit: Visit) -> web.StreamResponse:
        if check():
            return _last(web.Response(text="ok\n"))
        return _last(web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="not ok\n"))

    return handle


def _last(response: R) -> R:
    """The answer after which the connection is closed."""
    response.force_close()
    return response
