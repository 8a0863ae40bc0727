"""Bursts of real tasks on real workers: 0 -> N -> 0, with an account of every task."""

import pytest

from tests.e2e.story import PATIENCE, Story

pytestmark = pytest.mark.e2e

# A last pod that comes late, on a busy machine, is still waited for.
PATIENT = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 6}}, "scaleToZeroAfterSeconds": 6}


def test_a_burst_to_a_solo_pool_runs_one_task_per_pod_and_ends_at_zero(story: Story) -> None:
    story.pool("ml", ["ml_service"], app="celery_app.ml_tasks:app", scaling={"maxReplicas": 5} | PATIENT)
    assert story.witness.pods("ml") == []

    story.tasks.send("ml_service", 15, seconds=5)
    done = story.tasks.wait_until_done(seconds=PATIENCE)["ml_service"]
    story.wait_for_zero("ml")

    seen = story.witness.pool("ml")
    assert max(seen.ready) == max(seen.wanted) == seen.peak.replicas == 5
    # Not necessarily the first decision for five: a tick may come while the tasks are being sent.
    assert any("limited to 5 by maxReplicas" in decided.message for decided in seen.decisions)
    assert len(done.pods) >= 4
    assert story.tasks.most_at_once_per_pod() == 1
    assert seen.wanted[0] == 0
    assert len(story.witness.pods("ml")) == 5
    assert story.tasks.problems() == []
    assert story.tasks.waiting("ml_service") == story.tasks.held("ml_service") == 0


@pytest.mark.full
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


@pytest.mark.full
def test_threads_gevent_and_eventlet_pools_wake_run_their_tasks_and_sleep_again(story: Story) -> None:
    kinds = ("threads", "gevent", "eventlet")
    for kind in kinds:
        story.pool(kind, [kind], pool=kind, concurrency=4)
        story.tasks.send("email_service", 4, seconds=1, to=kind)
    done = story.tasks.wait_until_done(seconds=PATIENCE)
    for kind in kinds:
        story.wait_for_zero(kind)
        assert done[kind].succeeded == 4
        assert story.tasks.waiting(kind) == story.tasks.held(kind) == 0
        assert len(story.witness.pods(kind)) == 1
    assert story.tasks.problems() == []
