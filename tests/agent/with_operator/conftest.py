"""The operator with workers that are there as processes: on the control plane of the integration tests."""

from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.conftest import control_plane, core_api, namespace  # noqa: F401 (fixtures)
from tests.integration.crds import install_crds
from tests.integration.kube import Kube
from tests.integration.live_shop import SECONDS
from tests.integration.operator_process import OperatorProcess, faultless
from tests.integration.redis_fixtures import redis  # noqa: F401 (a fixture)


@pytest.fixture
def kube(control_plane: ControlPlane, namespace: str) -> Kube:  # noqa: F811
    """The namespace of this test, where pools can be made."""
    install_crds(control_plane)
    return Kube(control_plane.kubeconfig, namespace, patience=SECONDS)


@pytest.fixture
def operator(control_plane: ControlPlane, kube: Kube) -> Iterator[OperatorProcess]:  # noqa: F811
    """It serves that namespace alone, and is at fault in nothing."""
    with faultless(control_plane.kubeconfig, kube.namespace) as running:
        yield running
