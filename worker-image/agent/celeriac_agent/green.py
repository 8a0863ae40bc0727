"""The pools of gevent and eventlet, whose tasks run in greenlets of the loop's own thread."""

from __future__ import annotations

from .celery_worker import CeleryWorker
from .drain import Drain
from .times import TICK_SECONDS


def await_slot(worker: CeleryWorker, drain: Drain) -> None:
    """Wait for a free greenlet here, where a drain or the worker's end can interrupt, not within the pool.

    The loop itself waits here, so that what runs has to be acknowledged from here: early means early.
    """
    pool, consumer = worker.raw.pool._pool, worker.raw.consumer
    if hasattr(pool, "wait_available"):  # gevent
        while not drain.is_closed() and pool.free_count() <= 0:
            consumer.perform_pending_operations()
            pool.wait_available(timeout=TICK_SECONDS)
    elif hasattr(pool, "sem"):  # eventlet
        while not drain.is_closed() and pool.free() <= 0:
            consumer.perform_pending_operations()
            if pool.sem.acquire(timeout=TICK_SECONDS):
                pool.sem.release()
