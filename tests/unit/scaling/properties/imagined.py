"""Pools as nobody would think of them: policies, readings, pasts and pods for hypothesis to draw.

A past is lived, never made up: whatever a decision remembers, `decide` has put there.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from celeriac.api.reasons import Reason
from celeriac.scaling.decide import fresh_history
from celeriac.scaling.decision import Decision
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
    Target,
    TasksPerSlotTarget,
)
from celeriac.scaling.workload import MARKED_COST, RELEASED_COST, Demand, Doubt, Pod
from tests.unit.scaling.virtual_time import DrivenPool

_EVERY = settings.get_profile("celeriac")
settings.register_profile("celeriac-ci", _EVERY, derandomize=True, database=None, max_examples=50)
settings.register_profile("celeriac-long", _EVERY, max_examples=2_000, print_blob=True)
"""What `make properties` runs: other examples each time, and those that failed first."""

_PROFILE = settings.get_profile(f"celeriac-{os.environ.get('HYPOTHESIS_PROFILE', 'ci')}")


def promise(share: float = 1.0) -> Callable[[Any], Any]:
    """The settings of one property; `share` of the profile's examples, less than 1 where one takes long."""
    return settings(_PROFILE, max_examples=max(1, int(_PROFILE.max_examples * share)))


few = st.integers(0, 12)
counts = few | st.integers(0, 400) | st.integers(0, 2**53 - 1)
pauses = st.sampled_from([0.5, 0.5, 1.0, 2.5, 10.0, 15.0, 29.5, 60.0, 300.0]) | st.floats(0.5, 4000)
modest_rates = st.builds(RatePolicy, st.sampled_from(PolicyType), st.sampled_from([1, 2, 4, 50]), st.integers(5, 60))
rates = modest_rates | st.builds(
    RatePolicy, st.sampled_from(PolicyType), st.integers(1, 1_000_000), st.integers(1, 1800)
)


def rules(windows: st.SearchStrategy[int]) -> st.SearchStrategy[ScalingRules]:
    return st.builds(
        ScalingRules,
        stabilization_window_seconds=windows,
        tolerance=st.sampled_from([0.0, 0.0, 0.1, 1.0]) | st.floats(0, 1e6),
        select_policy=st.sampled_from([SelectPolicy.MAX] * 3 + [SelectPolicy.MIN] * 2 + [SelectPolicy.DISABLED]),
        policies=st.none() | st.lists(rates, min_size=1, max_size=3).map(tuple),
    )


def behaviors(windows: st.SearchStrategy[int]) -> st.SearchStrategy[Behavior]:
    return st.just(Behavior()) | st.builds(Behavior, rules(windows), rules(windows))


modest_targets: st.SearchStrategy[Target] = st.sampled_from([TasksPerSlotTarget(1), QueueWaitTarget(10.0)])
targets: st.SearchStrategy[Target] = st.one_of(
    modest_targets,
    st.builds(QueueWaitTarget, st.floats(0.1, 86_400)),
    st.builds(TasksPerSlotTarget, st.floats(0.01, 100_000)),
)
any_window = st.sampled_from([0, 1, 60, 60, 300, 3600])
fallbacks = st.none() | st.builds(Fallback, st.integers(1, 600), few) | st.just(Fallback(86_400, 10_000))


modes = st.sampled_from(Mode)
pins = st.none() | st.integers(0, 10_000)


@st.composite
def policies(
    draw: st.DrawFn,
    *,
    windows: st.SearchStrategy[int] = any_window,
    modes: st.SearchStrategy[Mode] = modes,
    pins: st.SearchStrategy[int | None] = pins,
) -> Policy:
    """Whatever the schema and `celeriac.pool.policy` let in; two in three as people write them."""
    modest = draw(st.sampled_from([True, True, False]))
    least = draw(st.sampled_from([0, 0, 0, 1, 2, 4]) if modest else st.integers(0, 10_000))
    most = max(1, least)
    return Policy(
        slots=draw(st.sampled_from([1, 1, 2, 4]) if modest else st.integers(1, 10_000)),
        min_replicas=least,
        max_replicas=draw(
            st.sampled_from([most, most + 1, most + 3, most + 30]) if modest else st.integers(most, 10_000)
        ),
        target=draw(modest_targets if modest else targets),
        scale_to_zero_after_seconds=draw(st.sampled_from([0, 10, 30, 300]) | st.integers(0, 604_800)),
        behavior=draw(behaviors(windows)),
        fallback=draw(fallbacks),
        mode=draw(modes),
        pinned_replicas=draw(pins),
    )


scaled_by_demand = policies(modes=st.just(Mode.AUTO), pins=st.none())

