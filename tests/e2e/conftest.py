"""What e2e tests stand on: one cluster with the operator for the whole session, a namespace with a Redis per story."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# The demo application, whose ledger is read here, is no part of the installed package.
sys.path.insert(0, str(Path(__file__).parents[2] / "worker-image"))

from tests.cluster.choose import target
from tests.cluster.errors import ClusterError
from tests.e2e.story import Story, told_in
from tests.e2e.system import System, installed


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """The operator in a cluster: the one of CELERIAC_KUBECONFIG, kind, or a node of our own."""
    with target(f"e2e-{os.getpid()}") as cluster, installed(cluster) as running:
        yield running


@pytest.fixture
def story(system: System, request: pytest.FixtureRequest) -> Iterator[Story]:
    """A namespace of this test alone."""
    with observed(system, request) as running:
        yield running


@pytest.fixture(scope="module")
def shared(system: System, request: pytest.FixtureRequest) -> Iterator[Story]:
    """A namespace of one module, for tests with pools and queues of their own."""
    with observed(system, request) as running:
        yield running


@contextmanager
def observed(system: System, request: pytest.FixtureRequest) -> Iterator[Story]:
    """A story whose evidence is shown when a test fails meanwhile."""
    failed_before = request.session.testsfailed
    with told_in(system.cluster) as running:
        yield running
        if request.session.testsfailed > failed_before:
            print(evidence(system, running), file=sys.stderr)


def evidence(system: System, story: Story) -> str:
    """What a person would look at first after a failure."""
    try:
        pods = story.kubectl("get", "cwp,deployments,pods", "--output=wide")
        events = story.kubectl("get", "events", "--sort-by=.lastTimestamp")
        return f"--- objects ---\n{pods}\n--- events ---\n{events}\n--- operator ---\n{system.log()[-6000:]}"
    except ClusterError as error:
        return f"--- no evidence: {error}"
