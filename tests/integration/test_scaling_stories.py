"""Stories of scaling against a real API server and a real Redis; the operator is a process of its own.

There is no node here, so no Pod ever runs: what is shown is what the operator wants and writes.
"""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds
from tests.integration.kube import DEPLOYMENTS, EVENTS, POOLS, Body, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> ControlPlane:
    install_crds(control_plane)
    return control_plane


@pytest.fixture
def kube(api: ControlPlane, namespace: str) -> Kube:
    return Kube(api.kubeconfig, namespace)


@pytest.fixture
def operator(api: ControlPlane, namespace: str) -> Iterator[OperatorProcess]:
    with OperatorProcess(api.kubeconfig, namespace) as running:
        yield running


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


class QuietOperator:
    """An operator with three idle pools, and the audit log of its namespace since it came to rest."""

    def __init__(self, api: ControlPlane, kube: Kube) -> None:
        self._api, self._kube = api, kube
        self._seen = sum(1 for _ in api.audit_events())
        self._since = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Until it has been at rest for so long; each renewal of its Lease is an event to be awaited."""
        while time.monotonic() - self._since < seconds:
            self._kube.wait_for_lease_renewal()

    def events(self) -> list[dict[str, Any]]:
        """Every request of the operator to the API server since."""
        recent = itertools.islice(self._api.audit_events(), self._seen, None)
        return [
            event
            for event in recent
            if event["user"]["username"] == "admin"
            and event.get("objectRef", {}).get("namespace") == self._kube.namespace
        ]


@pytest.fixture(scope="module", autouse=True)
def quiet(api: ControlPlane) -> Iterator[QuietOperator]:
    api.kubectl("create", "namespace", "quiet")
    kube = Kube(api.kubeconfig, "quiet")
    with RedisServer() as redis, OperatorProcess(api.kubeconfig, "quiet"):
        for name in ("one", "two", "three"):
            kube.create_pool(name, redis.celery_url)
        for name in ("one", "two", "three"):
            kube.wait_for_pool(name, lambda pool: "idleSince" in pool.get("status", {}))
            kube.wait_for_condition(name, "Ready", "True", "ScaledToZero")
        yield QuietOperator(api, kube)


def push(redis: RedisServer, queue: str, count: int, priority: int | None = None) -> None:
    """Tasks as a producer sends them, with kombu's own layout of priorities."""
    app = Celery(broker=redis.celery_url)
    with app.connection_for_write() as connection:
        for _ in range(count):
            app.send_task("some.task", queue=queue, priority=priority, connection=connection)


def grace_period(deployment: Body) -> int:
    seconds: int = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    return seconds


