"""How tasks end is counted in Redis by their names, in every pool, once each, and nothing else of them is."""

import time
from collections.abc import Mapping

import pytest
from celeriac_agent.tally import BOUNDS, LIVES_SECONDS, MOST_NAMES, WRITE, Batch

from tests.agent.rig import Rig
from tests.agent.shapes import once, workers
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent

TOLD_SECONDS = 5.0
WORK, FAILS = "ledger_app.work", "ledger_app.fails"
STATES = ("succeeded", "failed", "retried", "revoked", "rejected")


def counts(rig: Rig) -> dict[str, dict[str, int]]:
    """By name and by what is counted."""
    found: dict[str, dict[str, int]] = {}
    for field, number in rig.client.hgetall(f"{rig.prefix}celeriac:{rig.pool_uid}:tasks").items():
        what, bar, name = str(field).partition("|")
        if bar and what != "known":
            found.setdefault(name, {})[what] = int(number)
    return found


def states(rig: Rig) -> dict[str, dict[str, int]]:
    """The same of the states alone."""
    named = {name: {state: some[state] for state in STATES if state in some} for name, some in counts(rig).items()}
    return {name: some for name, some in named.items() if some}


def await_states(rig: Rig, expected: Mapping[str, Mapping[str, int]], seconds: float = TOLD_SECONDS) -> None:
    try:
        rig.wait_for(lambda: states(rig) == expected, "all is counted", seconds)
    except AssertionError as error:
        raise AssertionError(f"{states(rig)} is not {expected}\n{error}") from None


@pytest.mark.parametrize("spec", workers(quick=["gevent"]))
def test_each_way_to_end_is_counted_once_by_the_tasks_name(rig: Rig, spec: Spec) -> None:
    rig.start(spec)
    rig.send("ok-1", "ok-2", args=[0.3])
    rig.send("bad", name=FAILS)
    rig.send("again", name="ledger_app.again", args=[2, 0.1], runs=3)
    rig.send("no", name="ledger_app.rejects", args=[False])
    rig.send("forget", name="ledger_app.ignores")
    rig.sender.control.revoke("not-now")
    rig.send("not-now", args=[0.0], runs=0)
    rig.send("late", args=[0.0], runs=0, expires=-5)
    rig.send("who", name="ledger_app.nobody_knows", runs=0)
    await_states(
        rig,
        {
            WORK: {"succeeded": 2, "revoked": 2},
            FAILS: {"failed": 1},
            "ledger_app.again": {"retried": 2, "succeeded": 1},
            "ledger_app.rejects": {"rejected": 1},
            "ledger_app.nobody_knows": {"failed": 1},
        },
        seconds=20,
    )
    of_work = counts(rig)[WORK]
    buckets = {what: number for what, number in of_work.items() if what.startswith("ran") and what != "ran"}
    assert sum(buckets.values()) == 2
    assert sum(number for what, number in buckets.items() if BOUNDS[int(what[3:])] in (0.5, 1.0)) == 2
    assert 600_000 <= of_work["ran"] < 2_000_000


@pytest.mark.parametrize("spec", once(quick=["solo"]))
def test_an_exception_is_counted_within_seconds_while_another_task_runs(rig: Rig, spec: Spec) -> None:
    rig.start(spec)
    rig.send("bad", name=FAILS)
    await_states(rig, {FAILS: {"failed": 1}})
    text = str(rig.client.hgetall(f"{rig.prefix}celeriac:{rig.pool_uid}:tasks"))
    assert "as intended" not in text
    assert "ValueError" not in text


