"""Pools that need no new decision: what comes of them is what would have come of deciding at every tick."""

import random
from dataclasses import replace
from typing import Any

import pytest

from celeriac.api.reasons import Reason
from celeriac.autoscaling.outcome import Outcome
from celeriac.autoscaling.pool_scaler import PoolScaler, Seed
from celeriac.autoscaling.scale_writer import Change
from celeriac.autoscaling.sight import Sight, Step
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.readings import PoolReading, QueueReading
from celeriac.cluster.records import DeploymentRecord
from celeriac.scaling.policy import Fallback, Policy, TasksPerSlotTarget
from tests.unit.builders.pools import pool
from tests.unit.builders.workers import KEY, pod, report

pytestmark = pytest.mark.unit

TICK = 0.5
EMPTY = {"celery": QueueReading(0)}


class Sleeper:
    """A pool with the agent; `rests` False: it decides at every tick.

    Its replicas follow each step at once, or after `turns` ticks: the change waits in line, where each step may put
    another in its place, or take it back.
    """

    def __init__(self, *, rests: bool = True, replicas: int = 0, turns: int = 0, **policy: Any) -> None:
        self.now = 1000.0
        self.pool = pool(policy=Policy(slots=1, max_replicas=50, target=TasksPerSlotTarget(1), **policy))
        self.scaler = PoolScaler(KEY, self.pool.uid, Seed(), self.now)
        self.rests = rests
        self.replicas, self.revision = replicas, 0
        self.turns, self.waited = turns, 0
        self.change: Change | None = None
        self.reading: PoolReading | BrokerDoubt = PoolReading(EMPTY)
        self.unresolved = False
        self.steps = 0

    def reads(self, reading: PoolReading | BrokerDoubt) -> None:
        self.reading = reading

    def tick(self) -> Step | None:
        """One tick later; None where the pool rests."""
        self.now += TICK
        step = None if self.rests and self._holds() else self._decides()
        if step is not None:
            self.change = step.change
        self.waited = self.waited + 1 if self.change is not None else 0
        if self.change is not None and self.waited > self.turns:
            self._performs(self.change)
        return step

    def _holds(self) -> bool:
        carried = self.change is not None
        return self.scaler.rests(self.reading, self.revision, self.now, unresolved=self.unresolved, carried=carried)

    def _decides(self) -> Step:
        self.steps += 1
        pods = [pod(f"p{n}") for n in range(self.replicas)]
        reading = self.reading
        if isinstance(reading, PoolReading) and pods:
            reports = {each.uid: replace(report(each.uid, slots=1), counter=self.steps) for each in pods}
            reading = replace(reading, reports=reports)
        n = self.replicas
        record = DeploymentRecord(KEY, "d", 1, 1, n, n, n, n, controller_uid=self.pool.uid)
        sight = Sight(self.pool, reading, record, pods, self.unresolved, None, self.revision)
        return self.scaler.step(sight, self.now)

    def _performs(self, change: Change) -> None:
        self.replicas, self.change, self.waited = change.after, None, 0
        self.revision += 1
        self.scaler.scaled(change.pods, self.now)

    def live(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.tick()

    @property
    def outcome(self) -> Outcome:
        found = self.scaler.outcome_at(self.now)
        assert found is not None
        return found


def test_a_sleeping_pool_decides_nothing_until_something_changes() -> None:
    sleeper = Sleeper()
    sleeper.live(200)
    steps = sleeper.steps
    sleeper.live(600)
    assert sleeper.steps - steps <= 600 / 30 + 1
    sleeper.reads(PoolReading({"celery": QueueReading(7)}))
    step = sleeper.tick()
    assert step is not None
    assert step.change is not None
    assert (step.change.before, step.change.after) == (0, 7)


@pytest.mark.parametrize("change", ["revision", "unresolved"])
def test_whatever_changes_ends_the_rest(change: str) -> None:
    sleeper = Sleeper()
    sleeper.live(200)
    while sleeper.tick() is not None:
        pass
    setattr(sleeper, change, 99)
    assert sleeper.tick() is not None


def test_how_long_a_resting_pool_has_been_idle_goes_on() -> None:
    sleeper, awake = Sleeper(), Sleeper(rests=False)
    for each in (sleeper, awake):
        each.live(300)
    assert sleeper.steps < awake.steps
    assert sleeper.outcome.idle_seconds == awake.outcome.idle_seconds


def test_a_pool_with_work_or_pods_or_an_eta_never_rests() -> None:
    for queues, replicas, eta in (
        ({"celery": QueueReading(3)}, 0, None),
        (EMPTY, 2, None),
        ({"celery": QueueReading(0, deferred=1)}, 0, 500.0),
    ):
        busy = Sleeper(replicas=replicas, min_replicas=replicas)
        busy.reads(PoolReading(queues, next_eta_seconds=eta))
        busy.live(120)
        assert busy.steps == 240, queues


def test_a_pool_at_zero_whose_change_waits_in_line_decides_once() -> None:
    """Of thousands that wake at once, most wait for many ticks."""
    sleeper = Sleeper(turns=60)
    sleeper.live(200)
    sleeper.reads(PoolReading({"celery": QueueReading(7)}))
    steps = sleeper.steps
    sleeper.live(30)
    assert sleeper.steps - steps <= 2
    assert sleeper.replicas == 0
    sleeper.reads(PoolReading({"celery": QueueReading(9)}))
    sleeper.live(1)
    assert sleeper.replicas == 9, "what is sent at last is what the latest reading asks for"


def test_a_change_that_failed_is_wanted_again_at_the_next_tick() -> None:
    sleeper = Sleeper(turns=60)
    sleeper.live(200)
    sleeper.reads(PoolReading({"celery": QueueReading(7)}))
    sleeper.live(5)
    sleeper.change = None
    step = sleeper.tick()
    assert step is not None
    assert step.change is not None


def test_the_tasks_of_a_long_sleep_are_no_arrivals_of_all_that_time() -> None:
    """Ten minutes asleep, then a thousand tasks at once: the rate is that of now."""
    sleeper, awake = Sleeper(), Sleeper(rests=False)
    for each in (sleeper, awake):
        each.live(600)
        each.reads(PoolReading({"celery": QueueReading(1000)}))
        each.live(1)
    learned, known = sleeper.outcome.learned, awake.outcome.learned
    assert learned is not None
    assert known is not None
    assert learned.arrival_rate == pytest.approx(known.arrival_rate)
    assert learned.oldest_seconds == pytest.approx(known.oldest_seconds, abs=TICK)


def test_the_same_doubt_is_looked_at_seldom_and_its_fallback_comes_in_time() -> None:
    away = Reason.BROKER_CONNECTION_FAILED
    sleeper, awake = (Sleeper(rests=rests, fallback=Fallback(60, 5)) for rests in (True, False))
    for each in (sleeper, awake):
        each.live(100)
    for _ in range(300):
        for each in (sleeper, awake):
            each.reads(BrokerDoubt(away, "Redis is away"))
            each.tick()
        assert sleeper.replicas == awake.replicas
    assert sleeper.replicas == 5
    assert sleeper.steps < awake.steps / 2
    sleeper.reads(BrokerDoubt(Reason.BROKER_TIMEOUT, "Redis is away"))
    assert sleeper.tick() is not None


@pytest.mark.parametrize("turns", [0, 3, 30])
@pytest.mark.parametrize("seed", range(6))
def test_resting_changes_no_decision(seed: int, turns: int) -> None:
    """Bursts, quiet times and doubts at random: at each tick the pool that rests stands where its twin does."""
    dice = random.Random(seed)
    rules = Policy(slots=1).behavior
    behavior = replace(
        rules,
        scale_down=replace(rules.scale_down, stabilization_window_seconds=dice.choice([0, 5, 60])),
        scale_up=replace(rules.scale_up, stabilization_window_seconds=dice.choice([0, 3])),
    )
    policy: dict[str, Any] = {"behavior": behavior, "scale_to_zero_after_seconds": dice.choice([0, 2, 10])}
    sleeper, awake = Sleeper(turns=turns, **policy), Sleeper(rests=False, turns=turns, **policy)
    for _ in range(20):
        kind = dice.random()
        if kind < 0.2:
            reading: PoolReading | BrokerDoubt = BrokerDoubt(Reason.BROKER_TIMEOUT, "Redis is away")
        else:
            reading = PoolReading({"celery": QueueReading(dice.choice([0, 0, 0, 1, 4]))})
        for _ in range(dice.choice([1, 2, 9, 40, 120])):
            for each in (sleeper, awake):
                each.reads(reading)
                each.tick()
            assert sleeper.replicas == awake.replicas
            assert sleeper.outcome.decision.replicas == awake.outcome.decision.replicas
            assert sleeper.outcome.reason == awake.outcome.reason
            assert sleeper.outcome.idle_seconds == awake.outcome.idle_seconds
