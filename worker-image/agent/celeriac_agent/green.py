"""The pools of gevent and eventlet, whose tasks run in greenlets of the loop's own thread."""

from __future__ import annotations

from .celery_worker import CeleryWorker, send_pending
from .drain import Drain
from .times import TICK_SECONDS


def await_slot(worker: CeleryWorker, drain: Drain) -> None:
    """Wait for a free greenlet: here a drain or the worker's end can interrupt, within the pool they could not.

    It is the loop that waits. The acknowledgements that it would send are sent from here, so that early ones are early.
    """
    pool, consumer = worker.raw.pool._pool, worker.raw.consumer
    if hasattr(pool, "wait_available"):  # gevent
        while not drain.is_closed() and pool.free_count() <= 0:
            send_pending(consumer)
            pool.wait_available(timeout=TICK_SECONDS)
    elif hasattr(pool, "sem"):  # eventlet
        while not drain.is_closed() and pool.free() <= 0:
            send_pending(consumer)
            if pool.sem.acquire(timeout=TICK_SECONDS):
                pool.sem.release()
