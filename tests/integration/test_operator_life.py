"""The life of the operator itself: restarts that forget nothing, refusals that are told, what it must not read."""

import json

import pytest

from tests.cluster.control_plane import ControlPlane
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


@pytest.mark.full
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


@pytest.mark.full
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
