"""Tasks that are not simply next: scheduled ones, urgent ones, and the callback of a chord. All are sent at once."""

import itertools

import pytest

from tests.e2e.story import PATIENCE, Story

pytestmark = [pytest.mark.e2e, pytest.mark.full]

LATER_SECONDS = 8
EARLY_SECONDS = 3
"""A pool wakes for its next scheduled task 2 s ahead, as long as no cold start was seen; a Pod has whole seconds."""


@pytest.fixture(scope="module", autouse=True)
def urgent(shared: Story) -> list[str]:
    """Everything that this module's tests are about, each on a pool of its own; the ids of the urgent tasks."""
    shared.pool("reminders", ["reminders"], pool="threads", concurrency=2)
    shared.tasks.send("celery", 4, seconds=0.1, to="urgent", priority=9)
    urgent = shared.tasks.send("celery", 3, seconds=0.1, to="urgent", priority=0)
    shared.pool("urgent", ["urgent"], scaling={"maxReplicas": 1})
    shared.pool("batch", ["batch"], pool="prefork", concurrency=2, scaling={"maxReplicas": 2})
    shared.pool("default", ["celery"])
    shared.pool("later", ["later"], pool="threads", concurrency=4)
    shared.tasks.send("celery", 3, seconds=0.1, to="later", countdown=LATER_SECONDS)
    shared.tasks.send_chord(6, seconds=1)
    shared.tasks.send("celery", 1, seconds=11, to="reminders")
    return urgent


def test_scheduled_tasks_that_fall_due_at_once_call_for_the_workers_they_need_and_the_pool_does_not_flap(
    shared: Story,
) -> None:
    """Five on one worker with two slots: what it cannot run goes back to the queue, for two further workers.

    They fall due while it runs another task: with nothing to do for longer than it takes to start a worker it would go.
    """
    shared.tasks.wait_until_started("reminders", 1, PATIENCE)
    shared.tasks.send("celery", 5, seconds=1, to="reminders", countdown=9)
    done = shared.tasks.wait_until_done("reminders", seconds=PATIENCE)["reminders"]
    shared.wait_for_zero("reminders")
    assert done.succeeded == 6
    wanted = shared.witness.pool("reminders").wanted
    steps = [count for count, _ in itertools.groupby(wanted)]
    peak = steps.index(max(steps))
    assert steps[:2] == [0, 1]
    assert max(steps) <= 3
    assert steps == sorted(steps[: peak + 1]) + sorted(steps[peak + 1 :], reverse=True)


def test_scheduled_tasks_wake_their_pool_just_in_time_and_not_before(shared: Story) -> None:
    done = shared.tasks.wait_until_done("later", seconds=PATIENCE)["later"]
    shared.wait_for_zero("later")
    due = min(entry.time for entry in shared.tasks.entries if entry.queue == "later") + LATER_SECONDS
    (pod,) = shared.witness.pods("later")
    assert pod.created >= int(due) - EARLY_SECONDS
    assert done.succeeded == 3


def test_urgent_tasks_wake_a_pool_and_run_before_the_others(shared: Story, urgent: list[str]) -> None:
    """Nothing consumed while they were sent: their pool was created afterwards."""
    shared.tasks.wait_until_done("urgent", seconds=PATIENCE)
    shared.wait_for_zero("urgent")
    assert [entry.task in urgent for entry in shared.tasks.starts("urgent")] == [True] * 3 + [False] * 4


def test_the_parts_of_a_chord_and_its_callback_run_on_two_pools(shared: Story) -> None:
    done = shared.tasks.wait_until_done("batch", "celery", seconds=PATIENCE)
    assert (done["batch"].succeeded, done["celery"].succeeded) == (6, 1)
    shared.wait_for_zero("batch")
    shared.wait_for_zero("default")


def test_after_all_that_every_task_is_accounted_for(shared: Story) -> None:
    assert shared.tasks.problems() == []
    for queue in ("reminders", "urgent", "batch", "celery", "later"):
        assert shared.tasks.waiting(queue) == shared.tasks.held(queue) == 0
