"""What stands before a worker: launchers that wait, inits that signal many, variables that undo the command line."""

# mypy: disable-error-code="import-untyped"

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from celery import Celery

from celeriac.pool.model import BrokerSpec, PoolType
from celeriac.reconciling.agent_files import read_agent
from celeriac.resources import build_agent_config, build_deployment
from celeriac.resources.agent import AGENT_DIR, AGENT_MODULE
from tests.config_map import mount
from tests.integration.redis_server import RedisServer
from tests.integration.worker_container import WAIT_SECONDS, Worker, a_pool

pytestmark = pytest.mark.integration

DUMB_INIT = str(Path(sys.executable).with_name("dumb-init"))
# As many images have it: it waits for the database and migrates it, and then becomes what it was given.
ENTRYPOINT = """\
#!/bin/sh
echo started >> starts
while ! test -e database; do sleep 0.1; done
exec "$@"
"""
# Ends all that runs with it, as a shell does that was told to: trap "kill 0" TERM.
SHELL_THAT_SIGNALS_ITS_GROUP = """\
#!/bin/sh
trap 'trap "" TERM; kill -TERM 0; wait $worker; exit $?' TERM
"$@" &
worker=$!
wait $worker
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def a_worker(redis: RedisServer, folder: Path, *launcher: str, database: int = 0, agent: bool = False,
             pool_type: PoolType = PoolType.PREFORK, variables: dict[str, str] | None = None) -> Worker:  # fmt: skip
    """A worker behind a launcher, with variables of the image's."""
    pool = a_pool(pool_type, BrokerSpec(url=f"redis://127.0.0.1:{redis.port}/{database}"))
    pool = replace(pool, launcher=(*launcher, "python"))
    files = build_agent_config("shop", read_agent())["data"] if agent else None
    mount(folder / "agent" / AGENT_MODULE, files or {})
    mounts = {AGENT_DIR: folder / "agent"}
    return Worker(build_deployment(pool, agent=files), folder / "worker", mounts=mounts, variables=variables)


def client_of(worker: Worker) -> Celery:
    return Celery(broker=worker.url, backend=worker.url)


def script(file: Path, text: str) -> str:
    file.write_text(text)
    file.chmod(0o755)
    return str(file)


@pytest.mark.full
def test_a_launcher_that_waits_runs_once_for_a_start_whatever_probes_it(redis: RedisServer, tmp_path: Path) -> None:
    worker = a_worker(redis, tmp_path, script(tmp_path / "entrypoint.sh", ENTRYPOINT), database=1)
    starts = worker.folder / "starts"
    worker.start()
    try:
        worker.wait_until(starts.exists)
        assert not worker.is_ready(), "the launcher is not through"
        (worker.folder / "database").touch()
        worker.wait_until(worker.is_ready)
        for _ in range(3):
            assert worker.is_ready()
        assert starts.read_text() == "started\n"
        worker.terminate()
        assert worker.exit_code() == 0, worker.log.read_text()
    finally:
        worker.kill()


def test_a_worker_that_is_stopped_before_celery_listens_ends_at_once(redis: RedisServer, tmp_path: Path) -> None:
    """The kernel drops a signal that PID 1 has no handler for, and the kubelet sends it only once."""
    worker = a_worker(redis, tmp_path, database=6, pool_type=PoolType.SOLO)
    # In short sleeps: Python handles a signal between two instructions, and one may come just before it sleeps.
    (worker.folder / "shop.py").write_text(
        "import pathlib, time\npathlib.Path('importing').touch()\nwhile True: time.sleep(0.1)"
    )
    worker.start()
    try:
        worker.wait_until((worker.folder / "importing").exists)
        worker.terminate()
        assert worker.exit_code() == 128 + signal.SIGTERM, "a process without a handler has -15"
    finally:
        worker.kill()


@pytest.mark.full
def test_a_worker_that_restarts_in_its_pod_is_not_ready_before_it_consumes(redis: RedisServer, tmp_path: Path) -> None:
    worker = a_worker(redis, tmp_path, script(tmp_path / "entrypoint.sh", ENTRYPOINT), database=2)
    (worker.folder / "database").touch()
    worker.start()
    try:
        worker.wait_until(worker.is_ready)
        worker.kill()
        assert (worker.run_dir / "ready").exists(), "it had no time to remove the file"
        assert not worker.is_ready(), "the process is gone"
        (worker.folder / "database").unlink()
        worker.start()
        worker.wait_until(lambda: (worker.folder / "starts").read_text() == "started\nstarted\n")
        assert not worker.is_ready(), "the second one still waits"
        (worker.folder / "database").touch()
        worker.wait_until(worker.is_ready)
    finally:
        worker.kill()


