"""What is told of a decision is true: its steps lead to it, and what is said to change it does, and nothing less."""

from dataclasses import replace

import pytest
from hypothesis import given

from celeriac.scaling.decide import decide, stages
from celeriac.scaling.explain import turns
from celeriac.scaling.workload import Demand
from tests.unit.scaling.properties.imagined import Lived, demands, lived, modest_demands, promise

pytestmark = pytest.mark.unit


@promise()
@given(lived(sight=demands))
def test_the_last_step_is_the_decision(it: Lived) -> None:
    pool, sees, made = it.pool, it.sees, it.decides()
    assert isinstance(sees, Demand)
    told = stages(pool.policy, sees, pool.history, pool.now)
    assert told[-1].replicas == made.replicas
    assert all(each.message in made.message or not each.message for each in told[-1:])
    changed = [each.name for each, before in zip(told[1:], told, strict=False) if each.replicas != before.replicas]
    assert all(each.message for each in told if each.name in changed), "a step that changes the count says why"


@promise(0.5)
@given(lived(sight=modest_demands))
def test_so_many_tasks_more_or_fewer_change_it_and_one_less_does_not(it: Lived) -> None:
    pool, sees, made = it.pool, it.sees, it.decides()
    assert isinstance(sees, Demand)
    found = turns(pool.policy, sees, pool.history, pool.now)
    if found.more is not None:
        assert it.decides(replace(sees, waiting=sees.waiting + found.more.by)).replicas == found.more.replicas
        assert found.more.replicas > made.replicas
        assert it.decides(replace(sees, waiting=sees.waiting + found.more.by - 1)).replicas <= made.replicas
    if found.fewer is not None and -found.fewer.by <= sees.waiting:
        assert it.decides(replace(sees, waiting=sees.waiting + found.fewer.by)).replicas == found.fewer.replicas
        assert found.fewer.replicas < made.replicas
        assert it.decides(replace(sees, waiting=sees.waiting + found.fewer.by + 1)).replicas >= made.replicas


@promise(0.5)
@given(lived(sight=demands))
def test_time_alone_changes_it_when_it_is_said_to(it: Lived) -> None:
    pool, sees, made = it.pool, it.sees, it.decides()
    assert isinstance(sees, Demand)
    later = turns(pool.policy, sees, pool.history, pool.now).later
    if later is None or later.seconds is None:
        return
    eta = sees.next_eta_seconds
    then = replace(sees, next_eta_seconds=None if eta is None else max(0.0, eta - later.seconds))
    history = made.history
    for share in (0.5, 0.9, 1.0):
        left = replace(sees, next_eta_seconds=None if eta is None else max(0.0, eta - share * later.seconds))
        seen = decide(pool.policy, then if share == 1.0 else left, history, pool.now + share * later.seconds)
        history = seen.history
        assert (seen.replicas != made.replicas) == (share == 1.0)
