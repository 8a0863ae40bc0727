"""Redis answers and refuses to write: no message is lost, no worker ends, and all goes on once Redis writes again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celeriac_agent.refusals import ELSEWHERE

from tests.agent.environments import NEWEST, OLDEST
from tests.agent.refusals import CODES, Refusal
from tests.agent.rig import Rig
from tests.agent.shapes import full, param
from tests.agent.worker import Spec, Worker
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.agent

ANSWERS = 3  # refused so often, a worker has tried again


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A pool on a Redis of its own, as its configuration is changed."""
    with RedisServer() as server, Rig(server, tmp_path) as rig:
        yield rig


def _workers(*quick: tuple[str, str, bool]) -> list[Any]:
    shapes = [
        Spec(version, pool, late)
        for version in (OLDEST, "5.6", NEWEST)
        for pool in ("solo", "prefork", "threads", "gevent")
        for late in (False, True)
    ]
    return [param(spec, quick=(spec.version, spec.pool, spec.acks_late) in quick) for spec in shapes]


def _refusals(*quick: str, but: str = "") -> list[Any]:
    return [pytest.param(code, id=code, marks=() if code in quick else full) for code in CODES if code != but]


@pytest.mark.parametrize("code", _refusals("OOM"))
@pytest.mark.parametrize("spec", _workers((NEWEST, "prefork", False)))
def test_redis_refuses_to_write_while_tasks_end_and_others_wait(rig: Rig, spec: Spec, code: str) -> None:
    [worker] = rig.start(spec)
    tasks = [f"t{number}" for number in range(6)]
    running = rig.occupy(worker, tasks, seconds=1.5)
    refusal = Refusal(code, rig.server)
    with refusal.lasts():
        rig.wait_for(lambda: set(running) <= set(rig.ledger.ended()), "what ran ends")
        told = refusal.told
        worker.eventually(lambda: refusal.told >= told + ANSWERS, "it is refused again", 20)
    rig.settle()
    report = worker.wait_for(lambda report: report["state"] == "consuming" and not report["refusal"], "it works on", 20)
    if report["level"] == "drain":
        counted = f"{rig.prefix}celeriac:{rig.pool_uid}:tasks"
        rig.wait_for(lambda: rig.client.hget(counted, "succeeded|ledger_app.work") == "6", "each is counted")
    assert rig.account().problems == {}


@full
@pytest.mark.parametrize("code", [each for each in _refusals() if each.id not in ELSEWHERE])
@pytest.mark.parametrize(
    "spec",
    [param(Spec(version, pool), quick=False) for version in (OLDEST, "5.6", NEWEST) for pool in ("prefork", "threads")],
)
def test_so_it_is_at_the_level_inflight(rig: Rig, spec: Spec, code: str) -> None:
    """A replica is left by a lost connection, after which tasks run again at that level, as in plain Celery."""
    test_redis_refuses_to_write_while_tasks_end_and_others_wait(
        rig, replace(spec, variables={"CELERIAC_AGENT_LEVEL": "inflight"}), code
    )


@full
@pytest.mark.parametrize("code", _refusals())
@pytest.mark.parametrize("spec", _workers())
def test_a_message_is_on_its_way_when_redis_begins_to_refuse(rig: Rig, spec: Spec, code: str) -> None:
    [worker] = rig.start(spec)
    _stop_with_a_message_on_its_way(rig, worker)
    refusal = Refusal(code, rig.server)
    with refusal.lasts():
        _go_on_until_refused(worker, refusal)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.parametrize("code", _refusals("NOREPLICAS", but="OOM"))  # a full one takes it at once
@pytest.mark.parametrize("spec", _workers((NEWEST, "threads", True)))
def test_a_worker_with_a_message_in_hand_is_not_drained_before_redis_has_it(rig: Rig, spec: Spec, code: str) -> None:
    [worker] = rig.start(spec)
    _stop_with_a_message_on_its_way(rig, worker)
    token, refusal = rig.mark(worker), Refusal(code, rig.server)
    with refusal.lasts():
        _go_on_until_refused(worker, refusal)
    rig.drained(worker, token)
    # A busy Redis refuses to be read, too: the worker may have run it before it could know of the mark.
    ran = rig.ledger.ended() if code == "BUSY" else []
    assert [*rig.queue(), *ran] == ["caught"]
    rig.undrain(worker)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.parametrize("code", _refusals("MISCONF"))
@pytest.mark.parametrize("spec", _workers((OLDEST, "gevent", True)))
def test_a_worker_that_stops_with_a_message_in_hand_ends_when_redis_has_it(rig: Rig, spec: Spec, code: str) -> None:
    [worker] = rig.start(spec)
    _stop_with_a_message_on_its_way(rig, worker)
    refusal = Refusal(code, rig.server)
    with refusal.lasts():
        worker.signal(signal.SIGTERM)
        _go_on_until_refused(worker, refusal)
        assert worker.alive
    worker.gone()
    assert rig.queue() == ["caught"]
    rig.start(spec)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", _workers((OLDEST, "prefork", True)))
