"""Long-running programs: start, notice an early death with the end of its log, stop."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.cluster.errors import ClusterError

GUARD = Path(__file__).with_name("guard.py")
LOG_LINES = 15  # of a dead program's log, shown in the error


class Process:
    """A program that runs in the background and writes to a log file of its own."""

    def __init__(self, name: str, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.log = log
        self._popen = popen

    @property
    def pid(self) -> int:
        """Of the process that was started here (the guard or nsenter, not the program itself)."""
        return self._popen.pid

    def check(self) -> None:
        """Raises ClusterError with the end of the log when the program has ended."""
        code = self._popen.poll()
        if code is not None:
            raise ClusterError(f"{self.name} ended with code {code}; the end of its log:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def stop(self) -> None:
        """Kills the program: what it stores is thrown away, so no grace is owed."""
        self._popen.terminate()
        self._popen.wait()
        if self._popen.stdin:
            self._popen.stdin.close()


class Launcher(Protocol):
    """Starts programs of a control plane somewhere: on this machine as it is, or inside a sandbox."""

    def start(self, name: str, command: Sequence[str]) -> Process:
        """Starts a program whose output goes to a log named like it."""
        ...


class GuardedLauncher:
    """Starts programs on this machine that end with this process, however it ends.

    After a crash the folder ``directory`` goes too.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def start(self, name: str, command: Sequence[str]) -> Process:
        """Starts a program under a guard."""
        log = self._directory / f"{name}.log"
        clean_up = json.dumps(["rm", "-rf", str(self._directory)])
        guard = [sys.executable, "-I", "-S", str(GUARD), "--then", clean_up, "--", *command]
        with log.open("ab") as output:
            popen = subprocess.Popen(
                guard, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True, cwd=self._directory
            )
        return Process(name, popen, log)


def wait_until(
    ready: Callable[[], bool], what: str, *, seconds: float, processes: Sequence[Process] = (), every: float = 0.1
) -> None:
    """Polls until ``ready``; raises ClusterError after ``seconds`` or as soon as one of ``processes`` has died."""
    deadline = time.monotonic() + seconds
    while not ready():
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            logs = "".join(f"\n{process.name}:\n{process.tail()}" for process in processes)
            raise ClusterError(f"{what} within {seconds:.0f} s did not happen.{logs}")
        time.sleep(every)


def children_of(pid: int) -> list[int]:
    """The pids of its children, whichever of its threads made them."""
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Runs a short command and returns what it prints; raises ClusterError with its error output."""
    words = [str(word) for word in command]
    environment = os.environ | dict(variables or {})
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, cwd=cwd, env=environment)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(words[:6])} failed with code {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout
