"""The operator's small HTTP server: /metrics for Prometheus, /healthz and /readyz for the kubelet."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from celeriac.telemetry.metrics import Metrics

Check = Callable[[], bool]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(metrics: Metrics, host: str, port: int, *, healthy: Check, ready: Check) -> None:
    """Serve until cancelled. Raises OSError where the address cannot be bound (the port is taken, or privileged)."""
    async with serving(metrics, host, port, healthy=healthy, ready=ready):
        await asyncio.Event().wait()


@asynccontextmanager
async def serving(metrics: Metrics, host: str, port: int, *, healthy: Check, ready: Check) -> AsyncIterator[int]:
    """Serve within the `async with` block, which gets the bound port (of interest when `port` is 0: any free one)."""
    app = web.Application()
    app.add_routes(
        [
            web.get("/metrics", _metrics_handler(metrics)),
            web.get("/healthz", _check_handler(healthy)),
            web.get("/readyz", _check_handler(ready)),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _metrics_handler(metrics: Metrics) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # Thousands of pools take a second to write out: not on the event loop, where the tick runs.
        body = await asyncio.to_thread(encode, metrics.registry)
        response = web.Response(body=body, headers={"Content-Type": content_type})
        response.enable_compression()
        return response

    return handle


def _check_handler(check: Check) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n") if check() else web.Response(status=503, text="not ok\n")

    return handle
