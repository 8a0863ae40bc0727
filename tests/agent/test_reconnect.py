"""A connection is lost at the worst of moments: the worker lives, and nothing is put back that is not its own."""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from celeriac_agent.hooks import DRAIN
from celeriac_agent.prefork import HANDED_SECONDS

from tests.agent.environments import OLDEST, VERSIONS
from tests.agent.flow import Flow
from tests.agent.rig import Rig
from tests.agent.shapes import beside_plain, once, param, workers
from tests.agent.worker import POOLS, Spec
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.agent


@pytest.mark.parametrize(
    ("rounds", "weight"),
    [(5, 0), *(pytest.param(*case, marks=pytest.mark.full) for case in ((20, 0), (12, 400_000)))],
)
@pytest.mark.parametrize(
    "spec",
    [
        param(Spec(version, pool, slots=4), quick=(version, pool) == (OLDEST, "prefork"))
        for version in VERSIONS
        for pool in POOLS
    ],
)
def test_a_connection_lost_just_after_a_task_was_handed_over(rig: Rig, spec: Spec, rounds: int, weight: int) -> None:
    [worker], sent = rig.start(spec), list[str]()
    for number in range(rounds):
        handed = [f"handed-{number}-{one}" for one in range(spec.slots)]
        sent += handed
        rig.send(*handed, args=[0.2, "x" * weight])
        time.sleep(random.uniform(0.001, 0.008))
        rig.cut()
        # What kombu had taken off the list and not yet written down is nobody's; this one comes after.
        rig.send(f"after-{number}")
        worker.eventually(partial(_has_ended, rig, f"after-{number}"), "it works on", 30)
    problems = rig.account().problems
    lost = problems.pop("lost", ())
    assert len(lost) <= rounds
    assert {task.removesuffix("/0") for task in lost} <= set(sent)
    assert problems == {}


