"""What tasks do is in the operator's metrics within seconds, by their names, over restarts of workers and operator."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.brokers import producer
from tests.integration.kube import Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import SECONDS, LiveShop
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = [pytest.mark.agent, pytest.mark.timeout(300)]

TOLD_SECONDS = 5.0


@pytest.fixture
def shop(kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path) -> Iterator[LiveShop]:
    with LiveNode(kube, tmp_path, redis, drains=False) as node:
        yield LiveShop(kube, redis, node, operator)


def counter(shop: LiveShop, metric: str, /, **labels: str) -> float:
    """The value of a series of this pool; -1 where there is none."""
    wanted = labels | {"namespace": shop.kube.namespace, "pool": "ml"}
    text = ",".join(f'{label}="{value}"' for label, value in sorted(wanted.items()))
    found = re.search(rf"^{re.escape(f'{metric}{{{text}}}')} (\S+)$", shop.operator.metrics(), re.MULTILINE)
    return float(found[1]) if found else -1.0


def failed(shop: LiveShop) -> float:
    return counter(shop, "celeriac_tasks_total", task="fail", state="failed")


def test_an_exception_is_told_within_seconds_and_no_count_is_lost_over_restarts(shop: LiveShop) -> None:
    shop.open(shop.redis.celery_url)
    send = producer(shop.redis).send_task
    send("fail", queue="ml", ignore_result=True)
    sent = time.monotonic()
    shop.wait(lambda: failed(shop) == 1, "the exception is told by the name of its task")
    assert time.monotonic() - sent < TOLD_SECONDS
    assert counter(shop, "celery_task_failed_total", name="fail") == 1
    assert counter(shop, "celeriac_tasks_total", task="fail", state="succeeded") == 0
    assert counter(shop, "celeriac_task_runtime_seconds_count", task="fail") == 1
    assert counter(shop, "celery_task_runtime_bucket", name="fail", le="+Inf") == 1
    assert counter(shop, "celeriac_task_wait_seconds_count", task="fail") == -1, "nobody says when it was sent"
    send("quick", args=[0.0], queue="ml", ignore_result=True, task_id="7", timestamp=time.time())
    shop.wait(lambda: counter(shop, "celeriac_task_wait_seconds_count", task="quick") == 1, "how long it has waited")

    for body in shop.node.pods():
        shop.node.signal(body["metadata"]["name"], signal.SIGTERM)
    before = {report["process"] for report in shop.reports().values()}
    shop.wait(lambda: not before & {report["process"] for report in shop.reports().values()}, "they are others")
    shop.wait_until_all_work()
    send("fail", queue="ml", ignore_result=True)
    shop.wait(lambda: failed(shop) == 2, "the counter goes on over a restart of the workers")

    assert shop.operator.stop() == 0
    send("fail", queue="ml", ignore_result=True)
    shop.operator.forget_log()
    shop.operator.start()
    shop.operator.wait_for_log("this replica leads", seconds=SECONDS)
    shop.wait(lambda: failed(shop) == 3, "and over one of the operator")
    with shop.redis.client() as client:
        client.delete(f"celeriac:{shop.uid}:tasks")
    send("fail", queue="ml", ignore_result=True)
    shop.wait(lambda: failed(shop) == 4, "and over the loss of what Redis had")
    metrics = shop.operator.metrics()
    assert "as intended" not in metrics
    assert "ValueError" not in metrics


@pytest.mark.full
def test_counts_that_somebody_spoils_are_told_and_harm_nothing(shop: LiveShop) -> None:
    shop.open(shop.redis.celery_url)
    key = f"celeriac:{shop.uid}:tasks"
    with shop.redis.client() as client:
        client.set(key, "something else")
    producer(shop.redis).send_task("fail", queue="ml", ignore_result=True)
    message = shop.kube.wait_for_condition("ml", "AgentDegraded", "True", "HooksMissing")["message"]
    assert "task-key" in message
    assert "the task metrics lack what these workers run" in message
    note = shop.kube.wait_for_event("ml", "TaskCountsUnreadable")["note"]
    assert "remove that key" in note
    shop.wait(lambda: counter(shop, "celeriac_pool_unread_task_counts") == 1, "the metrics say so")
    assert shop.kube.condition("ml", "Ready")["status"] == "True"
    assert shop.kube.condition("ml", "BrokerReachable")["status"] == "True"
    with shop.redis.client() as client:
        client.delete(key)
    shop.wait(lambda: failed(shop) == 1, "nothing is lost that the worker kept")
    shop.wait(lambda: counter(shop, "celeriac_pool_unread_task_counts") == 0, "and it is over")
    shop.kube.wait_for_condition("ml", "AgentDegraded", "False", "AgentComplete")
