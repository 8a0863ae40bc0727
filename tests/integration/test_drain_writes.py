"""A drain is written in several places: the operator may be killed after each of them, and Redis may refuse some.

Whatever happens, no worker is stopped that has not drained, Redis comes to agree with the Pods, and the next operator
ends what the last one began. The workers are real ones with the agent, as processes.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac.names import DELETION_COST_ANNOTATION, DRAIN_ANNOTATION
from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.integration import dying_operator
from tests.integration.brokers import producer
from tests.integration.crds import install_crds
from tests.integration.kube import EVENTS, POOLS, Body, Kube
from tests.integration.live_node import LiveNode
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DYING = str(Path(dying_operator.__file__))
SECONDS = 90.0
"""Workers start within seconds; the machine may be busy."""


class Shop:
    """A pool of two workers; what stands in its Pods and in Redis."""

    def __init__(self, kube: Kube, redis: RedisServer, node: LiveNode, operator: OperatorProcess) -> None:
        self.kube, self.redis, self.node, self.operator = kube, redis, node, operator
        self.uid = ""
        self._sent = 0

    def open(self, broker_url: str | None = None) -> None:
        """Two workers that consume. Without a URL the operator finds it in the Secret `broker`."""
        options = {"launcher": [sys.executable], "pool": "threads", "concurrency": 1, "replicas": 2}
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
        with self.redis.client() as client:
            reports = client.hgetall(f"celeriac:{self.uid}:reports")
        said: dict[str, Body] = {uid: json.loads(text) for uid, text in reports.items()}
        return {uid: (report["state"], report["token"]) for uid, report in said.items()}

    def wait_until_all_work(self) -> None:
        """Two Pods, no marks and no costs anywhere, and both say that they consume."""

        def all_work() -> bool:
            annotations = [body["metadata"].get("annotations", {}) for body in self.node.pods()]
            clean = all(each.keys().isdisjoint({DRAIN_ANNOTATION, DELETION_COST_ANNOTATION}) for each in annotations)
            consuming = list(self.states().values()) == [("consuming", None)] * 2
            return clean and len(annotations) == 2 and self.marks() == {} and consuming

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


@pytest.fixture
def kube(control_plane: ControlPlane, namespace: str) -> Kube:
    install_crds(control_plane)
    return Kube(control_plane.kubeconfig, namespace, patience=SECONDS)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def shop(kube: Kube, redis: RedisServer, control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Shop]:
    """Its two workers work."""
    with (
        LiveNode(kube, tmp_path, redis) as node,
        OperatorProcess(control_plane.kubeconfig, namespace) as operator,
    ):
        shop = Shop(kube, redis, node, operator)
        shop.open(redis.celery_url)
        yield shop


def test_a_drain_ends_well_whichever_of_its_writes_the_operator_is_killed_after(shop: Shop) -> None:
    """Two marks on Pods, the tokens in Redis, a lower cost for the idle one, and its removal; a third waits longer."""
    shop.occupy(1)
    (busy,) = shop.busy().values()
    for write in range(1, 6):
        shop.operator_dies_after(write, replicas=0)
        shop.operator.start()
        shop.wait_for_replicas(1)
        shop.wait_until_marks_agree(1)
        left = [body["metadata"]["name"] for body in shop.node.pods()]
        assert (left, list(shop.busy().values()), shop.node.problems) == ([busy], [busy], []), (
            f"{write}: {shop.story()}"
        )
        shop.pin(2)
        shop.wait_until_all_work()
    shop.pin(0)
    shop.wait_for_replicas(1)
    shop.release()
    shop.wait_for_replicas(0)
    shop.wait(lambda: not shop.marks() and not shop.states(), "nothing is left of both")
    assert (shop.ended(), shop.node.problems) == (["1"], [])


def test_workers_get_back_to_work_whichever_write_of_that_the_operator_is_killed_after(shop: Shop) -> None:
    """Two Pods to unmark, and Redis to tell."""
    for write in range(1, 4):
        shop.occupy(2)
        before = shop.busy()
        shop.pin(0)
        shop.wait_until_marks_agree(2)
        shop.operator_dies_after(write, replicas=2)
        shop.operator.start()
        shop.wait_until_all_work()
        assert (shop.busy(), shop.kube.replicas("ml")) == (before, 2), f"{write}: {shop.story()}"
        shop.release()
    shop.occupy(2)
    shop.release()
    assert (shop.ended(), shop.node.problems) == ([str(number) for number in range(1, 9)], [])


def test_a_redis_that_refuses_the_marks_delays_a_drain_and_spoils_nothing(
    kube: Kube, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The operator's user must not write marks; it is allowed to later, and its connections are cut then."""
    limited = "user limited on >limited ~* &* +@all -hset"
    with (
        RedisServer(password="secret", user="celery", acl="~* &* +@all", config=[limited]) as redis,
        LiveNode(kube, tmp_path, redis) as node,
        OperatorProcess(control_plane.kubeconfig, namespace) as operator,
    ):
        kube.create_secret("broker", url=redis.celery_url.replace("celery:secret", "limited:limited"))
        shop = Shop(kube, redis, node, operator)
        shop.open()
        shop.occupy(1)
        (busy,) = shop.busy().values()
        shop.pin(0)
        for _ in range(2):
            operator.forget_log()
            operator.wait_for_log("its workers could not be marked", seconds=SECONDS)
        assert (len(shop.annotated()), shop.marks(), kube.replicas("ml")) == (2, {}, 2), shop.story()
        with redis.client() as client:
            client.execute_command("ACL", "SETUSER", "limited", "+hset")
            client.execute_command("CLIENT", "KILL", "USER", "limited")
        shop.wait_for_replicas(1)
        shop.wait_until_marks_agree(1)
        left = [body["metadata"]["name"] for body in node.pods()]
        assert (left, node.problems) == ([busy], []), shop.story()
        shop.release()
        shop.wait_for_replicas(0)
        shop.wait(lambda: not shop.marks(), "no mark is left")
        assert (shop.ended(), node.problems) == (["1"], []), shop.story()
