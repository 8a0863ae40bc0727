"""The operator itself, started with the arguments and the ServiceAccount that the chart gives it."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane
from tests.cluster.ports import free_port
from tests.cluster.process import wait_until
from tests.integration.crds import POOLS, wait_established
from tests.integration.helm import RELEASE, SYSTEM, Helm, Install
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

OPERATOR = f"system:serviceaccount:{SYSTEM}:{RELEASE}"
POOL = {
    "apiVersion": "celeriac.dev/v1alpha1",
    "kind": "CeleryWorkerPool",
    "metadata": {"name": "email"},
    "spec": {
        "image": "registry.example/app:1",
        "app": "app:app",
        "pool": "solo",
        "broker": {"urlFrom": {"secretKeyRef": {"name": "broker", "key": "url"}}},
    },
}


def arguments(helm: Helm, values: dict[str, Any]) -> list[str]:
    (deployment,) = (each for each in helm.template(values) if each["kind"] == "Deployment")
    found: list[str] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


@contextmanager
def operator(kubeconfig: Path, arguments: list[str], log: Path) -> Iterator[None]:
    """`python -m celeriac`, as the image starts it; its log is shown when the test fails."""
    environment = os.environ | {"KUBECONFIG": str(kubeconfig), "POD_NAME": "operator-0"}
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "celeriac", *arguments], env=environment, stderr=output)
    try:
        yield
        process.terminate()
        assert process.wait(20) == 0
    except BaseException:
        print(log.read_text())
        raise
    finally:
        process.kill()
        process.wait()


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def refusals(control_plane: ControlPlane) -> list[str]:
    """What the API server has forbidden to the operator."""
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in control_plane.audit_events()
        if event["user"].get("username") == OPERATOR and event["responseStatus"]["code"] == 403
    ]


@pytest.fixture
def team(chart_cluster: ControlPlane) -> Iterator[str]:
    """A namespace with users of the operator in it."""
    name = f"team-{free_port()}"
    chart_cluster.kubectl("create", "namespace", name)
    yield name
    chart_cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.full
@pytest.mark.parametrize("clusterwide", [True, False], ids=["cluster-wide", "one-namespace"])
def test_the_operator_lives_on_what_the_chart_allows_it(
    install: Install, helm: Helm, chart_cluster: ControlPlane, team: str, clusterwide: bool, tmp_path: Path
) -> None:
    kubectl = chart_cluster.kubectl
    port, health = free_port(), free_port()
    values = {
        "watchNamespaces": [] if clusterwide else [team],
        "metrics": {"port": port},
        "healthPort": health,
        "brokers": {"allowAddresses": ["127.0.0.0/8"]},
    }
    install(values)
    wait_established(chart_cluster, POOLS)
    kubeconfig = chart_cluster.kubeconfig_for_service_account(SYSTEM, RELEASE)

    def read(resource: str, path: str) -> str:
        return kubectl("get", resource, "email", f"-n{team}", "--ignore-not-found", f"-ojsonpath={path}")

    with RedisServer() as redis, operator(kubeconfig, arguments(helm, values), tmp_path / "log"):
        kubectl("create", "secret", "generic", "broker", f"--from-literal=url={redis.url}", f"-n{team}")
        redis.client().lpush("celery", "one", "two", "three")
        kubectl("create", f"-n{team}", "-f", "-", stdin=yaml.safe_dump(POOL))
        wait_until(lambda: read("deployment", "{.spec.replicas}") == "3", "three replicas for three tasks", seconds=30)
        wait_until(lambda: read("cwp", "{.status.desiredReplicas}") == "3", "the decision in the status", seconds=30)
        wait_until(lambda: is_ready(health), "a ready operator", seconds=30)
    assert refusals(chart_cluster) == []
    holder = kubectl("get", "lease", RELEASE, f"-n{SYSTEM}", "-ojsonpath={.spec.holderIdentity}")
    assert holder == "", "the operator gives its Lease back"
