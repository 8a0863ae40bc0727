"""Every query of the dashboards, of the docs and of the runbooks against a real Prometheus that scrapes two replicas.

The replicas are the operator's own HTTP server with metrics that tell a story: two pools of one name that scale without
a rest, a broker that fails under a third, pods that come late. One replica leads, the other stands by.
"""

import asyncio
import contextlib
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.readings import QueueReading
from celeriac.brokers.task_counts import WIDTH
from celeriac.telemetry.http import Ports, serving
from celeriac.telemetry.metrics import Direction, Metrics
from tests.integration.chart_rules import rendered
from tests.integration.dashboard_queries import Asked, asked, choices
from tests.integration.prometheus_server import SCRAPE_SECONDS, Prometheus, eventually, running_prometheus

pytestmark = pytest.mark.integration

DOCS = Path(__file__).parents[2] / "docs"
ML, TWIN = PoolKey("shop", "ml"), PoolKey("billing", "ml")
BATCH = PoolKey("billing", "batch")
FIGURES = (
    *("reserved", "draining", "runtime_seconds", "arrival_rate", "departure_rate"),
    *("cold_start_seconds", "oldest_seconds", "agent_errors", "silent", "not_fetching", "degraded"),
    *("refused", "ending", "oldest_drain_seconds"),
)
"""All that the reports of workers tell (celeriac.autoscaling.outcome.figures)."""
GOOD_BROKER = "redis://:secret@redis.shop:6379/0"
BAD_BROKER = "redis://celery:secret@redis.billing:6379/0"
SCRAPES = 6
ANYWHERE = Ports(0, host="127.0.0.1")
VALUES = {"prometheusRule": {"operatorSelector": 'job="celeriac"', "thresholds": {"degradedFor": "0s"}}}
DEGRADED = ("billing/ml/True/AgentDegraded", "shop/ml/True/AgentDegraded")


