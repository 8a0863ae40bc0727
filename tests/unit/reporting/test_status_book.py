"""When a status is written and what of it becomes an event, in virtual time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.notices import Notice
from celeriac.api.reasons import Reason
from celeriac.autoscaling.outcome import Outcome
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.cluster.records import DeploymentRecord
from celeriac.reporting.foreign_writes import LATE_SECONDS
from celeriac.reporting.status import Status
from celeriac.reporting.status_book import Budget, StatusBook
from celeriac.reporting.view import View
from celeriac.scaling.decide import decide, fresh_history
from celeriac.scaling.plan import plan
from celeriac.scaling.policy import Policy
from celeriac.scaling.workload import Demand, Workload
from celeriac.watching.store import KnownPool

pytestmark = pytest.mark.unit

STATUS_SECONDS = 60.0
NOON = datetime(2030, 1, 1, 0, 8, 20, tzinfo=UTC)
AWAY = BrokerDoubt(Reason.BROKER_CONNECTION_FAILED, "Redis at redis:6379 cannot be reached")
SLOW = BrokerDoubt(Reason.BROKER_TIMEOUT, "Redis at redis:6379 did not answer in time")


def known(name: str = "ml", uid: str = "1", status: Status | None = None) -> KnownPool:
    metadata = {"namespace": "team", "name": name, "uid": uid, "generation": 3}
    spec = {"image": "app:1", "app": "app", "broker": {"url": "redis://redis:6379/0"}}
    return KnownPool.from_body({"metadata": metadata, "spec": spec, "status": status or {}})


def view(pool: KnownPool | None = None, *, waiting: int = 0, ready: int = 2, **more: Any) -> View:
    pool = pool or known()
    policy = Policy(slots=1, min_replicas=5)
    demand = Demand(waiting=waiting, running=0, current_replicas=2)
    decision = decide(policy, demand, fresh_history(2, 0.0), 1.0)
    outcome = Outcome(demand, decision, plan(policy, decision, demand, Workload(2)))
    deployment = DeploymentRecord(pool.key, "d", 1, 1, 2, 2, ready, 2, controller_uid=pool.uid)
    return View(**{"known": pool, "deployment": deployment, "outcome": outcome, **more})


class Hours:
    """A book, a clock, and everything that was written and told."""

    def __init__(self, per_second: float = 10.0) -> None:
        self.book = StatusBook(Budget(per_second), STATUS_SECONDS)
        self.now = 500.0
        self.written: list[tuple[float, PoolKey]] = []
        self.told: list[Notice] = []

    def look(self, seen: View) -> float:
        """One look, written if the book says so; the seconds after which to look again."""
        moment = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)
        step = self.book.step(seen, moment, self.now)
        if step.write:
            self.written.append((self.now, seen.known.key))
            self.told += self.book.written(seen, step.status, self.now)
        return step.again_seconds

    def look_for(self, seconds: float, *views: View) -> int:
        """Look at each again when the book says so, and at least every second; how often something was written."""
        before, end = len(self.written), self.now + seconds
        while self.now < end:
            pauses = [self.look(each) for each in views]
            self.now += max(min(1.0, *pauses), 0.01)
        return len(self.written) - before


def test_a_status_that_does_not_change_is_written_once() -> None:
    hours = Hours()
    assert hours.look_for(600, view()) == 1


def test_counts_alone_are_written_once_a_minute_and_a_change_of_the_replicas_within_ten_seconds() -> None:
    hours = Hours()
    hours.look(view())
    begun = hours.now
    hours.look_for(70, view(waiting=1))
    assert [at - begun for at, _ in hours.written[1:]] == [pytest.approx(STATUS_SECONDS, abs=1.1)]
    begun = hours.written[-1][0]
    deployment = view().deployment
    assert deployment is not None
    hours.look_for(30, replace(view(waiting=1), deployment=replace(deployment, replicas=3)))
    assert [at - begun for at, _ in hours.written[2:]] == [pytest.approx(10, abs=1.1)]


def test_another_cause_of_the_same_reason_is_told_within_ten_seconds_and_other_numbers_within_a_minute() -> None:
    hours = Hours()

    def refused(cause: str) -> View:
        return view(broker=BrokerDoubt(Reason.BROKER_URL_INVALID, f"the broker URL cannot be used: {cause}"))

    hours.look(refused("its port has 6 digits"))
    begun = hours.now
    hours.look_for(30, refused("its port has 7 digits"))
    assert hours.written[1:] == []
    hours.look_for(20, refused("its password holds a line end"))
    assert [at - begun for at, _ in hours.written[1:]] == [30]


def test_a_thousand_pools_that_lose_their_broker_stay_within_the_budget_and_each_gets_its_turn() -> None:
    hours = Hours(per_second=10)
    pools = [known(f"pool-{number}") for number in range(1000)]
    for pool in pools:
        hours.look(view(pool))
        hours.now += 0.1
    hours.written.clear()
    lost = [view(pool, broker=AWAY) for pool in pools]
    due = dict.fromkeys(range(1000), hours.now)
    begun = hours.now
    while len(hours.written) < 1000 and hours.now < begun + 300:
        for number, at in due.items():
            if at <= hours.now:
                due[number] = hours.now + hours.look(lost[number])
        hours.now += 0.1
    moments = [at for at, _ in hours.written]
    assert {key for _, key in hours.written} == {pool.key for pool in pools}
    assert moments[-1] - begun == pytest.approx(99, abs=2)
    busiest = max(sum(at <= each < at + 1 for each in moments) for at in moments[::50])
    assert busiest <= 20, "a burst of ten and ten more"


def test_an_urgent_change_waits_for_nobody_whose_counts_change() -> None:
    hours = Hours(per_second=10)
    pools = [known(f"pool-{number}") for number in range(200)]
    for pool in pools:
        hours.look(view(pool, waiting=1))
        hours.now += 0.1
    for pool in pools:
        hours.look(view(pool, waiting=2))
    before = len(hours.written)
    hours.look(view(pools[7], waiting=2, broker=AWAY))
    assert hours.written[before:] == [(hours.now, pools[7].key)]


def test_an_urgent_change_goes_before_a_thousand_others_that_are_due() -> None:
    """All counts changed a minute ago; a broker that is lost meanwhile is told at once, wherever its pool stands."""
    hours = Hours(per_second=10)
    pools = [known(f"pool-{number}") for number in range(1000)]
    for pool in pools:
        hours.look(view(pool, waiting=1))
        hours.now += 0.1
    hours.now += STATUS_SECONDS
    hours.written.clear()
    seen = [view(pool, waiting=2) for pool in pools]
    due = dict.fromkeys(range(1000), hours.now)
    begun = hours.now
    losses = {5.0: 999, 10.0: 500, 20.0: 0}
    lost: dict[PoolKey, float] = {}
    while len(hours.written) < 1001 and hours.now < begun + 200:
        for after in [after for after in losses if begun + after <= hours.now]:
            number = losses.pop(after)
            seen[number], due[number] = view(pools[number], waiting=2, broker=AWAY), hours.now
            lost[pools[number].key] = hours.now
        for number, at in due.items():
            if at <= hours.now:
                due[number] = hours.now + hours.look(seen[number])
        hours.now += 0.1
    told = {
        key: next(at for at, written in hours.written if written == key and at >= since) for key, since in lost.items()
    }
    assert {key: told[key] - since for key, since in lost.items()} == pytest.approx(dict.fromkeys(lost, 0.0))
    assert {key for _, key in hours.written} == {pool.key for pool in pools}, "and none of the others is left out"
    assert hours.written[-1][0] - begun == pytest.approx(100, abs=2)


def test_who_can_wait_gets_what_the_urgent_leave() -> None:
    budget, waits, patient = Budget(10), [], 0
    turn = budget.turn(0.0, is_urgent=False)
    for number in range(1000):
        now = number / 10
        if number % 2:
            waits.append(budget.turn(now, is_urgent=True).at - now)
        if budget.use(turn, now):
            patient += 1
        if turn.at <= now:
            turn = budget.turn(now, is_urgent=False)
    assert max(waits) < 0.11, "five a second wait for each other only"
    assert len(waits) + patient == pytest.approx(1000, abs=20), "and five a second are left"


def test_a_turn_that_is_not_needed_any_more_is_not_kept_for_a_rush_to_come() -> None:
    hours = Hours(per_second=10)
    pools = [known(f"pool-{number}") for number in range(100)]
    for pool in pools:
        hours.look(view(pool))
        hours.now += 0.1
    for seen in (*[view(pool, broker=AWAY) for pool in pools], *[view(pool) for pool in pools]):
        hours.look(seen)
    hours.now += 100
    before = len(hours.written)
    for pool in pools:
        hours.look(view(pool, broker=SLOW))
    assert len(hours.written) - before <= 20, "those ten whose turn had come, a burst, and then one after the other"


def test_trouble_is_one_warning_and_its_end_one_event_whatever_came_in_between() -> None:
    hours = Hours()
    for seen in (view(), view(broker=AWAY), view(broker=AWAY), view(broker=SLOW), view(broker=AWAY), view(), view()):
        hours.look(seen)
        hours.now += 30
    reachable = [(each.type, each.reason, each.action) for each in hours.told if each.series == "BrokerReachable"]
    assert reachable == [
        ("Warning", Reason.BROKER_CONNECTION_FAILED, "ReadQueues"),
        ("Warning", Reason.BROKER_TIMEOUT, "ReadQueues"),
        ("Warning", Reason.BROKER_CONNECTION_FAILED, "ReadQueues"),
        ("Normal", Reason.BROKER_READABLE, "ReadQueues"),
    ]


def test_pods_that_start_are_no_trouble() -> None:
    hours = Hours()
    for ready in (0, 2, 0, 2):
        hours.look(view(ready=ready))
        hours.now += 30
    assert hours.told == []


def test_a_new_leader_writes_nothing_where_the_last_one_has_said_the_same() -> None:
    hours = Hours()
    hours.look(view())
    status = hours.book.step(view(), datetime(2030, 1, 1, tzinfo=UTC), hours.now).status
    successor = Hours()
    assert successor.look_for(300, view(known(status=status))) == 0
    successor.look(view(known(status=status), broker=AWAY))
    hours.book.forget_all()
    assert hours.look_for(300, view(known(status=status))) == 0, "what others may have written since counts"


def test_a_pool_that_is_made_anew_under_its_name_inherits_no_status() -> None:
    hours = Hours()
    hours.look(view(waiting=3))
    hours.look(view(known(uid="2"), waiting=3))
    assert len(hours.written) == 2
    hours.book.forget(PoolKey("team", "ml"))
    hours.look(view(known(uid="2"), waiting=3))
    assert len(hours.written) == 3


def test_the_budget_allows_a_burst_to_the_urgent_and_then_a_steady_rate_to_all() -> None:
    budget = Budget(10)

    def turns(number: int, now: float, *, is_urgent: bool) -> list[float]:
        return [budget.turn(now, is_urgent=is_urgent).at for _ in range(number)]

    assert turns(10, 0.0, is_urgent=True) == [0.0] * 10
    assert turns(3, 0.0, is_urgent=True) == pytest.approx([0.1, 0.2, 0.3])
    assert turns(3, 0.0, is_urgent=False) == pytest.approx([0.4, 0.5, 0.6])
    assert turns(3, 100.0, is_urgent=False) == pytest.approx([100.0, 100.1, 100.2])
    assert turns(10, 100.0, is_urgent=True) == [100.0] * 10
    assert turns(1, 100.0, is_urgent=True) == pytest.approx([100.1])


def test_a_thousand_new_pools_are_told_of_in_ten_seconds_and_their_counts_stay_rare() -> None:
    budget = Budget(100, 10)
    first = [budget.turn(0.0, is_urgent=True).at for _ in range(1000)]
    assert 8 < first[-1] < 10
    counts = [budget.turn(20.0, is_urgent=False).at for _ in range(100)]
    assert counts[-1] - counts[0] == pytest.approx(9.9)
    assert budget.turn(20.0, is_urgent=True).at == 20.0, "who can wait takes nothing from who cannot"


def test_what_somebody_else_writes_into_the_status_is_written_over_once_it_is_no_late_word_of_the_operators() -> None:
    hours = Hours()
    hours.look(view())
    own = hours.book.step(view(), NOON, hours.now).status
    seen = view(known(status=own))
    assert hours.look_for(600, seen) == 0
    assert hours.look_for(LATE_SECONDS - 1, view(known(status={**own, "replicas": 999}))) == 0
    assert hours.look_for(600, seen) == 0, "it has come right by itself"
    other = view(known(status={**own, "conditions": []}))
    assert hours.look_for(LATE_SECONDS + 2, other) == 1
    assert hours.look_for(600, other) == 0, "the watch has not told yet what was written"
    hours.look(seen)
    assert hours.look_for(LATE_SECONDS + 2, other) == 1, "somebody does it again"


def test_a_new_leader_writes_over_what_no_leader_can_have_written() -> None:
    hours = Hours()
    hours.look(view())
    own = hours.book.step(view(), NOON, hours.now).status
    hours.book.forget_all()
    assert hours.look_for(60, view(known(status=own))) == 0
    assert hours.look_for(1, view(known(status={**own, "unknown": 1}))) == 1
