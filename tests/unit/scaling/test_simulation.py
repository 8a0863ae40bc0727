"""Stories over virtual time: bursts, trickles, sawtooths, ETA tasks. No flapping, no task left, always back at zero."""

import random
from itertools import pairwise

import pytest

from celeriac.scaling.policy import Policy, QueueWaitTarget, Target, TasksPerSlotTarget
from tests.unit.scaling.simulated_pool import Simulation, Task

pytestmark = pytest.mark.unit

TARGETS = [pytest.param(QueueWaitTarget(10), id="queueWait"), pytest.param(TasksPerSlotTarget(2), id="tasksPerSlot")]
KNOWN = [pytest.param(True, id="runtime-known"), pytest.param(False, id="runtime-unknown")]
HOLD = [pytest.param(True, id="held-until-idle"), pytest.param(False, id="idle-pods-go-at-once")]


def settled(simulation: Simulation, tasks: int) -> bool:
    """Whether every task was started and the pool is back at zero, having kept its bounds."""
    assert max(simulation.replicas) <= simulation.policy.max_replicas
    assert len(simulation.waits) == tasks
    assert not simulation.waiting
    return simulation.replicas[-1] == 0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("runtime_known", KNOWN)
@pytest.mark.parametrize("hold", HOLD)
class TestStories:
    def test_a_burst_goes_up_once_and_down_once(self, target: Target, runtime_known: bool, hold: bool) -> None:
        policy = Policy(slots=1, target=target, max_replicas=20)
        tasks = [Task(sent=5, runtime=4) for _ in range(300)]
        pool = Simulation(policy, tasks, hold, runtime_known).run(700)
        assert settled(pool, 300)
        assert pool.reversals == 1
        assert all(after <= before for before, after in pairwise(pool.backlog[6:])), "the backlog only shrinks"

    def test_a_trickle_keeps_one_replica_and_lets_it_go_when_it_ends(
        self, target: Target, runtime_known: bool, hold: bool
    ) -> None:
        tasks = [Task(sent=10 * i, runtime=2) for i in range(40)]
        pool = Simulation(Policy(slots=4, target=target), tasks, hold, runtime_known).run(760)
        assert settled(pool, 40)
        assert max(pool.replicas) == 1
        assert pool.reversals == 1

    def test_a_sawtooth_shorter_than_the_window_does_not_flap(
        self, target: Target, runtime_known: bool, hold: bool
    ) -> None:
        """Teeth come every 45 s; the window of 60 s bridges them, so the pool turns once, at the end."""
        tasks = [Task(sent=45 * tooth, runtime=5) for tooth in range(10) for _ in range(30)]
        pool = Simulation(Policy(slots=2, target=target), tasks, hold, runtime_known).run(900)
        assert settled(pool, 300)
        assert pool.reversals == 1

    def test_a_burst_of_eta_tasks_does_not_flap_the_pool(self, target: Target, runtime_known: bool, hold: bool) -> None:
        """Workers pull ETA tasks at once, so the queue is empty while they are held: the pool must stay up for them."""
        tasks = [Task(sent=2, runtime=3), *(Task(sent=3, runtime=3, eta=200) for _ in range(40))]
        pool = Simulation(Policy(slots=2, target=target), tasks, hold, runtime_known).run(800)
        assert settled(pool, 41)
        assert pool.reversals == 1
        assert min(pool.replicas[3:200]) >= 1, "held tasks keep a worker"
        assert max(pool.replicas[100:200]) == 1, "but no more than one"

    def test_random_arrivals_find_a_steady_pool(self, target: Target, runtime_known: bool, hold: bool) -> None:
        chance = random.Random(7)
        tasks = [Task(sent=chance.uniform(0, 600), runtime=chance.uniform(1, 5)) for _ in range(900)]
        pool = Simulation(Policy(slots=4, target=target), tasks, hold, runtime_known).run(1000)
        assert settled(pool, 900)
        assert pool.reversals <= 5, "no more than once in two minutes"
        assert max(pool.waits) <= 13, "the cold start and the wanted wait"


@pytest.mark.parametrize("burst", [10, 60, 150])
def test_with_a_known_runtime_a_burst_starts_within_the_wanted_wait(burst: int) -> None:
    """The owner asked for 10 s: what waits now starts within 10 s, the start of the new pods included."""
    warm_up = [Task(sent=2 * i, runtime=3) for i in range(10)]
    tasks = [*warm_up, *(Task(sent=100, runtime=3) for _ in range(burst))]
    pool = Simulation(Policy(slots=1, max_replicas=500), tasks, hold=False, runtime_known=True).run(600)
    assert settled(pool, burst + 10)
    assert max(pool.waits) <= 10
    assert max(pool.replicas) < burst or burst == 10, "and not by a pod for every task"


def test_a_steady_flow_is_kept_up_with_by_about_the_pods_that_it_needs() -> None:
    """5 tasks a second of 2 s are 10 busy slots: the pool must not need many more, nor lag behind."""
    tasks = [Task(sent=i / 5, runtime=2) for i in range(3000)]
    pool = Simulation(Policy(slots=1, max_replicas=100), tasks, hold=False, runtime_known=True).run(1000)
    assert settled(pool, 3000)
    steady = pool.replicas[200:600]
    assert min(steady) >= 10
    assert max(steady) <= 16
    assert max(pool.waits[1000:]) <= 10


def test_two_hundred_long_tasks_stop_at_max_replicas_and_drain() -> None:
    tasks = [Task(sent=0, runtime=20) for _ in range(200)]
    pool = Simulation(Policy(slots=2, max_replicas=10), tasks, hold=True, runtime_known=True).run(620)
    assert settled(pool, 200)
    assert max(pool.replicas) == 10
    assert pool.reversals == 1