def test_workers_start_at_a_full_redis_and_empty_its_queue(rig: Rig, spec: Spec) -> None:
    tasks = [f"t{number:02}" for number in range(20)]
    rig.send(*tasks, args=[0.1])
    with Refusal("OOM", rig.server).lasts():
        [worker] = rig.start(spec)
        rig.settle()
        worker.wait_for(lambda report: report["refusal"] == "OOM", "it tells that Redis is full")
        assert rig.account().problems == {}


@pytest.mark.parametrize("spec", _workers((NEWEST, "prefork", True)))
def test_a_worker_is_drained_while_redis_is_full(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(replace(spec, prefetch=4))
    running = rig.occupy(worker, [f"t{number}" for number in range(8)], seconds=2)
    token = rig.mark(worker)
    with Refusal("OOM", rig.server).lasts():
        rig.drained(worker, token)
        assert sorted(rig.ledger.started()) == sorted(running)
    rig.undrain(worker)
    rig.settle()
    assert rig.account().problems == {}


@full
@pytest.mark.parametrize("code", _refusals())
@pytest.mark.parametrize("spec", _workers())
def test_tasks_that_expire_take_no_place_where_redis_refuses_their_results(
    tmp_path: Path, spec: Spec, code: str
) -> None:
    """More of them than a worker may reserve, of which some expire before they are fetched and some in its hands.

    Celery looks once where it hands tasks to threads: those that were reserved by then run.
    """
    with RedisServer() as server, Rig(server, tmp_path, config={"result_backend": server.celery_url}) as rig:
        [worker] = rig.start(replace(spec, prefetch=2))
        rig.occupy(worker, [f"t{number}" for number in range(spec.slots_in_truth)], seconds=2)
        with rig.producer() as producer:
            for number in range(6 * worker.spec.slots):
                options = {"task_id": f"late-{number}", "producer": producer, "expires": 0.5}
                rig.sender.send_task("ledger_app.work", args=[0.1], **options)
        refusal = Refusal(code, server)
        rig.send("after")
        with refusal.lasts():
            if code == "OOM":
                rig.settle()
            else:
                told = refusal.told
                worker.eventually(lambda: refusal.told >= told + ANSWERS, "it is refused", 20)
        rig.settle()
        rig.drain(worker)
        problems = rig.account().problems
        problems.pop("unsent", None)
        assert problems == {}


@full
@pytest.mark.parametrize("code", _refusals())
@pytest.mark.parametrize("spec", _workers())
@pytest.mark.parametrize("marked", [False, True], ids=["works", "drained"])
def test_a_worker_that_has_nothing_to_do_says_when_it_is_over(rig: Rig, spec: Spec, code: str, marked: bool) -> None:
    """An operator that believes it refused holds the pool."""
    [worker] = rig.start(spec)
    refusal = Refusal(code, rig.server)
    with refusal.lasts():
        told = refusal.told
        worker.eventually(lambda: refusal.told >= told + ANSWERS, "it is refused", 20)
        os.killpg(worker.pid, signal.SIGSTOP)
    if marked:
        rig.mark(worker)
    os.killpg(worker.pid, signal.SIGCONT)
    state = "drained" if marked else "consuming"
    worker.fresh(20)
    worker.wait_for(lambda report: report["state"] == state and not report["refusal"], "it works on", 20)


def _stop_with_a_message_on_its_way(rig: Rig, worker: Worker) -> None:
    """The worker stands still (SIGSTOP), and Redis has answered its fetch with the task `caught`."""
    rig.send("caught", queue="beside")
    worker.eventually(lambda: _is_stopped_while_it_fetches(rig, worker), "it is stopped while it fetches", 20)
    rig.client.lmove(f"{rig.prefix}beside", f"{rig.prefix}celery")
    assert rig.queue() == [], "Redis has not sent it"


def _go_on_until_refused(worker: Worker, refusal: Refusal) -> None:
    told = refusal.told
    os.killpg(worker.pid, signal.SIGCONT)
    worker.eventually(lambda: refusal.told >= told + ANSWERS, "it is refused", 20)


def _is_stopped_while_it_fetches(rig: Rig, worker: Worker) -> bool:
    """Whether the worker stands still (SIGSTOP) and Redis will answer its fetch with the next message."""
    os.killpg(worker.pid, signal.SIGSTOP)
    listed = rig.client.client_list()
    if any(one["cmd"] == "brpop" and "b" in one["flags"] and float(one["idle"]) == 0 for one in listed):
        return True
    os.killpg(worker.pid, signal.SIGCONT)
    return False
