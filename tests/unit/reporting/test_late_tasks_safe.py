"""Condition LateTasksSafe: late tasks that are lost with their child are named, with the cure."""

from dataclasses import replace

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import WorkerReport
from celeriac.pool.model import Agent, PoolType
from celeriac.reporting.late_tasks_safe import late_tasks_safe
from celeriac.reporting.view import View
from celeriac.workers.observer import Observer
from tests.unit.builders.workers import pod, report
from tests.unit.reporting.test_status import deployment, outcome, view

pytestmark = pytest.mark.unit


def seen(*reports: WorkerReport, **spec: object) -> View:
    workers = Observer().observe(
        [pod(each.pod_uid) for each in reports], {each.pod_uid: each for each in reports}, {}, 4, 0.0
    )
    shown = view(deployment=deployment(2, 2), outcome=replace(outcome(0, 0, 2), workers=workers))
    known = replace(shown.known, spec=replace(shown.known.spec, **{"pool_type": PoolType.PREFORK, **spec}))  # type: ignore[type-var]
    return replace(shown, known=known)


def told(shown: View) -> tuple[str, str]:
    condition = late_tasks_safe(shown)
    return condition.status, condition.reason


def test_late_tasks_that_are_lost_with_their_child_are_named_with_the_cure() -> None:
    poor = report("b", at_risk=7, tasks_at_risk=("shop.bill", "shop.ship"))
    condition = late_tasks_safe(seen(report("a"), poor))
    assert (condition.status, condition.reason) == ("False", Reason.LOST_WITH_CHILD)
    for words in ("7 tasks", "shop.bill, shop.ship and 5 more", "spec.worker.rejectOnWorkerLost: true", "false there"):
        assert words in condition.message, words


def test_names_of_any_length_leave_room_for_the_cure() -> None:
    poor = report("b", at_risk=5, tasks_at_risk=("x" * 10_000,) * 5)
    message = late_tasks_safe(seen(poor)).message
    assert len(message) < 1024
    assert "rejectOnWorkerLost" in message


def test_a_pool_without_such_tasks_without_children_or_without_the_agent() -> None:
    poor = report("b", at_risk=1, tasks_at_risk=("shop.bill",))
    assert told(seen(report("a"))) == ("True", Reason.LATE_TASKS_RETURN)
    assert told(seen()) == ("True", Reason.LATE_TASKS_RETURN)
    assert told(seen(poor, pool_type=PoolType.THREADS)) == ("True", Reason.NO_CHILDREN)
    assert told(seen(agent=Agent.DISABLED)) == ("Unknown", Reason.AGENT_DISABLED)
