"""Faults that are made on purpose: on the control plane of the integration tests, with servers of our own.

A story says what it measured by `figure("reaction", 0.4, "s")`; the run ends with all figures in one table.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.beside import Beside, longest_first
from tests.cluster.control_plane import ControlPlane
from tests.faults import table
from tests.integration.conftest import control_plane, core_api, namespace  # noqa: F401 (fixtures)
from tests.integration.crds import install_crds
from tests.integration.kube import Kube
from tests.integration.operator_process import OperatorProcess, faultless
from tests.integration.redis_fixtures import one_server, redis, server  # noqa: F401 (fixtures)

SECONDS = 60.0
"""What may take seconds is given so many: the machine may be busy."""
LONGEST = ("canary", "foreign_registry", "sick_api_server", "two_operators")
Figure = Callable[[str, float, str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items, LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Beside:
    """Stories share nothing but a control plane, one for each process."""
    return Beside(config, log, str)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """All figures; they go into the documentation where CELERIAC_WRITE_FIGURES is set."""
    figures = table.measured(terminalreporter.getreports("passed"))
    if not figures:
        return
    terminalreporter.section("what was measured")
    for story, told in figures.items():
        terminalreporter.line(f"{story}: {told}")
    if os.environ.get("CELERIAC_WRITE_FIGURES"):
        table.write(figures)


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Say what was measured: name, value, unit."""

    def note(name: str, value: float, unit: str) -> None:
        record_property(table.FIGURE, (name, value, unit))

    return note


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
