"""Who may read /metrics: TLS with a certificate that is renewed, and tokens that the API server reviews."""

import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane
from tests.cluster.pki import Pki
from tests.cluster.process import wait_until
from tests.integration.chart_rights import ChartRights
from tests.integration.operator_process import OperatorProcess

pytestmark = pytest.mark.integration

VALUES: dict[str, Any] = {"metrics": {"authentication": True, "tls": {"secretName": "metrics-tls"}}}
STANDBY_SECONDS = 60.0


@pytest.fixture
def rights(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[ChartRights]:
    """What the chart gives an operator that asks for tokens."""
    rights = ChartRights(control_plane, tmp_path, namespace)
    rights.give(**VALUES)
    yield rights
    rights.take()


def certificate(folder: Path) -> Pki:
    """A new authority, and a certificate of localhost by it."""
    folder.mkdir()
    made = Pki(folder)
    made.create(["localhost"], ["127.0.0.1"])
    return made


def mount(made: Pki, folder: Path) -> None:
    """Put certificate and key where the operator reads them, each replaced as a whole."""
    for source, name in ((made.certificate("server"), "tls.crt"), (made.key("server"), "tls.key")):
        shutil.copy(source, folder / f".{name}")
        (folder / f".{name}").replace(folder / name)


def status(port: int, authority: Pki, token: str = "") -> int | str:
    """The status of a scrape; a word where there is no TLS with this authority, or no answer."""
    request = urllib.request.Request(f"https://localhost:{port}/metrics")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    context = ssl.create_default_context(cafile=str(authority.ca))
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return "untrusted" if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError) else "no answer"


def is_read(port: int, authority: Pki, token: str) -> bool:
    return status(port, authority, token) == HTTPStatus.OK


@pytest.mark.full
def test_only_a_token_that_may_get_the_path_reads_the_metrics_and_the_certificate_is_renewed(
    control_plane: ControlPlane, namespace: str, rights: ChartRights, tmp_path: Path
) -> None:
    kubectl = control_plane.kubectl
    for name in ("prometheus", "stranger"):
        kubectl("create", "serviceaccount", name, f"--namespace={namespace}")
    (reader,) = [each for each in rights.manifests(["ClusterRole"], **VALUES) if "reader" in each["metadata"]["name"]]
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{namespace}-prometheus"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": reader["metadata"]["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": namespace}],
    }
    kubectl("create", "-f", "-", stdin=yaml.safe_dump(binding))
    token = control_plane.service_account_token(namespace, "prometheus", 3600)
    first, second = certificate(tmp_path / "first"), certificate(tmp_path / "second")
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    mount(first, mounted)
    flags = (f"--metrics-certificate={mounted}/tls.crt", f"--metrics-key={mounted}/tls.key", "--metrics-auth")
    with (
        OperatorProcess(rights.kubeconfig(), namespace, *flags) as leader,
        OperatorProcess(rights.kubeconfig(), namespace, *flags) as standby,
    ):
        for each in (leader, standby):  # one that does not hold the Lease reviews tokens, too
            port = each.port
            wait_until(partial(is_read, port, first, token), "a scrape", seconds=STANDBY_SECONDS)
            stranger = control_plane.service_account_token(namespace, "stranger", 3600)
            assert status(port, first, stranger) == HTTPStatus.FORBIDDEN
            assert status(port, first, "no-token-of-this-cluster") == HTTPStatus.FORBIDDEN
            assert status(port, first) == HTTPStatus.UNAUTHORIZED
            assert status(port, second, token) == "untrusted"
            with urllib.request.urlopen(f"http://127.0.0.1:{each.health_port}/healthz", timeout=10) as answer:
                assert answer.status == HTTPStatus.OK
        mount(second, mounted)
        assert status(leader.port, second, token) == HTTPStatus.OK
        assert status(leader.port, first, token) == "untrusted"
        for _ in range(20):
            status(leader.port, second, token)
        assert token not in leader.log() + standby.log()
    reviews = [each for each in control_plane.audit_events() if is_review(each, rights.user)]
    assert 8 <= len(reviews) <= 2 * 2 * 3, "answers are kept"


def is_review(event: dict[str, object], user: str) -> bool:
    """Whether the operator asked about a token."""
    who = event["user"]
    assert isinstance(who, dict)
    return who.get("username") == user and str(event["requestURI"]).endswith(("/tokenreviews", "/subjectaccessreviews"))
