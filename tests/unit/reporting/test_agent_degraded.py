"""Condition AgentDegraded: a promise that does not hold is never silent, and no reason for a pool not to be Ready."""

from dataclasses import replace

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.reporting.agent_degraded import agent_degraded
from celeriac.reporting.conditions import conditions
from celeriac.reporting.status_book import Budget, StatusBook
from celeriac.reporting.view import View
from celeriac.workers.degraded import Degradation
from celeriac.workers.worker import Workers
from tests.unit.reporting.test_status import NOW, deployment, outcome, view

pytestmark = pytest.mark.unit

POOR = Degradation(("ml-a",), 2, ("Celery 5.6.3",), frozenset({"drain"}), {"process-task": 1})
NOBODY = Workers((), {})


def seen(workers: Workers | None = NOBODY, degradation: Degradation | None = None) -> View:
    known = replace(outcome(0, 0, 2), workers=workers, degradation=degradation)
    return view(deployment=deployment(2, 2), outcome=known)


def told(shown: View) -> tuple[str, str]:
    condition = agent_degraded(shown)
    return condition.status, condition.reason


def test_it_is_true_with_the_hook_and_false_where_nothing_is_missing() -> None:
    assert told(seen()) == ("False", Reason.AGENT_COMPLETE)
    assert told(seen(degradation=POOR)) == ("True", Reason.HOOKS_MISSING)
    assert "misses process-task" in agent_degraded(seen(degradation=POOR)).message


def test_counts_that_cannot_be_read_are_told_alone_and_beside_a_missing_hook() -> None:
    uncounted = "the task metrics of this pool stand still: key x is no hash"
    assert told(replace(seen(), uncounted=uncounted)) == ("True", Reason.TASK_COUNTS_UNREADABLE)
    both = agent_degraded(replace(seen(degradation=POOR), uncounted=uncounted))
    assert both.reason == Reason.HOOKS_MISSING
    assert both.message.endswith(f". {uncounted}")


def test_it_is_unknown_where_nobody_can_read_what_the_agents_say() -> None:
    assert told(seen(None)) == ("False", Reason.AGENT_DISABLED)
    assert told(replace(seen(), outcome=None)) == ("Unknown", Reason.CREATING)
    doubt = BrokerDoubt(Reason.BROKER_TIMEOUT, "no answer")
    assert told(replace(seen(), broker=doubt)) == ("Unknown", Reason.HOLDING)


def test_a_pool_whose_agents_are_degraded_works_and_stays_ready() -> None:
    ready = next(each for each in conditions(seen(degradation=POOR)) if each.type == "Ready")
    assert ready.status == "True"


def test_its_beginning_and_its_end_are_events() -> None:
    book = StatusBook(Budget(10), 60.0)
    told_of = []
    for second, poor in enumerate((None, POOR, POOR, None, None)):
        shown = seen(degradation=poor)
        step = book.step(shown, NOW, float(second))
        told_of += [(each.type, each.reason) for each in book.written(shown, step.status, float(second))]
    of_agents = [each for each in told_of if each[1] in (Reason.HOOKS_MISSING, Reason.AGENT_COMPLETE)]
    assert of_agents == [("Warning", Reason.HOOKS_MISSING), ("Normal", Reason.AGENT_COMPLETE)]
