"""Chords, chains, groups, retries and expiry, with results in the broker's own database, while marks come and go."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group

from tests.agent.rig import Rig
from tests.agent.shapes import full, param, plain
from tests.agent.worker import POOLS, Spec
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.agent

META = "celery-task-meta-"
SETS = 4
"""Of each kind of composition."""
EXPIRY_SECONDS = 0.3
SPECS = [
    param(Spec(version, pool, late), quick=(version, pool, late) == ("5.3", "prefork", True))
    for version in ("5.3", "5.6", "5.6-today", "5.7")
    for pool in POOLS
    for late in (False, True)
]


class Composer:
    """Sends what applications compose, and knows what has to come of it."""

    def __init__(self, rig: Rig) -> None:
        """Nothing has been sent."""
        self.rig = rig
        self.bodies: dict[str, int] = {}  # of chords, with their results
        self.ends: dict[str, int] = {}  # of chains
        self.attempts: dict[str, int] = {}  # of tasks that ask for retries
        self.expired: list[str] = []
        self.ignored: list[str] = []
        self._sent = 0

    def compose(self) -> None:
        """One of each kind; what they run takes a tenth of a second or two."""
        chord([*(self._step(0, 0.1) for _ in range(4)), self._again(1)], self._body(5)).apply_async()
        group(self._step(0, 0.2) for _ in range(3)).apply_async()
        last = self._sign("step", 0.1)
        self.ends[last.options["task_id"]] = 4
        chain(self._step(0, 0.1), self._sign("step", 0.2), self._sign("step", 0.1), last).apply_async()
        chain(self._step(0, 0.1), group(self._sign("step", 0.1) for _ in range(3)), self._body(3)).apply_async()
        for retried in (self._again(2), self._unsteady(2)):
            retried.apply_async()
        ignored = self._sign("work", 0.1)
        self.ignored.append(ignored.options["task_id"])
        ignored.apply_async(ignore_result=True, expires=600)

    def expire(self, **options: Any) -> None:
        """A task that is not to run: by then it has expired."""
        signature = self._sign("work", 0.0, runs=0)
        self.expired.append(signature.options["task_id"])
        signature.apply_async(**options)

    def escape(self, count: int) -> None:
        """Tasks that leave by sys.exit()."""
        for _ in range(count):
            self._sign("escape", "exit").apply_async()

    def result(self, task: str) -> dict[str, Any]:
        """What the result backend holds of a task."""
        return dict(json.loads(str(self.rig.client.get(f"{META}{task}") or "{}")))

    def hold(self) -> None:
        """A chord whose first part ends at once, and whose others do not."""
        header = [self._step(0, 0.0), *(self._step(0, 3600) for _ in range(6))]
        chord(header, self._body(7)).apply_async()

    def is_half_done(self, slots: int) -> bool:
        """Whether the first part has been counted and others run."""
        return len(self.rig.ledger.running()) == slots and any(key.endswith(".j") for key in self.snapshot())

    def snapshot(self) -> dict[str, bytes]:
        """Every key of the result backend with what it holds."""
        keys = sorted(str(key) for key in self.rig.client.scan_iter("*celery-task*"))
        with self.rig.server.client(decode_responses=False) as client:
            return {key: client.dump(key) for key in keys}

    def settle(self) -> None:
        """Wait until all that was sent has ended, and what was to expire has expired."""
        self.rig.settle()
        self.rig.wait_for(
            lambda: all(self.result(task).get("status") == "REVOKED" for task in self.expired), "they expired"
        )

    def verify(self) -> None:
        """Every chord has had its end once, chains have reached theirs, and nothing ran that was not to."""
        rig = self.rig
        starts = Counter(rig.ledger.started())
        assert {task: self.result(task).get("result") for task in self.bodies} == self.bodies
        assert {task: self.result(task).get("result") for task in self.ends} == self.ends
        assert {task: starts[task] for task in self.bodies | self.ends} == dict.fromkeys(self.bodies | self.ends, 1)
        assert {task: starts[task] for task in self.attempts} == self.attempts
        assert [task for task in self.expired if starts[task]] == []
        assert [task for task in self.ignored if self.result(task)] == []
        counters = [key for key in rig.client.scan_iter("*") if str(key).endswith((".j", ".t", ".s"))]
        assert counters == [], "chords leave no counters"

    def _sign(self, name: str, *args: Any, runs: int = 1) -> Any:
        task, self._sent = f"{name}-{self._sent:03}", self._sent + 1
        self.rig.ledger.sent[task] += runs
        return self.rig.sender.signature(f"ledger_app.{name}", args=args, task_id=task)

    def _step(self, *args: Any) -> Any:
        return self._sign("step", *args)

    def _body(self, parts: int) -> Any:
        body = self._sign("gather")
        self.bodies[body.options["task_id"]] = parts
        return body

    def _again(self, times: int) -> Any:
        signature = self._sign("again", times, 0.5)
        self.attempts[signature.options["task_id"]] = times + 1
        return signature

    def _unsteady(self, times: int) -> Any:
        signature = self._sign("unsteady", times)
        self.attempts[signature.options["task_id"]] = times + 1
        return signature


def _cut_consumers(rig: Rig) -> None:
    """Close the connections by which workers consume; a lost reply of the backend's would count a part twice."""

    def fetching() -> list[Any]:
        return [one for one in rig.client.client_list() if one["cmd"] == "brpop"]

    for one in rig.wait_for(fetching, "some worker asks for messages"):
        rig.client.client_kill_filter(_id=one["id"])


