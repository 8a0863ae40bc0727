"""Which workers a story is told with: every pool and both ways to acknowledge, on how many versions of Celery."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tests.agent.environments import NEWEST, OLDEST, VERSIONS
from tests.agent.worker import POOLS, Spec

full = pytest.mark.full
TODAY = "5.6-today"  # what pip makes of celery[redis]==5.6.* now: a kombu that is newer than its Celery


def workers(quick: Iterable[str] = POOLS, pools: Iterable[str] = POOLS, **options: Any) -> list[Any]:
    """Parameters for a story: `pools` x acknowledgements x versions; in the quick form a fair part of them.

    There each of the pools in `quick` is run once. The newest and the oldest Celery, and the two ways to acknowledge,
    take turns from pool to pool, so that four pools meet all four combinations.
    """
    specs = []
    for number, pool in enumerate(pools):
        turn = ((NEWEST, OLDEST)[number % 2], bool((number // 2 + number) % 2))
        for late in (False, True):
            for version in VERSIONS:
                told = pool in quick and (version, late) == turn
                specs.append(param(Spec(version, pool, late, **options), quick=told))
    return specs


def once(quick: Iterable[str] = POOLS, pools: Iterable[str] = POOLS, **options: Any) -> list[Any]:
    """Parameters for a story: `pools` x versions; in the quick form one version for each of the pools in `quick`.

    It is the newest and the oldest by turns, in the order of `quick`, where "-" takes a turn for nobody.
    """
    told = {(pool, (NEWEST, OLDEST)[number % 2]) for number, pool in enumerate(quick)}
    every = [(pool, version) for pool in pools for version in VERSIONS]
    return [param(Spec(version, pool, **options), quick=(pool, version) in told) for pool, version in every]


def param(spec: Spec, *, quick: bool) -> Any:
    """One worker, with a name that tells it."""
    name = f"{spec.version}-{spec.pool}-{'late' if spec.acks_late else 'early'}"
    return pytest.param(spec, id=name, marks=() if quick else full)


beside_plain = pytest.mark.parametrize(
    "agent", [pytest.param(True, id="agent"), pytest.param(False, id="plain", marks=full)]
)
"""A story told twice: what workers do with the agent, they do without it."""


def plain(spec: Spec) -> Spec:
    """The same worker without the agent."""
    return replace(spec, agent=False)


def with_timeout(seconds: float) -> dict[str, object]:
    """Kombu 5.7 looks every second for what timed out; older ones in their own time, and when a worker starts."""
    options = {"visibility_timeout": seconds, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    return {"broker_transport_options": options}
