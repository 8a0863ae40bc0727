"""Another server becomes the master, and what is connected to the old one stays so: a failover by name or address."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.agent.environments import NEWEST, OLDEST
from tests.agent.rig import Rig
from tests.agent.shapes import param
from tests.agent.worker import Spec, eventually
from tests.integration.redis_server import RedisServer
from tests.integration.silent_proxy import SilentProxy

pytestmark = pytest.mark.agent

SECONDS = 3.0


class Failover:
    """Two servers, of which one is the master, and the address by which everybody finds it."""

    def __init__(self, old: RedisServer, new: RedisServer, name: SilentProxy) -> None:
        self.old, self.new, self._name = old, new, name

    def happens(self, *, silent: bool) -> None:
        """The new one takes over; the old one follows it, or, `silent`, answers nothing but that it has no master."""
        with self.old.client() as old, self.new.client() as new:
            new.replicaof("NO", "ONE")
            self._name.turn_to(self.new.port)
            if silent:
                old.config_set("replica-serve-stale-data", "no")
                old.replicaof("127.0.0.1", "1")
            else:
                old.replicaof("127.0.0.1", str(self.new.port))


@pytest.fixture
def failover() -> Iterator[Failover]:
    with RedisServer() as old, RedisServer(replicaof=old) as new, SilentProxy(old.port) as name:
        with new.client() as client:
            eventually(lambda: client.info("replication")["master_link_status"] == "up", "it follows", 10)
        yield Failover(old, new, name)


@pytest.fixture
def rig(failover: Failover, tmp_path: Path) -> Iterator[Rig]:
    """Its workers and its sender go by the name, its own hand to the server that is to be the master."""
    with failover.new.client() as client:
        client.replicaof("NO", "ONE")
    with Rig(failover.new, tmp_path, broker=f"redis://127.0.0.1:{failover._name.port}/0") as rig:
        rig.client.replicaof("127.0.0.1", str(failover.old.port))
        eventually(lambda: rig.client.info("replication")["master_link_status"] == "up", "it follows", 10)
        yield rig


def _workers(*quick: tuple[str, str, bool]) -> list[Any]:
    specs = [
        Spec(version, pool, late)
        for version in (OLDEST, "5.6", NEWEST)
        for pool in ("solo", "prefork", "threads", "gevent")
        for late in (False, True)
    ]
    return [param(spec, quick=(spec.version, spec.pool, spec.acks_late) in quick) for spec in specs]


@pytest.mark.parametrize("silent", [False, pytest.param(True, marks=pytest.mark.full)], ids=["follows", "silent"])
@pytest.mark.parametrize(
    "then", [pytest.param("works on", marks=pytest.mark.full), "drains", pytest.param("ends", marks=pytest.mark.full)]
)
@pytest.mark.parametrize("spec", _workers((NEWEST, "prefork", True)))
def test_tasks_run_while_another_server_becomes_the_master(
    rig: Rig, failover: Failover, spec: Spec, then: str, silent: bool
) -> None:
    """Their acknowledgements reach the new master, though the worker fetches nothing and so hears of nothing."""
    [worker] = rig.start(spec)
    running = rig.occupy(worker, [f"t{number}" for number in range(spec.slots_in_truth)], SECONDS)
    worker.wait_for(lambda report: report["active"] == len(running), "they run")
    token = rig_mark(rig, failover, worker.uid) if then == "drains" else ""
    failover.happens(silent=silent)
    if then == "ends":
        worker.signal(signal.SIGTERM)
        assert worker.gone(30) == 0
    elif then == "drains":
        rig.drained(worker, token)
        rig.undrain(worker)
    else:
        rig.send("after")
    rig.settle()
    rig.wait_for(lambda: _unacked(rig.client) == 0, "nothing is held")
    assert rig.account().problems == {}


def rig_mark(rig: Rig, failover: Failover, uid: str) -> str:
    """A drain mark on the server that is still the master."""
    with failover.old.client() as client:
        client.hset(f"{rig.prefix}celeriac:{rig.pool_uid}:drain", uid, "a-token")
    return "a-token"


def _unacked(client: redis.Redis) -> int:
    return sum(client.hlen(str(key)) for key in client.scan_iter("shop:unacked.*", _type="hash"))
