"""What each level of the agent replaces of Celery and kombu, and what it gives: report, inflight, drain."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.agent.environments import NEWEST, OLDEST
from tests.agent.rig import Rig
from tests.agent.shapes import once, plain
from tests.agent.worker import Spec, Worker

pytestmark = pytest.mark.agent

PAGE = Path(__file__).parents[2] / "docs" / "levels.md"
TABLE = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
OPTIONS = {"visibility_timeout": 1234}


def at(spec: Spec, level: str) -> Spec:
    """The same worker with the agent at a level."""
    config = {"broker_transport_options": OPTIONS}
    return replace(spec, config=config, variables={**spec.variables, "CELERIAC_AGENT_LEVEL": level})


def functions_of(rig: Rig, workers: Mapping[str, Worker]) -> dict[str, Any]:
    """What each of the workers runs with: see app/replaced.py."""

    def answers() -> dict[str, Any]:
        found: dict[str, Any] = rig.sender.control.inspect(timeout=3, limit=len(workers))._request("replaced") or {}
        return found if len(found) == len(workers) else {}

    found = rig.wait_for(answers, "all of them answer")
    return {name: found[f"celery@{worker.pod}"] for name, worker in workers.items()}


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """The places at which two workers do not run the same function."""
    before, after = one["objects"], other["objects"]
    return {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}


def started(rig: Rig, process: str, number: int) -> None:
    """Wait until so many of the messages that a process holds are marked as started."""
    index = f"shop:unacked_index.{process}"
    rig.wait_for(lambda: rig.client.zcount(index, 1e12, "+inf") == number, "those that run are marked")


OF_KOMBU = {
    *("consumer.connect", "consumer.ensure_connected"),
    *("transport._deliver", "channel._do_restore_message", "channel._brpop_start", "qos.restore_unacked"),
    *("channel._brpop_read", "qos.append", "qos.ack", "qos.reject", "connection.create_transport"),
}
"""What the level inflight replaces.

