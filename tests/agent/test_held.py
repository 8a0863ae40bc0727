"""What a worker holds may be large, or gone from Redis: a drain takes little memory, and loses none."""

import pytest

from tests.agent.cost import resident_mib
from tests.agent.rig import Rig
from tests.agent.shapes import once
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent


@pytest.mark.parametrize("spec", once(quick=["threads"], pools=["prefork", "threads", "gevent"]))
def test_a_drain_of_large_messages_takes_little_memory(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    empty = resident_mib(worker)
    tasks = [f"large-{number:02}" for number in range(30)]
    rig.send(*tasks, countdown=3600, kwargs={"padding": "x" * 1_000_000})
    worker.wait_for(lambda report: report["scheduled"] == len(tasks), "it holds them", 30)
    full = resident_mib(worker)
    assert full - empty > 60
    token, peak = rig.mark(worker), 0.0

    def drained() -> bool:
        nonlocal peak
        peak = max(peak, resident_mib(worker))
        return bool(worker.fresh()["state"] == "drained")

    rig.wait_for(drained, f"drained by {token}")
    assert peak - full < 40
    assert rig.queue() == tasks


@pytest.mark.full
@pytest.mark.parametrize("spec", once(pools=["prefork", "threads", "gevent", "eventlet"]))
def test_what_waits_in_a_worker_survives_a_redis_that_is_emptied_and_a_drain(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("a", "b", "c", countdown=3600)
    worker.wait_for(lambda report: report["scheduled"] == 3, "it holds them")
    rig.client.flushdb()
    rig.wait_for(rig.processes, "it has registered again")
    rig.drain(worker)
    assert sorted(rig.queue()) == ["a", "b", "c"]