@pytest.mark.parametrize("spec", SPECS)
def test_what_is_composed_runs_once_and_to_its_end_while_marks_come_and_go(rig_with_results: Rig, spec: Spec) -> None:
    rig, composer = rig_with_results, Composer(rig_with_results)
    first, second = rig.start(spec, spec)
    if spec.pool in ("threads", "gevent", "eventlet") and not spec.acks_late:
        composer.escape(spec.slots + 1)  # more than there are slots
    for _ in range(SETS):
        composer.compose()
    composer.expire(countdown=3, expires=1)
    rig.drain(first)
    if not spec.acks_late or spec.version >= "5.6":  # else what runs late is run again, as in plain Celery
        _cut_consumers(rig)
    rig.drain(second)
    for _ in range(3):
        composer.expire(expires=EXPIRY_SECONDS)
    expired = time.monotonic() + EXPIRY_SECONDS
    rig.wait_for(lambda: time.monotonic() > expired and set(composer.expired[1:]) <= set(rig.queue()), "they wait")
    rig.undrain(first)
    rig.undrain(second)
    composer.compose()
    rig.scale_down(first)
    composer.settle()
    assert rig.account().problems == {}
    composer.verify()


@full
@pytest.mark.parametrize("spec", SPECS)
def test_plain_celery_does_the_same_without_marks(rig_with_results: Rig, spec: Spec) -> None:
    rig, composer = rig_with_results, Composer(rig_with_results)
    rig.start(plain(spec), plain(spec))
    for _ in range(SETS):
        composer.compose()
    composer.expire(countdown=3, expires=1)
    composer.settle()
    composer.verify()


RESULTS = [pytest.param("", id="bare"), pytest.param("shop:", id="prefix", marks=full)]
"""The prefix of the result backend's keys; the second is that of the broker's, too."""


@pytest.mark.parametrize("results", RESULTS)
@pytest.mark.parametrize(
    "spec",
    [
        param(Spec(version, pool, True, prefetch=4), quick=(version, pool) == ("5.7", "prefork"))
        for version in ("5.3", "5.6", "5.6-today", "5.7")
        for pool in POOLS
    ],
)
def test_no_result_and_no_counter_is_touched_when_a_worker_is_recovered(
    server: RedisServer, tmp_path: Path, spec: Spec, results: str
) -> None:
    options = {"global_keyprefix": results} if results else {}
    config = {"result_backend": server.celery_url, "result_backend_transport_options": options}
    with Rig(server, tmp_path, config=config) as rig:
        composer = Composer(rig)
        [worker] = rig.start(spec)
        composer.hold()
        rig.wait_for(lambda: composer.is_half_done(spec.slots_in_truth), "the chord waits for those that run")
        if spec.pool != "solo":  # which fetches nothing while its task runs
            rig.wait_for(lambda: len(rig.held(worker)) == 6, "none is on its way to it when it is killed")
        worker.kill()
        before = composer.snapshot()
        rig.mark(worker)
        worker.start()
        worker.wait_for(lambda report: report["state"] == "drained", "it has put back everything and waits")
        assert len(rig.queue()) == 6
        assert composer.snapshot() == before
