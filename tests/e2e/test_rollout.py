"""Rollouts while tasks run: old workers end theirs, new ones take over, and the pool may sleep meanwhile."""

import pytest

from tests.e2e.story import PATIENCE, Story
from tests.e2e.system import NEXT_WORKER, WORKER, System
from tests.integration.kube import DEPLOYMENTS, POOLS, Body

pytestmark = [pytest.mark.e2e, pytest.mark.full]


@pytest.fixture(autouse=True)
def next_image(system: System) -> None:
    """Only these stories need it."""
    system.cluster.provide(NEXT_WORKER)


def rolled_out(deployment: Body) -> bool:
    """Whether every replica runs the next image; the old workers may still end their tasks."""
    status = deployment.get("status", {})
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    observed = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return bool(image == NEXT_WORKER.tag and observed and status.get("updatedReplicas") == status.get("replicas"))


def test_a_rollout_to_a_new_image_during_a_burst_loses_nothing_and_runs_nothing_twice(story: Story) -> None:
    story.pool("ml", ["ml_service"], scaling={"maxReplicas": 3})
    story.tasks.send("ml_service", 12, seconds=3)
    story.tasks.wait_until_running("ml_service", 2, PATIENCE)
    story.kube.patch(POOLS, "ml", {"spec": {"image": NEXT_WORKER.tag}})
    story.kube.wait_for(DEPLOYMENTS, "ml", rolled_out)
    story.tasks.send("ml_service", 3, seconds=1)
    done = story.tasks.wait_until_done(seconds=PATIENCE)["ml_service"]
    story.wait_for_zero("ml")

    image_of = {pod.name: pod.image for pod in story.witness.pods("ml")}
    assert {image_of[pod] for pod in done.pods} == {WORKER.tag, NEXT_WORKER.tag}
    assert story.tasks.problems() == []
    assert story.tasks.waiting("ml_service") == story.tasks.held("ml_service") == 0
    assert story.witness.pool("ml").scaled_down_in_rollout == []


def test_a_rollout_that_cannot_go_on_leaves_the_old_workers_their_tasks_and_the_pool_its_sleep(story: Story) -> None:
    """The queue runs empty, zero is due: all workers drain, and only then the controller may take them all."""
    story.pool("ml", ["ml_service"], scaling={"maxReplicas": 2})
    story.tasks.send("ml_service", 10, seconds=2)
    story.tasks.wait_until_running("ml_service", 2, PATIENCE)
    story.kube.patch(POOLS, "ml", {"spec": {"image": "celeriac-demo:absent"}})
    told = story.kube.wait_for_condition("ml", "Reconciling", "True", "ImagePullFailed")
    assert "celeriac-demo:absent" in told["message"]
    assert "spec.image" in told["message"]
    assert story.kube.replicas("ml") == 2
    story.tasks.wait_until_done(seconds=PATIENCE)
    story.wait_for_zero("ml")
    assert story.witness.pool("ml").scaled_down_in_rollout[-1][1] == 0

    story.kube.patch(POOLS, "ml", {"spec": {"image": NEXT_WORKER.tag}})
    story.tasks.send("ml_service", 1, seconds=0.1)
    story.tasks.wait_until_done(seconds=PATIENCE)
    assert story.tasks.problems() == []


def test_workers_are_replaced_when_the_secret_of_their_broker_changes_and_no_task_is_lost(story: Story) -> None:
    """Another name of the same Redis: what waits is found by the old workers and by the new ones."""
    story.kube.create_secret("broker", url=story.broker_url)
    source = {"urlFrom": {"secretKeyRef": {"name": "broker", "key": "url"}}}
    story.pool("ml", ["ml_service"], broker=source, scaling={"minReplicas": 2, "maxReplicas": 2})
    story.kube.wait_for(DEPLOYMENTS, "ml", lambda found: found.get("status", {}).get("readyReplicas") == 2)
    old = {pod.name for pod in story.witness.pods("ml")}
    story.tasks.send("ml_service", 60, seconds=3)
    story.tasks.wait_until_running("ml_service", 2, PATIENCE)
    story.kube.replace_secret("broker", url=story.broker_url.replace(":6379", ".svc:6379"))
    done = story.tasks.wait_until_done(seconds=180)["ml_service"]

    assert set(done.pods) & old
    assert set(done.pods) - old, "new workers took over while there was work"
    assert story.tasks.problems() == []
    inside = "import os; print(os.environ['CELERY_BROKER_URL'])"
    assert ".svc:6379" in story.kubectl("exec", "deployment/ml", "--", "python", "-c", inside)
