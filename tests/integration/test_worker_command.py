"""The Deployment's command, environment and probes on real workers: what the kubelet would run, run here."""

# mypy: disable-error-code="import-untyped"

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from celeriac.api.names import AGENT_VOLUME
from celeriac.pool.model import BrokerSpec, PoolType, SecretKey, TlsSecrets, WorkerOptions
from celeriac.reconciling.agent_files import read_agent
from celeriac.resources import build_agent_config, build_deployment
from celeriac.resources.agent import AGENT_DIR
from celeriac.resources.environment import TLS_DIR
from tests.config_map import mount
from tests.integration.redis_server import RedisServer
from tests.integration.worker_container import HIDING_MODULE, IMPLEMENTATIONS, WAIT_SECONDS, Worker, a_pool

pytestmark = pytest.mark.integration


IN_SHORT = (PoolType.SOLO, PoolType.PREFORK)
POOL_TYPES = [each if each in IN_SHORT else pytest.param(each, marks=pytest.mark.full) for each in IMPLEMENTATIONS]


@pytest.fixture
def worker(pool_type: PoolType, redis: RedisServer, tmp_path: Path) -> Iterator[Worker]:
    pool = a_pool(pool_type, BrokerSpec(url=redis.celery_url))
    worker = Worker(build_deployment(pool), tmp_path)
    try:
        worker.start()
        yield worker
    finally:
        worker.kill()


def client_of(worker: Worker) -> Any:
    return Celery(broker=worker.url, backend=worker.url)


@pytest.mark.parametrize("pool_type", POOL_TYPES)
def test_a_worker_is_ready_while_it_is_busy_and_ends_its_task_after_sigterm(
    worker: Worker, pool_type: PoolType
) -> None:
    worker.wait_until(worker.is_ready)
    with client_of(worker) as client, client.connection() as connection:
        [stats] = client.control.inspect(limit=1, timeout=WAIT_SECONDS).stats().values()
        slots = stats["pool"]["max-concurrency"] if pool_type is not PoolType.SOLO else stats["prefetch_count"] // 4
        assert (stats["pool"]["implementation"], slots) == IMPLEMENTATIONS[pool_type]
        assert client.send_task("add", (2, 3)).get(timeout=WAIT_SECONDS) == 5

        channel = connection.default_channel.client
        held = client.send_task("hold")
        assert channel.blpop("held", timeout=WAIT_SECONDS), worker.log.read_text()
        assert worker.is_ready(), "a busy worker stays ready"

        worker.terminate()
        worker.wait_until(lambda: not worker.probe("readinessProbe"))
        channel.rpush("release", 1)
        assert held.get(timeout=WAIT_SECONDS) == "finished"
    assert worker.exit_code() == 0, worker.log.read_text()
    assert not (worker.run_dir / "ready").exists()


@pytest.mark.full
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


@pytest.mark.parametrize("query", ["", pytest.param("?ssl_check_hostname=false", marks=pytest.mark.full)])
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
