"""Large messages of a worker that is gone: the operator moves them inside Redis, and never reads them."""

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.ports import HOST
from tests.cluster.process import wait_until
from tests.faults.conftest import SECONDS, Figure
from tests.integration.crds import install_crds
from tests.integration.gone_worker import STARTED
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.shop import Shop, Worker

pytestmark = pytest.mark.faults

MIB = 1 << 20
GROWTH = 48 * MIB
"""Far less than one of the messages."""
STEPS = {0: "mail", 9: "mail\x06\x169"}


@pytest.fixture
def shop(control_plane: ControlPlane, redis: RedisServer, namespace: str) -> Iterator[Shop]:
    """The URL of its pool's broker is in the Secret `broker`."""
    install_crds(control_plane)
    shop = Shop(control_plane, namespace, redis)
    with shop.node:
        yield shop


def holds(shop: Shop, worker: Worker, *sizes: int) -> dict[str, list[str]]:
    """Let a worker hold messages with bodies of so many bytes; the ids by list, the one that is consumed next first."""
    lists: dict[str, list[str]] = {key: [] for key in STEPS.values()}
    bodies = {size: base64.b64encode(os.urandom(size * 3 // 4)).decode() for size in set(sizes)}
    with shop.redis.client() as client:
        for number, size in enumerate(sizes):
            priority = 9 if number % 5 == 0 else 0
            info = {"exchange": "", "routing_key": "mail", "celeriac_queue": "mail"}
            message = {
                "body": bodies[size],
                "content-encoding": "utf-8",
                "headers": {"id": f"{number}", "task": "task"},
                "properties": {"priority": priority, "delivery_info": info},
            }
            client.hset(worker.unacked, f"tag-{number}", json.dumps([message, "", "mail"]))
            client.zadd(worker.index, {f"tag-{number}": 1000 + number + STARTED * (number == 1)})
            lists[STEPS[priority]].append(f"{number}")
    return lists


def ids(shop: Shop) -> dict[str, list[str]]:
    """The same of what stands in the lists now. A body is too long to be looked at each time."""
    look = """
    local text = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
    return string.match(string.sub(text, -400), '"id": "(%d+)"')
    """
    with shop.redis.client(socket_timeout=SECONDS) as client:
        return {
            key: [client.eval(look, 1, key, place) for place in range(-1, -client.llen(key) - 1, -1)]
            for key in STEPS.values()
        }


def peak(operator: OperatorProcess) -> int:
    """The most memory that the process ever had, in bytes."""
    status = Path(f"/proc/{operator.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.full
@pytest.mark.parametrize("number", [2, 20])
def test_messages_of_60_mib_go_back_without_passing_through_the_operator(
    shop: Shop, operator: OperatorProcess, figure: Figure, number: int
) -> None:
    """It was killed by each of them, with a limit of 512 MiB, and again after each restart."""
    shop.kube.create_secret("broker", url=shop.redis.url)
    shop.open()
    worker = shop.worker("ml-1")
    shop.wait_until_all_was_judged()
    lists = holds(shop, worker, *[60 * MIB] * number)
    before, begun = peak(operator), time.monotonic()
    worker.pod.ends(shop.now, "OOMKilled")
    wait_until(lambda: not worker.registered, "all is back", seconds=2 * SECONDS)
    figure("all are back after", time.monotonic() - begun, "s")
    figure("the operator's memory grows by", (peak(operator) - before) / MIB, "MiB")
    assert ids(shop) == lists
    assert peak(operator) - before < GROWTH


@pytest.mark.full
def test_a_message_that_is_too_large_for_a_user_without_scripts_stays_and_is_told_with_the_right_that_is_missing(
    shop: Shop, operator: OperatorProcess
) -> None:
    with shop.redis.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", "on", ">word", "~*", "+@all", "-@scripting")
    shop.kube.create_secret("broker", url=f"redis://shop:word@{HOST}:{shop.redis.port}/0")
    shop.open()
    worker = shop.worker("ml-1")
    shop.wait_until_all_was_judged()
    before = peak(operator)
    lists = holds(shop, worker, 1000, 2 * MIB, 60 * MIB, 3 * MIB, 1000)
    worker.pod.ends(shop.now)
    event = shop.kube.wait_for_event("ml", "MessageTooLarge")
    assert "62914" in event["note"]
    assert "grant the ACL user +eval +evalsha" in event["note"]
    wait_until(lambda: ids(shop)["mail"] == ["1", "3", "4"], "the others are back", seconds=SECONDS)
    assert worker.registered
    assert peak(operator) - before < GROWTH
    with shop.redis.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", "+@scripting")
    wait_until(lambda: not worker.registered, "all is back", seconds=SECONDS)
    assert sorted(ids(shop)["mail"]) == sorted(lists["mail"])
