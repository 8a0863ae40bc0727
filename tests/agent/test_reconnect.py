"""A connection is lost at the worst of moments: the worker lives, and nothing is put back that is not its own."""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.agent.environments import OLDEST, VERSIONS
from tests.agent.rig import Rig
from tests.agent.shapes import once, param, workers
from tests.agent.worker import POOLS, Spec

pytestmark = pytest.mark.agent

KINDS = ("normal", "pubsub")


def cut(rig: Rig, *kinds: str) -> None:
    """Close the connections of these kinds that anybody has, but for the rig's own."""
    for kind in kinds or KINDS:
        rig.client.client_kill_filter(_type=kind, skipme=True)


@pytest.mark.parametrize("rounds", [pytest.param(5), pytest.param(20, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "spec",
    [
        param(Spec(version, pool, slots=4), quick=(version, pool) == (OLDEST, "prefork"))
        for version in VERSIONS
        for pool in POOLS
    ],
)
def test_a_connection_lost_just_after_a_task_was_handed_over(rig: Rig, spec: Spec, rounds: int) -> None:
    [worker], sent = rig.start(spec), list[str]()
    for number in range(rounds):
        handed = [f"handed-{number}-{one}" for one in range(spec.slots)]
        sent += handed
        rig.send(*handed, args=[0.2])
        time.sleep(random.uniform(0.001, 0.008))
        cut(rig)
        # What kombu had taken off the list and not yet written down is nobody's; this one comes after.
        rig.send(f"after-{number}")
        worker.eventually(partial(_has_ended, rig, f"after-{number}"), "it works on", 30)
    problems = rig.account().problems
    lost = problems.pop("lost", ())
    assert len(lost) <= rounds
    assert {task.removesuffix("/0") for task in lost} <= set(sent)
    assert problems == {}


def _has_ended(rig: Rig, task: str) -> bool:
    return task in rig.ledger.ended()


@pytest.mark.parametrize("spec", once(quick=["prefork", "threads"], pools=["prefork", "threads", "gevent"]))
@pytest.mark.parametrize("agent", [True, False], ids=["agent", "plain"])
def test_what_a_task_consumes_by_itself_is_not_put_back(rig: Rig, spec: Spec, agent: bool) -> None:
    [worker] = rig.start(replace(spec, agent=agent))
    with rig.sender.connection_for_write() as connection, connection.SimpleQueue("mailbox") as mailbox:
        mailbox.put("letter")
    rig.send("reader", name="ledger_app.read_a_mailbox", args=["mailbox", 5])
    rig.running("reader")
    rig.wait_for(lambda: not rig.client.exists("shop:mailbox"), "it has taken the letter")
    connections = rig.client.client_list(_type="pubsub")
    cut(rig, "pubsub")  # the worker's loss, and not the task's
    rig.wait_for(
        lambda: {one["id"] for one in rig.client.client_list(_type="pubsub")} - {one["id"] for one in connections},
        "the worker is back",
    )
    rig.send("after")
    rig.settle()
    assert not rig.client.exists("shop:mailbox")
    assert worker.alive
    assert rig.account(allowed=["_kombu.binding.mailbox"]).problems == {}


@pytest.mark.parametrize("spec", workers(quick=["prefork"], slots=1))
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "full"])
def test_an_idle_connection_that_is_closed_disturbs_nothing(rig: Rig, spec: Spec, marked: bool) -> None:
    [worker] = rig.start(spec)
    rig.send("long", args=[6])
    rig.running("long")
    token = rig.mark(worker) if marked else ""
    if spec.pool == "solo":
        time.sleep(2)  # its loop stands still: what it asked for before the task is answered by then
    else:
        worker.wait_for(lambda report: report["token"] == (token or None), "it has seen the mark")
    rig.wait_for(lambda: not _fetching(rig), "it fetches nothing")
    cut(rig, "normal")
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


def _fetching(rig: Rig) -> bool:
    return any(one["cmd"] == "brpop" and "b" in one["flags"] for one in rig.client.client_list())


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
