"""The real Kubernetes API that all integration tests stand on."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.cluster.sandbox import CHECKOUT

pytestmark = pytest.mark.integration


def test_a_user_may_do_what_its_role_says_and_nothing_else(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods", f"--namespace={namespace}")
    binding = ("rolebinding", "jane", "--role=reader", "--user=jane", f"--namespace={namespace}")
    control_plane.kubectl("create", *binding)
    jane = f"--kubeconfig={control_plane.kubeconfig_for('jane')}"
    wait_until(
        lambda: allowed(control_plane, "list", "pods", f"--namespace={namespace}", jane),
        "the role's effect",
        seconds=10,
    )
    assert not allowed(control_plane, "list", "secrets", f"--namespace={namespace}", jane)


def allowed(control_plane: ControlPlane, *question: str) -> bool:
    try:
        return control_plane.kubectl("auth", "can-i", *question).strip() == "yes"
    except ClusterError:  # kubectl says no with exit code 1
        return False


def test_a_service_account_is_who_its_token_says(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "serviceaccount", "operator", f"--namespace={namespace}")
    kubeconfig = control_plane.kubeconfig_for_service_account(namespace, "operator")
    who = control_plane.kubectl("auth", "whoami", "--output=yaml", f"--kubeconfig={kubeconfig}")
    assert f"username: system:serviceaccount:{namespace}:operator" in who


def test_writes_can_be_counted_from_the_audit_log(control_plane: ControlPlane, namespace: str) -> None:
    for number in range(3):
        control_plane.kubectl("create", "configmap", f"c{number}", f"--namespace={namespace}")
    writes = [
        event["objectRef"]["name"]
        for event in control_plane.audit_events()
        if event["verb"] == "create"
        and event["objectRef"].get("namespace") == namespace
        and event["objectRef"]["resource"] == "configmaps"
        and event["user"]["username"] == "admin"
    ]
    assert writes == ["c0", "c1", "c2"]


def test_deployments_get_pods(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "deployment", "web", "--image=web:1", "--replicas=2", f"--namespace={namespace}")
    wait_until(
        lambda: control_plane.kubectl("get", "pods", "--output=name", f"--namespace={namespace}").count("pod/") == 2,
        "the Deployment's pods",
        seconds=20,
    )


@pytest.mark.full
def test_nothing_outlives_an_owner_that_is_killed(tmp_path: Path) -> None:
    owner = (
        "import os, signal; from tests.cluster.control_plane import ControlPlane; api = ControlPlane();"
        "api.start(); print(api.directory, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    errors = tmp_path / "owner.log"
    with errors.open("w") as log:
        done = subprocess.run(
            [sys.executable, "-c", owner], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=log, text=True
        )
    directory = Path(done.stdout.strip())
    assert directory.is_absolute(), errors.read_text()
    wait_until(lambda: not directory.exists() and not processes_of(directory), "the end of everything", seconds=20)


def processes_of(directory: Path) -> list[str]:
    """The command lines that name this folder."""
    lines = (command_line(file) for file in Path("/proc").glob("[0-9]*/cmdline"))
    return [line for line in lines if str(directory) in line]


def command_line(file: Path) -> str:
    try:
        return file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it ended meanwhile
        return ""
