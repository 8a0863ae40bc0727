"""Pods, reports and registered processes as tests need them."""

from dataclasses import replace
from typing import Any

from celeriac.api.keys import PoolKey
from celeriac.brokers.agents import Process, WorkerReport
from celeriac.cluster.records import PodRecord
from celeriac.pool.model import QueueLayout

KEY = PoolKey("shop", "ml")


def pod(uid: str = "a", **fields: Any) -> PodRecord:
    """A Pod that runs and is ready."""
    runs = PodRecord(
        key=KEY,
        uid=uid,
        name=f"ml-{uid}",
        terminating=False,
        problem=None,
        node="n1",
        phase="Running",
        ready=True,
        running=True,
        replica_set="rs-1",
        created=1.0,
    )
    return replace(runs, **fields)


def report(uid: str = "a", **fields: Any) -> WorkerReport:
    """What an idle worker of four slots says."""
    idle = WorkerReport(
        pod_uid=uid,
        process=f"ml-{uid}.00000001",
        counter=1,
        state="consuming",
        token=None,
        active=0,
        reserved=0,
        scheduled=0,
        processed=0,
        busy_seconds=0.0,
        slots=4,
        pool_class="celery.concurrency.prefork:TaskPool",
        queues=("celery",),
        capabilities=frozenset({"inflight", "drain", "exact"}),
        missing=(),
        signals=True,
        errors=0,
    )
    return replace(idle, **fields)


def process(uid: str = "a", **fields: Any) -> Process:
    """A registered worker process."""
    registered = Process(
        process=f"ml-{uid}.00000001",
        pod=f"ml-{uid}",
        pod_uid=uid,
        namespace=KEY.namespace,
        pool=KEY.name,
        pool_uid="pool",
        started=100.5,
        held_in=("unacked.1", "unacked_index.1", "unacked_mutex.1"),
        layout=QueueLayout(),
        visibility_timeout=3600.0,
        max_attempts=5,
    )
    return replace(registered, **fields)
