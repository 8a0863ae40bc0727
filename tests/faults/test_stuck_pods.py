"""Pods that are deleted and do not go away: they are work, perhaps, and no replicas."""

import json
import time
from typing import Any

import pytest
from kubernetes.client import AppsV1Api

from celeriac.api.names import POOL_LABEL, WORKER_CONTAINER
from tests.cluster.process import wait_until
from tests.faults.conftest import Figure
from tests.integration.kube import DEPLOYMENTS, POOLS, Body, Kube
from tests.integration.kubelet import FakeNode, api_time, terminated
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = [pytest.mark.faults, pytest.mark.full]  # the pods are silent for half a minute

FINALIZER = "example.com/keep"
AT_ONCE = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}, "scaleToZeroAfterSeconds": 1}
REPORT = {
    "v": 1,
    "state": "consuming",
    "token": None,
    "pool": "celery.concurrency.solo:TaskPool",
    "queues": ["ml"],
    "n": 1,
    "active": 1,
    "reserved": 1,
    "scheduled": 0,
    "processed": 0,
    "busy": 1.0,
    "slots": 1,
    "capabilities": ["inflight", "drain", "exact"],
    "missing": [],
    "signals": True,
    "errors": 0,
}


def test_pods_stuck_in_terminating_keep_no_replicas_and_are_named_with_the_cure(
    kube: Kube, operator: OperatorProcess, redis: RedisServer, figure: Figure
) -> None:
    """The node of two is gone amid a task, their last reports are old; a third has ended and a finalizer keeps it."""
    kube.create_pool("ml", redis.celery_url, scaling=AT_ONCE)
    uid = kube.get(POOLS, "ml")["metadata"]["uid"]
    with FakeNode(kube) as node, redis.client() as client:
        pods = [node.run(name, "ml", finalizers=[FINALIZER]) for name in ("lost-1", "lost-2", "kept")]
        for pod in pods:
            report = json.dumps({**REPORT, "process": f"{pod.name}.00000001"})
            client.hset(f"celeriac:{uid}:reports", pod.uid, report)
            pod.delete()
        pods[2].has_ended(0)
        begun = time.monotonic()
        found = kube.wait_for_pool("ml", lambda pool: "3 pods are Terminating" in _pods_end(pool)["message"], 120)
        figure("told after", time.monotonic() - begun, "s")
        message = _pods_end(found)["message"]
        assert _pods_end(found)["reason"] == "StuckTerminating"
        assert f"kept has ended and is kept by finalizer {FINALIZER}" in message
        assert f"kubectl delete node {node.name}" in message
        assert "They had 6 tasks and messages" in message
        assert kube.wait_for_event("ml", "StuckTerminating")["type"] == "Warning"
        assert kube.get(DEPLOYMENTS, "ml")["spec"]["replicas"] == 0
        push(redis, "ml", 1)
        kube.wait_for_replicas("ml", 1)
        client.delete("ml")
        kube.wait_for_replicas("ml", 0)
        for pod in pods:
            kube.core.patch_namespaced_pod(pod.name, pod.namespace, {"metadata": {"finalizers": None}})
            pod.is_removed()
        kube.wait_for_condition("ml", "PodsEnd", "True", "PodsEnd")


RUNS = {"running": {"startedAt": api_time(0)}}
LEFT_BEHIND: dict[str, tuple[str, str | None, Body | None]] = {
    "evicted": ("Failed", "Evicted", terminated(0, "Error")),
    "evicted-unseen": ("Failed", "Evicted", None),
    "shut-down": ("Failed", "Terminated", terminated(0, "Completed", 0)),
    "lost": ("Failed", "NodeLost", RUNS),
    "succeeded": ("Succeeded", None, terminated(0, "Completed", 0)),
    "released": ("Running", None, RUNS),
}
"""Pods that no ReplicaSet counts: phase and reason, and the state of their container as it was last told."""


def test_pods_that_no_replica_set_counts_keep_no_replicas(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    """Their last reports tell of tasks, one of a pool whose workers keep what they hold for an ETA."""
    with FakeNode(kube) as node, redis.client() as client:
        for name, (phase, reason, state) in LEFT_BEHIND.items():
            kube.create_pool(name, redis.celery_url, queues=[name], agent="report", scaling=AT_ONCE)
            uid = kube.get(POOLS, name)["metadata"]["uid"]
            pod = node.run(f"{name}-1", name)
            report = {**REPORT, "queues": [name], "scheduled": 3, "capabilities": [], "process": f"{pod.name}.00000001"}
            client.hset(f"celeriac:{uid}:reports", pod.uid, json.dumps(report))
            container = {"name": WORKER_CONTAINER, "image": "app:1", "imageID": "", "ready": False, "restartCount": 0}
            told = {"phase": phase, "reason": reason, "containerStatuses": [{**container, "state": state}]}
            status: Any = {"status": told if state else {**told, "containerStatuses": None}}
            kube.core.patch_namespaced_pod_status(pod.name, pod.namespace, status)
            push(redis, name, 1)
        for name in LEFT_BEHIND:
            kube.wait_for_replicas(name, 1)
            client.delete(name)
        for name in LEFT_BEHIND:
            kube.wait_for_replicas(name, 0)


def test_pods_that_no_replica_set_counts_are_no_rollout(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    """One was evicted under an earlier template, one is nobody's: fewer workers need not wait for a rollout's end."""
    kube.create_pool("ml", redis.celery_url, scaling=AT_ONCE)
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
    (earlier,) = _replica_sets(kube)
    kube.patch(POOLS, "ml", {"spec": {"image": "registry.example/shop:2"}})
    wait_until(lambda: len(_replica_sets(kube)) == 2, "there is another ReplicaSet", seconds=60)
    with FakeNode(kube) as node, redis.client() as client:
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": earlier.name, "uid": earlier.uid}
        node.run("evicted", "ml", ownerReferences=[{**owner, "controller": True}]).ends(0, evicted=True)
        node.run("nobodys", "ml")
        push(redis, "ml", 3)
        kube.wait_for_replicas("ml", 3)
        client.ltrim("ml", 0, 0)
        kube.wait_for_replicas("ml", 1)
        core: Any = kube.core
        assert core.read_namespaced_pod("evicted", kube.namespace).status.phase == "Failed"


def _replica_sets(kube: Kube) -> list[Any]:
    found = AppsV1Api(kube.core.api_client).list_namespaced_replica_set(
        kube.namespace, label_selector=f"{POOL_LABEL}=ml"
    )
    return [each.metadata for each in found.items]


def _pods_end(pool: Body) -> Body:
    conditions: list[Body] = (pool.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == "PodsEnd"), {"message": ""})
