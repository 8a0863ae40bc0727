"""A reader's shell: the commands of the pages, one after the other, where a cluster, Helm and a Redis are."""

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from click.testing import CliRunner

from celeriac.cli.kubectl import celery
from celeriac.cli.main import main
from tests.cluster.control_plane import ControlPlane
from tests.doc_commands import ROOT, Command
from tests.integration.helm import folders
from tests.integration.mounts import search_path
from tests.integration.redis_server import RedisServer

SECONDS = 20
"""As long as one command may take."""

BROKERS = (
    "redis://:PASSWORD@redis.default:6379/0",
    "redis://shop:...@redis:6379/0",
    "redis://localhost:6379/0",
    "redis://...",
)
"""URLs in the pages, in whose place that of the test's Redis is put."""


class Shell:
    """A folder with what a reader has there, and the variables that were exported so far."""

    def __init__(self, folder: Path, control_plane: ControlPlane, namespace: str, redis: RedisServer) -> None:
        """`namespace`: that of the context."""
        self.folder = folder
        self._redis = redis
        self._exported: dict[str, str] = {}
        for name in ("charts", "crds", "gitops"):
            (folder / name).symlink_to(ROOT / name)
        context = yaml.safe_load(control_plane.kubeconfig.read_text())
        context["contexts"][0]["context"]["namespace"] = namespace
        self.kubeconfig = self.write("kubeconfig", context)
        own = {"PATH": search_path("kubectl", "helm"), "KUBECONFIG": str(self.kubeconfig)}
        self._variables = {**os.environ, **folders(folder), **own}

    def write(self, name: str, *documents: Mapping[str, Any]) -> Path:
        """A file of YAML in the folder."""
        (self.folder / name).write_text(yaml.safe_dump_all(documents))
        return self.folder / name

    def type(self, text: str, *more: str) -> str | None:
        """What went wrong, with what was said; None where nothing did. `more`: words behind the others."""
        for url in BROKERS:
            text = text.replace(url, self._redis.celery_url)
        typed = Command("", 0, " ".join((text, *more)))
        code, said = self._run(typed.text, list(typed.programs()))
        # doctor tells by its code that something is wrong, which is no mistake of the page.
        return None if code == 0 or ("doctor" in text and code == 1) else f"{typed.text} ended with {code}: {said}"

    def _run(self, text: str, programs: Sequence[list[str]]) -> tuple[int, str]:
        """Ours in this process: a Python of its own for each would be most of the story's time."""
        match programs:
            case [["export", assignment]]:
                name, _, value = assignment.partition("=")
                self._exported[name] = value
                return 0, ""
            case [["kubectl", "celery", *words]]:
                return self._ours(celery, [*words, "--kubeconfig", str(self.kubeconfig)], text)
            case [["celeriac", *words]]:
                return self._ours(main, words, text)
            case _:
                return self._bash(text)

    def _ours(self, program: click.Group, words: Sequence[str], text: str) -> tuple[int, str]:
        with contextlib.chdir(self.folder):
            done = CliRunner().invoke(program, words, env=self._exported)
            _, redirected, file = text.partition(" > ")
            if redirected:
                Path(file).write_text(done.stdout)
        return done.exit_code, done.output

    def _bash(self, text: str) -> tuple[int, str]:
        done = subprocess.run(
            ["timeout", str(SECONDS), "bash", "-eu", "-o", "pipefail", "-c", text],
            cwd=self.folder,
            env=self._variables | self._exported,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout
