"""A Redis that answers and refuses to write: told with its cure, nothing is removed, and a full one is emptied."""

import contextlib
import time

import pytest
from redis import ResponseError

from tests.agent.refusals import Refusal
from tests.faults.conftest import Figure
from tests.integration.kube import DEPLOYMENTS, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

AT_ONCE = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}, "scaleToZeroAfterSeconds": 1}
REASONS = {
    "OOM": ("BrokerFull", "maxmemory"),
    "MISCONF": ("BrokerRefusesWrites", "BGSAVE"),
    "NOREPLICAS": ("BrokerRefusesWrites", "min-replicas-to-write"),
    "READONLY": ("ReplicaNotMaster", "master"),
}


QUICK = ("OOM",)


@pytest.mark.parametrize(
    "code", [pytest.param(code, marks=() if code in QUICK else pytest.mark.full) for code in REASONS]
)
def test_a_redis_that_refuses_to_write_is_told_with_its_cure_and_nothing_is_removed(
    kube: Kube, operator: OperatorProcess, redis: RedisServer, code: str, figure: Figure
) -> None:
    """A pool of another Redis becomes idle at the same moment, and is the clock: it goes to zero."""
    reason, cure = REASONS[code]
    with RedisServer() as healthy:
        servers = {"ml": redis, "free": healthy}
        for name, server in servers.items():
            kube.create_pool(name, server.celery_url, scaling=AT_ONCE, agent="disabled")
            push(server, name, 2)
            kube.wait_for_replicas(name, 2)
        refusal = Refusal(code, redis)
        with refusal.lasts():
            begun = time.monotonic()
            found = kube.wait_for_condition("ml", "BrokerReachable", "False", reason)
            figure("told after", time.monotonic() - begun, "s")
            assert cure in found["message"]
            assert kube.wait_for_event("ml", reason)["type"] == "Warning"
            for name, server in servers.items():
                _empty(server, name)
            kube.wait_for_replicas("free", 0)
            assert kube.get(DEPLOYMENTS, "ml")["spec"]["replicas"] == 2
        kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
        _empty(redis, "ml")
        kube.wait_for_replicas("ml", 0)


def test_a_pool_at_zero_wakes_over_the_backlog_of_a_full_redis(
    kube: Kube, operator: OperatorProcess, redis: RedisServer, figure: Figure
) -> None:
    kube.create_pool("ml", redis.celery_url, scaling=AT_ONCE, agent="disabled")
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    push(redis, "other", 1)
    with redis.client() as client, Refusal("OOM", redis).lasts():
        kube.wait_for_condition("ml", "BrokerReachable", "False", "BrokerFull")
        client.rename("other", "ml")
        begun = time.monotonic()
        kube.wait_for_replicas("ml", 1)
        figure("wakes after", time.monotonic() - begun, "s")
        told = f'{{namespace="{kube.namespace}",pool="ml",status="False",type="BrokerReachable"}} 1.0'
        assert f"celeriac_pool_condition{told}" in operator.metrics()


def _empty(server: RedisServer, queue: str) -> None:
    """Not where all writes are refused: the queue is as it was then."""
    with server.client() as client, contextlib.suppress(ResponseError):
        client.delete(queue)
