"""A real Prometheus for tests: scrapes targets on loopback twice a second, answers queries, leaves nothing behind."""

import asyncio
import contextlib
import json
import math
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
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

    async def over(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of an expression over time: `values` of each are pairs of a moment and a text."""
        asked = {"query": expression, "start": str(start), "end": str(end), "step": str(step)}
        async with self._session.get(f"{self._url}/api/v1/query_range", params=asked) as answer:
            body = await answer.json()
        if body["status"] != "success":
            raise PrometheusError(f"{expression}\n{json.dumps(body)}")
        found: list[dict[str, Any]] = body["data"]["result"]
        return found

    async def value(self, expression: str) -> float | None:
        """The value of an expression with one series; None without any."""
        found = await self.query(expression)
        if len(found) > 1:
            raise PrometheusError(f"{expression} has {len(found)} series")
        return float(found[0]["value"][1]) if found else None


@contextlib.asynccontextmanager
async def running_prometheus(
    targets: Sequence[str],
    labels: Mapping[str, str] | None = None,
    rules: Mapping[str, Any] | None = None,
    seconds: float = SCRAPE_SECONDS,
) -> AsyncIterator[Prometheus]:
    """Start a Prometheus that scrapes `targets` (host:port) the way that the chart's ServiceMonitor asks for.

    `labels`: which all targets get; `rules`: groups of alerts, evaluated with each scrape; `seconds`: between scrapes.
    """
    with tempfile.TemporaryDirectory(prefix="prometheus ") as folder:
        directory = Path(folder)
        targeted = {"targets": list(targets), "labels": dict(labels or {})}
        job = {"job_name": "celeriac", "honor_labels": True, "static_configs": [targeted]}
        (directory / "rules.yml").write_text(yaml.safe_dump(dict(rules or {"groups": []})))
        interval = f"{int(seconds * 1000)}ms"
        often = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
        config = {"global": often, "scrape_configs": [job], "rule_files": ["rules.yml"]}
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
