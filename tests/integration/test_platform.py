"""An operator with a platform's limits: who asks for more is told so by condition and event, and gets nothing."""

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds
from tests.integration.kube import DEPLOYMENTS, POOLS, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.integration

LIMITS = ("--max-replicas=3", "--pod-security=Restricted", "--allowed-registry=registry.example/shop")
IMAGE = "registry.example/shop/app:1"
FOREVER = {"scaleToZeroAfterSeconds": 3600}


def test_each_refusal_is_a_sentence_and_a_pool_within_the_limits_runs(
    control_plane: ControlPlane, namespace: str, redis: RedisServer
) -> None:
    install_crds(control_plane)
    kube = Kube(control_plane.kubeconfig, namespace)
    with OperatorProcess(control_plane.kubeconfig, namespace, *LIMITS):
        kube.create_pool("good", redis.celery_url, image=IMAGE, scaling=FOREVER)
        kube.create_pool("foreign", redis.celery_url, image="docker.io/library/app:1")
        kube.create_pool("large", redis.celery_url, image=IMAGE, scaling={"maxReplicas": 4})
        refused = kube.wait_for_condition("foreign", "Ready", "False", "NotAllowed")
        assert "use one of registry.example/shop" in refused["message"]
        kube.wait_for_condition("foreign", "Stalled", "True", "NotAllowed")
        assert "use one of registry.example/shop" in kube.wait_for_event("foreign", "NotAllowed")["note"]
        refused = kube.wait_for_condition("large", "Ready", "False", "NotAllowed")
        assert refused["message"].startswith("spec.scaling.maxReplicas: must not be above 3")
        push(redis, "good", 9)
        kube.wait_for_replicas("good", 3)
        limited = kube.wait_for_condition("good", "ScalingLimited", "True", "TooManyReplicas")
        assert "limited to 3 by the platform" in limited["message"]
        [container] = kube.get(DEPLOYMENTS, "good")["spec"]["template"]["spec"]["containers"]
        assert container["securityContext"]["runAsNonRoot"] is True
        assert [each["metadata"]["name"] for each in kube.list(DEPLOYMENTS)] == ["good"]
        # A pin beyond the ceiling is refused as well, and what runs goes on.
        control_plane.kubectl("scale", "cwp/good", "--replicas=5", f"-n{namespace}")
        kube.wait_for_condition("good", "Ready", "False", "NotAllowed")
        assert kube.replicas("good") == 3
        kube.patch(POOLS, "good", {"spec": {"replicas": 2}})
        kube.wait_for_condition("good", "ScalingActive", "False", "Pinned")
