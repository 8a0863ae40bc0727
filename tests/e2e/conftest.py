"""What e2e tests stand on: one cluster with the operator for the whole run, a namespace with a Redis per story.

Stories wait most of the time, so several processes tell them beside each other (xdist). What shares a namespace stays
in one process; so do the stories in which the operator dies, and those that time what it does.
"""

import itertools
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.beside import Beside, longest_first, module
from tests.cluster.choose import target
from tests.cluster.errors import ClusterError
from tests.e2e.host import Host, hosted
from tests.e2e.story import Story, told_in
from tests.e2e.system import System, installed

LONGEST = ("cluster", "long_tasks", "agent_crash", "ledger", "trouble", "schedules", "bursts")
"""The first of them needs no system: it begins while that is being made."""
OPERATOR = ("long_tasks", "agent_crash", "agent_drain", "agent_time")
"""The operator dies, or what it does is timed."""
SINGLE = ("agent_coming_and_going", "bursts", "rollout")
"""Each story has a namespace of its own."""
HOST = pytest.StashKey[Host]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items, LONGEST)


def shares(nodeid: str) -> str:
    """What a story shares with others beside the system: stories that share the same stay in one process."""
    name = module(nodeid)
    return nodeid if name in SINGLE else "operator" if name in OPERATOR else name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Beside:
    return Beside(config, log, shares)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell another process where it finds the system, which this one makes meanwhile."""
    config: pytest.Config = node.config
    if HOST not in config.stash:
        config.stash[HOST] = Host()
        config.add_cleanup(config.stash[HOST].close)
    node.workerinput["host"] = str(config.stash[HOST].directory)


@pytest.fixture(scope="session")
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """The operator in a cluster: the one of CELERIAC_KUBECONFIG, kind, or a node of our own."""
    if workerinput := getattr(request.config, "workerinput", None):
        yield System(hosted(Path(workerinput["host"])))
        return
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
    """Objects and events of the story, the ends of its Pods' logs, and of the operator's."""
    try:
        objects = story.kubectl("get", "cwp,deployments,pods", "--output=wide")
        events = story.kubectl("get", "events", "--sort-by=.lastTimestamp")
        logs = story.kubectl("logs", "--selector=celeriac.dev/pool", "--prefix", "--tail=15", "--ignore-errors")
        return f"{objects}\n{events}\n{logs}\n{system.log()[-6000:]}"
    except ClusterError as error:
        return str(error)
