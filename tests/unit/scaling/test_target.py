"""The two targets: the worked examples of docs/scaling.md, and the sentences that explain them."""

from dataclasses import replace
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from celeriac.scaling.policy import Policy, QueueWaitTarget, TasksPerSlotTarget
from celeriac.scaling.target import replicas_needed
from celeriac.scaling.workload import Demand

pytestmark = pytest.mark.unit


def demand(
    running: int,
    waiting: int,
    rate: float = 0.0,
    runtime: float | None = None,
    replicas: int = 0,
    *,
    cold_start: float = 4.0,
    scheduled: int = 0,
    exact: bool = True,
) -> Demand:
    return Demand(
        waiting=waiting,
        running=running,
        current_replicas=replicas,
        scheduled=scheduled,
        exact=exact,
        arrival_rate=rate,
        runtime_seconds=runtime,
        cold_start_seconds=cold_start,
    )


def worked_examples() -> list[ParameterSet]:
    """The table of docs/scaling.md: a, q, lambda, R, S, p, n, why."""
    page = (Path(__file__).parents[3] / "docs" / "scaling.md").read_text()
    table = page.split("| a | q | lambda | R | S | p | n | why |\n", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]
    return [pytest.param(*row[:7], id=row[7]) for row in rows]


@pytest.mark.parametrize(("a", "q", "rate", "runtime", "slots", "p", "n"), worked_examples())
def test_the_worked_examples_of_the_documentation(
    a: str, q: str, rate: str, runtime: str, slots: str, p: str, n: str
) -> None:
    """W = 10 s and C = 4 s, as the page says."""
    known = None if runtime == "unknown" else float(runtime)
    policy = Policy(slots=int(slots), target=QueueWaitTarget(10))
    assert replicas_needed(policy, demand(int(a), int(q), float(rate), known, int(p))).replicas == int(n)


def test_new_pods_are_sized_for_the_time_that_is_left_once_they_have_started() -> None:
    policy = Policy(slots=1, target=QueueWaitTarget(10))
    burst = demand(0, 100, 0, 1.0, replicas=0, cold_start=5)
    assert replicas_needed(policy, burst).replicas == 20, "100 x 1 s / (10 s - 5 s)"
    assert replicas_needed(policy, replace(burst, current_replicas=10)).replicas == 10, "100 x 1 s / 10 s: enough"
    slow_start = replace(burst, cold_start_seconds=60)
    assert replicas_needed(policy, slow_start).replicas == 20, "never less than half the wait"


@pytest.mark.parametrize(
    ("running", "waiting", "slots", "tasks_per_slot", "expected"),
    [(0, 12, 1, 1.0, 12), (4, 12, 1, 2.0, 8), (1, 0, 8, 2.0, 1), (0, 9, 4, 2.0, 2), (3, 5, 2, 0.5, 8)],
)
def test_tasks_per_slot_divides_the_tasks(
    running: int, waiting: int, slots: int, tasks_per_slot: float, expected: int
) -> None:
    policy = Policy(slots=slots, target=TasksPerSlotTarget(tasks_per_slot))
    assert replicas_needed(policy, demand(running, waiting)).replicas == expected


def test_dust_of_floating_point_starts_no_pod() -> None:
    dust = 21 / 0.7
    assert dust > 30, "or this test would prove nothing"
    policy = Policy(slots=1, target=TasksPerSlotTarget(0.7))
    assert replicas_needed(policy, demand(0, 21)).replicas == 30
    assert replicas_needed(policy, demand(0, 22)).replicas == 32, "what is more than dust still counts: 31.43"


@pytest.mark.parametrize("target", [QueueWaitTarget(10), TasksPerSlotTarget(100_000)])
def test_one_task_needs_one_replica_be_it_ever_so_short(target: QueueWaitTarget | TasksPerSlotTarget) -> None:
    seen = demand(0, 1, rate=0.001, runtime=0.0)
    assert replicas_needed(Policy(slots=100_000, target=target), seen).replicas == 1


def test_tasks_held_for_an_eta_are_no_load_but_keep_one_replica() -> None:
    need = replicas_needed(Policy(slots=1), demand(0, 0, scheduled=500, replicas=1))
    assert (need.replicas, need.load) == (1, 0.0)
    assert need.sentence == "500 scheduled tasks held by workers: 1 replica"


def test_messages_held_while_no_pod_exists_wake_one_up_to_take_them_over() -> None:
    assert replicas_needed(Policy(slots=1), demand(0, 0, scheduled=1, replicas=0)).replicas == 1
    assert replicas_needed(Policy(slots=1), demand(1, 0, runtime=5.0, replicas=0)).replicas == 1


def test_an_estimate_neither_stops_the_last_pod_nor_starts_the_first() -> None:
    policy = Policy(slots=1)
    assert replicas_needed(policy, demand(0, 0, exact=False, replicas=4)).replicas == 1
    assert replicas_needed(policy, demand(0, 0, exact=False, replicas=0)).replicas == 0


@pytest.mark.parametrize(
    ("seen", "slots", "sentence"),
    [
        (demand(4, 12), 1, "12 waiting + 4 running over 1 slot per replica: 16 replicas (runtime not yet known)"),
        (demand(0, 20, 0.33, 600), 1, "20 waiting + 0 running over 1 slot per replica: 20 replicas"),
        (
            demand(20, 5, 0, 20, 20),
            1,
            "20 running (5 waiting can start within 10 s) over 1 slot per replica: 20 replicas",
        ),
        (
            demand(2, 50, 1.5, 2, 2),
            8,
            "1.5/s x 2 s + 50 waiting x 2 s / 10 s = 13 slots over 8 slots per replica: 2 replicas",
        ),
        (demand(0, 0), 1, "nothing waiting, running or scheduled: 0 replicas"),
    ],
)
def test_a_person_can_redo_the_sum(seen: Demand, slots: int, sentence: str) -> None:
    assert replicas_needed(Policy(slots=slots), seen).sentence == sentence


def test_the_sentence_of_tasks_per_slot_names_the_target() -> None:
    policy = Policy(slots=4, target=TasksPerSlotTarget(2))
    sentence = "12 waiting + 4 running at 2 tasks per slot over 4 slots per replica: 2 replicas"
    assert replicas_needed(policy, demand(4, 12)).sentence == sentence
