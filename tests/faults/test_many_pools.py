"""The operator of many pools is killed while work waits: its successor acts within seconds, and stays small."""

import json
import time
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.faults.conftest import Figure
from tests.integration.crds import install_crds
from tests.integration.kube import DEPLOYMENTS, POOLS, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

ACTS_SECONDS = 15.0
PEAK_MIB = 256
CREATION_SECONDS = 600.0
"""A thousand pools take some minutes on a busy machine."""
MANY = [pytest.mark.full, pytest.mark.alone, pytest.mark.timeout(900)]


def manifests(count: int, broker_url: str) -> str:
    """So many pools, each on a queue of its own."""
    spec = {"image": "app:1", "app": "app", "pool": "solo", "broker": {"url": broker_url}}
    kind = {"apiVersion": "celeriac.dev/v1alpha1", "kind": "CeleryWorkerPool"}
    names = [f"pool-{number}" for number in range(count)]
    items = [{**kind, "metadata": {"name": name}, "spec": spec | {"queues": [name]}} for name in names]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def peak_mib(pid: int) -> float:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=MANY)])
def test_an_operator_that_is_killed_among_many_pools_is_followed_by_one_that_acts_at_once(
    count: int, control_plane: ControlPlane, namespace: str, redis: RedisServer, figure: Figure
) -> None:
    install_crds(control_plane)
    kube = Kube(control_plane.kubeconfig, namespace)
    with OperatorProcess(control_plane.kubeconfig, namespace) as operator:
        started = time.monotonic()
        control_plane.kubectl(f"--namespace={namespace}", "create", "-f", "-", stdin=manifests(count, redis.celery_url))

        def all_rest() -> bool:
            return sum("idleSince" in pool.get("status", {}) for pool in kube.list(POOLS)) == count

        wait_until(all_rest, "all pools rest", seconds=CREATION_SECONDS, every=count / 100)
        figure(f"{count} pools at rest after", time.monotonic() - started, "s")
        figure(f"peak with {count}", peak_mib(operator.pid), "MiB")
        assert peak_mib(operator.pid) < PEAK_MIB
        operator.kill()
        push(redis, f"pool-{count // 2}", 3)
        killed = time.monotonic()
        operator.start()
        kube.wait_for(DEPLOYMENTS, f"pool-{count // 2}", lambda found: bool(found["spec"]["replicas"] == 3), 60)
        seconds = time.monotonic() - killed
        figure(f"its successor among {count} acts after", seconds, "s")
        figure(f"peak of that among {count}", peak_mib(operator.pid), "MiB")
        assert seconds < ACTS_SECONDS
        assert peak_mib(operator.pid) < PEAK_MIB
