"""What TAB completes in real shells, by the scripts that `kubectl-celery completion` prints and by kubectl itself."""

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds
from tests.integration.kube import Kube
from tests.integration.mounts import search_path

pytestmark = pytest.mark.integration

SECONDS = 30.0
"""Each TAB starts a Python, on a machine that may be busy."""
READY = "the shell is ready"
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(kubectl-celery completion bash)"),
    "zsh": (
        ["zsh", "--no-rcs", "-i"],
        "autoload -U compinit; compinit -u -D; source <(kubectl-celery completion zsh)",
    ),
}
"""How each is started without anybody's settings, and what its user types once."""


@pytest.fixture(scope="module", autouse=True)
def crd(control_plane: ControlPlane) -> None:
    install_crds(control_plane)


@pytest.fixture
def environment(control_plane: ControlPlane, tmp_path: Path) -> dict[str, str]:
    """The plugin and kubectl on the PATH, and a cluster."""
    own = {
        "PATH": search_path("kubectl"),
        "KUBECONFIG": str(control_plane.kubeconfig),
        "HOME": str(tmp_path),
        "TERM": "dumb",
    }
    return {**os.environ, **own}


@pytest.fixture
def shop(control_plane: ControlPlane, namespace: str) -> Iterator[str]:
    """A namespace with a pool; no other one begins with its name but for the last letters."""
    name = f"{namespace}-shop"
    control_plane.kubectl("create", "namespace", name)
    Kube(control_plane.kubeconfig, name).create_pool("mailers", "redis://redis:6379/0")
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


def lines(shop: str) -> dict[str, str]:
    """What is typed before TAB is struck, and the line that it becomes: a verb, a flag, a namespace, a pool."""
    return {
        "unp": "unpause",
        "list --all-n": "list --all-namespaces",
        f"list -n {shop[:-3]}": f"list -n {shop}",
        f"pin -n {shop} mai": f"pin -n {shop} mailers",
    }


class Terminal:
    """A shell as a person has it: with a terminal, whose keys are struck here."""

    def __init__(self, keyboard: int) -> None:
        self._keyboard = keyboard
        self._shown = ""

    def type(self, text: str) -> None:
        """Strike keys; what was shown before is forgotten."""
        self._shown = ""
        os.write(self._keyboard, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until the terminal shows it."""
        until = time.monotonic() + SECONDS
        while text not in self._shown:
            ready, _, _ = select.select([self._keyboard], [], [], max(until - time.monotonic(), 0))
            assert ready, f"{text!r} is not shown, but {self._shown!r}"
            self._shown += os.read(self._keyboard, 65536).decode(errors="replace")


@contextmanager
def terminal(shell: str, environment: dict[str, str]) -> Iterator[Terminal]:
    """The shell with its completion, in which `kubectl-celery` prints what it would be called with."""
    command, setup = SHELLS[shell]
    keyboard, screen = os.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=screen, stdout=screen, stderr=screen, env=environment
    )
    os.close(screen)
    try:
        shown = Terminal(keyboard)
        shown.type(f"{setup}; kubectl-celery() {{ echo \"ran '$*'\"; }}; echo {READY.replace(' ', '  ')}\n")
        shown.wait_for(READY)  # the line itself has two blanks each time
        yield shown
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)


@pytest.mark.parametrize("shell", ["bash", pytest.param("zsh", marks=pytest.mark.full)])
def test_tab_completes_verbs_flags_namespaces_and_pools(shell: str, environment: dict[str, str], shop: str) -> None:
    with terminal(shell, environment) as shown:
        for typed, becomes in lines(shop).items():
            shown.type(f"kubectl-celery {typed}\t\n")
            shown.wait_for(f"ran '{becomes}'")


@pytest.mark.full
def test_fish_completes_the_same(environment: dict[str, str], shop: str) -> None:
    """By the builtin with which fish itself answers TAB."""
    asked = lines(shop)
    script = ["kubectl-celery completion fish | source"]
    script += [f"complete --do-complete 'kubectl-celery {typed}'" for typed in asked]
    told = subprocess.run(
        ["fish", "--no-config", "--command", "\n".join(script)], env=environment, capture_output=True, text=True
    )
    found = [line.split("\t")[0] for line in told.stdout.splitlines()]
    assert found == [becomes.rpartition(" ")[2] for becomes in asked.values()], told.stderr


@pytest.mark.full
def test_kubectl_asks_the_plugin_what_its_own_completion_shows(environment: dict[str, str], shop: str) -> None:
    """`__complete` is what the scripts of `kubectl completion` call at each TAB, in any shell."""
    for typed, becomes in list(lines(shop).items())[-2:]:
        told = subprocess.run(
            ["kubectl", "__complete", "celery", *typed.split()], env=environment, capture_output=True, text=True
        )
        *found, directive = told.stdout.splitlines()
        assert ([line.split("\t")[0] for line in found], directive) == ([becomes.rpartition(" ")[2]], ":4"), told.stderr
