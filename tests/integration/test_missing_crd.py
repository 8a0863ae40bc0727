"""The operator may be there before its API, and outlive it."""

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import POOLS as CRD
from tests.integration.crds import install_crds
from tests.integration.kube import Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration


@pytest.mark.full
def test_the_operator_waits_for_its_crd_and_finds_it_again_after_it_was_deleted(
    control_plane: ControlPlane, namespace: str
) -> None:
    delete_the_crd = ("delete", "crd", CRD, "--ignore-not-found")
    control_plane.kubectl(*delete_the_crd)
    with RedisServer() as redis, OperatorProcess(control_plane.kubeconfig, namespace) as operator:
        kube = Kube(control_plane.kubeconfig, namespace)
        for name in ("first", "second"):
            operator.wait_for_log("CRD celeryworkerpools.celeriac.dev is not installed")
            install_crds(control_plane)
            kube.create_pool(name, redis.celery_url)
            kube.wait_for_condition(name, "BrokerReachable", "True", "Readable")
            operator.forget_log()
            control_plane.kubectl(*delete_the_crd)
