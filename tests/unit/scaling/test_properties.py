"""What holds for every policy, demand and past."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.scaling.decide import decide, fresh_history
from celeriac.scaling.eta import RESTING_MESSAGES
from celeriac.scaling.history import WINDOW_STEPS
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import (
    Behavior,
    Fallback,
    Mode,
    Policy,
    PolicyType,
    QueueWaitTarget,
    RatePolicy,
    ScalingRules,
    SelectPolicy,
    TasksPerSlotTarget,
)
from celeriac.scaling.workload import Demand, Doubt, Workload
from tests.unit.scaling.virtual_time import DrivenPool

pytestmark = pytest.mark.unit

repeatable = settings(deadline=None, max_examples=60, derandomize=True)
"""The same examples in every run: a test that fails, fails for everyone."""

counts = st.one_of(st.integers(0, 5), st.integers(0, 100_000))
rate_policies = st.builds(RatePolicy, st.sampled_from(PolicyType), st.integers(1, 900), st.integers(1, 1800))
rules = st.builds(
    ScalingRules,
    stabilization_window_seconds=st.sampled_from([0, 1, 60, 3600]),
    tolerance=st.sampled_from([0.0, 0.1, 1.0]),
    select_policy=st.sampled_from(SelectPolicy),
    policies=st.none() | st.lists(rate_policies, min_size=1, max_size=3).map(tuple),
)
policies = st.builds(
    Policy,
    slots=st.integers(1, 64),
    min_replicas=st.integers(0, 5),
    max_replicas=st.integers(5, 200),
    target=st.one_of(
        st.builds(QueueWaitTarget, st.floats(0.1, 3600)),
        st.builds(TasksPerSlotTarget, st.floats(0.1, 100)),
    ),
    scale_to_zero_after_seconds=st.sampled_from([0, 10, 300]),
    behavior=st.builds(Behavior, rules, rules),
    fallback=st.none() | st.builds(Fallback, st.just(60), st.integers(0, 300)),
    mode=st.sampled_from(Mode),
)
demands = st.builds(
    Demand,
    waiting=counts,
    running=counts,
    current_replicas=st.just(0),
    scheduled=st.integers(0, 3) | st.integers(90, 110),
    deferred=st.integers(0, 20),
    next_eta_seconds=st.none() | st.floats(0, 1000),
    held_elsewhere=st.integers(0, 1),
    agent=st.booleans(),
    exact=st.booleans(),
    arrival_rate=st.floats(0, 1e4),
    runtime_seconds=st.none() | st.floats(0, 1e5),
    cold_start_seconds=st.floats(0, 600),
)
doubts = st.just(Doubt(current_replicas=0, since=0.0, reason="Timeout", message="Redis did not answer"))
readings = st.lists(st.tuples(demands | doubts, st.floats(0.5, 400)), min_size=1, max_size=8)


@repeatable
@given(policies, readings, st.integers(0, 200))
def test_every_decision_keeps_the_promises(
    policy: Policy, story: list[tuple[Demand | Doubt, float]], replicas: int
) -> None:
    pool = DrivenPool(policy, replicas=replicas, history=fresh_history(replicas, 1000.0))
    for reading, pause in story:
        before = pool.replicas
        seen = replace(reading, current_replicas=before)
        decision = pool.see(seen)
        after = decision.replicas
        assert decision.message
        assert 0 <= after <= max(policy.max_replicas, before), "never above the maximum"
        assert len(pool.history.highest) <= WINDOW_STEPS + 1
        if policy.mode is Mode.PAUSED:
            assert after == before
        elif isinstance(seen, Doubt):
            assert after >= before, "a doubt never scales down"
        else:
            assert policy.min_replicas <= after <= policy.max_replicas
            resting = seen.agent and seen.scheduled + seen.deferred <= RESTING_MESSAGES
            held = seen.waiting + seen.running + (0 if resting else seen.scheduled) > 0
            assert after > 0 or not held, "work never meets a pool at zero"
            certain = seen.idle or (resting and replace(seen, scheduled=0).idle)
            assert after > 0 or before == 0 or certain, "zero only when it is certain that nothing is held"
        pool.wait(pause)


@repeatable
@given(policies, demands | doubts, st.integers(0, 50), st.booleans(), st.none() | st.integers(0, 50))
def test_every_plan_keeps_the_promises(
    policy: Policy, reading: Demand | Doubt, replicas: int, rollout: bool, pin: int | None
) -> None:
    policy = replace(policy, pinned_replicas=pin)
    seen = replace(reading, current_replicas=replicas)
    decision = decide(policy, seen, fresh_history(replicas, -4000.0), 0.0)
    planned = plan(policy, decision, seen, Workload(replicas, rollout_in_progress=rollout))
    assert planned.message
    if planned.replicas is None:
        return
    assert policy.mode is Mode.AUTO
    assert planned.replicas == decision.replicas != replicas
    if planned.replicas < replicas:
        assert not rollout
        assert pin is not None or (isinstance(seen, Demand) and seen.idle)
