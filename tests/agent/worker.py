"""A Celery worker as its pod would run it: the operator's bootstrap, the agent, the variables; but a plain process.

A "pod" is a name and a uid; its container is a process group of its own. SIGTERM goes to the first process, as the
kubelet sends it to PID 1; SIGKILL goes to all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from celeriac.resources.bootstrap import BOOTSTRAP
from tests.agent import environments
from tests.cluster.process import children_of

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "worker-image" / "agent"
RELEASES = Path(__file__).with_name("releases")
APP = Path(__file__).with_name("app")
POOLS = ("solo", "prefork", "threads", "gevent", "eventlet")
READY_SECONDS = 40.0
STOP_SECONDS = 60.0
LOG_LINES = 40
POLL_SECONDS = 0.05

Report = dict[str, Any]


def eventually(condition: Callable[[], Any], what: str, seconds: float, explain: Callable[[], str] = str) -> Any:
    """Poll until `condition` gives something true and return it; AssertionError with `explain()` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{explain()}"
        time.sleep(POLL_SECONDS)
    return result


@dataclass(frozen=True)
class Spec:
    """What is said about a worker before it starts.

    `prefetch` None is what the operator does for a user who says nothing: prefetching is off where Celery can. `config`
    goes to the app, `variables` into the environment, `arguments` behind the others, `before` in front of `worker`;
    `agent` False is plain Celery, `release` names an earlier agent, `app` is the module of the application.
    """

    version: str
    pool: str
    acks_late: bool = False
    slots: int = 2
    prefetch: int | None = None
    queues: str = "celery"
    agent: bool = True
    release: str | None = None
    max_attempts: int = 5
    config: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    app: str = "ledger_app"

    @property
    def slots_in_truth(self) -> int:
        """Solo takes -c and runs one task at a time."""
        return 1 if self.pool == "solo" else self.slots


@dataclass(frozen=True)
class Place:
    """Where a worker lives: its broker, its pool, its files."""

    broker: str
    prefix: str
    pool_uid: str
    directory: Path
    ledger_file: Path
    client: redis.Redis
    config: Mapping[str, Any] = field(default_factory=dict)


