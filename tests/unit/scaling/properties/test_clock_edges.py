"""A pool in which nothing happens needs no decision before a moment that is known in advance.

The tick relies on it: it leaves a pool alone until then.
"""

import math
from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.api.reasons import Reason
from celeriac.scaling.decide import decide, fresh_history
from celeriac.scaling.decision import Decision
from celeriac.scaling.edges import next_edge
from celeriac.scaling.policy import Policy
from celeriac.scaling.workload import Demand, Doubt
from tests.unit.scaling.properties.imagined import (
    Lived,
    doubts,
    lived,
    modest_demands,
    nothing_to_do,
    policies,
    promise,
)

pytestmark = pytest.mark.unit

ROUNDING = 1e-6
"""What sums of floating point may be off by, in seconds."""
FOR_EVER = 1_000_000.0
"""Seconds after which every clock that a policy may set has run out."""

fractions = st.lists(st.floats(0, 1), min_size=1, max_size=5).map(sorted)
between = st.lists(st.sampled_from([0.5, 1.0, 7.0]) | st.floats(0.5, 100), max_size=12)


def after(reading: Demand | Doubt, seconds: float) -> Demand | Doubt:
    """The same reading later: only the next ETA has come nearer."""
    if isinstance(reading, Doubt) or reading.next_eta_seconds is None:
        return reading
    return replace(reading, next_eta_seconds=reading.next_eta_seconds - seconds)


def told(decision: Decision) -> tuple[object, ...]:
    """All that a decision says: no sentence counts seconds."""
    return decision.replicas, decision.reason, decision.active, decision.limit, decision.message


def stays_until_the_edge(it: Lived, parts: list[float], ticking: bool) -> None:
    """Ask at some moments before it; `ticking`: each time with what the last decision remembered, or with the first."""
    policy, now, first = it.pool.policy, it.pool.now, it.decides()
    edge = next_edge(policy, it.sees, first.history, now)
    until = min(edge, now + FOR_EVER) - ROUNDING
    decision = first
    for part in parts:
        later = now + part * (until - now)
        if later <= now:
            continue
        history = decision.history if ticking else first.history
        decision = decide(policy, after(it.sees, later - now), history, later)
        assert told(decision) == told(first), f"after {later - now} s"


@promise()
@given(lived(sight=nothing_to_do), fractions, st.booleans())
def test_an_idle_pool_decides_the_same_until_the_moment_that_was_told(
    it: Lived, parts: list[float], ticking: bool
) -> None:
    stays_until_the_edge(it, parts, ticking)


@promise()
@given(lived(sight=modest_demands), fractions, st.booleans())
def test_a_busy_pool_decides_the_same_until_the_moment_that_was_told(
    it: Lived, parts: list[float], ticking: bool
) -> None:
    stays_until_the_edge(it, parts, ticking)


@promise(0.5)
@given(lived(sight=doubts), fractions, st.booleans())
def test_in_doubt_a_pool_decides_the_same_until_the_moment_that_was_told(
    it: Lived, parts: list[float], ticking: bool
) -> None:
    stays_until_the_edge(it, parts, ticking)


@promise(0.5)
@given(lived(policies()), fractions, st.booleans())
def test_whatever_it_is_asked_for_a_pool_decides_the_same_until_the_moment_that_was_told(
    it: Lived, parts: list[float], ticking: bool
) -> None:
    stays_until_the_edge(it, parts, ticking)


@promise()
@given(
    lived(sight=(modest_demands | nothing_to_do).map(lambda seen: replace(seen, next_eta_seconds=None, scheduled=0)))
)
def test_a_pool_in_which_nothing_happens_is_soon_left_alone_for_ever(it: Lived) -> None:
    """From moment to moment that it tells; there are few of them."""
    policy, now, decision = it.pool.policy, it.pool.now, it.decides()
    for _ in range(60):
        edge = next_edge(policy, it.sees, decision.history, now)
        if edge == math.inf:
            return
        now = max(edge, now + 0.5)
        decision = decide(policy, it.sees, decision.history, now)
    pytest.fail(f"another moment is told for ever, at last {edge - now} s ahead")


@promise()
@given(
    lived(policies(windows=st.sampled_from([0, 1, 7, 60]))),
    between,
    modest_demands | nothing_to_do,
    st.sampled_from([0.5, 1.0, 60.0]),
)
def test_who_was_left_alone_and_is_asked_once_more_decides_as_if_it_had_been_asked_all_the_time(
    it: Lived, passed: list[float], news: Demand, pause: float
) -> None:
    """The last moment at which the reading was the old one has to be told before the new one is decided upon.

    Otherwise the windows would have forgotten what was recommended until just now.
    """
    policy, start, first = it.pool.policy, it.pool.now, it.decides()
    moments = [start + seconds for seconds in accumulate(passed)]
    last = moments[-1] if moments else start
    asked = first
    for moment in moments:
        asked = decide(policy, after(it.sees, moment - start), asked.history, moment)
    left_alone = decide(policy, after(it.sees, last - start), first.history, last)
    news = replace(news, current_replicas=it.sees.current_replicas)
    assert decide(policy, news, asked.history, last + pause) == decide(policy, news, left_alone.history, last + pause)


def test_a_task_that_its_worker_holds_past_its_time_is_forgotten_at_the_moment_that_was_told() -> None:
    policy = Policy(slots=1, scale_to_zero_after_seconds=300)
    resting = Demand(0, 0, 1, agent=True, deferred=1, next_eta_seconds=100.0)
    held = replace(resting, deferred=0, scheduled=1, next_eta_seconds=None)
    history = decide(policy, resting, fresh_history(1, 0.0), 0.0).history
    waits = decide(policy, held, history, 60.0)
    assert next_edge(policy, held, waits.history, 60.0) == 102.0
    assert decide(policy, held, waits.history, 101.9).reason == Reason.WITHIN_TARGET
    assert decide(policy, held, waits.history, 102.0).reason == Reason.ZERO_PENDING
