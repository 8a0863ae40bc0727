"""A network that is lost and comes back, in a namespace of its own: what was sent meanwhile, and given up, never comes.

unshare --net python -m tests.faults.lost_network     # prints what the two servers were told, as JSON
"""

import asyncio
import json
import subprocess
import tempfile
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from aiohttp import web

from celeriac.brokers.dialing.dial import Dialer
from celeriac.brokers.dialing.policy import AddressPolicy
from celeriac.cluster.connection import Connection
from celeriac.cluster.errors import Unavailable

GIVES_UP_SECONDS: Final = 2.0
OUTAGE_SECONDS: Final = 5.0
RETRANSMITS_SECONDS: Final = 14.0
"""The kernel tries again after 0.2 s, 0.4 s and so on: after such an outage its next try is less than this away."""


def network(state: str) -> None:
    """Set the only device of this namespace `up` or `down`."""
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


class ApiServer:
    """Notes what it is asked for, and the operator's own client asks it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def start(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._client = Connection(str(kubeconfig(self._runner.addresses[0][1])), GIVES_UP_SECONDS, None)
        await self._client.open()

    async def tell(self, word: str) -> None:
        try:
            await self._client.request("patch", "pods", f"/{word}", body={})
        except Unavailable:
            self.told.append("given up")

    async def close(self) -> None:
        await self._client.close()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.told.append(request.path.lstrip("/"))
        return web.json_response({})


class Broker:
    """Notes what it receives by what the operator dials."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._dialer = Dialer(AddressPolicy(networks=(ip_network("127.0.0.0/8"),)))

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._receive, "127.0.0.1", 0)
        await self._dial()

    async def tell(self, word: str) -> None:
        """Give up what is not read in time, as the operator does; dial anew."""
        self._writer.write(f"{word}\n".encode())
        try:
            async with asyncio.timeout(GIVES_UP_SECONDS):
                await self._reader.readline()
        except TimeoutError:
            self.told.append("given up")
            self._writer.close()

    async def heal(self) -> None:
        await self._dial()

    async def close(self) -> None:
        self._server.close()
        await self._dialer.close()

    async def _dial(self) -> None:
        port = self._server.sockets[0].getsockname()[1]
        self._reader, self._writer = await self._dialer.dial("127.0.0.1", port, seconds=GIVES_UP_SECONDS)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.told.append(line.decode().strip())
            writer.write(b"read\n")


async def main() -> dict[str, list[str]]:
    """What each was told, in its order."""
    network("up")
    api_server, broker = ApiServer(), Broker()
    both = (api_server, broker)
    await asyncio.gather(*(each.start() for each in both))
    await asyncio.gather(*(each.tell("before") for each in both))
    network("down")
    await asyncio.gather(*(each.tell("meanwhile") for each in both))
    await asyncio.sleep(OUTAGE_SECONDS - GIVES_UP_SECONDS)
    network("up")
    await broker.heal()
    await asyncio.gather(*(each.tell("after") for each in both))
    await asyncio.sleep(RETRANSMITS_SECONDS)
    await asyncio.gather(*(each.close() for each in both))
    return {"API server": api_server.told, "broker": broker.told}


def kubeconfig(port: int) -> Path:
    """Of a server without TLS."""
    file = Path(tempfile.mkdtemp(prefix="kubeconfig ")) / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(json.dumps(config))
    return file


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
