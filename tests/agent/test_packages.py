"""Packages that applications put beside Celery: with the agent they do what they do without it, and drain."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.agent.environments import APPS
from tests.agent.rig import Rig
from tests.agent.shapes import beside_plain, param, plain
from tests.agent.worker import Spec, Worker

pytestmark = [pytest.mark.agent, pytest.mark.full]  # they need environments of their own

WITH_BATCHES = [version for version in APPS if version < "5.7"]
TRACERS = {"sentry": "ledger_app.work", "opentelemetry": "run/ledger_app.work", "ddtrace": "celery.run"}
"""What each has to see of a task."""


def _trace(rig: Rig) -> list[str]:
    file = rig.place.directory / "trace"
    return file.read_text().splitlines() if file.exists() else []


def _spec(rig: Rig, spec: Spec, *packages: str) -> Spec:
    variables = {"PACKAGES": ",".join(packages), "TRACE_FILE": str(rig.place.directory / "trace")}
    return replace(spec, app="packages_app", variables={**variables, **spec.variables})


def _cells(versions: list[str] | tuple[str, ...], pools: tuple[str, ...]) -> Any:
    return [
        param(Spec(version, pool, late, slots=1 if pool == "custom" else 2), quick=True)
        for version in versions
        for pool in pools
        for late in (False, True)
    ]


@pytest.mark.parametrize("spec", _cells(APPS, ("solo", "prefork", "threads", "gevent")))
@pytest.mark.parametrize("first", ["agent", "package"])
@pytest.mark.parametrize("package", TRACERS)
def test_a_traced_worker_drains_and_ends_in_good_order(rig: Rig, spec: Spec, package: str, first: str) -> None:
    """Whichever of the two is imported first, as both replace parts of Celery and of redis-py."""
    order = ("celeriac_agent", "packages_app") if first == "agent" else ("packages_app", "celeriac_agent")
    app = "packages_app" if first == "package" else "ledger_app"
    spec = replace(_spec(rig, spec, package), app=app, arguments=("-I", ",".join(order)))
    [worker] = rig.start(spec)
    _takes_part(worker)
    rig.send(*(f"first-{number}" for number in range(8)), args=[0.7])
    rig.busy(spec.slots_in_truth)
    rig.drain(worker)
    rig.undrain(worker)
    rig.settle()
    rig.send(*(f"next-{number}" for number in range(4)), args=[1])
    rig.busy(spec.slots_in_truth)
    worker.terminate()
    rig.start(spec)
    rig.settle()
    assert rig.account().problems == {}
    assert sum(line.startswith(TRACERS[package]) for line in _trace(rig)) == 12


@pytest.mark.parametrize("spec", _cells(WITH_BATCHES, ("prefork", "threads", "gevent")))
def test_batches_are_filled_flushed_in_time_and_end_before_their_worker_is_drained(rig: Rig, spec: Spec) -> None:
    """The application asks Celery to reserve two batches at least; the agent's limit does not count collected ones."""
    spec = replace(spec, config={"worker_prefetch_multiplier": 10})
    [worker] = rig.start(_spec(rig, spec, "celery_batches"))
    _takes_part(worker)
    rig.send(*(f"full-{number}" for number in range(10)), name="batched")
    rig.settle()
    assert _batches(rig) == {"batch-of-5": 10}
    rig.send("few-1", "few-2", name="batched")
    rig.settle()
    rig.send("marked-1", "marked-2", "marked-3", name="batched")
    rig.wait_for(lambda: len(rig.held(worker)) == 3, "the task has collected them")
    rig.drain(worker)
    assert _batches(rig) == {"batch-of-5": 10, "batch-of-2": 2, "batch-of-3": 3}
    rig.undrain(worker)
    rig.send(*(f"again-{number}" for number in range(5)), name="batched")
    rig.settle()
    rig.send("last-1", "last-2", name="batched")
    rig.wait_for(lambda: len(rig.held(worker)) == 2, "the task has collected them")
    worker.terminate()
    # A green pool takes a while to stop: its timer may flush them meanwhile.
    assert {"last-1", "last-2"} <= {*rig.queue(), *rig.ledger.ended()}
    rig.start(_spec(rig, spec, "celery_batches"))
    rig.settle()
    assert rig.account().problems == {}