def test_a_burst_brings_one_pod_per_task_and_its_end_brings_zero(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    kube.create_pool("ml", redis.celery_url)
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    push(redis, "ml", 5)
    kube.wait_for_replicas("ml", 5)
    decided = kube.wait_for_pool("ml", lambda pool: pool["status"].get("desiredReplicas") == 5)
    assert "5 waiting" in decided["status"]["decision"]["message"]
    redis.client().delete("ml")
    kube.wait_for_replicas("ml", 0)
    kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
    assert "0 -> 5" in kube.wait_for_event("ml", "ScaledUp")["note"]
    assert "5 -> 0" in kube.wait_for_event("ml", "ScaledDown")["note"]


def test_a_busy_pool_does_not_keep_another_on_the_same_redis_from_scaling_down(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    kube.create_pool("busy", redis.celery_url)
    kube.create_pool("done", redis.celery_url)
    push(redis, "busy", 3)
    push(redis, "done", 2)
    kube.wait_for_replicas("busy", 3)
    kube.wait_for_replicas("done", 2)
    redis.client().delete("done")
    kube.wait_for_replicas("done", 0)
    assert kube.replicas("busy") == 3


def test_a_task_of_any_priority_wakes_a_pool(kube: Kube, operator: OperatorProcess, redis: RedisServer) -> None:
    for priority in (0, 3, 6, 9):
        name = f"priority-{priority}"
        kube.create_pool(name, redis.celery_url)
        push(redis, name, 1, priority)
        kube.wait_for_replicas(name, 1)


def test_two_pools_on_one_queue_both_see_its_tasks(kube: Kube, operator: OperatorProcess, redis: RedisServer) -> None:
    kube.create_pool("cheap", redis.celery_url, queues=["shared"], scaling={"maxReplicas": 2})
    kube.create_pool("fast", redis.celery_url, queues=["shared", "own"])
    push(redis, "shared", 4)
    push(redis, "own", 1)
    kube.wait_for_replicas("cheap", 2)
    kube.wait_for_replicas("fast", 5)
    kube.wait_for_condition("cheap", "ScalingLimited", "True", "TooManyReplicas")


def test_a_wrong_secret_is_named_and_its_mending_needs_no_restart(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    kube.create_pool("ml")
    kube.create_pool("neighbour", redis.celery_url)
    missing = kube.wait_for_condition("ml", "BrokerReachable", "False", "SecretNotFound")
    assert "broker" in missing["message"]
    push(redis, "neighbour", 1)
    kube.wait_for_replicas("neighbour", 1)
    kube.create_secret("broker", url=redis.celery_url)
    push(redis, "ml", 2)
    kube.wait_for_replicas("ml", 2)
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    assert kube.wait_for_event("ml", "SecretNotFound")["type"] == "Warning"
    assert kube.wait_for_event("ml", "Readable")["type"] == "Normal"


def test_a_wrong_password_is_named_without_showing_it(kube: Kube, operator: OperatorProcess) -> None:
    with RedisServer(password="right") as redis:
        kube.create_secret("broker", url=redis.celery_url.replace(":right@", ":hunter2@"))
        kube.create_pool("ml")
        kube.wait_for_condition("ml", "BrokerReachable", "False", "AuthenticationFailed")
        seen = str(kube.get(POOLS, "ml")) + operator.log() + operator.metrics() + str(kube.list(EVENTS))
        assert "hunter2" not in seen
        kube.core.patch_namespaced_secret("broker", kube.namespace, {"stringData": {"url": redis.celery_url}})
        push(redis, "ml", 1)
        kube.wait_for_replicas("ml", 1)


def test_an_operator_killed_in_the_middle_of_a_scale_up_goes_on_where_it_was(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    kube.create_pool("ml", redis.celery_url, scaling={"maxReplicas": 40})
    push(redis, "ml", 25)
    kube.wait_for_replicas("ml", 10)
    operator.kill()
    before = kube.replicas("ml")
    operator.start()
    after = kube.wait_for(DEPLOYMENTS, "ml", lambda found: bool(found["spec"]["replicas"] != before), 30)
    assert after["spec"]["replicas"] > before
    kube.wait_for_replicas("ml", 25, 30)


def test_replicas_hold_while_redis_is_away_comes_back_empty_or_as_a_replica(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    kube.create_pool("ml", redis.celery_url, scaling={})
    push(redis, "ml", 3)
    kube.wait_for_replicas("ml", 3)

    redis.stop()
    kube.wait_for_condition("ml", "BrokerReachable", "False", "ConnectionFailed")
    redis.restart(empty=True)
    kube.wait_for_condition("ml", "BrokerReachable", "False", "Restarted")
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    assert kube.replicas("ml") == 3

    with RedisServer() as another:
        redis.restart(replicaof=another)
        replica = kube.wait_for_condition("ml", "BrokerReachable", "False", "ReplicaNotMaster")
        assert "master" in replica["message"]
        assert kube.replicas("ml") == 3


def test_a_broker_that_hangs_delays_no_pool_of_another(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    with RedisServer() as hanging:
        kube.create_pool("stuck", hanging.celery_url)
        kube.create_pool("free", redis.celery_url)
        kube.wait_for_condition("stuck", "BrokerReachable", "True", "Readable")
        hanging.freeze()
        push(redis, "free", 2)
        kube.wait_for_replicas("free", 2)
        kube.wait_for_condition("stuck", "BrokerReachable", "False", "Timeout")
        hanging.thaw()
        kube.wait_for_condition("stuck", "BrokerReachable", "True", "Readable")


def test_fallback_replicas_start_while_the_broker_cannot_be_read(kube: Kube, operator: OperatorProcess) -> None:
    kube.create_pool("ml", "redis://127.0.0.1:1/0", scaling={"fallback": {"afterSeconds": 1, "replicas": 2}})
    kube.wait_for_replicas("ml", 2)
    kube.wait_for_condition("ml", "ScalingActive", "False", "Fallback")


def test_a_pin_beats_demand_until_it_is_taken_away(kube: Kube, operator: OperatorProcess, redis: RedisServer) -> None:
    kube.create_pool("ml", redis.celery_url)
    kube.patch(POOLS, "ml", {"spec": {"replicas": 3}})
    kube.wait_for_replicas("ml", 3)
    kube.wait_for_condition("ml", "ScalingActive", "False", "Pinned")
    kube.patch(POOLS, "ml", {"spec": {"replicas": None}})
    kube.wait_for_condition("ml", "ScalingActive", "True", "ScalingFromQueues")
    kube.wait_for_replicas("ml", 0)


def test_a_dry_run_tells_what_it_would_do_and_changes_nothing(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
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
    kube.delete(POOLS, "ml")
    kube.wait_until_gone(DEPLOYMENTS, "ml")
    assert 'pool="ml"' not in operator.metrics()


def test_a_deployment_that_somebody_deletes_or_edits_comes_back(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    kube.create_pool("ml", redis.celery_url)
    push(redis, "ml", 2)
    kube.wait_for_replicas("ml", 2)
    first = kube.get(DEPLOYMENTS, "ml")["metadata"]["uid"]
    kube.delete(DEPLOYMENTS, "ml")
    kube.wait_for(DEPLOYMENTS, "ml", lambda d: d["metadata"]["uid"] != first and d["spec"]["replicas"] == 2)
    kube.patch(DEPLOYMENTS, "ml", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}})
    kube.wait_for(DEPLOYMENTS, "ml", lambda d: grace_period(d) == 1)
    kube.wait_for(DEPLOYMENTS, "ml", lambda d: grace_period(d) == 3600)


def test_an_invalid_field_that_the_api_server_let_through_is_a_condition_and_harms_no_other_pool(
    kube: Kube, operator: OperatorProcess, redis: RedisServer
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
    kube: Kube, operator: OperatorProcess, redis: RedisServer
) -> None:
    labels = {"app": "web"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    kube.create(DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ml"}, "spec": spec})
    kube.create_pool("ml", redis.celery_url)
    push(redis, "ml", 3)
    kube.wait_for_condition("ml", "Ready", "False", "NameTaken")
    assert kube.replicas("ml") == 1


def test_three_idle_pools_cost_no_write_but_the_lease_over_a_minute(quiet: QuietOperator) -> None:
    """The minute is the one in which the other stories ran, in namespaces of their own."""
    quiet.wait(60)
    writes = [event for event in quiet.events() if event["verb"] not in ("get", "list", "watch")]
    assert {event["objectRef"]["resource"] for event in writes} == {"leases"}
    assert len(writes) >= 20
