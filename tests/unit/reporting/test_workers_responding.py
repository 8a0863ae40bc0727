"""Condition WorkersResponding: which pods, since when, and the cure; in a message that seldom changes."""

from dataclasses import replace

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.reporting.status_book import NOTEWORTHY_SECONDS, Budget, StatusBook
from celeriac.reporting.view import View
from celeriac.reporting.workers_responding import workers_responding
from celeriac.workers.responses import Lapse, Responses
from tests.unit.reporting.test_status import NOW, deployment, outcome, view

pytestmark = pytest.mark.unit


def seen(responses: Responses | None) -> View:
    return view(deployment=deployment(2, 2), outcome=replace(outcome(0, 0, 2), responses=responses))


def silent(*seconds: float) -> View:
    lapses = tuple(Lapse(f"ml-{number}", each) for number, each in enumerate(seconds))
    return seen(Responses(judged=9, silent=lapses))


def told(shown: View) -> tuple[str, str]:
    condition = workers_responding(shown)
    return condition.status, condition.reason


def test_a_silent_worker_is_named_with_its_time_the_causes_and_the_cure() -> None:
    condition = workers_responding(silent(130.0, 31.0))
    assert (condition.status, condition.reason) == ("False", Reason.WORKER_SILENT)
    for words in (
        *("ml-0 (for over 2 min), ml-1 (for over 30 s) of 9 ready workers", "password", "GIL", "without a word"),
        *("counts as busy", "py-spy", "kubectl delete pod ml-0"),
    ):
        assert words in condition.message, words


def test_many_silent_workers_are_counted_and_the_first_three_named() -> None:
    message = workers_responding(silent(*[90_000.0] * 9)).message
    assert "ml-2 (for over 1 day) and 6 more" in message
    assert "ml-3" not in message
    assert len(message) < 1024


def test_a_message_stays_the_same_for_long() -> None:
    assert workers_responding(silent(301.0)) == workers_responding(silent(599.0))


def test_a_worker_that_fetches_nothing_is_told_after_those_that_are_silent() -> None:
    idle = Responses(judged=2, not_fetching=(Lapse("ml-1", 50.0),))
    condition = workers_responding(seen(idle))
    assert (condition.status, condition.reason) == ("False", Reason.NOT_FETCHING)
    assert "ml-1 takes none of the waiting tasks" in condition.message
    assert len(condition.message) < 1024
    held = workers_responding(seen(Responses(judged=2, not_fetching=(Lapse("ml-1", 50.0, 4),))))
    assert "ml-1 received 4 tasks and starts none" in held.message
    assert told(seen(replace(idle, silent=(Lapse("ml-0", 40.0),)))) == ("False", Reason.WORKER_SILENT)


def test_where_all_is_well_it_says_what_waits_for_a_rate_limit() -> None:
    assert told(seen(Responses(judged=2))) == ("True", Reason.RESPONDING)
    assert "7 tasks wait there for their rate limit" in workers_responding(seen(Responses(2, limited=7))).message
    assert workers_responding(seen(Responses())).message == "no worker is ready"


def test_what_cannot_be_known_is_unknown() -> None:
    assert told(seen(None)) == ("Unknown", Reason.AGENT_DISABLED)
    assert told(view(outcome=None)) == ("Unknown", Reason.CREATING)
    away = replace(seen(Responses(1)), broker=BrokerDoubt(Reason.BROKER_TIMEOUT, "no answer"))
    assert told(away) == ("Unknown", Reason.HOLDING)


def test_it_is_written_at_once_and_an_event_says_when_it_begins_and_ends() -> None:
    book = StatusBook(Budget(10), 60.0)
    news = []
    for at, shown in enumerate((seen(Responses(1)), silent(31.0), silent(32.0), seen(Responses(1)))):
        step = book.step(shown, NOW, float(at))
        if step.write:
            news += [
                (notice.type, notice.reason, notice.action) for notice in book.written(shown, step.status, float(at))
            ]
    assert [each for each in news if each[2] == "ReadReports"] == [
        ("Warning", Reason.WORKER_SILENT, "ReadReports"),
        ("Normal", Reason.RESPONDING, "ReadReports"),
    ]


def test_a_second_worker_that_falls_silent_is_named_within_ten_seconds_and_all_is_well_costs_nothing() -> None:
    book = StatusBook(Budget(10), 60.0)

    def writes(shown: View, at: float) -> bool:
        step = book.step(shown, NOW, at)
        if step.write:
            book.written(shown, step.status, at)
        return step.write

    assert writes(silent(31.0), 0.0)
    assert not writes(silent(40.0, 31.0), 9.0)
    assert writes(silent(41.0, 32.0), NOTEWORTHY_SECONDS)
    assert writes(seen(Responses(2, limited=1)), 11.0)
    assert not writes(seen(Responses(2, limited=7)), 40.0)
