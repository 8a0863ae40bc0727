"""Bursts of real tasks on real workers: 0 -> N -> 0, with an account of every task."""

import itertools

import pytest

from tests.e2e.story import PATIENCE, Story

pytestmark = pytest.mark.e2e


def test_a_burst_to_a_solo_pool_runs_one_task_per_pod_and_ends_at_zero(story: Story) -> None:
    story.pool("ml", ["ml_service"], app="celery_app.ml_tasks:app", scaling={"maxReplicas": 5})
    assert story.witness.pods("ml") == []

    story.tasks.send("ml_service", 15, seconds=5)
    done = story.tasks.wait_until_done(seconds=PATIENCE)["ml_service"]
    story.wait_for_zero("ml")

    seen = story.witness.pool("ml")
    assert max(seen.ready) == max(seen.wanted) == seen.peak.replicas == 5
    assert "limited to 5 by maxReplicas" in seen.peak.message
    assert len(done.pods) >= 4
    assert story.tasks.most_at_once_per_pod() == 1
    assert seen.wanted[0] == 0
    assert len(story.witness.pods("ml")) == 5
    assert story.tasks.problems() == []
    assert story.tasks.waiting("ml_service") == story.tasks.held("ml_service") == 0


def test_a_prefork_pool_loses_neither_late_nor_early_acknowledged_tasks(story: Story) -> None:
    """A running task that was acknowledged early is invisible in Redis; the grace of its pod protects it."""
    story.pool("both", ["batch", "email_service"], pool="prefork", concurrency=2, scaling={"maxReplicas": 4})
    story.tasks.send("batch", 10, seconds=2)
    story.tasks.send("email_service", 10, seconds=6)
    done = story.tasks.wait_until_done(seconds=PATIENCE)
    story.wait_for_zero("both")

    assert story.witness.pool("both").peak.replicas == 4
    assert done["batch"].succeeded == done["email_service"].succeeded == 10
    assert done["batch"].processes > len(done["batch"].pods)
    assert story.tasks.problems() == []
    for queue in ("batch", "email_service"):
        assert story.tasks.waiting(queue) == story.tasks.held(queue) == 0


@pytest.mark.parametrize("pool", ["threads", "gevent", "eventlet"])
def test_a_pool_of_each_kind_wakes_runs_its_tasks_and_sleeps_again(shared: Story, pool: str) -> None:
    shared.pool(pool, [pool], pool=pool, concurrency=4)
    shared.tasks.send("email_service", 4, seconds=1, to=pool)
    shared.tasks.wait_until_done(pool, seconds=PATIENCE)
    shared.wait_for_zero(pool)
    assert shared.tasks.problems() == []
    assert shared.tasks.waiting(pool) == shared.tasks.held(pool) == 0
    assert len(shared.witness.pods(pool)) == 1


def test_scheduled_tasks_wake_no_worker_before_they_are_due(shared: Story) -> None:
    shared.pool("later", ["later"], pool="threads", concurrency=4)
    shared.tasks.send("celery", 3, seconds=0.1, to="later", countdown=8)
    done = shared.tasks.wait_until_done("later", seconds=PATIENCE)["later"]
    shared.wait_for_zero("later")
    due = min(entry.time for entry in shared.tasks.entries if entry.queue == "later") + 8
    (pod,) = shared.witness.pods("later")
    assert pod.created >= int(due)
    assert done.succeeded == 3
    assert shared.tasks.problems() == []


def test_scheduled_tasks_keep_the_worker_that_took_them_and_the_pool_does_not_flap(shared: Story) -> None:
    """Five fall due at once on one worker with two slots: no further worker could take them from it."""
    shared.pool("reminders", ["reminders"], pool="threads", concurrency=2)
    shared.tasks.send("celery", 1, seconds=5, to="reminders")
    shared.tasks.wait_until_running("reminders", 1, PATIENCE)
    shared.tasks.send("celery", 5, seconds=1, to="reminders", countdown=12)
    done = shared.tasks.wait_until_done("reminders", seconds=PATIENCE)["reminders"]
    shared.wait_for_zero("reminders")
    assert done.succeeded == 6
    wanted = shared.witness.pool("reminders").wanted
    assert [count for count, _ in itertools.groupby(wanted)] == [0, 1, 0]
    assert shared.tasks.problems() == []


def test_the_parts_of_a_chord_and_its_callback_run_on_two_pools(shared: Story) -> None:
    shared.pool("batch", ["batch"], pool="prefork", concurrency=2, scaling={"maxReplicas": 2})
    shared.pool("default", ["celery"])
    shared.tasks.send_chord(6, seconds=1)
    done = shared.tasks.wait_until_done("batch", "celery", seconds=PATIENCE)
    assert (done["batch"].succeeded, done["celery"].succeeded) == (6, 1)
    shared.wait_for_zero("batch")
    shared.wait_for_zero("default")
    assert shared.tasks.problems() == []


def test_urgent_tasks_wake_a_pool_and_run_before_the_others(shared: Story) -> None:
    """Nothing consumes while they are sent: the pool is created afterwards."""
    shared.tasks.send("celery", 4, seconds=0.1, to="urgent", priority=9)
    urgent = shared.tasks.send("celery", 3, seconds=0.1, to="urgent", priority=0)
    shared.pool("urgent", ["urgent"], scaling={"maxReplicas": 1})
    shared.tasks.wait_until_done("urgent", seconds=PATIENCE)
    order = [entry.task in urgent for entry in shared.tasks.starts("urgent")]
    shared.wait_for_zero("urgent")
    assert order == [True] * 3 + [False] * 4
    assert shared.tasks.problems() == []
