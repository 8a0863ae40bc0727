"""What holds for what is learned of every pool: of the same the same, and nothing is lost where nobody looks."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.scaling.decide import decide, fresh_history
from celeriac.scaling.learning import FORGET_SECONDS, Learned, Sample, learn
from celeriac.scaling.policy import Policy
from celeriac.scaling.workload import Demand
from tests.unit.scaling.properties.imagined import promise

pytestmark = pytest.mark.unit

names = st.sampled_from("abc")
samples = st.lists(
    st.builds(
        Sample,
        now=st.sampled_from([0.5, 0.5, 1.0, 4.0, 61.0]) | st.floats(0.1, 700),
        waiting=st.just(0) | st.integers(0, 50) | st.integers(0, 2**53 - 1),
        in_system=st.integers(0, 50) | st.integers(0, 2**60),
        counters=st.dictionaries(
            names,
            st.tuples(
                st.integers(0, 40) | st.integers(0, 2**53 - 1), st.sampled_from([0.0, 1.0, 90.0]) | st.floats(0, 1e12)
            ),
            max_size=3,
        ),
        started=st.dictionaries(names, st.booleans(), max_size=3),
    ),
    min_size=1,
    max_size=12,
)
"""`now` is the time since the one before."""


def in_turn(story: Sequence[Sample]) -> list[Sample]:
    """The samples with their moments, and never more waiting than there is in the system."""
    moments = accumulate((sample.now for sample in story), initial=1000.0)
    return [
        replace(sample, now=now, in_system=max(sample.waiting, sample.in_system))
        for sample, now in zip(story, list(moments)[1:], strict=True)
    ]


def told(learned: Learned) -> tuple[float | None, ...]:
    """The figures for which it is learned."""
    rates = learned.arrival_rate, learned.departure_rate
    return *rates, learned.runtime_seconds, learned.cold_start_seconds, learned.oldest_seconds


def all_of(story: Sequence[Sample], learned: Learned | None = None) -> Learned:
    learned = learned or Learned()
    for sample in story:
        learned = learn(learned, sample)
    return learned


@promise()
@given(samples)
def test_the_same_is_learned_of_the_same_and_what_was_known_is_left_as_it_was(story: list[Sample]) -> None:
    *before, last = in_turn(story)
    known = all_of(before)
    kept, sample = copy.deepcopy((known, last))
    once = learn(known, last)
    assert (known, last) == (kept, sample)
    assert learn(kept, sample) == once


@promise()
@given(samples, st.integers(1, 10_000))
def test_no_figure_that_may_be_reported_gets_out_of_hand(story: list[Sample], slots: int) -> None:
    """Anybody may write to Redis; what is believed at all is bounded where it is read."""
    learned = Learned()
    for sample in in_turn(story):
        learned = learn(learned, sample)
        assert all(figure is None or (figure >= 0 and math.isfinite(figure)) for figure in told(learned))
        demand = Demand(
            sample.waiting,
            sample.in_system - sample.waiting,
            3,
            arrival_rate=learned.arrival_rate,
            runtime_seconds=learned.runtime_seconds,
            cold_start_seconds=learned.cold_start_seconds,
        )
        decision = decide(Policy(slots), demand, fresh_history(3, sample.now), sample.now)
        assert 0 <= decision.replicas <= 20


@promise()
@given(samples, st.lists(st.floats(0.5, 100), min_size=1, max_size=5), samples)
def test_who_was_left_alone_and_is_told_once_more_has_learned_as_if_it_had_been_told_all_the_time(
    story: list[Sample], pauses: list[float], then: list[Sample]
) -> None:
    """The last moment at which nothing had changed has to be told before what is new."""
    known = all_of(in_turn(story))
    assert known.totals is not None
    last = replace(in_turn(story)[-1], waiting=0, in_system=0, started={})
    known = learn(known, replace(last, now=known.totals.at + 0.5))
    moments = list(accumulate(pauses, initial=last.now + 1))[1:]
    if moments[-1] - last.now >= FORGET_SECONDS:
        return
    often = all_of([replace(last, now=moment) for moment in moments], known)
    once = learn(known, replace(last, now=moments[-1]))
    assert told(once) == pytest.approx(told(often))
    new = replace(in_turn(then)[0], now=moments[-1] + 0.5)
    assert told(learn(once, new)) == pytest.approx(told(learn(often, new)))


@dataclass(frozen=True)
class _Task:
    """When it comes, is taken and ends."""

    comes: float
    starts: float
    ends: float


tasks = st.lists(
    st.builds(
        lambda comes, waits, runs: _Task(comes, comes + waits, comes + waits + runs),
        *(st.floats(1, 60), st.floats(0, 30), st.floats(0.1, 20)),
    ),
    max_size=25,
)


def seen_at(now: float, world: Sequence[_Task]) -> Sample:
    """What a reading finds at that moment; all reports are of the same."""
    come = [task for task in world if task.comes <= now]
    done = [task for task in come if task.ends <= now]
    busy = sum(min(now, task.ends) - task.starts for task in come if task.starts <= now)
    waiting = sum(task.starts > now for task in come)
    return Sample(now, waiting, len(come) - len(done), {"a": (len(done), busy)})


@promise()
@given(tasks, st.lists(st.floats(0.5, 20), max_size=20))
def test_however_seldom_somebody_looks_no_task_is_lost_or_counted_twice(
    world: list[_Task], pauses: list[float]
) -> None:
    moments = [0.0, *accumulate(pauses), 500.0]
    learned = all_of([seen_at(moment, world) for moment in sorted(set(moments))])
    assert learned.totals is not None
    assert learned.totals.processed == len(world)
    assert learned.totals.busy == pytest.approx(sum(task.ends - task.starts for task in world))
    assert learned.arrivals is not None
    assert learned.arrivals.total == len(world)


@promise()
@given(tasks, st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=1, max_size=40))
def test_the_oldest_is_as_old_as_it_is_give_or_take_one_reading(world: list[_Task], pauses: list[float]) -> None:
    """First in, first out; it is dated by the reading that saw it first."""
    in_order = sorted(world, key=lambda task: task.comes)
    starts = accumulate((task.starts for task in in_order), max)
    world = [_Task(task.comes, start, start + 1) for task, start in zip(in_order, starts, strict=True)]
    learned = Learned()
    for now in accumulate(pauses, initial=0.0):
        learned = learn(learned, seen_at(now, world))
        ages = [now - task.comes for task in world if task.comes <= now < task.starts]
        assert (learned.oldest_seconds > 0) <= bool(ages)
        if ages:
            assert max(ages) - max(pauses) <= learned.oldest_seconds <= max(ages)
