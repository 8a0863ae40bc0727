"""When a worker is certainly gone."""

from dataclasses import replace

import pytest

from celeriac.deaths import judge
from tests.unit.core.workers import pod, process

pytestmark = pytest.mark.unit


def test_a_worker_whose_container_runs_is_not_gone() -> None:
    assert judge(process(), pod(), ended=False) is None


def test_a_container_that_ended_takes_the_process_with_it_that_had_started_before() -> None:
    verdict = judge(process(started=100.5), pod(finished_at=101.0, exit_reason="Error"), ended=False)
    assert verdict is not None
    assert verdict.died
    assert "Error" in verdict.why


def test_the_successor_in_the_same_pod_is_not_taken_for_the_dead_one() -> None:
    assert judge(process(started=103.2), pod(finished_at=101.0), ended=False) is None


def test_a_start_and_an_end_within_one_second_leave_it_open_who_came_first() -> None:
    assert judge(process(started=101.4), pod(finished_at=101.0), ended=False) is None


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
    verdict = judge(process(), ended, ended=False)
    assert verdict is not None
    assert verdict.died is died


def test_a_pod_that_was_last_seen_with_all_containers_ended_is_gone_at_once() -> None:
    assert judge(process(), None, ended=True) is not None


def test_a_pod_that_vanished_while_it_ran_is_not_gone_by_that_alone() -> None:
    assert judge(process(), None, ended=False) is None
