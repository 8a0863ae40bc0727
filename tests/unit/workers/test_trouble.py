"""What the agents say of themselves reaches people: a promise that does not hold is never silent."""

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import WorkerReport
from celeriac.pool.layouts import SEPARATOR
from celeriac.pool.model import BrokerSpec, QueueLayout
from celeriac.workers.observer import MISSING_SECONDS, Observer
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


def test_a_missing_worker_is_told_under_which_prefix_its_reports_are_looked_for() -> None:
    observer, spec = Observer(), pool(broker=BrokerSpec(url="redis://redis:6379/0", layout=QueueLayout("shop:")))
    observer.observe([pod("a")], {}, {}, 4, 0.0)
    found = trouble_of(spec, observer.observe([pod("a")], {}, {}, 4, MISSING_SECONDS))
    assert found is not None
    assert found.reason == Reason.AGENT_MISSING
    assert 'key prefix "shop:": spec.broker.keyPrefix must equal global_keyprefix' in found.message


def test_a_layout_that_the_spec_contradicts_is_told_with_the_value_to_write() -> None:
    said = report("a", layout=QueueLayout(separator=":"))
    workers = Observer().observe([pod("a")], {"a": said}, {}, 4, 0.0)
    found = trouble_of(pool(layout_said=frozenset({SEPARATOR})), workers)
    assert found is not None
    assert found.reason == Reason.WORKER_MISMATCH
    assert 'worker ml-a reads queues with the separator ":"' in found.message
    assert 'set spec.broker.separator: ":"' in found.message
    assert trouble_of(pool(), workers) is None, "a spec that is silent learns it"