nothing_to_do = st.builds(
    Demand,
    *(st.just(0), st.just(0), st.just(0)),
    scheduled=st.sampled_from([0, 0, 1, 101]),
    deferred=st.sampled_from([0, 0, 1]),
    next_eta_seconds=st.sampled_from([None, None, 1.5, 5.0, 13.0, 25.0, 250.0]) | st.floats(0, 400),
    held_elsewhere=st.sampled_from([0, 0, 0, 1]),
    agent=st.sampled_from([True, True, False]),
    exact=st.sampled_from([True, True, True, False]),
    cold_start_seconds=st.sampled_from([0.0, 4.0, 12.0]),
)
modest_demands = st.builds(
    Demand,
    waiting=few,
    running=few,
    current_replicas=st.just(0),
    agent=st.booleans(),
    refused=st.sampled_from([False] * 4 + [True]),
    arrival_rate=st.floats(0, 3),
    runtime_seconds=st.sampled_from([None, 0.5, 3.0, 600.0]),
    cold_start_seconds=st.sampled_from([0.0, 4.0, 12.0]),
)
wild_demands = st.builds(
    Demand,
    waiting=st.just(0) | counts,
    running=st.just(0) | counts,
    current_replicas=st.just(0),
    ending=few,
    scheduled=st.just(0) | few | st.integers(90, 110) | counts,
    deferred=st.just(0) | st.integers(0, 110),
    next_eta_seconds=st.none() | st.floats(-10, 1000) | st.floats(-1e12, 1e12),
    held_elsewhere=st.integers(0, 1),
    agent=st.booleans(),
    gives_back=st.booleans(),
    exact=st.booleans(),
    refused=st.booleans(),
    arrival_rate=st.just(0.0) | st.floats(0, 100) | st.floats(0, 2**53),
    runtime_seconds=st.none() | st.just(0.0) | st.floats(0, 100) | st.floats(0, 1e15),
    cold_start_seconds=st.just(0.0) | st.floats(0, 30) | st.floats(0, 1e12),
)
"""The bounds are those of what is read: `celeriac.brokers.redis.json_fields`, `celeriac.pool.told_status`."""

demands = modest_demands | nothing_to_do | wild_demands
doubts = st.floats(0, 900).map(
    lambda since: Doubt(0, 100.0 + since, Reason.BROKER_TIMEOUT, "Redis did not answer in 1 s")
)
readings = demands | doubts
calm = st.sampled_from(
    [
        *(Demand(0, n, 0, agent=True, runtime_seconds=1.0) for n in (1, 2, 4, 8, 12, 20)),
        *(Demand(n, 0, 0) for n in (1, 5, 30)),
        *(Demand(0, 0, 0, agent=True) for _ in range(4)),
        Demand(0, 0, 0, agent=True, scheduled=1, next_eta_seconds=200.0),
    ]
)
past = st.lists(st.tuples(calm | doubts, pauses), max_size=6)


@dataclass
class Lived:
    """A pool at the moment after all that it has been through, and what it sees now."""

    pool: DrivenPool
    sees: Demand | Doubt

    def decides(self, reading: Demand | Doubt | None = None) -> Decision:
        """Decide of this reading, or of what the pool sees; nothing is performed."""
        return self.pool.ask(reading or self.sees)


@st.composite
def lived(
    draw: st.DrawFn,
    policy: st.SearchStrategy[Policy] = scaled_by_demand,
    sight: st.SearchStrategy[Demand] | st.SearchStrategy[Doubt] | st.SearchStrategy[Demand | Doubt] = readings,
) -> Lived:
    """A pool with a past: each decision was performed, and somebody else may have set the replicas in the end."""
    replicas = draw(few | st.integers(0, 10_000))
    pool = DrivenPool(draw(policy), replicas, history=fresh_history(replicas, 1000.0))
    for reading, pause in draw(past):
        seen = replace(reading, current_replicas=pool.replicas)
        pool.see(seen)
        pool.wait(pause)
    pool.replicas = draw(st.just(pool.replicas) | st.sampled_from([0, 1, 2, 9]))
    return Lived(pool, replace(draw(sight), current_replicas=pool.replicas))


@st.composite
def pods(draw: st.DrawFn, number: int) -> tuple[Pod, ...]:
    """Pods of a pool with the agent, in every state in which a tick may find them."""
    return tuple(draw(_pod(f"pod-{index}")) for index in range(number))


@st.composite
def _pod(draw: st.DrawFn, name: str) -> Pod:
    started, marked = draw(st.sampled_from([True] * 5 + [False])), draw(st.sampled_from([True, True, False]))
    drainable = draw(st.sampled_from([True] * 6 + [False]))
    running = draw(st.integers(0, 2)) if started else 0
    quiet = draw(st.sampled_from([None, True, False])) if started else None
    return Pod(
        uid=name,
        name=name,
        assigned=started or draw(st.booleans()),
        phase=draw(_phases if started else st.sampled_from(["Pending", "Pending", "Running"])),
        ready=draw(st.sampled_from([True] * 4 + [False])) if started else False,
        cost=draw(st.sampled_from([MARKED_COST] * 4 + [RELEASED_COST] * 2 + [0])) if marked else draw(_foreign_cost),
        recent_costs=draw(st.sampled_from([frozenset()] * 6 + [frozenset({0}), frozenset({MARKED_COST})])),
        marked=marked,
        drained=marked and started and drainable and not running and draw(st.booleans()),
        started=started,
        running=running,
        drainable=drainable,
        quiet=quiet if not running else None if quiet is None else False,
        restless=draw(st.booleans()),
        created=draw(st.sampled_from([1.0, 2.0, 3.0])),
    )


_phases = st.sampled_from(["Running"] * 9 + ["Unknown", "Succeeded", "Failed"])
_foreign_cost = st.sampled_from([0] * 6 + [5, -5, MARKED_COST, RELEASED_COST, -(2**31)])
"""Of a pod without a mark: somebody else has written it, or an earlier mark left it."""
