"""The operator of many pools is killed while work waits in all: its successor acts on each within seconds, stays small.

What it asks of the API server is counted: three requests for each new pool at most.
"""

import json
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.faults.conftest import Figure
from tests.integration.crds import install_crds
from tests.integration.kube import DEPLOYMENTS, POOLS, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

"""By the number of pools, on a machine that is busy with other tests; on a quiet one all of 1,000 in 10."""
FOR_EACH_POOL = {("apply", "deployments"): 1.0, ("patch", "celeryworkerpools/status"): 2.0}
"""Requests for a new pool. Its second status tells that the Deployment's controller has seen it."""
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


def requests(operator: OperatorProcess) -> dict[tuple[str, str], float]:
    """How many of each kind this process has sent, by verb and resource; those of the Lease aside."""
    counted: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(operator.metrics()):
        for sample in family.samples:
            if sample.name == "celeriac_api_requests_total" and sample.labels["resource"] != "leases":
                key = (sample.labels["verb"], sample.labels["resource"])
                counted[key] = counted.get(key, 0.0) + sample.value
    return counted


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
        for what, number in FOR_EACH_POOL.items():
            assert requests(operator)[what] <= number * count * 1.1
        others = {what: number for what, number in requests(operator).items() if what not in FOR_EACH_POOL}
        assert sum(others.values()) < 20, f"whatever the number of pools: {others}"

        operator.kill()
        for number in range(count):
            push(redis, f"pool-{number}", 3)
        seen, killed = len(operator.log()), time.monotonic()
        operator.start()

        def acted_on() -> int:
            return sum(each["spec"]["replicas"] == 3 for each in kube.list(DEPLOYMENTS))

        wait_until(lambda: acted_on() > 0, "one is acted on", seconds=60)
        figure(f"its successor among {count} with work acts after", time.monotonic() - killed, "s")
        wait_until(lambda: acted_on() == count, "all are acted on", seconds=60, every=count / 1000)
        figure(f"and on all {count} after", time.monotonic() - killed, "s")
        figure(f"peak of that among {count}", peak_mib(operator.pid), "MiB")
        assert peak_mib(operator.pid) < PEAK_MIB
        assert [line for line in operator.log()[seen:].splitlines() if " INFO " not in line] == []