@beside_plain
@pytest.mark.parametrize("spec", _cells(WITH_BATCHES, ("prefork", "threads", "gevent")))
def test_a_batch_that_is_larger_than_the_prefetch_limit_is_flushed_by_the_clock(
    rig: Rig, spec: Spec, agent: bool
) -> None:
    """Celery's own limit is four for each slot; with the agent it is the same one that counts."""
    spec = replace(_spec(rig, spec, "celery_batches"), slots=1, agent=agent)
    rig.start(spec)
    rig.send(*(f"t{number}" for number in range(8)), name="batched")
    rig.settle()
    assert _batches(rig) == {"batch-of-4": 8}


@pytest.mark.parametrize("package", ["once", "singleton"])
@beside_plain
@pytest.mark.parametrize("spec", _cells(APPS, ("prefork", "threads", "gevent")))
def test_a_lock_is_held_as_long_as_its_task_waits_or_runs(rig: Rig, spec: Spec, package: str, agent: bool) -> None:
    spec = _spec(rig, spec, f"celery_{package}")
    sender, worker = rig.start(replace(spec, queues="orders"), spec if agent else plain(spec))
    numbers = list(range(8))
    rig.ledger.sent.update(f"{package}-{number}" for number in numbers)
    _order(rig, package, numbers)
    rig.wait_for(lambda: rig.ledger.running(), "some run")
    if agent:
        rig.drain(worker)
    waiting = [task for task in rig.ledger.sent if task not in rig.ledger.started()]
    assert waiting or not agent
    _order(rig, package, [int(task.split("-")[1]) for task in waiting])
    rig.wait_for(lambda: len(_trace(rig)) == len(numbers) + len(waiting), "all are refused")
    if agent:
        rig.undrain(worker)
    rig.settle()
    rig.wait_for(lambda: not _locks(rig), "no lock is left")
    outcomes = Counter(line.split()[0] for line in _trace(rig))
    assert outcomes == {"sent": len(numbers), "refused": len(waiting)}
    assert sender.alive
    assert rig.account().problems == {}


@beside_plain
@pytest.mark.parametrize("spec", _cells(APPS, ("custom",)))
def test_coroutines_of_the_asyncio_pool_drain_and_end_in_good_order(rig: Rig, spec: Spec, agent: bool) -> None:
    variables = {"CELERY_CUSTOM_WORKER_POOL": "celery_aio_pool.pool:AsyncIOPool"}
    spec = _spec(rig, replace(spec, variables=variables), "celery_aio_pool")
    spec = spec if agent else plain(spec)
    [worker] = rig.start(spec)
    rig.send(*(f"coroutine-{number}" for number in range(4)), name="coroutine", args=[0.5])
    rig.send(*(f"function-{number}" for number in range(4)), args=[0.5])
    rig.wait_for(lambda: rig.ledger.running(), "one runs")
    if agent:
        _takes_part(worker)
        rig.drain(worker)
        rig.undrain(worker)
    rig.wait_for(lambda: rig.ledger.running(), "one runs")
    worker.terminate()
    rig.start(spec)
    rig.settle()
    assert rig.account().problems == {}


def _takes_part(worker: Worker) -> None:
    """It misses nothing that the agent needs, and before 5.6 what only later ones have."""
    report = worker.fresh()
    assert (set(report["capabilities"]), report["errors"]) == ({"inflight", "drain", "exact"}, 0)
    assert set(report["missing"]) <= ({"keep-running"} if worker.spec.version < "5.6" else set())


def _batches(rig: Rig) -> dict[str, int]:
    """How many messages came in batches of each size."""
    return dict(Counter(line.name for line in rig.ledger.lines() if line.event == "started"))


def _order(rig: Rig, package: str, numbers: list[int]) -> None:
    with rig.producer() as producer:
        rig.sender.send_task(f"order_{package}", args=[numbers], queue="orders", producer=producer, ignore_result=True)


def _locks(rig: Rig) -> list[str]:
    return [str(key) for pattern in ("qo_*", "SINGLETONLOCK_*") for key in rig.client.scan_iter(pattern)]
