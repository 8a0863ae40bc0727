"""How tasks end is counted in Redis by their names, in every pool, once each, and nothing else of them is."""

from collections.abc import Mapping

import pytest
from celeriac_agent.tally import BOUNDS

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
        what, _, name = str(field).partition("|")
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


@pytest.mark.parametrize("spec", workers())
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


@pytest.mark.parametrize("spec", once(quick=["prefork", "solo", "threads"]))
def test_an_exception_is_counted_within_seconds_while_another_task_runs(rig: Rig, spec: Spec) -> None:
    rig.start(spec)
    rig.send("bad", name=FAILS)
    await_states(rig, {FAILS: {"failed": 1}})
    text = str(rig.client.hgetall(f"{rig.prefix}celeriac:{rig.pool_uid}:tasks"))
    assert "as intended" not in text
    assert "ValueError" not in text
