import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from prometheus_client import Metric

from celeriac.telemetry import door
from celeriac.telemetry.http import Ports, serving
from celeriac.telemetry.metrics import Metrics

pytestmark = pytest.mark.unit

HOST = "127.0.0.1"
ANYWHERE = Ports(0, 0, HOST)
GOOD: dict[str, Any] = {"healthy": lambda: True, "ready": lambda: True}
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
GET = b"GET /metrics HTTP/1.1\r\nHost: celeriac\r\n\r\n"


async def get(port: int | None, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession(headers={name.replace("_", "-"): value for name, value in headers.items()}) as session,
        session.request(method, f"http://{HOST}:{port}{path}") as answer,
    ):
        return answer.status, answer.headers.get("Content-Type", ""), await answer.text()


@asynccontextmanager
async def connections(port: int, number: int, sent: bytes = b"") -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many, which have sent this."""
    opened = [await asyncio.open_connection(HOST, port) for _ in range(number)]
    for _, writer in opened:
        writer.write(sent)
    try:
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()


def drip(slow: socket.socket) -> int:
    """Read a little, wait too long, then read what there is; returns how many bytes there were."""
    taken = len(slow.recv(100))
    time.sleep(2.0)
    with suppress(ConnectionResetError):
        while part := slow.recv(1 << 16):
            taken += len(part)
    return taken


async def test_prometheus_gets_the_format_that_it_asks_for() -> None:
    metrics = Metrics()
    metrics.leader(True)
    async with serving(metrics, ANYWHERE, **GOOD) as server:
        port = server.ports.metrics
        status, content_type, text = await get(port, "/metrics", Accept="text/plain")
        assert status == 200
        assert content_type.startswith("text/plain; version=")
        assert "celeriac_leader 1.0\n" in text
        _, content_type, text = await get(port, "/metrics", Accept=OPEN_METRICS)
        assert content_type.startswith(OPEN_METRICS)
        assert text.endswith("# EOF\n")
        assert await get(port, "/metrics", "HEAD") == (200, "text/plain; version=0.0.4; charset=utf-8", "")
        assert (await get(port, "/metrics", "POST"))[0] == 405


async def test_the_answer_is_compressed_for_who_takes_that() -> None:
    async with serving(Metrics(), ANYWHERE, **GOOD) as server:
        session = aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": "gzip"})
        async with session, session.get(f"http://{HOST}:{server.ports.metrics}/metrics") as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert b"celeriac_build_info" in gzip.decompress(await answer.read())


async def test_whatever_formats_are_asked_for_the_text_is_written_once_in_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics, written = Metrics(), 0
    collect = metrics.registry.collect

    def counted() -> Iterable[Metric]:
        nonlocal written
        written += 1
        return collect()

    monkeypatch.setattr(metrics.registry, "collect", counted)
    async with serving(metrics, ANYWHERE, **GOOD) as server:
        strange = [f"application/openmetrics-text; version=1.0.{number}" for number in range(30)]
        answers = await asyncio.gather(*(get(server.ports.metrics, "/metrics", Accept=accept) for accept in strange))
        assert {status for status, _, _ in answers} == {200}
        assert written == 1
        metrics.leader(True)
        text = ""
        while "celeriac_leader 1.0\n" not in text:
            _, _, text = await get(server.ports.metrics, "/metrics", Accept=strange[0])
        assert written == 2


async def test_each_probe_answers_for_itself_and_changes_with_its_check() -> None:
    state = {"healthy": True, "ready": False}
    checks: dict[str, Any] = {"healthy": lambda: state["healthy"], "ready": lambda: state["ready"]}
    async with serving(Metrics(), ANYWHERE, **checks) as server:
        for port in (server.ports.metrics, server.ports.health):
            assert (await get(port, "/healthz"))[0] == 200
            assert (await get(port, "/readyz"))[0] == 503
            state |= {"healthy": False, "ready": True}
            assert (await get(port, "/healthz"))[0] == 503
            assert (await get(port, "/readyz"))[0] == 200
            assert (await get(port, "/elsewhere"))[0] == 404
            state |= {"healthy": True, "ready": False}
        assert (await get(server.ports.health, "/metrics"))[0] == 404


async def test_a_taken_port_is_an_error_at_once() -> None:
    async with serving(Metrics(), ANYWHERE, **GOOD) as server:
        for taken in (Ports(server.ports.metrics, None, HOST), Ports(0, server.ports.metrics, HOST)):
            with pytest.raises(OSError, match="Address already in use"):
                async with serving(Metrics(), taken, **GOOD):
                    pass


async def test_a_full_house_gives_the_place_of_the_oldest_to_who_comes_and_never_holds_more() -> None:
    async with serving(Metrics(), ANYWHERE, **GOOD) as server:
        port = server.ports.metrics
        async with connections(port, 2 * door.CONNECTIONS, b"GET /metrics HTTP/1.1\r\nX-Slow: ") as idle:
            status, _, _ = await get(port, "/metrics")
            assert status == 200
            assert (await get(server.ports.health, "/healthz"))[0] == 200
            assert await idle[0].read() == b""


async def test_one_connection_is_one_request_and_none_stays_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "LONGEST_SECONDS", 0.2)
    async with serving(Metrics(), ANYWHERE, **GOOD) as server:
        async with connections(server.ports.metrics, 1, GET + GET) as (twice,):
            assert (await twice.read()).count(b"HTTP/1.1 200 OK") == 1
        async with connections(server.ports.metrics, 3, GET[:-2]) as slow:
            assert [await each.read() for each in slow] == [b""] * 3


async def test_who_reads_slowly_is_sent_no_more_than_it_takes_and_is_left_at_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.unreadable({f"a kind with a long name, {'x' * 8000}, {number}": 1})
    async with serving(metrics, ANYWHERE, **GOOD) as server:
        await get(server.ports.metrics, "/metrics")
        monkeypatch.setattr(door, "LONGEST_SECONDS", 1.0)
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((HOST, server.ports.metrics))
        with slow:
            slow.sendall(GET)
            taken = await asyncio.to_thread(drip, slow)
            assert 0 < taken < 1000 * 8000
        assert (await get(server.ports.metrics, "/healthz"))[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        GET[:-2] + b"X: " + b"secret" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"secret" * 20_000 + b" HTTP/1.1\r\n\r\n",
        GET[:-2] + b"X: y\r\n" * 20_000 + b"\r\n",
        GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\nsecret\r\n",
        GET[:-2] + b"Content-Length: secret\r\n\r\n",
        GET[:-2] + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /metrics HTTP/1.1\nsecret: yes\n\n",
        b"GET /secret HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01secret" + bytes(500),
        bytes(100_000),
    ],
    ids=lambda sent: repr(sent[-40:]),
)
async def test_what_is_no_request_is_refused_without_a_line_in_the_log_and_without_its_bytes(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Metrics(), ANYWHERE, **GOOD) as server:
        async with connections(server.ports.metrics, 1, sent) as (answer,):
            said = await answer.read()
        assert said.startswith(b"HTTP/1.0 400 ")
        assert said.endswith(b"\r\n\r\nbad request\n")
        assert (await get(server.ports.metrics, "/healthz"))[0] == 200
    assert [each for each in caplog.records if each.levelname not in ("DEBUG", "INFO")] == []
    assert "secret" not in caplog.text
