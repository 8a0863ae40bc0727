"""Counts are read where there are new ones: a pool whose reports do not change asks for nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice
from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import Broker
from celeriac.brokers.readings import PoolReading
from celeriac.brokers.task_counts import NOTHING, Rows
from celeriac.pool.parse import parse_pool
from celeriac.tasks.reader import PAUSE_SECONDS, TaskReader
from celeriac.telemetry.metrics import Metrics
from tests.unit.builders.cluster import pool_body
from tests.unit.builders.workers import report

pytestmark = pytest.mark.unit

ML = parse_pool(pool_body("ml", uid="uid-of-ml", url="redis://cache"))
MAIL = parse_pool(pool_body("mail", uid="uid-of-mail", url="redis://cache"))


class Counts:
    """A broker's counts, and who asked for which."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.answer: Rows | BrokerDoubt = {"work": (1, *NOTHING[1:])}

    @property
    def task_counts(self) -> "Counts":
        return self

    async def read(self, pools: Sequence[tuple[str, str]]) -> Sequence[Rows | BrokerDoubt]:
        self.asked.append([uid for _, uid in pools])
        return [self.answer for _ in pools]


class Scene:
    def __init__(self, most_names: int = 50) -> None:
        self.now, self.counts, self.told = 100.0, Counts(), list[Notice]()
        self.metrics = Metrics()
        self.changed: list[PoolKey] = []
        self.reader = TaskReader(self.metrics, self, most_names, self.changed.append, clock=lambda: self.now)
        self.readings: dict[PoolKey, Any] = {ML.key: PoolReading(), MAIL.key: PoolReading()}

    def tell(self, notice: Notice) -> None:
        self.told.append(notice)

    def says(self, *counted: tuple[str, int], pool: Any = ML) -> None:
        reports = {process: replace(report(), process=process, counted=count) for process, count in counted}
        self.readings[pool.key] = PoolReading(reports=reports)

    async def tick(self, seconds: float = PAUSE_SECONDS) -> list[list[str]]:
        """A reading of the broker so much later; what was asked for then."""
        self.now += seconds
        before = len(self.counts.asked)
        self.reader.heard(cast(Broker, self.counts), [ML, MAIL], [self.readings[ML.key], self.readings[MAIL.key]])
        await self.reader.settle()
        await asyncio.sleep(0)
        return self.counts.asked[before:]

    def shown(self, name: str = "celeriac_tasks_total", pool: str = "ml", **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"namespace": ML.key.namespace, "pool": pool, **labels})


def test_each_pool_is_read_once_at_first_and_then_asks_for_nothing_until_something_is_counted() -> None:
    async def story() -> None:
        scene = Scene()
        assert await scene.tick() == [["uid-of-ml", "uid-of-mail"]]
        assert scene.shown(task="work", state="succeeded") == 1
        for _ in range(5):
            assert await scene.tick() == []
        scene.says(("ml.1", 0))
        assert await scene.tick() == [["uid-of-ml"]]
        scene.says(("ml.1", 0))  # another report, and nothing counted
        assert await scene.tick() == []
        scene.says(("ml.1", 1))
        assert await scene.tick() == [["uid-of-ml"]]
        scene.says()  # the worker has gone, and said goodbye with its last counts
        assert await scene.tick() == [["uid-of-ml"]]

    asyncio.run(story())


def test_a_busy_pool_is_read_no_more_often_than_may_be() -> None:
    async def story() -> None:
        scene = Scene()
        await scene.tick()
        asked = 0
        for number in range(1, 41):
            scene.says(("ml.1", number))
            asked += len(await scene.tick(0.5))
        assert asked == 40 * 0.5 / PAUSE_SECONDS

    asyncio.run(story())


def test_counts_that_cannot_be_read_leave_the_counters_as_they_are_and_are_told_once() -> None:
    async def story() -> None:
        scene = Scene()
        await scene.tick()
        scene.counts.answer = BrokerDoubt(Reason.BROKER_WRONG_TYPE, "key 'x' is no hash")
        scene.says(("ml.1", 1))
        for _ in range(4):
            await scene.tick(10)
        assert [(told.reason, told.pool) for told in scene.told] == [(Reason.TASK_COUNTS_UNREADABLE, ML.key)]
        assert "key 'x' is no hash" in scene.told[0].message
        assert scene.shown(task="work", state="succeeded") == 1
        assert scene.shown("celeriac_pool_unread_task_counts") == 1
        assert "key 'x' is no hash" in (scene.reader.unread(ML.key) or "")
        assert scene.changed == [ML.key], "its status is to be written"
        scene.counts.answer = {"work": (3, *NOTHING[1:])}
        await scene.tick(10)
        assert scene.shown(task="work", state="succeeded") == 3
        assert scene.shown("celeriac_pool_unread_task_counts") == 0
        assert (scene.reader.unread(ML.key), scene.changed) == (None, [ML.key, ML.key])

    asyncio.run(story())


def test_a_replica_that_leads_again_tells_all_without_beginning_anew() -> None:
    async def story() -> None:
        scene = Scene()
        await scene.tick()
        scene.metrics.leader(False)
        scene.reader.tell_all_again()
        assert scene.shown(task="work", state="succeeded") is None
        await scene.tick()
        assert scene.shown(task="work", state="succeeded") == 1

    asyncio.run(story())


def test_without_names_nothing_is_read() -> None:
    async def story() -> None:
        assert await Scene(most_names=0).tick() == []

    asyncio.run(story())


def test_a_pool_that_is_gone_leaves_no_counters() -> None:
    async def story() -> None:
        scene = Scene()
        await scene.tick()
        scene.metrics.forget(ML.key)
        scene.reader.retain([MAIL.key])
        assert scene.shown(task="work", state="succeeded") is None
        assert scene.shown(pool="mail", task="work", state="succeeded") == 1
        assert await scene.tick() == [["uid-of-ml"]], "one of the same name is another"

    asyncio.run(story())