@dataclass
class Story:
    """What the leader says at each moment; a step is one tick."""

    metrics: Metrics = field(default_factory=Metrics)
    standby: Metrics = field(default_factory=Metrics)
    steps: int = 0
    moves: bool = True

    def step(self) -> None:
        """Pods come and go in turn, or stay as they are; the third pool's broker does not answer."""
        self.steps += self.moves
        self.metrics.leader(True)
        self.standby.leader(self.moves and self.steps % 4 == 0)
        self._scales(ML, 2 + abs(self.steps % 12 - 6) if self.moves else 8)
        self._scales(TWIN, 1 + abs(self.steps % 8 - 4) if self.moves else 3)
        self._cannot_be_read(BATCH)
        self._works()

    def _scales(self, key: PoolKey, replicas: int) -> None:
        metrics = self.metrics
        metrics.queues(
            key, {"ml": QueueReading(replicas // 2, held=replicas, scheduled=1, dead=1), "ml_low": QueueReading(3)}
        )
        size = {"desired": replicas, "replicas": replicas, "ready": replicas - 1, "slots": replicas}
        metrics.pool(key, **size, running=replicas - 1, target_wait=10, revision=1 + self.steps // 4)
        metrics.workers(key, dict.fromkeys(FIGURES, 1.5))
        metrics.missing_hooks(key, {"deliver": 1})
        # A row of counts: states, then the buckets and the sum of the runtimes, then those of the waits.
        row = tuple(self.steps * (1 + place % 2) for place in range(WIDTH))
        metrics.tasks(key, {"app.add": row, "app.send": row})
        metrics.restored(key, queued=3, dead=1)
        metrics.restarted(key, 1)
        metrics.recovery_failure(key, Reason.BROKER_WRONG_TYPE)
        metrics.decision(key, Reason.BACKLOG if self.moves and self.steps % 2 else Reason.WITHIN_TARGET)
        if self.moves:
            metrics.scale(key, Direction.UP if self.steps % 12 >= 6 else Direction.DOWN, 1)
        for type_ in ("Ready", "BrokerReachable", "BrokerDurable"):
            metrics.condition(key, type_, "True")
        metrics.condition(key, "Stalled", "False")
        metrics.condition(key, "AgentDegraded", "True")
        metrics.condition(key, "ScalingLimited", "True" if key == ML else "False")

    def _cannot_be_read(self, key: PoolKey) -> None:
        metrics = self.metrics
        metrics.queues_unknown(key)
        metrics.pool(key, desired=2, replicas=2, ready=2, slots=8)
        metrics.decision(key, Reason.HOLDING)
        for type_ in ("Ready", "BrokerReachable", "BrokerDurable"):
            metrics.condition(key, type_, "False")
        metrics.condition(key, "Stalled", "True")
        metrics.recovery_failure(key, Reason.BROKER_TIMEOUT)

    def _works(self) -> None:
        metrics = self.metrics
        metrics.broker_read(GOOD_BROKER, 0.002)
        metrics.broker_read(BAD_BROKER, 1.0, reason=Reason.BROKER_TIMEOUT)
        metrics.unread_registrations({Reason.BROKER_WRONG_TYPE: 1})
        metrics.tick(0.004)
        metrics.watch_failure("list")
        metrics.given_up()
        metrics.unreadable({"Pod": 1, "Deployment": 0})
        metrics.api_request("patch", "deployments/scale", 200, 0.02)
        metrics.api_request("apply", "celeryworkerpools/status", 409, 0.03)
        metrics.reconcile(0.1, "success")
        metrics.workqueue(self.steps % 3)


async def tell(story: Story) -> None:
    while True:
        story.step()
        await asyncio.sleep(SCRAPE_SECONDS / 2)


@asynccontextmanager
async def scraped(story: Story) -> AsyncIterator[Prometheus]:
    """A Prometheus that has seen SCRAPES scrapes of a leader and of a standby, and goes on scraping."""
    story.step()
    always: dict[str, Any] = {"healthy": lambda: True, "ready": lambda: True}
    rules = rendered(VALUES)["spec"]
    async with (
        serving(story.metrics, ANYWHERE, **always) as leader,
        serving(story.standby, ANYWHERE, **always) as other,
        running_prometheus(
            [f"127.0.0.1:{each.ports.metrics}" for each in (leader, other)], {"cluster": "north"}, rules
        ) as prometheus,
    ):
        telling = asyncio.create_task(tell(story))
        try:

            async def scraped_often() -> bool:
                return (await prometheus.value("min(count_over_time(celeriac_leader[1m]))") or 0) >= SCRAPES

            await eventually(scraped_often, seconds=60)
            yield prometheus
        finally:
            telling.cancel()


def examples() -> list[Asked]:
    """The queries that the docs and the runbooks give to users."""
    pages = [DOCS / "metrics.md", *sorted((DOCS / "runbooks").glob("*.md"))]
    return [
        Asked("docs", page.stem, block.replace("[10m]", "[5s]").replace("[5m]", "[5s]"))
        for page in pages
        for block in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL)
    ]


async def labels(prometheus: Prometheus, name: str) -> list[str]:
    """What Grafana offers for a variable."""
    found = await prometheus.query(f"group by ({name}) (celeriac_leader)")
    return [series["metric"][name] for series in found]


async def test_every_query_finds_something_with_each_choice_of_the_variables() -> None:
    queries = list(asked())
    assert len(queries) > 120
    assert len(examples()) > 18
    async with scraped(Story()) as prometheus:
        offered = {name: await labels(prometheus, name) for name in ("cluster", "job", "instance")}
        assert [len(offered[name]) for name in ("cluster", "job", "instance")] == [1, 1, 2]
        stands_by = await standby(prometheus)
        unanswered = {
            each.with_choice(choice): each
            for each in queries
            for choice in choices(each.dashboard, offered, [ML, TWIN])
            if choice.get("instance") != stands_by
        } | {each.expression: each for each in examples()}

        async def all_have_answered() -> bool:
            for expression in list(unanswered):
                if await prometheus.query(expression):
                    del unanswered[expression]
            return not unanswered

        with contextlib.suppress(TimeoutError):
            await eventually(all_have_answered, seconds=30)
    assert unanswered == {}


async def standby(prometheus: Prometheus) -> str:
    """The replica that says nothing of pools and brokers."""
    (found,) = await prometheus.query(
        "sum by (instance) (celeriac_build_info) unless on (instance) celeriac_pool_slots"
    )
    return str(found["metric"]["instance"])


async def test_the_panels_show_what_the_operator_said_and_twins_are_told_apart() -> None:
    by_title: dict[tuple[str, str], list[Asked]] = {}
    for each in asked():
        by_title.setdefault((each.dashboard, each.title), []).append(each)

    async def shown(dashboard: str, title: str, index: int = 0, key: PoolKey | None = None) -> dict[str, float]:
        choice = {"namespace": key.namespace, "pool": key.name} if key else {}
        found = await prometheus.query(by_title[dashboard, title][index].with_choice(choice))
        return {label(series["metric"]): float(series["value"][1]) for series in found}

    async def burst_is_over() -> bool:
        return await shown("fleet", "Ready pods") == {"": 7 + 2 + 2}

    async with scraped(Story(moves=False)) as prometheus:
        await eventually(burst_is_over, seconds=30)
        assert await shown("pool", "Queue length over replicas", key=ML) == {"ml": 4, "ml_low": 3}
        assert await shown("pool", "Queue length over replicas", key=TWIN) == {"ml": 1, "ml_low": 3}
        assert await shown("pool", "Queue length over replicas", 1, ML) == {"": 8}
        assert await shown("pool", "Queue length over replicas", 1, TWIN) == {"": 3}
        assert await shown("pool", "Decisions", key=ML) == {Reason.WITHIN_TARGET: 1}
        assert (await shown("pool", "Conditions", key=BATCH))["BrokerReachable"] == 0
        assert await shown("fleet", "Pods to come") == {"": 2}
        assert await shown("fleet", "Pools") == {"": 3}
        assert await shown("fleet", "In need") == {"": 3}
        hurts = await shown("fleet", "All pools at a glance")
        assert list(hurts.values()) == [1000 + 500, *[100 + 100 + 10 * 0.15 + 1] * 2]
        assert next(iter(hurts)) == "north/billing/batch"
        assert await shown("fleet", "Leaders") == {"": 1}
        assert await shown("fleet", "What is not as it should be") == {
            f"north/billing/batch/False/{type_}": 1 for type_ in ("Ready", "BrokerReachable", "BrokerDurable")
        } | {f"north/{pool}": 1 for pool in ("billing/batch/True/Stalled", *DEGRADED)}
        assert set(await shown("operator", "Readings that failed")) == {"redis.billing:6379/0/Timeout"}
        firing = await prometheus.query('ALERTS{alertstate="firing"}')
        assert {series["metric"]["alertname"] for series in firing} == {"CeleriacAgentDegraded"}


def label(metric: dict[str, Any]) -> str:
    return "/".join(value for name, value in sorted(metric.items()) if value and name != "__name__")


async def test_promtool_finds_no_fault_with_the_metrics() -> None:
    story = Story()
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
