"""What integration tests stand on: one real API server for the whole session, a namespace of its own for each test."""

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.helm import chart_cluster, helm, install  # noqa: F401 (fixtures)
from tests.integration.live_pool import api, pool, pools  # noqa: F401 (fixtures)

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """etcd, API server and controller manager on free loopback ports; nodes and a scheduler are not there."""
    with ControlPlane(controllers=True) as running:
        yield running


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace of this test alone; it is deleted afterwards, without waiting until it is gone."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")
