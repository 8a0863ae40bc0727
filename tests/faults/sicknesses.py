"""What an API server, or something on the way to it, makes of a request; for ApiProxy.sick."""

import asyncio
import json
from typing import Final

from aiohttp import web

from tests.faults.api_proxy import Exchange

SLOW_SECONDS: Final = 3.0
"""Shorter than the operator waits for an answer."""
GONE: Final = {"code": 410, "reason": "Expired", "message": "too old resource version: 1 (2)"}


async def silent(exchange: Exchange) -> web.StreamResponse:
    """No answer, ever."""
    await asyncio.Event().wait()
    raise AssertionError("never")


async def throttled(exchange: Exchange) -> web.StreamResponse:
    """As API Priority and Fairness refuses."""
    refusal = _status(429, "TooManyRequests", "too many requests, please try again later")
    refusal.headers["Retry-After"] = "1"
    return refusal


async def broken(exchange: Exchange) -> web.StreamResponse:
    """As an API server without its etcd."""
    return _status(500, "InternalError", "etcdserver: request timed out")


async def broken_but_for_leases(exchange: Exchange) -> web.StreamResponse:
    """The operator leads, and nothing that it wants is done."""
    return await (exchange.forward() if exchange.is_of_leases else broken(exchange))


async def no_api(exchange: Exchange) -> web.StreamResponse:
    """As a load balancer whose servers are gone: no JSON."""
    return web.Response(status=503, text="<html><body>no server is available</body></html>", content_type="text/html")


async def slow(exchange: Exchange) -> web.StreamResponse:
    """Each answer comes late."""
    await asyncio.sleep(SLOW_SECONDS)
    return await exchange.forward()


async def lost_answer(exchange: Exchange) -> web.StreamResponse:
    """What was asked for is done, and nobody hears of it: the answer is lost with the connection."""
    if exchange.is_watch:
        return await exchange.forward()
    return await exchange.lose()


async def truncated(exchange: Exchange) -> web.StreamResponse:
    """The answer ends in its middle; its length was promised."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "4096"})
    await response.prepare(exchange.request)
    await response.write(b'{"kind":"Deployment","metadata":{"name":"m')
    return exchange.cut(response)


async def expired(exchange: Exchange) -> web.StreamResponse:
    """Each watch is told that what it saw last is compacted; other requests are served."""
    if not exchange.is_watch:
        return await exchange.forward()
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(exchange.request)
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", **GONE}
    await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
    await response.write_eof()
    return response


def _status(code: int, reason: str, message: str) -> web.Response:
    """The API's own form of a refusal."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return web.json_response(body | {"message": message}, status=code)
