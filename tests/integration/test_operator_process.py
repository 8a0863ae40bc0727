"""The operator as a process: killed in the middle of its work, and at rest."""

import itertools
import math
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds
from tests.integration.kube import DEPLOYMENTS, Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.integration

QUIET = "quiet"
RENEW_SECONDS = 2  # between two writes of the Lease by its holder


class QuietOperator:
    """An operator with three idle pools and a user of its own, and the audit log of that user since it came to rest."""

    def __init__(self, api: ControlPlane, kube: Kube, user: str) -> None:
        self._api, self._kube, self._user = api, kube, user
        self._seen = sum(1 for _ in api.audit_events())
        self._since = time.monotonic()

    def rest(self, seconds: float) -> None:
        """Until it has been at rest for so long; each renewal of its Lease is an event to be awaited."""
        while time.monotonic() - self._since < seconds:
            self._kube.wait_for_lease_renewal()

    def writes(self) -> tuple[list[dict[str, Any]], float]:
        """What it asked the API server to change since, anywhere in the cluster, and the seconds that this took."""
        seconds = time.monotonic() - self._since
        recent = itertools.islice(self._api.audit_events(), self._seen, None)
        own = [event for event in recent if event["user"].get("username") == self._user]
        return [event for event in own if event["verb"] not in ("get", "list", "watch")], seconds


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> ControlPlane:
    install_crds(control_plane)
    return control_plane


@pytest.fixture(scope="module", autouse=True)
def quiet(api: ControlPlane) -> Iterator[QuietOperator]:
    api.kubectl("create", "namespace", QUIET)
    kube = Kube(api.kubeconfig, QUIET)
    kubeconfig = api.kubeconfig_for("quiet-operator", ["system:masters"])
    with RedisServer() as redis, OperatorProcess(kubeconfig, QUIET):
        for name in ("one", "two", "three"):
            kube.create_pool(name, redis.celery_url)
        for name in ("one", "two", "three"):
            kube.wait_for_pool(name, lambda pool: "idleSince" in pool.get("status", {}))
            kube.wait_for_condition(name, "Ready", "True", "ScaledToZero")
        yield QuietOperator(api, kube, "quiet-operator")


@pytest.mark.full
def test_an_operator_killed_in_the_middle_of_a_scale_up_goes_on_where_it_was(api: ControlPlane, namespace: str) -> None:
    kube = Kube(api.kubeconfig, namespace)
    with RedisServer() as redis, OperatorProcess(api.kubeconfig, namespace) as operator:
        kube.create_pool("ml", redis.celery_url, scaling={"maxReplicas": 40})
        push(redis, "ml", 25)
        kube.wait_for_replicas("ml", 10)
        operator.kill()
        before = kube.replicas("ml")
        operator.start()
        after = kube.wait_for(DEPLOYMENTS, "ml", lambda found: bool(found["spec"]["replicas"] != before), 30)
        assert after["spec"]["replicas"] > before
        kube.wait_for_replicas("ml", 25, 30)
        operator.wait_for_log(" to 25 (Backlog)")  # the watch tells of it sooner than the log
        scaled = re.findall(rf"pool {namespace}/ml: scaled from (\d+) to (\d+) \((\w+)\): \S", operator.log())
        assert scaled[-1][1:] == ("25", "Backlog")
        assert len(set(scaled)) == len(scaled), "one line for each"


@pytest.mark.full
def test_three_idle_pools_cost_no_write_but_the_lease_over_a_minute(quiet: QuietOperator) -> None:
    """The minute has begun before the other story of this module, which has a namespace of its own."""
    quiet.rest(60)
    writes, seconds = quiet.writes()
    assert {event["objectRef"]["resource"] for event in writes} == {"leases"}
    assert len(writes) <= math.ceil(seconds / RENEW_SECONDS) + 1
