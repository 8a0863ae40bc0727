"""Stories over virtual time of pools whose workers report and drain: no task is hit, no ETA missed, nothing flaps."""

import random
from itertools import pairwise

import pytest

from celeriac.api.reasons import Reason
from celeriac.scaling.policy import Policy, QueueWaitTarget, Target, TasksPerSlotTarget
from tests.unit.scaling.simulated_agents import TICK, AgentSimulation
from tests.unit.scaling.simulated_pool import Task

pytestmark = pytest.mark.unit

TARGETS = [pytest.param(QueueWaitTarget(10), id="queueWait"), pytest.param(TasksPerSlotTarget(1), id="tasksPerSlot")]


@pytest.mark.parametrize("target", TARGETS)
def test_a_pool_that_is_never_idle_shrinks_to_what_it_needs(target: Target) -> None:
    """A peak of 20 s, then a trickle without end: without draining the peak's pods would stay for ever."""
    peak = [Task(sent=5, runtime=10) for _ in range(40)]
    trickle = [Task(sent=2 * i, runtime=5) for i in range(400)]
    pool = AgentSimulation(Policy(slots=2, target=target), [*peak, *trickle]).run(800)
    assert max(pool.replicas) >= 10
    assert max(pool.replicas[int(400 / TICK) :]) <= 4
    assert pool.reversals == 1
    assert len(pool.lateness) == 440


@pytest.mark.parametrize("target", TARGETS)
def test_a_long_task_keeps_its_own_worker_and_no_other(target: Target) -> None:
    tasks = [*(Task(sent=5, runtime=8) for _ in range(10)), Task(sent=5, runtime=900)]
    pool = AgentSimulation(Policy(slots=1, target=target), tasks).run(1400)
    assert pool.at(300) == 1
    assert pool.at(890) == 1
    assert pool.at(1300) == 0
    assert pool.reversals == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("target", TARGETS)
def test_random_load_never_hits_a_task_and_swaps_no_victims(target: Target, seed: int) -> None:
    """Waves of load and long tasks in between: the simulation asserts that whoever is stopped holds nothing."""
    chance = random.Random(seed)
    tasks = [
        Task(sent=wave * 200 + chance.uniform(0, 60), runtime=chance.choice([0.5, 3, 3, 60, 150]))
        for wave in range(4)
        for _ in range(chance.randint(5, 60))
    ]
    pool = AgentSimulation(Policy(slots=2, target=target), tasks).run(1600)
    assert len(pool.lateness) == len(tasks)
    assert pool.replicas[-1] == 0
    assert max(pool.marks.values()) <= 4, "no more often than there are waves"


