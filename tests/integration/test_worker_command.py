"""The Deployment's command, environment and probes on real workers: what the kubelet would run, run here."""

# mypy: disable-error-code="import-untyped"

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from celeriac.api.keys import PoolKey
from celeriac.api.names import AGENT_VOLUME
from celeriac.pool.model import BrokerSpec, PoolType, SecretKey, TlsSecrets, WorkerOptions, WorkerPool
from celeriac.reconciling.agent_files import read_agent
from celeriac.resources import build_agent_config, build_deployment
from celeriac.resources.agent import AGENT_DIR
from celeriac.resources.environment import TLS_DIR
from celeriac.scaling.policy import Policy
from tests.config_map import mount
from tests.integration.mounts import mounted, search_path
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.integration

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
        client.rpush("held", 1)
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
    ) -> None:
        [self.container] = manifest["spec"]["template"]["spec"]["containers"]
        self.run_dir = folder / "run"
        self.run_dir.mkdir(parents=True)
        (folder / "shop.py").write_text(SHOP)
        (folder / "queue.py").write_text(HIDING_MODULE)
        self.folder = folder
        self.mounts = mounts or {}
        self.environment = {**os.environ, "PATH": search_path(), **self._expanded(secrets or {})}
        self.environment |= {"CELERIAC_RUN_DIR": str(self.run_dir), "C_FORCE_ROOT": "1"}
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

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [mounted(word, self.mounts) for word in (*self.container["command"], *self.container["args"])],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def probe(self, name: str) -> bool:
        command = self.container[name]["exec"]["command"]
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

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
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[PoolType, Worker]]:
    """One worker of every pool type, started together, each with a database of its own on one Redis."""
    with RedisServer() as redis:
        started = {}
        for database, pool_type in enumerate(IMPLEMENTATIONS):
            pool = a_pool(pool_type, BrokerSpec(url=f"redis://127.0.0.1:{redis.port}/{database}"))
            started[pool_type] = Worker(build_deployment(pool), tmp_path_factory.mktemp(pool_type.value))
        try:
            for worker in started.values():
                worker.start()
            yield started
        finally:
            for worker in started.values():
                worker.kill()


def client_of(worker: Worker) -> Any:
    return Celery(broker=worker.url, backend=worker.url)


@pytest.mark.parametrize("pool_type", IMPLEMENTATIONS)
def test_a_worker_is_ready_while_it_is_busy_and_ends_its_task_after_sigterm(
    workers: dict[PoolType, Worker], pool_type: PoolType
) -> None:
    worker = workers[pool_type]
    worker.wait_until(worker.is_ready)
    with client_of(worker) as client, client.connection() as connection:
        [stats] = client.control.inspect(limit=1, timeout=WAIT_SECONDS).stats().values()
        slots = stats["pool"]["max-concurrency"] if pool_type is not PoolType.SOLO else stats["prefetch_count"] // 4
        assert (stats["pool"]["implementation"], slots) == IMPLEMENTATIONS[pool_type]
        assert client.send_task("add", (2, 3)).get(timeout=WAIT_SECONDS) == 5

        redis = connection.default_channel.client
        held = client.send_task("hold")
        assert redis.blpop("held", timeout=WAIT_SECONDS), worker.log.read_text()
        assert worker.is_ready(), "a busy worker stays ready"

        worker.terminate()
        worker.wait_until(lambda: not worker.probe("readinessProbe"))
        redis.rpush("release", 1)
        assert held.get(timeout=WAIT_SECONDS) == "finished"
    assert worker.exit_code() == 0, worker.log.read_text()
    assert list(worker.run_dir.iterdir()) == []


def test_a_worker_that_restarts_in_its_pod_is_not_ready_before_it_consumes(tmp_path: Path) -> None:
    nobody_listens = a_pool(PoolType.SOLO, BrokerSpec(url="redis://127.0.0.1:1/0"))
    worker = Worker(build_deployment(nobody_listens), tmp_path / "worker")
    (worker.run_dir / "ready").touch()
    assert worker.is_ready(), "the file of the container before"
    worker.start()
    try:
        worker.wait_until(lambda: "Cannot connect to redis" in worker.log.read_text())
        assert not worker.is_ready()
    finally:
        worker.kill()


