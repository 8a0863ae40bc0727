"""Hundreds of tokens that nobody has issued, beside one Prometheus whose token is good, pools and the API server."""

import json
import subprocess
import sys
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.faults.conftest import Figure
from tests.faults.test_scrapers import REACTION_SECONDS, scaled, seconds
from tests.integration.chart_rights import ChartRights
from tests.integration.kube import Kube
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.test_metrics_access import VALUES, certificate, is_review, mount, status

pytestmark = pytest.mark.faults

FLOOD_SECONDS = 5.0
REVIEWS_PER_SECOND = 10
"""Of tokens that are new."""


def test_a_flood_of_unknown_tokens_asks_the_api_server_little_and_keeps_prometheus_and_no_pool_waiting(
    control_plane: ControlPlane, kube: Kube, redis: RedisServer, tmp_path: Path, figure: Figure
) -> None:
    rights = ChartRights(control_plane, tmp_path, kube.namespace)
    rights.give(**VALUES)
    made, mounted = certificate(tmp_path / "made"), tmp_path / "mounted"
    mounted.mkdir()
    mount(made, mounted)
    flags = (f"--metrics-certificate={mounted}/tls.crt", f"--metrics-key={mounted}/tls.key", "--metrics-auth")
    control_plane.kubectl("create", "serviceaccount", "prometheus", f"--namespace={kube.namespace}")
    reader = next(
        each["metadata"]["name"] for each in rights.manifests(["ClusterRole"], **VALUES) if "reader" in str(each)
    )
    account = f"--serviceaccount={kube.namespace}:prometheus"
    binding = f"{kube.namespace}-prometheus"
    control_plane.kubectl("create", "clusterrolebinding", binding, f"--clusterrole={reader}", account)
    token = control_plane.service_account_token(kube.namespace, "prometheus", 3600)
    try:
        with OperatorProcess(rights.kubeconfig(), kube.namespace, *flags) as operator:
            kube.create_pool("pool-0", redis.celery_url, scaling={"maxReplicas": 1000})
            kube.wait_for_condition("pool-0", "BrokerReachable", "True", "Readable")
            before = len([each for each in control_plane.audit_events() if is_review(each, rights.user)])
            command = [sys.executable, "-m", "tests.faults.strangers", str(operator.port), str(FLOOD_SECONDS)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crowd:
                assert crowd.stdout is not None
                assert crowd.stdout.readline() == "begun\n"
                scrapes, reactions = [], []
                waiting = 0
                while crowd.poll() is None:
                    scrapes.append(status(operator.port, made, token))
                    waiting += 1
                    reactions.append(seconds(partial(scaled, kube, redis, waiting)))
                told = json.loads(crowd.stdout.read())
            reviews = len([each for each in control_plane.audit_events() if is_review(each, rights.user)]) - before
            figure("unknown tokens shown", sum(told.values()), "")
            figure("questions to the API server", reviews, "")
            figure("reaction of a pool", min(reactions), "s")
            assert reviews <= (FLOOD_SECONDS + 2) * REVIEWS_PER_SECOND + 2
            # Among so many who come, one whose handshake a busy machine draws out gives way, and comes again.
            assert set(scrapes) <= {HTTPStatus.OK, "no answer"}
            assert scrapes.count(HTTPStatus.OK) > len(scrapes) / 2
            assert min(reactions) < REACTION_SECONDS
    finally:
        control_plane.kubectl("delete", "clusterrolebinding", binding, "--ignore-not-found")
        rights.take()
