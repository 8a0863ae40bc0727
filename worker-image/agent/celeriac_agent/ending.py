"""The worker's end: what it has not started goes back before it waits for the tasks that run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .celery_worker import CeleryWorker
from .channel import TaskChannel
from .drain import Drain
from .heartbeat import Heartbeat
from .hooks import Hooks
from .prefork import expect_starts, hear_of_starts
from .slots import Slots
from .times import TICK_SECONDS
from .unwritten import Unwritten

GIVE_BACK_SECONDS = 5.0  # what is not back by then goes back at the very end, as Celery has it
FETCH_SECONDS = 10.0  # a fetch that is pending for longer is left to the end


def before_pool_closes(worker: CeleryWorker, do: Callable[[], None]) -> None:
    """Call `do` when the worker begins to stop: its loop has ended, its places and its connection are still whole."""
    pool = worker.raw.pool
    close = pool.close

    def do_and_close() -> Any:
        do()
        return close()

    pool.close = do_and_close


class Ending:
    """What is done, once, when the worker begins to stop."""

    def __init__(
        self,
        worker: CeleryWorker,
        hooks: Hooks,
        slots: Slots,
        drain: Drain,
        unwritten: Unwritten,
        heartbeat: Heartbeat,
    ) -> None:
        self._worker, self._hooks, self._unwritten = worker, hooks, unwritten
        self._slots, self._drain, self._heartbeat = slots, drain, heartbeat

    def begin(self, channel: TaskChannel | None) -> None:
        """Start nothing more, go on reporting, and give back. Raises redis-py's errors.

        What was not given back then goes back when the connection is closed.
        """
        worker = self._worker
        if worker.stopping:
            return
        consuming, worker.stopping, worker.phase = worker.phase == "consuming", True, "stopping"
        self._drain.held |= self._slots.cancel_queued()
        if channel is None:
            return
        if not worker.is_green():
            self._heartbeat.start_thread()
        if worker.is_prefork() and self._hooks.have("children", "apply-async", "process-task"):
            hear_of_starts(worker.raw.pool._pool, self._slots)
            expect_starts(self._slots)
        if consuming and self._hooks.drain and self._hooks.have("pool-close"):
            self._give_back(channel)

    def _give_back(self, channel: TaskChannel) -> None:
        """Give back what was not started: Celery would keep it until the tasks that run have ended.

        The reply of a fetch that is pending may hold one more.
        """
        drain, deadline = self._drain, time.monotonic() + GIVE_BACK_SECONDS
        while drain.giving and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS / 10)  # a greenlet of the loop's timer is at it
        try:
            channel.read_pending(FETCH_SECONDS)
        finally:
            self._unwritten.put_back()
            drain.give_back(channel)
            left = len(drain.held) + 1
            while left > len(drain.held) > 0 and time.monotonic() < deadline:
                left = len(drain.held)
                drain.give_back(channel, only=set())
