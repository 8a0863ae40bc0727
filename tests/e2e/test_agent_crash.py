"""Workers that die with ten messages each: what they held runs again at once, in its order, and ends exactly once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.story import PATIENCE
from tests.e2e.system import System
from tests.ledger.cells import image
from tests.ledger.checker import Demand, judge
from tests.ledger.executioner import Executioner, executioner
from tests.ledger.lines import Event, Line
from tests.ledger.scene import Scene, scene

pytestmark = [pytest.mark.e2e, pytest.mark.full]

HELD = 10
SILENCE_SECONDS = 30.0
"""A Pod that the API server does not know is believed to be dead after so many seconds without a report. What comes
sooner was given back for a better proof; how much sooner is the machine's affair, and printed."""
FIRST_SECONDS = 10.0
"""Longer than a Pod deleted by force lives on."""
BY_PRIORITY = ((9, [0.2] * 3), (3, [0.2] * 3), (0, [FIRST_SECONDS, 0.2, 0.2, 0.2]))
"""What each pool is sent, the least urgent first."""
NOTHING_BUT_RESTARTS = Demand(ups=0, downs=0, loaded=0)


@dataclass(frozen=True)
class Crash:
    """One pool of a single worker, and the ids of its tasks in the order in which they must run."""

    pool: str
    tasks: Sequence[str]

    def lines(self, scene: Scene, event: Event) -> list[Line]:
        """What befell its tasks, in the order of time."""
        found = [line for line in scene.book.lines() if line.event is event and line.task in self.tasks]
        return sorted(found, key=lambda line: line.time)

    def starts_after(self, scene: Scene, moment: float) -> list[Line]:
        return [line for line in self.lines(scene, Event.STARTED) if line.time > moment]


POOLS = {"forced": "prefork", "sigkill": "prefork", "oom": "threads", "child": "prefork"}
GREEDY = {"oom", "child"}
"""Their first task takes more memory than the pod may have. Below a worker of prefork that is one of its children."""


@pytest.fixture(scope="module")
def crashed(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, Mapping[str, Crash]]]:
    """Four pools, each with one worker; as soon as it holds ten messages and runs the first, it dies."""
    worker_image = image("5.7")
    system.cluster.provide(worker_image)
    file = tmp_path_factory.mktemp("crash") / "book.jsonl"
    with scene(system.cluster, file) as running, executioner(system.cluster, running.story.namespace) as killer:
        crashes = {}
        for name, kind in POOLS.items():
            # Before there is a pool: the first worker is to find all of them.
            crash = crashes[name] = Crash(name, send(running, name))
            running.pool(name, image=worker_image.tag, environment={"LEDGER_ACKS": "late"}, queues=[name], pool=kind,
                         concurrency=1, worker=worker(kind), scaling={"maxReplicas": 1},
                         template={"resources": {"limits": {"memory": "256Mi"}}})  # fmt: skip
            assert running.book.wait(lambda lines, of=crash: holds_all(lines, of), PATIENCE)  # type: ignore[misc]
            end(running, killer, name)
        yield running, crashes


def worker(kind: str) -> dict[str, Any]:
    """It holds all that it is sent; where a child can die alone, its task is to come back."""
    return {"prefetchMultiplier": HELD, **({"rejectOnWorkerLost": True} if kind == "prefork" else {})}


def end(running: Scene, killer: Executioner, name: str) -> None:
    """End the worker of a pool; those of greedy tasks end by themselves."""
    (pod,) = (pod.name for pod in running.story.witness.pods(name))
    if name == "forced":
        running.story.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
    elif name == "sigkill":
        uid = running.story.kubectl("get", "pod", pod, "--output=jsonpath={.metadata.uid}")
        assert killer.kill_worker(uid), "with the first process of a container the kernel ends all others"


def send(running: Scene, queue: str) -> list[str]:
    """The tasks of one pool; returns their ids in the order of priority. The very first may be greedy."""
    by_priority: dict[int, list[str]] = {}
    for priority, seconds in BY_PRIORITY:
        options: dict[str, Any] = {"queue": queue, "priority": priority}
        greedy = seconds[:1] if queue in GREEDY and priority == 0 else []
        first = running.send(greedy, task="greedy", **options) if greedy else []
        by_priority[priority] = first + running.send(seconds[len(greedy) :], **options)
    return [task for priority in sorted(by_priority) for task in by_priority[priority]]


