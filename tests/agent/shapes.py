"""Which workers a story is told with: every pool and both ways to acknowledge, on how many versions of Celery."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tests.agent.environments import NEWEST, OLDEST, VERSIONS
from tests.agent.worker import POOLS, Spec

full = pytest.mark.full


def workers(pools: Iterable[str] = POOLS, acks: Iterable[bool] = (False, True), **options: Any) -> list[Any]:
    """Parameters for a story: all of pools x acks x versions, of which the quick form takes a fair half.

    In the quick form each pool is run by the oldest and the newest Celery and in both ways to acknowledge, but not in
    all four combinations: the oldest takes the one, the newest the other, and they take turns from pool to pool.
    """
    specs = []
    for number, pool in enumerate(pools):
        for late in acks:
            for version in VERSIONS:
                # The way to acknowledge that this version takes in the quick form; both where there is only one.
                turn = (number + (version == NEWEST)) % 2 == int(late) or len(tuple(acks)) == 1
                quick = version in (OLDEST, NEWEST) and turn
                specs.append(param(Spec(version, pool, late, **options), quick=quick))
    return specs


def newest(*pools: str, **options: Any) -> list[Any]:
    """Parameters for a story that the newest Celery tells in the quick form and all of them in the long one."""
    return [
        param(Spec(version, pool, **options), quick=version == NEWEST)
        for pool in pools or POOLS
        for version in VERSIONS
    ]


def param(spec: Spec, *, quick: bool) -> Any:
    """One worker, with a name that tells it."""
    name = f"{spec.version}-{spec.pool}-{'late' if spec.acks_late else 'early'}"
    return pytest.param(spec, id=name, marks=() if quick else full)


def plain(spec: Spec) -> Spec:
    """The same worker without the agent."""
    return replace(spec, agent=False)
