"""Every query of the Grafana dashboard and of the docs against a real Prometheus that scrapes two replicas.

The replicas are the operator's own HTTP server with metrics that tell a story: a burst to one pool, a broker that fails
under another, a pod that comes late. One replica leads, the other stands by.
"""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.readings import QueueReading
from celeriac.telemetry.http import Ports, serving
from celeriac.telemetry.metrics import Direction, Metrics
from tests.integration.prometheus_server import SCRAPE_SECONDS, Prometheus, eventually, running_prometheus

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "charts" / "celeriac" / "dashboards"
DOCS = ROOT / "docs" / "metrics.md"
ML = PoolKey("shop", "ml")
BATCH = PoolKey("billing", "batch")
FIGURES = (
    *("reserved", "draining", "runtime_seconds", "arrival_rate", "departure_rate"),
    *("cold_start_seconds", "oldest_seconds", "agent_errors", "silent", "not_fetching", "degraded"),
    *("refused", "ending"),
)
"""All that the reports of workers tell (celeriac.autoscaling.outcome.figures)."""
GOOD_BROKER = "redis://:secret@redis.shop:6379/0"
BAD_BROKER = "redis://celery:secret@redis.billing:6379/0"
SCRAPES = 6
ANYWHERE = Ports(0, host="127.0.0.1")
GRAFANA = {
    "$__rate_interval": "5s",
    "$__interval": "1s",
    "$__range": "1m",
    "$namespace": ".*",
    "$pool": ".*",
}


@dataclass
class Story:
    """What the leader says at each moment; a step is one tick."""

    metrics: Metrics
    waiting: int = 40
    replicas: int = 0

    def step(self) -> None:
        """Each tick two pods come and two tasks go; the other pool's broker does not answer."""
        metrics = self.metrics
        metrics.leader(True)
        self.waiting, before, self.replicas = max(self.waiting - 2, 4), self.replicas, min(self.replicas + 2, 8)
        metrics.queues(
            ML, {"ml": QueueReading(self.waiting, held=self.replicas, scheduled=1), "ml_low": QueueReading(3)}
        )
        metrics.pool(
            ML, desired=8, replicas=self.replicas, ready=max(self.replicas - 1, 0), slots=self.replicas, running=before
        )
        metrics.workers(ML, dict.fromkeys(FIGURES, 1.5))
        metrics.missing_hooks(ML, {"deliver": 1})
        metrics.restored(ML, queued=3, dead=1)
        metrics.restarted(ML, 1)
        metrics.decision(ML, Reason.BACKLOG if self.replicas < 8 else Reason.WITHIN_TARGET)
        metrics.scale(ML, Direction.UP, self.replicas - before)
        metrics.queues_unknown(BATCH)
        metrics.pool(BATCH, desired=2, replicas=2, ready=2, slots=8)
        metrics.decision(BATCH, Reason.HOLDING)
        for key, reachable in ((ML, "True"), (BATCH, "False")):
            metrics.condition(key, "BrokerReachable", reachable)
            metrics.condition(key, "Ready", "True")
            metrics.condition(key, "Stalled", "False" if reachable == "True" else "True")
            metrics.condition(key, "BrokerDurable", reachable)
        metrics.broker_read(GOOD_BROKER, 0.002)
        metrics.broker_read(BAD_BROKER, 1.0, reason=Reason.BROKER_TIMEOUT)
        metrics.recovery_failure(BATCH, Reason.BROKER_TIMEOUT)
        metrics.unread_registrations({Reason.BROKER_TIMEOUT: 1})
        metrics.tick(0.004)
        metrics.watch_failure("list")
        metrics.recovery_failure(ML, Reason.BROKER_WRONG_TYPE)
        metrics.unread_registrations({Reason.BROKER_WRONG_TYPE: 1})
        metrics.given_up()
        metrics.unreadable({"Pod": 1, "Deployment": 0})
        metrics.api_request("patch", "deployments/scale", 200, 0.02)
        metrics.api_request("apply", "celeryworkerpools/status", 409, 0.03)
        metrics.reconcile(0.1, "success")
        metrics.workqueue(self.replicas % 3)


