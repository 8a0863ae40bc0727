"""Stories beside each other: one system for all processes of pytest, made by the one that started the others.

That one (xdist's controller) makes it in a thread of its own while the others collect, tells them in a file where it
is, and removes it when they have ended.
"""

import json
import os
import threading
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.choose import running, target
from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.cluster.target import Target
from tests.e2e.system import installed

ANSWER = "system.json"
READY_SECONDS = 900.0
"""On a machine that has no image yet all of them are built first."""


class Host:
    """The system of a whole run, in the process that has no tests of its own."""

    def __init__(self) -> None:
        self._system = ExitStack()
        self.directory = Path(self._system.enter_context(TemporaryDirectory(prefix="celeriac e2e ")))
        self._thread = threading.Thread(target=self._make, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Remove it; a system that is being made is waited for."""
        self._thread.join()
        self._system.close()

    def _make(self) -> None:
        name = f"e2e-{os.getpid()}"
        answer = {"name": name}
        try:
            self._system.enter_context(installed(self._system.enter_context(target(name))))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        part = self.directory / "part"
        part.write_text(json.dumps(answer))
        part.replace(self.directory / ANSWER)


def hosted(directory: Path) -> Target:
    """The cluster of the host with this folder, once the operator is ready in it; ClusterError if it failed."""
    file = directory / ANSWER
    wait_until(file.exists, "a cluster with the operator", seconds=READY_SECONDS)
    answer = json.loads(file.read_text())
    if "error" in answer:
        raise ClusterError(answer["error"])
    return running(answer["name"])
