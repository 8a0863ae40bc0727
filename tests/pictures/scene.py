"""The run of the pictures: two replicas of the operator, a shop that is busy, a twin of its pool, a fleet that sleeps.

Workers of two namespaces are real processes. The other pools have none: most sleep at zero, and some are in need.
"""

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from celery import Celery

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.integration.crds import install_crds
from tests.integration.kube import POOLS, Kube
from tests.integration.live_node import LiveNode
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

SYSTEM = "celeriac"
PER_TEAM = 10
NAMES = ("mail", "images", "reports", "search", "exports", "imports", "sync", "video", "webhooks", "thumbnails")
NOBODY_LISTENS = "redis://127.0.0.1:1/0"
# Tasks that take their time, and one that fails for some.
TASKS = """
@app.task(name="images.resize")
def resize(seconds):
    time.sleep(seconds)

@app.task(name="mail.send")
def send(seconds):
    time.sleep(seconds)

@app.task(name="orders.export")
def export(number):
    time.sleep(0.2)
    if number % 3 == 0:
        raise ValueError("a third of the orders cannot be exported")
"""
SCALING = {
    "minReplicas": 1,
    "maxReplicas": 5,
    "target": {"queueWaitSeconds": 5},
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
}


class Scene:
    """What runs, and what is sent to it."""

    def __init__(self, kube: Kube, redis: RedisServer, operators: Sequence[OperatorProcess]) -> None:
        self._kube, self._redis, self._operators = kube, redis, operators
        self._numbers = itertools.count()
        self._apps = [Celery(broker=database(redis, index)) for index in range(2)]

    @property
    def targets(self) -> list[str]:
        """What is scraped."""
        return [f"127.0.0.1:{each.port}" for each in self._operators]

    def play(self, seconds: float) -> None:
        """A burst, a quieter time in which some tasks fail, a deploy, another leader, and another burst."""
        began = time.monotonic()
        acts = [(0.04, self._burst), (0.35, self._deploy), (0.55, self._hand_over), (0.7, self._burst)]
        while (part := (time.monotonic() - began) / seconds) < 1:
            while acts and part >= acts[0][0]:
                acts.pop(0)[1]()
            self._send(0, "orders.export", next(self._numbers))
            self._send(0, "mail.send", 0.1)
            self._send(1, "images.resize", 0.5)
            time.sleep(0.5)

    def _send(self, database: int, task: str, *arguments: Any) -> None:
        published = {"celeriac_published": time.time()}
        self._apps[database].send_task(task, args=arguments, queue="ml", headers=published)

    def _burst(self) -> None:
        for _ in range(60):
            self._send(0, "images.resize", 1.5)

    def _deploy(self) -> None:
        self._kube.patch(POOLS, "ml", {"spec": {"image": "app:2"}})

    def _hand_over(self) -> None:
        leader = next(each for each in self._operators if leads(each))
        leader.stop()
        leader.start()


def leads(operator: OperatorProcess) -> bool:
    """Whether this replica holds the Lease."""
    return "\nceleriac_leader 1.0" in operator.metrics()


def database(redis: RedisServer, index: int) -> str:
    """The URL of one database of the server."""
    return f"{redis.celery_url.rpartition('/')[0]}/{index}"


def fleet(kubes: Sequence[Kube], redis: RedisServer) -> None:
    """Pools without workers: nine of ten sleep, some have tasks and get no pods, some have no broker."""
    sender = Celery(broker=database(redis, 2))
    for number, (kube, name) in enumerate(itertools.product(kubes, NAMES)):
        queue = f"{kube.namespace}.{name}"
        broker = NOBODY_LISTENS if number % 71 == 35 else database(redis, 2)
        kube.create_pool(name, broker, queues=[queue], scaling={"maxReplicas": 3})
        for _ in range(number % 7 if number % 19 == 4 else 0):
            sender.send_task("images.resize", args=[1], queue=queue)


@contextmanager
def staged(pools: int) -> Iterator[Scene]:
    """All that runs, once every pool has a status."""
    teams = [f"team-{number:02d}" for number in range(1, pools // PER_TEAM + 1)]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pictures ")))
        control_plane = stack.enter_context(ControlPlane(controllers=True))
        redis = stack.enter_context(RedisServer())
        install_crds(control_plane)
        for name in (SYSTEM, "shop", "billing", *teams):
            control_plane.kubectl("create", "namespace", name)
        kubes = {name: Kube(control_plane.kubeconfig, name) for name in ("shop", "billing", *teams)}
        for index, name in enumerate(("shop", "billing")):
            (directory / name).mkdir()
            node = LiveNode(kubes[name], directory / name, redis, database(redis, index), drains=False, name=name)
            with (directory / name / "app.py").open("a") as app:
                app.write(TASKS)
            stack.enter_context(node)
            spec: dict[str, Any] = {"pool": "threads", "concurrency": 2, "scaling": SCALING}
            kubes[name].create_pool("ml", database(redis, index), **spec)
        fleet([kubes[name] for name in teams], redis)
        operators = [
            stack.enter_context(OperatorProcess(control_plane.kubeconfig, SYSTEM, clusterwide=True)) for _ in range(2)
        ]
        settle(kubes.values())
        yield Scene(kubes["shop"], redis, operators)


def settle(kubes: Any) -> None:
    """Until an operator has told of every pool, and the shop's first worker works."""

    def told() -> bool:
        found = [pool for kube in kubes for pool in kube.list(POOLS)]
        works = [pool["status"].get("readyReplicas", 0) for pool in found if pool["metadata"]["name"] == "ml"]
        return all(pool.get("status", {}).get("conditions") for pool in found) and all(works)

    wait_until(told, "every pool has a status", seconds=120)
