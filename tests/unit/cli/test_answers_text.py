"""The operator's answers as people read them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from celeriac.cli.answers_text import TOP, decided, decision_at, explained, scaling_at, table

pytestmark = pytest.mark.unit

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
READ: dict[str, Any] = {
    "waiting": 3,
    "running": 4,
    "ending": 0,
    "scheduled": 0,
    "deferred": 2,
    "held_elsewhere": 0,
    "runtime_seconds": None,
    "arrival_rate": 0.5,
    "cold_start_seconds": 4.0,
    "exact": True,
    "refused": False,
}
FOUND: dict[str, Any] = {
    "replicas": 3,
    "desired": 3,
    "reason": "Stabilized",
    "message": "holding at 3",
    "held": False,
    "decision": "holding at 3",
    "read": READ,
    "policy": {"target": {"queueWaitSeconds": 10.0}, "minReplicas": 0, "maxReplicas": 20, "slots": 1},
    "steps": [
        {"name": "target", "replicas": 2, "message": "2 running"},
        {"name": "stabilization", "replicas": 3, "message": "holding at 3"},
        {"name": "rate", "replicas": 3, "message": ""},
    ],
    "more": {"tasks": 3, "replicas": 4, "reason": "Backlog"},
    "fewer": {"tasks": -5, "replicas": 1, "reason": "DemandFell"},
    "later": {"tasks": 0, "seconds": 41.0, "replicas": 2, "reason": "DemandFell"},
    "decisions": [
        {
            "at": "2026-03-01T11:00:00Z",
            "replicas": 0,
            "desired": 3,
            "reason": "Backlog",
            "message": "3 waiting",
            "waiting": 3,
            "running": 0,
        },
        {
            "at": "2026-03-01T11:30:00Z",
            "replicas": 3,
            "desired": 3,
            "reason": "Holding",
            "message": "no answer",
            "waiting": None,
            "running": None,
        },
    ],
}


def test_an_explanation_reads_from_what_was_read_to_what_would_change_it() -> None:
    text = "\n".join(explained(FOUND, NOON))
    for words in (
        "Decision: Stabilized, 3 -> 3 replicas",
        "3 waiting, 4 running\n",
        "2 in the queues with an ETA ahead",
        "runtime of a task not known yet, start of a pod 4 s",
        "Steps (queueWaitSeconds 10; 0 to 20 replicas, 1 task each)",
        "stabilization window          3  holding at 3",
        "3  changes nothing",
        "3 tasks more waiting: 4 replicas (Backlog)",
        "5 tasks fewer, of those that wait and run: 1 replica (DemandFell)",
        "in 41 s, at 12:00:41Z, with the load as it is: 2 replicas (DemandFell)",
        "2026-03-01T11:00:00Z  0 -> 3    Backlog (3 waiting, 0 running): 3 waiting",
        "Holding (load unknown)",
    ):
        assert words in text, text


def test_what_a_pool_without_demand_has_is_left_out() -> None:
    found = {name: value for name, value in FOUND.items() if name not in ("read", "steps")}
    text = "\n".join(explained({**found, "more": None, "fewer": None, "later": None, "decisions": []}, NOON))
    assert "nothing within reach" in text
    assert "Steps" not in text


def test_the_decision_of_a_moment_is_the_last_one_by_then() -> None:
    def at(hour: int, minute: int) -> str | None:
        found = decision_at(FOUND["decisions"], NOON.replace(hour=hour, minute=minute))
        return decided(found).split()[4] if found else None

    assert [at(10, 59), at(11, 0), at(11, 29), at(11, 30)] == [None, "Backlog", "Backlog", "Holding"]


def test_a_table_has_numbers_at_the_right_and_nothing_of_a_stranger_unescaped() -> None:
    console = Console(width=300)
    rows = [{"name": "ml", "waiting": 12, "arrivalsPerSecond": 0.25}, {"name": "\x1b[31mred", "waiting": 3}]
    with console.capture() as capture:
        console.print(table(TOP, rows))
    header, first, second = capture.get().splitlines()
    assert header.split()[:2] == ["NAME", "WAITING"]
    assert first.split()[:2] == ["ml", "12"]
    assert "0.25" in first
    assert second.startswith("\\x1b[31mred")


def test_what_no_operator_remembers_the_events_of_scalings_tell() -> None:
    def event(reason: str, message: str, first: str, last: str) -> dict[str, Any]:
        metadata = {"creationTimestamp": first}
        return {
            "reason": reason,
            "message": message,
            "firstTimestamp": first,
            "lastTimestamp": last,
            "metadata": metadata,
        }

    events = [
        event("ScaledUp", "0 -> 3: 3 waiting", "2026-03-01T09:00:00Z", "2026-03-01T11:00:00Z"),
        event("ScaledDown", "3 -> 0: nothing", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
        event("Ready", "it is", "2026-03-01T10:30:00Z", "2026-03-01T10:30:00Z"),
    ]
    assert scaling_at(events, NOON) == "2026-03-01T11:00:00Z  0 -> 3: 3 waiting"
    assert scaling_at(events, NOON.replace(hour=10, minute=45)) == "2026-03-01T10:00:00Z  3 -> 0: nothing"
    assert scaling_at(events, NOON.replace(hour=9, minute=1)) == "2026-03-01T09:00:00Z  0 -> 3: 3 waiting"
    assert scaling_at(events, NOON.replace(hour=8)) is None
