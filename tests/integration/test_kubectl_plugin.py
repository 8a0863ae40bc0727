"""`kubectl celery` against a real API server."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from celeriac.cli import pools_api
from celeriac.cli.kubectl import celery
from tests.cluster import tools
from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds
from tests.integration.kube import Kube
from tests.integration.mounts import search_path

pytestmark = pytest.mark.integration

Run = Callable[..., Result]


@pytest.fixture(scope="module", autouse=True)
def crd(control_plane: ControlPlane) -> None:
    install_crds(control_plane)


@pytest.fixture
def shop(control_plane: ControlPlane, namespace: str) -> str:
    """A namespace with the pool `ml`, which no operator looks after."""
    Kube(control_plane.kubeconfig, namespace).create_pool("ml", "redis://redis:6379/0")
    return namespace


@pytest.fixture
def run(control_plane: ControlPlane, shop: str) -> Run:
    """Run a command of the plugin in the namespace `shop`, as the administrator."""

    def invoke(*arguments: str, kubeconfig: Path = control_plane.kubeconfig) -> Result:
        return CliRunner().invoke(celery, [*arguments, "-n", shop, "--kubeconfig", str(kubeconfig)])

    return invoke


def spec_of(control_plane: ControlPlane, namespace: str) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(control_plane.kubectl("get", "cwp", "ml", "-n", namespace, "-o", "json"))["spec"]
    return spec


def test_a_pool_is_pinned_and_resumed(control_plane: ControlPlane, shop: str, run: Run) -> None:
    pinned = run("pin", "ml", "5")
    assert (pinned.exit_code, "ml is pinned to 5" in pinned.output) == (0, True), pinned.output
    assert spec_of(control_plane, shop)["replicas"] == 5
    assert "pinned to 5 by spec.replicas" in run("why", "ml").output
    resumed = run("resume", "ml")
    assert resumed.exit_code == 0, resumed.output
    assert "replicas" not in spec_of(control_plane, shop)


def test_a_pool_is_paused_and_goes_on(control_plane: ControlPlane, shop: str, run: Run) -> None:
    assert run("pause", "ml").exit_code == 0
    assert spec_of(control_plane, shop)["scaling"]["mode"] == "Paused"
    run("pin", "ml", "2")
    unpaused = run("unpause", "ml")
    assert "but still pinned to 2" in unpaused.output
    assert spec_of(control_plane, shop)["scaling"]["mode"] == "Auto"


def test_the_list_shows_what_the_operator_wrote(control_plane: ControlPlane, shop: str, run: Run) -> None:
    assert "the operator has not looked at it yet" in run("list").output
    message = "12 tasks wait: 2 pods"
    decision = {"reason": "Backlog", "message": message, "time": "2026-03-01T12:00:00Z"}
    status = {"status": {"waiting": 12, "running": 3, "desiredReplicas": 2, "readyReplicas": 1, "decision": decision}}
    control_plane.kubectl(
        "patch", "cwp", "ml", "-n", shop, "--subresource=status", "--type=merge", "-p", json.dumps(status)
    )
    header, line = run("list").output.splitlines()
    assert header.split() == ["NAME", "POOL", "WAITING", "RUNNING", "READY/DESIRED", "WHY"]
    assert line.split() == ["ml", "solo", "12", "3", "1/2", *message.split()]


def test_kubectl_finds_the_plugin_and_hands_it_the_cluster(control_plane: ControlPlane, shop: str) -> None:
    listed = subprocess.run(
        [tools.binary("kubectl"), "celery", "list", "-A"],
        env={**os.environ, "PATH": search_path(), "KUBECONFIG": str(control_plane.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (listed.returncode, listed.stderr) == (0, ""), listed.stderr
    assert [shop, "ml", "solo"] in [line.split()[:3] for line in listed.stdout.splitlines()]


def test_a_pool_that_is_not_there_is_told_from_a_kind_that_is_not_there(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = run("why", "none")
    assert missing.exit_code == 1
    assert '"none" not found: see `kubectl celery list -A`' in missing.output
    monkeypatch.setattr(pools_api, "VERSION", "v9")  # the API server has no such version: as if the CRD were not there
    for command in (("list",), ("why", "ml"), ("pin", "ml", "1")):
        result = run(*command)
        assert (result.exit_code, "install Celeriac's chart" in result.output) == (1, True), result.output


def test_a_user_without_permission_is_told_which_one(control_plane: ControlPlane, run: Run) -> None:
    kubeconfig = control_plane.kubeconfig_for("eve")
    for command in (("list",), ("why", "ml"), ("pause", "ml")):
        result = run(*command, kubeconfig=kubeconfig)
        assert result.exit_code == 1
        assert 'User "eve" cannot' in result.output
        assert "ask for a Role with get, list and patch on celeryworkerpools.celeriac.dev" in result.output


def test_a_pin_out_of_bounds_is_refused_before_the_cluster_is_asked(run: Run) -> None:
    refused = run("pin", "ml", "10001")
    assert refused.exit_code == 2
    assert "10001 is not in the range" in refused.output


def test_a_cluster_that_does_not_answer_is_told_at_once(control_plane: ControlPlane, run: Run, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(control_plane.kubeconfig.read_text().replace(control_plane.url, "https://127.0.0.1:1"))
    result = run("list", kubeconfig=kubeconfig)
    assert (result.exit_code, "the API server does not answer" in result.output) == (1, True), result.output


def test_a_kubeconfig_or_a_context_that_is_not_there_is_named(
    control_plane: ControlPlane, run: Run, tmp_path: Path
) -> None:
    result = run("list", kubeconfig=tmp_path / "none")
    assert (result.exit_code, "no cluster to ask" in result.output) == (1, True), result.output
    result = run("list", "--context", "elsewhere")
    assert (result.exit_code, "elsewhere" in result.output) == (1, True), result.output
