"""Remote control and cold shutdowns: a worker that was changed while it ran drains, one that is ended loses none."""

import json
import os
import signal

import pytest

from tests.agent.environments import NEWEST, OLDEST
from tests.agent.flow import Flow
from tests.agent.rig import Rig
from tests.agent.shapes import TODAY, beside_plain, once, param, plain
from tests.agent.worker import Spec, Worker
from tests.cluster.process import children_of

pytestmark = pytest.mark.agent


@pytest.mark.parametrize(
    "spec",
    [
        *once(quick=["prefork"], pools=["prefork", "gevent", "eventlet", "threads"], acks_late=True, prefetch=4),
        *(param(Spec(TODAY, pool, True, prefetch=4), quick=False) for pool in ("prefork", "gevent", "threads")),
    ],
)
def test_a_worker_that_was_changed_by_remote_control_drains(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    control = rig.sender.control
    rig.send("long", "ended", args=[8])
    rig.running("ended", "long")
    [reply] = control.revoke("ended", terminate=True, reply=True, timeout=2, limit=1)
    [answer] = reply.values()
    ends_tasks = spec.pool in ("prefork", "eventlet") or (spec.pool == "gevent" and spec.version >= "5.5")
    assert ("ok" in answer) == ends_tasks
    if ends_tasks:
        rig.wait_for(lambda: rig.ledger.running() == ["long"], "it is ended")
        rig.ledger.sent["ended"] = 0
    if spec.pool != "threads":  # it cannot
        control.pool_grow(2, reply=True, timeout=2)
        worker.wait_for(lambda report: report["slots"] == 4, "it has grown")
        # Celery refuses as long as prefork's new children have not begun.
        rig.wait_for(lambda: '"ok"' in json.dumps(control.pool_shrink(1, reply=True, timeout=2)), "it shrinks")
        worker.wait_for(lambda report: report["slots"] == 3, "it has shrunk")
    control.add_consumer("extra", reply=True, timeout=2)
    rig.send("of-extra", queue="extra")
    rig.wait_for(lambda: "of-extra" in [*rig.ledger.started(), *rig.held(worker)], "it takes from the queue")
    control.cancel_consumer("extra", reply=True, timeout=2)
    rig.send("later", countdown=3600)
    worker.wait_for(lambda report: report["scheduled"] == 1, "it holds an ETA task")
    report = rig.drain(worker)
    assert (report["active"], report["reserved"], report["unacked"], report["errors"]) == (0, 0, 0, 0)
    assert set(rig.queue() + rig.queue("extra")) | set(rig.ledger.ended()) >= {"long", "of-extra", "later"}


@beside_plain
@pytest.mark.parametrize("spec", once(quick=["prefork"], pools=["prefork"], acks_late=True, prefetch=4))
def test_a_cold_shutdown_puts_back_what_was_not_acknowledged(rig: Rig, spec: Spec, agent: bool) -> None:
    [worker] = rig.start(spec if agent else plain(spec))
    rig.send("a", "b", args=[30])
    rig.running("a", "b")
    rig.send("later", countdown=3600)
    rig.send("c", "d")
    rig.wait_for(lambda: _held(rig) == 5, "it holds all")
    worker.signal(signal.SIGQUIT)
    worker.gone()
    # Before 5.5 Celery acknowledges what it ended by force, as of a child that was lost.
    ended = ["a", "b"] if spec.version >= "5.5" else []
    assert sorted(rig.queue()) == [*ended, "c", "d", "later"]


@pytest.mark.full
@beside_plain
@pytest.mark.parametrize(
    "spec",
    [
        param(
            Spec(
                *(version, pool, late, 1),
                arguments=("--autoscale", "4,1"),
                variables={"AUTOSCALE_KEEPALIVE": "1"},
            ),
            quick=False,
        )
        for version in (OLDEST, TODAY, NEWEST)
        for pool in ("prefork", "gevent")
        for late in (False, True)
    ],
)
def test_a_worker_that_scales_its_own_slots(rig: Rig, spec: Spec, agent: bool) -> None:
    [worker] = rig.start(spec if agent else plain(spec))
    tasks = [f"t{number:02}" for number in range(12)]
    rig.send(*tasks, args=[1])
    rig.busy(4)
    if agent:
        worker.wait_for(lambda report: (report["slots"], report["active"]) == (4, 4), "it says so")
        assert rig.drain(worker)["unacked"] == 0
        assert rig.queue() == tasks[len(rig.ledger.ended()) :]
        rig.undrain(worker)
    rig.settle()
    if agent and spec.pool == "prefork":  # before 5.6 gevent's autoscaler takes what runs for what it has
        worker.wait_for(lambda report: report["slots"] == 1, "it has shrunk", 20)
    rig.send("after")
    rig.settle()
    if agent or spec.pool == "prefork":  # before 5.5 plain gevent puts back what it has just ended
        assert rig.account().problems == {}


RESTARTS = {"worker_pool_restarts": True}


@pytest.mark.full
@beside_plain
@pytest.mark.parametrize(
    "spec",
    [
        param(Spec(version, "prefork", late, prefetch=4, config=RESTARTS), quick=False)
        for version in (OLDEST, TODAY, NEWEST)
        for late in (False, True)
    ],
)
def test_a_pool_that_is_restarted_under_flow_loses_nothing_and_drains(rig: Rig, spec: Spec, agent: bool) -> None:
    [worker] = rig.start(spec if agent else plain(spec))
    before = _children(worker)
    with Flow(rig, rate=20):
        for restart in range(3):
            [reply] = rig.sender.control.pool_restart(reply=True, timeout=3, limit=1)
            assert list(reply.values()) == [{"ok": "reload started"}]
            rig.send(f"after-{restart}")
            worker.eventually(lambda: f"after-{restart}" in rig.ledger.ended(), "the restarted pool works", 20)  # noqa: B023
    rig.settle()
    worker.eventually(lambda: len(_children(worker).keys() - before.keys()) == 2, "all children are new", 10)
    # A child that was just forked leaves the group of its parent a moment later.
    out_of_reach = "they are out of reach of a signal to the group"
    worker.eventually(lambda: all(group == pid for pid, group in _children(worker).items()), out_of_reach, 10)
    if agent:
        rig.send("long", args=[3])
        rig.send("later", countdown=3600)
        worker.wait_for(lambda report: (report["active"], report["scheduled"]) == (1, 1), "it holds both")
        report = rig.drain(worker)
        assert (report["slots"], report["active"], report["reserved"], report["unacked"]) == (2, 0, 0, 0)
        assert report["processed"] == len(rig.ledger.ended())
        assert report["errors"] == 0
        assert rig.queue() == ["later"]
        rig.client.delete("shop:celery")
        rig.ledger.sent["later"] = 0
    assert rig.account().problems == {}


def _children(worker: Worker) -> dict[int, int]:
    """The children of the container's first process, each with its process group."""
    return {pid: os.getpgid(pid) for pid in children_of(worker.pid)}


def _held(rig: Rig) -> int:
    """Messages in all hashes of unacknowledged ones."""
    return sum(rig.client.hlen(str(key)) for key in rig.client.scan_iter("shop:unacked*", _type="hash"))
