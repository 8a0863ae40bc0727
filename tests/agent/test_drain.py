"""A marked worker ends what it runs, gives back what it holds, starts nothing more, and works again when unmarked."""

from dataclasses import replace

import pytest

from tests.agent.rig import Rig
from tests.agent.shapes import full, once, workers
from tests.agent.worker import Spec

pytestmark = pytest.mark.agent


@full
@pytest.mark.parametrize("spec", once())
def test_an_idle_worker_starts_nothing_once_it_is_drained_and_everything_when_the_mark_goes(
    rig: Rig, spec: Spec
) -> None:
    [worker] = rig.start(spec)
    rig.drain(worker)
    tasks = [f"t{number:02}" for number in range(20)]
    rig.send(*tasks)
    worker.fresh()
    assert rig.queue() == tasks
    assert rig.ledger.started() == []
    rig.undrain(worker)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", workers(quick=["prefork", "gevent"], prefetch=2))
def test_a_busy_worker_ends_what_it_runs_and_gives_the_rest_back_in_its_order(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    soon = [f"eta-{number}" for number in range(3)]
    rig.send(*soon, countdown=9)
    worker.wait_for(lambda report: report["scheduled"] == 3, "the ETA tasks are held")
    tasks = [f"t{number:02}" for number in range(10)]
    running = rig.occupy(worker, tasks, seconds=3)

    report = rig.drain(worker)
    assert (report["active"], report["reserved"], report["scheduled"], report["unacked"]) == (0, 0, 0, 0)
    assert sorted(rig.ledger.started()) == sorted(rig.ledger.ended()) == running
    assert rig.queue() == [*soon, *tasks[spec.slots_in_truth :]]
    assert not any(message["headers"].get("redelivered") for message in rig.messages())
    rig.undrain(worker)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.parametrize("level", ["drain", pytest.param("report", marks=full)])
@pytest.mark.parametrize("spec", once(quick=["prefork"]))
def test_a_worker_that_no_signal_has_reached_ends_what_it_runs_and_stops_when_its_mark_says_so(
    rig: Rig, spec: Spec, level: str
) -> None:
    [worker] = rig.start(replace(spec, variables={"CELERIAC_AGENT_LEVEL": level}))
    rig.send("a", args=[3])
    rig.running("a")
    rig.tell_to_stop(worker)
    assert worker.gone() == 0
    assert rig.ledger.ended() == ["a"]
    assert worker.log_file.read_text().count("SIGTERM has not come") == 1
    if level == "drain":  # below, what ends it is Celery alone, and gevent of 5.3 puts back what it has ended
        assert rig.account().problems == {}


@full
@pytest.mark.parametrize("spec", once())
def test_a_mark_that_tells_one_start_of_a_worker_to_stop_is_nothing_to_the_next(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    process = worker.fresh()["process"]
    rig.tell_to_start_anew(worker, f"{worker.pod}.00000000")
    worker.fresh()
    rig.send("a")
    rig.settle()
    assert rig.ledger.ended() == ["a"], "the mark means another start"
    rig.tell_to_start_anew(worker, process)
    assert worker.gone() == 0
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", once(quick=["gevent"]))
def test_a_worker_that_starts_with_a_mark_consumes_nothing(rig: Rig, spec: Spec) -> None:
    rig.send("a", "b", "c")
    [worker] = rig.pods(spec)
    token = rig.mark(worker)
    worker.start()
    rig.drained(worker, token)
    worker.fresh()
    assert rig.queue() == ["a", "b", "c"]
    rig.undrain(worker)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", once(quick=["prefork"], prefetch=4))
def test_each_message_goes_back_to_the_list_of_its_priority(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    running = [f"running-{number}" for number in range(spec.slots_in_truth)]
    rig.send(*running, args=[3])
    rig.running(*running)
    for priority in (9, 4, 3, 0):
        rig.send(*(f"{priority}-{number}" for number in range(2)), priority=priority)
    rig.drain(worker)
    assert [rig.queue(step=step) for step in (0, 3, 6, 9)] == [
        ["0-0", "0-1"],
        ["4-0", "4-1", "3-0", "3-1"],
        [],
        ["9-0", "9-1"],
    ]
    rig.undrain(worker)
    rig.settle()
    assert rig.account().problems == {}


@full
@pytest.mark.parametrize("spec", once())
def test_rate_limited_tasks_go_back_and_free_their_place_in_the_bucket(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    tasks = [f"l{number}" for number in range(5)]
    rig.send(*tasks, name="ledger_app.limited")
    rig.wait_for(lambda: rig.ledger.ended() == ["l0"], "the first may run at once")
    rig.drain(worker)
    done = len(rig.ledger.ended())
    assert rig.queue() == tasks[done:]
    rig.undrain(worker)
    # At 30 a minute the next is due two seconds after the last; it does not wait for those that were given back.
    rig.wait_for(lambda: len(rig.ledger.ended()) == done + 1, "the next one runs", seconds=4)
    rig.settle()
    assert rig.account().problems == {}


@pytest.mark.parametrize("spec", workers(quick=["prefork"], prefetch=4))
def test_a_warm_shutdown_leaves_to_the_others_what_it_had_not_started(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    tasks = [f"t{number:02}" for number in range(12)]
    rig.occupy(worker, tasks, seconds=2)
    worker.terminate(seconds=20)
    rig.start(spec)
    rig.settle()
    assert rig.account().problems == {}


@full
@pytest.mark.parametrize("spec", once(prefetch=4))
def test_a_worker_may_be_stopped_while_it_drains(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    tasks = [f"t{number:02}" for number in range(12)]
    rig.occupy(worker, tasks, seconds=2)
    token = rig.mark(worker)
    worker.wait_for(lambda report: report["token"] == token, "it has seen the mark")
    worker.terminate(seconds=20)
    rig.start(spec)
    rig.settle()
    assert rig.account().problems == {}
