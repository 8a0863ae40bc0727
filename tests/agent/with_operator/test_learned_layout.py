"""An application whose queues are laid out in its own way, and a spec that does not say so: its tasks are seen."""

from pathlib import Path

import pytest
from celery import Celery

from tests.cluster.process import wait_until
from tests.integration.kube import Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import SECONDS, LiveShop
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = [pytest.mark.agent, pytest.mark.timeout(300)]

STEPS = list(range(10))
CONFIG = {"broker_transport_options": {"sep": ":", "priority_steps": STEPS, "queue_order_strategy": "priority"}}
LEARNED = {"separator": ":", "prioritySteps": STEPS}


@pytest.mark.full
def test_a_pool_that_has_had_one_worker_wakes_by_a_task_in_a_list_that_the_spec_does_not_name(
    kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path
) -> None:
    """The first task has no priority, and wakes it; the second, after a restart of the operator, has one."""
    with (
        LiveNode(kube, tmp_path, redis, config=CONFIG) as node,
        Celery("sender", broker=redis.celery_url) as sender,
    ):
        sender.conf.update(CONFIG)
        shop = LiveShop(kube, redis, node, operator)
        kube.create_pool("ml", redis.celery_url, pool="threads", concurrency=1)
        sender.send_task("hold", queue="ml", task_id="1", ignore_result=True)
        shop.wait(lambda: list(shop.busy()) == ["1"], "the first runs")
        kube.wait_for_pool("ml", lambda pool: bool(pool["status"].get("learnedLayout") == LEARNED))
        assert kube.wait_for_event("ml", "LayoutLearned")["type"] == "Normal"
        sender.send_task("hold", queue="ml", task_id="2", ignore_result=True, priority=7)
        kube.wait_for_pool("ml", lambda pool: bool(pool["status"]["desiredReplicas"] == 2))
        shop.wait(lambda: len(shop.busy()) == 2, "both run")
        shop.release()
        kube.wait_for_replicas("ml", 0)
        assert operator.stop() == 0
        with redis.client() as client:
            sender.send_task("hold", queue="ml", task_id="3", ignore_result=True, priority=7)
            wait_until(lambda: client.llen("ml:7") == 1, "it is in a list of its own", seconds=SECONDS)
        operator.start()
        shop.wait(lambda: list(shop.busy()) == ["3"], "the third runs")
        shop.release()
        assert (shop.ended(), node.problems) == (["1", "2", "3"], [])


@pytest.mark.full
def test_a_spec_that_says_a_part_learns_the_rest(
    kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path
) -> None:
    broker = {"url": redis.celery_url, "prioritySteps": [0, 5]}
    with LiveNode(kube, tmp_path, redis, config=CONFIG):
        kube.create_pool("ml", broker=broker, pool="threads", concurrency=1, replicas=1)
        found = kube.wait_for_pool("ml", lambda pool: "learnedLayout" in pool.get("status", {}))
        assert found["status"]["learnedLayout"] == {"separator": ":", "prioritySteps": [0, 5]}


@pytest.mark.full
def test_a_worker_with_another_key_prefix_is_missing_and_the_field_is_named(
    kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path
) -> None:
    """It consumes and reports where nobody looks: all that can be told is where its reports are looked for."""
    config = {"broker_transport_options": {"global_keyprefix": "other:"}}
    with LiveNode(kube, tmp_path, redis, config=config):
        kube.create_pool("ml", redis.celery_url, pool="threads", concurrency=1, replicas=1)
        found = kube.wait_for_condition("ml", "Ready", "False", "AgentMissing")
        assert 'with key prefix "": spec.broker.keyPrefix must equal global_keyprefix' in found["message"]
        with redis.client() as client:
            assert client.exists("other:celeriac:pools")
