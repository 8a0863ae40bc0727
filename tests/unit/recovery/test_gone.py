"""When a worker is certainly gone."""

from dataclasses import replace
from typing import Any

import pytest

from celeriac.brokers.agents import Process
from celeriac.cluster.records import PodRecord
from celeriac.recovery.gone import (
    QUIET_SECONDS,
    SILENT_SECONDS,
    Answers,
    NodeQuestion,
    PodQuestion,
    Verdict,
    judge,
    question,
    seems_ended,
)
from celeriac.recovery.sightings import Sighting
from tests.unit.builders.workers import pod, process

pytestmark = pytest.mark.unit

LONG = Sighting(SILENT_SECONDS)


def judged(
    worker: Process,
    where: PodRecord | None,
    *,
    ended: bool = False,
    silent: float = QUIET_SECONDS,
    outlived: str | None = None,
    displaced: bool = False,
    answers: Answers | None = None,
) -> Verdict | None:
    return judge(worker, where, answers or {}, Sighting(silent, outlived, displaced), ended=ended)


def test_a_worker_whose_container_runs_is_not_gone() -> None:
    assert judged(process(), pod(), silent=10 * SILENT_SECONDS) is None


def ended_at(finished_at: float, **fields: Any) -> PodRecord:
    """A Pod whose container ended; another runs since then, unless told."""
    more = {"running_since": finished_at, "exit_reason": "Error", **fields}
    return pod(finished_at=finished_at, last_end="first", **more)


def test_a_container_that_ended_takes_the_process_with_it_that_had_started_before() -> None:
    verdict = judged(process(started=100.5), ended_at(101.0))
    assert verdict is not None
    assert verdict.died
    assert "Error" in verdict.why
    assert judged(process(started=100.5), ended_at(101.0, running=False, running_since=None)) is not None


def test_a_container_that_ended_proves_nothing_while_reports_come_that_may_be_of_its_process() -> None:
    assert judged(process(), ended_at(101.0), silent=QUIET_SECONDS / 2) is None


def test_the_successor_in_the_same_pod_is_not_taken_for_the_dead_one() -> None:
    assert judged(process(started=103.2), ended_at(101.0)) is None


def test_a_start_and_an_end_within_one_second_leave_it_open_who_came_first() -> None:
    assert judged(process(started=101.4), ended_at(101.0)) is None


def test_on_a_node_whose_clock_was_set_back_who_may_run_now_is_not_taken_for_the_dead_one_however_silent() -> None:
    """The container that ended by a clock an hour ahead was followed by one that started when it was right again."""
    set_back = ended_at(3700.0, running_since=102.0)
    assert judged(process(started=102.4), set_back, silent=3600.0) is None
    assert judged(process(started=3600.0), set_back, silent=3600.0) is None, "by this clock it may be either"
    assert judged(process(started=3600.0), set_back, displaced=True) is not None, "another reports from there"
    assert judged(process(started=100.5), set_back) is not None, "it started before both"
    assert judged(process(started=102.4), replace(set_back, running_since=None), silent=3600.0) is None


def test_who_outlived_an_end_is_not_taken_for_the_dead_one_whatever_the_clock_says() -> None:
    for seen in (ended_at(3700.0), ended_at(3700.0, running=False), ended_at(3700.0, running=False, terminating=True)):
        assert judged(process(), seen, silent=3600.0, outlived="first") is None
        assert judged(process(), replace(seen, last_end="second"), outlived="first") is not None
        assert not seems_ended(process(), seen, Sighting(3600.0, "first"))


def test_in_a_pod_whose_containers_are_not_started_anew_nobody_outlives_the_last_whatever_the_clock_says() -> None:
    """The clock was set back by an hour while it ran."""
    early = ended_at(101.0, running=False, running_since=None)
    for over in (replace(early, terminating=True), replace(early, phase="Failed"), replace(early, phase="Succeeded")):
        assert judged(process(started=3700.0), over) is not None
    assert judged(process(started=3700.0), early) is None


@pytest.mark.parametrize(
    ("ends", "died"),
    [
        ({"exit_reason": "OOMKilled"}, True),
        ({"exit_reason": "Error"}, True),
        ({"exit_reason": "Error", "evicted": True}, False),
        ({"exit_reason": "Error", "terminating": True}, False),
        ({"exit_reason": "OOMKilled", "terminating": True}, True),
    ],
)
def test_only_an_end_by_its_own_fault_counts_against_the_tasks(ends: dict[str, object], died: bool) -> None:
    verdict = judged(process(), ended_at(200.0, **ends))
    assert verdict is not None
    assert verdict.died is died


def test_a_pod_that_was_last_seen_with_all_containers_ended_is_gone_at_once() -> None:
    assert judged(process(), None, ended=True, silent=0.0) is not None


def test_a_pod_that_vanished_while_it_ran_is_not_gone_by_that_alone() -> None:
    assert judged(process(), None, silent=10 * SILENT_SECONDS) is None


def test_of_a_pod_that_vanished_the_api_server_is_asked_once_its_worker_was_silent_for_long() -> None:
    asked = PodQuestion("shop", "ml-a", "a")
    assert question(process(), None, Sighting(SILENT_SECONDS - 1)) is None
    assert question(process(), None, LONG) == asked
    gone = judged(process(), None, silent=SILENT_SECONDS, answers={asked: True})
    assert gone == Verdict(False, "its Pod is gone")
    assert judged(process(), None, silent=SILENT_SECONDS, answers={asked: False}) is None
    assert judged(process(), None, silent=SILENT_SECONDS - 1, answers={asked: True}) is None


def test_a_worker_that_is_silent_for_long_is_gone_with_its_node() -> None:
    asked = NodeQuestion("n1")
    assert question(process(), pod(), LONG) == asked
    assert question(process(), pod(node=None), LONG) is None
    assert judged(process(), pod(), silent=SILENT_SECONDS, answers={asked: True}) == Verdict(False, "its node is gone")
    assert judged(process(), pod(), silent=SILENT_SECONDS) is None, "no answer proves nothing"
