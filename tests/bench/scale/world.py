"""A control plane without nodes, a Redis and the operator as a process, and so many pools."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.bench.scale.api import APPS, CELERIAC, Body, Client, Watch, at_once
from tests.bench.scale.usage import Audit
from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import wait_established
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

NAMESPACE, FLOOR = "bench", "floor"
USER = "operator-of-the-bench"
"""The operator has a user of its own: the audit log tells its requests from those of the bench."""
QUEUES = 4
BURST, TASKS_PER_SLOT = 50, 5
REPLICAS = BURST // TASKS_PER_SLOT
TICK_SECONDS = 0.5
API_SERVER_MIB = 4096
"""Of thousands of pools it keeps as many again, and their Deployments."""
AT_ONCE = {"policies": [{"type": "Pods", "value": 100, "periodSeconds": 1}]}
SCALING = {
    "target": {"tasksPerSlot": TASKS_PER_SLOT},
    "scaleToZeroAfterSeconds": 0,
    "behavior": {"scaleUp": AT_ONCE, "scaleDown": AT_ONCE | {"stabilizationWindowSeconds": 0}},
}
POOLS_PATH = f"{CELERIAC}/namespaces/{NAMESPACE}/celeryworkerpools"
HERE = Path(__file__).parents[3]


def names(count: int) -> list[str]:
    """Of the pools."""
    return [f"pool-{number:05}" for number in range(count)]


def index(name: str) -> int:
    """Of a pool, from its name."""
    return int(name.rpartition("-")[2])


def queues(name: str) -> list[str]:
    """Of a pool."""
    return [f"{name}-{number}" for number in range(QUEUES)]


def pool(name: str, secret: str) -> Body:
    """A solo pool whose broker's URL is in a Secret, as the documentation advises."""
    broker = {"urlFrom": {"secretKeyRef": {"name": secret, "key": "url"}}}
    spec = {"image": "app:1", "app": "app", "pool": "solo", "queues": queues(name), "broker": broker}
    kind = {"apiVersion": "celeriac.dev/v1alpha1", "kind": "CeleryWorkerPool"}
    return {**kind, "metadata": {"name": name}, "spec": spec | {"scaling": SCALING}}


def secret(name: str, url: str) -> Body:
    """With the URL of a broker."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"url": url}}


def reachable(body: Body) -> bool:
    """Whether the status says that the pool's broker can be read."""
    conditions = body.get("status", {}).get("conditions", [])
    return any(each["type"] == "BrokerReachable" and each["status"] == "True" for each in conditions)


@dataclass(frozen=True)
class Wanted:
    """A Deployment: how many pods it wants, and whether a controller has seen that."""

    replicas: int
    generation: int
    observed: int

    @property
    def is_unseen(self) -> bool:
        """Whether it has changed since its controller looked."""
        return self.observed < self.generation

    @classmethod
    def of(cls, body: Body) -> "Wanted":
        """From its manifest."""
        observed = body.get("status", {}).get("observedGeneration", 0)
        return cls(body["spec"]["replicas"], body["metadata"]["generation"], observed)


@dataclass(frozen=True)
class World:
    """Everything that a part of the bench needs. `pools` knows whether the broker is reachable by the status."""

    client: Client
    servers: Sequence[RedisServer]
    brokers: Sequence[redis.Redis]
    operator: OperatorProcess
    deployments: Watch[Wanted]
    pools: Watch[bool]
    audit: Audit

    def create(self, name: str, namespace: str = NAMESPACE) -> None:
        """Make a pool."""
        path = f"{CELERIAC}/namespaces/{namespace}/celeryworkerpools"
        self.client.post(path, pool(name, f"broker-{index(name) % len(self.servers)}"))

    def push(self, names: Sequence[str]) -> None:
        """A burst for each of the pools, all of a broker in one go."""
        for broker, its in self._by_broker(names):
            pipeline = broker.pipeline(transaction=False)
            for name in its:
                pipeline.lpush(queues(name)[0], *["{}"] * BURST)
            pipeline.execute()

    def take_away(self, names: Sequence[str]) -> None:
        """All their work."""
        for broker, its in self._by_broker(names):
            broker.delete(*(queues(name)[0] for name in its))

    def _by_broker(self, names: Sequence[str]) -> Iterator[tuple[redis.Redis, Sequence[str]]]:
        """Each broker that has any of the pools, with those: they are dealt out in turn."""
        for number, broker in enumerate(self.brokers):
            if its := [name for name in names if index(name) % len(self.brokers) == number]:
                yield broker, its

    def acknowledge(self, names: Iterable[str]) -> None:
        """Do what the controller of Deployments would do at once, and without which no pool scales down: see them."""

        def see(name: str) -> None:
            generation = self.deployments.now(name).generation
            path = f"{APPS}/namespaces/{NAMESPACE}/deployments/{name}/status"
            self.client.patch(path, {"status": {"observedGeneration": generation}})

        at_once(see, names)


@contextmanager
def world(checkout: Path, brokers: int = 1) -> Iterator[World]:
    """The operator of a checkout, with that one's CRDs and so many brokers; it has no pools yet."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else a restart compiles all that the operator imports
    with ExitStack() as stack:
        control_plane = stack.enter_context(ControlPlane(memory_mib=API_SERVER_MIB))
        servers = [stack.enter_context(RedisServer()) for _ in range(brokers)]
        control_plane.kubectl("apply", "--server-side", "-f", str(checkout / "crds"))
        wait_established(control_plane, "celeryworkerpools.celeriac.dev")
        for namespace in (NAMESPACE, FLOOR):
            control_plane.kubectl("create", "namespace", namespace)
        client = Client(control_plane)
        for number, server in enumerate(servers):
            client.post(f"/api/v1/namespaces/{NAMESPACE}/secrets", secret(f"broker-{number}", server.celery_url))
        kubeconfig = control_plane.kubeconfig_for(USER, ("system:masters",))
        arguments = ("--tick-seconds", str(TICK_SECONDS))
        python = checkout / ".venv" / "bin" / "python" if checkout != HERE else None
        operator = OperatorProcess(kubeconfig, NAMESPACE, *arguments, python=python)
        deployments = Watch(client, f"{APPS}/deployments", Wanted.of)
        pools = Watch(client, POOLS_PATH, reachable)
        clients = [stack.enter_context(server.client()) for server in servers]
        audit = Audit(control_plane.audit_log, USER)
        stack.enter_context(operator)
        operator.wait_for_log("this replica leads")
        yield World(client, servers, clients, operator, deployments, pools, audit)
