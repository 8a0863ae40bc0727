"""Remote control and cold shutdowns: a worker that was changed while it ran drains, one that is ended loses none."""

import signal

import pytest

from tests.agent.rig import Rig
from tests.agent.shapes import full, once, plain
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent


@pytest.mark.parametrize(
    "spec", once(quick=["prefork"], pools=["prefork", "gevent", "threads"], acks_late=True, prefetch=4)
)
def test_a_worker_that_was_changed_by_remote_control_drains(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    control = rig.sender.control
    rig.send("long", "ended", args=[6])
    rig.running("ended", "long")
    if spec.pool == "prefork":  # the only one that can end a task in every version
        control.revoke("ended", terminate=True, reply=True, timeout=2)
        rig.ledger.sent["ended"] = 0
        control.pool_grow(2, reply=True, timeout=2)
        worker.wait_for(lambda report: report["slots"] == 4, "it has grown")
    control.add_consumer("extra", reply=True, timeout=2)
    rig.send("of-extra", queue="extra")
    rig.wait_for(lambda: "of-extra" in [*rig.ledger.started(), *rig.held(worker)], "it takes from the queue")
    control.cancel_consumer("extra", reply=True, timeout=2)
    rig.send("later", countdown=3600)
    worker.wait_for(lambda report: report["scheduled"] == 1, "it holds an ETA task")
    report = rig.drain(worker)
    assert (report["active"], report["reserved"], report["unacked"], report["errors"]) == (0, 0, 0, 0)
    assert set(rig.queue() + rig.queue("extra")) | set(rig.ledger.ended()) >= {"long", "of-extra", "later"}


@pytest.mark.parametrize("agent", [pytest.param(True, id="agent"), pytest.param(False, id="plain", marks=full)])
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


def _held(rig: Rig) -> int:
    """Messages in all hashes of unacknowledged ones."""
    return sum(rig.client.hlen(str(key)) for key in rig.client.scan_iter("shop:unacked*", _type="hash"))
