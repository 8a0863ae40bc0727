"""Tasks and visibility timeouts, ETAs and zero: what waits for its time, or takes long, runs once and in time."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.story import PATIENCE
from tests.e2e.system import System
from tests.ledger.cells import image
from tests.ledger.checker import Demand, judge
from tests.ledger.lines import Event
from tests.ledger.scene import Scene, scene

pytestmark = [pytest.mark.e2e, pytest.mark.full]

LONG_SECONDS = 60.0
VISIBILITY_SECONDS = "5"
ETA_SECONDS = 60.0
LATE_SECONDS = 15.0
LATE = {"LEDGER_ACKS": "late"}
IMPATIENT = {"LEDGER_VISIBILITY": VISIBILITY_SECONDS}
POOLS = ("solo", "prefork", "threads", "gevent")
ANY = Demand(ups=0, downs=0, loaded=0)


@pytest.fixture(scope="module")
def minute(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Pools whose application has a visibility timeout of 5 s, in tasks of 60 s; one with a task due in 60 s."""
    image_tag = image("5.7")
    system.cluster.provide(image_tag)
    with scene(system.cluster, tmp_path_factory.mktemp("time") / "book.jsonl") as running:
        for pool in POOLS:
            two_pods = {"maxReplicas": 2, "target": {"tasksPerSlot": 1}}
            slots = {} if pool == "solo" else {"concurrency": 1}
            environment = LATE | IMPATIENT
            running.pool(pool, image=image_tag.tag, environment=environment, pool=pool, queues=[pool], **slots,
                         scaling=two_pods)  # fmt: skip
        running.pool("reminders", image=image_tag.tag, environment={}, pool="prefork", concurrency=1)
        yield running


@pytest.fixture(scope="module")
def long(minute: Scene) -> dict[str, list[str]]:
    """The long tasks of each pool, two for its two pods."""
    return {pool: minute.send([LONG_SECONDS] * 2, queue=pool) for pool in POOLS}


@pytest.fixture(scope="module")
def reminder(minute: Scene, long: dict[str, list[str]]) -> tuple[str, float]:
    """A task that a worker takes at once and that is due later; and when it is due, in Unix seconds."""
    minute.send([0.1])
    due = time.time() + ETA_SECONDS
    (task,) = minute.send([0.1], countdown=ETA_SECONDS)
    return task, due


def test_an_eta_task_lets_its_pool_go_to_zero_and_runs_once_and_in_time(
    minute: Scene, reminder: tuple[str, float]
) -> None:
    task, due = reminder
    minute.story.wait_for_zero("reminders", seconds=ETA_SECONDS * 0.75)
    assert minute.book.wait(lambda lines: any(each.task == task and each.event is Event.ENDED for each in lines), 90)
    starts = [line.time for line in minute.book.lines() if line.task == task and line.event is Event.STARTED]
    assert len(starts) == 1
    assert 0 <= starts[0] - due <= LATE_SECONDS, f"{starts[0] - due:.1f} s after its time"
    minute.story.wait_for_zero("reminders")


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_much_longer_than_the_applications_visibility_timeout_runs_once(
    minute: Scene, long: dict[str, list[str]], pool: str
) -> None:
    assert minute.wait_until_ended(LONG_SECONDS + PATIENCE)
    minute.story.wait_for_zero(pool)
    lines = minute.book.lines()
    starts = [line.task for line in lines if line.event is Event.STARTED and line.task in long[pool]]
    assert sorted(starts) == sorted(long[pool])


def test_after_that_minute_nothing_is_left(minute: Scene) -> None:
    for pool in POOLS:
        minute.story.wait_for_zero(pool)
    minute.close()
    assert judge(minute.book.lines(), ANY).problems == ()
