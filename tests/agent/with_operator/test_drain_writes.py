"""A drain is written in several places: the operator may be killed after each of them, and Redis may refuse some.

Whatever happens, no worker is stopped that has not drained, Redis comes to agree with the Pods, and the next operator
ends what the last one began. The workers are real ones with the agent, as processes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.agent.shapes import full
from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.integration.kube import Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import SECONDS, LiveShop
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.scale_policy import mark_policy

pytestmark = [pytest.mark.agent, pytest.mark.timeout(900)]


@pytest.fixture
def shop(
    kube: Kube, redis: RedisServer, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> Iterator[LiveShop]:
    """Its two workers work."""
    with (
        LiveNode(kube, tmp_path, redis) as node,
        OperatorProcess(control_plane.kubeconfig, namespace) as operator,
    ):
        shop = LiveShop(kube, redis, node, operator)
        shop.open(redis.celery_url)
        yield shop


@pytest.mark.parametrize(
    "writes", [pytest.param((2, 5), id="some"), pytest.param((1, 2, 3, 4, 5), id="all", marks=full)]
)
def test_a_drain_ends_well_whichever_of_its_writes_the_operator_is_killed_after(
    shop: LiveShop, writes: Sequence[int]
) -> None:
    """Two marks on Pods, the tokens in Redis, a lower cost for the idle one, and its removal; a third waits longer."""
    shop.occupy(1)
    (busy,) = shop.busy().values()
    for write in writes:
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


@full
def test_workers_get_back_to_work_whichever_write_of_that_the_operator_is_killed_after(shop: LiveShop) -> None:
    """Two Pods to unmark, and Redis to tell."""
    writes = (1, 2, 3)
    for write in writes:
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
    assert (shop.ended(), shop.node.problems) == ([str(number) for number in range(1, 2 * len(writes) + 3)], [])


@full
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
        shop = LiveShop(kube, redis, node, operator)
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


@full
def test_a_policy_that_refuses_the_marks_is_named_and_stops_no_worker(
    shop: LiveShop, control_plane: ControlPlane
) -> None:
    """A platform's own, or one of the chart that a mutating webhook made wrong; when it goes, the drain begins."""
    policy = mark_policy(shop.kube.namespace, "ask-the-platform")
    control_plane.kubectl("apply", "-f", "-", stdin=policy)
    shop.wait(lambda: not may_mark(control_plane, shop.kube.namespace), "the policy holds")
    shop.pin(0)
    told = shop.kube.wait_for_condition("ml", "ScalingActive", "False", "FailedUpdateScale")["message"]
    assert "no worker can be marked to drain" in told
    assert "ask-the-platform" in told
    assert (shop.annotated(), shop.kube.replicas("ml"), shop.node.problems) == ({}, 2, [])
    control_plane.kubectl("delete", "-f", "-", stdin=policy)
    shop.wait_for_replicas(0)
    shop.wait(lambda: shop.kube.condition("ml", "ScalingActive")["reason"] != "FailedUpdateScale", "told no more")
    assert shop.node.problems == []


def may_mark(control_plane: ControlPlane, namespace: str) -> bool:
    """Whether the API server would let an administrator mark the Pods."""
    mark = ("annotate", "pods", "--all", "celeriac.dev/drain=token", "--dry-run=server", "--overwrite")
    try:
        control_plane.kubectl(*mark, f"--namespace={namespace}")
    except ClusterError:
        return False
    return True


@full
def test_a_task_whose_worker_is_killed_is_taken_over_by_another_within_seconds(shop: LiveShop) -> None:
    """Out of memory, and its container does not come back; the kubelet's word is all that is told of it."""
    shop.occupy(1)
    (killed,) = shop.busy().values()
    shop.node.kill(killed, "OOMKilled")
    shop.wait(lambda: list(shop.busy().values()) not in ([], [killed]), "another worker runs the task")
    assert shop.kube.wait_for_event("ml", "Restored")["note"].startswith(f"1 messages of worker {killed} are back")
    shop.release()
    assert (shop.ended(), shop.node.problems) == (["1"], []), shop.story()


def test_a_mark_that_redis_lost_is_given_anew_with_another_token(shop: LiveShop) -> None:
    """Its worker may have gone back to work; what it says of the mark of before must not count for the next one."""
    shop.occupy(2)
    shop.pin(0)
    shop.wait_until_marks_agree(2)
    before = shop.annotated()
    with shop.redis.client() as client:
        client.delete(f"celeriac:{shop.uid}:drain")
    shop.wait(lambda: shop.annotated().items().isdisjoint(before.items()), "all tokens are new")
    shop.wait_until_marks_agree(2)
    shop.release()
    shop.wait_for_replicas(0)
    shop.wait(lambda: not shop.marks() and not shop.states(), "nothing is left of both")
    assert (shop.ended(), shop.node.problems) == (["1", "2"], []), shop.story()
