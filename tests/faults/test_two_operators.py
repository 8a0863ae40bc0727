"""Two operators of one Lease: the leading one is stopped, another leads, and the first goes on and writes no more.

What each wrote is read from where it was written: the audit log of the API server, and MONITOR of Redis.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.faults import sicknesses
from tests.faults.api_proxy import ApiProxy
from tests.faults.conftest import SECONDS, Figure
from tests.faults.lease_log import LeaseLog
from tests.faults.redis_witness import RedisWitness
from tests.integration.crds import install_crds
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.shop import Shop, Worker
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

WORKERS, HELD = 5, 100
"""So many end at once, and each held so many messages: putting them back is many writes."""
ROUNDS = 20


class Contender:
    """One of the two, with a user of its own and a way of its own to the API server."""

    def __init__(self, control_plane: ControlPlane, namespace: str, name: str, fault: str) -> None:
        self.user = f"{name}-{namespace}"
        self.proxy = ApiProxy(control_plane, self.user)
        self.process = OperatorProcess(self.proxy.kubeconfig, namespace)
        self._fault = fault
        self._partition = ExitStack()

    def stop(self) -> None:
        """It stands still and does not know that; or the API server is not to be had any more."""
        if self._fault == "frozen":
            os.kill(self.process.pid, signal.SIGSTOP)
        else:
            self._partition.enter_context(self.proxy.sick(sicknesses.silent))
            self.proxy.cut()

    def go_on(self) -> None:
        """All is well again."""
        if self._fault == "frozen":
            os.kill(self.process.pid, signal.SIGCONT)
        else:
            self._partition.close()

    def __enter__(self) -> Self:
        self.proxy.__enter__()
        self.process.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.__exit__(kind, error, trace)
        self.proxy.__exit__(kind, error, trace)


@pytest.fixture
def shop(control_plane: ControlPlane, namespace: str, redis: RedisServer) -> Iterator[Shop]:
    install_crds(control_plane)
    shop = Shop(control_plane, namespace, redis)
    with shop.node:
        yield shop


def ids(number: int, each: int) -> list[str]:
    """What one worker of a round holds."""
    return [f"{number}-{each}-{one}" for one in range(HELD)]


def workers(shop: Shop, number: int) -> list[Worker]:
    """They hold messages, which have to be put back when they end."""
    found = []
    for each in range(WORKERS):
        worker = shop.worker(f"ml-{number}-{each}", start=f"{number:04x}{each:04x}")
        shop.send(*ids(number, each))
        worker.takes(HELD, started=True)
        found.append(worker)
    return found


@pytest.mark.parametrize("fault", ["frozen", pytest.param("partitioned", marks=pytest.mark.full)])
@pytest.mark.parametrize("rounds", [1, pytest.param(ROUNDS, marks=pytest.mark.full)])
def test_a_leader_that_is_stopped_and_goes_on_later_writes_nothing_more(
    fault: str,
    rounds: int,
    shop: Shop,
    control_plane: ControlPlane,
    namespace: str,
    redis: RedisServer,
    figure: Figure,
) -> None:
    first, second = (Contender(control_plane, namespace, name, fault) for name in ("first", "second"))
    with first, RedisWitness(redis) as witness:
        first.process.wait_for_log("this replica leads", SECONDS)
        with second:
            for contender in (first, second):
                witness.knows(contender.user, contender.process.pid)
            shop.open(redis.celery_url)
            shop.kube.create_pool("size", redis.celery_url, scaling={"maxReplicas": 1000})
            for number in range(rounds):
                leader, heir = (first, second) if number % 2 == 0 else (second, first)
                one_round(shop, witness, leader, heir, number)
            log = LeaseLog(control_plane, [first.user, second.user])
            witness.catch_up()
            late = [write for write in witness.writes if log.holder_at(write.at) != write.by]
            figure("changes of the leader", len(log.holders) - 1, "")
            figure("writes to the API server", log.writes, "")
            figure("writes to Redis", len(witness.writes), "")
            figure("late", len(late) + len(log.late_writes()), "")
            assert log.late_writes() == []
            assert late == []
            assert len(log.holders) == rounds + 1
            assert shop.ids() == []


def one_round(shop: Shop, witness: RedisWitness, leader: Contender, heir: Contender, number: int) -> None:
    """The leader is stopped right after its first write to Redis, in the middle of many; the heir ends the work."""
    ending = workers(shop, number)
    witness.catch_up()
    witness.on_write(leader.user, leader.stop)
    for contender in (leader, heir):
        contender.process.forget_log()
    push(shop.redis, "size", 1)
    for worker in ending:
        worker.pod.ends(shop.now)
    heir.process.wait_for_log("this replica leads", SECONDS)
    wait_until(lambda: not any(worker.registered for worker in ending), "all is back", seconds=SECONDS)
    shop.kube.wait_for_replicas("size", number + 1)
    leader.go_on()
    leader.process.wait_for_log("lost: ", SECONDS)
    each_is_back_once(shop, number)


def each_is_back_once(shop: Shop, number: int) -> None:
    """By one death; they are taken away, for workers of the next round would find them before their own."""
    assert sorted(shop.ids()) == sorted(one for each in range(WORKERS) for one in ids(number, each))
    assert set(shop.deaths().values()) == {1}
    with shop.redis.client() as client:
        client.delete("mail")
