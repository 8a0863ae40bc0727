"""What e2e tests stand on: one cluster with the operator for the whole session, a namespace with a Redis per story."""

import itertools
import os
from collections.abc import Generator, Iterator

import pytest

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
def story(system: System) -> Iterator[Story]:
    """A namespace of this test alone."""
    with told_in(system.cluster) as running:
        yield running


@pytest.fixture(scope="module")
def shared(system: System) -> Iterator[Story]:
    """A namespace of one module, for tests with pools and queues of their own."""
    with told_in(system.cluster) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what a person would look at first after a failure."""
    report = yield
    if report.failed:
        values = list(getattr(item, "funcargs", {}).values())
        systems = [value for value in values if isinstance(value, System)]
        stories = {value.namespace: value for value in values if isinstance(value, Story)}
        for system, story in itertools.product(systems, stories.values()):
            report.sections.append((f"{story.namespace} at the failure", evidence(system, story)))
    return report


def evidence(system: System, story: Story) -> str:
    """Objects and events of the story, and the operator's log."""
    try:
        objects = story.kubectl("get", "cwp,deployments,pods", "--output=wide")
        events = story.kubectl("get", "events", "--sort-by=.lastTimestamp")
        return f"{objects}\n{events}\n{system.log()[-6000:]}"
    except ClusterError as error:
        return str(error)
