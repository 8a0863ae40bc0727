"""Two operators share a cluster by the labels of its namespaces, and one of these moves while a worker drains."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.kube import POOLS, Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import SECONDS, LiveShop
from tests.integration.operator_process import OperatorProcess, faultless
from tests.integration.redis_server import RedisServer

pytestmark = [pytest.mark.agent, pytest.mark.timeout(600)]

OWN = ("events", "leases")
"""What an operator writes that is not a pool's: it may tell later what it has done before."""


class Shards:
    """Operators `a` and `b`, each with a user and a Lease of its own, for namespaces with its label."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane, self.namespace = control_plane, namespace
        self.operators: dict[str, OperatorProcess] = {}
        self._running = ExitStack()

    def user(self, shard: str) -> str:
        return f"{shard}-{self.namespace}"

    def __enter__(self) -> "Shards":
        for shard in ("a", "b"):
            kubeconfig = self.control_plane.kubeconfig_for(self.user(shard), ["system:masters"])
            flags = (f"--namespace-selector=shard={self.user(shard)}", f"--lease-name={shard}")
            started = faultless(kubeconfig, self.namespace, *flags, clusterwide=True)
            self.operators[shard] = self._running.enter_context(started)
        for operator in self.operators.values():
            operator.wait_for_log("this replica leads", seconds=SECONDS)
        return self

    def __exit__(self, *error: Any) -> None:
        for shard, operator in self.operators.items():
            print(f"--- log of {shard}\n{operator.log()[-4000:]}", file=sys.stderr)
        self._running.__exit__(*error)

    def give(self, shard: str) -> None:
        """The namespace gets the label of this shard, and loses that of another."""
        self.control_plane.kubectl("label", "namespace", self.namespace, f"shard={self.user(shard)}", "--overwrite")

    def writers(self) -> list[str]:
        """Who wrote to the pool, its Deployment and its Pods, in the order in which that came to the API server."""
        names = {self.user(shard): shard for shard in self.operators}
        done = [
            (event["requestReceivedTimestamp"], names[event["user"]["username"]])
            for event in self.control_plane.audit_events()
            if event["user"].get("username") in names
            and event["verb"] not in ("get", "list", "watch")
            and event["responseStatus"]["code"] < 300
            and event["objectRef"]["resource"] not in OWN
        ]
        order = [shard for _, shard in sorted(done)]
        return [shard for number, shard in enumerate(order) if number == 0 or order[number - 1] != shard]


@pytest.fixture
def shards(control_plane: ControlPlane, namespace: str) -> Iterator[Shards]:
    with Shards(control_plane, namespace) as running:
        yield running


@pytest.mark.full
def test_a_pool_that_moves_while_it_drains_goes_on_draining_and_never_has_two_operators(
    kube: Kube, redis: RedisServer, shards: Shards, tmp_path: Path
) -> None:
    with LiveNode(kube, tmp_path, redis) as node:
        shop = LiveShop(kube, redis, node, shards.operators["b"])
        shards.give("a")
        shop.open(redis.celery_url)
        shop.occupy(1)
        (busy,) = shop.busy().values()
        shop.pin(0)
        shop.wait_for_replicas(1)
        shop.wait_until_marks_agree(1)
        mark = shop.annotated()
        assert kube.get(POOLS, "ml")["status"]["operator"] == f"{kube.namespace}/a"
        shards.give("b")
        kube.wait_for_pool("ml", lambda pool: pool["status"].get("operator") == f"{kube.namespace}/b")
        assert (shop.annotated(), list(shop.busy().values())) == (mark, [busy]), "the same mark drains the same worker"
        shop.release()
        shop.wait_for_replicas(0)
        shop.wait(lambda: not shop.marks() and not shop.states(), "nothing is left of the drain")
        assert (shop.ended(), node.problems) == (["1"], []), shop.story()
        shop.pin(2)
        shop.wait_until_all_work()
        assert shards.writers() == ["a", "b"], shop.story()
