"""An API server that is sick, or the way to it: nothing is written without the Lease, and all is well soon after."""

import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.faults import sicknesses
from tests.faults.api_proxy import ApiProxy, Sickness
from tests.faults.conftest import SECONDS, Figure
from tests.faults.lease_log import LeaseLog
from tests.integration.kube import Kube
from tests.integration.operator_process import OperatorProcess, faultless
from tests.integration.redis_server import RedisServer
from tests.integration.tasks import push

pytestmark = pytest.mark.faults

CONVERGES_SECONDS = 30.0
"""After the API server is well again."""
LONG = 20
"""Tries of the Lease, one every two seconds at most: a pause that doubles without end would be too long by then."""
OFTEN = [sicknesses.lost_answer]
SELDOM = [
    sicknesses.broken_but_for_leases,
    sicknesses.silent,
    sicknesses.throttled,
    sicknesses.broken,
    sicknesses.no_api,
    sicknesses.slow,
    sicknesses.truncated,
    sicknesses.expired,
]
SICKNESSES = [
    *(pytest.param(each, id=each.__name__) for each in OFTEN),
    *(pytest.param(each, id=each.__name__, marks=pytest.mark.full) for each in SELDOM),
]

WEBHOOK = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: {name}}}
webhooks:
  - name: silent.example.com
    clientConfig: {{url: "https://127.0.0.1:{port}/"}}
    rules: [{{apiGroups: [apps], apiVersions: [v1], operations: ["*"], resources: [deployments, deployments/scale]}}]
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}
    timeoutSeconds: 1
    failurePolicy: Fail
    sideEffects: None
    admissionReviewVersions: [v1]
"""


@pytest.fixture
def user(namespace: str) -> str:
    """Of the operator of this test, in the audit log."""
    return f"operator-{namespace}"


@pytest.fixture
def proxy(control_plane: ControlPlane, user: str) -> Iterator[ApiProxy]:
    with ApiProxy(control_plane, user) as running:
        yield running


@pytest.fixture
def operator(proxy: ApiProxy, kube: Kube) -> Iterator[OperatorProcess]:
    """It reaches the API server only by the proxy."""
    with faultless(proxy.kubeconfig, kube.namespace) as running:
        yield running


@pytest.fixture
def story(
    operator: OperatorProcess, kube: Kube, redis: RedisServer, control_plane: ControlPlane, user: str, figure: Figure
) -> AbstractContextManager[None]:
    """A pool at rest; what befalls it is over at the end of the block, and soon after it has its size."""

    @contextmanager
    def befalls() -> Iterator[None]:
        kube.create_pool("ml", redis.celery_url)
        kube.wait_for_condition("ml", "Ready", "True", "ScaledToZero")
        yield
        converges(kube, figure)
        assert LeaseLog(control_plane, [user]).late_writes() == []

    return befalls()


def converges(kube: Kube, figure: Figure) -> None:
    """From now on all is well: the pool reaches its size."""
    well_since = time.monotonic()
    kube.wait_for_replicas("ml", 4)
    seconds = time.monotonic() - well_since
    figure("converged after", seconds, "s")
    assert seconds < CONVERGES_SECONDS


@pytest.mark.parametrize("sickness", SICKNESSES)
def test_an_api_server_that_is_sick_delays_a_pool_no_longer_than_it_is_sick(
    sickness: Sickness, story: AbstractContextManager[None], proxy: ApiProxy, kube: Kube, redis: RedisServer
) -> None:
    with story, proxy.sick(sickness):
        proxy.cut()  # the watches of before
        push(redis, "ml", 4)
        wait_until(lambda: proxy.renewals >= LONG or kube.replicas("ml") == 4, "long or borne", seconds=2 * SECONDS)
        assert proxy.met


def test_an_api_server_that_nobody_reaches_delays_a_pool_no_longer_than_that(
    story: AbstractContextManager[None], proxy: ApiProxy, operator: OperatorProcess, redis: RedisServer
) -> None:
    with story, proxy.refused():
        push(redis, "ml", 4)
        operator.wait_for_log("/celeriac lost: ", SECONDS)


@pytest.mark.full
def test_a_webhook_that_does_not_answer_delays_a_pool_no_longer_than_it_is_there(
    story: AbstractContextManager[None],
    operator: OperatorProcess,
    kube: Kube,
    redis: RedisServer,
    control_plane: ControlPlane,
) -> None:
    with story, socket.create_server(("127.0.0.1", 0)) as nobody:
        manifest = WEBHOOK.format(name=kube.namespace, port=nobody.getsockname()[1])
        control_plane.kubectl("create", "-f", "-", stdin=manifest)
        try:
            operator.forget_log()
            push(redis, "ml", 4)
            operator.wait_for_log("failed calling webhook", SECONDS)
            kube.wait_for_pool("ml", lambda pool: "webhook" in str(pool["status"]["conditions"]))
        finally:
            control_plane.kubectl("delete", "validatingwebhookconfiguration", kube.namespace)