@pytest.mark.full
@pytest.mark.parametrize(
    "spec",
    [
        param(Spec(version, "prefork", late), quick=False)
        for version in VERSIONS
        for late in ((False, True) if version >= "5.6" else (False,))
    ],
)
def test_a_connection_lost_while_a_child_has_no_time_to_begin_what_it_was_handed(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    with worker.frozen_children():
        rig.send("handed-0", "handed-1", args=[0.1])
        worker.wait_for(lambda report: report["reserved"] == 2, "they are handed over")
        rig.cut()
        time.sleep(2 * HANDED_SECONDS)
    rig.send("after")
    worker.eventually(partial(_has_ended, rig, "after"), "it works on", 30)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.full
@pytest.mark.timeout(240)
@pytest.mark.parametrize("spec", workers(slots=4))
def test_connections_that_are_cut_again_and_again_under_a_flow_of_short_tasks(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    cuts, until = 0, time.monotonic() + 40
    with Flow(rig, 15, (0.0, 0.05, 0.2, 0.6)) as flow:
        while time.monotonic() < until:
            time.sleep(random.uniform(0.3, 2.5))  # some within mingle, which takes a second
            rig.cut()
            cuts += 1
            assert worker.alive, worker.explain()
    rig.send("after")
    worker.eventually(partial(_has_ended, rig, "after"), "it works on", 40)
    rig.wait_for(lambda: len(rig.ledger.ended()) >= flow.sent + 1 - cuts, "the rest is done")
    late = spec.acks_late or spec.pool == "solo"
    problems = rig.account().problems
    assert len(problems.pop("lost", ())) <= cuts  # what Redis had sent when the connection went
    twice = problems.pop("twice", ())
    assert len(twice) <= (cuts * spec.slots if late and (spec.version < "5.6" or spec.pool == "solo") else 0), twice
    assert problems == {}


def _has_ended(rig: Rig, task: str) -> bool:
    return task in rig.ledger.ended()


@pytest.mark.parametrize("spec", once(quick=["-", "threads"], pools=["prefork", "threads", "gevent"]))
@beside_plain
def test_what_a_task_consumes_by_itself_is_not_put_back(rig: Rig, spec: Spec, agent: bool) -> None:
    [worker] = rig.start(replace(spec, agent=agent))
    with rig.sender.connection_for_write() as connection, connection.SimpleQueue("mailbox") as mailbox:
        mailbox.put("letter")
    rig.send("reader", name="ledger_app.read_a_mailbox", args=["mailbox", 5])
    rig.running("reader")
    rig.wait_for(lambda: not rig.client.exists("shop:mailbox"), "it has taken the letter")
    fetching = _fetching(rig)
    for connection in fetching:  # the worker's, and not the task's
        rig.client.client_kill_filter(_id=connection)
    rig.wait_for(lambda: _fetching(rig) - fetching, "the worker is back")
    rig.send("after")
    rig.settle()
    assert not rig.client.exists("shop:mailbox")
    assert worker.alive
    # Without the agent, gevent before Celery 5.7 runs again what runs while its connection is lost.
    usual = {"twice", "left"} if not agent and spec.pool == "gevent" and spec.version < "5.7" else set()
    assert set(rig.account(allowed=["_kombu.binding.mailbox"]).problems) <= usual


@pytest.mark.parametrize("spec", workers(quick=["prefork"], slots=1))
@pytest.mark.parametrize("marked", [True, pytest.param(False, marks=pytest.mark.full)], ids=["marked", "full"])
def test_an_idle_connection_that_is_closed_disturbs_nothing(rig: Rig, spec: Spec, marked: bool) -> None:
    _is_not_disturbed(rig, spec, marked)


@pytest.mark.full
@pytest.mark.parametrize("spec", once(slots=1, acks_late=True))
@pytest.mark.parametrize("kind", ["tls", "unix socket"])
def test_an_idle_connection_of_another_kind(spec: Spec, kind: str, tmp_path: Path) -> None:
    with RedisServer(tls=kind == "tls", unix_socket=kind != "tls") as server:
        broker = (
            f"{server.celery_url}?ssl_cert_reqs=required&ssl_ca_certs={quote(str(server.tls.ca))}"
            if server.tls
            else None
        )
        with Rig(server, tmp_path, broker=broker) as rig:
            _is_not_disturbed(rig, spec, marked=True)


def _is_not_disturbed(rig: Rig, spec: Spec, marked: bool) -> None:
    [worker] = rig.start(spec)
    rig.send("long", args=[6])
    rig.running("long")
    token = rig.mark(worker) if marked else ""
    if spec.pool == "solo":
        time.sleep(2)  # its loop stands still: what it asked for before the task is answered by then
    else:
        worker.wait_for(lambda report: report["token"] == (token or None), "it has seen the mark")
    rig.wait_for(lambda: not _fetching(rig), "it fetches nothing")
    rig.cut("normal")
    before = _cpu_seconds(worker.pid)
    time.sleep(2)
    assert _cpu_seconds(worker.pid) - before < 1, "its loop spins"
    assert rig.ledger.running() == ["long"]
    rig.send("next")
    if marked:
        rig.drained(worker, token)
        assert rig.queue() == ["next"]
        rig.undrain(worker)
    rig.settle()
    assert rig.account().problems == {}
    assert worker.log_file.read_text().count("] Connected to") == 1


def _fetching(rig: Rig) -> set[str]:
    """The connections that wait for a message."""
    return {one["id"] for one in rig.client.client_list() if one["cmd"] == "brpop" and "b" in one["flags"]}


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.full
@pytest.mark.parametrize(
    ("hook", "spec"),
    [
        pytest.param(hook, one.values[0], id=f"{hook}-{one.id}")
        for hook in (
            "refusals",
            "restore-once",
            "keep-running",
            "children",
            "idle-connection",
            "pending-operations",
            "qos",
        )
        for one in once(slots=2, variables={"CELERIAC_AGENT_WITHOUT": hook})
    ],
)
def test_without_one_hook_of_a_reconnect_a_worker_lives_through_it_and_says_so(rig: Rig, hook: str, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("long", args=[3])
    rig.running("long")
    for number in range(3):
        rig.send(f"handed-{number}", args=[0.1])
        rig.cut()
        rig.send(f"after-{number}")
        worker.eventually(partial(_has_ended, rig, f"after-{number}"), "it works on", 30)
    rig.wait_for(lambda: "long" in rig.ledger.ended(), "what ran has ended")
    report = worker.wait_for(lambda report: report["active"] == 0, "nothing runs", 30)
    assert hook in report["missing"]
    hears = hook != "children" or spec.pool != "prefork" or spec.version >= "5.6"
    assert ("drain" in report["capabilities"]) == (hook not in DRAIN and hears)
    assert set(rig.account().problems) <= {"lost", "twice"}  # as in plain Celery
