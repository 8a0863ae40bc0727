"""Hundreds who scrape /metrics at once, and others who do it badly, beside pools, probes and one Prometheus."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.faults.conftest import Figure
from tests.faults.scrapers import SCRAPERS
from tests.integration.kube import Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

POOLS = 40
CROWD_SECONDS = 60.0
"""At most."""
PROBE_SECONDS = 5.0
"""What the kubelet gives a liveness probe (the chart)."""
SCRAPE_SECONDS = 10.0
"""What Prometheus gives a scrape."""
REACTION_SECONDS = 2.0
PEAK_MIB = 192
CONNECTIONS = 64 + 32
"""Open sockets of the operator: scrapers, and all that is its own."""


def test_four_hundred_scrapers_and_slow_clients_keep_no_pool_and_no_probe_waiting(
    control_plane: ControlPlane, kube: Kube, redis: RedisServer, figure: Figure
) -> None:
    with OperatorProcess(control_plane.kubeconfig, kube.namespace) as operator:
        for number in range(POOLS):
            kube.create_pool(f"pool-{number}", redis.celery_url, scaling={"maxReplicas": 1000})
        for number in range(POOLS):
            kube.wait_for_condition(f"pool-{number}", "BrokerReachable", "True", "Readable")
        command = [sys.executable, "-m", "tests.faults.scrapers", str(operator.port), str(CROWD_SECONDS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crowd:
            probes, reactions, sockets = [], [], []
            waiting = 0
            while crowd.poll() is None:
                probes.append(seconds(lambda: get(operator.health_port, "/healthz", SCRAPE_SECONDS)))
                sockets.append(open_sockets(operator.pid))
                waiting += 1
                reactions.append(seconds(partial(scaled, kube, redis, waiting)))
            assert crowd.stdout is not None
            told = json.loads(crowd.stdout.read())
        after = seconds(lambda: get(operator.port, "/metrics", SCRAPE_SECONDS))
        figure("answered", told["answered"], f"of {SCRAPERS} scrapers")
        figure("slowest scrape", told["slowest"], "s")
        figure("a scrape just after", after, "s")
        figure("slowest probe", max(probes), "s")
        figure("reaction of a pool", min(reactions), "s")
        figure("memory", operator.peak_mib(), "MiB")
        assert told["answered"] == SCRAPERS
        assert max(probes) < PROBE_SECONDS
        # The best of several: a busy machine delays everybody, a clogged loop each of them.
        assert min(reactions) < REACTION_SECONDS
        assert max(sockets) <= CONNECTIONS
        assert operator.peak_mib() < PEAK_MIB
        assert after < SCRAPE_SECONDS / 2


def scaled(kube: Kube, redis: RedisServer, waiting: int) -> None:
    """One message more, until one replica more is wanted."""
    push(redis, "pool-0", 1)
    kube.wait_for_replicas("pool-0", waiting)


def seconds(act: Callable[[], object]) -> float:
    """How long that took."""
    began = time.monotonic()
    act()
    return time.monotonic() - began


def get(port: int, path: str, patience: float) -> bytes:
    """The body of an answer; raises OSError where none came in time, or another than 200."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=patience) as answer:
        body: bytes = answer.read()
        return body


def open_sockets(pid: int) -> int:
    """How many sockets a process has."""
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += str(descriptor.readlink()).startswith("socket:")
        except OSError:  # closed meanwhile
            continue
    return found