Own keys for each connection, messages are stamped and go back by their stamp, a request has a time for its reply, and
what Redis refuses is tried again.
"""


@pytest.mark.parametrize("spec", once(("prefork",)))
def test_what_each_level_replaces(rig: Rig, spec: Spec) -> None:
    levels = ("report", "inflight", "drain")
    running = rig.start(plain(at(spec, "none")), *(at(spec, level) for level in levels))
    workers = dict(zip(("plain", *levels), running, strict=True))
    found = functions_of(rig, workers)
    assert found["plain"]["functions"] > 5000
    for level in ("report", "inflight", "drain"):
        both = found["plain"]["modules"].keys() & found[level]["modules"].keys()
        changed = {name for name in both if found["plain"]["modules"][name] != found[level]["modules"][name]}
        assert (changed, len(both) > 100) == (set(), True), f"{level} replaces nothing in a module or a class"
    assert differing(found["plain"], found["report"]) == set()
    assert differing(found["plain"], found["inflight"]) == OF_KOMBU
    assert differing(found["plain"], found["drain"]) > OF_KOMBU | {"worker._process_task", "pool.apply_async"}
    told = {name for line in TABLE for name in re.findall(r"`(\w+)`", line.split("|")[3])}
    replaced_by_drain = {re.sub(r".*\.|\[.*", "", place) for place in differing(found["plain"], found["drain"])}
    assert replaced_by_drain - told == set(), "docs/levels.md names what is replaced"
    assert found["report"]["options"] == found["plain"]["options"]
    assert found["report"]["options"]["visibility_timeout"] == 1234
    for level in ("inflight", "drain"):
        process = (workers[level].report() or {})["process"]
        assert found[level]["options"]["unacked_key"] == f"unacked.{process}"
        assert found[level]["options"]["visibility_timeout"] > 300_000_000
    assert {each["configured"]["visibility_timeout"] for each in found.values()} == {1234}
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", once(("threads",), prefetch=4))
def test_report_tells_what_runs_and_keeps_to_the_apps_own_keys(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(at(spec, "report"))
    slots, tasks = worker.spec.slots_in_truth, [f"t{number}" for number in range(12)]
    rig.send("later", countdown=3600)
    rig.send(*tasks, args=[0.5])
    busy = worker.wait_for(lambda report: report["active"] == slots and report["scheduled"], "all slots are busy")
    assert (busy["level"], busy["capabilities"], busy["missing"], busy["unacked"]) == ("report", [], [], None)
    assert busy["visibilityTimeout"] == 1234
    if spec.pool not in ("solo", "gevent", "eventlet"):
        assert busy["reserved"] > 0, "it reserves as Celery does"
    keys = {str(key) for key in rig.client.scan_iter("shop:unacked*")}
    assert keys == {"shop:unacked", "shop:unacked_index"}
    assert rig.processes() == {}
    rig.mark(worker)
    rig.wait_for(lambda: len(rig.ledger.ended()) == len(tasks), "it goes on whatever the mark")
    done = worker.wait_for(lambda report: report["processed"] == len(tasks), "all are counted")
    assert done["state"] == "consuming"
    assert done["busy"] == pytest.approx(0.5 * len(tasks), rel=0.35), "looked at now and then, it is about right"
    assert done["errors"] == 0
    worker.terminate()
    assert rig.client.hgetall(f"shop:celeriac:{rig.pool_uid}:reports") == {}
    assert "later" in rig.queue(), "Celery itself gives back what it holds"


@pytest.mark.parametrize("spec", once(("-", "prefork"), prefetch=4))
def test_inflight_brings_back_what_a_dead_worker_held_and_does_not_drain(rig: Rig, spec: Spec) -> None:
    spec = replace(at(spec, "inflight"), acks_late=True)
    [worker] = rig.start(spec)
    slots = worker.spec.slots_in_truth
    names = [f"t{number}" for number in range(slots + 2)]
    rig.send(*names, args=[1.5], runs=2)
    report = worker.wait_for(lambda report: report["active"] == slots, "all slots are busy")
    assert (report["level"], report["capabilities"], report["missing"]) == ("inflight", ["inflight"], [])
    rig.mark(worker)
    started(rig, report["process"], slots)
    assert rig.client.exists("shop:unacked") == 0
    worker.restart()
    worker.ready()
    again = worker.wait_for(lambda report: report["restored"] >= slots, "what it held is back")
    assert again["state"] == "consuming", "a mark is nothing to it"
    rig.wait_for(lambda: len(set(rig.ledger.ended())) == len(names), "all of them ended")
    assert rig.dead() == []
    worker.terminate()
    assert rig.processes() == {}


@pytest.mark.full
@pytest.mark.parametrize("spec", [Spec(OLDEST, "prefork", True), Spec(NEWEST, "threads", True)])
def test_at_inflight_a_task_that_kills_its_worker_becomes_a_dead_letter(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(replace(at(spec, "inflight"), max_attempts=2))
    rig.send("poison", args=[60])
    for _ in range(2):
        report = worker.wait_for(lambda report: report["active"] == 1, "it runs")
        started(rig, report["process"], 1)
        worker.restart()
        worker.ready()
    rig.wait_for(lambda: [message["headers"]["id"] for message in rig.dead()] == ["poison"], "it is a dead letter")


@pytest.mark.full
@pytest.mark.parametrize("spec", [Spec(OLDEST, "threads"), Spec(NEWEST, "prefork")])
def test_a_lost_connection_at_inflight_loses_nothing(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(replace(at(spec, "inflight"), prefetch=4))
    tasks = [f"t{number}" for number in range(8)]
    rig.send(*tasks, args=[2])
    rig.running(*tasks[:2])
    worker.fresh()  # it has fetched what it may: what is on its way when a connection breaks is nobody's
    rig.client.client_kill_filter(_type="normal", skipme=True)
    rig.wait_for(lambda: set(rig.ledger.ended()) == set(tasks), "all of them ended")
    worker.wait_for(lambda report: report["active"] == report["reserved"] == report["unacked"] == 0, "nothing is left")
