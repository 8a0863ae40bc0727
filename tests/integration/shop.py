"""A shop with one pool, `ml` on the queue `mail`, whose workers' ends the stories write: Redis and API server are real.

shop = Shop(control_plane, namespace, redis); shop.open(redis.celery_url)
killed = shop.worker("ml-1")                  # its Pod runs; its process is registered and has reported
shop.send("a", "b"); killed.takes(2, started=True)
killed.pod.ends(shop.now)                     # as its kubelet would say
shop.wait_until_back("a", "b")
"""

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from celeriac.api.names import POOL_LABEL
from celeriac.pool.broker import broker_reference
from celeriac.pool.parse import parse_pool
from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.integration.brokers import producer
from tests.integration.gone_worker import GoneWorker
from tests.integration.kube import DEPLOYMENTS, POOLS, Body, Kube
from tests.integration.kubelet import FakeNode, FakePod
from tests.integration.redis_server import RedisServer

SECONDS = 120.0
"""What may take seconds is given so many: the machine may be busy."""


class Worker:
    """A Pod that runs, and in it a process that is registered and has reported."""

    def __init__(self, shop: "Shop", pod: FakePod, start: str, started: float, max_attempts: int) -> None:
        self.pod = pod
        self._shop = shop
        self._process = GoneWorker(
            shop.redis,
            pod.name,
            start,
            pool_uid=shop.pool_uid,
            pod_uid=pod.uid,
            namespace=shop.kube.namespace,
            started=started,
            max_attempts=max_attempts,
        )
        self._reports = 1

    def takes(self, count: int, *, started: bool = False) -> None:
        """It takes messages off the queue and holds them; `started`: their tasks run."""
        self._process.take("mail", count, started=started)

    def report(self) -> None:
        """It says once more that it is there."""
        self._reports += 1
        self._process.report(self._reports)

    def unregister(self) -> None:
        """Somebody, or an eviction, removes it from the registry."""
        with self._shop.redis.client() as client:
            client.hdel(self._process.key("processes"), self._process.process)

    @property
    def unacked(self) -> str:
        """The key of what it holds."""
        return self._process.unacked

    @property
    def index(self) -> str:
        """The key of when that was delivered."""
        return self._process.index

    @property
    def held(self) -> list[str]:
        """Ids of what it holds, in no order."""
        with self._shop.redis.client() as client:
            return sorted(json.loads(text)[0]["headers"]["id"] for text in client.hvals(self._process.unacked))

    @property
    def registered(self) -> bool:
        """Whether somebody has to look after what it held."""
        with self._shop.redis.client() as client:
            return bool(client.hexists(self._process.key("processes"), self._process.process))


class Shop:
    """One namespace, one pool that nobody scales, one node."""

    def __init__(self, control_plane: ControlPlane, namespace: str, redis: RedisServer) -> None:
        self.kube = Kube(control_plane.kubeconfig, namespace, patience=SECONDS)
        self.redis = redis
        self.node = FakeNode(self.kube)
        self.pool_uid = ""
        self.broker = ""
        self._sentinels = 0

    def open(self, broker_url: str | None = None, **spec: Any) -> None:
        """Make the pool. Without a URL its broker is in the key `url` of the Secret `broker`."""
        scaling = {"mode": "Paused"}
        body = self.kube.create_pool("ml", broker_url, **{"queues": ["mail"], "scaling": scaling} | spec)
        self.pool_uid = body["metadata"]["uid"]
        self.broker = broker_reference(parse_pool(body).broker)

    @property
    def now(self) -> float:
        """By the one clock of all nodes here (Unix seconds)."""
        return time.time()

    def worker(
        self, name: str, *, node: FakeNode | None = None, pod: FakePod | None = None, age: float = 60.0, **options: Any
    ) -> Worker:
        """A worker that started `age` seconds ago, in a Pod of its own or in one that is there."""
        start = options.pop("start", None) or secrets.token_hex(4)
        found = pod or (node or self.node).run(name, "ml", self.broker)
        return Worker(self, found, start, self.now - age, options.pop("max_attempts", 5))

    def send(self, *ids: str, **options: Any) -> None:
        """Tasks of these ids, as a producer sends them."""
        app = producer(self.redis)
        for each in ids:
            app.send_task("task", queue="mail", task_id=each, **options)

    def messages(self, key: str = "mail") -> list[Body]:
        """The messages of a list, the one that is consumed next first."""
        with self.redis.client() as client:
            return [json.loads(text) for text in reversed(client.lrange(key, 0, -1))]

    def ids(self, key: str = "mail") -> list[str]:
        """Their ids."""
        return [message["headers"]["id"] for message in self.messages(key)]

    def deaths(self) -> dict[str, int]:
        """What waits, and in how many processes that died it had been started."""
        return {
            message["headers"]["id"]: message["properties"]["delivery_info"].get("celeriac_deaths", 0)
            for message in self.messages()
        }

    def wait_until_back(self, *ids: str, key: str = "mail") -> None:
        """Until exactly these stand in a list, in this order."""
        wait_until(lambda: self.ids(key) == list(ids), f"{ids} stand in {key}", seconds=SECONDS)

    def wait_until_all_was_judged(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Until the operator has looked at every process that is registered by now.

        Another worker ends, whose registration goes as soon as the operator has seen all for long enough to be sure.
        """
        self._sentinels += 1
        sentinel = self.worker(f"sentinel-{self._sentinels}")
        sentinel.pod.ends(self.now)

        def is_judged() -> bool:
            meanwhile()
            return not sentinel.registered

        wait_until(is_judged, "a worker that ended is not registered", seconds=SECONDS)

    def delete_pool(self) -> None:
        """As kubectl delete; until it is gone, and with it what the garbage collector removes."""
        self.kube.delete(POOLS, "ml")
        self.kube.wait_until_gone(POOLS, "ml")
        self.kube.wait_until_gone(DEPLOYMENTS, "ml")

    def keys(self) -> list[str]:
        """What the agent's keys are that Redis still has."""
        with self.redis.client() as client:
            return sorted([*client.scan_iter("celeriac:*"), *client.scan_iter("unacked*")])

    def pods(self) -> list[str]:
        """The names of the Pods of the pool that are still there."""
        found: Any = self.kube.core.list_namespaced_pod(self.kube.namespace, label_selector=f"{POOL_LABEL}=ml")
        return [pod.metadata.name for pod in found.items]
