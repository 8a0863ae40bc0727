"""Deleted Pods that do not go away are found by what keeps them, and no sooner."""

from dataclasses import replace
from typing import Any

import pytest

from celeriac.cluster.records import PodRecord
from celeriac.workers.stuck import STUCK_SECONDS, Stuck, StuckWatch
from celeriac.workers.worker import Worker, Workers
from tests.unit.builders.workers import pod, report

pytestmark = pytest.mark.unit

GRACE = 600.0


def deleted(uid: str = "a", **fields: Any) -> PodRecord:
    return pod(uid, terminating=True, grace_seconds=GRACE, **fields)


def heard(record: PodRecord, *, fresh: bool, **fields: Any) -> Workers:
    return Workers((Worker(record, report(record.uid, **fields), fresh, 4),), {})


def test_a_pod_that_ends_its_tasks_within_its_grace_is_not_stuck() -> None:
    watch, busy = StuckWatch(), deleted()
    for now in range(int(GRACE)):
        assert watch.look([busy], heard(busy, fresh=True, active=1), float(now)) == ()


def test_a_pod_that_runs_beyond_its_grace_is_stuck_on_its_node() -> None:
    watch, busy = StuckWatch(), deleted()
    late = GRACE + STUCK_SECONDS
    assert watch.look([busy], heard(busy, fresh=True, active=1), 0.0) == ()
    assert watch.look([busy], heard(busy, fresh=True, active=1), late - 1) == ()
    found = watch.look([busy], heard(busy, fresh=True, active=1, reserved=2, scheduled=3), late)
    assert found == (Stuck("ml-a", late, "n1", (), 6),)


def test_a_pod_whose_worker_has_fallen_silent_is_stuck_and_one_of_a_broker_that_cannot_be_read_is_not() -> None:
    watch, silent = StuckWatch(), deleted()
    workers = heard(silent, fresh=False, active=1)
    assert watch.look([silent], heard(silent, fresh=True, active=1), 0.0) == ()
    assert watch.look([silent], workers, STUCK_SECONDS - 1) == ()
    assert [each.pod for each in watch.look([silent], workers, STUCK_SECONDS)] == ["ml-a"]
    assert watch.look([silent], None, STUCK_SECONDS + 1) == ()
    assert watch.look([silent], workers, 2 * STUCK_SECONDS) == ()


def test_a_pod_that_has_ended_is_stuck_by_its_finalizer_or_by_its_kubelet() -> None:
    watch = StuckWatch()
    ended = replace(deleted(running=False, all_terminated=True), finalizers=("example.com/keep",))
    other = deleted("b", running=False)
    assert watch.look([ended, other], None, 0.0) == ()
    found = watch.look([ended, other], None, STUCK_SECONDS)
    assert [(each.pod, each.finalizers, each.node) for each in found] == [
        ("ml-a", ("example.com/keep",), "n1"),
        ("ml-b", (), "n1"),
    ]
    assert watch.look([], None, STUCK_SECONDS + 1) == ()
    assert watch.look([ended], None, STUCK_SECONDS + 2) == (), "another of its name begins anew"
