"""Which worker of a pool is believed about the layout of its queues."""

import pytest

from celeriac.brokers.agents import WorkerReport
from celeriac.cluster.records import PodRecord
from celeriac.pool.layouts import SEPARATOR
from celeriac.pool.model import QueueLayout
from celeriac.workers.layout import learned_layout
from celeriac.workers.observer import Observer
from tests.unit.builders.pools import pool
from tests.unit.builders.workers import pod, report

pytestmark = pytest.mark.unit

COLON = QueueLayout(separator=":")
BAR = QueueLayout(separator="|")


def learned(pods: list[PodRecord], *reports: WorkerReport, before: QueueLayout | None = None) -> QueueLayout | None:
    workers = Observer().observe(pods, {each.pod_uid: each for each in reports}, {}, 4, 0.0)
    return learned_layout(pool(), workers, before)


def test_the_youngest_worker_of_a_rollout_is_believed() -> None:
    old, new = pod("a", created=1.0), pod("b", created=2.0)
    assert learned([old, new], report("a", layout=COLON), report("b", layout=BAR)) == BAR
    assert learned([old, new], report("a", layout=COLON), report("b")) == COLON


def test_at_zero_replicas_and_before_the_first_report_what_was_learned_holds() -> None:
    assert learned([], before=COLON) == COLON
    assert learned([pod("a")], before=COLON) == COLON
    assert learned([pod("a")], report("a"), before=COLON) == COLON


def test_a_worker_that_reads_as_the_spec_says_ends_what_was_learned() -> None:
    assert learned([pod("a")], report("a", layout=QueueLayout()), before=COLON) is None


def test_a_report_that_belongs_to_no_replica_of_the_pool_is_not_believed() -> None:
    assert learned([pod("a")], report("stranger", layout=COLON)) is None
    assert learned([pod("a", replica_set=None)], report("a", layout=COLON)) is None
    assert learned([pod("a", terminating=True)], report("a", layout=COLON)) is None


def test_what_cannot_be_believed_leaves_what_was_learned() -> None:
    assert learned([pod("a")], report("a", layout=QueueLayout(priority_steps=(5,))), before=COLON) == COLON


def test_a_spec_that_says_the_separator_learns_none() -> None:
    workers = Observer().observe([pod("a")], {"a": report("a", layout=COLON)}, {}, 4, 0.0)
    assert learned_layout(pool(layout_said=frozenset({SEPARATOR})), workers, None) is None
