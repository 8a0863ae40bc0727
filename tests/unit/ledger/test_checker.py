"""The ledger's arithmetic: a loss, a second run, a killed task and a forgotten key never go unnoticed."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import NAMESPACE_OID, uuid3

import pytest

from tests.ledger.checker import Demand, Verdict, judge
from tests.ledger.lines import Event, Line

pytestmark = pytest.mark.unit

NOTHING = Demand(ups=0, downs=0, loaded=0)
ONE_LOADED = Demand(ups=0, downs=0, loaded=1)


def ran(task: str, start: float, end: float, pod: str = "pod-1") -> list[Line]:
    """Sent at 0, received just before its start."""
    of_it = {"task": task, "pod": pod, "pid": 7}
    return [
        Line(Event.SENT, 0, task=task),
        Line(Event.RECEIVED, start - 0.1, **of_it),  # type: ignore[arg-type]
        Line(Event.STARTED, start, **of_it),  # type: ignore[arg-type]
        Line(Event.ENDED, end, **of_it),  # type: ignore[arg-type]
    ]


def scaled(time: float, before: int, after: int) -> Line:
    return Line(Event.SCALED, time, before=before, after=after)


def gone(time: float, pod: str = "pod-1") -> Line:
    return Line(Event.GONE, time, pod=pod)


def a_good_run() -> list[Line]:
    """Two pods, three tasks; one pod goes while the other runs a task and holds another."""
    return [
        scaled(0.5, 0, 2),
        *ran("a", 1, 2),
        *ran("b", 1, 9, pod="pod-2"),
        Line(Event.SENT, 0, task="c"),
        Line(Event.RECEIVED, 2, task="c", pod="pod-2", pid=7),
        scaled(4, 2, 1),
        gone(5),
        Line(Event.STARTED, 9, task="c", pod="pod-2", pid=7),
        Line(Event.ENDED, 10, task="c", pod="pod-2", pid=7),
        scaled(12, 1, 0),
        gone(13, "pod-2"),
        Line(Event.LEFT, 20, key="_kombu.binding.ledger"),
    ]


def without(lines: list[Line], event: Event, task: str) -> Iterator[Line]:
    return (line for line in lines if not (line.event is event and line.task == task))


def test_a_run_where_every_task_ended_once_is_clean() -> None:
    assert judge(a_good_run(), NOTHING) == Verdict(sent=3, ended=3, ups=1, downs=2, loaded=1, drained=0)


def test_a_planted_loss_is_found() -> None:
    verdict = judge([*a_good_run(), Line(Event.SENT, 0, task="d")], NOTHING)
    assert verdict.lost == ("d",)
    assert verdict.problems == ("1 lost: d",)


def test_a_task_that_a_worker_received_and_never_started_is_lost() -> None:
    silent = [line for line in a_good_run() if line.task != "c" or line.event in (Event.SENT, Event.RECEIVED)]
    assert judge(silent, NOTHING).problems == ("1 lost: c",)


def test_a_planted_duplicate_is_found_even_in_another_pod_and_without_its_end() -> None:
    verdict = judge([*a_good_run(), Line(Event.STARTED, 11, task="a", pod="pod-2", pid=7)], NOTHING)
    assert verdict.twice == ("a",)


def test_a_task_that_ended_twice_is_found_although_one_start_is_missing() -> None:
    verdict = judge([*a_good_run(), Line(Event.ENDED, 11, task="a", pod="pod-2", pid=7)], NOTHING)
    assert verdict.twice == ("a",)


def test_a_planted_kill_is_found_although_the_task_ran_again_to_its_end() -> None:
    killed = [*without(a_good_run(), Event.ENDED, "a"), *ran("a", 6, 7, pod="pod-2")]
    verdict = judge(killed, NOTHING)
    assert (verdict.killed, verdict.twice, verdict.lost) == (("a",), ("a",), ())


def test_a_task_that_still_runs_is_not_yet_lost_in_its_pod_but_has_not_ended_either() -> None:
    running = [line for line in without(a_good_run(), Event.ENDED, "b") if line.pod != "pod-2" or line.task]
    verdict = judge(running, NOTHING)
    assert (verdict.killed, verdict.lost) == ((), ("b",))


def test_a_task_that_nobody_sent_is_found() -> None:
    verdict = judge(without(a_good_run(), Event.SENT, "a"), NOTHING)
    assert verdict.problems == ("1 unsent: a",)


def test_a_message_left_in_a_hash_of_redis_is_found_and_what_may_stay_is_not() -> None:
    kept = (
        "celeriac:pools",
        "celeriac:uid:tasks",
        "celery-task-meta-1",
        f"{uuid3(NAMESPACE_OID, '')}.reply.celery.pidbox",
    )
    keys = (*kept, "unacked.pod-1", "celeriac:dead:ledger")
    verdict = judge([*a_good_run(), *(Line(Event.LEFT, 20, key=key) for key in keys)], NOTHING)
    assert verdict.left == ("celeriac:dead:ledger", "unacked.pod-1")


def test_a_run_without_a_task_proves_nothing() -> None:
    assert judge([], NOTHING).problems == ("nothing was sent",)


def test_a_run_that_was_hardly_scaled_proves_nothing() -> None:
    problems = judge(a_good_run(), Demand(ups=2, downs=3, loaded=0.3)).problems
    assert problems == (
        "only 1 scale-ups, 2 are needed to prove anything",
        "only 2 scale-downs, 3 are needed to prove anything",
    )


def test_a_scale_down_of_idle_workers_is_not_one_under_load() -> None:
    problems = judge(a_good_run(), ONE_LOADED).problems
    assert problems == ("only 1 of 2 scale-downs under load, 100% needed",)


def test_a_worker_that_was_chosen_while_it_ran_a_task_and_held_another_counts_as_loaded_when_it_goes_idle() -> None:
    """With the agent a worker goes when it is idle; what it was asked to give up is seen when it is marked."""
    quiet = [line for line in a_good_run() if line.time != 4]
    marked = [*quiet, Line(Event.MARKED, 3, pod="pod-2"), scaled(11, 2, 1)]
    assert judge(marked, NOTHING).loaded == 0
    verdict = judge([*marked, Line(Event.DELETED, 11.1, pod="pod-2")], NOTHING)
    assert (verdict.downs, verdict.loaded, verdict.drained) == (2, 1, 1)


def test_a_worker_that_was_spared_again_does_not_count_when_it_goes_later() -> None:
    quiet = [line for line in a_good_run() if line.time != 4]
    spared = [Line(Event.MARKED, 3, pod="pod-2"), Line(Event.UNMARKED, 4, pod="pod-2")]
    went = [scaled(11, 2, 1), Line(Event.DELETED, 11.1, pod="pod-2")]
    assert judge([*quiet, *spared, *went], NOTHING).loaded == 0


def test_what_a_worker_holds_that_is_on_its_way_out_does_not_make_a_scale_down_one_under_load() -> None:
    marked = [*a_good_run(), Line(Event.MARKED, 0.9, pod="pod-2"), Line(Event.DELETED, 3, pod="pod-2")]
    assert judge(marked, NOTHING).loaded == 0


def test_for_solo_which_holds_nothing_a_running_task_is_load_enough() -> None:
    unheld = [line for line in a_good_run() if line.event is not Event.RECEIVED]
    assert judge(unheld, NOTHING).loaded == 0
    assert judge(unheld, replace(NOTHING, prefetches=False)).loaded == 1