async def tell(story: Story) -> None:
    while True:
        story.step()
        await asyncio.sleep(SCRAPE_SECONDS / 2)


@asynccontextmanager
async def scraped() -> AsyncIterator[Prometheus]:
    """A Prometheus that has seen SCRAPES scrapes of a leader and of a standby, and goes on scraping."""
    story, standby = Story(Metrics()), Metrics()
    standby.leader(False)
    story.step()
    always: dict[str, Any] = {"healthy": lambda: True, "ready": lambda: True}
    async with (
        serving(story.metrics, ANYWHERE, **always) as leader,
        serving(standby, ANYWHERE, **always) as other,
        running_prometheus([f"127.0.0.1:{each.ports.metrics}" for each in (leader, other)]) as prometheus,
    ):
        telling = asyncio.create_task(tell(story))
        try:

            async def scraped_often() -> bool:
                return (await prometheus.value("min(count_over_time(celeriac_leader[1m]))") or 0) >= SCRAPES

            await eventually(scraped_often, seconds=60)
            yield prometheus
        finally:
            telling.cancel()


def substituted(expression: str) -> str:
    """What Grafana sends for an expression when both variables stand at All."""
    for variable, value in GRAFANA.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


def expressions() -> list[tuple[str, str]]:
    """Title and query of all panels, and the queries of the variables."""
    found = []
    for file in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(file.read_text())
        for panel in dashboard["panels"]:
            found += [(panel["title"], target["expr"]) for target in panel.get("targets", ())]
        for variable in dashboard["templating"]["list"]:
            if match := re.fullmatch(r"label_values\((.*), \w+\)", variable.get("definition", "")):
                found.append((f"variable {variable['name']}", match.group(1)))
    return found


def examples() -> list[tuple[str, str]]:
    """The queries that docs/metrics.md gives to users."""
    return [("docs", block) for block in re.findall(r"```promql\n(.*?)```", DOCS.read_text(), re.DOTALL)]


async def test_every_query_of_the_dashboards_and_of_the_docs_finds_something() -> None:
    queries = expressions() + examples()
    assert len(expressions()) > 30
    assert len(examples()) > 5
    async with scraped() as prometheus:
        empty = [(title, query) for title, query in queries if not await prometheus.query(substituted(query))]
    assert empty == []


async def test_the_panels_show_what_the_operator_said() -> None:
    by_title: dict[str, list[str]] = {}
    for title, query in expressions():
        by_title.setdefault(title, []).append(substituted(query))

    async def shown(title: str, index: int = 0) -> dict[str, float]:
        found = await prometheus.query(by_title[title][index])
        return {label(series["metric"]): float(series["value"][1]) for series in found}

    async def burst_is_over() -> bool:
        return await shown("Waiting tasks") == {"": 7}

    async with scraped() as prometheus:
        await eventually(burst_is_over, seconds=30)
        assert await shown("Queue length over replicas") == {"shop/ml": 4, "shop/ml_low": 3}
        assert await shown("Queue length over replicas", 1) == {"shop": 8, "billing": 2}
        assert await shown("Pods still to come") == {"": 1}
        assert await shown("Pools without a broker") == {"": 1}
        assert await shown("Leaders") == {"": 1}
        assert await shown("What is not as it should be") == {
            "billing/batch/False/BrokerReachable": 1,
            "billing/batch/False/BrokerDurable": 1,
            "billing/batch/True/Stalled": 1,
        }
        assert set(await shown("Readings that failed")) == {"redis.billing:6379/0/Timeout"}
        assert (await shown("Why: decisions by reason"))[Reason.HOLDING] > 0


def label(metric: dict[str, Any]) -> str:
    return "/".join(value for _, value in sorted(metric.items()) if value)


async def test_promtool_finds_no_fault_with_the_metrics() -> None:
    story = Story(Metrics())
    story.step()
    async with (
        serving(story.metrics, ANYWHERE, healthy=lambda: True, ready=lambda: True) as server,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.ports.metrics}/metrics") as answer,
    ):
        text = await answer.text()
    done = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=text, text=True, capture_output=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
