"""Workers that are ready and do not work: the operator says which, why and what to do. Real workers, real faults.

Each story lasts as long as its silence: half a minute at least.
"""

import signal
import time
from pathlib import Path

import pytest

from tests.cluster.ports import HOST
from tests.integration.brokers import producer
from tests.integration.kube import EVENTS, Body, Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import LiveShop
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.silent_proxy import SilentProxy

pytestmark = [pytest.mark.agent, pytest.mark.full, pytest.mark.timeout(600)]

SILENT_SECONDS = 30.0
"""What docs/troubleshooting.md promises."""


def responding(shop: LiveShop, status: str, reason: str) -> Body:
    """The condition, once it says so."""
    return shop.kube.wait_for_condition("ml", "WorkersResponding", status, reason)


def both_silent(shop: LiveShop) -> str:
    """What the condition says once it names both workers: their silence need not have begun in the same second."""

    def message() -> str:
        found = shop.kube.condition("ml", "WorkersResponding")
        return str(found["message"]) if found.get("reason") == "WorkerSilent" else ""

    shop.wait(lambda: all(name in message() for name in names(shop)), "both are named")
    return message()


def figure(shop: LiveShop, name: str) -> float | None:
    """A metric of the pool as it is now."""
    start = f'celeriac_pool_{name}{{namespace="{shop.kube.namespace}",pool="ml"}} '
    found = [line for line in shop.operator.metrics().splitlines() if line.startswith(start)]
    return float(found[0].removeprefix(start)) if found else None


def names(shop: LiveShop) -> list[str]:
    return sorted(body["metadata"]["name"] for body in shop.node.pods())


def test_a_worker_that_is_stopped_is_told_and_one_that_is_busy_is_not(
    kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path
) -> None:
    """Solo workers: one in a long task, which blocks its loop, and one that SIGSTOP has stopped."""
    with LiveNode(kube, tmp_path, redis) as node:
        shop = LiveShop(kube, redis, node, operator)
        shop.open(redis.celery_url, pool="solo")
        shop.occupy(1)
        (busy,) = shop.busy().values()
        (stopped,) = set(names(shop)) - {busy}
        responding(shop, "True", "Responding")
        node.signal(stopped, signal.SIGSTOP)
        began = time.monotonic()
        found = responding(shop, "False", "WorkerSilent")
        assert SILENT_SECONDS <= time.monotonic() - began < SILENT_SECONDS + 10
        assert stopped in found["message"]
        assert busy not in found["message"]
        assert figure(shop, "silent_workers") == 1
        event = kube.wait_for_event("ml", "WorkerSilent")
        assert (event["type"], stopped in event["note"]) == ("Warning", True)
        node.signal(stopped, signal.SIGCONT)
        responding(shop, "True", "Responding")
        shop.wait(lambda: figure(shop, "silent_workers") == 0, "the metric agrees")
        assert kube.wait_for_event("ml", "Responding")["type"] == "Normal"
        shop.release()
        assert shop.ended() == ["1"]
        told = [each["reason"] for each in kube.list(EVENTS) if each.get("action") == "ReadReports"]
        assert sorted(told) == ["Responding", "WorkerSilent"]


def test_a_task_that_keeps_the_interpreter_is_silence_too_and_passes(
    kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path
) -> None:
    with LiveNode(kube, tmp_path, redis) as node:
        shop = LiveShop(kube, redis, node, operator)
        shop.open(redis.celery_url)
        producer(redis).send_task("keep_the_gil", args=[75], queue="ml", task_id="1")
        shop.wait(lambda: len(shop.busy()) == 1, "it runs")
        (keeps,) = shop.busy().values()
        found = responding(shop, "False", "WorkerSilent")
        assert found["message"].startswith(f"{keeps} (for over 30 s) of 2 ready workers")
        assert "keeps the GIL" in found["message"]
        responding(shop, "True", "Responding")


def test_workers_that_keep_a_password_which_was_rotated_are_told(
    kube: Kube, operator: OperatorProcess, tmp_path: Path
) -> None:
    """The operator has a user of its own, and reads on."""
    reader = "user reader on >reader ~* &* +@all"
    with (
        RedisServer(password="0ld-w0rd", user="celery", config=[reader]) as redis,
        LiveNode(kube, tmp_path, redis) as node,
    ):
        kube.create_secret("broker", url=redis.celery_url.replace("celery:0ld-w0rd", "reader:reader"))
        shop = LiveShop(kube, redis, node, operator)
        shop.open()
        with redis.client() as client:
            client.execute_command("ACL", "SETUSER", "reader", "allcommands")
            admin = client.client_list()
            client.execute_command("ACL", "SETUSER", "celery", "resetpass", ">n3w-w0rd")
            for each in admin:
                if each["user"] == "celery" and each["cmd"] != "client|list":
                    client.execute_command("CLIENT", "KILL", "ID", each["id"])
            message = both_silent(shop)
        assert "since a password or an ACL changed" in message
        assert figure(shop, "silent_workers") == 2
        assert "w0rd" not in message + operator.log()
        assert kube.condition("ml", "BrokerReachable")["status"] == "True"


def test_a_connection_that_is_dropped_without_a_word_is_told(
    kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path
) -> None:
    """Nothing arrives any more, and who dials anew gets no answer either."""
    with SilentProxy(redis.port) as proxy, LiveNode(kube, tmp_path, redis, proxied(redis, proxy)) as node:
        shop = LiveShop(kube, redis, node, operator)
        shop.open(redis.celery_url, pool="prefork")
        proxy.cut()
        assert "dropped without a word" in both_silent(shop)


def test_workers_that_report_and_fetch_nothing_are_told(
    kube: Kube, redis: RedisServer, operator: OperatorProcess, tmp_path: Path
) -> None:
    """A task waits in a list that the spec names and the app does not read."""
    config = {"broker_transport_options": {"priority_steps": [0, 5]}}
    broker = {"url": redis.celery_url, "prioritySteps": [0, 3, 6, 9]}
    with LiveNode(kube, tmp_path, redis, config=config) as node:
        shop = LiveShop(kube, redis, node, operator)
        shop.open(broker=broker)
        producer(redis).send_task("hold", queue="ml", task_id="1", priority=3)
        found = responding(shop, "False", "NotFetching")
        assert "takes none of the waiting tasks" in found["message"]
        assert "reads other priority steps" in found["message"]
        assert all(name in found["message"] for name in names(shop)), "both take nothing"
        assert figure(shop, "silent_workers") == 0
        assert kube.wait_for_event("ml", "NotFetching")["type"] == "Warning"
        with redis.client() as client:
            client.delete("ml\x06\x163")
        responding(shop, "True", "Responding")


def proxied(redis: RedisServer, proxy: SilentProxy) -> str:
    """The URL of the server through the proxy."""
    return redis.celery_url.replace(f"{HOST}:{redis.port}", f"{HOST}:{proxy.port}")
