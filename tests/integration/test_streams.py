"""Streams of watch events survive whatever an API server, or something on the way to it, makes of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from celeriac.cluster.client import Api
from celeriac.cluster.errors import Expired
from celeriac.cluster.paths import PODS
from celeriac.watching import streams
from celeriac.watching.streams import Stream

pytestmark = pytest.mark.integration

Answer = Callable[[web.StreamResponse], Awaitable[None]]


class Server:
    """Answers one watch after the other as it is told, and the last one for ever; `since` is what they asked for."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = [*answers, quiet]
        self.since: list[str] = []
        self._asked = asyncio.Condition()

    async def wait_for(self, requests: int) -> None:
        async with self._asked:
            await self._asked.wait_for(lambda: len(self.since) >= requests)

    async def __aenter__(self) -> "Server":
        application = web.Application()
        application.router.add_get("/api/v1/pods", self._watch)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        assert request.query["labelSelector"] == "celeriac.dev/pool"
        async with self._asked:
            self.since.append(request.query["resourceVersion"])
            self._asked.notify_all()
        answer = self._answers[min(len(self.since), len(self._answers)) - 1]
        if answer in (refused, unauthorized):
            return web.Response(status=429 if answer is refused else 401)
        response = web.StreamResponse()
        await response.prepare(request)
        await answer(response)
        return response


def pod(name: str, version: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, **more}


def says(*told: tuple[str, dict[str, Any]], piece: int = 2**20, cut: bool = False) -> Answer:
    """These events in pieces of so many bytes; `cut`: the connection ends in the middle of the last one."""

    async def answer(response: web.StreamResponse) -> None:
        text = b"".join(json.dumps({"type": kind, "object": body}).encode() + b"\n" for kind, body in told)
        text = text[:-10] if cut else text
        for start in range(0, len(text), piece):
            await response.write(text[start : start + piece])
            await asyncio.sleep(0)

    return answer


def error(code: int) -> tuple[str, dict[str, Any]]:
    return "ERROR", {"kind": "Status", "code": code, "reason": "Of", "message": "the server"}


async def quiet(_: web.StreamResponse) -> None:
    await asyncio.Event().wait()


async def one_and_silence(response: web.StreamResponse) -> None:
    await says(ONE)(response)
    await quiet(response)


async def refused(_: web.StreamResponse) -> None: ...


async def unauthorized(_: web.StreamResponse) -> None: ...


async def no_json(response: web.StreamResponse) -> None:
    await response.write(b"<html>\n")


class Watcher:
    """What a Stream from version 1 on hands over, and how often it failed."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []
        self.failures = 0

    def take(self, body: dict[str, Any], *, deleted: bool) -> None:
        self.seen.append((body["metadata"]["name"], deleted))

    def failed(self) -> None:
        self.failures += 1


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> Watcher:
    monkeypatch.setattr(streams, "AT_ONCE_SECONDS", 0.01)
    monkeypatch.setattr("celeriac.cluster.stream.SILENT_SECONDS", 0.5)
    monkeypatch.setattr("celeriac.watching.setbacks.FIRST_PAUSE_SECONDS", 0.01)
    return Watcher()


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Callable[[Server], Awaitable[Api]]]:
    opened: list[Api] = []

    async def connect(server: Server) -> Api:
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        cluster = {"name": "c", "cluster": {"server": server.url}}
        config = {"contexts": [context], "clusters": [cluster], "users": [{"name": "u", "user": {"token": "t"}}]}
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "c", **config}))
        opened.append(await Api.connect(str(file)))
        return opened[-1]

    yield connect
    for api in opened:
        await api.close()


async def follow(server: Server, api: Api, watcher: Watcher, requests: int) -> None:
    """Let a Stream run until it has asked so often; what it raises is raised."""
    running = asyncio.create_task(Stream(api.connection, PODS, None, watcher.take).follow("1", watcher.failed))
    asked = asyncio.create_task(server.wait_for(requests))
    done, _ = await asyncio.wait([running, asked], timeout=10, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    asked.cancel()
    assert done
    if running in done:
        running.result()


ONE = ("ADDED", pod("one", 5))
TWO = ("MODIFIED", pod("two", 7))
BOOKMARK = ("BOOKMARK", pod("", 9))


@pytest.mark.parametrize("piece", [1, 7, 2**20], ids=lambda size: f"pieces of {size}")
async def test_events_come_whole_however_the_network_cuts_them(
    connect: Callable[[Server], Awaitable[Api]], watcher: Watcher, piece: int
) -> None:
    long = ("ADDED", pod("long", 8, text="x" * (20 if piece == 1 else 3_000_000)))
    async with Server(says(ONE, TWO, long, ("DELETED", pod("one", 9)), piece=piece if piece == 1 else 2**16)) as server:
        await follow(server, await connect(server), watcher, 2)
    assert watcher.seen == [("one", False), ("two", False), ("long", False), ("one", True)]
    assert (server.since, watcher.failures) == (["1", "9"], 0)


INTERRUPTED = {
    "its end": (says(ONE, BOOKMARK), "9", 0),
    "an end before any event": (says(), "1", 0),
    "a cut in an event": (says(ONE, TWO, cut=True), "5", 0),
    "an error that is no 410": (says(ONE, error(500)), "5", 1),
    "silence": (one_and_silence, "5", 0),
    "silence from the beginning": (quiet, "1", 0),
    "a refusal": (refused, "1", 1),
    "no JSON": (no_json, "1", 1),
    "an event without a version": (says(ONE, ("ADDED", {"metadata": {}})), "5", 1),
    "a token that is not taken": (unauthorized, "1", 0),
}


@pytest.mark.parametrize(("answer", "then", "failures"), INTERRUPTED.values(), ids=INTERRUPTED.keys())
async def test_a_stream_goes_on_where_it_was_interrupted(
    connect: Callable[[Server], Awaitable[Api]], watcher: Watcher, answer: Answer, then: str, failures: int
) -> None:
    async with Server(answer, says(("ADDED", pod("after", 20)))) as server:
        await follow(server, await connect(server), watcher, 3)
    assert watcher.seen[-1] == ("after", False)
    assert (server.since, watcher.failures) == (["1", then, "20"], failures)


async def test_a_moment_that_is_too_long_ago_is_no_moment_to_go_on_from(
    connect: Callable[[Server], Awaitable[Api]], watcher: Watcher
) -> None:
    async with Server(says(ONE, error(410))) as server:
        with pytest.raises(Expired):
            await follow(server, await connect(server), watcher, 2)


async def test_a_failure_that_lasts_is_told_once_and_the_first_cut_not_at_all(
    connect: Callable[[Server], Awaitable[Api]], watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    async with Server(refused, says(ONE), refused, refused, refused, says(TWO)) as server:
        await follow(server, await connect(server), watcher, 7)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "the watch of pods in the cluster ended",
    ]
    assert watcher.seen == [("one", False), ("two", False)]
