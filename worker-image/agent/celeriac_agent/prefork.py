"""What the parent of prefork hears of its children."""

from __future__ import annotations

import time
from multiprocessing.connection import wait
from typing import Any

from .slots import Slots
from .times import TICK_SECONDS

HANDED_SECONDS = 1.0  # a child that was handed a task has begun it by then


def is_lost_child(error: Any) -> bool:
    """Whether a task failed because the child that ran it died."""
    cause = getattr(error, "exc", error)
    return type(cause).__name__ in ("WorkerLostError", "SystemExit", "KeyboardInterrupt")


def hear_of_orphans(pool: Any, slots: Slots) -> None:
    """Learn when children end what they ran over a reconnect.

    Before Celery 5.6 a reconnect empties the pool's table of jobs: nobody is told when those that run end.
    """
    from billiard.pool import READY

    handlers = pool._result_handler.state_handlers
    on_ready = handlers[READY]

    def heard(job: int, *args: Any) -> None:
        try:
            on_ready(job, *args)
        finally:
            slots.end_orphan(job)

    handlers[READY] = heard


def hear_of_starts(pool: Any, slots: Slots) -> None:
    """Read what the children say, until each that was handed a task has begun it.

    The loop that reads the pipes has stopped with the loss of the connection. A task that was handed over just before
    would be put back, and run twice.
    """
    deadline = time.monotonic() + HANDED_SECONDS
    while time.monotonic() < deadline and any(slot.is_handed_over() for slot in list(slots.passed.values())):
        for pipe in wait(list(pool._fileno_to_outq), TICK_SECONDS):
            pool.handle_result_event(pipe)
