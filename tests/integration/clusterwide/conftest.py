"""Stories against a real API server and a real Redis that share one operator: a process that serves the cluster.

Each has a namespace of its own. There is no node here, so no Pod ever runs: what is shown is what the operator wants
and writes. It has the rights that the chart gives it, and no others.
"""

from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.chart_rights import ChartRights
from tests.integration.crds import install_crds
from tests.integration.kube import Kube
from tests.integration.operator_process import OperatorProcess

LEASE_NAMESPACE = "operator-of-stories"


@pytest.fixture(scope="package")
def operator(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    install_crds(control_plane)
    control_plane.kubectl("create", "namespace", LEASE_NAMESPACE)
    rights = ChartRights(control_plane, tmp_path_factory.mktemp("helm"), LEASE_NAMESPACE)
    rights.give()
    with OperatorProcess(rights.kubeconfig(), LEASE_NAMESPACE, clusterwide=True) as running:
        yield running
    assert rights.refusals() == []
    rights.take()


@pytest.fixture
def kube(operator: OperatorProcess, control_plane: ControlPlane, namespace: str) -> Kube:
    return Kube(control_plane.kubeconfig, namespace)
