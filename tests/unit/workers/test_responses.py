"""In virtual time: a worker that is silent or leaves tasks lying is found, and one that has a reason is not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from celeriac.brokers.agents import WorkerReport
from celeriac.cluster.records import PodRecord
from celeriac.workers.observer import Observer
from celeriac.workers.responses import (
    GAP_SECONDS,
    NOT_FETCHING_SECONDS,
    NOT_STARTING_SECONDS,
    RECONNECT_SECONDS,
    SILENT_SECONDS,
    Responses,
    ResponseWatch,
)
from tests.unit.builders.workers import pod, report

pytestmark = pytest.mark.unit

SLOTS = 4
Change = Callable[[WorkerReport, float], WorkerReport]


class Shift:
    """Workers that report once a second, and what is seen of them twice a second."""

    def __init__(self, *uids: str, **said: Any) -> None:
        self.now = 1000.0
        self.pods: dict[str, PodRecord] = {uid: pod(uid) for uid in uids or ("a",)}
        self.reports = {uid: report(uid, **said) for uid in self.pods}
        self.waiting = {"celery": 0}
        self.marks: dict[str, str] = {}
        self.stopped: set[str] = set()
        self._observer, self._watch = Observer(), ResponseWatch()

    def look(self) -> Responses:
        workers = self._observer.observe(list(self.pods.values()), self.reports, self.marks, SLOTS, self.now)
        return self._watch.look(workers, self.waiting, self.now)

    def pass_(self, seconds: float, change: Change = lambda said, _: said) -> Responses:
        """So long all workers report but those that are stopped; `change` is what else they say."""
        found = self.look()
        for _ in range(round(2 * seconds)):
            self.now += 0.5
            for uid in self.reports.keys() - self.stopped:
                said = self.reports[uid]
                self.reports[uid] = change(replace(said, counter=said.counter + 1), self.now)
            found = self.look()
        return found

    def says(self, **fields: Any) -> None:
        self.reports = {uid: replace(each, **fields) for uid, each in self.reports.items()}


def test_a_worker_that_is_stopped_is_silent_after_half_a_minute_and_named() -> None:
    shift = Shift("a", "b")
    shift.pass_(10)
    shift.stopped = {"b"}
    assert shift.pass_(SILENT_SECONDS - 1).silent == ()
    found = shift.pass_(2)
    assert [(lapse.pod, lapse.seconds) for lapse in found.silent] == [("ml-b", SILENT_SECONDS + 1)]
    assert (found.judged, found.not_fetching) == (2, ())
    shift.stopped = set()
    assert shift.pass_(1).silent == (), "it reports again"


def test_the_longest_silence_comes_first() -> None:
    shift = Shift("a", "b")
    shift.stopped = {"b"}
    shift.pass_(20)
    shift.stopped = {"a", "b"}
    assert [lapse.pod for lapse in shift.pass_(60).silent] == ["ml-b", "ml-a"]


def test_a_solo_worker_that_is_busy_for_an_hour_reports_and_is_not_silent() -> None:
    shift = Shift(active=1, slots=1)
    shift.waiting["celery"] = 100
    assert shift.pass_(3600) == Responses(judged=1)


@pytest.mark.parametrize(
    "changed",
    [
        {"ready": False},
        {"running": False},
        {"terminating": True},
        {"phase": "Failed"},
        {"replica_set": None},
    ],
)
def test_a_pod_that_starts_anew_or_ends_is_not_taken_for_silent(changed: dict[str, Any]) -> None:
    """Its report is that of a container which is gone; what is wrong with it, its Pod says."""
    shift = Shift()
    shift.stopped = {"a"}
    shift.pods["a"] = replace(shift.pods["a"], **changed)
    assert shift.pass_(300) == Responses()


def test_a_container_that_was_started_anew_is_given_its_time_once_it_is_ready() -> None:
    shift = Shift()
    shift.stopped = {"a"}
    shift.pods["a"] = pod("a", ready=False, restarts=1)
    shift.pass_(600)
    shift.pods["a"] = pod("a", restarts=1)
    assert shift.pass_(SILENT_SECONDS - 1).silent == ()
    assert shift.pass_(1).silent != ()


def test_after_a_broker_was_away_its_workers_are_given_time_to_connect() -> None:
    shift = Shift()
    shift.pass_(10)
    shift.stopped = {"a"}
    shift.now += 600
    assert shift.pass_(RECONNECT_SECONDS + SILENT_SECONDS - 1).silent == ()
    assert shift.pass_(1).silent != ()


def test_a_gap_in_which_nobody_looked_is_not_counted_and_ends_no_silence() -> None:
    """The operator itself was late, or the broker away for a moment: what stood still before and after goes on."""
    shift = Shift()
    shift.stopped = {"a"}
    shift.pass_(20)
    shift.now += 8
    assert shift.pass_(8 + SILENT_SECONDS - 20 - 1).silent == ()
    assert shift.pass_(1).silent != ()
    shift.now += 600
    assert shift.look().silent == (), "nor is one told that may have been mended meanwhile"
    assert shift.pass_(RECONNECT_SECONDS).silent != ()


def test_a_look_that_came_late_is_no_gap() -> None:
    shift = Shift()
    shift.stopped = {"a"}
    shift.pass_(20)
    shift.now += GAP_SECONDS - 1
    assert shift.pass_(SILENT_SECONDS - 20).silent != ()


def test_a_worker_with_free_slots_that_takes_nothing_of_what_waits_is_told() -> None:
    shift = Shift("a", "b", active=1)
    shift.waiting["celery"] = 3
    assert shift.pass_(NOT_FETCHING_SECONDS - 1).not_fetching == ()
    found = shift.pass_(1)
    assert [(lapse.pod, lapse.unstarted) for lapse in found.not_fetching] == [("ml-a", 0), ("ml-b", 0)]
    assert found.silent == ()
    shift.says(delivered=1)
    assert shift.pass_(1).not_fetching == (), "it takes one"


def test_one_of_two_workers_that_takes_nothing_is_told_although_the_other_works() -> None:
    shift = Shift("a", "b")
    shift.waiting["celery"] = 50

    def works(said: WorkerReport, _: float) -> WorkerReport:
        return replace(said, processed=said.processed + 1) if said.pod_uid == "a" else said

    assert [lapse.pod for lapse in shift.pass_(60, works).not_fetching] == ["ml-b"]


def test_a_worker_that_holds_tasks_and_starts_none_is_told_after_longer() -> None:
    """Its slots are full of tasks that it has received: children may load a model before they take the first."""
    shift = Shift(reserved=4)
    shift.waiting["celery"] = 3
    assert shift.pass_(NOT_STARTING_SECONDS - 1).not_fetching == ()
    assert [lapse.unstarted for lapse in shift.pass_(1).not_fetching] == [4]


@pytest.mark.parametrize(
    "said",
    [
        {"active": 4},
        {"active": 1, "slots": 1},
        {"limited": 2, "reserved": 2},
        {"state": "starting"},
        {"state": "disconnected"},
        {"state": "stopping"},
        {"state": "draining", "token": "t"},
        {"state": "drained", "token": "t"},
        {"state": "consuming", "token": "t"},
        {"queues": ("another",)},
        {"queues": ()},
    ],
    ids=str,
)
def test_who_has_a_reason_to_take_nothing_is_not_told(said: dict[str, Any]) -> None:
    shift = Shift(**said)
    shift.waiting["celery"] = 1000
    assert shift.pass_(600).not_fetching == ()


def test_who_is_to_go_or_goes_is_not_told_to_fetch() -> None:
    for changed in ({"drain_token": "t"}, {"terminating": True}, {"ready": False}):
        shift = Shift()
        shift.waiting["celery"] = 1000
        shift.pods["a"] = replace(shift.pods["a"], **changed)
        assert shift.pass_(600).not_fetching == (), changed
    shift = Shift()
    shift.waiting["celery"] = 1000
    shift.marks["a"] = "t"
    assert shift.pass_(600).not_fetching == ()


@pytest.mark.parametrize("field", ["delivered", "processed", "scheduled", "active", "reserved"])
def test_whatever_a_worker_takes_starts_or_ends_is_progress(field: str) -> None:
    """Unknown tasks are taken and thrown away, ETA tasks are taken and kept: no count but one changes."""
    shift = Shift()
    shift.waiting["celery"] = 1000

    def moves(said: WorkerReport, now: float) -> WorkerReport:
        changed: dict[str, Any] = {field: int(now / 30) % 3}
        return replace(said, **changed)

    assert shift.pass_(900, moves).not_fetching == ()


def test_a_queue_that_is_empty_now_and_then_leaves_nobody_idle_beside_work() -> None:
    shift = Shift()
    for _ in range(20):
        shift.waiting["celery"] = 1
        assert shift.pass_(30).not_fetching == ()
        shift.waiting["celery"] = 0
        shift.pass_(0.5)


def test_tasks_at_their_rate_limit_are_counted() -> None:
    assert Shift("a", "b", limited=3, reserved=3).look().limited == 6


def test_a_pod_that_went_is_forgotten() -> None:
    shift = Shift()
    shift.stopped = {"a"}
    shift.pass_(60)
    shift.pods = {}
    assert shift.look() == Responses()
