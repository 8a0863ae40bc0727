"""What the agent reports is what the ledger and Redis show, at every moment and in every pool."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests.agent.environments import NEWEST
from tests.agent.rig import Rig
from tests.agent.shapes import once, param, workers
from tests.agent.worker import Report, Spec, Worker
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.agent

SECRET = "only-the-broker-knows"
COMPARED = {
    "broker_transport_options": {"visibility_timeout": 1234, "sep": ":", "priority_steps": [0, 4]},
    "task_time_limit": 77,
}
POOL_CLASSES = {
    "solo": "celery.concurrency.solo:TaskPool",
    "prefork": "celery.concurrency.prefork:TaskPool",
    "threads": "celery.concurrency.thread:TaskPool",
    "gevent": "celery.concurrency.gevent:TaskPool",
    "eventlet": "celery.concurrency.eventlet:TaskPool",
}


@pytest.mark.parametrize("spec", workers(quick=["gevent"], prefetch=2))
def test_a_report_counts_what_runs_what_is_held_and_what_is_done(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    idle = worker.wait_for(lambda report: report["state"] == "consuming", "it consumes")
    assert _counts(idle) == (0, 0, 0, 0, 0)
    assert idle["slots"] == spec.slots_in_truth

    rig.send("tomorrow", countdown=3600)
    worker.wait_for(lambda report: _counts(report)[:3] == (0, 0, 1), "one is held for its ETA")
    tasks = [f"t{number}" for number in range(spec.slots_in_truth + 2)]
    # The loop of green pools sends an early acknowledgement up to 2 s late, and the next report tells of it.
    running = rig.occupy(worker, tasks, seconds=6 if spec.pool in ("gevent", "eventlet") else 3)
    # An early acknowledgement takes the message from Redis when the task starts; solo acknowledges at the end.
    held_while_it_runs = spec.slots_in_truth if spec.acks_late or spec.pool == "solo" else 0
    busy = worker.wait_for(
        lambda report: (
            report["active"] == spec.slots_in_truth
            and report["unacked"] == held_while_it_runs + report["reserved"] + report["scheduled"]
        ),
        "it runs as many as it has slots, and holds what Redis says",
    )
    assert busy["unacked"] == len(rig.held(worker))
    assert busy["busy"] > 0
    assert busy["processed"] == 0
    assert rig.ledger.running() == running

    rig.wait_for(lambda: len(rig.ledger.ended()) == len(tasks), "all but tomorrow's are done")
    done = worker.fresh()
    assert _counts(done)[:4] == (0, 0, 1, len(tasks))
    assert done["busy"] == pytest.approx(_seconds_in_tasks(rig), abs=0.15 * len(tasks))


@pytest.mark.full
@pytest.mark.parametrize("spec", once())
def test_a_busy_worker_reports_every_second(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("long", args=[6])
    rig.running("long")
    first = worker.fresh()
    then = worker.wait_for(lambda report: report["n"] >= first["n"] + 2, "two more", seconds=4)
    assert rig.ledger.running() == ["long"]
    assert then["active"] == 1
    assert 1 < then["busy"] - first["busy"] < 4


@pytest.mark.parametrize("spec", once(quick=["gevent"], config=COMPARED))
def test_a_report_says_what_the_operator_compares_and_never_a_password(spec: Spec, guarded: Rig) -> None:
    rig = guarded
    [worker] = rig.start(spec)
    report = worker.wait_for(lambda report: report["state"] == "consuming", "it consumes")
    layout = ("separator", "prioritySteps", "timeLimit")
    said = {name: report[name] for name in ("pod", "prefix", "queues", "acksLate", "visibilityTimeout", *layout)}
    assert said == {
        "separator": ":",
        "prioritySteps": [0, 4],
        "timeLimit": 77,
        "pod": worker.pod,
        "prefix": "shop:",
        "queues": ["celery"],
        "acksLate": False,
        "visibilityTimeout": 1234,
    }
    assert report["broker"] == f"redis://127.0.0.1:{rig.server.port}/0"
    assert report["celery"].startswith(spec.version)
    assert report["kombu"]
    assert report["python"]
    assert report["pool"] == POOL_CLASSES[spec.pool]
    assert report["prefetch"] == 0
    assert set(report["capabilities"]) == {"inflight", "drain", "exact"}
    assert set(report["missing"]) == (set() if spec.version >= "5.6" else {"keep-running"})
    assert report["init"] == Path("/proc/1/comm").read_text().strip()
    assert report["signals"] is _every_ancestor_takes_sigterm(worker.pid)
    assert SECRET not in json.dumps([report, rig.processes()]) + worker.log_file.read_text()


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with RedisServer(password=SECRET) as server, Rig(server, tmp_path_factory.mktemp("rig")) as rig:
        yield rig


@pytest.mark.parametrize(
    "spec", [param(Spec(NEWEST, pool, slots=1), quick=pool == "solo") for pool in ("solo", "threads", "gevent")]
)
def test_a_task_that_holds_the_interpreter_makes_the_report_old_and_never_idle(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("spin", name="ledger_app.hold_the_gil", args=[8])
    rig.running("spin")
    # A report that was on its way when the task began may still speak of before.
    begun = (worker.report() or {})["n"]
    oldest, seen = _watch(rig, worker)
    assert [report for report in seen if report["n"] > begun + 1 and report["active"] == 0] == []
    assert oldest > 3
    worker.wait_for(lambda report: report["processed"] == 1 and report["active"] == 0, "it is done")


@pytest.mark.full
@pytest.mark.parametrize("spec", once())
def test_a_consumer_that_remote_control_cancels_is_gone_from_the_report_until_it_is_back(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    control = rig.sender.control
    # A green pool listens a moment after the worker is ready.
    rig.wait_for(lambda: control.cancel_consumer("celery", reply=True, timeout=1), "it answers")
    worker.wait_for(lambda report: report["queues"] == [], "it consumes from nothing")
    control.add_consumer("celery")
    worker.wait_for(lambda report: report["queues"] == ["celery"], "it consumes again")
    rig.send("t")
    rig.settle()


@pytest.mark.full
@pytest.mark.parametrize("spec", once())
def test_what_waits_for_its_rate_limit_is_told_apart(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    assert worker.fresh()["limited"] == 0
    tasks = ["first", "second", "third"]  # before kombu 5.7 the bucket of an idle worker lets two pass
    rig.send(*tasks, name="ledger_app.limited")
    limited = worker.wait_for(lambda report: report["limited"] > 0, "one waits for its limit")
    assert limited["reserved"] >= limited["limited"]
    assert limited["delivered"] >= 2
    assert rig.drain(worker)["limited"] == 0
    ended = rig.ledger.ended()
    assert rig.queue() == [task for task in tasks if task not in ended] != []


def _watch(rig: Rig, worker: Worker) -> tuple[float, list[Report]]:
    """All reports for as long as something runs, and the greatest age in seconds that one of them reached."""
    seen: list[Report] = []
    changed, oldest = time.monotonic(), 0.0

    def until_done() -> bool:
        nonlocal changed, oldest
        report = worker.report()
        assert report is not None
        if not rig.ledger.running():
            return True
        if not seen or seen[-1]["n"] != report["n"]:
            seen.append(report)
            changed = time.monotonic()
        oldest = max(oldest, time.monotonic() - changed)
        return False

    rig.wait_for(until_done, "it is done")
    return oldest, seen


def _every_ancestor_takes_sigterm(pid: int) -> bool:
    """As the kernel tells it: bit 14 of the caught and the blocked signals (proc(5)), up to the first process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    parent = int(status["PPid"])
    if parent == 0:
        return True
    above = dict(line.split(":", 1) for line in Path(f"/proc/{parent}/status").read_text().splitlines() if ":" in line)
    takes = bool((int(above["SigCgt"], 16) | int(above["SigBlk"], 16)) & 1 << (signal.SIGTERM - 1))
    return takes and _every_ancestor_takes_sigterm(parent)


def _counts(report: Report) -> tuple[int, int, int, int, float]:
    return report["active"], report["reserved"], report["scheduled"], report["processed"], report["busy"]


def _seconds_in_tasks(rig: Rig) -> float:
    return sum(line.at if line.event == "ended" else -line.at for line in rig.ledger.lines())
