"""How workers end: what they hold and have not started is somebody else's at once, and nothing is lost or run twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.agent.environments import NEWEST, OLDEST
from tests.agent.ledger import ENDED
from tests.agent.rig import Rig
from tests.agent.shapes import TODAY, beside_plain, full, param, plain
from tests.agent.worker import Spec, Worker

pytestmark = pytest.mark.agent

GREEN = ("gevent", "eventlet")
LONG_SECONDS = 8.0
SOON_SECONDS = 4.0


def endings(*quick: tuple[str, str, bool], pools: tuple[str, ...], **options: Any) -> list[Any]:
    """Parameters: versions x `pools` x acknowledgements; `quick` names those of the quick form."""
    versions = (OLDEST, TODAY, NEWEST)
    every = [(version, pool, late) for version in versions for pool in pools for late in (False, True)]
    return [param(Spec(*each, **options), quick=each in quick) for each in every]


def starts(rig: Rig, *tasks: str) -> dict[str, list[tuple[str, float]]]:
    """Of each task where and when (CLOCK_MONOTONIC) it started."""
    lines = [line for line in rig.ledger.lines() if line.event == "started"]
    return {task: [(line.pod, line.at) for line in lines if line.task == task] for task in tasks}


def beside_an_idle_neighbour(rig: Rig, spec: Spec) -> tuple[Worker, Worker, float]:
    """A worker that runs one long task and holds ETA tasks, beside one that holds nothing; when they are due."""
    busy, idle = rig.start(spec, spec)
    rig.drain(idle)
    soon = ["eta-0", "eta-1", "eta-2"]
    rig.send(*soon, countdown=SOON_SECONDS)
    due = time.monotonic() + SOON_SECONDS
    busy.wait_for(lambda report: report["scheduled"] == len(soon), "it holds the ETA tasks")
    rig.send("long", args=[LONG_SECONDS])
    rig.running("long")
    return busy, idle, due


@pytest.mark.parametrize(
    "spec",
    endings(
        (NEWEST, "prefork", False),
        pools=("prefork", "threads", "gevent", "eventlet"),
        slots=1,
        prefetch=4,
    ),
)
def test_a_worker_that_ends_leaves_what_it_has_not_started_to_its_neighbour_at_once(rig: Rig, spec: Spec) -> None:
    ends_beside_an_idle_neighbour(rig, spec, lambda busy: busy.signal(signal.SIGTERM))


@full
@pytest.mark.parametrize("version", [OLDEST, TODAY, NEWEST])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_so_does_one_that_remote_control_ends(rig: Rig, version: str, pool: str) -> None:
    def tell(busy: Worker) -> None:
        rig.sender.control.shutdown(destination=[f"celery@{busy.pod}"])

    ends_beside_an_idle_neighbour(rig, Spec(version, pool, slots=1, prefetch=4), tell)


def ends_beside_an_idle_neighbour(rig: Rig, spec: Spec, tell: Callable[[Worker], None]) -> None:
    """Tell the busy one to end; the idle one has all that is not running at once, and ETA tasks in time."""
    busy, idle, due = beside_an_idle_neighbour(rig, spec)
    rig.send("waits-0", "waits-1")
    # A green pool's loop takes one, and waits with it for a slot.
    rig.wait_for(lambda: ("waits-0" if spec.pool in GREEN else "waits-1") in rig.held(busy), "it has reserved them")
    rig.undrain(idle)
    tell(busy)
    late = [f"late-{number}" for number in range(4)]
    for task in late:  # the first may be the reply of the fetch that is pending
        rig.send(task)
        time.sleep(0.05)
    short = {"waits-0", "waits-1", *late, "eta-0", "eta-1", "eta-2"}
    rig.wait_for(lambda: short <= set(rig.ledger.ended()), "all but the long one ended")
    found = starts(rig, "waits-0", "waits-1", *late)
    assert {pod for each in found.values() for pod, _ in each} == {idle.pod}
    assert busy.gone() == 0
    rig.settle()
    [end] = [line.at for line in rig.ledger.lines() if (line.task, line.event) == ("long", ENDED)]
    etas = starts(rig, "eta-0", "eta-1", "eta-2")
    assert all(due - 0.5 < at < end for each in etas.values() for _, at in each), (etas, due, end)
    assert all(at < end for each in found.values() for _, at in each), (found, end)
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", endings((NEWEST, "solo", False), pools=("solo",), prefetch=4))
def test_a_solo_worker_that_ends_does_so_when_its_task_has_ended(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("eta-0", "eta-1", countdown=1.5)
    worker.wait_for(lambda report: report["scheduled"] == 2, "it holds the ETA tasks")
    rig.send("long", args=[2.5])
    rig.running("long")
    rig.send("waits-0", "waits-1")
    worker.signal(signal.SIGTERM)
    assert worker.gone() == 0
    assert rig.ledger.started() == ["long"]
    assert sorted(rig.queue()) == ["eta-0", "eta-1", "waits-0", "waits-1"]
    rig.start(spec)
    rig.settle()
    assert rig.account().problems == {}


@full
@pytest.mark.parametrize("spec", endings(pools=("prefork",)))
def test_what_a_child_was_handed_and_has_not_begun_when_the_worker_ends_runs_once(rig: Rig, spec: Spec) -> None:
    """From Celery 5.6 on a worker that ends forgets such a task and puts it back, and the child runs it too."""
    [worker] = rig.start(spec)
    with worker.frozen_children():
        rig.send("slow-0", "slow-1", args=[0.1])
        worker.wait_for(lambda report: report["reserved"] == 2, "they are handed over")
        worker.signal(signal.SIGTERM)
        # Celery forgets what it has reserved right before the pool forgets what no child has accepted.
        worker.wait_for(lambda report: report["state"] == "stopping" and report["reserved"] == 0, "it waits for them")
    assert worker.gone() == 0
    assert rig.queue() == []
    assert sorted(rig.ledger.ended()) == ["slow-0", "slow-1"]
    assert rig.account().problems == {}


SOFT = {"worker_soft_shutdown_timeout": 2.0}


@full
@pytest.mark.parametrize("how", ["marked", "agent", "plain"])
@pytest.mark.parametrize(
    "spec",
    [
        param(Spec(version, "prefork", late, prefetch=4, config=SOFT), quick=False)
        for version in (TODAY, NEWEST)
        for late in (False, True)
    ],
)
def test_a_soft_shutdown_lets_short_tasks_end_and_loses_no_more_than_celery_alone(
    rig: Rig, spec: Spec, how: str
) -> None:
    [worker] = rig.start(plain(spec) if how == "plain" else spec)
    rig.send("short", args=[1])
    rig.send("long", args=[30])
    rig.running("long", "short")
    rig.send("later", countdown=3600)
    rig.send("c", "d")
    rig.wait_for(lambda: not rig.queue(), "the worker has taken them")
    if how == "marked":
        rig.mark(worker)
    worker.signal(signal.SIGQUIT)
    worker.gone(20)
    lines = [(line.task, line.event) for line in rig.ledger.lines()]
    assert lines.count(("short", "started")) == lines.count(("short", "ended")) == 1
    assert ("long", "ended") not in lines
    # An early one is lost, as Celery has it: that is what a cold shutdown does.
    assert sorted(rig.queue()) == ["c", "d", "later", *(["long"] if spec.acks_late else [])]
    assert not list(rig.client.scan_iter("shop:unacked*"))


@beside_plain
@pytest.mark.parametrize(
    "spec",
    [
        param(
            Spec(version, "prefork", late, prefetch=4, config=SOFT | {"worker_enable_soft_shutdown_on_idle": True}),
            quick=False,
        )
        for version in (TODAY, NEWEST)
        for late in (False, True)
    ],
)
def test_a_soft_shutdown_of_an_idle_worker_gives_back_its_eta_tasks(rig: Rig, spec: Spec, agent: bool) -> None:
    [worker] = rig.start(spec if agent else plain(spec))
    rig.send("eta-0", "eta-1", countdown=1)
    rig.send("later", countdown=3600)
    rig.wait_for(lambda: not rig.queue(), "the worker has taken them")
    begun = time.monotonic()
    worker.signal(signal.SIGQUIT)
    assert worker.gone(20) == 0
    assert time.monotonic() - begun > SOFT["worker_soft_shutdown_timeout"]
    assert rig.ledger.started() == []
    assert sorted(rig.queue()) == ["eta-0", "eta-1", "later"]


@full
@beside_plain
@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
@pytest.mark.parametrize("version", [TODAY, NEWEST])
def test_a_worker_that_waits_for_its_task_ends_by_a_second_signal_as_celery_alone(
    rig: Rig, version: str, late: bool, agent: bool
) -> None:
    [worker] = rig.start(Spec(version, "prefork", late, prefetch=4, agent=agent))
    rig.send("long", args=[30])
    rig.running("long")
    rig.send("later", countdown=3600)
    rig.wait_for(lambda: not rig.queue(), "the worker has taken them")
    worker.signal(signal.SIGTERM)
    if agent:
        rig.wait_for(lambda: rig.queue() == ["later"], "it gives back and waits", 5)
    else:
        worker.eventually(lambda: "Warm shutdown" in worker.log_file.read_text(), "it waits", 5)
        time.sleep(1)  # Celery says nothing once its loop has ended
    worker.signal(signal.SIGQUIT)
    assert worker.gone(10) == 0
    assert rig.ledger.started() == ["long"]
    assert sorted(rig.queue()) == (["later", "long"] if late else ["later"])
