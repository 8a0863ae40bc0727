"""What is remembered of the decisions of pools."""

from datetime import UTC, datetime, timedelta

import pytest

from celeriac.api.keys import PoolKey
from celeriac.autoscaling import journal as module
from celeriac.autoscaling.journal import OF_A_POOL, Journal
from celeriac.autoscaling.outcome import Outcome
from celeriac.scaling.decision import Decision, Plan
from celeriac.scaling.workload import Demand, Doubt

pytestmark = pytest.mark.unit

ML = PoolKey("shop", "ml")
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    """A wall clock that is a second later at each look."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def outcome(replicas: int, desired: int, waiting: int = 0, reason: str = "Backlog") -> Outcome:
    demand = Demand(waiting, 0, replicas)
    return Outcome(demand, Decision(desired, reason, f"{waiting} waiting"), Plan(desired, reason, "as decided"))


def test_a_decision_is_remembered_when_it_differs_with_what_was_read() -> None:
    journal = Journal(Clock())
    journal.note(ML, outcome(0, 3, waiting=3))
    journal.note(ML, outcome(0, 3, waiting=4))
    journal.note(ML, outcome(3, 3, reason="WithinTarget"))
    told = [(each.replicas, each.desired, each.reason, each.waiting) for each in journal.of(ML)]
    assert told == [(0, 3, "Backlog", 3), (3, 3, "WithinTarget", 0)]
    assert journal.of(ML)[0].at == NOON + timedelta(seconds=1)


def test_a_doubt_has_no_counts() -> None:
    journal = Journal(Clock())
    doubt = Doubt(2, 0.0, "BrokerTimeout", "Redis did not answer in 1 s")
    journal.note(ML, Outcome(doubt, Decision(2, "Holding", "holding at 2"), Plan(None, "Holding", "holding at 2")))
    assert [(each.waiting, each.running) for each in journal.of(ML)] == [(None, None)]


def test_the_oldest_go_first_of_one_pool_and_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(Clock())
    for number in range(OF_A_POOL + 5):
        journal.note(ML, outcome(number, number + 1))
    assert [each.replicas for each in journal.of(ML)] == list(range(5, OF_A_POOL + 5))
    monkeypatch.setattr(module, "OF_ALL", OF_A_POOL + 1)
    for number in range(3):
        journal.note(PoolKey("shop", f"other-{number}"), outcome(0, 1))
    assert len(journal.of(ML)) == OF_A_POOL - 2
    monkeypatch.setattr(module, "OF_ALL", 1)
    journal.note(PoolKey("shop", "last"), outcome(0, 1))
    assert (journal.of(ML), len(journal.of(PoolKey("shop", "last")))) == ((), 1)


def test_a_pool_that_is_gone_is_forgotten() -> None:
    journal = Journal(Clock())
    journal.note(ML, outcome(0, 1))
    journal.forget(ML)
    journal.forget(ML)
    assert journal.of(ML) == ()
