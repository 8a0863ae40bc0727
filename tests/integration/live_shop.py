"""A pool of two real workers with the agent, which a LiveNode runs as processes; tasks last until they are released."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celeriac.api.names import DELETION_COST_ANNOTATION, DRAIN_ANNOTATION
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.integration import dying_operator
from tests.integration.brokers import producer
from tests.integration.kube import EVENTS, POOLS, Body, Kube
from tests.integration.live_node import LiveNode
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

DYING = str(Path(dying_operator.__file__))
SECONDS = 90.0
"""Workers start within seconds; the machine may be busy."""


class LiveShop:
    """A pool of two workers; what stands in its Pods and in Redis."""

    def __init__(self, kube: Kube, redis: RedisServer, node: LiveNode, operator: OperatorProcess) -> None:
        self.kube, self.redis, self.node, self.operator = kube, redis, node, operator
        self.uid = ""
        self._sent = 0

    def open(self, broker_url: str | None = None, **spec: Any) -> None:
        """Two workers that consume. Without a URL the operator finds it in the Secret `broker`."""
        options = {"pool": "threads", "concurrency": 1, "replicas": 2} | spec
        self.uid = self.kube.create_pool("ml", broker_url, **options)["metadata"]["uid"]
        self.wait_until_all_work()

    def pin(self, replicas: int) -> None:
        """As kubectl scale."""
        self.kube.patch(POOLS, "ml", {"spec": {"replicas": replicas}})

    def occupy(self, workers: int) -> None:
        """So many of the workers get a task that ends when it is released."""
        for _ in range(workers):
            self._sent += 1
            producer(self.redis).send_task("hold", queue="ml", task_id=str(self._sent))
        self.wait(lambda: len(self.busy()) == workers, f"{workers} tasks run")

    def release(self) -> None:
        """Let all tasks end that run."""
        with self.redis.client() as client:
            client.rpush("release", *self.busy())
        self.wait(lambda: self.busy() == {}, "all have ended")

    def busy(self) -> dict[str, str]:
        """The tasks that run, and the names of their Pods."""
        with self.redis.client() as client:
            found: dict[str, str] = client.hgetall("running")
        return found

    def ended(self) -> list[str]:
        """The tasks that have ended, each as often as it has."""
        with self.redis.client() as client:
            found: list[str] = client.lrange("ended", 0, -1)
        return sorted(found, key=int)

    def annotated(self) -> dict[str, str]:
        """The tokens that the Pods carry, by uid."""
        tokens = {
            body["metadata"]["uid"]: body["metadata"].get("annotations", {}).get(DRAIN_ANNOTATION)
            for body in self.node.pods()
        }
        return {uid: token for uid, token in tokens.items() if token}

    def marks(self) -> dict[str, str]:
        """The tokens that Redis tells the workers, by uid."""
        with self.redis.client() as client:
            found: dict[str, str] = client.hgetall(f"celeriac:{self.uid}:drain")
        return found

    def states(self) -> dict[str, tuple[str, str | None]]:
        """What the workers of all Pods said last: state and token, by uid."""
        return {uid: (report["state"], report["token"]) for uid, report in self.reports().items()}

    def reports(self) -> dict[str, Body]:
        """What the workers of all Pods said last, by uid."""
        with self.redis.client() as client:
            reports = client.hgetall(f"celeriac:{self.uid}:reports")
        return {uid: json.loads(text) for uid, text in reports.items()}

    def wait_until_all_work(self) -> None:
        """Two ready Pods, no marks and no costs anywhere, and both say that they consume."""

        def all_work() -> bool:
            pods = self.node.pods()
            ready = [each for body in pods for each in body["status"].get("conditions", ()) if each["type"] == "Ready"]
            annotations = [body["metadata"].get("annotations", {}) for body in pods]
            clean = all(each.keys().isdisjoint({DRAIN_ANNOTATION, DELETION_COST_ANNOTATION}) for each in annotations)
            consuming = list(self.states().values()) == [("consuming", None)] * 2
            all_ready = [each["status"] for each in ready] == ["True"] * 2
            return clean and len(annotations) == 2 and self.marks() == {} and consuming and all_ready

        self.wait(all_work, "two workers without marks")

    def wait_until_marks_agree(self, pods: int) -> None:
        """So many Pods carry a mark, and Redis says the same."""

        def agree() -> bool:
            annotated = self.annotated()
            return len(annotated) == pods and self.marks() == annotated

        self.wait(agree, f"{pods} marks agree")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Until the condition holds; AssertionError with all that happened otherwise."""
        try:
            wait_until(condition, what, seconds=SECONDS)
        except ClusterError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def wait_for_replicas(self, replicas: int) -> None:
        """Until the Deployment wants so many."""
        self.wait(lambda: self.kube.replicas("ml") == replicas, f"{replicas} replicas")

    def story(self) -> str:
        """What happened, for a test that fails."""
        told = [f"{event['eventTime']} {event['reason']}: {event.get('note')}" for event in self.kube.list(EVENTS)]
        state = f"busy {self.busy()}, ended {self.ended()}, marks {self.marks()}, states {self.states()}"
        log = self.operator.log()[-4000:]
        return "\n".join([*sorted(told), state, *self.node.problems, "--- log of the operator", log])

    def operator_dies_after(self, write: int, replicas: int) -> None:
        """The operator is followed by one that is told to change the replicas, and killed after so many writes."""
        assert self.operator.stop() == 0
        self.operator.forget_log()
        self.operator.start(DYING, str(write))
        self.operator.wait_for_log("this replica leads", seconds=SECONDS)
        self.pin(replicas)
        assert self.operator.wait_until_ended(SECONDS) == -9
