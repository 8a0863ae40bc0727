"""Redis goes away, comes back with or without its data, hangs, or cuts connections: workers go on, nothing is wrong."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.ledger import ENDED
from tests.agent.rig import Rig
from tests.agent.shapes import workers
from tests.agent.worker import Spec
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.agent


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Rig]:
    """A pool on a Redis of its own that keeps what it acknowledges."""
    with RedisServer(config=["appendonly yes", "appendfsync always"]) as server, Rig(server, tmp_path) as rig:
        yield rig


@pytest.mark.parametrize("spec", workers(quick=["eventlet"], prefetch=2))
def test_a_cut_connection_neither_loses_nor_doubles_what_runs(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    tasks = [f"t{number:02}" for number in range(8)]
    rig.occupy(worker, tasks, seconds=4)
    worker.fresh()  # it has fetched what it may: what is on its way when a connection breaks is nobody's
    rig.client.client_kill_filter(_type="normal", skipme=True)
    worker.wait_for(lambda report: report["state"] == "consuming" and report["errors"] >= 0, "it is back")
    rig.settle(seconds=90)
    _settled_but_for_what_celery_repeats(rig, spec)


@pytest.mark.full
@pytest.mark.parametrize("spec", workers(prefetch=2))
def test_a_cut_connection_during_a_drain(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    tasks = [f"t{number:02}" for number in range(8)]
    running = rig.occupy(worker, tasks, seconds=4)
    token = rig.mark(worker)
    worker.wait_for(lambda report: report["token"] == token, "it has seen the mark")
    rig.client.client_kill_filter(_type="normal", skipme=True)
    rig.drained(worker, token, seconds=60)
    assert sorted(set(rig.ledger.started())) == running
    rig.undrain(worker)
    rig.settle(seconds=90)
    _settled_but_for_what_celery_repeats(rig, spec)


@pytest.mark.parametrize("spec", workers(quick=["gevent"], prefetch=2))
def test_a_redis_that_restarts_with_its_data(durable: Rig, spec: Spec) -> None:
    rig = durable
    [worker] = rig.start(spec)
    tasks = [f"t{number:02}" for number in range(8)]
    rig.occupy(worker, tasks, seconds=4)
    rig.server.restart()
    before = worker.fresh(seconds=60)
    worker.wait_for(lambda report: report["state"] == "consuming" and report["n"] > before["n"], "it is back", 60)
    rig.settle(seconds=120)
    _settled_but_for_what_celery_repeats(rig, spec)


@pytest.mark.full
@pytest.mark.parametrize("spec", workers(prefetch=2))
def test_a_redis_that_restarts_empty_takes_what_was_in_it_and_nothing_else(rig_of_its_own: Rig, spec: Spec) -> None:
    rig = rig_of_its_own
    [worker] = rig.start(spec)
    rig.send("running", args=[6])
    rig.send("gone", countdown=3600)
    rig.running("running")
    rig.server.restart(empty=True)
    worker.wait_for(lambda report: report["state"] == "consuming", "it is back", 60)
    assert worker.alive
    rig.wait_for(lambda: "running" in rig.ledger.ended(), "what ran ends")
    rig.ledger.sent.clear()
    rig.ledger.sent["running"] = 1
    rig.send("after")
    rig.settle()
    assert [entry["podUid"] for entry in rig.processes().values()] == [worker.uid]


@pytest.mark.full
@pytest.mark.timeout(240)
@pytest.mark.parametrize("spec", workers(prefetch=2))
def test_a_redis_that_hangs_for_half_a_minute(rig_of_its_own: Rig, spec: Spec) -> None:
    rig = rig_of_its_own
    [worker] = rig.start(spec)
    tasks = [f"t{number:02}" for number in range(8)]
    rig.occupy(worker, tasks, seconds=4)
    rig.server.freeze()
    time.sleep(30)
    rig.server.thaw()
    worker.wait_for(lambda report: report["state"] == "consuming", "it is back", 60)
    rig.settle(seconds=120)
    _settled_but_for_what_celery_repeats(rig, spec)


@pytest.fixture
def rig_of_its_own(tmp_path: Path) -> Iterator[Rig]:
    """A pool on a Redis of its own that forgets when it is told to."""
    with RedisServer() as server, Rig(server, tmp_path) as rig:
        yield rig


def _settled_but_for_what_celery_repeats(rig: Rig, spec: Spec) -> None:
    """Nothing is lost; only where Celery repeats what ran when the connection went, as much may have run twice.

    A late acknowledgement that cannot be sent is a task that runs again. From 5.6 on the agent keeps running tasks over
    a reconnect. Before, and on solo, whose task blocks the loop, it is as Celery does it: one task for each slot, and
    on green pools the one that waited for a slot when the connection went.
    """
    late = spec.acks_late or spec.pool == "solo"
    repeats = late and (spec.version < "5.6" or spec.pool == "solo")
    problems = dict(rig.account().problems)
    twice = problems.pop("twice", ())
    assert problems == {}
    assert len(twice) <= (spec.slots_in_truth + 1 if repeats else 0), twice
    assert {line.task for line in rig.ledger.lines() if line.event == ENDED} == set(rig.ledger.sent)
