"""Stories of brokers that cannot be read, or not be believed: what is told of them, and what the replicas do."""

import pytest

from tests.integration.kube import DEPLOYMENTS, EVENTS, POOLS, Body, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.integration

AT_ONCE = {"scaleToZeroAfterSeconds": 0, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}


def test_a_wrong_secret_is_named_and_its_mending_needs_no_restart(kube: Kube, redis: RedisServer) -> None:
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


def test_a_url_in_a_secret_that_cannot_be_used_is_named_until_the_pool_gets_another(
    kube: Kube, redis: RedisServer
) -> None:
    for key, url in (("rabbit", "amqp://guest:hunter2@rabbit//"), ("typo", "redis://:hunter2@redis/prod")):
        kube.create_secret(key, url=url)
    kube.create_secret("broker", url=redis.celery_url)

    def refused(reason: str) -> str:
        message = str(kube.wait_for_condition("ml", "BrokerReachable", "False", reason)["message"])
        assert kube.wait_for_event("ml", reason)["type"] == "Warning"
        return message

    def use(secret: str) -> None:
        kube.patch(POOLS, "ml", {"spec": {"broker": {"urlFrom": {"secretKeyRef": {"name": secret}}}}})

    kube.create_pool("ml", broker={"urlFrom": {"secretKeyRef": {"name": "rabbit", "key": "url"}}})
    assert "use one of redis://, rediss://" in refused("UnsupportedBroker")
    use("typo")
    assert "number of the database" in refused("InvalidURL")
    use("broker")
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    push(redis, "ml", 1)
    kube.wait_for_replicas("ml", 1)
    assert "hunter2" not in str(kube.get(POOLS, "ml")) + str(kube.list(EVENTS))


def test_a_wrong_password_is_named_without_showing_it_and_the_right_one_is_a_rollout(
    kube: Kube, operator: OperatorProcess
) -> None:
    with RedisServer(password="r1ght") as redis:
        kube.create_secret("broker", url=redis.celery_url.replace(":r1ght@", ":hunter2@"))
        kube.create_pool("ml")
        kube.wait_for_condition("ml", "BrokerReachable", "False", "AuthenticationFailed")
        started_with = digest_of_secrets(kube.get(DEPLOYMENTS, "ml"))
        kube.replace_secret("broker", url=redis.celery_url)
        push(redis, "ml", 1)
        kube.wait_for_replicas("ml", 1)
        kube.wait_for(DEPLOYMENTS, "ml", lambda found: digest_of_secrets(found) not in {None, started_with})
        pods = kube.core.list_namespaced_pod(kube.namespace)
        objects = str([kube.list(kind) for kind in (POOLS, DEPLOYMENTS, EVENTS)]) + str(pods)
        seen = objects + operator.log() + operator.metrics()
        assert started_with is not None
        assert "hunter2" not in seen
        assert "r1ght" not in seen


def digest_of_secrets(deployment: Body) -> str | None:
    """What a template tells of the Secrets that its workers start with."""
    annotations = deployment["spec"]["template"]["metadata"].get("annotations") or {}
    digest: str | None = annotations.get("celeriac.dev/broker-secret")
    return digest


def test_replicas_hold_while_redis_is_away_comes_back_empty_or_becomes_a_replica(
    kube: Kube, redis: RedisServer
) -> None:
    """Nothing but the doubt holds them: as soon as Redis can be believed again, the empty queue brings zero."""
    kube.create_pool("ml", redis.celery_url, scaling=AT_ONCE)
    push(redis, "ml", 3)
    kube.wait_for_replicas("ml", 3)

    def doubted(reason: str) -> str:
        condition = kube.wait_for_condition("ml", "BrokerReachable", "False", reason)
        kube.wait_for_pool("ml", lambda pool: pool["status"]["decision"]["reason"] == "BrokerUnreadable")
        assert kube.replicas("ml") == 3
        return str(condition["message"])

    redis.stop()
    doubted("ConnectionFailed")
    redis.restart(empty=True)
    doubted("Restarted")
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    kube.wait_for_replicas("ml", 0)

    push(redis, "ml", 3)
    kube.wait_for_replicas("ml", 3)
    with RedisServer() as another:
        redis.client().replicaof("127.0.0.1", str(another.port))  # as Sentinel does to a former master
        assert "master" in doubted("ReplicaNotMaster")
    redis.client().replicaof("NO", "ONE")
    redis.client().delete("ml")
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    kube.wait_for_replicas("ml", 0)


def test_a_broker_that_hangs_delays_no_pool_of_another(kube: Kube, redis: RedisServer) -> None:
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


def test_fallback_replicas_start_while_the_broker_cannot_be_read(kube: Kube) -> None:
    kube.create_pool("ml", "redis://127.0.0.1:1/0", scaling={"fallback": {"afterSeconds": 1, "replicas": 2}})
    kube.wait_for_replicas("ml", 2)
    kube.wait_for_condition("ml", "ScalingActive", "False", "Fallback")


def test_a_redis_that_may_drop_keys_is_told_of_and_its_pool_is_ready(kube: Kube) -> None:
    with RedisServer(config=["maxmemory 64mb", "maxmemory-policy allkeys-lru"]) as redis:
        kube.create_pool("ml", redis.celery_url)
        found = kube.wait_for_condition("ml", "BrokerDurable", "False", "KeysMayBeEvicted")
        assert "noeviction" in found["message"]
        assert kube.wait_for_event("ml", "KeysMayBeEvicted")["type"] == "Warning"
        kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
