"""A connection that is dropped without a word: nothing is closed, nothing arrives, and the worker takes work again."""

from pathlib import Path

import pytest

from tests.agent.environments import NEWEST, OLDEST, TODAY
from tests.agent.rig import Rig
from tests.agent.shapes import once, param
from tests.agent.worker import Spec
from tests.integration.redis_server import RedisServer
from tests.integration.silent_proxy import SilentProxy

pytestmark = pytest.mark.agent

ESTABLISHED, KEEPALIVE = "01", "02"
NOTICED_SECONDS = 100.0
"""62 s on a quiet machine: the reply to an event, the reply to a broadcast, each after 15 s, and Celery's own waits."""


@pytest.mark.parametrize("spec", once(quick=["prefork"]))
def test_the_kernel_asks_for_a_sign_of_life_on_every_connection_of_a_worker(rig: Rig, spec: Spec) -> None:
    [worker] = rig.start(spec)
    worker.fresh()
    timers = rig.wait_for(lambda: _timers(worker.pid, rig.server.port), "it is connected")
    rig.wait_for(lambda: set(_timers(worker.pid, rig.server.port)) == {KEEPALIVE}, "nothing else is under way")
    assert len(timers) >= 4


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "spec",
    [
        param(Spec(version, pool, acks_late=True), quick=False)
        for version in (OLDEST, "5.6-today", NEWEST)
        for pool in ("solo", "prefork", "threads", "gevent")
    ],
)
def test_a_worker_whose_connections_fall_silent_takes_work_again(
    server: RedisServer, tmp_path: Path, spec: Spec
) -> None:
    assert spec.version in (OLDEST, NEWEST, *TODAY)
    with SilentProxy(server.port) as proxy, Rig(server, tmp_path, broker=f"redis://127.0.0.1:{proxy.port}/0") as rig:
        rig.start(spec)
        rig.send("before")
        rig.settle()
        proxy.cut(new_ones=False)
        # Redis hands what comes within a second to a BRPOP whose reply nobody will ever read.
        rig.wait_for(lambda: not _blocked(rig), "no request of before is left at Redis")
        rig.send("after")
        rig.settle(seconds=NOTICED_SECONDS)
        assert rig.account().problems == {}


def _timers(pid: int, port: int) -> list[str]:
    """The kernel's timers of the connections that a process has to a port of this machine."""
    own = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        row[5].split(":")[0]
        for row in rows
        if row[2].endswith(f":{port:04X}") and row[3] == ESTABLISHED and f"socket:[{row[9]}]" in own
    ]


def _blocked(rig: Rig) -> int:
    return int(rig.client.info("clients")["blocked_clients"])
