"""A constant load finds a constant pool: arrivals, runtimes and starts without any noise, in virtual time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.scaling.policy import DEFAULT_SCALE_DOWN, Policy, QueueWaitTarget, Target, TasksPerSlotTarget
from tests.unit.scaling.properties.imagined import promise
from tests.unit.scaling.simulated_agents import TICK, AgentSimulation
from tests.unit.scaling.simulated_pool import Task

pytestmark = pytest.mark.unit

SETTLED_SECONDS = 300
SECONDS = 550

steady_targets: st.SearchStrategy[Target] = st.sampled_from(
    [QueueWaitTarget(10), QueueWaitTarget(10), QueueWaitTarget(3), TasksPerSlotTarget(1), TasksPerSlotTarget(0.5)]
)
"""More than one task per slot asks for a queue that never ends, and finds no rest: docs/scaling.md says so."""


@promise(0.3)
@given(
    st.sampled_from([0.1, 0.5, 1.0, 1.3]) | st.floats(0.1, 1.5),
    st.sampled_from([0.3, 1.0, 5.0, 12.0]) | st.floats(0.1, 15),
    st.integers(1, 4),
    st.sampled_from([0.0, 4.0, 12.0]),
    steady_targets,
)
def test_under_a_constant_load_the_replicas_stay_as_they_are_and_are_about_what_it_needs(
    per_second: float, runtime: float, slots: int, cold_start: float, target: Target
) -> None:
    policy = Policy(slots, max_replicas=1000, target=target)
    tasks = [Task(number / per_second, runtime) for number in range(int(SECONDS * per_second))]
    pool = AgentSimulation(policy, tasks, cold_start).run(SECONDS)
    settled = pool.replicas[int(SETTLED_SECONDS / TICK) :]
    assert min(settled) == max(settled), "not once up, down or up"
    share = target.tasks if isinstance(target, TasksPerSlotTarget) else 1
    # A reading finds each task for half a reading longer than it runs; the tolerance keeps a little more than that.
    most = per_second * (runtime + 2 * TICK) + 1
    needed = per_second * runtime / slots / share
    assert math.floor(needed) <= settled[0] <= math.ceil(most / slots / share / (1 - DEFAULT_SCALE_DOWN.tolerance))
