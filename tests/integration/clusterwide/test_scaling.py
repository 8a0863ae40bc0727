"""Stories of scaling: from queues to replicas, what people change meanwhile, and what the API server refuses."""

import re
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.integration.kube import AUTOSCALERS, DEPLOYMENTS, POOLS, Body, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.scale_policy import scale_policy
from tests.integration.tasks import push

pytestmark = pytest.mark.integration


GARBAGE_COLLECTION_SECONDS = 60  # the collector looks for new kinds, as ours is here, every 30 s


def grace_period(deployment: Body) -> int:
    seconds: int = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    return seconds


def test_a_burst_brings_one_pod_per_task_and_its_end_brings_zero(kube: Kube, redis: RedisServer) -> None:
    kube.create_pool("ml", redis.celery_url)
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    push(redis, "ml", 5)
    kube.wait_for_replicas("ml", 5)
    decided = kube.wait_for_pool("ml", lambda pool: pool["status"].get("desiredReplicas") == 5)
    assert "5 waiting" in decided["status"]["decision"]["message"]
    redis.client().delete("ml")
    kube.wait_for_replicas("ml", 0)
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
    # To fewer than 5 at first, where it was looked for before all of them had come.
    assert re.match(r"0 -> [1-5]\b", kube.wait_for_event("ml", "ScaledUp")["note"])
    assert "5 -> 0" in kube.wait_for_event("ml", "ScaledDown")["note"]


def test_a_busy_pool_does_not_keep_another_on_the_same_redis_from_scaling_down(kube: Kube, redis: RedisServer) -> None:
    kube.create_pool("busy", redis.celery_url)
    kube.create_pool("done", redis.celery_url)
    push(redis, "busy", 3)
    push(redis, "done", 2)
    kube.wait_for_replicas("busy", 3)
    kube.wait_for_replicas("done", 2)
    redis.client().delete("done")
    kube.wait_for_replicas("done", 0)
    assert kube.replicas("busy") == 3


def test_a_task_of_any_priority_wakes_a_pool(kube: Kube, redis: RedisServer) -> None:
    for priority in (0, 3, 6, 9):
        name = f"priority-{priority}"
        kube.create_pool(name, redis.celery_url)
        push(redis, name, 1, priority)
        kube.wait_for_replicas(name, 1)


def test_two_pools_on_one_queue_both_see_its_tasks_and_its_end(kube: Kube, redis: RedisServer) -> None:
    kube.create_pool(
        "cheap", redis.celery_url, queues=["shared"], scaling={"maxReplicas": 2, "scaleToZeroAfterSeconds": 1}
    )
    kube.create_pool("fast", redis.celery_url, queues=["shared", "own"])
    push(redis, "shared", 4)
    push(redis, "own", 1)
    kube.wait_for_replicas("cheap", 2)
    kube.wait_for_replicas("fast", 5)
    kube.wait_for_condition("cheap", "ScalingLimited", "True", "TooManyReplicas")
    redis.client().delete("shared", "own")
    kube.wait_for_replicas("cheap", 0)
    kube.wait_for_replicas("fast", 0)


def test_an_autoscaler_on_the_deployment_is_named(kube: Kube, redis: RedisServer) -> None:
    """A real one: without any metric it still brings a Deployment to its own least number, every 15 s."""
    kube.patience = 60
    kube.create_pool("ml", redis.celery_url)
    push(redis, "ml", 1)
    kube.wait_for_replicas("ml", 1)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "ml"}
    hpa = {"metadata": {"name": "ml"}, "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5}}
    kube.create(AUTOSCALERS, hpa)
    named = kube.wait_for_condition("ml", "ScalingActive", "False", "AnotherWriter")
    assert "a HorizontalPodAutoscaler, perhaps made by KEDA: delete it" in named["message"]
    kube.wait_for_event("ml", "AnotherWriter")


def test_a_pin_beats_demand_until_it_is_taken_away(kube: Kube, redis: RedisServer) -> None:
    kube.create_pool("ml", redis.celery_url)
    kube.patch(POOLS, "ml", {"spec": {"replicas": 3}})
    kube.wait_for_replicas("ml", 3)
    kube.wait_for_condition("ml", "ScalingActive", "False", "Pinned")
    kube.patch(POOLS, "ml", {"spec": {"replicas": None}})
    kube.wait_for_condition("ml", "ScalingActive", "True", "ScalingFromQueues")
    kube.wait_for_replicas("ml", 0)


def test_a_dry_run_tells_what_it_would_do_and_changes_nothing(kube: Kube, redis: RedisServer) -> None:
    kube.create_pool("ml", redis.celery_url, scaling={"mode": "DryRun"})
    push(redis, "ml", 4)
    found = kube.wait_for_pool("ml", lambda pool: pool.get("status", {}).get("desiredReplicas") == 4)
    assert found["status"]["decision"]["reason"] == "DryRun"
    assert kube.replicas("ml") == 0


def test_a_pool_that_is_deleted_takes_its_deployment_with_it(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    kube.create_pool("ml", redis.celery_url)
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
    series = f'namespace="{kube.namespace}"'
    assert series in operator.metrics()
    kube.delete(POOLS, "ml")
    kube.wait_until_gone(DEPLOYMENTS, "ml", GARBAGE_COLLECTION_SECONDS)
    wait_until(lambda: series not in operator.metrics(), "no series of the deleted pool", seconds=20)


def test_a_deployment_that_somebody_deletes_or_edits_comes_back(kube: Kube, redis: RedisServer) -> None:
    kube.create_pool("ml", redis.celery_url)
    push(redis, "ml", 2)
    kube.wait_for_replicas("ml", 2)
    first = kube.get(DEPLOYMENTS, "ml")["metadata"]["uid"]
    kube.delete(DEPLOYMENTS, "ml")
    kube.wait_for(DEPLOYMENTS, "ml", lambda d: d["metadata"]["uid"] != first and d["spec"]["replicas"] == 2)
    edited = kube.patch(DEPLOYMENTS, "ml", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}})
    assert grace_period(edited) == 1
    kube.wait_for(DEPLOYMENTS, "ml", lambda d: grace_period(d) == 3600)


