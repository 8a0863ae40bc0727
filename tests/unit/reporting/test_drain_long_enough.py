"""Condition DrainLongEnough: the app's time limit against the time that a pod has to stop."""

from dataclasses import replace
from typing import Any

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.agents import WorkerReport
from celeriac.reporting.drain_long_enough import drain_long_enough
from celeriac.reporting.view import Condition
from celeriac.workers.observer import Observer
from tests.unit.builders.workers import pod, report
from tests.unit.reporting.test_status import known, outcome, view

pytestmark = pytest.mark.unit


def condition(*reports: WorkerReport, **spec: Any) -> Condition:
    """Of a prefork pool with these workers; pods have an hour to stop."""
    pods = [pod(each.pod_uid) for each in reports]
    workers = Observer().observe(pods, {each.pod_uid: each for each in reports}, {}, 4, 0.0)
    shown = replace(outcome(0, 0, len(pods)), workers=workers)
    return drain_long_enough(view(known=known(**{"pool": "prefork", **spec}), outcome=shown))


def told(found: Condition) -> tuple[str, str]:
    return found.status, found.reason


def test_a_limit_that_a_stopping_pod_may_not_reach_names_the_value_to_write() -> None:
    found = condition(report("a", time_limit=60.0), report("b", time_limit=7200.0, acks_late=False))
    assert told(found) == ("False", Reason.DRAIN_TOO_SHORT)
    assert "for 7200 s (the hard time limit in ml-b), and pods have 3600 s" in found.message
    assert "is lost" in found.message
    assert "set spec.drain.timeoutSeconds: 7240" in found.message


@pytest.mark.parametrize(("late", "words"), [(True, "runs again elsewhere"), (None, "is lost or runs again")])
def test_what_becomes_of_such_a_task_depends_on_its_acknowledgement(late: bool | None, words: str) -> None:
    assert words in condition(report("a", time_limit=3561.0, acks_late=late)).message


def test_a_limit_with_time_to_spare_is_long_enough() -> None:
    assert told(condition(report("a", time_limit=3560.0))) == ("True", Reason.LONG_ENOUGH)
    assert told(condition(report("a", time_limit=7200.0), drain={"timeoutSeconds": 7240})) == (
        "True",
        Reason.LONG_ENOUGH,
    )


def test_no_pod_can_be_given_longer_than_a_year() -> None:
    assert "; lower task_time_limit" in condition(report("a", time_limit=1e9)).message


def test_without_a_limit_nobody_knows_how_long_a_task_may_take() -> None:
    assert told(condition(report("a"))) == ("Unknown", Reason.NO_TIME_LIMIT)
    assert told(condition(report("a", time_limit=5.0), report("b"))) == ("Unknown", Reason.NO_TIME_LIMIT)
    threads = condition(report("a", time_limit=7200.0), pool="threads")
    assert told(threads) == ("Unknown", Reason.NO_TIME_LIMIT)


@pytest.mark.parametrize("init", ["s6-svscan", "my_init", "supervisord"])
def test_an_init_that_kills_after_a_time_of_its_own_is_named_whatever_the_limits_are(init: str) -> None:
    found = condition(report("a", time_limit=1.0), report("b", time_limit=1.0, init=init))
    assert told(found) == ("False", Reason.INIT_ENDS_FIRST)
    assert f"PID 1 in ml-b is {init}" in found.message
    assert told(condition(report("a", time_limit=1.0, init="tini"))) == ("True", Reason.LONG_ENOUGH)


def test_what_nobody_has_told_is_no_trouble() -> None:
    assert told(condition()) == ("True", Reason.LONG_ENOUGH)
    assert told(condition(agent="disabled")) == ("Unknown", Reason.AGENT_DISABLED)
    assert drain_long_enough(view(known=known(concurrency=3), outcome=None)).reason == Reason.INVALID_SPEC
