"""The operator as its users run it: a process of its own, `python -m celeriac`, that can be killed and started again.

with OperatorProcess(control_plane.kubeconfig, namespace) as operator: ...
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.ports import free_port
from tests.cluster.process import wait_until
from tests.dialers import ALLOWED

STOP_SECONDS = 20.0


class OperatorProcess:
    """One replica of the operator with its Lease in one namespace; it serves that one alone, or the whole cluster."""

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        *arguments: str,
        clusterwide: bool = False,
        allowed: Sequence[str] = ALLOWED,
        python: Path | None = None,
    ) -> None:
        """`allowed`: flags for brokers on this machine; `python`: that of another checkout, with another operator."""
        self._python = str(python or sys.executable)
        self._kubeconfig = kubeconfig
        watched = () if clusterwide else ("--watch-namespace", namespace)
        self._arguments = (*watched, "--lease-namespace", namespace, *allowed, *arguments)
        self._directory = Path(tempfile.mkdtemp(prefix="operator "))
        self._process: subprocess.Popen[bytes] | None = None
        self._log_seen = 0
        self.port, self.health_port = free_port(), free_port()

    def start(self, *program: str) -> None:
        """Start a process; it begins to act once it holds the Lease. `program`: Python's arguments for another one."""
        environment = os.environ | {"KUBECONFIG": str(self._kubeconfig), "POD_NAME": f"operator-{self.port}"}
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._python,
                    *(program or ("-m", "celeriac")),
                    "--metrics-port",
                    str(self.port),
                    "--health-port",
                    str(self.health_port),
                    *self._arguments,
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, the Lease is not released."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def wait_until_ended(self, seconds: float = STOP_SECONDS) -> int:
        """Until it has ended by itself; returns the exit code, that of a signal is negative."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM, as the kubelet does it; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_SECONDS)

    def log(self) -> str:
        """All that the operator wrote, over restarts."""
        return (self._directory / "log").read_text(errors="replace")

    def forget_log(self) -> None:
        """Let `wait_for_log` look only at what comes from now on."""
        self._log_seen = len(self.log())

    def wait_for_log(self, words: str, seconds: float = 20.0) -> None:
        """Until the operator has written these words."""
        wait_until(lambda: words in self.log()[self._log_seen :], f"the log says {words!r}", seconds=seconds)

    def peak_mib(self) -> float:
        """The most memory that the process has had, in MiB."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def metrics(self) -> str:
        """What Prometheus would scrape now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if error is not None:
            print(f"--- log of the operator ---\n{self.log()[-8000:]}", file=sys.stderr)
        shutil.rmtree(self._directory, ignore_errors=True)


@contextmanager
def faultless(
    kubeconfig: Path, namespace: str, *arguments: str, clusterwide: bool = False
) -> Iterator[OperatorProcess]:
    """An operator that has to be at fault in nothing, whatever a story does to it."""
    with OperatorProcess(kubeconfig, namespace, *arguments, clusterwide=clusterwide) as running:
        yield running
        assert "fault of the operator" not in running.log()
