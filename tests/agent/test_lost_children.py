"""A prefork child that runs a late task is killed, as the kernel does when memory is short, and the worker lives on."""

import os
import signal
from typing import Any

import pytest

from tests.agent.environments import NEWEST, OLDEST
from tests.agent.rig import Rig
from tests.agent.shapes import beside_plain
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent

REJECT = {"CELERIAC_REJECT_ON_WORKER_LOST": "1"}
QUICK = {(NEWEST, "drain"), (OLDEST, "inflight")}
TOLD = (OLDEST, "5.5", NEWEST)


def late(version: str, level: str = "drain", **variables: str) -> Spec:
    """Late tasks, one at a time, at a level of the agent."""
    return Spec(version, "prefork", True, slots=1, variables={"CELERIAC_AGENT_LEVEL": level, **variables})


def versions(*quick: str) -> list[Any]:
    return [pytest.param(each, marks=() if each in quick else pytest.mark.full) for each in TOLD]


def kill_child(rig: Rig, task: str, name: str = "ledger_app.work") -> None:
    """Let a task begin, and kill the child that runs it."""
    rig.send(task, args=[4], name=name)
    rig.running(task)
    os.kill(next(line.pid for line in rig.ledger.lines() if line.task == task), signal.SIGKILL)


@beside_plain
@pytest.mark.parametrize("version", versions(NEWEST))
def test_without_the_setting_celery_acknowledges_the_task_and_it_is_lost(rig: Rig, version: str, agent: bool) -> None:
    """What docs/guarantees.md says of Celery; if this fails, a Celery has mended it."""
    spec = late(version) if agent else Spec(version, "prefork", True, slots=1, agent=False)
    [worker] = rig.start(spec)
    kill_child(rig, "lost")
    rig.send("after")
    rig.wait_for(lambda: rig.ledger.ended() == ["after"], "the worker goes on")
    if agent:
        report = worker.wait_for(lambda report: report["unacked"] == 0, "nothing is held")
        assert report["rejectOnWorkerLost"] is False
        assert "ledger_app.work" in report["tasksLostWithChild"] or report["lostWithChild"] > 5
    account = rig.account()
    assert (account.lost, account.killed) == (("lost/0",), ("lost/0",)), "it is in no queue and at no worker"
    assert rig.queue() == []


@pytest.mark.parametrize(
    ("version", "level"),
    [
        pytest.param(version, level, marks=() if (version, level) in QUICK else pytest.mark.full)
        for version in TOLD
        for level in ("inflight", "drain")
    ],
)
def test_laid_over_by_the_agent_the_setting_brings_the_task_back(rig: Rig, version: str, level: str) -> None:
    [worker] = rig.start(late(version, level, **REJECT))
    kill_child(rig, "killed")
    rig.wait_for(lambda: rig.ledger.started() == ["killed"] * 2, "it starts again")
    report = worker.wait_for(lambda report: report["active"] == 1, "it runs")
    assert (report["lostWithChild"], report["tasksLostWithChild"]) == (0, [])
    rig.wait_for(lambda: rig.ledger.ended() == ["killed"], "it ends")


@pytest.mark.full
@pytest.mark.parametrize("version", versions())
def test_a_task_that_kills_its_child_again_and_again_becomes_a_dead_letter(rig: Rig, version: str) -> None:
    rig.start(Spec(**{**late(version, **REJECT).__dict__, "max_attempts": 2}))
    rig.send("poison", name="ledger_app.poison_by_config")
    rig.wait_for(lambda: [message["headers"]["id"] for message in rig.dead()] == ["poison"], "it is a dead letter")
    assert rig.ledger.started() == ["poison"] * 2


@pytest.mark.full
@pytest.mark.parametrize("version", versions())
def test_a_task_that_says_otherwise_keeps_that(rig: Rig, version: str) -> None:
    rig.start(late(version, **REJECT))
    kill_child(rig, "decided", "ledger_app.never_again")
    rig.send("after")
    rig.wait_for(lambda: rig.ledger.ended() == ["after"], "the worker goes on")
    assert rig.ledger.started() == ["decided", "after"]


def test_at_the_level_report_the_setting_is_not_touched(rig: Rig) -> None:
    [worker] = rig.start(late(NEWEST, "report", **REJECT))
    report = worker.wait_for(lambda report: report["state"] == "consuming", "it consumes")
    assert report["lostWithChild"] > 0
