"""A broker is a stranger: whoever may create a pool chooses the server that the operator talks to, as others do."""

import itertools
import time
from collections.abc import Sequence

import pytest

from tests.cluster.process import wait_until
from tests.faults.conftest import Figure
from tests.faults.hostile import CANARY, FLOODS, ODDITIES, Strangers
from tests.integration.kube import EVENTS, LEASES, POOLS, Body, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

MANY = 50
"""Pools with hostile brokers."""
ROUNDS = 5
REACTION_SECONDS = 2.0
"""From a message in Redis to the count on the API server; on a machine that is busy with others, thrice what it was."""
MEMORY_MIB = 256.0
"""Half of the limit that the chart sets."""


def reactions(kube: Kube, redis: RedisServer) -> list[float]:
    """How long each of some messages takes to become a replica, one after the other."""
    seconds, before = [], kube.replicas("ml")
    for replicas in range(before + 1, before + ROUNDS + 1):
        pushed = time.monotonic()
        push(redis, "ml", 1)
        kube.wait_for_replicas("ml", replicas)
        seconds.append(time.monotonic() - pushed)
    return seconds


def is_doubted(pool: Body) -> bool:
    """Whether its status says that its broker cannot be read."""
    conditions: Sequence[Body] = pool.get("status", {}).get("conditions", [])
    return any(each["type"] == "BrokerReachable" and each["status"] == "False" for each in conditions)


def test_fifty_hostile_brokers_cost_a_healthy_pool_nothing(
    operator: OperatorProcess, kube: Kube, redis: RedisServer, figure: Figure
) -> None:
    kube.create_pool("ml", redis.celery_url)
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
    calm = reactions(kube, redis)
    held_since = kube.get(LEASES, "celeriac")["spec"]["acquireTime"]
    with Strangers(*itertools.islice(itertools.cycle((*FLOODS, *ODDITIES)), MANY)) as strangers:
        for number, (_, url) in enumerate(strangers.urls):
            kube.create_pool(f"stranger-{number}", url)
        wait_until(
            lambda: sum(map(is_doubted, kube.list(POOLS))) == MANY, "each of them is in doubt", seconds=kube.patience
        )
        strange = reactions(kube, redis)
        figure("slowest reaction", max(strange), "s")
        figure("without them", max(calm), "s")
        figure("memory", operator.peak_mib(), "MiB")
        assert max(strange) < max(REACTION_SECONDS, 3 * max(calm))
        assert operator.peak_mib() < MEMORY_MIB
    assert kube.get(LEASES, "celeriac")["spec"]["acquireTime"] == held_since
    told = f"{operator.log()} {operator.metrics()} {kube.list(POOLS)} {kube.list(EVENTS)}"
    assert CANARY.decode() not in told
    assert "Traceback" not in told
