"""Stories against a real API server and a real Redis that share one operator: a process that serves the cluster.

Each has a namespace of its own. There is no node here, so no Pod ever runs: what is shown is what the operator wants
and writes.
"""

from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds
from tests.integration.kube import Kube
from tests.integration.operator_process import OperatorProcess

LEASE_NAMESPACE = "operator-of-stories"


@pytest.fixture(scope="package")
def operator(control_plane: ControlPlane) -> Iterator[OperatorProcess]:
    install_crds(control_plane)
    control_plane.kubectl("create", "namespace", LEASE_NAMESPACE)
    with OperatorProcess(control_plane.kubeconfig, LEASE_NAMESPACE, clusterwide=True) as running:
        yield running


@pytest.fixture
def kube(operator: OperatorProcess, control_plane: ControlPlane, namespace: str) -> Kube:
    return Kube(control_plane.kubeconfig, namespace)
