"""Pods, reports and registered processes as tests need them."""

from dataclasses import replace
from typing import Any

from celeriac.api.keys import PoolKey
from celeriac.brokers.readings import Process, WorkerReport
from celeriac.cluster.records import PodRecord

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
        pod=f"ml-{uid}",
        process=f"ml-{uid}.00000001",
        counter=1,
        state="consuming",
        token=None,
        active=0,
        reserved=0,
        scheduled=0,
        unacked=0,
        processed=0,
        busy_seconds=0.0,
        slots=4,
        celery="5.7.0",
        kombu="5.7.0",
        python="3.11.7",
        pool_class="celery.concurrency.prefork:TaskPool",
        broker="redis://redis:6379/0",
        key_prefix="",
        queues=("celery",),
        prefetch=0,
        visibility_timeout=3600.0,
        capabilities=frozenset({"inflight", "drain", "exact"}),
        missing=(),
        signals=True,
        given_back=0,
        restored=0,
        dead=0,
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
        unacked_key="unacked.1",
        index_key="unacked_index.1",
        mutex_key="unacked_mutex.1",
        separator="\x06\x16",
        priority_steps=(0, 3, 6, 9),
        queues=("celery",),
        visibility_timeout=3600.0,
        max_attempts=5,
        key_prefix="",
    )
    return replace(registered, **fields)
