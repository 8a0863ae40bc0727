"""A broker is a stranger: whoever may create a pool chooses the server that the operator talks to, as others do."""

import itertools
import json
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
"""From a message in Redis to the count on the API server."""
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


def allowed(calm: Sequence[float]) -> float:
    """Seconds for the best of several reactions, by those of a calm time: the machine may be busy.

    That delays some of them, an operator that others keep waiting is late each time.
    """
    return max(REACTION_SECONDS, 3 * min(calm))


REGISTER = """
for i = ARGV[1], ARGV[1] + 1999 do
  local pod = 'nobody-' .. i
  local name = pod .. '.00000000'
  redis.call('HSET', KEYS[1], name, (string.gsub(string.gsub(ARGV[2], 'PROCESS', name), 'POD', pod)))
end
"""
LISTED_POOLS = 30
WORKERS_OF_EACH = 10_000


def register(redis: RedisServer, namespace: str) -> None:
    """Write 300,000 registrations of 30 pools, of which nobody but this registry has ever heard."""
    with redis.client(socket_timeout=60.0) as client:
        for number in range(LISTED_POOLS):
            uid = f"uid-{number}"
            text = {
                "pod": "POD",
                "podUid": "uid-of-POD",
                "namespace": namespace,
                "pool": f"p{number}",
                "poolUid": uid,
                "started": 1.0,
                "separator": "\x06\x16",
                "prioritySteps": [0, 3, 6, 9],
                "visibilityTimeout": 3600.0,
                "maxAttempts": 5,
            } | {key: f"{key}.PROCESS" for key in ("unacked", "index", "mutex")}
            for first in range(0, WORKERS_OF_EACH, 2000):
                client.eval(REGISTER, 1, f"celeriac:{uid}:processes", first, json.dumps(text))
            client.hset("celeriac:pools", uid, json.dumps({"namespace": namespace, "name": f"p{number}"}))


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
        assert min(strange) < allowed(calm)
        assert operator.peak_mib() < MEMORY_MIB
    assert kube.get(LEASES, "celeriac")["spec"]["acquireTime"] == held_since
    told = f"{operator.log()} {operator.metrics()} {kube.list(POOLS)} {kube.list(EVENTS)}"
    assert CANARY.decode() not in told
    assert "Traceback" not in told


@pytest.mark.full
def test_300_000_registrations_cost_little_memory_and_a_healthy_pool_nothing(
    operator: OperatorProcess, kube: Kube, redis: RedisServer, figure: Figure
) -> None:
    kube.create_pool("ml", redis.celery_url)
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
    calm = reactions(kube, redis)
    with RedisServer() as crowded:
        register(crowded, kube.namespace)
        kube.create_pool("crowd", crowded.celery_url)
        kube.wait_for_condition("crowd", "BrokerReachable", "True", "Readable")
        operator.wait_for_log("10000 entries, of which only", kube.patience)
        beside = reactions(kube, redis)
        figure("slowest reaction", max(beside), "s")
        figure("memory", operator.peak_mib(), "MiB")
        assert min(beside) < allowed(calm)
        assert operator.peak_mib() < MEMORY_MIB
    assert "Traceback" not in operator.log()
