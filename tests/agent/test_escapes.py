"""What ends a task is no Exception (sys.exit, a cancelled coroutine, a Timeout), or Celery says nothing of the end.

The pools of threads and greenlets then call nobody: in plain Celery the request counts as active for ever, and a late
message stays unacknowledged until the worker's end.
"""

import pytest

from tests.agent.rig import Rig
from tests.agent.shapes import beside_plain, once, plain, with_timeout, workers
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent

KINDS = {
    "threads": ("exit", "interrupt", "cancelled", "shutdown", "exit", "cancelled", "exit", "exit", "exit"),
    "gevent": ("exit", "cancelled", "timeout", "greenlet", "exit", "timeout", "exit", "exit", "exit"),
    "eventlet": ("exit", "cancelled", "greenlet", "interrupt", "exit", "cancelled", "exit", "exit", "exit"),
}
"""More than a worker with two slots fetches ahead, by Celery's limit too. WorkerShutdown ends one with greenlets."""
HANDLED = ["handler-0", "handler-1"]
"""Those whose handler of failures exits."""


def _escape(rig: Rig, spec: Spec, count: int) -> list[str]:
    """Send as many; returns those that are not acknowledged at the end, by what plain Celery does."""
    kinds = KINDS[spec.pool][:count]
    tasks = [f"escape-{number}" for number in range(count)]
    for task, kind in zip(tasks, kinds, strict=True):
        rig.send(task, name="ledger_app.escape", args=[kind])
    rig.send(*HANDLED, name="ledger_app.fail_and_exit")
    rig.settle(seconds=15)
    if not spec.acks_late:
        return []
    # A killed greenlet counts as one that was revoked: eventlet's always, gevent's from 5.5 on.
    killable = spec.pool == "eventlet" or (spec.pool == "gevent" and spec.version >= "5.5")
    left = [task for task, kind in zip(tasks, kinds, strict=True) if kind != "greenlet" or not killable]
    return sorted([*left, *HANDLED])


@pytest.mark.parametrize("spec", workers(quick=["gevent"], pools=KINDS))
def test_a_worker_works_on_and_drains_after_more_escapes_than_it_has_slots(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    left = _escape(rig, spec, count=9)
    rig.send(*[f"next-{number}" for number in range(4)])
    rig.settle(seconds=15)
    # Before 5.7 a green pool sends acknowledgements when its loop turns.
    worker.wait_for(
        lambda report: (report["active"], report["reserved"], report["unacked"]) == (0, 0, len(left)), "only those left"
    )
    assert rig.drain(worker)["errors"] == 0
    assert sorted(rig.queue()) == left
    assert all(message["headers"]["redelivered"] for message in rig.messages())


@pytest.mark.full
@beside_plain
@pytest.mark.parametrize("spec", workers(pools=KINDS))
def test_what_escaped_is_back_at_the_end_of_its_worker_as_in_plain_celery(rig: Rig, spec: Spec, agent: bool) -> None:
    [worker] = rig.start(spec if agent else plain(spec))
    left = _escape(rig, spec, count=4)
    worker.terminate()
    assert sorted(rig.queue()) == left


@pytest.mark.parametrize(
    "spec", once(quick=["threads"], pools=KINDS, acks_late=True, config=with_timeout(3), slots=1, prefetch=1)
)
def test_what_escaped_keeps_no_slot_and_runs_again_after_the_visibility_timeout(rig: Rig, spec: Spec) -> None:
    rig.start(spec)
    rig.send("escape", name="ledger_app.escape", args=["exit"], runs=2)
    rig.send("next")
    rig.settle(seconds=15)


@pytest.mark.full
@pytest.mark.parametrize(
    "spec",
    once(pools=["gevent", "prefork"], acks_late=True, config={"task_acks_on_failure_or_timeout": False}),
)
def test_what_a_time_limit_leaves_unanswered_is_back_after_a_drain(rig: Rig, spec: Spec) -> None:
    """Only gevent before 5.7 leaves it so; from 5.6 on prefork puts it back at once, and runs it again and again."""
    [worker] = rig.start(spec)
    rig.send("limit", name="ledger_app.too_long")
    rig.send("fails", name="ledger_app.fails")
    rig.send("reject", name="ledger_app.rejects", args=[False])
    rig.send("ignore", name="ledger_app.ignores")
    rig.send("handler", name="ledger_app.bad_handler")
    rig.wait_for(lambda: len(set(rig.ledger.ended()) - {"limit"}) == 4, "the others end")
    rig.wait_for(lambda: "limit" not in rig.ledger.running() or spec.pool == "prefork", "it was ended")
    if spec.pool == "prefork":  # its child is killed, and writes no end
        worker.wait_for(lambda report: report["processed"] >= 5, "it was ended")
    rig.drain(worker)
    assert rig.queue() == ([] if spec.pool == "prefork" and spec.version < "5.6" else ["limit"])