@pytest.mark.parametrize("spec", once(quick=["prefork"]))
def test_counts_go_on_over_a_restart_a_warm_one_loses_none(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("first", args=[0.0])
    await_states(rig, {WORK: {"succeeded": 1}})
    rig.send("last", args=[1.0])
    rig.running("last")
    worker.terminate()
    assert states(rig) == {WORK: {"succeeded": 2}}, "the last one is written before the worker is gone"
    worker.start()
    worker.ready()
    rig.send("next", args=[0.0])
    await_states(rig, {WORK: {"succeeded": 3}})
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", once(quick=["prefork"], pools=["prefork"]))
def test_a_killed_child_and_a_time_limit_are_failures_and_a_terminated_task_is_revoked(rig: Rig, spec: Spec) -> None:
    rig.start(spec)
    rig.send("slow", name="ledger_app.too_long", runs=0)
    rig.send("dies", name="ledger_app.poison_by_config", runs=0)
    await_states(rig, {"ledger_app.too_long": {"failed": 1}, "ledger_app.poison_by_config": {"failed": 1}}, seconds=20)
    rig.send("ended-by-hand", args=[60], runs=0)
    rig.wait_for(lambda: "ended-by-hand" in rig.ledger.running(), "it runs")
    rig.sender.control.revoke("ended-by-hand", terminate=True)
    rig.wait_for(lambda: states(rig).get(WORK) == {"revoked": 1}, "it is revoked", 20)


@pytest.mark.full
@pytest.mark.parametrize(
    ("spec", "kinds"),
    [
        pytest.param(*each.values, ("exit", "cancelled", *more), id=each.id)
        for pool, more in (
            *(("threads", ("interrupt",)), ("prefork", ("interrupt",))),
            *(("gevent", ("timeout",)), ("eventlet", ("interrupt",))),
        )
        for each in once(pools=[pool])
    ],
)
def test_what_is_no_exception_is_a_failure_too(rig: Rig, spec: Spec, kinds: tuple[str, ...]) -> None:
    """But for solo, whose worker ends, and a GreenletExit, of which Celery says that the task succeeded."""
    rig.start(spec)
    for kind in kinds:
        rig.send(f"by-{kind}", name="ledger_app.escape", args=[kind])
    rig.send("handled", name="ledger_app.fail_and_exit")
    rig.wait_for(lambda: states(rig).get("ledger_app.escape") == {"failed": len(kinds)}, "each is counted", 20)
    rig.wait_for(lambda: states(rig).get("ledger_app.fail_and_exit") == {"failed": 1}, "the other", 10)


@pytest.mark.full
@pytest.mark.parametrize("spec", once())
def test_how_long_a_task_has_waited_is_known_where_its_message_tells(rig: Rig, spec: Spec) -> None:
    rig.start(spec)
    rig.send("silent", args=[0.0])
    rig.send("told", args=[0.0], timestamp=time.time() - 20)
    rig.send("by-header", args=[0.0], headers={"celeriac_published": time.time() - 20})
    rig.send("by-sentry", args=[0.0], headers={"sentry-task-enqueued-time": f"{time.time() - 20:.6f}"})
    rig.send("ahead", args=[0.0], timestamp=time.time() + 3000)
    rig.send("odd", args=[0.0], timestamp="yesterday", headers={"celeriac_published": [1]})
    rig.send("later", args=[0.0], countdown=1, timestamp=time.time() - 20)
    rig.send("again", name="ledger_app.again", args=[1, 0.1], runs=2)
    await_states(rig, {WORK: {"succeeded": 7}, "ledger_app.again": {"retried": 1, "succeeded": 1}}, seconds=15)
    waited = {what: n for what, n in counts(rig)[WORK].items() if what.startswith("waited") and what != "waited"}
    in_seconds = {BOUNDS[int(what[6:])]: n for what, n in waited.items()}
    assert sum(in_seconds.values()) == 5
    assert in_seconds[30.0] == 3
    of_retries = {what: n for what, n in counts(rig)["ledger_app.again"].items() if what.startswith("waited")}
    assert sum(n for what, n in of_retries.items() if what != "waited") == 1, "the worker has said when it sent that"


@pytest.mark.parametrize("spec", once(quick=["prefork"]))
def test_a_user_who_may_not_write_counts_works_on_says_so_and_loses_none(rig: Rig, spec: Spec) -> None:
    rig.client.execute_command("ACL", "SETUSER", "default", "-pexpire")  # type: ignore[no-untyped-call]
    try:
        [worker] = rig.start(spec)
        rig.send("a", "b", args=[0.0])
        rig.settle()
        said = worker.wait_for(lambda report: "task-key" in report["missing"], "it says so")
        assert set(said["capabilities"]) == {"inflight", "drain", "exact"}
        assert worker.log_file.read_text().count("could not write what it counts of tasks (Redis refuses it") == 1
        assert states(rig) == {}
    finally:
        rig.client.execute_command("ACL", "SETUSER", "default", "+@all")  # type: ignore[no-untyped-call]
    await_states(rig, {WORK: {"succeeded": 2}}, seconds=20)
    worker.wait_for(lambda report: "task-key" not in report["missing"], "all is well")
    assert rig.account().problems == {}


def write(rig: Rig, process: str, *batches: Batch) -> list[object]:
    """Add batches as a process does; what Redis answers."""
    keys = (f"{rig.prefix}celeriac:{rig.pool_uid}:{name}" for name in ("tasks", f"added:{process}"))
    hashed, added = keys
    return [rig.client.eval(WRITE, 2, hashed, added, *batch.arguments()) for batch in batches]


def test_ten_thousand_names_of_fifty_workers_stay_within_the_bound_and_none_is_lost(rig: Rig) -> None:
    for worker in range(50):
        changes = {f"app.task_{number}": {"failed": 1, "ran": 5} for number in range(worker * 200, worker * 200 + 200)}
        assert write(rig, f"orders-{worker}", Batch(1, changes)) == [1]
    found = counts(rig)
    named = {name: some for name, some in found.items() if "failed" in some}
    assert len(named) == MOST_NAMES + 1
    assert sum(some["failed"] for some in named.values()) == 10_000
    assert named[""] == {"failed": 10_000 - MOST_NAMES, "ran": 5 * (10_000 - MOST_NAMES)}
    assert 0 < rig.client.ttl(f"{rig.prefix}celeriac:{rig.pool_uid}:tasks") <= LIVES_SECONDS


def test_a_batch_that_is_sent_again_is_added_once(rig: Rig) -> None:
    batch, after = Batch(1, {"a": {"failed": 2}}), Batch(2, {"a": {"failed": 1}})
    assert write(rig, "orders-0", batch, batch, after) == [1, 0, 1]
    assert write(rig, "orders-1", batch) == [1]
    assert states(rig) == {"a": {"failed": 5}}


def test_what_somebody_else_has_written_there_is_written_over(rig: Rig) -> None:
    key = f"{rig.prefix}celeriac:{rig.pool_uid}:tasks"
    rig.client.hset(key, mapping={"failed|a": "many", "names": "some", "failed|b": "1e3"})
    write(rig, "orders-0", Batch(1, {"a": {"failed": 2}, "b": {"failed": 1}}))
    assert states(rig) == {"a": {"failed": 2}, "b": {"failed": 1001}}