def test_a_ready_file_that_cannot_be_written_never_stops_a_worker(tmp_path: Path) -> None:
    with RedisServer() as redis:
        pool = a_pool(PoolType.SOLO, BrokerSpec(url=redis.url))
        worker = Worker(build_deployment(pool), tmp_path / "worker")
        worker.run_dir.rmdir()
        worker.start()
        try:
            worker.wait_until(lambda: "celeriac: this worker cannot be marked ready" in worker.log.read_text())
            with client_of(worker) as client:
                assert client.send_task("add", (2, 3)).get(timeout=WAIT_SECONDS) == 5
            assert not worker.is_ready()
            worker.terminate()
            assert worker.exit_code() == 0, worker.log.read_text()
        finally:
            worker.kill()


@pytest.mark.parametrize("query", ["", "?ssl_check_hostname=false"])
def test_the_secrets_of_a_tls_broker_reach_the_worker(tmp_path: Path, query: str) -> None:
    with RedisServer(tls=True, client_certificates=True, password="correct-horse") as redis:
        assert redis.tls is not None
        certificates = tmp_path / "certificates"
        certificates.mkdir()
        for name, file in {"ca.crt": redis.tls.ca, "tls.crt": redis.tls.certificate, "tls.key": redis.tls.key}.items():
            (certificates / name).write_bytes(file.read_bytes())
        tls = TlsSecrets(SecretKey("ca", "ca.pem"), SecretKey("client", "crt"), SecretKey("client", "key"))
        pool = a_pool(PoolType.SOLO, BrokerSpec(url_from=SecretKey("broker", "url"), tls=tls))
        manifest = build_deployment(pool, url_has_query=bool(query))
        worker = Worker(manifest, tmp_path / "worker", {"broker": redis.url + query}, {TLS_DIR: certificates})
        worker.start()
        try:
            worker.wait_until(worker.is_ready)
            assert "insecure SSL" not in worker.log.read_text()
            with redis.client() as client:
                clients = client.client_list()
            assert any(entry["cmd"].startswith("brpop") for entry in clients), clients
            worker.terminate()
            assert worker.exit_code() == 0, worker.log.read_text()
        finally:
            worker.kill()


def test_the_agent_and_the_users_own_modules_are_loaded_side_by_side(tmp_path: Path) -> None:
    agent, folder = tmp_path / "agent", tmp_path / "worker"
    with RedisServer() as redis:
        pool = replace(
            a_pool(PoolType.PREFORK, BrokerSpec(url=redis.url)),
            worker=WorkerOptions(extra_args=("--include=shop_events", "-O", "fair")),
        )
        files = build_agent_config("shop", read_agent())["data"]
        worker = Worker(build_deployment(pool, agent=files), folder, mounts={AGENT_DIR: agent})
        [place] = [each for each in worker.container["volumeMounts"] if each["name"] == AGENT_VOLUME]
        mount(agent / Path(place["mountPath"]).relative_to(AGENT_DIR), files)
        # A module of the user's that has the name of one beside the agent wins.
        (agent / "shop_events.py").write_text(HIDING_MODULE)
        (folder / "shop_events.py").write_text("print('the user has loaded his events', flush=True)\n")
        worker.start()
        try:
            worker.wait_until(worker.is_ready)
            with redis.client() as client:
                worker.wait_until(lambda: client.hexists("celeriac:uid:reports", "pod-uid"))
                report = json.loads(client.hget("celeriac:uid:reports", "pod-uid"))
            assert (report["pod"], report["prefetch"], report["slots"]) == ("ml-1", 0, 2)
            assert "the user has loaded his events" in worker.log.read_text()
            with client_of(worker) as sender:
                assert sender.send_task("add", (2, 3)).get(timeout=WAIT_SECONDS) == 5
            worker.terminate()
            assert worker.exit_code() == 0, worker.log.read_text()
        finally:
            worker.kill()
