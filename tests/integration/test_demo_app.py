"""The demo application on real workers and a real Redis: its queues, retries, chords, priorities, ETA, its ledger."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.redis_server import RedisServer

WORKER_IMAGE = Path(__file__).parents[2] / "worker-image"
START_CELERY = "import sys; from celery.__main__ import main; sys.exit(main())"
WAIT_SECONDS = 60

pytestmark = [pytest.mark.integration, pytest.mark.full]


class Demo:
    """The commands of the demo image, run from its folder with one Redis."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = redis
        self.environment = {**os.environ, "CELERY_BROKER_URL": redis.url, "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"celery_app.{module}", *arguments],
            cwd=WORKER_IMAGE,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
        )

    def send(self, run: str, *arguments: str) -> None:
        sent = self.run("send", "--run", run, *arguments)
        assert (sent.returncode, sent.stderr) == (0, ""), sent.stderr

    def settle(self, run: str) -> None:
        """Wait until every task of the run has ended, and expect the ledger to be settled."""
        report = self.run("report", run, "--wait")
        assert report.returncode == 0, report.stdout + report.stderr

    def ledger(self, run: str) -> list[dict[str, Any]]:
        with self.redis.client() as client:
            return [fields for _id, fields in client.xrange(f"demo:ledger:{run}")]

    def results(self) -> list[dict[str, Any]]:
        with self.redis.client() as client:
            return [json.loads(client.get(key)) for key in client.scan_iter("celery-task-meta-*")]

    @contextmanager
    def worker(self, app: str, pool: str, slots: int, *queues: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker that is ended in good order if it still runs; its log is shown when a test fails."""
        options = ["-A", app, "worker", "-P", pool, "-c", str(slots), "-Q", ",".join(queues), "--without-gossip"]
        command = [sys.executable, "-c", START_CELERY, *options, "-n", f"{pool}-{time.monotonic_ns()}@%h"]
        with tempfile.TemporaryFile() as log:
            worker = subprocess.Popen(command, cwd=WORKER_IMAGE, env=self.environment, stdout=log, stderr=log)
            try:
                yield worker
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.wait(WAIT_SECONDS)
                log.seek(0)
                print(log.read().decode())


@pytest.fixture
def demo() -> Iterator[Demo]:
    """A Redis without any worker."""
    with RedisServer() as redis:
        yield Demo(redis)


@pytest.fixture(scope="module")
def busy_demo() -> Iterator[Demo]:
    """A Redis with one worker of each kind, shared by the tests that only send."""
    with RedisServer() as redis:
        demo = Demo(redis)
        with (
            demo.worker("celery_app.ml_tasks:app", "solo", 1, "celery"),
            demo.worker("celery_app", "prefork", 3, "batch"),
            demo.worker("celery_app", "threads", 4, "email_service"),
        ):
            yield demo


def events(entries: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return sorted((entry for entry in entries if entry["event"] == event), key=lambda entry: float(entry["time"]))


def test_mail_that_the_server_refuses_is_retried_until_it_is_delivered(busy_demo: Demo) -> None:
    busy_demo.send("mail", "--queue", "email_service", "--count", "4", "--seconds", "0.05", "--failures", "1")
    busy_demo.settle("mail")
    entries = busy_demo.ledger("mail")
    assert [len(events(entries, event)) for event in ("sent", "started", "retried", "succeeded")] == [4, 8, 4, 4]
    assert {entry["attempt"] for entry in events(entries, "succeeded")} == {"1"}


def test_a_chord_crosses_from_the_batch_queue_to_its_callback_on_the_default_queue(busy_demo: Demo) -> None:
    busy_demo.send("chord", "--queue", "batch", "--chord", "--count", "6", "--seconds", "0.2", "--cpu-share", "0.1")
    busy_demo.settle("chord")
    entries = busy_demo.ledger("chord")
    *parts, callback = events(entries, "started")
    assert [part["queue"] for part in parts] == ["batch"] * 6
    assert (callback["queue"], callback["name"]) == ("celery", "celery_app.default.summarize")
    assert float(callback["time"]) >= max(float(entry["time"]) for entry in events(entries, "succeeded")[:6])
    assert len({part["pid"] for part in parts}) == 3, "every prefork child takes its share"
    assert {"parts": 6, "last": 5} in [result["result"] for result in busy_demo.results()]


def test_a_reminder_with_a_countdown_is_heard_when_it_is_due_and_not_before(busy_demo: Demo) -> None:
    busy_demo.send("eta", "--queue", "celery", "--count", "2", "--seconds", "0", "--countdown", "2")
    busy_demo.settle("eta")
    entries = busy_demo.ledger("eta")
    sent = {entry["task"]: float(entry["time"]) for entry in events(entries, "sent")}
    assert all(float(entry["time"]) >= sent[entry["task"]] + 2 for entry in events(entries, "started"))


def test_urgent_tasks_overtake_those_that_were_sent_before_them(demo: Demo) -> None:
    for priority in (9, 3, 0):
        demo.send(
            f"priority-{priority}", "--queue", "celery", "--count", "3", "--seconds", "0", "--priority", str(priority)
        )
    with demo.worker("celery_app", "solo", 1, "celery"):
        demo.settle("priority-9")
    started = {priority: events(demo.ledger(f"priority-{priority}"), "started") for priority in (0, 3, 9)}
    order = sorted((float(entry["time"]), priority) for priority, entries in started.items() for entry in entries)
    assert [priority for _time, priority in order] == [0, 0, 0, 3, 3, 3, 9, 9, 9]


def test_the_ledger_shows_a_task_whose_worker_was_killed_and_one_that_nobody_took(demo: Demo) -> None:
    demo.send("killed", "--queue", "batch", "--count", "2", "--seconds", "30", "--cpu-share", "0")
    with demo.worker("celery_app", "solo", 1, "batch") as worker:
        deadline = time.monotonic() + WAIT_SECONDS
        while not events(demo.ledger("killed"), "started"):
            assert time.monotonic() < deadline, "the worker takes no task"
            time.sleep(0.05)
        worker.kill()
        worker.wait(WAIT_SECONDS)
    report = demo.run("report", "killed")
    assert report.returncode == 1
    assert "batch: 1 sent but never started" in report.stderr
    assert "batch: 1 started but not finished" in report.stderr


def test_a_run_that_does_not_exist_is_no_success(demo: Demo) -> None:
    report = demo.run("report", "nonsense")
    assert report.returncode == 1
    assert "there is no run 'nonsense'" in report.stderr


def test_the_stream_for_programs_tells_queue_lengths_over_all_priorities_and_every_entry(demo: Demo) -> None:
    for priority in ("0", "6"):
        demo.send("stream", "--queue", "email_service", "--count", "2", "--priority", priority)
    command = [sys.executable, "-m", "celery_app.report", "stream", "--json"]
    with subprocess.Popen(command, cwd=WORKER_IMAGE, env=demo.environment, stdout=subprocess.PIPE, text=True) as stream:
        assert stream.stdout is not None
        lines = [json.loads(stream.stdout.readline()) for _line in range(5)]
        stream.kill()
    assert [line["entry"]["event"] for line in lines[:4]] == ["sent"] * 4
    assert lines[4] == {"queues": {"email_service": 4, "ml_service": 0, "batch": 0, "celery": 0}}
