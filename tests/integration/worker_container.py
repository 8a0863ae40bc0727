"""A worker's container without a kubelet: its command, environment and probes, run as plain processes."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celeriac.api.keys import PoolKey
from celeriac.pool.model import BrokerSpec, PoolType, WorkerPool
from celeriac.resources.bootstrap import RUN_DIR
from celeriac.scaling.policy import Policy
from tests.integration.mounts import mounted, search_path

WAIT_SECONDS = 60

# An application that knows better: each of its settings is one that the pool's must win over.
SHOP = """\
import os
import redis
from celery import Celery

app = Celery("shop", broker="redis://127.0.0.1:1/0", backend=os.environ["CELERY_BROKER_URL"])
app.conf.update(
    broker_read_url="redis://127.0.0.1:1/0",
    broker_write_url="redis://127.0.0.1:1/0",
    worker_pool="solo",
    worker_concurrency=7,
)

@app.task(name="add")
def add(x, y):
    return x + y

@app.task(name="hold")
def hold():
    with redis.Redis.from_url(os.environ["CELERY_BROKER_URL"]) as client:
        client.rpush("held", os.getpid())
        client.blpop("release", timeout=60)
    return "finished"
"""

# A module that would break Celery if the working directory came before the standard library.
HIDING_MODULE = "raise ImportError('the working directory hides the standard library')\n"

POD = {"metadata.name": "ml-1", "metadata.uid": "pod-uid"}

IMPLEMENTATIONS = {
    PoolType.SOLO: ("celery.concurrency.solo:TaskPool", 1),
    PoolType.PREFORK: ("celery.concurrency.prefork:TaskPool", 2),
    PoolType.THREADS: ("celery.concurrency.thread:TaskPool", 2),
    PoolType.GEVENT: ("celery.concurrency.gevent:TaskPool", 2),
    PoolType.EVENTLET: ("celery.concurrency.eventlet:TaskPool", 2),
    PoolType.CUSTOM: ("celery.concurrency.thread:TaskPool", 2),
}


def a_pool(pool_type: PoolType, broker: BrokerSpec) -> WorkerPool:
    """A pool as a user writes it who says no more than he has to."""
    return WorkerPool(
        key=PoolKey("shop", pool_type.value),
        uid="uid",
        generation=1,
        image="shop:1",
        app="shop:app",
        broker=broker,
        policy=Policy(slots=IMPLEMENTATIONS[pool_type][1]),
        pool_type=pool_type,
        custom_pool="celery.concurrency.thread:TaskPool" if pool_type is PoolType.CUSTOM else None,
    )


class Worker:
    """A container as the kubelet would run it, with folders of this test for its volumes and Secrets given as text."""

    def __init__(
        self,
        manifest: dict[str, Any],
        folder: Path,
        secrets: dict[str, str] | None = None,
        mounts: dict[str, Path] | None = None,
        variables: dict[str, str] | None = None,
    ) -> None:
        [self.container] = manifest["spec"]["template"]["spec"]["containers"]
        self.run_dir = folder / "run"
        self.run_dir.mkdir(parents=True, exist_ok=True)
        (folder / "shop.py").write_text(SHOP)
        (folder / "queue.py").write_text(HIDING_MODULE)
        self.folder = folder
        self.mounts = {RUN_DIR: self.run_dir, **(mounts or {})}
        self.environment = {**os.environ, "PATH": search_path(), **self._expanded(secrets or {})}
        self.environment |= {"C_FORCE_ROOT": "1"} | (variables or {})
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def _expanded(self, secrets: dict[str, str]) -> dict[str, str]:
        """The container's variables with $(NAME) replaced as Kubernetes does, mount paths by folders of this test."""
        values: dict[str, str] = {}
        for variable in self.container["env"]:
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                value = secrets[source["secretKeyRef"]["name"]]
            elif "fieldRef" in source:
                value = POD[source["fieldRef"]["fieldPath"]]
            else:
                value = re.sub(r"\$\((\w+)\)", lambda match: values[match[1]], variable["value"])
            values[variable["name"]] = mounted(value, self.mounts)
        return values

    @property
    def url(self) -> str:
        return self.environment["CELERY_BROKER_URL"]

    def start(self, *, group: bool = False) -> None:
        """Start it; with `group` in a process group of its own, as a container has it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [mounted(word, self.mounts) for word in (*self.container["command"], *self.container["args"])],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=group,
            )

    def probe(self, name: str) -> bool:
        """Whether a probe succeeds; one whose program is not there yet has no answer, which the kubelet leaves out."""
        command = [mounted(word, self.mounts) for word in self.container[name]["exec"]["command"]]
        try:
            return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False

    def is_ready(self) -> bool:
        return self.probe("startupProbe") and self.probe("readinessProbe")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        assert self.process is not None
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert self.process.poll() is None, f"the worker ended:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"the worker took too long:\n{self.log.read_text()}"
            time.sleep(0.1)

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        assert self.process is not None
        return self.process.wait(WAIT_SECONDS)

    def kill(self) -> None:
        """SIGKILL to the container's processes; children of prefork end with their worker (PR_SET_PDEATHSIG)."""
        if self.process is not None and self.process.poll() is None:
            if os.getpgid(self.process.pid) == self.process.pid:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
