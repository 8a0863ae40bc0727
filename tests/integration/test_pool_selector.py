"""Two operators share a namespace by the labels of its pools, each with a Lease of its own."""

import json
from functools import partial

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.integration.crds import install_crds
from tests.integration.kube import DEPLOYMENTS, LEASES, POOLS, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.integration

FOREVER = {"scaleToZeroAfterSeconds": 3600}


def scaled(operator: OperatorProcess, namespace: str, pool: str) -> bool:
    """Whether this operator says that it has changed the pool's replicas."""
    return any(f"{namespace}/{pool}" in line and " -> " in line for line in operator.log().splitlines())


def test_each_serves_the_pools_of_its_selector_and_a_pool_is_handed_over_by_its_label(
    control_plane: ControlPlane, namespace: str, redis: RedisServer
) -> None:
    install_crds(control_plane)
    kube = Kube(control_plane.kubeconfig, namespace)
    team, rest = (
        OperatorProcess(control_plane.kubeconfig, namespace, f"--pool-selector={selector}", f"--lease-name={name}")
        for name, selector in (("team", "team in (shop)"), ("rest", "team != shop"))
    )
    with team, rest:
        for operator in (team, rest):
            operator.wait_for_log("this replica leads")
        kube.create_pool("ours", redis.celery_url, labels={"team": "shop"}, scaling=FOREVER)
        kube.create_pool("other", redis.celery_url, scaling=FOREVER)
        for operator, pool in ((team, "ours"), (rest, "other")):
            push(redis, pool, 2)
            wait_until(partial(scaled, operator, namespace, pool), f"{pool} is scaled by its operator", seconds=20)
        kube.patch(POOLS, "ours", {"metadata": {"labels": {"team": "billing"}}})
        push(redis, "ours", 3)
        wait_until(lambda: scaled(rest, namespace, "ours"), "the other operator has it now", seconds=20)
        kube.wait_for_replicas("ours", 5)
        assert not scaled(team, namespace, "other")
        assert kube.get(DEPLOYMENTS, "ours")["metadata"]["ownerReferences"][0]["name"] == "ours"
        assert kube.get(LEASES, "team")["metadata"]["annotations"]["celeriac.dev/selector"] == "team in (shop)"


@pytest.mark.full
def test_a_pool_that_sleeps_stays_in_the_registry_whichever_operator_looks(
    control_plane: ControlPlane, namespace: str, redis: RedisServer
) -> None:
    """A pool of its own leads the other operator to the same registry."""
    install_crds(control_plane)
    kube = Kube(control_plane.kubeconfig, namespace)
    with redis.client() as client:
        asleep = kube.create_pool("asleep", redis.celery_url)["metadata"]["uid"]
        client.hset("celeriac:pools", asleep, json.dumps({"namespace": namespace, "name": "asleep"}))
        with OperatorProcess(control_plane.kubeconfig, namespace, "--pool-selector=team=shop") as shop:
            kube.create_pool("ours", redis.celery_url, labels={"team": "shop"})
            # Each look asks for the size of a hash.
            wait_until(lambda: redis.calls().get("hlen", 0) > 10, "it has looked more than once", seconds=60)
            assert client.hkeys("celeriac:pools") == [asleep]
            assert "Traceback" not in shop.log()
