"""What the agents say of themselves reaches people: a promise that does not hold is never silent."""

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import WorkerReport
from celeriac.workers.observer import Observer
from celeriac.workers.trouble import Trouble, trouble_of
from tests.unit.builders.pools import pool
from tests.unit.builders.workers import pod, report

pytestmark = pytest.mark.unit


def trouble(*reports: WorkerReport, unreadable: tuple[str, ...] = ()) -> Trouble | None:
    pods = [pod("a"), pod("b")]
    workers = Observer().observe(pods, {each.pod_uid: each for each in reports}, {}, 4, 0.0, unreadable)
    return trouble_of(pool(), workers)


def test_workers_whose_agents_can_do_all_are_no_trouble() -> None:
    assert trouble(report("a"), report("b")) is None


def test_a_report_that_cannot_be_understood_is_told_before_it_looks_like_a_missing_agent() -> None:
    found = trouble(report("a"), unreadable=("b",))
    assert found is not None
    assert found.reason == Reason.REPORT_UNREADABLE
    assert "worker ml-b" in found.message


def test_a_consumer_that_was_cancelled_is_told_with_the_command_that_brings_it_back() -> None:
    found = trouble(report("a"), report("b", queues=()))
    assert found is not None
    assert found.reason == Reason.WORKER_MISMATCH
    assert "worker ml-b does not consume from celery" in found.message
    assert "celery control add_consumer celery" in found.message
    other = trouble(report("a", queues=("celery", "more")))
    assert other is not None
    assert "consumes from the queues celery,more instead of celery" in other.message
