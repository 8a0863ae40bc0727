"""The life of the operator itself: restarts that forget nothing, refusals that are told, what it must not read."""

import json

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.integration.crds import install_crds
from tests.integration.kube import LEASES, POOLS, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.integration

ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: operator}
rules:
  - {apiGroups: ["*"], resources: ["*"], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: limited-operator}]
"""


@pytest.fixture
def kube(control_plane: ControlPlane, namespace: str) -> Kube:
    install_crds(control_plane)
    return Kube(control_plane.kubeconfig, namespace)


def is_refused(control_plane: ControlPlane, namespace: str) -> bool:
    try:
        control_plane.kubectl("scale", "deployment/ml", "--replicas=0", f"--namespace={namespace}")
    except ClusterError as error:
        return "nobody scales today" in str(error)
    return False


def test_a_restart_leaves_the_status_and_its_idle_clock_as_they_are_and_hands_the_lease_over(
    kube: Kube, control_plane: ControlPlane, namespace: str
) -> None:
    with RedisServer() as redis, OperatorProcess(control_plane.kubeconfig, namespace) as operator:
        kube.create_pool("ml", redis.celery_url, scaling={})
        kube.wait_for_pool("ml", lambda pool: "idleSince" in pool.get("status", {}))
        kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
        assert operator.stop() == 0
        assert not kube.get(LEASES, "celeriac")["spec"].get("holderIdentity")
        before = kube.get(POOLS, "ml")
        operator.forget_log()
        operator.start()
        operator.wait_for_log("this replica leads")
        kube.wait_for_lease_renewal()
        assert kube.get(POOLS, "ml")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        push(redis, "ml", 1)
        kube.wait_for_replicas("ml", 1)


def test_a_redis_that_may_drop_keys_is_told_of_and_its_pool_is_ready(
    kube: Kube, control_plane: ControlPlane, namespace: str
) -> None:
    with (
        RedisServer(config=["maxmemory 64mb", "maxmemory-policy allkeys-lru"]) as redis,
        OperatorProcess(control_plane.kubeconfig, namespace),
    ):
        kube.create_pool("ml", redis.celery_url)
        found = kube.wait_for_condition("ml", "BrokerDurable", "False", "KeysMayBeEvicted")
        assert "noeviction" in found["message"]
        assert kube.wait_for_event("ml", "KeysMayBeEvicted")["type"] == "Warning"
        kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")


def test_what_was_learned_of_a_pool_survives_the_operator(
    kube: Kube, control_plane: ControlPlane, namespace: str
) -> None:
    learned = {"taskRuntimeSeconds": 30.5, "coldStartSeconds": 7.5}
    names = {"celeriac_pool_task_runtime_seconds": 30.5, "celeriac_pool_cold_start_seconds": 7.5}
    series = [f'{name}{{namespace="{namespace}",pool="ml"}} {value}' for name, value in names.items()]
    with RedisServer() as redis, OperatorProcess(control_plane.kubeconfig, namespace) as operator:
        kube.create_pool("ml", redis.celery_url)
        kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
        assert operator.stop() == 0
        patch = json.dumps({"status": learned})
        arguments = ("--subresource=status", "--type=merge", f"--patch={patch}")
        control_plane.kubectl("patch", "cwp", "ml", f"--namespace={namespace}", *arguments)
        operator.forget_log()
        operator.start()
        operator.wait_for_log("this replica leads")
        wait_until(lambda: all(line in operator.metrics() for line in series), str(series), seconds=20)


def test_a_refused_scale_is_told_and_not_tried_twice_a_second(
    kube: Kube, control_plane: ControlPlane, namespace: str
) -> None:
    policy = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-scaling-NAMESPACE}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [deployments/scale]}]
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  validations: [{expression: "false", message: nobody scales today}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-scaling-NAMESPACE}
spec: {policyName: no-scaling-NAMESPACE, validationActions: [Deny]}
""".replace("NAMESPACE", namespace)
    with RedisServer() as redis, OperatorProcess(control_plane.kubeconfig, namespace) as operator:
        kube.create_pool("ml", redis.celery_url)
        kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
        control_plane.kubectl("apply", "-f", "-", stdin=policy)
        try:
            wait_until(lambda: is_refused(control_plane, namespace), "the policy is in force", seconds=20)
            push(redis, "ml", 2)
            refused = kube.wait_for_condition("ml", "ScalingActive", "False", "FailedUpdateScale")
            assert "nobody scales today" in refused["message"]
            assert kube.wait_for_event("ml", "FailedUpdateScale")["type"] == "Warning"
            assert operator.log().count("could not be scaled") == 1
        finally:
            control_plane.kubectl("delete", "-f", "-", stdin=policy)
        kube.wait_for_replicas("ml", 2)
        kube.wait_for_condition("ml", "ScalingActive", "True", "ScalingFromQueues")


def test_a_namespace_that_must_not_be_read_does_not_blind_the_operator_for_another(
    kube: Kube, control_plane: ControlPlane, namespace: str
) -> None:
    kubeconfig = control_plane.kubeconfig_for("limited-operator", [])
    control_plane.kubectl("apply", f"--namespace={namespace}", "-f", "-", stdin=ROLE)
    with RedisServer() as redis, OperatorProcess(kubeconfig, namespace, "--watch-namespace", "kube-system") as operator:
        kube.create_pool("ml", redis.celery_url)
        kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
        push(redis, "ml", 1)
        kube.wait_for_replicas("ml", 1)
        assert "namespace kube-system must not be read" in operator.log()
        assert operator.stop() == 0
