"""Rollouts without room on a real API server with Kubernetes' own controllers; what kubelets say is written here.

The workers are plain Celery: what drains is shown on a real node (tests/e2e).
"""

from typing import Any

import pytest

from tests.cluster.process import wait_until
from tests.integration.kube import DEPLOYMENTS, POOLS, Body, Kube
from tests.integration.kubelet import FakePod
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.integration

FULL = (
    "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 No preemption"
    " victims found for incoming pod."
)
HOPELESS = (
    "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available:"
    " 1 Preemption is not helpful for scheduling."
)
TWO = {"minReplicas": 2, "maxReplicas": 2}
SOON = {"scaleToZeroAfterSeconds": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 1}}}


def pods(kube: Kube, image: str) -> list[FakePod]:
    """Those of one release that are not going."""
    listed: list[Any] = kube.core.list_namespaced_pod(kube.namespace).items
    mine = [each for each in listed if each.spec.containers[0].image == image and not each.metadata.deletion_timestamp]
    return [FakePod(kube, each.to_dict()) for each in mine]


def two_that_run(kube: Kube, redis: RedisServer) -> None:
    """A pool with two workers of its first release, which are ready."""
    kube.create_pool("ml", redis.celery_url, agent="disabled", scaling=TWO)
    wait_until(lambda: len(pods(kube, "app:1")) == 2, "the workers of the first release", seconds=30)
    for pod in pods(kube, "app:1"):
        pod.runs()
    kube.wait_for(DEPLOYMENTS, "ml", lambda found: found["status"].get("readyReplicas") == 2)


def release(kube: Kube, image: str) -> FakePod:
    """Another image; the first worker of it."""
    kube.patch(POOLS, "ml", {"spec": {"image": image}})
    wait_until(lambda: bool(pods(kube, image)), "a worker of the next release", seconds=30)
    return pods(kube, image)[0]


def updated(number: int, deployment: Body) -> bool:
    return bool(deployment["status"].get("updatedReplicas") == number)


@pytest.mark.full
def test_an_old_worker_makes_room_for_each_new_one_that_no_node_has_room_for(kube: Kube, redis: RedisServer) -> None:
    two_that_run(kube, redis)
    first = release(kube, "app:2")
    first.finds_no_node(FULL)
    kube.wait_for(DEPLOYMENTS, "ml", lambda found: updated(2, found))
    assert len(pods(kube, "app:1")) == 1
    assert "1 of 2 old workers" in kube.wait_for_event("ml", "MadeRoom")["note"]
    second = next(pod for pod in pods(kube, "app:2") if pod.uid != first.uid)
    first.runs()
    second.finds_no_node(FULL)
    kube.wait_for(DEPLOYMENTS, "ml", lambda found: found["status"].get("replicas") == 2 and updated(2, found))
    assert pods(kube, "app:1") == []


def test_a_release_that_no_node_can_ever_take_makes_nobody_go_and_the_pool_can_be_put_to_sleep(
    kube: Kube, redis: RedisServer
) -> None:
    two_that_run(kube, redis)
    release(kube, "app:2").finds_no_node(HOPELESS)
    kube.wait_for_condition("ml", "Ready", "True", "Ready")
    kube.patch(POOLS, "ml", {"spec": {"replicas": 0}})
    kube.wait_for(
        DEPLOYMENTS, "ml", lambda found: not found["spec"]["replicas"] and not found["status"].get("replicas")
    )
    assert "2 -> 0" in kube.wait_for_event("ml", "ScaledDown")["note"]


def test_a_pool_that_needs_nobody_sleeps_although_its_release_never_starts(kube: Kube, redis: RedisServer) -> None:
    kube.create_pool("ml", redis.celery_url, agent="disabled", scaling=SOON)
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    push(redis, "ml", 2)
    wait_until(lambda: len(pods(kube, "app:1")) == 2, "the workers of the first release", seconds=30)
    for pod in pods(kube, "app:1"):
        pod.runs()
    release(kube, "app:absent").waits("ErrImagePull", "not found")
    redis.client().delete("ml")
    kube.wait_for(
        DEPLOYMENTS, "ml", lambda found: not found["spec"]["replicas"] and not found["status"].get("replicas")
    )
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
