"""A real Prometheus for tests: scrapes targets on loopback twice a second, answers queries, leaves nothing behind."""

import asyncio
import contextlib
import json
import math
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.cluster.ports import free_port

SCRAPE_SECONDS = 0.5
START_SECONDS = 30.0


class PrometheusError(RuntimeError):
    """Prometheus did not start, or refused a query."""


class Prometheus:
    """The HTTP API of one running server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def is_ready(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self._session.get(f"{self._url}/-/ready") as answer:
                return answer.status == 200
        return False

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of an expression, without what is not a number. Raises PrometheusError for a bad one."""
        async with self._session.get(f"{self._url}/api/v1/query", params={"query": expression}) as answer:
            body = await answer.json()
        if body["status"] != "success" or body.get("warnings"):
            raise PrometheusError(f"{expression}\n{json.dumps(body)}")
        return [series for series in body["data"]["result"] if not math.isnan(float(series["value"][1]))]

    async def value(self, expression: str) -> float | None:
        """The value of an expression with one series; None without any."""
        found = await self.query(expression)
        if len(found) > 1:
            raise PrometheusError(f"{expression} has {len(found)} series")
        return float(found[0]["value"][1]) if found else None


@contextlib.asynccontextmanager
async def running_prometheus(targets: Sequence[str]) -> AsyncIterator[Prometheus]:
    """Start a Prometheus that scrapes `targets` (host:port) the way that the chart's ServiceMonitor asks for."""
    with tempfile.TemporaryDirectory(prefix="prometheus ") as folder:
        directory = Path(folder)
        job = {"job_name": "celeriac", "honor_labels": True, "static_configs": [{"targets": list(targets)}]}
        interval = f"{int(SCRAPE_SECONDS * 1000)}ms"
        config = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": [job]}
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        command = [
            "prometheus",
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, stderr=None)
        try:
            async with aiohttp.ClientSession() as session:
                server = Prometheus(session, f"http://127.0.0.1:{port}")

                async def ready() -> bool:
                    if process.returncode is not None:
                        raise PrometheusError(f"Prometheus ended with code {process.returncode}; its log is above")
                    return await server.is_ready()

                await eventually(ready, START_SECONDS)
                yield server
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Return as soon as `holds`; raises TimeoutError after so many seconds."""
    async with asyncio.timeout(seconds):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.05)
