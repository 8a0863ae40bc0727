"""When a worker is certainly gone."""

from dataclasses import replace

import pytest

from celeriac.brokers.agents import Process
from celeriac.cluster.records import PodRecord
from celeriac.pool.model import QueueLayout
from celeriac.recovery.gone import (
    QUIET_SECONDS,
    SILENT_SECONDS,
    Answers,
    NodeQuestion,
    PodQuestion,
    Silences,
    Verdict,
    judge,
    question,
)
from tests.unit.builders.workers import pod, process

pytestmark = pytest.mark.unit


def judged(
    worker: Process,
    where: PodRecord | None,
    *,
    ended: bool = False,
    silent: float = QUIET_SECONDS,
    answers: Answers | None = None,
) -> Verdict | None:
    return judge(worker, where, answers or {}, ended=ended, silent_seconds=silent)


def test_a_worker_whose_container_runs_is_not_gone() -> None:
    assert judged(process(), pod(), silent=10 * SILENT_SECONDS) is None


def test_a_container_that_ended_takes_the_process_with_it_that_had_started_before() -> None:
    verdict = judged(process(started=100.5), pod(finished_at=101.0, exit_reason="Error"))
    assert verdict is not None
    assert verdict.died
    assert "Error" in verdict.why


def test_the_successor_in_the_same_pod_is_not_taken_for_the_dead_one() -> None:
    assert judged(process(started=103.2), pod(finished_at=101.0)) is None


def test_a_successor_on_a_node_whose_clock_was_set_back_is_known_by_its_reports() -> None:
    ended = pod(finished_at=131.0)
    assert judged(process(started=103.2), ended, silent=QUIET_SECONDS / 2) is None
    assert judged(process(started=103.2), ended, silent=QUIET_SECONDS) is not None


def test_a_start_and_an_end_within_one_second_leave_it_open_who_came_first() -> None:
    assert judged(process(started=101.4), pod(finished_at=101.0)) is None


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
    ended = replace(pod(finished_at=200.0), **ends)  # type: ignore[arg-type]
    verdict = judged(process(), ended)
    assert verdict is not None
    assert verdict.died is died


def test_a_pod_that_was_last_seen_with_all_containers_ended_is_gone_at_once() -> None:
    assert judged(process(), None, ended=True, silent=0.0) is not None


def test_a_pod_that_vanished_while_it_ran_is_not_gone_by_that_alone() -> None:
    assert judged(process(), None, silent=10 * SILENT_SECONDS) is None


def test_of_a_pod_that_vanished_the_api_server_is_asked_once_its_worker_was_silent_for_long() -> None:
    asked = PodQuestion("shop", "ml-a", "a")
    assert question(process(), None, SILENT_SECONDS - 1) is None
    assert question(process(), None, SILENT_SECONDS) == asked
    gone = judged(process(), None, silent=SILENT_SECONDS, answers={asked: True})
    assert gone == Verdict(False, "its Pod is gone")
    assert judged(process(), None, silent=SILENT_SECONDS, answers={asked: False}) is None
    assert judged(process(), None, silent=SILENT_SECONDS - 1, answers={asked: True}) is None


def test_a_worker_that_is_silent_for_long_is_gone_with_its_node() -> None:
    asked = NodeQuestion("n1")
    assert question(process(), pod(), SILENT_SECONDS) == asked
    assert question(process(), pod(node=None), SILENT_SECONDS) is None
    assert judged(process(), pod(), silent=SILENT_SECONDS, answers={asked: True}) == Verdict(False, "its node is gone")
    assert judged(process(), pod(), silent=SILENT_SECONDS) is None, "no answer proves nothing"


def test_silence_begins_with_the_first_look_and_anew_with_each_report() -> None:
    silences = Silences()
    assert silences.seconds(process(reported=7), 1000.0) == 0.0
    assert silences.seconds(process(reported=7), 1029.0) == 29.0
    assert silences.seconds(process(reported=8), 1030.0) == 0.0
    assert silences.seconds(process(reported=8), 1040.0) == 10.0


def test_a_worker_that_has_never_reported_is_silent_from_the_first_look_on() -> None:
    silences = Silences()
    assert silences.seconds(process(), 1000.0) == 0.0
    assert silences.seconds(process(), 1031.0) == 31.0


def test_whose_reports_nobody_could_hear_is_not_silent_and_others_are() -> None:
    silences = Silences()
    for worker in (process("a"), process("b")):
        silences.seconds(worker, 1000.0)
    silences.keep([process("a")])
    assert silences.seconds(process("a"), 1010.0) == 10.0
    assert silences.seconds(process("b"), 1010.0) == 0.0


def test_the_silence_of_a_process_is_nothing_to_one_of_the_same_name_in_another_registry() -> None:
    silences = Silences()
    silences.seconds(process(reported=1), 1000.0)
    assert silences.seconds(process(layout=QueueLayout("evil:"), reported=2), 1010.0) == 0.0
    assert silences.seconds(process(reported=1), 1010.0) == 10.0
