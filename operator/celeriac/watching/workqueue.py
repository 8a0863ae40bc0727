"""A deduplicating work queue: each key at most once in line, never at two workers, retried with backoff.

The rules are those of client-go's workqueue: a key that is added while it is being worked on runs again afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BACKOFF_FIRST_SECONDS = 0.2
BACKOFF_LAST_SECONDS = 60.0


class WorkQueue(Generic[K]):
    """Keys to be reconciled. All methods are for one event loop."""

    def __init__(self) -> None:
        self._line: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return self._line.qsize()

    def is_working_on(self, key: K) -> bool:
        """Whether somebody works on the key now."""
        return key in self._working

    def add(self, key: K) -> None:
        """Put the key in line, unless it is there already."""
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._working:
            self._line.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Put the key in line later; of several timers for a key the earliest stays."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None and not timer.cancelled():
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._fire, key)

    def forget(self, key: K) -> None:
        """Drop what is remembered of a key that no longer exists."""
        self._failures.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def run(self, work: Callable[[K], Awaitable[None]], failed: Callable[[K, Exception], float]) -> None:
        """Work on keys for ever; start several of these for concurrency.

        An exception of `work` is handed to `failed`, which returns the longest pause in seconds that it is worth; the
        key comes again after a backoff that doubles up to that. Cancelled, it ends after the key that it works on.
        """
        while True:
            key = await self._take()
            try:
                await _to_its_end(work(key))
            except Exception as error:
                failures = self._failures.get(key, 0)
                self._failures[key] = failures + 1
                longest = failed(key, error)
                self.add_after(key, min(BACKOFF_FIRST_SECONDS * 2**failures, longest))
            else:
                self._failures.pop(key, None)
            finally:
                self._working.discard(key)
                if key in self._waiting:
                    self._line.put_nowait(key)
            await asyncio.sleep(0)  # a long line without I/O must not keep the loop from the tick and the Lease

    async def _take(self) -> K:
        key = await self._line.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def _fire(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)


async def _to_its_end(work: Awaitable[None]) -> None:
    """Await work that a cancellation of the waiter does not cut: a write under way is neither lost nor doubled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
