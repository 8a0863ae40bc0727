"""How requests get to the API server: past ~/.netrc, by a proxy where one is named, and with what credentials."""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from kubernetes.aio.client.configuration import Configuration

from celeriac.cluster.client import Api
from celeriac.cluster.errors import Forbidden, Unavailable
from celeriac.cluster.paths import CONFIG_MAPS
from celeriac.cluster.wire import Wire
from tests.cluster.control_plane import ControlPlane

pytestmark = pytest.mark.integration


class ConnectProxy:
    """An HTTP proxy for CONNECT; `asked` are the heads of the requests that it got."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "ConnectProxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        host, port = head.split(" ")[1].split(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._pipes |= {asyncio.create_task(pipe(reader, back)), asyncio.create_task(pipe(there, writer))}


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while received := await reader.read(65536):
            writer.write(received)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[ConnectProxy]:
    async with ConnectProxy() as running:
        yield running


async def test_a_password_for_the_api_server_in_netrc_is_nobodys_business(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token beside it would be refused by aiohttp, before anything is sent."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    kubeconfig = await asyncio.to_thread(control_plane.kubeconfig_for_service_account, namespace, "default")
    async with await Api.connect(str(kubeconfig)) as api:
        with pytest.raises(Forbidden, match=f"system:serviceaccount:{namespace}:default"):
            await api.read(CONFIG_MAPS, namespace, "any")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
async def test_a_proxy_of_the_environment_is_taken_with_its_password(
    proxy: ConnectProxy, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, f"http://user:word@127.0.0.1:{proxy.port}")
    async with await Api.connect(str(control_plane.kubeconfig)) as api:
        monkeypatch.delenv(variable)  # it was looked up once
        assert await api.advertised_hosts()
    (head,) = proxy.asked
    assert head.startswith(f"CONNECT {control_plane.url.removeprefix('https://')} ")
    assert f"Proxy-Authorization: Basic {b64encode(b'user:word').decode()}" in head


@pytest.mark.parametrize("bypass", ["127.0.0.1", "*", "example.com,127.0.0.1"])
async def test_no_proxy_is_heeded(
    proxy: ConnectProxy, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, bypass: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", bypass)
    async with await Api.connect(str(control_plane.kubeconfig)) as api:
        assert await api.advertised_hosts()
    assert proxy.asked == []


async def test_a_proxy_of_the_kubeconfig_goes_before_that_of_the_environment(
    proxy: ConnectProxy, control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    named = tmp_path / "kubeconfig"
    server = f"    server: {control_plane.url}\n"
    text = control_plane.kubeconfig.read_text()
    assert server in text
    named.write_text(text.replace(server, f"{server}    proxy-url: http://127.0.0.1:{proxy.port}\n"))
    async with await Api.connect(str(named)) as api:
        assert await api.advertised_hosts()
    assert len(proxy.asked) == 1


async def test_a_proxy_that_is_away_is_an_api_server_that_cannot_be_reached(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with await Api.connect(str(control_plane.kubeconfig)) as api:
        with pytest.raises(Unavailable):
            await api.advertised_hosts()


async def test_a_cancellation_at_the_moment_of_a_timeout_is_one() -> None:
    """A loop that was held for longer than the request may take finds both at once. The Lease would go on for ever."""
    asked = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        configuration = Configuration(host=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        wire = Wire(configuration, 4.0)
        request = asyncio.create_task(wire.send("GET", "/", None, {}, None, 0.3, lambda: None))
        await asked.wait()
        asyncio.get_running_loop().call_later(0.35, request.cancel)
        time.sleep(0.5)  # noqa: ASYNC251 - this is what holds the loop
        with pytest.raises(asyncio.CancelledError):
            await request
        await wire.close()
