"""A drain is under way and something else happens: an upgrade, the loss of a node. Real workers, their tasks run."""

from pathlib import Path

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.faults.conftest import Figure
from tests.integration.crds import CRDS, install_crds
from tests.integration.kube import POOLS, Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import LiveShop
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

LOST_SECONDS = 300.0
"""A node is not ready after a minute, and what was on it is collected a minute later."""


def drains_one_of_two(kube: Kube, redis: RedisServer, node: LiveNode, operator: OperatorProcess) -> LiveShop:
    """Both run a task that ends when it is released; one of them is to go, and knows it."""
    shop = LiveShop(kube, redis, node, operator)
    shop.open(redis.celery_url)
    shop.occupy(2)
    shop.pin(1)
    shop.wait_until_marks_agree(1)
    return shop


def assert_ended_once(shop: LiveShop, figure: Figure) -> None:
    """Both tasks have, and one worker is left that works."""
    shop.wait(lambda: len(shop.ended()) >= 2, "both tasks have ended")
    shop.wait_for_replicas(1)
    figure("of 2 tasks each ended once:", len(shop.ended()), "")
    assert shop.ended() == ["1", "2"]
    assert shop.node.problems == []


def test_operator_api_and_workers_are_upgraded_in_the_middle_of_a_drain(
    kube: Kube,
    redis: RedisServer,
    operator: OperatorProcess,
    control_plane: ControlPlane,
    tmp_path: Path,
    figure: Figure,
) -> None:
    """Another image is what another agent is to a pool: its Pods are replaced."""
    with LiveNode(kube, tmp_path, redis, drains=False) as node:
        shop = drains_one_of_two(kube, redis, node, operator)
        for crd in (with_a_new_field, install_crds):
            crd(control_plane)
            assert operator.stop() == 0
            operator.forget_log()
            operator.start()
            operator.wait_for_log("this replica leads", 60)
        kube.patch(POOLS, "ml", {"spec": {"image": "app:2"}})
        shop.wait(lambda: len(images(node)) == 2, "a new worker comes while old ones run their tasks")
        assert len(shop.busy()) == 2
        shop.release()
        assert_ended_once(shop, figure)
        shop.wait(lambda: images(node) == ["app:2"], "the old workers are gone")


def with_a_new_field(control_plane: ControlPlane) -> None:
    """The API of a later version."""
    crd = yaml.safe_load((CRDS / "celeryworkerpools.yaml").read_text())
    for version in crd["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["properties"]["later"] = {"type": "string", "default": "than now"}
    arguments = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    control_plane.kubectl(*arguments, stdin=yaml.safe_dump(crd))


def images(node: LiveNode) -> list[str]:
    """Of the Pods that are there, each once."""
    return sorted({body["spec"]["containers"][0]["image"] for body in node.pods()})


@pytest.mark.full
def test_the_kubelet_falls_silent_in_the_middle_of_a_drain_and_the_workers_live_on(
    kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path, figure: Figure
) -> None:
    with LiveNode(kube, tmp_path, redis) as node:
        shop = drains_one_of_two(kube, redis, node, operator)
        node.falls_silent()
        wait_until(lambda: is_lost(node), "the node is not ready", seconds=LOST_SECONDS)
        assert len(shop.busy()) == 2
        shop.release()
        assert_ended_once(shop, figure)


@pytest.mark.full
@pytest.mark.parametrize("fate", ["deleted", "out of service"])
def test_the_node_is_gone_in_the_middle_of_a_drain(
    fate: str, kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path, figure: Figure
) -> None:
    """What its workers ran runs again elsewhere."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with LiveNode(kube, first, redis) as lost:
        shop = drains_one_of_two(kube, redis, lost, operator)
        lost.goes_off()
        if fate == "deleted":
            lost.machine.delete()
        else:
            wait_until(lambda: is_lost(lost), "the node is not ready", seconds=LOST_SECONDS)
            lost.machine.is_out_of_service()
        with redis.client() as client:
            client.delete("running")
        # A worker there may be the one to go before it has said anything: it holds nothing.
        with LiveNode(kube, second, redis, name="second", drains=False) as heir:
            shop.node = heir
            wait_until(lambda: shop.busy() != {}, "a task runs again", seconds=LOST_SECONDS)
            while len(shop.ended()) < 2:
                shop.wait(lambda: shop.busy() != {} or len(shop.ended()) == 2, "the other runs, or has run")
                with redis.client() as client:
                    client.rpush("release", "one of them")
            assert_ended_once(shop, figure)


def is_lost(node: LiveNode) -> bool:
    """Whether the controller of nodes has noticed."""
    conditions = node.machine.read()["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] != "True" for each in conditions)
