"""What lies at the edges of the agent's knowledge: pending fetches, slow acknowledgements, neighbours."""

import json
import time
from typing import Any

import pytest

from tests.agent.rig import Rig
from tests.agent.shapes import once
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent


@pytest.mark.parametrize("spec", once(quick=["prefork"], pools=["prefork", "threads"], slots=1))
def test_what_arrives_when_a_long_task_begins_is_in_redis(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    # Short ones let the worker fetch ahead: a fetch is pending when the long one takes its slot.
    rig.send(*[f"short{number:02}" for number in range(30)])
    rig.settle()
    rig.send("long", args=[8])
    rig.running("long")
    # The worker decides to fetch no more some tenths of a second later, its last fetch expires after a second.
    until, waiting = time.monotonic() + 2, set[str]()
    while time.monotonic() < until:
        task = f"next{len(waiting):02}"
        waiting.add(task)
        rig.send(task)
        rig.wait_for(lambda: waiting <= {*rig.queue(), *rig.held(worker)}, "all that wait are in Redis", 5)
    assert rig.ledger.running() == ["long"]
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.full
@pytest.mark.parametrize("spec", once(pools=["gevent", "eventlet", "threads"]))
def test_a_drain_gives_nothing_back_while_it_is_being_acknowledged(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("slow", name="ledger_app.acknowledged_slowly")
    rig.wait_for(lambda: rig.ledger.ended() == ["slow"], "it ends")
    report = rig.drain(worker)
    assert report["givenBack"] == 0
    assert rig.queue() == []
    assert rig.account().problems == {}


@pytest.mark.full
@pytest.mark.parametrize("spec", once(pools=["threads", "gevent"]))
def test_a_drain_waits_for_what_a_strategy_of_the_application_runs(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("own", name="ledger_app.by_own_strategy", args=[4])
    rig.running("own")
    report = rig.drain(worker)
    assert rig.ledger.ended() == ["own"]
    assert report["givenBack"] == 0
    assert rig.queue() == []
    assert rig.account().problems == {}


@pytest.mark.full
@pytest.mark.parametrize("spec", once(acks_late=True))
def test_a_second_worker_in_a_pod_leaves_the_first_ones_work_alone(rig: Rig, spec: Spec) -> None:
    [first] = rig.start(spec)
    rig.send("long", args=[8])
    rig.running("long")
    [second] = rig.pods(spec)
    second.uid = first.uid
    second.start()
    rig.wait_for(lambda: len(rig.processes()) == 2, "both are in the registry")
    second.ready()
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", once(quick=["-", "gevent"]))
def test_an_entry_that_nobody_understands_keeps_no_worker_from_its_work(rig: Rig, spec: Spec) -> None:
    [worker] = rig.pods(spec)
    odd = {"podUid": worker.uid, "started": 0}
    rig.client.hset(f"{rig.prefix}celeriac:{rig.pool_uid}:processes", "orders-0.0dd", json.dumps(odd))
    worker.start()
    worker.ready()
    rig.send("work")
    rig.settle()
    report = worker.fresh()
    assert report["capabilities"] == ["inflight", "drain", "exact"]
    assert report["errors"] >= 1
    assert "orders-0.0dd" in rig.processes()
    assert rig.account(allowed=["celeriac:.*"]).problems == {}


@pytest.mark.parametrize("spec", once(quick=["prefork"]))
def test_a_message_that_nobody_understands_is_kept_apart_as_it_is_and_the_others_come_back(
    rig: Rig, spec: Spec
) -> None:
    [worker] = rig.pods(spec)
    rig.send("held")
    message = json.loads(str(rig.client.lpop(f"{rig.prefix}celery")))
    held: dict[Any, Any] = {"good": json.dumps([message, "", "celery"]), "odd": "\x80 is no message"}
    rig.client.hset(f"{rig.prefix}unacked.orders-0.01d", mapping=held)
    names = {"unacked": "unacked.orders-0.01d", "index": "unacked_index.orders-0.01d", "mutex": "mutex.orders-0.01d"}
    entry = {"podUid": worker.uid, "separator": "\x06\x16", "prioritySteps": [0, 3, 6, 9], "visibilityTimeout": 3600}
    registry = f"{rig.prefix}celeriac:{rig.pool_uid}:processes"
    rig.client.hset(registry, "orders-0.01d", json.dumps(entry | names))
    worker.start()
    worker.ready()
    rig.settle()
    assert rig.client.lrange(f"{rig.prefix}celeriac:dead:unroutable", 0, -1) == [held["odd"]]
    assert "orders-0.01d" not in rig.processes()
    report = worker.fresh()
    assert (report["restored"], report["dead"], report["capabilities"]) == (1, 1, ["inflight", "drain", "exact"])
    assert rig.account(allowed=["celeriac:dead:unroutable"]).problems == {}


@pytest.mark.parametrize("spec", once(quick=["-", "solo"]))
def test_a_worker_whose_redis_is_emptied_under_its_connection_is_known_again(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.client.flushdb()
    rig.wait_for(lambda: bool(rig.processes()), "it is in the registry again")
    rig.send("work")
    rig.settle()
    worker.fresh()


@pytest.mark.full
@pytest.mark.parametrize("spec", once())
def test_what_was_evicted_from_the_registry_is_there_again_at_the_next_beat(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    before, pools = rig.processes(), f"{rig.prefix}celeriac:pools"
    for name in (f"celeriac:{rig.pool_uid}:processes", "celeriac:pools"):
        rig.client.delete(f"{rig.prefix}{name}")
        rig.wait_for(lambda: rig.processes() == before and rig.client.hexists(pools, rig.pool_uid), "it is known again")
    assert worker.fresh()["errors"] == 0
    worker.terminate()
    assert rig.processes() == {}