class TestEta:
    FAR = 2000.0

    def test_a_pool_sleeps_until_a_task_that_is_far_ahead_and_wakes_in_time(self) -> None:
        tasks = [Task(sent=2, runtime=3), *(Task(sent=3, runtime=3, eta=self.FAR) for _ in range(5))]
        pool = AgentSimulation(Policy(slots=4), tasks).run(2500)
        assert pool.at(400) == 0
        assert pool.at(self.FAR - 10) == 0
        assert pool.at(self.FAR - 1) >= 1, "a pod starts before it is due"
        assert len(pool.lateness) == 6
        assert max(pool.lateness[1:5]) <= 2 * TICK, "as many as there are slots start when they are due"
        assert pool.replicas[-1] == 0
        assert pool.reversals == 3, "up, to sleep, up for the ETA, to sleep"

    @pytest.mark.parametrize("patience", [0, 5, 60, 300])
    def test_a_burst_of_eta_tasks_does_not_flap_the_pool(self, patience: float) -> None:
        """However soon the pool may sleep, it is worth it only where the next task is farther ahead than that."""
        chance = random.Random(5)
        burst = [Task(sent=3, runtime=1, eta=chance.uniform(10, 700)) for _ in range(60)]
        policy = Policy(slots=2, scale_to_zero_after_seconds=patience)
        pool = AgentSimulation(policy, [Task(sent=2, runtime=3), *burst]).run(1200)
        assert len(pool.lateness) == 61, "none is lost"
        assert pool.replicas[-1] == 0
        gaps = sorted(task.eta for task in burst)
        sleeps = sum(after - before > patience + 6 for before, after in pairwise(gaps))
        assert pool.reversals <= 2 * sleeps + 1
        assert sum(pool.marks.values()) <= 2 * (sleeps + 1), "workers are asked once for each sleep, and once in vain"
        assert max(pool.lateness[1:]) <= 2

    def test_a_worker_asked_for_its_eta_tasks_in_vain_is_not_asked_again_before_they_are_due(self) -> None:
        """The pool is allowed to sleep at once, and a task is due in 6 s at its worker: it is looked at once."""
        tasks = [Task(sent=2, runtime=1), Task(sent=7, runtime=1, eta=12.5)]
        pool = AgentSimulation(Policy(slots=1, scale_to_zero_after_seconds=0), tasks, cold_start=4).run(60)
        assert sum(pool.marks.values()) <= 3
        assert pool.lateness[-1] <= 2 * TICK
        assert pool.replicas[-1] == 0

    def test_more_than_can_be_looked_through_at_rest_keep_one_worker(self) -> None:
        tasks = [Task(sent=3, runtime=0.5, eta=self.FAR + i) for i in range(101)]
        pool = AgentSimulation(Policy(slots=4), [Task(sent=2, runtime=1), *tasks]).run(2600)
        assert {pool.at(second) for second in range(500, 1990, 10)} == {1}
        assert len(pool.lateness) == 102
        assert pool.replicas[-1] == 0
        assert pool.reversals == 1

    def test_tasks_sent_to_a_sleeping_pool_wake_it_for_their_time_only(self) -> None:
        pool = AgentSimulation(Policy(slots=4), [Task(sent=2, runtime=1), Task(sent=600, runtime=1, eta=1000)])
        pool.run(1500)
        assert pool.at(700) == 0
        assert pool.lateness[-1] <= 2 * TICK
        assert pool.reversals == 3


class TestLearned:
    def test_runtime_arrivals_and_cold_start_are_those_of_the_pool(self) -> None:
        tasks = [Task(sent=i / 4, runtime=2) for i in range(2000)]
        pool = AgentSimulation(Policy(slots=2, max_replicas=50), tasks, cold_start=6.0).run(400)
        assert pool.learned.runtime_seconds == pytest.approx(2, rel=0.1)
        assert pool.learned.arrival_rate == pytest.approx(4, rel=0.15)
        assert pool.learned.cold_start_seconds == pytest.approx(6, abs=2 * TICK)
        assert 4 <= pool.replicas[-1] <= 7, "8 busy slots"
        assert max(pool.lateness[800:]) <= 10, "the wanted wait"

    @pytest.mark.parametrize(("runtime", "most"), [(0.5, 8), (10.0, 100)])
    def test_once_short_tasks_are_known_a_burst_of_them_needs_few_pods(self, runtime: float, most: int) -> None:
        warm_up = [Task(sent=i, runtime=runtime) for i in range(60)]
        burst = [Task(sent=100, runtime=runtime) for _ in range(100)]
        policy = Policy(slots=1, max_replicas=100, target=QueueWaitTarget(20))
        pool = AgentSimulation(policy, [*warm_up, *burst]).run(400)
        assert max(pool.replicas) <= most
        assert max(pool.lateness[60:]) <= 20 + TICK
        assert len(pool.lateness) == 160


def test_a_drain_is_told_as_such() -> None:
    tasks = [*(Task(sent=5, runtime=5) for _ in range(4)), *(Task(sent=5, runtime=200) for _ in range(3))]
    pool = AgentSimulation(Policy(slots=4, target=TasksPerSlotTarget(0.5)), tasks).run(600)
    assert Reason.DRAINING in pool.reasons
