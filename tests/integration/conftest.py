"""What integration tests stand on: a real API server for each process of pytest, a namespace for each test."""

import itertools
import os
from collections.abc import Iterator
from typing import Any

import kubernetes.client
import kubernetes.config
import pytest

from tests.beside import Beside, longest_first, module
from tests.cluster.control_plane import ControlPlane
from tests.integration.helm import chart_cluster, helm, install  # noqa: F401 (fixtures)
from tests.integration.live_pool import api, pool, pools  # noqa: F401 (fixtures)
from tests.integration.redis_fixtures import one_server, redis, server  # noqa: F401 (fixtures)

CLUSTERWIDE = ("scaling", "brokers", "rollouts")
"""Modules that share an operator; `asking`, a third of what their folder has to tell, has one of its own."""
LONGEST = (
    *CLUSTERWIDE,
    "asking",
    "operator_process",
    "status_table",
    "worker_command",
    "demo_app",
    *("chart", "crd", "worker_start", "lease", "operator_life"),
    *("chart_permissions", "dashboard", "deployments", "missing_crd", "cli_redis", "broker_redis_agent", "doctor"),
)
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items, LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Beside:
    """The stories of a module share a control plane with its CRD, and much more; some modules an operator too."""

    def shares(nodeid: str) -> str:
        name = module(nodeid)
        return "clusterwide" if name in CLUSTERWIDE else name

    return Beside(config, log, shares)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """etcd, API server and controller manager on free loopback ports; nodes and a scheduler are not there."""
    with ControlPlane(controllers=True) as running:
        yield running


@pytest.fixture(scope="session")
def core_api(control_plane: ControlPlane) -> Iterator[Any]:
    """The administrator's client of the core API."""
    with kubernetes.config.new_client_from_config(str(control_plane.kubeconfig)) as client:  # type: ignore[no-untyped-call]
        yield kubernetes.client.CoreV1Api(client)


@pytest.fixture
def namespace(core_api: Any) -> Iterator[str]:
    """A namespace of this test alone; it is deleted afterwards, without waiting until it is gone."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    core_api.create_namespace({"metadata": {"name": name}})
    yield name
    core_api.delete_namespace(name)
