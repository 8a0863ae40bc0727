"""A worker that lives, is free and takes nothing of what waits: found by its reports, told, and started anew.

Celery issues 8091 and 10205 tell of such workers after a lost connection. Here the app itself makes one of them deaf,
by what kombu asks before it fetches.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Figure
from tests.integration.brokers import producer
from tests.integration.kube import POOLS, Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import LiveShop
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer

pytestmark = [pytest.mark.faults, pytest.mark.full, pytest.mark.timeout(600)]

SLOTS = 4
FORGED = 12_345

# A worker whose pod is named in the set `deafen` asks Redis for nothing more. Who starts later is not meant.
DEAFENS = """
import threading

import kombu.transport.redis
from celery.signals import worker_ready

@worker_ready.connect(weak=False)
def listen(sender, **named):
    def look():
        with redis.Redis.from_url(os.environ["CELERY_BROKER_URL"]) as client:
            while not client.srem("deafen", os.environ["CELERIAC_POD_NAME"]):
                time.sleep(0.2)
            qos = sender.task_consumer.channel.qos
            kombu.transport.redis.QoS.can_consume = lambda self: False  # of the next connection, too
            qos.can_consume = lambda: False
            client.sadd("deaf", os.environ["CELERIAC_POD_NAME"])
    threading.Thread(target=look, daemon=True).start()
"""


@pytest.fixture
def shop(kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path) -> Iterator[LiveShop]:
    with LiveNode(kube, tmp_path, redis, drains=False) as node:
        app = tmp_path / "app.py"
        app.write_text(app.read_text() + DEAFENS)
        shop = LiveShop(kube, redis, node, operator)
        shop.open(redis.celery_url, concurrency=SLOTS)
        yield shop
        assert node.problems == []


def deafen(shop: LiveShop, pod: str) -> None:
    with shop.redis.client() as client:
        client.sadd("deafen", pod)
        shop.wait(lambda: bool(client.sismember("deaf", pod)), "it hears nothing more")


def test_a_worker_that_fetches_nothing_is_started_anew_and_what_it_runs_ends_first(
    shop: LiveShop, figure: Figure
) -> None:
    pods = sorted(body["metadata"]["name"] for body in shop.node.pods())
    shop.occupy(SLOTS + 1)
    deaf = min(pods, key=list(shop.busy().values()).count)
    deafen(shop, deaf)
    for number in range(10, 10 + SLOTS + 2):
        producer(shop.redis).send_task("hold", queue="ml", task_id=str(number))
    begun = time.monotonic()
    event = shop.kube.wait_for_event("ml", "WorkerRestarted", 120)
    figure("told to stop after", time.monotonic() - begun, "s")
    assert (event["type"], deaf in event["note"]) == ("Warning", True)
    assert "one a minute at most" in shop.kube.wait_for_event("ml", "NotFetching")["note"]
    shop.wait(lambda: shop.annotated() == {} == shop.marks(), "the mark has done its work")
    assert deaf in shop.busy().values(), "what it runs goes on"
    begun = time.monotonic()
    sent = [*(str(number) for number in range(1, SLOTS + 2)), *(str(number) for number in range(10, 10 + SLOTS + 2))]
    shop.wait(lambda: released(shop) == sent, "each task has run once")
    shop.occupy(2 * SLOTS)
    figure("works again after", time.monotonic() - begun, "s")
    assert sorted(body["metadata"]["name"] for body in shop.node.pods()) == pods
    assert set(shop.busy().values()) == set(pods)
    shop.kube.wait_for_condition("ml", "WorkersResponding", "True", "Responding")
    restarted = [line for line in shop.operator.metrics().splitlines() if "restarted_workers_total{" in line]
    assert [line.rpartition(" ")[2] for line in restarted] == ["1.0"]
    shop.kube.wait_for_pool("ml", lambda pool: not pool["status"].get("restartsInVain"))
    shop.operator.kill()
    shop.kube.patch_status(POOLS, "ml", {"waiting": FORGED})
    shop.operator.start()
    told = shop.kube.wait_for_pool("ml", lambda pool: pool["status"].get("waiting") != FORGED)["status"]
    assert (told["restartedWorkers"], told.get("restartsInVain", 0)) == (1, 0), "the next leader counts on"


def released(shop: LiveShop) -> list[str]:
    """Let what runs end; what has ended."""
    with shop.redis.client() as client:
        busy = shop.busy()
        if busy and not client.llen("release"):
            client.rpush("release", *busy)
    return shop.ended()
