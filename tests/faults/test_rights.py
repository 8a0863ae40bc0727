"""The operator on the rights that the chart gives it, over the whole life of its pools: each is used, none is missing.

The audit log of the API server has all that it asked, and what was refused to it by its roles or by the policies.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac.api.names import AGENT_LABEL
from celeriac.cli.rights import RIGHTS
from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.faults.conftest import SECONDS, Figure
from tests.integration.chart_rights import ChartRights
from tests.integration.clusterwide.test_rollouts import FULL, release, two_that_run
from tests.integration.crds import install_crds
from tests.integration.kube import POOLS, Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import LiveShop
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.shop import Shop

pytestmark = [pytest.mark.faults, pytest.mark.full, pytest.mark.timeout(900)]

SYSTEM = "operator-with-rights"
LEASES = "coordination.k8s.io/leases"
ASKED_OF_THE_AUTHORIZER = {("celeriac.dev/celeryworkerpools/finalizers", "update")}
"""By OwnerReferencesPermissionEnforcement, where it is on, for the owner of a Deployment; nothing ever requests it."""
SWEEPS_SECONDS = 180.0
"""Two looks for agents that nobody uses, one a minute."""


@pytest.fixture
def rights(control_plane: ControlPlane, tmp_path: Path) -> Iterator[ChartRights]:
    install_crds(control_plane)
    control_plane.kubectl("create", "namespace", SYSTEM)
    given = ChartRights(control_plane, tmp_path, SYSTEM)
    given.give()
    yield given
    given.take()
    control_plane.kubectl("delete", "namespace", SYSTEM, "--wait=false")


@pytest.fixture
def operator(rights: ChartRights) -> Iterator[OperatorProcess]:
    with OperatorProcess(rights.kubeconfig(), SYSTEM, clusterwide=True) as running:
        running.wait_for_log("this replica leads", seconds=SECONDS)
        yield running


@pytest.fixture
def kubes(control_plane: ControlPlane) -> Iterator[list[Kube]]:
    """Three namespaces."""
    names = [f"{SYSTEM}-{word}" for word in ("drains", "deaths", "rollouts")]
    for name in names:
        control_plane.kubectl("create", "namespace", name)
        control_plane.wait_for_service_account(name)
    yield [Kube(control_plane.kubeconfig, name, patience=SECONDS) for name in names]
    control_plane.kubectl("delete", "namespace", *names, "--wait=false")


def test_each_right_is_used_and_none_is_missing(
    rights: ChartRights,
    operator: OperatorProcess,
    kubes: list[Kube],
    control_plane: ControlPlane,
    redis: RedisServer,
    tmp_path: Path,
    figure: Figure,
) -> None:
    drains, deaths, rollouts = kubes
    workers_drain(drains, redis, operator, tmp_path)
    drains.delete(POOLS, "ml")
    workers_die(Shop(control_plane, deaths.namespace, redis))
    an_old_worker_makes_room(rollouts, redis)
    wait_until(lambda: agents(drains) == [], "the agent goes with its last pool", seconds=SWEEPS_SECONDS)
    assert operator.stop() == 0
    figure("rights used", len(rights.used()), "")
    figure("requests refused", len(rights.refusals()), "")
    assert rights.refusals() == []
    assert rights.used() - granted() == set()
    assert granted() - rights.used() == ASKED_OF_THE_AUTHORIZER


def granted() -> set[tuple[str, str]]:
    """What the chart gives; `tests/unit/chart` holds the table of the program against it."""
    leases = {(LEASES, verb) for verb in ("get", "create", "update")}
    return {(resource, verb) for resource, verbs in RIGHTS.items() for verb in verbs} | {("/nodes", "get")} | leases


def workers_drain(kube: Kube, redis: RedisServer, operator: OperatorProcess, directory: Path) -> None:
    """Marks on Pods, scales; the same events twice, which are one that counts."""
    kube.create_secret("broker", url=redis.celery_url)
    with LiveNode(kube, directory, redis) as node:
        shop = LiveShop(kube, redis, node, operator)
        shop.open()
        for _ in range(2):
            shop.pin(0)
            shop.wait_for_replicas(0)
            shop.pin(2)
            shop.wait_until_all_work()
        assert node.problems == []


def workers_die(shop: Shop) -> None:
    """One with its node, one without a word: the operator asks for the node, and for the Pod."""
    shop.node.create()
    shop.open(shop.redis.celery_url)
    with_its_node, alone = shop.worker("ml-1"), shop.worker("ml-2")
    shop.send("a", "b")
    with_its_node.takes(1)
    alone.takes(1)
    alone.pod.is_removed()
    shop.node.delete()
    wait_until(lambda: sorted(shop.ids()) == ["a", "b"], "both messages are back", seconds=2 * SECONDS)


def an_old_worker_makes_room(kube: Kube, redis: RedisServer) -> None:
    """Its ReplicaSet is scaled."""
    two_that_run(kube, redis)
    release(kube, "app:2").finds_no_node(FULL)
    kube.wait_for_event("ml", "MadeRoom")


def agents(kube: Kube) -> list[str]:
    found: list[Any] = kube.core.list_namespaced_config_map(kube.namespace, label_selector=AGENT_LABEL).items
    return [each.metadata.name for each in found]
