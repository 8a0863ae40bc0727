"""What a worker holds lies in keys of its own: no timeout runs it twice, and the work of a dead container returns."""

import pytest

from tests.agent.ledger import redelivered
from tests.agent.rig import Rig
from tests.agent.shapes import once, with_timeout, workers
from tests.agent.worker import Spec, eventually

pytestmark = pytest.mark.agent


@pytest.mark.parametrize("spec", workers(quick=["gevent"], config=with_timeout(1)))
def test_neither_a_long_task_nor_an_eta_runs_twice_for_a_short_visibility_timeout(rig: Rig, spec: Spec) -> None:
    rig.start(spec)
    rig.send("later", countdown=5)
    rig.send("long", args=[5])
    rig.running("long")
    # Plain workers restore at their start what lies there for longer than their timeout.
    rig.start(spec)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.full
@pytest.mark.parametrize("spec", workers(config=with_timeout(5)))
def test_minutes_beyond_the_visibility_timeout(rig: Rig, spec: Spec) -> None:
    rig.start(spec, spec)
    rig.send("later-0", "later-1", countdown=12)
    rig.send("long-0", "long-1", args=[120])
    rig.settle(seconds=300)
    assert rig.account().problems == {}


def test_without_the_agent_the_same_task_runs_twice(rig: Rig) -> None:
    plain = Spec("5.7", "solo", True, agent=False, config=with_timeout(1))
    rig.start(plain)
    rig.send("long", args=[5])
    rig.running("long")
    rig.start(plain)
    rig.wait_for(lambda: rig.ledger.started() == ["long", "long"], "it starts again", seconds=30)


@pytest.mark.parametrize("spec", workers(quick=["eventlet"], prefetch=2))
def test_a_container_that_restarts_gets_its_own_back_first_in_order_and_marked(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    tasks = [f"t{number:02}" for number in range(10)]
    running = rig.occupy(worker, tasks, seconds=5)
    worker.wait_for(
        lambda report: report["active"] == len(running) and report["unacked"] == len(rig.held(worker)) > 0,
        "it runs and holds what it can",
    )
    held = rig.held(worker)
    assert rig.ledger.running() == running
    # Before 5.7 a green pool sends an early acknowledgement when its loop turns: the last to start may still be held.
    first_held = tasks.index(held[0])
    assert held == tasks[first_held : first_held + len(held)]
    if spec.acks_late or spec.pool == "solo":
        assert first_held == 0
    before = worker.report()
    assert before is not None
    assert before["process"] in rig.processes()

    worker.restart()
    worker.ready()
    again = sorted(set(running) & set(held))
    rig.wait_for(lambda: set(tasks) - set(running) | set(again) <= set(rig.ledger.ended()), "the rest is done", 90)
    after = rig.account()
    lost = tuple(f"{task}/0" for task in running if task not in held)
    twice = tuple(f"{task}/0" for task in again)
    # Early acknowledgement runs a task at most once: what ran when the worker died is gone, by Celery's own contract.
    expected = {"lost": lost, "twice": twice, "killed": tuple(f"{task}/0" for task in running)}
    assert after.problems == {name: value for name, value in expected.items() if value}
    starts = rig.ledger.started()[len(running) :]
    assert (
        [*starts[: len(held)]] == pytest.approx(held)
        if spec.slots_in_truth == 1
        else set(starts[: len(held)]) == set(held)
    )
    marks = redelivered(rig.ledger.lines())
    assert {task: marks[task][-1] for task in starts} == {task: task in held for task in starts}
    assert before["process"] not in rig.processes()


@pytest.mark.full
@pytest.mark.parametrize("spec", once(prefetch=4, acks_late=True, slots=1))
def test_a_dead_containers_messages_return_to_their_priorities(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("running", args=[3600], priority=0)
    rig.running("running")
    for priority in (9, 3, 0):
        rig.send(f"{priority}-0", f"{priority}-1", priority=priority)
    may_hold = {"solo": 1, "gevent": 2, "eventlet": 2}.get(spec.pool, 4)  # a green one waits with the next in its hand
    rig.wait_for(lambda: len(rig.held(worker)) == may_hold, "it holds what it may")
    worker.kill()
    rig.mark(worker)
    worker.start()
    worker.wait_for(lambda report: report["state"] == "drained", "it has put back everything and waits")
    assert [rig.queue(step=step) for step in (0, 3, 9)] == [["running", "0-0", "0-1"], ["3-0", "3-1"], ["9-0", "9-1"]]


@pytest.mark.parametrize(
    "spec", once(quick=["solo"], pools=["solo", "threads"], acks_late=True, slots=1, max_attempts=3, prefetch=4)
)
def test_a_task_that_kills_its_worker_becomes_a_dead_letter_and_its_neighbours_run(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    # Not at once: a worker that dies with a message just off the list and not yet in its own keys loses that.
    rig.send("poison", name="ledger_app.poison", args=[1])
    rig.send("innocent-0", "innocent-1")
    for attempt in range(1, 4):
        eventually(lambda: not worker.alive, "it kills its worker", 30, rig.explain)
        assert rig.ledger.started() == ["poison"] * attempt
        worker.restart()
    worker.ready()
    rig.wait_for(lambda: sorted(rig.ledger.ended()) == ["innocent-0", "innocent-1"], "the innocent run")
    [letter] = rig.dead()
    assert letter["headers"]["id"] == "poison"
    info = letter["properties"]["delivery_info"]
    assert info["celeriac_deaths"] == 3
    assert info["celeriac_dead"]
    account = rig.account(allowed=["celeriac:dead:celery"])
    assert account.problems == {"lost": ("poison/0",), "killed": ("poison/0",) * 3, "twice": ("poison/0",) * 2}


@pytest.mark.full
@pytest.mark.parametrize("spec", once(pools=["prefork"], acks_late=True, slots=1, max_attempts=3, prefetch=4))
def test_deaths_inside_a_living_worker_count_as_well(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    rig.send("poison", name="ledger_app.poison")
    rig.send("innocent-0", "innocent-1")
    rig.wait_for(lambda: sorted(rig.ledger.ended()) == ["innocent-0", "innocent-1"], "the innocent run")
    rig.wait_for(rig.dead, "it is a dead letter")
    [letter] = rig.dead()
    assert letter["headers"]["id"] == "poison"
    assert letter["properties"]["delivery_info"]["celeriac_deaths"] == 3
    assert rig.ledger.started().count("poison") == 3
    report = worker.fresh()
    assert (report["active"], report["reserved"], report["dead"], report["processed"] >= 2) == (0, 0, 1, True)