class Worker:
    """One pod with its one container."""

    def __init__(self, place: Place, spec: Spec, pod: str) -> None:
        self.place, self.spec, self.pod = place, spec, pod
        self.uid = f"uid-of-{pod}-{uuid.uuid4().hex[:6]}"
        self.run_directory = place.directory / f"run-{pod}"
        self.run_directory.mkdir()
        self.log_file = place.directory / f"{pod}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._earlier: str | None = None

    def start(self) -> None:
        """Start the container; in the pod of an earlier one it is a restart. Returns at once, see `ready`."""
        self._earlier = (self._stored() or {}).get("process")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                cwd=APP,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it consumes: what the readiness probe looks at, and with the agent its own word."""
        marker = self.run_directory / "ready"
        self.eventually(marker.exists, "the worker is ready", seconds)
        if self.spec.agent:
            self.wait_for(lambda report: report["state"] != "starting", "it has started", seconds)

    def report(self) -> Report | None:
        """The agent's last report, if it is of this process and not of an earlier one in the pod."""
        report = self._stored()
        return None if report is None or report["process"] == self._earlier else report

    def wait_for(self, condition: Callable[[Report], Any], what: str, seconds: float = 15.0) -> Report:
        """The first report that fulfils `condition`."""

        def found() -> Report | None:
            report = self.report()
            return report if report is not None and condition(report) else None

        result: Report = self.eventually(found, f"a report: {what}", seconds)
        return result

    def fresh(self, seconds: float = 15.0) -> Report:
        """A report that was made after this call: the next one may have been on its way, the one after it was not."""
        seen = (self.report() or {"n": 0})["n"]
        return self.wait_for(lambda report: report["n"] >= seen + 2, "a fresh one", seconds)

    def terminate(self, seconds: float = STOP_SECONDS) -> None:
        """SIGTERM to the container's first process, and its end: a warm shutdown."""
        self.signal(signal.SIGTERM)
        self.gone(seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the container's first process alone."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)

    @contextlib.contextmanager
    def frozen_children(self) -> Iterator[None]:
        """Its children get no time meanwhile (SIGSTOP)."""
        children = children_of(self.pid)
        for child in children:
            os.kill(child, signal.SIGSTOP)
        try:
            yield
        finally:
            for child in children:
                os.kill(child, signal.SIGCONT)

    def gone(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the container's end; its exit code. AssertionError with the log when it does not end."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.pod} did not end in {seconds:.0f} s\n{self.explain()}") from None

    def kill(self) -> None:
        """SIGKILL to all processes of the container, as the kubelet or the kernel does; nothing if it has not run."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self, spec: Spec | None = None) -> None:
        """SIGKILL, and a new container in the same pod, perhaps of another spec."""
        self.kill()
        self.spec = spec or self.spec
        (self.run_directory / "ready").unlink(missing_ok=True)
        self.start()

    @property
    def pid(self) -> int:
        """Of the container's first process."""
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the container runs."""
        return self.process is not None and self.process.poll() is None

    def eventually(self, condition: Callable[[], Any], what: str, seconds: float) -> Any:
        """As the function of that name; ends at once with the log when the worker has ended."""

        def alive_and_so() -> Any:
            assert self.alive, f"{self.pod} ended while waiting: {what}\n{self.explain()}"
            return condition()

        return eventually(alive_and_so, what, seconds, self.explain)

    def explain(self) -> str:
        """The last report and the end of the log."""
        log = self.log_file.read_text(errors="replace").splitlines()[-LOG_LINES:] if self.log_file.exists() else []
        try:
            report = json.dumps(self._stored())
        except redis.RedisError as error:
            report = str(error)
        return "\n".join([f"{self.spec}", f"last report: {report}", f"log of {self.pod}:", *log])

    def _stored(self) -> Report | None:
        key = f"{self.place.prefix}celeriac:{self.place.pool_uid}:reports"
        text = self.place.client.hget(key, self.uid)
        return None if text is None else json.loads(str(text))

    def _command(self) -> list[str]:
        spec = self.spec
        prefetch = [] if spec.prefetch is None else ["--prefetch-multiplier", str(spec.prefetch)]
        # `processes` is prefork by the name that wins over the app's configuration.
        pool = "processes" if spec.pool == "prefork" else spec.pool
        return [
            # A worker does not outlive the tests, however they end.
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(str(environments.python(spec.version)), "-c", BOOTSTRAP),
            *("-A", spec.app, *spec.before, "worker", "-P", pool, "-c", str(spec.slots), "-Q", spec.queues),
            *("--without-gossip", "-l", "INFO", "-n", f"celery@{self.pod}"),
            *prefetch,
            *(["-I", "celeriac_agent"] if spec.agent else []),
            *spec.arguments,
        ]

    def _environment(self) -> dict[str, str]:
        place, spec = self.place, self.spec
        config = {
            "broker_transport_options": {"global_keyprefix": place.prefix},
            "task_acks_late": spec.acks_late,
            "broker_connection_retry_on_startup": True,
        }
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(place.directory),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "C_FORCE_ROOT": "1",
            "LEDGER_FILE": str(place.ledger_file),
            "LEDGER_APP_CONFIG": json.dumps(_merged(config, place.config, spec.config)),
            **dict.fromkeys(("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"), place.broker),
            "CELERIAC_RUN_DIR": str(self.run_directory),
        }
        if spec.agent:
            variables |= self._contract()
        return variables | dict(spec.variables)

    def _contract(self) -> dict[str, str]:
        """The variables that a pod with the agent has; in a pod the file lies where the bootstrap looks for it."""
        prefetch = {"CELERIAC_DISABLE_PREFETCH": "1"} if self.spec.prefetch is None else {}
        return {
            "PYTHONPATH": str(AGENT if self.spec.release is None else RELEASES / self.spec.release),
            "CELERIAC_NAMESPACE": "shop",
            "CELERIAC_POOL": "orders",
            "CELERIAC_POOL_UID": self.place.pool_uid,
            "CELERIAC_POD_NAME": self.pod,
            "CELERIAC_POD_UID": self.uid,
            "CELERIAC_MAX_ATTEMPTS": str(self.spec.max_attempts),
            **prefetch,
        }


def _merged(*configs: Mapping[str, Any]) -> dict[str, Any]:
    """Later ones win; broker_transport_options are merged and not replaced."""
    result: dict[str, Any] = {}
    for config in configs:
        options = {**result.get("broker_transport_options", {}), **config.get("broker_transport_options", {})}
        result |= {**config, "broker_transport_options": options}
    return result