def holds_all(lines: Sequence[Line], crash: Crash) -> bool:
    """Whether its worker has received all, and runs the first of them."""
    received = {line.task for line in lines if line.event is Event.RECEIVED}
    started = {line.task for line in lines if line.event is Event.STARTED}
    return received >= set(crash.tasks) and crash.tasks[0] in started


def death(running: Scene, crash: Crash) -> float:
    """When the watch first saw that the worker's container had ended."""

    def seen(lines: Sequence[Line]) -> list[float]:
        return [line.time for line in lines if line.event is Event.DIED and line.pod.startswith(f"{crash.pool}-")]

    assert running.book.wait(lambda lines: bool(seen(lines)), PATIENCE), f"the worker of {crash.pool} did not die"
    return seen(running.book.lines())[0]


def ended(running: Scene, crash: Crash) -> list[str]:
    """Wait until all tasks of a pool have ended; each end of one, in the order of time."""
    all_have = running.book.wait(
        lambda lines: {line.task for line in lines if line.event is Event.ENDED} >= set(crash.tasks), PATIENCE
    )
    found = [line.task for line in crash.lines(running, Event.ENDED)]
    assert all_have, f"ended: {found}"
    return found


def assert_all_ended_once(running: Scene, crash: Crash, *order: str, since: float) -> None:
    """In this order, and started in it since then."""
    assert ended(running, crash) == list(order)
    assert [line.task for line in crash.starts_after(running, since)] == list(order)


@pytest.mark.parametrize("name", ["sigkill", "oom"])
def test_what_a_killed_worker_held_runs_again_at_once_and_in_its_order(
    crashed: tuple[Scene, Mapping[str, Crash]], name: str
) -> None:
    running, crashes = crashed
    died = death(running, crashes[name])
    assert_all_ended_once(running, crashes[name], *crashes[name].tasks, since=died)
    again = crashes[name].starts_after(running, died)[0]
    print(f"{name}: {again.time - died:.1f} s from the proof of death to the first start")
    assert again.time - died < SILENCE_SECONDS


def test_a_pod_deleted_by_force_gives_back_what_waits_and_what_it_ran_comes_when_its_reports_have_stopped(
    crashed: tuple[Scene, Mapping[str, Crash]],
) -> None:
    """The kubelet sends SIGTERM, and SIGKILL two seconds later: long enough to give back what was not started."""
    running, crashes = crashed
    crash = crashes["forced"]
    deleted = next(
        line.time for line in running.book.lines() if line.event is Event.DELETED and line.pod.startswith("forced-")
    )
    ran, *waited = crash.tasks
    assert_all_ended_once(running, crash, *waited, ran, since=deleted)
    starts = [line.time - deleted for line in crash.starts_after(running, deleted)]
    print(f"forced: {starts[0]:.1f} s from the deletion to the first start, {starts[-1]:.1f} s to that of what ran")
    assert starts[0] < SILENCE_SECONDS
    assert starts[-1] < 2 * SILENCE_SECONDS


def test_a_task_whose_child_is_out_of_memory_runs_again_and_all_end_once(
    crashed: tuple[Scene, Mapping[str, Crash]],
) -> None:
    """With cgroup v1 the kernel kills the child, and the worker goes on; with v2 the whole container ends."""
    running, crashes = crashed
    crash = crashes["child"]
    assert sorted(ended(running, crash)) == sorted(crash.tasks)
    started = [line.task for line in crash.lines(running, Event.STARTED)]
    assert started.count(crash.tasks[0]) == 2
    died = [line for line in running.book.lines() if line.event is Event.DIED and line.pod.startswith("child-")]
    print(f"child: the container {'ended' if died else 'lived on'}")


def test_after_all_these_deaths_each_task_has_ended_and_nothing_is_left(
    crashed: tuple[Scene, Mapping[str, Crash]],
) -> None:
    """Those that ran when their worker died have started twice; that is what acks_late means."""
    running, crashes = crashed
    for name in POOLS:
        running.story.wait_for_zero(name)
    running.close()
    verdict = judge(running.book.lines(), NOTHING_BUT_RESTARTS)
    assert (verdict.lost, verdict.left) == ((), ())
    assert set(verdict.twice) <= {crash.tasks[0] for crash in crashes.values()}
