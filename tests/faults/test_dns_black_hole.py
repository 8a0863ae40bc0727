"""Host names that no name server answers for, in many pools, beside a pool whose host is known."""

import time
from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.faults.conftest import Figure
from tests.integration.kube import POOLS, Kube
from tests.integration.name_server import NameServer
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

DOMAINS = ("svc.cluster.local", "cluster.local")
REACTION_SECONDS = 2.0
HEALTHY = "healthy"


@pytest.fixture
def names() -> Iterator[NameServer]:
    hosts = {"redis.shop.svc.cluster.local": ("127.0.0.1",)}
    with NameServer(hosts, silent=("dead",), search=DOMAINS) as server:
        yield server


@pytest.mark.parametrize("dead", [pytest.param(8, marks=pytest.mark.full), 50])
def test_names_that_nobody_answers_for_keep_no_other_broker_and_no_scrape_waiting(
    dead: int,
    control_plane: ControlPlane,
    kube: Kube,
    names: NameServer,
    redis: RedisServer,
    figure: Figure,
) -> None:
    resolv_conf = ("--resolv-conf", str(names.resolv_conf))
    with OperatorProcess(control_plane.kubeconfig, kube.namespace, *resolv_conf) as operator:
        kube.create_pool(HEALTHY, f"redis://redis.shop:{redis.port}/0")
        for number in range(dead):
            kube.create_pool(f"dead-{number}", f"redis://dead-{number}.shop:6379/0")
        kube.wait_for_condition(HEALTHY, "BrokerReachable", "True", "Readable")
        for number in range(dead):
            kube.wait_for_condition(f"dead-{number}", "BrokerReachable", "False", "ConnectionFailed")
        tried = [_reconnect(kube, redis, operator, waiting) for waiting in (1, 2, 3)]
    reaction, scrape = min(tried)
    figure("reaction", reaction, "s")
    figure("scrape", scrape, "s")
    # The best of three: a busy machine delays everybody, a clogged resolver each of them.
    assert reaction < REACTION_SECONDS
    assert scrape < REACTION_SECONDS
    told = [each["message"] for pool in kube.list(POOLS) for each in pool["status"]["conditions"]]
    assert any("the name server does not answer" in message for message in told)


def _reconnect(kube: Kube, redis: RedisServer, operator: OperatorProcess, waiting: int) -> tuple[float, float]:
    """Cut the operator off; seconds until so many replicas are wanted, and those of a scrape."""
    with redis.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    began = time.monotonic()
    push(redis, HEALTHY, 1)
    kube.wait_for_replicas(HEALTHY, waiting)
    scaled = time.monotonic()
    operator.metrics()
    return scaled - began, time.monotonic() - scaled
