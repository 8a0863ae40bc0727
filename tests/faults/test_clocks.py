"""The clocks of two machines are never compared: what one wrote by its own proves nothing to the next."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.conftest import Figure
from tests.integration.kube import DEPLOYMENTS, POOLS, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

COOLDOWN_SECONDS = 10
AT_ONCE = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}, "scaleToZeroAfterSeconds": COOLDOWN_SECONDS}


@pytest.mark.full
def test_a_leader_whose_clock_is_an_hour_off_sends_an_idle_pool_to_zero_in_its_time(
    kube: Kube, operator: OperatorProcess, redis: RedisServer, figure: Figure
) -> None:
    """The last leader's clock was an hour behind for pool `early`, an hour ahead for pool `late`."""
    for name in ("early", "late"):
        kube.create_pool(name, redis.celery_url, scaling=AT_ONCE, agent="disabled")
        push(redis, name, 1)
        kube.wait_for_replicas(name, 1)
    with redis.client() as client:
        client.delete("early", "late")
    for name in ("early", "late"):
        kube.wait_for_pool(name, lambda pool: "idleSince" in pool["status"])
    operator.stop()
    for name, hours in (("early", -1), ("late", 1)):
        moment = datetime.now(UTC) + timedelta(hours=hours)
        kube.patch_status(POOLS, name, {"idleSince": moment.strftime("%Y-%m-%dT%H:%M:%SZ")})
    operator.forget_log()
    operator.start()
    operator.wait_for_log("this replica leads")
    begun = time.monotonic()
    for name in ("early", "late"):
        kube.wait_for(DEPLOYMENTS, name, lambda found: found["spec"]["replicas"] == 0)
        took = time.monotonic() - begun
        figure(f"{name}, of {COOLDOWN_SECONDS} s", took, "s")
        assert took >= COOLDOWN_SECONDS / 2 - 1
