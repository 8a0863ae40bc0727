"""Workers that cannot drain are removed one by one when they are at rest, while others work: no pool stays at its peak.

A hook is missing in the agent of real workers, or their level does not include draining. One task lasts through all of
it, so that the pool is never idle.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.brokers import producer
from tests.integration.kube import POOLS, Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import LiveShop
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = [pytest.mark.agent, pytest.mark.timeout(300)]

SCALING = {
    "minReplicas": 1,
    "maxReplicas": 2,
    "target": {"tasksPerSlot": 3},
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}


@pytest.fixture
def shop(kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path) -> Iterator[LiveShop]:
    with LiveNode(kube, tmp_path, redis, drains=False) as node:
        yield LiveShop(kube, redis, node, operator)


def shrinks_while_a_task_runs_and_others_come(shop: LiveShop, **spec: object) -> None:
    """Two workers, one busy to the end; short tasks come all the time, and one worker is enough."""
    shop.open(shop.redis.celery_url, scaling=SCALING, **spec)
    shop.occupy(1)
    (busy,) = shop.busy().values()
    shop.wait(lambda: sum(report["active"] for report in shop.reports().values()) == 1, "its worker has said so")
    shop.kube.patch(POOLS, "ml", {"spec": {"replicas": None}})
    sent = 0

    def shrunk() -> bool:
        nonlocal sent
        if sent < 200 and len(shop.ended()) == sent:
            sent += 1
            producer(shop.redis).send_task("quick", args=[0.3], queue="ml", task_id=str(100 + sent))
        return shop.kube.replicas("ml") == 1

    shop.wait(shrunk, "one replica")
    shop.wait(lambda: len(shop.node.pods()) == 1, "one worker")
    left = [body["metadata"]["name"] for body in shop.node.pods()]
    assert (left, list(shop.busy().values()), shop.node.problems) == ([busy], [busy], []), shop.story()
    shop.release()
    expected = sorted(["1", *(str(100 + number) for number in range(1, sent + 1))], key=int)
    shop.wait(lambda: shop.ended() == expected, "each task has ended once")
    assert sent > 0


@pytest.mark.full
def test_a_pool_whose_workers_miss_a_hook_reaches_its_size_during_demand_and_says_so(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERIAC_AGENT_WITHOUT", "process-task")
    shrinks_while_a_task_runs_and_others_come(shop)
    message = shop.kube.wait_for_condition("ml", "AgentDegraded", "True", "HooksMissing")["message"]
    for words in ("process-task", "Celery 5.", "kombu", "redis-py", "Python 3.", "cannot drain"):
        assert words in message, message
    assert shop.kube.condition("ml", "Ready")["status"] == "True"
    assert "process-task" in shop.kube.wait_for_event("ml", "HooksMissing")["note"]
    pool = f'namespace="{shop.kube.namespace}",pool="ml"'
    wanted = (
        f"celeriac_pool_degraded_workers{{{pool}}} 1.0",
        f'celeriac_pool_missing_hooks{{hook="process-task",{pool}}} 1.0',
    )

    def told() -> bool:
        metrics = shop.operator.metrics()
        return all(line in metrics for line in wanted)

    shop.wait(told, "the metrics tell of the worker that is left")


@pytest.mark.full
@pytest.mark.parametrize("level", ["report", "inflight"])
def test_a_pool_at_a_level_without_draining_reaches_its_size_and_is_no_trouble(shop: LiveShop, level: str) -> None:
    shrinks_while_a_task_runs_and_others_come(shop, agent=level)
    shop.kube.wait_for_condition("ml", "AgentDegraded", "False", "AgentComplete")
    assert shop.kube.condition("ml", "Ready")["status"] == "True"
