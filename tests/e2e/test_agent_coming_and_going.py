"""From plain Celery to Celeriac and back to plain Celery, with tasks under way all the time."""

import json
import time

import pytest

from tests.e2e.story import PATIENCE, SMALL, Story
from tests.e2e.system import WORKER
from tests.integration.kube import POOLS

pytestmark = pytest.mark.e2e

SECONDS = 2.0
"""Of one task: long enough to be under way whenever something is changed."""


def plain_worker(story: Story) -> str:
    """A Deployment as it was before Celeriac: one worker of the demo application that nobody scales."""
    container = {
        "name": "worker",
        "image": WORKER.tag,
        "command": ["celery", "-A", "celery_app", "worker", "-P", "prefork", "-c", "2", "-Q", "batch"],
        "env": [{"name": "CELERY_BROKER_URL", "value": story.broker_url}],
        **SMALL,
    }
    labels = {"app": "plain"}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "plain"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
    )


@pytest.mark.full
def test_a_queue_comes_from_plain_celery_and_goes_back_to_it_without_a_lost_or_stranded_message(story: Story) -> None:
    story.kubectl("apply", "--filename=-", stdin=plain_worker(story))
    story.tasks.send("batch", 8, seconds=SECONDS)
    story.tasks.wait_until_running("batch", 2, PATIENCE)

    story.pool("batch", ["batch"], pool="prefork", concurrency=2, scaling={"maxReplicas": 2})
    story.kube.wait_for_pool("batch", lambda pool: pool["status"].get("heldElsewhere", 0) > 0)
    story.tasks.send("batch", 8, seconds=SECONDS)
    story.tasks.wait_until_running("batch", 4, PATIENCE)
    story.kubectl("delete", "deployment", "plain", "--wait=false")

    story.tasks.send("batch", 8, seconds=SECONDS)
    story.kube.patch(POOLS, "batch", {"spec": {"agent": "disabled"}})
    story.tasks.wait_until_done("batch", seconds=PATIENCE)
    story.wait_for_zero("batch")
    assert story.tasks.problems() == []
    assert story.tasks.waiting("batch") == story.tasks.held("batch") == 0

    story.kube.delete(POOLS, "batch")
    story.kubectl("wait", "--for=delete", "pod", "--selector=celeriac.dev/pool=batch", f"--timeout={PATIENCE}s")
    deadline = time.monotonic() + PATIENCE
    while left := list(story.tasks.redis.scan_iter("celeriac:*")):
        assert time.monotonic() < deadline, f"still there: {left}"
