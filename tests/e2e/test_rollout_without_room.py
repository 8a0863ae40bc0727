"""Rollouts where nothing has room for one more worker: old ones that have drained make room, and no task is stopped."""

import time
from typing import Any

import pytest

from tests.cluster.process import wait_until
from tests.e2e.story import PATIENCE, Story
from tests.integration.kube import DEPLOYMENTS, POOLS, Body

pytestmark = pytest.mark.e2e

HALF_A_NODE = {"resources": {"requests": {"cpu": "700m", "memory": "64Mi"}}}
"""Two cores have room for two such pods, and for no third."""
ENDS_WITHIN = 60.0
"""Seconds in which such a rollout ends, a task of 15 s included."""
TASK_SECONDS = 15


def two_workers(story: Story, **template: Any) -> None:
    """A pool that has two workers, each ready."""
    story.pool("ml", ["ml_service"], scaling={"minReplicas": 2, "maxReplicas": 2}, template=template)
    story.kube.wait_for(DEPLOYMENTS, "ml", lambda found: found.get("status", {}).get("readyReplicas") == 2)


def change(story: Story, value: str, **spec: Any) -> None:
    """A new template: an environment variable, and whatever else is given."""
    template = {"spec": {"env": [{"name": "RELEASE", "value": value}]}}
    story.kube.patch(POOLS, "ml", {"spec": {"template": template} | spec})


def rolled_out(deployment: Body, value: str) -> bool:
    """Whether all replicas are of the new template and ready."""
    status, spec = deployment.get("status", {}), deployment["spec"]
    environment = spec["template"]["spec"]["containers"][0]["env"]
    counts = {status.get("updatedReplicas"), status.get("readyReplicas"), status.get("replicas"), spec["replicas"]}
    observed = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return {"name": "RELEASE", "value": value} in environment and observed and len(counts) == 1


def ends_in_time(story: Story, value: str) -> None:
    """Change the template while one worker is busy and the other idle, and wait for the end of the rollout."""
    story.tasks.send("ml_service", 1, seconds=TASK_SECONDS)
    story.tasks.wait_until_running("ml_service", 1, PATIENCE)
    begun = time.monotonic()
    change(story, value)
    story.kube.wait_for(DEPLOYMENTS, "ml", lambda found: rolled_out(found, value), ENDS_WITHIN)
    print(f"the rollout took {time.monotonic() - begun:.1f} s")


def account_is_settled(story: Story) -> None:
    """No task lost, none twice, none stopped."""
    story.tasks.wait_until_done(seconds=PATIENCE)
    assert story.tasks.problems() == []
    wait_until(lambda: not story.tasks.held("ml_service"), "the last acknowledgement", seconds=PATIENCE)
    assert story.tasks.waiting("ml_service") == 0


@pytest.mark.full
def test_a_node_that_is_full_gets_a_new_release_within_a_minute_and_a_pin_is_obeyed_meanwhile(story: Story) -> None:
    two_workers(story, **HALF_A_NODE)
    ends_in_time(story, "second")
    account_is_settled(story)
    assert {pod.restarts for pod in story.witness.pods("ml")} == {0}

    story.tasks.send("ml_service", 1, seconds=TASK_SECONDS)
    story.tasks.wait_until_running("ml_service", 1, PATIENCE)
    change(story, "third", image="celeriac-demo:absent")
    story.kube.wait_for_condition("ml", "Ready", "False", "ImagePullFailed")
    story.kubectl("scale", "cwp/ml", "--replicas=0")
    story.wait_for_zero("ml")
    account_is_settled(story)


@pytest.mark.full
def test_a_quota_that_is_full_gets_a_new_release_within_a_minute(story: Story) -> None:
    story.kubectl("create", "quota", "full", "--hard=pods=3")  # Redis and two workers
    two_workers(story)
    ends_in_time(story, "second")
    account_is_settled(story)


@pytest.mark.full
def test_a_release_that_crashes_takes_one_worker_and_no_more(story: Story) -> None:
    two_workers(story, **HALF_A_NODE)
    old = {pod.name for pod in story.witness.pods("ml")}
    change(story, "broken", app="no_such_app")
    story.kube.wait_for_condition("ml", "Ready", "False", "CrashLoop")
    story.tasks.send("ml_service", 3, seconds=5)
    account_is_settled(story)
    assert len({pod.name for pod in story.witness.pods("ml") if not pod.deleted} & old) == 1
    change(story, "mended", app="celery_app")
    story.kube.wait_for(DEPLOYMENTS, "ml", lambda found: rolled_out(found, "mended"))
    story.tasks.send("ml_service", 2, seconds=1)
    account_is_settled(story)


@pytest.mark.full
def test_a_pool_without_the_agent_gets_a_new_release_at_the_next_quiet_moment(story: Story) -> None:
    story.pool(
        "ml", ["ml_service"], agent="disabled", scaling={"minReplicas": 2, "maxReplicas": 2}, template=HALF_A_NODE
    )
    story.kube.wait_for(DEPLOYMENTS, "ml", lambda found: found.get("status", {}).get("readyReplicas") == 2)
    ends_in_time(story, "second")
    account_is_settled(story)