@pytest.mark.full
def test_a_python_in_a_folder_with_a_space_is_probed_too(redis: RedisServer, tmp_path: Path) -> None:
    worker = a_worker(redis, tmp_path, database=3, pool_type=PoolType.SOLO)
    place = tmp_path / "conda envs"
    place.mkdir()
    (place / "python").symlink_to(sys.executable)
    worker.container["command"][0] = str(place / "python")
    worker.environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    worker.start()
    try:
        worker.wait_until(worker.is_ready)
        assert (worker.run_dir / "python").readlink() == place / "python"
    finally:
        worker.kill()


@pytest.mark.parametrize("init", [pytest.param("dumb-init", marks=pytest.mark.full), "shell"])
def test_an_init_that_signals_the_whole_group_stops_no_running_task(
    redis: RedisServer, tmp_path: Path, init: str
) -> None:
    launcher = DUMB_INIT if init == "dumb-init" else script(tmp_path / "init.sh", SHELL_THAT_SIGNALS_ITS_GROUP)
    worker = a_worker(redis, tmp_path, launcher, database=4 if init == "shell" else 5, agent=True)
    worker.start(group=True)
    try:
        worker.wait_until(worker.is_ready)
        with client_of(worker) as client, client.connection() as connection:
            broker = connection.default_channel.client
            held = client.send_task("hold")
            _, child = broker.blpop("held", timeout=WAIT_SECONDS)
            worker.terminate()
            worker.wait_until(lambda: "Warm shutdown" in worker.log.read_text())
            os.kill(int(child), 0)
            broker.rpush("release", 1)
            assert held.get(timeout=WAIT_SECONDS) == "finished", worker.log.read_text()
        worker.exit_code()
    finally:
        worker.kill()


def test_variables_of_the_image_neither_empty_the_queue_nor_lose_what_runs(redis: RedisServer, tmp_path: Path) -> None:
    variables = {
        "CELERY_WORKER_PURGE": "true",
        "CELERY_WORKER_BEAT": "1",
        "CELERY_WORKER_DETACH": "1",
        "CELERY_WORKER_AUTOSCALE": "9,3",
        "CELERY_WORKER_EXCLUDE_QUEUES": "celery",
        "CELERY_WORKER_HOSTNAME": "everyone",
        "CELERY_WORKER_WITHOUT_HEARTBEAT": "1",
        "CELERY_WORKER_PIDFILE": str(tmp_path / "pid"),
        "CELERY_WORKER_QUEUES": "others",
        "CELERY_WORKER_INCLUDE": "shop_extra",
        "REMAP_SIGTERM": "SIGQUIT",
    }
    worker = a_worker(redis, tmp_path, database=6, agent=True, variables=variables)
    (worker.folder / "shop_extra.py").write_text(
        "from shop import app\n@app.task(name='extra')\ndef extra(): return 'included'\n"
    )
    with client_of(worker) as client, client.connection() as connection:
        broker = connection.default_channel.client
        waiting = client.send_task("extra")
        held = client.send_task("hold")
        worker.start()
        try:
            assert waiting.get(timeout=WAIT_SECONDS) == "included", worker.log.read_text()
            assert broker.blpop("held", timeout=WAIT_SECONDS)
            worker.terminate()
            worker.wait_until(lambda: "Warm shutdown" in worker.log.read_text())
            broker.rpush("release", 1)
            assert held.get(timeout=WAIT_SECONDS) == "finished"
            assert worker.exit_code() == 0, worker.log.read_text()
        finally:
            worker.kill()
    told = worker.log.read_text()
    for name in variables.keys() - {"CELERY_WORKER_QUEUES", "CELERY_WORKER_INCLUDE"}:
        assert told.count(f"celeriac: the variable {name} is dropped") == 1, told
    assert "everyone" not in told.replace("hostname", "")
