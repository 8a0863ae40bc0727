"""A namespace is deleted while tasks run in it: they end, and what waits is there for others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.faults.conftest import SECONDS, Figure
from tests.integration.brokers import producer
from tests.integration.kube import Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import LiveShop
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.faults


@pytest.fixture
def doomed(core_api: Any, kube: Kube, control_plane: ControlPlane) -> Iterator[Kube]:
    """A second namespace."""
    name = f"doomed-{kube.namespace}"
    core_api.create_namespace({"metadata": {"name": name}})
    yield Kube(control_plane.kubeconfig, name, patience=SECONDS)
    if exists(core_api, name):
        core_api.delete_namespace(name)


def exists(core_api: Any, name: str) -> bool:
    """Whether there is a namespace of this name still."""
    try:
        core_api.read_namespace(name)
    except ApiException as error:
        if error.status == 404:
            return False
        raise
    return True


def consuming(shop: LiveShop) -> int:
    """How many workers say that they take tasks."""
    return sum(state == "consuming" for state, _ in shop.states().values())


@pytest.mark.full
def test_a_namespace_is_deleted_while_tasks_run_in_it(
    core_api: Any,
    kube: Kube,
    doomed: Kube,
    control_plane: ControlPlane,
    redis: RedisServer,
    tmp_path: Path,
    figure: Figure,
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    watched = ("--watch-namespace", doomed.namespace)
    with OperatorProcess(control_plane.kubeconfig, kube.namespace, *watched) as operator:
        with LiveNode(doomed, first, redis, drains=False) as node:
            shop = LiveShop(doomed, redis, node, operator)
            shop.open(redis.celery_url)
            shop.occupy(2)
            for number in ("3", "4"):
                producer(redis).send_task("hold", queue="ml", task_id=number)
            core_api.delete_namespace(doomed.namespace)
            shop.wait(lambda: consuming(shop) == 0, "no worker takes anything more")
            shop.release()
            wait_until(lambda: not exists(core_api, doomed.namespace), "the namespace is gone", seconds=2 * SECONDS)
            assert shop.ended() == ["1", "2"]
        with LiveNode(kube, second, redis, name="second") as node:
            shop = LiveShop(kube, redis, node, operator)
            shop.open(redis.celery_url)
            shop.wait(lambda: set(shop.busy()) == {"3", "4"}, "what waited runs elsewhere")
            shop.release()
            figure("of 4 tasks each ended once:", len(set(shop.ended())), "")
            assert shop.ended() == ["1", "2", "3", "4"]
        assert "Traceback" not in operator.log()