@pytest.mark.full
def test_an_agent_that_somebody_deletes_comes_back_before_a_pod_needs_it(kube: Kube, redis: RedisServer) -> None:
    kube.create_pool("ml", redis.celery_url)
    push(redis, "ml", 1)
    kube.wait_for_replicas("ml", 1)
    core: Any = kube.core
    [agent] = core.list_namespaced_config_map(kube.namespace, label_selector="celeriac.dev/agent").items
    core.delete_namespaced_config_map(agent.metadata.name, kube.namespace)

    def made_anew() -> bool:
        found = core.list_namespaced_config_map(kube.namespace, label_selector="celeriac.dev/agent").items
        others = [each for each in found if each.metadata.uid != agent.metadata.uid]
        return [(each.metadata.name, each.data) for each in others] == [(agent.metadata.name, agent.data)]

    wait_until(made_anew, "the agent that the pod mounts", seconds=20)


def test_an_invalid_field_that_the_api_server_let_through_is_a_condition_and_harms_no_other_pool(
    kube: Kube, redis: RedisServer
) -> None:
    kube.create_pool("bad", redis.celery_url, template={"spec": {"affinity": {"nodeAffinity": {"preferred": 5}}}})
    kube.create_pool("good", redis.celery_url)
    refused = kube.wait_for_condition("bad", "Ready", "False", "ApplyFailed")
    assert "nodeAffinity" in refused["message"]
    push(redis, "good", 1)
    kube.wait_for_replicas("good", 1)
    kube.patch(POOLS, "bad", {"spec": {"template": None}})
    kube.wait_for_condition("bad", "Ready", "True", "ScaledToZero")


def test_a_name_that_is_taken_by_another_deployment_is_told_and_nothing_is_adopted(
    kube: Kube, redis: RedisServer
) -> None:
    labels = {"app": "web"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    kube.create(DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ml"}, "spec": spec})
    kube.create_pool("ml", redis.celery_url)
    push(redis, "ml", 3)
    kube.wait_for_condition("ml", "Ready", "False", "NameTaken")
    assert kube.replicas("ml") == 1


def is_refused(control_plane: ControlPlane, namespace: str) -> bool:
    try:
        control_plane.kubectl("scale", "deployment/ml", "--replicas=0", f"--namespace={namespace}")
    except ClusterError as error:
        return "nobody scales today" in str(error)
    return False


def test_a_refused_scale_is_told_and_not_tried_twice_a_second(
    kube: Kube, operator: OperatorProcess, control_plane: ControlPlane, redis: RedisServer
) -> None:
    policy = scale_policy(kube.namespace, "nobody scales today")
    kube.create_pool("ml", redis.celery_url)
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
    control_plane.kubectl("apply", "-f", "-", stdin=policy)
    try:
        wait_until(lambda: is_refused(control_plane, kube.namespace), "the policy is in force", seconds=20)
        push(redis, "ml", 2)
        refused = kube.wait_for_condition("ml", "ScalingActive", "False", "FailedUpdateScale")
        assert "nobody scales today" in refused["message"]
        assert kube.wait_for_event("ml", "FailedUpdateScale")["type"] == "Warning"
        assert operator.log().count(f"pool {kube.namespace}/ml: could not be scaled") == 1
    finally:
        control_plane.kubectl("delete", "-f", "-", stdin=policy)
    kube.wait_for_replicas("ml", 2)
    kube.wait_for_condition("ml", "ScalingActive", "True", "ScalingFromQueues")
