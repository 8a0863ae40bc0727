"""The pools of gevent and eventlet, whose tasks run in greenlets of the loop's own thread."""

from __future__ import annotations

from typing import Any

from .celery_worker import CeleryWorker, send_pending
from .drain import Drain
from .hooks import Hooks, timer_shows_requests
from .times import TICK_SECONDS


def look_at_the_pool(worker: CeleryWorker, hooks: Hooks, timer: Any) -> None:
    """Find out what can be known of a pool once it has started, and of the timer that it brings, which holds something.

    Where a green pool cannot be waited for, Celery waits, whatever the mark.
    """
    if not timer_shows_requests(timer):
        hooks.lose("timer-queue")
    pool = getattr(worker.raw.pool, "_pool", None)
    names = (("wait_available", "free_count"), ("sem", "free"))  # of gevent, of eventlet
    if worker.is_green() and not any(all(hasattr(pool, name) for name in both) for both in names):
        hooks.lose("green-wait")
    worker.waits_for_slots = hooks.have("green-wait")


def await_slot(worker: CeleryWorker, drain: Drain) -> None:
    """Wait for a free greenlet: here a drain or the worker's end can interrupt, within the pool they could not.

    It is the loop that waits. The acknowledgements that it would send are sent from here, so that early ones are early.
    """
    if not worker.waits_for_slots:
        return
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
